//! Views: the same stored object as another version of its API shows it.
//!
//! Stored are core/v1 Events and autoscaling/v2 autoscalers. events.k8s.io/v1 renames fields; autoscaling/v1 keeps a CPU
//! target only and carries everything else in annotations, as upstream's conversion does. Custom resources convert by
//! name only (strategy None).

use std::borrow::Cow;

use autoscaler::json::{DecodeError, v1};
use serde_json::Value;

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

/// The stored object as version `view` shows it.
pub fn to_view<'a>(kind: &Kind, view: &GroupVersion, stored: &'a Value) -> Cow<'a, Value> {
    if view == kind.storage_version() && object::str_at(stored, "/apiVersion") == view.to_string() {
        return Cow::Borrowed(stored);
    }
    let mut shown = stored.clone();
    match (kind.resource.as_str(), view.group.as_str(), view.version.as_str()) {
        ("events", "events.k8s.io", _) => rename_event(&mut shown, false),
        ("horizontalpodautoscalers.autoscaling", _, "v1") => shown = converted(shown, v1::from_v2),
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
        ("horizontalpodautoscalers.autoscaling", _, "v1") => sent = converted(sent, v1::to_v2),
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

/// An autoscaler that cannot be converted is shown as it is; validation has refused what it could not read.
fn converted(object: Value, convert: fn(&Value) -> Result<Value, DecodeError>) -> Value {
    convert(&object).unwrap_or(object)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
                    {
                        "type": "Resource",
                        "resource": { "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 50 } },
                    },
                    {
                        "type": "Pods",
                        "pods": {
                            "metric": { "name": "rps" },
                            "target": { "type": "AverageValue", "averageValue": "1" },
                        },
                    },
                ],
            },
        });
        let view = GroupVersion::new("autoscaling", "v1");
        let shown = to_view(kind, &view, &stored).into_owned();
        assert_eq!(shown["spec"]["targetCPUUtilizationPercentage"], 50);
        assert!(shown["spec"].get("metrics").is_none());
        let back = from_view(kind, &view, shown);
        assert_eq!(back["spec"]["behavior"], stored["spec"]["behavior"]);
        // As upstream: what the annotation carried comes first, the CPU target last.
        assert_eq!(back["spec"]["metrics"][0], stored["spec"]["metrics"][1]);
        assert_eq!(back["spec"]["metrics"][1], stored["spec"]["metrics"][0]);
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
