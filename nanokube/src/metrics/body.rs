//! The bodies of metrics.k8s.io/v1beta1: PodMetrics and NodeMetrics, with labels as the objects have them now.
//!
//! A window is printed as Go prints a duration, in milliseconds; `creationTimestamp` is the time of the request.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{NodeMetrics, PodMetrics, Usage};
use crate::object;

pub const API_VERSION: &str = "metrics.k8s.io/v1beta1";

/// One pod's metrics; `pod` is the object, for its labels.
pub fn pod(metrics: &PodMetrics, pod: &Value, now: Timestamp) -> Value {
    let containers = metrics.containers.iter().map(|(name, used)| json!({ "name": name, "usage": usage(*used) }));
    let mut body = json!({
        "kind": "PodMetrics",
        "apiVersion": API_VERSION,
        "metadata": { "name": metrics.name, "namespace": metrics.namespace, "creationTimestamp": object::time(now) },
        "timestamp": object::time(metrics.timestamp),
        "window": duration(metrics.window),
        "containers": containers.collect::<Vec<_>>(),
    });
    copy_labels(&mut body, pod);
    body
}

/// The node's metrics; `node` is the object, for its name and labels.
pub fn node(metrics: &NodeMetrics, node: &Value, now: Timestamp) -> Value {
    let mut body = json!({
        "kind": "NodeMetrics",
        "apiVersion": API_VERSION,
        "metadata": { "name": object::name(node), "creationTimestamp": object::time(now) },
        "timestamp": object::time(metrics.timestamp),
        "window": duration(metrics.window),
        "usage": usage(metrics.usage),
    });
    copy_labels(&mut body, node);
    body
}

fn copy_labels(body: &mut Value, object: &Value) {
    if let Some(labels) = object::labels(object) {
        body["metadata"]["labels"] = Value::Object(labels.clone());
    }
}

fn usage(usage: Usage) -> Value {
    json!({ "cpu": cpu(usage.cpu_nano), "memory": memory(usage.memory_bytes) })
}

/// The canonical form: the largest unit that leaves a whole number.
fn cpu(nano: u64) -> String {
    let units = [(1_000_000_000, ""), (1_000_000, "m"), (1_000, "u")];
    let (size, unit) = units.into_iter().find(|(size, _)| nano.is_multiple_of(*size)).unwrap_or((1, "n"));
    format!("{}{unit}", nano / size)
}

fn memory(bytes: u64) -> String {
    let units = [(40, "Ti"), (30, "Gi"), (20, "Mi"), (10, "Ki")];
    let found = units.into_iter().find(|(shift, _)| bytes > 0 && bytes.is_multiple_of(1 << shift));
    let (shift, unit) = found.unwrap_or((0, ""));
    format!("{}{unit}", bytes >> shift)
}

/// `15.041s`, `1m0s`: Go's duration with milliseconds.
fn duration(window: SignedDuration) -> String {
    let total_ms = window.as_millis().max(0);
    let (minutes, rest_ms) = (total_ms / 60_000, total_ms % 60_000);
    let seconds = format!("{}.{:03}", rest_ms / 1_000, rest_ms % 1_000);
    let seconds = seconds.trim_end_matches('0').trim_end_matches('.');
    match (minutes, total_ms) {
        (0, ms) if ms > 0 && ms < 1_000 => format!("{ms}ms"),
        (0, _) => format!("{seconds}s"),
        (minutes, _) if minutes < 60 => format!("{minutes}m{seconds}s"),
        (minutes, _) => format!("{}h{}m{seconds}s", minutes / 60, minutes % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_canonical() {
        for (nano, text) in
            [(0, "0"), (37_000_000, "37m"), (249_640_915, "249640915n"), (1_500, "1500n"), (2_000, "2u")]
        {
            assert_eq!(cpu(nano), text);
        }
        for (bytes, text) in [(0, "0"), (11_964_416, "11684Ki"), (1 << 20, "1Mi"), (5, "5")] {
            assert_eq!(memory(bytes), text);
        }
    }

    #[test]
    fn windows_are_written_as_go_writes_durations() {
        for (ms, text) in [(15_041, "15.041s"), (2_000, "2s"), (10_062, "10.062s"), (60_000, "1m0s"), (500, "500ms")] {
            assert_eq!(duration(SignedDuration::from_millis(ms)), text);
        }
    }

    #[test]
    fn a_pod_carries_its_labels_of_now_and_was_created_when_asked_for() {
        let at: Timestamp = "2026-01-01T00:00:15.9Z".parse().unwrap();
        let metrics = PodMetrics {
            namespace: "lab".into(),
            name: "web-1".into(),
            timestamp: at,
            window: SignedDuration::from_secs(15),
            containers: vec![("app".into(), Usage { cpu_nano: 37_000_000, memory_bytes: 11_964_416 })],
        };
        let asked = "2026-01-01T00:00:21.5Z".parse().unwrap();
        let body = pod(&metrics, &json!({ "metadata": { "labels": { "app": "web" } } }), asked);
        assert_eq!(body["metadata"]["creationTimestamp"], "2026-01-01T00:00:21Z");
        assert_eq!(body["metadata"]["labels"], json!({ "app": "web" }));
        assert_eq!(body["timestamp"], "2026-01-01T00:00:15Z");
        assert_eq!(body["containers"], json!([{ "name": "app", "usage": { "cpu": "37m", "memory": "11684Ki" } }]));
    }
}
