//! What a pass did, in the form that the recordings keep: a status as its difference from the stored one.

use serde_json::{Map, Value, json};

use crate::history::{History, ScaleEvent};
use crate::pass::{Action, ErrorKind, MetricLabels, Outcome};
use crate::status::{Event, MetricSource, MetricStatus, Status};
use crate::time::Time;

pub(super) fn memory(history: &History) -> Value {
    let events = |events: &[ScaleEvent]| -> Vec<Value> {
        events.iter().map(|e| json!({ "change": e.change, "at_ms": e.at.ms(), "outdated": e.outdated })).collect()
    };
    let recommendations = history.recommendations();
    let recommendations: Vec<Value> =
        recommendations.iter().map(|r| json!({ "value": r.replicas, "at_ms": r.at.ms() })).collect();
    json!({
        "recommendations": recommendations,
        "scale_up_events": events(&history.scale_up_events),
        "scale_down_events": events(&history.scale_down_events),
    })
}

pub(super) fn recorded(outcome: &Outcome) -> Map<String, Value> {
    let Outcome { events, error, explanation, labels, .. } = outcome;
    let event = |e: &Event| json!({ "type": e.kind.as_str(), "reason": e.reason, "message": e.message });
    let metric = |m: &MetricLabels| format!("{}/{}/{}", m.r#type, m.action.as_str(), m.error.as_str());
    let mut map = Map::new();
    map.insert("error".into(), error.clone().into());
    map.insert("recommendation".into(), explanation.recommended.into());
    map.insert("events".into(), events.iter().map(event).collect());
    if (labels.action, labels.error) != (Action::None, ErrorKind::None) {
        map.insert("reconcile_label".into(), format!("{}/{}", labels.action.as_str(), labels.error.as_str()).into());
    }
    map.insert("metric_labels".into(), labels.metrics.iter().map(metric).collect());
    map
}

/// A status as the recordings keep it: what differs from the stored one.
pub(super) fn status_changes(stored: &Status, sent: &Status) -> Value {
    let changed = sent.conditions.iter().filter(|c| stored.condition(&c.r#type) != Some(c));
    let conditions: Vec<Value> = changed
        .map(|c| {
            json!({
                "type": c.r#type,
                "status": c.status.as_str(),
                "reason": c.reason,
                "message": c.message,
                "last_transition_ms": c.last_transition_time.ms(),
            })
        })
        .collect();
    let removed = stored.conditions.iter().filter(|c| sent.condition(&c.r#type).is_none());
    let removed: Vec<&str> = removed.map(|c| c.r#type.as_str()).collect();
    let mut map = Map::new();
    map.insert("current_replicas".into(), sent.current_replicas.into());
    map.insert("desired_replicas".into(), sent.desired_replicas.into());
    map.insert("last_scale_ms".into(), sent.last_scale_time.map(Time::ms).into());
    map.insert("conditions".into(), conditions.into());
    map.insert("removed_conditions".into(), removed.into());
    if stored.current_metrics != sent.current_metrics {
        map.insert("current_metrics".into(), sent.current_metrics.iter().map(metric_status).collect());
    }
    Value::Object(map)
}

fn metric_status(metric: &MetricStatus) -> Value {
    let MetricStatus { r#type, source, current } = metric;
    let mut map = Map::new();
    map.insert("type".into(), r#type.as_str().into());
    let mut quantity = None;
    match source {
        None => {}
        Some(MetricSource::Resource { name }) => {
            map.insert("resource".into(), name.as_str().into());
            quantity = current.average_value.as_ref().filter(|_| name != "cpu");
        }
        Some(MetricSource::ContainerResource { name, container }) => {
            map.insert("resource".into(), name.as_str().into());
            map.insert("container".into(), container.as_str().into());
            quantity = current.average_value.as_ref().filter(|_| name != "cpu");
        }
        Some(MetricSource::Pods { metric } | MetricSource::External { metric }) => {
            map.insert("metric".into(), metric.name.as_str().into());
        }
        Some(MetricSource::Object { metric, described_object: object }) => {
            map.insert("metric".into(), metric.name.as_str().into());
            let object = json!({ "api_version": object.api_version, "kind": object.kind, "name": object.name });
            map.insert("described_object".into(), object);
        }
    }
    map.insert("average_utilization_percent".into(), current.average_utilization.into());
    map.insert("value_milli".into(), current.value.as_ref().map(|q| q.milli()).into());
    map.insert("average_value_milli".into(), current.average_value.as_ref().map(|q| q.milli()).into());
    map.insert("quantity".into(), quantity.map(ToString::to_string).into());
    Value::Object(map)
}
