//! Discovery: which groups, versions and resources there are, in the legacy documents and the aggregated one.
//!
//! Both are written from the registry at each request; an ETag over the bytes lets clients keep what they have.

use std::sync::Arc;

use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH, VARY};
use http::{Response, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Api, Body, Call, aggregate, list, negotiate, reply};
use crate::kind::{GroupVersion, Kind, Registry, Subresource};
use crate::status::ApiError;

const AGGREGATED_V2: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const AGGREGATED_V2BETA1: &str = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";

/// `/`: the paths there are.
pub(crate) fn root(api: &Api) -> Response<Body> {
    let kinds = api.cluster.kinds();
    let mut paths = vec!["/api".to_string(), "/api/v1".to_string(), "/apis".to_string()];
    for (group, versions) in groups_of(&kinds) {
        if !group.is_empty() {
            paths.push(format!("/apis/{group}"));
            paths.extend(versions.iter().map(|version| format!("/apis/{group}/{version}")));
        }
    }
    for path in ["/healthz", "/livez", "/openapi/v3", "/readyz", "/version"] {
        paths.push(path.to_string());
    }
    reply::json(200, &json!({ "paths": paths }))
}

/// `/api`
pub(crate) fn core(api: &Api, call: &Call) -> Result<Response<Body>, ApiError> {
    if let Some(content_type) = aggregated(call) {
        let kinds = api.cluster.kinds();
        let items = vec![aggregated_group(&kinds, "", &["v1".to_string()])];
        return Ok(aggregated_answer(call, items, content_type));
    }
    negotiate::wanted(call.header(ACCEPT))?;
    let addresses = json!([{ "clientCIDR": "0.0.0.0/0", "serverAddress": api.endpoint }]);
    let body = json!({ "kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": addresses });
    Ok(reply::json(200, &body))
}

/// `/apis`
pub(crate) async fn groups(api: &Api, call: &Call) -> Result<Response<Body>, ApiError> {
    let kinds = api.cluster.kinds();
    let groups = groups_of(&kinds).into_iter().filter(|(group, _)| !group.is_empty());
    let others = aggregate::groups(&api.cluster);
    if let Some(content_type) = aggregated(call) {
        let mut items: Vec<Value> =
            groups.map(|(group, versions)| aggregated_group(&kinds, &group, &versions)).collect();
        for (group, versions) in &others {
            items.push(other_group(api, group, versions).await);
        }
        return Ok(aggregated_answer(call, items, content_type));
    }
    negotiate::wanted(call.header(ACCEPT))?;
    let groups: Vec<Value> = groups.chain(others).map(|(group, versions)| legacy_group(&group, &versions)).collect();
    Ok(reply::json(200, &json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })))
}

/// A group of another server in the aggregated form; a version that does not answer is stale and empty.
async fn other_group(api: &Api, group: &str, versions: &[String]) -> Value {
    let mut entries = Vec::new();
    for version in versions {
        let listed = aggregate::resources(&api.cluster, &GroupVersion::new(group, version)).await;
        let freshness = if listed.is_some() { "Current" } else { "Stale" };
        let listed = listed.unwrap_or_default();
        entries.push(json!({ "version": version, "resources": other_resources(&listed), "freshness": freshness }));
    }
    json!({ "metadata": { "name": group }, "versions": entries })
}

/// Legacy entries in the aggregated form: `pods/x` is a subresource of `pods`, made up where it has no entry of its own.
fn other_resources(listed: &[Value]) -> Vec<Value> {
    let kind = |entry: &Value| {
        let text = |field: &str| entry[field].as_str().unwrap_or("").to_owned();
        json!({ "group": text("group"), "version": text("version"), "kind": entry["kind"] })
    };
    let verbs = |entry: &Value| entry["verbs"].as_array().cloned().unwrap_or_default();
    let mut resources: Vec<Value> = Vec::new();
    for entry in listed {
        let name = entry["name"].as_str().unwrap_or_default();
        let (parent, subresource) = name.split_once('/').map_or((name, None), |(parent, sub)| (parent, Some(sub)));
        let at = resources.iter().position(|resource| resource["resource"] == parent).unwrap_or_else(|| {
            let scope = if entry["namespaced"] == true { "Namespaced" } else { "Cluster" };
            let made_up = json!({
                "resource": parent,
                "responseKind": if subresource.is_none() { kind(entry) } else { json!({ "group": "", "version": "", "kind": "" }) },
                "scope": scope,
                "singularResource": entry["singularName"].as_str().unwrap_or(""),
                "verbs": if subresource.is_none() { verbs(entry) } else { Vec::new() },
            });
            resources.push(made_up);
            resources.len() - 1
        });
        if let Some(subresource) = subresource {
            let below = json!({ "subresource": subresource, "responseKind": kind(entry), "verbs": verbs(entry) });
            match resources[at]["subresources"].as_array_mut() {
                Some(list) => list.push(below),
                None => resources[at]["subresources"] = json!([below]),
            }
        }
    }
    resources
}

/// `/apis/GROUP`
pub(crate) fn group(api: &Api, group: String) -> Response<Body> {
    let kinds = api.cluster.kinds();
    let mut groups = groups_of(&kinds).into_iter().chain(aggregate::groups(&api.cluster));
    let found = groups.find(|(name, _)| *name == group && !name.is_empty());
    let Some((_, versions)) = found else { return reply::plain_not_found() };
    let mut body = legacy_group(&group, &versions);
    body["kind"] = "APIGroup".into();
    body["apiVersion"] = "v1".into();
    reply::json(200, &body)
}

