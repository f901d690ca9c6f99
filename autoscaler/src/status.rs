//! What the controller reports: `status` of a HorizontalPodAutoscaler, and events.
//!
//! Conditions keep the order in which they were first set; a transition time moves only with the status value.

use crate::quantity::Quantity;
use crate::spec::{MetricIdentifier, ObjectRef};
use crate::time::Time;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// Never set by the controller, and dropped where it is found.
    pub observed_generation: Option<i64>,
    pub last_scale_time: Option<Time>,
    pub current_replicas: i32,
    pub desired_replicas: i32,
    pub current_metrics: Vec<MetricStatus>,
    pub conditions: Vec<Condition>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    pub r#type: String,
    pub status: ConditionStatus,
    pub reason: String,
    pub message: String,
    pub last_transition_time: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionStatus {
    True,
    False,
    Unknown,
    /// Empty: what upstream leaves behind for a spec without any metric, which defaulting never lets through.
    Unset,
}

/// The current value of one metric, at the index of its metric in the spec. One that failed has an empty `type` and no
/// source.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetricStatus {
    pub r#type: String,
    pub source: Option<MetricSource>,
    pub current: MetricValue,
}

/// What a metric is of, without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetricSource {
    Resource { name: String },
    ContainerResource { name: String, container: String },
    Pods { metric: MetricIdentifier },
    Object { metric: MetricIdentifier, described_object: ObjectRef },
    External { metric: MetricIdentifier },
}

/// Quantities compare by value, as the API machinery does: `1000m` equals `1`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetricValue {
    pub value: Option<Quantity>,
    pub average_value: Option<Quantity>,
    pub average_utilization: Option<i32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub kind: EventKind,
    pub reason: String,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    Normal,
    Warning,
}

pub const ABLE_TO_SCALE: &str = "AbleToScale";
pub const SCALING_ACTIVE: &str = "ScalingActive";
pub const SCALING_LIMITED: &str = "ScalingLimited";
pub const SCALED_TO_ZERO: &str = "ScaledToZero";

impl Status {
    pub fn condition(&self, r#type: &str) -> Option<&Condition> {
        self.conditions.iter().find(|c| c.r#type == r#type)
    }

    /// Sets a condition, or appends it; the transition time moves only when the status value does.
    pub fn set_condition(&mut self, r#type: &str, status: ConditionStatus, reason: &str, message: String, now: Time) {
        match self.conditions.iter_mut().find(|c| c.r#type == r#type) {
            Some(condition) => {
                if condition.status != status {
                    condition.last_transition_time = now;
                }
                condition.status = status;
                reason.clone_into(&mut condition.reason);
                condition.message = message;
            }
            None => self.conditions.push(Condition {
                r#type: r#type.into(),
                status,
                reason: reason.into(),
                message,
                last_transition_time: now,
            }),
        }
    }

    pub fn remove_condition(&mut self, r#type: &str) {
        self.conditions.retain(|c| c.r#type != r#type);
    }
}

impl ConditionStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            ConditionStatus::True => "True",
            ConditionStatus::False => "False",
            ConditionStatus::Unknown => "Unknown",
            ConditionStatus::Unset => "",
        }
    }

    pub fn parse(text: &str) -> ConditionStatus {
        match text {
            "True" => ConditionStatus::True,
            "False" => ConditionStatus::False,
            "" => ConditionStatus::Unset,
            _ => ConditionStatus::Unknown,
        }
    }
}

impl EventKind {
    pub fn as_str(self) -> &'static str {
        match self {
            EventKind::Normal => "Normal",
            EventKind::Warning => "Warning",
        }
    }
}

impl Event {
    pub(crate) fn normal(reason: &str, message: String) -> Event {
        Event { kind: EventKind::Normal, reason: reason.into(), message }
    }

    pub(crate) fn warning(reason: &str, message: String) -> Event {
        Event { kind: EventKind::Warning, reason: reason.into(), message }
    }
}
