//! Subresources of pods that are requests of their own: binding and eviction.

use std::sync::Arc;

use http::{Method, Response};
use serde_json::{Value, json};

use super::request::Address;
use super::{Api, Body, Call, body, reply, write};
use crate::object;
use crate::status::ApiError;

pub(crate) fn evict(api: &Arc<Api>, call: &Call, address: &Address) -> Result<Response<Body>, ApiError> {
    post_only(call)?;
    let eviction = body::decode(call, "Eviction")?;
    let named = object::name(&eviction);
    if !named.is_empty() && named != address.name() {
        let message = format!("name in URL does not match name in Eviction object: {named} != {}", address.name());
        return Err(ApiError::bad_request(message));
    }
    let sent = eviction.get("deleteOptions").cloned().unwrap_or(Value::Null);
    let options = write::options_of(&sent)?;
    let mut writer = write::writer(call, address, "CreateOptions")?;
    writer.dry_run |= object::array_at(&sent, "/dryRun").iter().any(|value| value == "All");
    api.cluster.evict(address.namespace(), address.name(), &options, &writer)?;
    Ok(created())
}

pub(crate) fn bind(api: &Arc<Api>, call: &Call, address: &Address) -> Result<Response<Body>, ApiError> {
    post_only(call)?;
    let binding = body::decode(call, "Binding")?;
    let name = if address.name().is_empty() { object::name(&binding) } else { address.name() };
    let node = object::str_at(&binding, "/target/name");
    if node.is_empty() {
        let error = crate::status::FieldError::required("target.name", "");
        return Err(ApiError::invalid("", "Binding", name, &[error]));
    }
    if write::writer(call, address, "CreateOptions")?.dry_run {
        return Ok(created());
    }
    api.cluster.bind(address.namespace(), name, object::uid(&binding), node)?;
    Ok(created())
}

fn post_only(call: &Call) -> Result<(), ApiError> {
    if call.method == Method::POST {
        return Ok(());
    }
    Err(ApiError { details: json!({}), ..ApiError::method_not_allowed("") })
}

fn created() -> Response<Body> {
    let body = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 });
    reply::json(201, &body)
}
