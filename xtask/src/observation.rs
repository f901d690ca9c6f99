//! What can be seen of a workload while it scales, as values: one JSON line each in a timeline and in `watch -o json`.
//!
//! A pure translation from Kubernetes objects. An observation is a state, not a difference, so a reader may start at any
//! line and a repeated one does no harm.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{Event, Pod};
use serde::{Deserialize, Serialize};

use crate::pods;

pub(crate) const VERSION: u32 = 1;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    pub version: u32,
    pub t_unix_ms: i64,
    #[serde(flatten)]
    pub seen: Observation,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum Observation {
    Autoscaler {
        current: i32,
        desired: i32,
        min: i32,
        max: i32,
        usage_percent: Option<i32>,
        target_percent: Option<i32>,
        conditions: Vec<Condition>,
    },
    Deployment {
        replicas: i32,
        ready: i32,
        available: i32,
    },
    Pod {
        name: String,
        status: String,
        ready: bool,
        restarts: i32,
        gone: bool,
    },
    /// CPU of each pod by name, in thousandths of a core, as the metrics API tells it.
    Usage {
        pods: BTreeMap<String, i64>,
    },
    Event {
        warning: bool,
        reason: String,
        message: String,
        object: String,
        count: i32,
    },
    /// A watch broke; it is being set up again, and what happened meanwhile shows in the next states.
    Interrupted {
        what: String,
        why: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Condition {
    #[serde(rename = "type")]
    pub kind: String,
    pub status: String,
    pub reason: String,
    pub message: String,
}

impl Entry {
    pub(crate) fn now(seen: Observation) -> Entry {
        Entry { version: VERSION, t_unix_ms: jiff::Timestamp::now().as_millisecond(), seen }
    }
}

pub(crate) fn of_autoscaler(hpa: &HorizontalPodAutoscaler) -> Observation {
    let status = hpa.status.clone().unwrap_or_default();
    let target = hpa.spec.metrics.iter().flatten().find_map(|m| m.resource.as_ref()?.target.average_utilization);
    let usage = status.current_metrics.iter().flatten().find_map(|m| m.resource.as_ref()?.current.average_utilization);
    let conditions = status.conditions.unwrap_or_default().into_iter().map(|condition| Condition {
        kind: condition.type_,
        status: condition.status,
        reason: condition.reason.unwrap_or_default(),
        message: condition.message.unwrap_or_default(),
    });
    Observation::Autoscaler {
        current: status.current_replicas.unwrap_or(0),
        desired: status.desired_replicas,
        min: hpa.spec.min_replicas.unwrap_or(1),
        max: hpa.spec.max_replicas,
        usage_percent: usage,
        target_percent: target,
        conditions: conditions.collect(),
    }
}

pub(crate) fn of_deployment(deployment: &Deployment) -> Observation {
    let status = deployment.status.clone().unwrap_or_default();
    Observation::Deployment {
        replicas: deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1),
        ready: status.ready_replicas.unwrap_or(0),
        available: status.available_replicas.unwrap_or(0),
    }
}

pub(crate) fn of_pod(pod: &Pod, gone: bool) -> Observation {
    Observation::Pod {
        name: pods::name(pod),
        status: if gone { "Gone".to_owned() } else { pods::status_word(pod) },
        ready: !gone && pods::is_ready(pod),
        restarts: pods::restarts(pod),
        gone,
    }
}

pub(crate) fn of_event(event: &Event) -> Observation {
    let regarding = &event.involved_object;
    let object = format!(
        "{}/{}",
        regarding.kind.as_deref().unwrap_or("?").to_lowercase(),
        regarding.name.as_deref().unwrap_or("?")
    );
    Observation::Event {
        warning: event.type_.as_deref() == Some("Warning"),
        reason: event.reason.clone().unwrap_or_default(),
        message: event.message.clone().unwrap_or_default(),
        object,
        count: event.count.unwrap_or(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_line_of_the_timeline_reads_back_as_it_was_written() {
        let entry = Entry {
            version: VERSION,
            t_unix_ms: 5,
            seen: Observation::Deployment { replicas: 3, ready: 2, available: 1 },
        };
        let line = serde_json::to_string(&entry).unwrap();
        assert_eq!(line, r#"{"version":1,"tUnixMs":5,"type":"deployment","replicas":3,"ready":2,"available":1}"#);
        assert_eq!(serde_json::from_str::<Entry>(&line).unwrap(), entry);
    }

    #[test]
    fn an_autoscaler_shows_usage_beside_its_target() {
        let hpa = serde_json::from_value(json!({
            "spec": {"minReplicas": 1, "maxReplicas": 10, "scaleTargetRef": {"kind": "Deployment", "name": "d"},
                "metrics": [{"type": "Resource", "resource": {"name": "cpu",
                    "target": {"type": "Utilization", "averageUtilization": 50}}}]},
            "status": {"currentReplicas": 2, "desiredReplicas": 4, "currentMetrics": [{"type": "Resource",
                "resource": {"name": "cpu", "current": {"averageUtilization": 97, "averageValue": "97m"}}}]}}));
        match of_autoscaler(&hpa.unwrap()) {
            Observation::Autoscaler { current, desired, usage_percent, target_percent, .. } => {
                assert_eq!((current, desired, usage_percent, target_percent), (2, 4, Some(97), Some(50)));
            }
            other => panic!("{other:?}"),
        }
    }
}
