//! metrics.k8s.io: what metrics-server would answer, from the node's own measurements. Nothing is stored.

use http::{Method, Response};
use serde_json::{Value, json};

use super::request::Address;
use super::{Api, Body, Call, list, negotiate, read, reply};
use crate::kind::Kind;
use crate::metrics::body;
use crate::object;
use crate::selector::LabelSelector;
use crate::status::ApiError;

pub(crate) const GROUP: &str = "metrics.k8s.io";

pub(crate) fn answer(api: &Api, call: &Call, kind: &Kind, address: &Address) -> Result<Response<Body>, ApiError> {
    if call.method != Method::GET || call.query.flag("watch") {
        return Err(ApiError { details: json!({}), ..ApiError::method_not_allowed("") });
    }
    let items = if kind.plural == "nodes" { nodes(api, address) } else { pods(api, address) };
    if let Some(name) = &address.name {
        let found = items.into_iter().next().ok_or_else(|| missing(address, name))?;
        let wanted = negotiate::wanted(call.header(http::header::ACCEPT))?;
        return Ok(read::show(call, kind, &address.version, &found, wanted, 200));
    }
    let labels = LabelSelector::parse(call.query.get("labelSelector"))?;
    let mut items: Vec<Value> = items.into_iter().filter(|item| labels.matches_object(item)).collect();
    let wanted = negotiate::wanted(call.header(http::header::ACCEPT))?;
    if wanted.shape == negotiate::Shape::Table {
        let objects: Vec<object::Object> = items.into_iter().map(object::Object::new).collect();
        let printer = list::printer(kind, &address.version);
        let table = printer.table_bytes(&objects, list::include(&call.query), api.cluster.now(), &json!({}));
        return Ok(reply::json_bytes(200, table));
    }
    for item in &mut items {
        object::remove(item, &["kind"]);
        object::remove(item, &["apiVersion"]);
    }
    let body = json!({
        "kind": kind.list_kind,
        "apiVersion": address.version.to_string(),
        "metadata": {},
        "items": items,
    });
    Ok(reply::json(200, &body))
}

fn missing(address: &Address, name: &str) -> ApiError {
    match &address.namespace {
        Some(namespace) => ApiError::not_found("podmetrics.metrics.k8s.io", &format!("{namespace}/{name}")),
        None => ApiError::not_found("nodemetrics.metrics.k8s.io", name),
    }
}

fn wanted(address: &Address, name: &str) -> bool {
    address.name.as_deref().is_none_or(|wanted| wanted == name)
}

fn pods(api: &Api, address: &Address) -> Vec<Value> {
    let now = api.cluster.now();
    let measured = api.metrics.pods(address.namespace.as_deref());
    let measured = measured.iter().filter(|pod| wanted(address, &pod.name));
    measured
        .filter_map(|metrics| {
            let pod = api.cluster.get("pods", &metrics.namespace, &metrics.name)?;
            Some(body::pod(metrics, &pod, now))
        })
        .collect()
}

fn nodes(api: &Api, address: &Address) -> Vec<Value> {
    let Some(measured) = api.metrics.node() else { return Vec::new() };
    let nodes = api.cluster.list("nodes", None).items;
    let nodes = nodes.iter().filter(|node| wanted(address, object::name(node)));
    nodes.map(|node| body::node(&measured, node, api.cluster.now())).collect()
}
