//! What a pass is about to report, while it is still finding out.
//!
//! Starts as a copy of the stored status; every step of the pass leaves its conditions, events and memory here.
//! Upstream does the same to its copy of the object.

use super::{ErrorKind, Hpa, MetricLabels, Pass};
use crate::explain::{Course, Explanation, Write};
use crate::history::History;
use crate::spec::{ObjectRef, ScalingRules};
use crate::status::{ABLE_TO_SCALE, ConditionStatus, Event, MetricStatus, SCALED_TO_ZERO, SCALING_ACTIVE, Status};
use crate::time::Time;

/// The report as far as it is known.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) target: ObjectRef,
    pub(super) now: Time,
    pub(super) status: Status,
    pub(super) events: Vec<Event>,
    pub(super) history: History,
    pub(super) explanation: Explanation,
    pub(super) metric_labels: Vec<MetricLabels>,
    pub(super) metric_statuses: Vec<MetricStatus>,
    /// `None`: the pass ended before the scale was known.
    pub(super) current: Option<i32>,
}

#[derive(Clone, Debug)]
pub(super) struct Rescale {
    pub(super) desired: i32,
    pub(super) reason: String,
    /// Where the spec has a behavior: the rules of the direction, to record the scale event by.
    pub(super) rules: Option<ScalingRules>,
    pub(super) scaled_to_zero: Option<bool>,
}

impl Draft {
    pub(super) fn new(hpa: &Hpa<'_>, history: &History, now: Time) -> Draft {
        let explanation = Explanation {
            at: now,
            current: None,
            applied: hpa.status.desired_replicas,
            course: Course::NoScale,
            min: hpa.spec.min(),
            max: hpa.spec.max_replicas,
            pods: Vec::new(),
            metrics: Vec::new(),
            winner: None,
            recommended: None,
            stabilization: None,
            rate: None,
            bound: None,
            write: Write::NotNeeded,
            without: None,
            error: None,
        };
        Draft {
            namespace: hpa.namespace.into(),
            name: hpa.name.into(),
            target: hpa.spec.scale_target_ref.clone(),
            now,
            status: hpa.status.clone(),
            events: Vec::new(),
            history: history.clone(),
            explanation,
            metric_labels: Vec::new(),
            metric_statuses: Vec::new(),
            current: None,
        }
    }

    pub(super) fn reference(&self) -> String {
        format!("{}/{}/{}", self.target.kind, self.namespace, self.target.name)
    }

    pub(super) fn set(&mut self, r#type: &str, status: ConditionStatus, reason: &str, message: impl Into<String>) {
        self.status.set_condition(r#type, status, reason, message.into(), self.now);
    }

    /// Only conditions change; counts and metrics stay as they were.
    pub(super) fn without_scale(mut self, hpa: &Hpa<'_>, text: &str, error: String, kind: ErrorKind) -> Pass {
        self.events.push(Event::warning("FailedGetScale", text.into()));
        let message = format!("the HPA controller was unable to get the target's current scale: {text}");
        self.set(ABLE_TO_SCALE, ConditionStatus::False, "FailedGetScale", message);
        self.explanation.error = Some(error.clone());
        Pass { error: Some(error), error_kind: kind, status_error_counts: false, ..self.ready(hpa.status) }
    }

    /// A pass that writes no scale and ends well, to be changed where it does not.
    pub(super) fn ready(self, stored: &Status) -> Pass {
        Pass {
            selector: None,
            draft: self,
            stored: stored.clone(),
            rescale: None,
            trailing_event: None,
            error: None,
            error_kind: ErrorKind::None,
            status_error_counts: true,
        }
    }

    pub(super) fn set_status(&mut self, current: i32, desired: i32) {
        self.status.observed_generation = None;
        self.status.current_replicas = current;
        self.status.desired_replicas = desired;
        self.status.current_metrics = std::mem::take(&mut self.metric_statuses);
        self.explanation.applied = desired;
    }

    pub(super) fn rescaled(&mut self, current: i32, rescale: &Rescale) {
        let desired = rescale.desired;
        let message = format!("the HPA controller was able to update the target scale to {desired}");
        self.set(ABLE_TO_SCALE, ConditionStatus::True, "SucceededRescale", message);
        let message = format!("New size: {desired}; reason: {}", rescale.reason);
        self.events.push(Event::normal("SuccessfulRescale", message));
        if let Some(rules) = &rescale.rules {
            self.history.record_scale(current, desired, self.now, rules);
        }
        match rescale.scaled_to_zero {
            Some(true) => {
                let message = "the HPA controller scaled the workload to zero";
                self.set(SCALED_TO_ZERO, ConditionStatus::True, "ScaledToZero", message);
            }
            Some(false) => {
                let message = "the HPA controller did not scale the workload to zero";
                self.set(SCALED_TO_ZERO, ConditionStatus::False, "NotScaledToZero", message);
            }
            None => self.status.remove_condition(SCALED_TO_ZERO),
        }
        self.set_status(current, desired);
        self.status.last_scale_time = Some(self.now);
        self.explanation.write = Write::Written;
    }

    /// The desired count in the status stays what it was.
    pub(super) fn rescale_failed(&mut self, current: i32, rescale: &Rescale, e: &str, stored_desired: i32) {
        let message = format!("New size: {}; reason: {}; error: {e}", rescale.desired, rescale.reason);
        self.events.push(Event::warning("FailedRescale", message));
        let message = format!("the HPA controller was unable to update the target scale: {e}");
        self.set(ABLE_TO_SCALE, ConditionStatus::False, "FailedUpdateScale", message);
        self.set_status(current, stored_desired);
        self.explanation.applied = current;
        self.explanation.write = Write::Failed(e.into());
    }

    /// The computation failed: nothing is recommended, the desired count stays what it was.
    pub(super) fn not_computed(mut self, hpa: &Hpa<'_>, current: i32, error: &str) -> Pass {
        self.set_status(current, hpa.status.desired_replicas);
        self.explanation.applied = current;
        self.explanation.course = Course::NotComputed;
        if self.explanation.metrics.is_empty() {
            self.explanation.error = Some(error.into());
        }
        let event = Event::warning("FailedComputeMetricsReplicas", error.into());
        let reference = self.reference();
        let error =
            format!("failed to compute desired number of replicas based on listed metrics for {reference}: {error}");
        Pass {
            trailing_event: Some(event),
            error: Some(error),
            error_kind: ErrorKind::Internal,
            status_error_counts: false,
            ..self.ready(hpa.status)
        }
    }

    pub(super) fn inactive(&mut self, reason: &str, message: String) {
        self.set(SCALING_ACTIVE, ConditionStatus::False, reason, message);
    }
}
