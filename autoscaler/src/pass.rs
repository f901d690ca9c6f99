//! One pass over one HPA: the whole reconcile, as a conversation in values.
//!
//! Upstream's pass reads the world, writes the scale, then writes the status, and each write can fail. Here the host does
//! all that, and the pass says what to do:
//!
//! ```text
//! let pass = decide(&hpa, &history, &observation, &config);       // nothing has happened yet
//! registry.set(namespace, name, selector)                          // if pass.selector is set
//! let written = pass.scale_write().map(|n| host writes n);         // retried on conflict: see ScaleWrite
//! let conclusion = pass.conclude(written or Ok(()));
//! let outcome = conclusion.finish(host writes conclusion.status);  // if there is one
//! host emits outcome.events, keeps outcome.history
//! ```
//!
//! An HPA that no longer exists has no pass: the host drops its history and its registry entry.

mod compute;
mod counterfactual;

use crate::config::{Config, SCALE_UPDATE_ATTEMPTS_MAX};
use crate::explain::{Course, Explanation, Write};
use crate::history::History;
use crate::pod::Pod;
use crate::registry::Registry;
use crate::sample::Answer;
use crate::selector::Selector;
use crate::spec::{ObjectRef, ScalingRules, Spec};
use crate::status::{ABLE_TO_SCALE, ConditionStatus, Event, MetricStatus, SCALED_TO_ZERO, SCALING_ACTIVE, Status};
use crate::time::Time;

/// The HPA as stored. Its spec has been through `defaults::apply`.
#[derive(Clone, Copy, Debug)]
pub struct Hpa<'a> {
    pub namespace: &'a str,
    pub name: &'a str,
    pub spec: &'a Spec,
    pub status: &'a Status,
}

/// What the host saw at one instant. Errors are the texts of failed calls.
#[derive(Clone, Debug)]
pub struct Observation<'a> {
    pub now: Time,
    pub scale: Result<Scale, ScaleError>,
    /// Pods of the HPA's namespace; those that the scale's selector does not match are left out here.
    pub pods: Result<&'a [Pod], &'a str>,
    /// One per metric of the spec, in its order; `None` or a missing one counts as an empty answer.
    pub answers: &'a [Option<Answer<'a>>],
    pub registry: &'a Registry,
}

/// The scale subresource of the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scale {
    pub spec_replicas: i32,
    pub status_replicas: i32,
    /// The selector in its string form.
    pub selector: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScaleError {
    /// No resource is known for the kind: `no matches for kind "Widget" in group "example.com"`.
    UnknownKind(String),
    /// Reading the scale failed. Where a kind maps to several resources, the first one's error.
    Unreadable(String),
}

/// A pass that has decided, before anything was written.
#[derive(Clone, Debug)]
pub struct Pass {
    /// To be registered for this HPA before any other HPA's pass.
    pub selector: Option<Selector>,
    draft: Draft,
    stored: Status,
    rescale: Option<Rescale>,
    /// Behind the status write: the event, and what the pass returns.
    trailing_event: Option<Event>,
    error: Option<String>,
    error_kind: ErrorKind,
    /// Whether a failed status write is the error of the pass, rather than only logged.
    status_error_counts: bool,
}

/// What to write back, once the outcome of the scale write is known.
#[derive(Clone, Debug)]
pub struct Conclusion {
    /// The status to write, if it differs from the stored one.
    pub status: Option<Status>,
    outcome: Outcome,
    trailing_event: Option<Event>,
    hpa_name: String,
    status_error_counts: bool,
}

/// The end of a pass.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// In the order of their emission.
    pub events: Vec<Event>,
    pub history: History,
    pub error: Option<String>,
    pub explanation: Explanation,
    pub labels: Labels,
}

/// Labels of the controller's Prometheus metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    pub action: Action,
    pub error: ErrorKind,
    pub metrics: Vec<MetricLabels>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricLabels {
    pub r#type: String,
    pub action: Action,
    pub error: ErrorKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    ScaleUp,
    ScaleDown,
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    None,
    Internal,
    Spec,
}

/// The bookkeeping of writing a scale against conflicts. Start with an update; each answer says what to do next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScaleWrite {
    pub attempts: u32,
}