/// `/api/v1`, `/apis/GROUP/VERSION`
pub(crate) fn resources(api: &Api, version: &GroupVersion) -> Result<Response<Body>, ApiError> {
    let kinds = api.cluster.kinds();
    let served: Vec<&Arc<Kind>> = served(&kinds, version).collect();
    if served.is_empty() {
        return Ok(reply::plain_not_found());
    }
    let mut entries = Vec::new();
    for kind in served {
        let mut entry = json!({
            "name": kind.plural,
            "singularName": kind.singular,
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "verbs": kind.verbs,
        });
        if !kind.short_names.is_empty() {
            entry["shortNames"] = kind.short_names.clone().into();
        }
        if !kind.categories.is_empty() {
            entry["categories"] = kind.categories.clone().into();
        }
        if kind.verbs.contains(&"watch") {
            entry["storageVersionHash"] = storage_hash(kind).into();
        }
        entries.push(entry);
        entries.extend(kind.subresources.iter().map(|subresource| legacy_subresource(kind, subresource)));
    }
    let mut body = json!({ "kind": "APIResourceList", "groupVersion": version.to_string(), "resources": entries });
    if !version.group.is_empty() {
        body["apiVersion"] = "v1".into();
    }
    Ok(reply::json(200, &body))
}

fn served<'a>(kinds: &'a Registry, version: &'a GroupVersion) -> impl Iterator<Item = &'a Arc<Kind>> {
    kinds.kinds().filter(move |kind| kind.served.contains(version))
}

/// Groups in table order with their versions in order of preference.
fn groups_of(kinds: &Registry) -> Vec<(String, Vec<String>)> {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for served in kinds.kinds().flat_map(|kind| kind.served.iter()) {
        match groups.iter_mut().find(|(group, _)| *group == served.group) {
            Some((_, versions)) if versions.contains(&served.version) => {}
            Some((_, versions)) => versions.push(served.version.clone()),
            None => groups.push((served.group.clone(), vec![served.version.clone()])),
        }
    }
    groups
}

fn legacy_group(group: &str, versions: &[String]) -> Value {
    let entry = |version: &String| json!({ "groupVersion": format!("{group}/{version}"), "version": version });
    let versions: Vec<Value> = versions.iter().map(entry).collect();
    json!({ "name": group, "versions": versions, "preferredVersion": versions[0] })
}

fn legacy_subresource(kind: &Kind, subresource: &Subresource) -> Value {
    let mut entry = json!({
        "name": format!("{}/{}", kind.plural, subresource.name),
        "singularName": "",
        "namespaced": kind.namespaced,
        "kind": response_kind(kind, subresource),
        "verbs": subresource.verbs,
    });
    if !subresource.version.is_empty() {
        entry["group"] = subresource.group.into();
        entry["version"] = subresource.version.into();
    }
    entry
}

fn response_kind<'a>(kind: &'a Kind, subresource: &Subresource) -> &'a str {
    if subresource.kind.is_empty() { &kind.kind } else { subresource.kind }
}

/// Differs when the storage version differs; clients only compare it.
fn storage_hash(kind: &Kind) -> String {
    use base64::Engine;
    let text = format!("{}/{}/{}", kind.group(), kind.storage_version().version, kind.kind);
    base64::engine::general_purpose::STANDARD.encode(&Sha256::digest(text)[..8])
}

/// The content type of the aggregated document, if the client takes one.
fn aggregated(call: &Call) -> Option<&'static str> {
    negotiate::ranges(call.header(ACCEPT)).find_map(|range| {
        if range.parameter("as") != "APIGroupDiscoveryList" || range.parameter("g") != "apidiscovery.k8s.io" {
            return None;
        }
        match range.parameter("v") {
            "v2" => Some(AGGREGATED_V2),
            "v2beta1" => Some(AGGREGATED_V2BETA1),
            _ => None,
        }
    })
}

fn aggregated_answer(call: &Call, items: Vec<Value>, content_type: &'static str) -> Response<Body> {
    let version = if content_type == AGGREGATED_V2 { "v2" } else { "v2beta1" };
    let body = json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {},
        "items": items,
    });
    let bytes = list::encode(&body);
    let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02X}")).collect();
    let etag = format!("\"{digest}\"");
    let known = call.header(IF_NONE_MATCH) == etag;
    let mut response = if known { reply::json_bytes(304, "") } else { reply::json_bytes(200, bytes) };
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public"));
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        headers.insert(ETAG, etag);
    }
    response
}

fn aggregated_group(kinds: &Registry, group: &str, versions: &[String]) -> Value {
    let versions: Vec<Value> = versions
        .iter()
        .map(|version| {
            let served_version = GroupVersion::new(group, version);
            let resources: Vec<Value> = served(kinds, &served_version).map(|kind| aggregated_resource(kind)).collect();
            json!({ "version": version, "resources": resources, "freshness": "Current" })
        })
        .collect();
    let metadata = if group.is_empty() { json!({}) } else { json!({ "name": group }) };
    json!({ "metadata": metadata, "versions": versions })
}

fn aggregated_resource(kind: &Kind) -> Value {
    let mut entry = json!({
        "resource": kind.plural,
        "responseKind": { "group": "", "version": "", "kind": kind.kind },
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": kind.singular,
        "verbs": kind.verbs,
    });
    if !kind.short_names.is_empty() {
        entry["shortNames"] = kind.short_names.clone().into();
    }
    if !kind.categories.is_empty() {
        entry["categories"] = kind.categories.clone().into();
    }
    let subresources: Vec<Value> = kind
        .subresources
        .iter()
        .map(|subresource| {
            json!({
                "subresource": subresource.name,
                "responseKind": {
                    "group": subresource.group,
                    "version": subresource.version,
                    "kind": response_kind(kind, subresource),
                },
                "verbs": subresource.verbs,
            })
        })
        .collect();
    if !subresources.is_empty() {
        entry["subresources"] = subresources.into();
    }
    entry
}
