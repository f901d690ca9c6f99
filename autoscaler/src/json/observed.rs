//! Pods and their samples, from the objects that the API serves to what a decision observes.
//!
//! Nothing here fails: what is absent or cannot be read is left at its zero value, as Go's decoder leaves it. A stamp
//! is read as it is stored, in whole seconds; the decision relies on that.

use std::sync::Arc;

use serde_json::Value;

use super::rfc3339;
use crate::pod::{Amount, Container, InitContainer, Phase, Pod, Readiness, Resources};
use crate::quantity::Quantity;
use crate::sample::{ContainerUsage, PodMetrics};
use crate::status::ConditionStatus;
use crate::time::Time;

/// A v1 Pod.
pub fn pod(object: &Value) -> Pod {
    let containers = |pointer: &str| array(object, pointer).iter();
    let mut conditions = array(object, "/status/conditions").iter();
    let ready = conditions.find(|condition| condition["type"] == "Ready").map(|ready| Readiness {
        status: ConditionStatus::parse(text(ready, "/status")),
        last_transition_time: time(ready, "/lastTransitionTime").unwrap_or_default(),
    });
    let init = |it: &Value| InitContainer { container: container(it), restartable: it["restartPolicy"] == "Always" };
    let labels = object.pointer("/metadata/labels").and_then(Value::as_object).into_iter().flatten();
    Pod {
        name: Arc::from(text(object, "/metadata/name")),
        labels: labels.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect(),
        phase: Phase::parse(text(object, "/status/phase")),
        deleting: object.pointer("/metadata/deletionTimestamp").is_some_and(|at| !at.is_null()),
        start_time: time(object, "/status/startTime"),
        ready,
        containers: containers("/spec/containers").map(container).collect(),
        init_containers: containers("/spec/initContainers").map(init).collect(),
        pod_level_requests: resources(object.pointer("/spec/resources/requests")),
        overhead: resources(object.pointer("/spec/overhead")),
    }
}

/// An item of a PodMetricsList of metrics.k8s.io.
pub fn pod_metrics(item: &Value) -> PodMetrics {
    let usage = |it: &Value| ContainerUsage { name: text(it, "/name").to_owned(), usage: resources(it.get("usage")) };
    PodMetrics {
        pod: Arc::from(text(item, "/metadata/name")),
        at: time(item, "/timestamp").unwrap_or_default(),
        window_ns: duration_ns(text(item, "/window")).unwrap_or(0),
        containers: array(item, "/containers").iter().map(usage).collect(),
    }
}

/// A duration as Go prints it ("15.041s", "1m0s", "990ms"), in nanoseconds.
pub fn duration_ns(text: &str) -> Option<i64> {
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let ns = match &tail[..unit] {
            "h" => 3600e9,
            "m" => 60e9,
            "s" => 1e9,
            "ms" => 1e6,
            "us" | "µs" => 1e3,
            "ns" => 1.0,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * ns;
        rest = &tail[unit..];
    }
    #[expect(clippy::cast_possible_truncation, reason = "a float to integer cast saturates")]
    let total = total.round() as i64;
    (!text.is_empty()).then_some(total)
}

fn container(value: &Value) -> Container {
    Container { name: text(value, "/name").to_owned(), requests: resources(value.pointer("/resources/requests")) }
}

fn resources(amounts: Option<&Value>) -> Resources {
    let mut resources = Resources::default();
    for (name, amount) in amounts.and_then(Value::as_object).into_iter().flatten() {
        if let Some(quantity) = quantity(amount) {
            resources.set(name, Amount::from_quantity(&quantity));
        }
    }
    resources
}

pub(super) fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => Quantity::parse(text).ok(),
        Value::Number(number) => Quantity::parse(&number.to_string()).ok(),
        _ => None,
    }
}

pub(super) fn time(value: &Value, pointer: &str) -> Option<Time> {
    rfc3339::parse(text(value, pointer))
}

pub(super) fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn array<'v>(value: &'v Value, pointer: &str) -> &'v [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_of_the_api_is_a_pod_of_the_decision() {
        let seen = pod(&json!({
            "metadata": {"name": "web-1", "labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "100m"}}}]},
            "status": {"phase": "Running", "startTime": "2026-05-04T10:20:30Z", "conditions":
                [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-05-04T10:20:33Z"}]}}));
        assert!(seen.is_ready());
        assert_eq!(seen.containers[0].requests.get("cpu"), Some(Amount::from_milli(100)));
        assert_eq!(seen.ready.unwrap().last_transition_time.minus_s(3), seen.start_time.unwrap());
    }

    #[test]
    fn usage_keeps_its_window_and_its_nanocores() {
        let seen = pod_metrics(&json!({"metadata": {"name": "web-1"}, "timestamp": "2026-05-04T10:20:30Z",
            "window": "15.041s", "containers": [{"name": "c", "usage": {"cpu": "123456789n"}}]}));
        assert_eq!(seen.window_ns, 15_041_000_000);
        assert_eq!(seen.containers[0].usage.get("cpu"), Some(Amount::from_nano(123_456_789)));
    }

    #[test]
    fn nothing_that_is_missing_or_odd_stops_the_reading() {
        for odd in [json!(null), json!([]), json!({"metadata": 3, "containers": {}, "window": "5 parsecs"})] {
            assert_eq!((&*pod(&odd).name, pod_metrics(&odd).window_ns), ("", 0));
        }
    }
}