/// What the API server said to an update of the scale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScaleAnswer {
    Written,
    Conflict(String),
    Failed(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextWrite {
    /// Pause for about `SCALE_RETRY_PAUSE_NS`, read the scale again (if that fails, use the copy at hand), update it to the
    /// same count.
    Retry,
    /// Hand this to [`Pass::conclude`].
    Done(Result<(), String>),
}

/// What a pass is about to report.
#[derive(Clone, Debug)]
struct Draft {
    namespace: String,
    name: String,
    target: ObjectRef,
    now: Time,
    status: Status,
    events: Vec<Event>,
    history: History,
    explanation: Explanation,
    metric_labels: Vec<MetricLabels>,
    metric_statuses: Vec<MetricStatus>,
    /// `None`: the pass ended before the scale was known.
    current: Option<i32>,
}

#[derive(Clone, Debug)]
struct Rescale {
    desired: i32,
    reason: String,
    /// Where the spec has a behavior: the rules of the direction, to record the scale event by.
    rules: Option<ScalingRules>,
    scaled_to_zero: Option<bool>,
}

/// The decision of one pass. Pure and total: the same input gives the same output, and no input makes it fail.
pub fn decide(hpa: &Hpa<'_>, history: &History, seen: &Observation<'_>, config: &Config) -> Pass {
    let draft = Draft::new(hpa, history, seen.now);
    let scale = match scale_of(hpa, seen) {
        Ok(scale) => scale,
        Err((text, error, kind)) => return draft.without_scale(hpa, &text, error, kind),
    };
    compute::with_scale(draft, hpa, seen, config, scale)
}

/// The scale, or the text of the event, the error of the pass and its kind.
fn scale_of<'a>(hpa: &Hpa<'_>, seen: &'a Observation<'_>) -> Result<&'a Scale, (String, String, ErrorKind)> {
    let target = &hpa.spec.scale_target_ref;
    if target.api_version.matches('/').count() > 1 {
        let text = format!("unexpected GroupVersion string: {}", target.api_version);
        let error = format!("invalid API version in scale target reference: {text}");
        return Err((text, error, ErrorKind::Spec));
    }
    seen.scale.as_ref().map_err(|e| match e {
        ScaleError::UnknownKind(e) => {
            let error = format!("unable to determine resource for scale target reference: {e}");
            (e.clone(), error, ErrorKind::Internal)
        }
        ScaleError::Unreadable(e) => {
            let reference = format!("{}/{}/{}", target.kind, hpa.namespace, target.name);
            (e.clone(), format!("failed to query scale subresource for {reference}: {e}"), ErrorKind::Internal)
        }
    })
}

impl ScaleError {
    /// The outcome of trying each resource that a kind maps to, in turn.
    pub fn first_of(attempts: impl IntoIterator<Item = Result<Scale, String>>) -> Result<Scale, ScaleError> {
        let mut first_error = None;
        for attempt in attempts {
            match attempt {
                Ok(scale) => return Ok(scale),
                Err(e) => first_error.get_or_insert(e),
            };
        }
        Err(ScaleError::Unreadable(first_error.unwrap_or_else(|| "unrecognized resource".into())))
    }
}

impl ScaleWrite {
    pub fn answered(&mut self, answer: ScaleAnswer) -> NextWrite {
        self.attempts += 1;
        match answer {
            ScaleAnswer::Written => NextWrite::Done(Ok(())),
            ScaleAnswer::Conflict(_) if self.attempts < SCALE_UPDATE_ATTEMPTS_MAX => NextWrite::Retry,
            ScaleAnswer::Conflict(e) | ScaleAnswer::Failed(e) => NextWrite::Done(Err(e)),
        }
    }
}

impl Pass {
    /// The count to write to the scale, if any.
    pub fn scale_write(&self) -> Option<i32> {
        self.rescale.as_ref().map(|r| r.desired)
    }

    /// The explanation as far as it goes before the write.
    pub fn explanation(&self) -> &Explanation {
        &self.draft.explanation
    }

