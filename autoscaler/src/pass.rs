//! One pass over one HPA: the whole reconcile, as a conversation in values.
//!
//! Upstream's pass reads the world, writes the scale, then writes the status, and each write can fail. Here the host
//! does all that, and the pass says what to do:
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
mod draft;

use draft::{Draft, Rescale};

use crate::config::{Config, SCALE_UPDATE_ATTEMPTS_MAX};
use crate::explain::Explanation;
use crate::history::History;
use crate::pod::Pod;
use crate::registry::Registry;
use crate::sample::Answer;
use crate::selector::Selector;
use crate::spec::Spec;
use crate::status::{Event, Status};
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
    /// Pause for about `SCALE_RETRY_PAUSE_NS`, read the scale again (if that fails, use the copy at hand), update it to
    /// the same count.
    Retry,
    /// Hand this to [`Pass::conclude`].
    Done(Result<(), String>),
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
