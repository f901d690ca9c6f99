//! The fields that field selectors may name, for each kind; every kind knows `metadata.name` and `metadata.namespace`.

use serde_json::Value;

use super::{GroupVersion, Kind};
use crate::object;
use crate::selector::FieldSelector;
use crate::status::ApiError;

const PODS: &[&str] = &[
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
    "status.podIPs",
    "status.nominatedNodeName",
];
const CORE_EVENTS: &[&str] = &[
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
];
const EVENTS: &[&str] = &[
    "regarding.kind",
    "regarding.namespace",
    "regarding.name",
    "regarding.uid",
    "regarding.apiVersion",
    "regarding.resourceVersion",
    "regarding.fieldPath",
    "reason",
    "reportingController",
    "type",
];

fn known(kind: &Kind, view: &GroupVersion) -> &'static [&'static str] {
    match kind.resource.as_str() {
        "pods" => PODS,
        "nodes" => &["spec.unschedulable"],
        "namespaces" => &["status.phase"],
        "secrets" => &["type"],
        "services" => &["spec.clusterIP", "spec.type"],
        "jobs.batch" => &["status.successful"],
        "replicationcontrollers" => &["status.replicas"],
        "events" if view.group.is_empty() => CORE_EVENTS,
        "events" => EVENTS,
        _ => &[],
    }
}

/// Refuses selectors with fields that the kind does not know, in the words of the real server.
pub fn check(selector: &FieldSelector, kind: &Kind, view: &GroupVersion) -> Result<(), ApiError> {
    for term in &selector.terms {
        let field = term.field.as_str();
        if matches!(field, "metadata.name" | "metadata.namespace") || known(kind, view).contains(&field) {
            continue;
        }
        if kind.is_custom() && selectable(kind, view).any(|path| path.trim_start_matches('.') == field) {
            continue;
        }
        let has_own_words = !known(kind, view).is_empty() || kind.is_custom();
        let message = match kind.resource.as_str() {
            "jobs.batch" => format!("field label {field:?} not supported for Job"),
            _ if has_own_words => format!("field label not supported: {field}"),
            _ => {
                format!("{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
            }
        };
        return Err(ApiError::bad_request(message));
    }
    Ok(())
}

/// `selectableFields` of a custom resource's version.
fn selectable<'a>(kind: &'a Kind, view: &'a GroupVersion) -> impl Iterator<Item = &'a str> {
    let versions = kind.definition.iter().flat_map(|definition| object::array_at(definition, "/spec/versions"));
    versions
        .filter(|version| object::str_at(version, "/name") == view.version)
        .flat_map(|version| object::array_at(version, "/selectableFields"))
        .map(|field| object::str_at(field, "/jsonPath"))
}

/// The text of a field as selectors compare it.
pub fn read(object: &Value, field: &str) -> String {
    let pointer = match field {
        "source" => "/source/component".to_string(),
        "reportingComponent" if object::str_at(object, "/reportingComponent").is_empty() => "/source/component".into(),
        "status.successful" => "/status/succeeded".to_string(),
        "status.podIPs" => "/status/podIPs/0/ip".to_string(),
        other => format!("/{}", other.replace('.', "/")),
    };
    match object.pointer(&pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bool(flag)) => flag.to_string(),
        Some(Value::Number(number)) => number.to_string(),
        _ => absent(field).to_string(),
    }
}

fn absent(field: &str) -> &'static str {
    match field {
        "spec.unschedulable" | "spec.hostNetwork" => "false",
        "status.successful" | "status.replicas" => "0",
        _ => "",
    }
}