    /// `written` is the outcome of the scale write; without one it is not looked at.
    pub fn conclude(self, written: Result<(), String>) -> Conclusion {
        let Pass {
            mut draft, stored, rescale, trailing_event, mut error, mut error_kind, mut status_error_counts, ..
        } = self;
        let mut action = Action::None;
        if let (Some(rescale), Some(current)) = (rescale, draft.current) {
            match written {
                Ok(()) => {
                    action = if rescale.desired > current { Action::ScaleUp } else { Action::ScaleDown };
                    draft.rescaled(current, &rescale);
                }
                Err(e) => {
                    draft.rescale_failed(current, &rescale, &e, stored.desired_replicas);
                    error = Some(format!("failed to rescale {}: {e}", draft.reference()));
                    error_kind = ErrorKind::Internal;
                    status_error_counts = false;
                }
            }
        }
        let labels = Labels { action, error: error_kind, metrics: draft.metric_labels };
        Conclusion {
            status: (draft.status != stored).then_some(draft.status),
            outcome: Outcome {
                events: draft.events,
                history: draft.history,
                error,
                explanation: draft.explanation,
                labels,
            },
            trailing_event,
            hpa_name: draft.name,
            status_error_counts,
        }
    }
}

impl Conclusion {
    /// `written` is the outcome of the status write; without one it is not looked at.
    pub fn finish(self, written: Result<(), String>) -> Outcome {
        let Conclusion { status, mut outcome, trailing_event, hpa_name, status_error_counts } = self;
        if let (Some(_), Err(e)) = (status, written) {
            outcome.events.push(Event::warning("FailedUpdateStatus", e.clone()));
            if status_error_counts {
                let error = format!("failed to update status for {hpa_name}: {e}");
                outcome.explanation.error = Some(error.clone());
                outcome.error = Some(error);
                outcome.labels.error = ErrorKind::Internal;
            }
        }
        outcome.events.extend(trailing_event);
        outcome
    }
}

impl Draft {
    fn new(hpa: &Hpa<'_>, history: &History, now: Time) -> Draft {
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

    fn reference(&self) -> String {
        format!("{}/{}/{}", self.target.kind, self.namespace, self.target.name)
    }

    fn set(&mut self, r#type: &str, status: ConditionStatus, reason: &str, message: impl Into<String>) {
        self.status.set_condition(r#type, status, reason, message.into(), self.now);
    }

    /// Only conditions change; counts and metrics stay as they were.
    fn without_scale(mut self, hpa: &Hpa<'_>, text: &str, error: String, kind: ErrorKind) -> Pass {
        self.events.push(Event::warning("FailedGetScale", text.into()));
        let message = format!("the HPA controller was unable to get the target's current scale: {text}");
        self.set(ABLE_TO_SCALE, ConditionStatus::False, "FailedGetScale", message);
        self.explanation.error = Some(error.clone());
        Pass { error: Some(error), error_kind: kind, status_error_counts: false, ..self.ready(hpa.status) }
    }

    /// A pass that writes no scale and ends well, to be changed where it does not.
    fn ready(self, stored: &Status) -> Pass {
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

    fn set_status(&mut self, current: i32, desired: i32) {
        self.status.observed_generation = None;
        self.status.current_replicas = current;
        self.status.desired_replicas = desired;
        self.status.current_metrics = std::mem::take(&mut self.metric_statuses);
        self.explanation.applied = desired;
    }

    fn rescaled(&mut self, current: i32, rescale: &Rescale) {
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
    fn rescale_failed(&mut self, current: i32, rescale: &Rescale, e: &str, stored_desired: i32) {
        let message = format!("New size: {}; reason: {}; error: {e}", rescale.desired, rescale.reason);
        self.events.push(Event::warning("FailedRescale", message));
        let message = format!("the HPA controller was unable to update the target scale: {e}");
        self.set(ABLE_TO_SCALE, ConditionStatus::False, "FailedUpdateScale", message);
        self.set_status(current, stored_desired);
        self.explanation.applied = current;
        self.explanation.write = Write::Failed(e.into());
    }

    /// The computation failed: nothing is recommended, the desired count stays what it was.
    fn not_computed(mut self, hpa: &Hpa<'_>, current: i32, error: &str) -> Pass {
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

    fn inactive(&mut self, reason: &str, message: String) {
        self.set(SCALING_ACTIVE, ConditionStatus::False, reason, message);
    }
}

impl Action {
    pub(crate) fn from_to(from: i32, to: i32) -> Action {
        match to.cmp(&from) {
            std::cmp::Ordering::Greater => Action::ScaleUp,
            std::cmp::Ordering::Less => Action::ScaleDown,
            std::cmp::Ordering::Equal => Action::None,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Action::ScaleUp => "scale_up",
            Action::ScaleDown => "scale_down",
            Action::None => "none",
        }
    }
}

impl ErrorKind {
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorKind::None => "none",
            ErrorKind::Internal => "internal",
            ErrorKind::Spec => "spec",
        }
    }
}
