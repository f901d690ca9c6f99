//! Views: the same stored object as another version of its API shows it.
//!
//! Stored are core/v1 Events and autoscaling/v2 autoscalers. events.k8s.io/v1 renames fields; autoscaling/v1 keeps a CPU
//! target only and carries everything else in annotations, as upstream's conversion does. Custom resources convert by
//! name only (strategy None).

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::{GroupVersion, Kind};
use crate::object;

/// (core/v1, events.k8s.io/v1) names of the same event field.
const EVENT_FIELDS: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

/// (v2 field below the object, annotation of the v1 view)
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";

/// The stored object as version `view` shows it.
pub fn to_view<'a>(kind: &Kind, view: &GroupVersion, stored: &'a Value) -> Cow<'a, Value> {
    if view == kind.storage_version() && object::str_at(stored, "/apiVersion") == view.to_string() {
        return Cow::Borrowed(stored);
    }
    let mut shown = stored.clone();
    match (kind.resource.as_str(), view.group.as_str(), view.version.as_str()) {
        ("events", "events.k8s.io", _) => rename_event(&mut shown, false),
        ("horizontalpodautoscalers.autoscaling", _, "v1") => autoscaler_to_v1(&mut shown),
        _ => {}
    }
    object::set(&mut shown, &["apiVersion"], view.to_string().into());
    Cow::Owned(shown)
}

/// An object that a client wrote in version `view`, in the form in which it is stored.
pub fn from_view(kind: &Kind, view: &GroupVersion, mut sent: Value) -> Value {
    if view == kind.storage_version() {
        return sent;
    }
    match (kind.resource.as_str(), view.group.as_str(), view.version.as_str()) {
        ("events", "events.k8s.io", _) => rename_event(&mut sent, true),
        ("horizontalpodautoscalers.autoscaling", _, "v1") => autoscaler_to_v2(&mut sent),
        _ => {}
    }
    object::set(&mut sent, &["apiVersion"], kind.storage_version().to_string().into());
    sent
}

fn rename_event(event: &mut Value, to_core: bool) {
    let Some(map) = event.as_object_mut() else { return };
    for (core, events) in EVENT_FIELDS {
        let (from, to) = if to_core { (events, core) } else { (core, events) };
        if let Some(value) = map.remove(from) {
            map.insert(to.to_string(), value);
        }
    }
}

fn is_cpu_utilization(metric: &Value, target: &str) -> bool {
    object::str_at(metric, "/type") == "Resource"
        && object::str_at(metric, "/resource/name") == "cpu"
        && metric.pointer(&format!("/resource/{target}/averageUtilization")).is_some_and(Value::is_number)
}

fn annotate(object: &mut Value, key: &str, value: Value) {
    object::set(object, &["metadata", "annotations", key], value.to_string().into());
}

fn take_annotation(object: &mut Value, key: &str) -> Option<Value> {
    let text = object::remove(object, &["metadata", "annotations", key])?;
    if object::map_at(object, "/metadata/annotations").is_some_and(Map::is_empty) {
        object::remove(object, &["metadata", "annotations"]);
    }
    serde_json::from_str(text.as_str()?).ok()
}

/// The first CPU utilization metric has a field of its own in v1, the rest rides in annotations.
fn autoscaler_to_v1(object: &mut Value) {
    let metrics = object::remove(object, &["spec", "metrics"]).unwrap_or(Value::Null);
    let metrics = metrics.as_array().cloned().unwrap_or_default();
    let cpu = metrics.iter().position(|metric| is_cpu_utilization(metric, "target"));
    if let Some(at) = cpu {
        let target = metrics[at]["resource"]["target"]["averageUtilization"].clone();
        object::set(object, &["spec", "targetCPUUtilizationPercentage"], target);
    }
    let others: Vec<Value> =
        metrics.into_iter().enumerate().filter(|(at, _)| Some(*at) != cpu).map(|(_, metric)| metric).collect();
    if !others.is_empty() {
        annotate(object, METRICS, others.into());
    }
    if let Some(behavior) = object::remove(object, &["spec", "behavior"]) {
        annotate(object, BEHAVIOR, behavior);
    }
    if let Some(current) = object::remove(object, &["status", "currentMetrics"])
        && let Some(list) = current.as_array()
    {
        if let Some(cpu) = list.iter().find(|metric| is_cpu_utilization(metric, "current")) {
            let current = cpu["resource"]["current"]["averageUtilization"].clone();
            object::set(object, &["status", "currentCPUUtilizationPercentage"], current);
        }
        annotate(object, CURRENT_METRICS, list.clone().into());
    }
    if let Some(conditions) = object::remove(object, &["status", "conditions"])
        && conditions.is_array()
    {
        annotate(object, CONDITIONS, conditions);
    }
    if object.pointer("/status/currentReplicas").is_none() && object.get("status").is_some() {
        object::set(object, &["status", "currentReplicas"], 0.into());
    }
}

fn autoscaler_to_v2(object: &mut Value) {
    let mut metrics = match take_annotation(object, METRICS) {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    };
    if let Some(percent) = object::remove(object, &["spec", "targetCPUUtilizationPercentage"]) {
        let target = json!({ "type": "Utilization", "averageUtilization": percent });
        metrics.insert(0, json!({ "type": "Resource", "resource": { "name": "cpu", "target": target } }));
    }
    if !metrics.is_empty() {
        object::set(object, &["spec", "metrics"], metrics.into());
    }
    if let Some(behavior) = take_annotation(object, BEHAVIOR) {
        object::set(object, &["spec", "behavior"], behavior);
    }
    if let Some(current) = take_annotation(object, CURRENT_METRICS) {
        object::set(object, &["status", "currentMetrics"], current);
    }
    if let Some(conditions) = take_annotation(object, CONDITIONS) {
        object::set(object, &["status", "conditions"], conditions);
    }
    object::remove(object, &["status", "currentCPUUtilizationPercentage"]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Registry;

    #[test]
    fn an_autoscaler_survives_the_way_through_version_1() {
        let registry = Registry::built_in();
        let kind = registry.resource("horizontalpodautoscalers.autoscaling").unwrap();
        let stored = json!({
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": { "name": "web" },
            "spec": {
                "maxReplicas": 5,
                "behavior": { "scaleUp": { "stabilizationWindowSeconds": 0 } },
                "metrics": [
                    { "type": "Resource", "resource": { "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 50 } } },
                    { "type": "Pods", "pods": { "metric": { "name": "rps" }, "target": { "type": "AverageValue", "averageValue": "1" } } },
                ],
            },
        });
        let view = GroupVersion::new("autoscaling", "v1");
        let shown = to_view(kind, &view, &stored).into_owned();
        assert_eq!(shown["spec"]["targetCPUUtilizationPercentage"], 50);
        assert!(shown["spec"].get("metrics").is_none());
        assert_eq!(from_view(kind, &view, shown), stored);
    }

    #[test]
    fn an_event_has_other_names_in_its_own_group() {
        let registry = Registry::built_in();
        let kind = registry.resource("events").unwrap();
        let view = GroupVersion::new("events.k8s.io", "v1");
        let sent = json!({ "note": "hello", "regarding": { "kind": "Pod" }, "reportingController": "me" });
        let stored = from_view(kind, &view, sent);
        assert_eq!(stored["message"], "hello");
        assert_eq!(stored["involvedObject"]["kind"], "Pod");
        assert_eq!(to_view(kind, &view, &stored)["note"], "hello");
    }
}
