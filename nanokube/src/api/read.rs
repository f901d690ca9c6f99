//! GET of one object, and how objects are shown: whole, as a Table, as metadata only, as YAML.

use std::borrow::Cow;
use std::sync::Arc;

use http::Response;
use http::header::ACCEPT;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::negotiate::{self, Shape, Wanted};
use super::request::Address;
use super::{Api, Body, Call, list, reply};
use crate::kind::{GroupVersion, Kind, convert};
use crate::object::Object;
use crate::status::ApiError;
use crate::table::Printer;

pub(crate) async fn answer(
    api: &Arc<Api>,
    call: &Call,
    kind: &Kind,
    address: &Address,
) -> Result<Response<Body>, ApiError> {
    let wanted = negotiate::wanted(call.header(ACCEPT))?;
    if let Some(revision) = list::revision(&call.query)? {
        list::wait_for(api, revision).await?;
    }
    let object = find(api, kind, address)?;
    Ok(show(call, kind, &address.version, &object, wanted, 200))
}

pub(crate) fn find(api: &Api, kind: &Kind, address: &Address) -> Result<Object, ApiError> {
    let found = api.cluster.get(&kind.resource, address.namespace(), address.name());
    found.ok_or_else(|| ApiError::not_found(&kind.resource, address.name()))
}

/// One object in the shape that the client asked for.
pub(crate) fn show(
    call: &Call,
    kind: &Kind,
    view: &GroupVersion,
    object: &Value,
    wanted: Wanted,
    code: u16,
) -> Response<Body> {
    let shown = convert::to_view(kind, view, object);
    present(call, shown, wanted, code, || list::printer(kind, view))
}

/// The `Scale` of an object in the shape that the client asked for.
pub(crate) fn show_scale(call: &Call, scale: Value, wanted: Wanted, code: u16) -> Response<Body> {
    present(call, Cow::Owned(scale), wanted, code, || Printer::built_in("scale.autoscaling"))
}

fn present(
    call: &Call,
    shown: Cow<'_, Value>,
    wanted: Wanted,
    code: u16,
    printer: impl FnOnce() -> Printer,
) -> Response<Body> {
    match wanted.shape {
        Shape::Object if wanted.yaml => yaml(code, &*shown),
        Shape::Object => reply::json(code, &*shown),
        Shape::Metadata => reply::json(code, &metadata_only(&shown)),
        Shape::Table => {
            let metadata = json!({ "resourceVersion": shown["metadata"]["resourceVersion"] });
            let objects = [Object::new(shown.into_owned())];
            let include = list::include(&call.query);
            reply::json_bytes(code, printer().table_bytes(&objects, include, Timestamp::now(), &metadata))
        }
    }
}

/// `PartialObjectMetadata` of an object.
pub(crate) fn metadata_only(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": object["metadata"],
    })
}

pub(crate) fn yaml(code: u16, object: &impl Serialize) -> Response<Body> {
    match serde_yaml::to_string(object) {
        Ok(text) => reply::with_type(code, "application/yaml", reply::full(text)),
        Err(error) => reply::refusal(&ApiError::internal(format!("cannot write YAML: {error}"))),
    }
}
