//! What controllers ask about a pod, and how a template becomes one. The words are upstream's: active = neither
//! finished nor being deleted; ready = condition Ready is True; available = ready for at least `minReadySeconds`.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::time::plus_s;
use crate::object;

pub const PODS: &str = "pods";

pub fn phase(pod: &Value) -> &str {
    match object::str_at(pod, "/status/phase") {
        "" => "Pending",
        phase => phase,
    }
}

pub fn node(pod: &Value) -> &str {
    object::str_at(pod, "/spec/nodeName")
}

/// Succeeded or Failed: its containers will not run again.
pub fn is_finished(pod: &Value) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

pub fn is_active(pod: &Value) -> bool {
    !is_finished(pod) && !object::is_deleting(pod)
}

/// Being deleted while its containers may still run.
pub fn is_terminating(pod: &Value) -> bool {
    !is_finished(pod) && object::is_deleting(pod)
}

pub fn is_ready(pod: &Value) -> bool {
    object::condition_status(pod, "Ready") == Some("True")
}

/// When a ready pod became ready.
pub fn ready_since(pod: &Value) -> Option<Timestamp> {
    object::condition(pod, "Ready")
        .filter(|ready| ready["status"] == "True")
        .and_then(|ready| object::time_at(ready, "/lastTransitionTime"))
}

/// The instant from which a ready pod counts as available.
pub fn available_at(pod: &Value, min_ready_s: i64) -> Option<Timestamp> {
    if !is_ready(pod) {
        return None;
    }
    if min_ready_s == 0 {
        return Some(Timestamp::MIN);
    }
    ready_since(pod).map(|since| plus_s(since, min_ready_s))
}

pub fn is_available(pod: &Value, min_ready_s: i64, now: Timestamp) -> bool {
    available_at(pod, min_ready_s).is_some_and(|at| at <= now)
}

/// The highest restart count among the pod's containers.
pub fn restarts(pod: &Value) -> i64 {
    let statuses = object::array_at(pod, "/status/containerStatuses");
    statuses.iter().filter_map(|status| status["restartCount"].as_i64()).max().unwrap_or(0)
}

/// A pod of `template`, controlled by `owner`. Named by the caller (`name` or `generateName` in `metadata`).
pub fn from_template(template: &Value, owner: &Value, mut metadata: Map<String, Value>) -> Value {
    for field in ["labels", "annotations", "finalizers"] {
        if let Some(value) = template.pointer(&format!("/metadata/{field}")).filter(|value| !value.is_null()) {
            metadata.insert(field.to_owned(), value.clone());
        }
    }
    metadata.insert("namespace".to_owned(), json!(object::namespace(owner)));
    metadata.insert("ownerReferences".to_owned(), json!([super::ownership::controller_reference(owner)]));
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"] })
}
