//! The middle of a pass: the scale is known, the count is not.
//!
//! Out-of-bounds counts are brought back without a look at the metrics; zero is left alone unless the HPA itself went
//! there; everything else goes through selector, metrics and normalisation.

use std::cell::OnceCell;

use super::draft::{Draft, Rescale};
use super::{Action, ErrorKind, Hpa, MetricLabels, Observation, Pass, Scale, counterfactual};
use crate::config::Config;
use crate::explain::{Bound, BoundKind, Course};
use crate::history::Recommendation;
use crate::metric::{self, Evaluated, Wrapped};
use crate::normalize::{self, Able, Input, Limit, Normalized, Stages};
use crate::pod::Pod;
use crate::replicas::{Calculator, Tolerance};
use crate::sample::Answer;
use crate::selector::Selector;
use crate::spec::{ScalingRules, Spec};
use crate::status::{
    ABLE_TO_SCALE, ConditionStatus, Event, MetricStatus, SCALED_TO_ZERO, SCALING_ACTIVE, SCALING_LIMITED,
};

pub(super) fn with_scale(
    mut draft: Draft,
    hpa: &Hpa<'_>,
    seen: &Observation<'_>,
    config: &Config,
    scale: &Scale,
) -> Pass {
    let message = "the HPA controller was able to get the target's current scale";
    draft.set(ABLE_TO_SCALE, ConditionStatus::True, "SucceededGetScale", message);
    let (spec, current) = (hpa.spec, scale.spec_replicas);
    let (min, max) = (spec.min(), spec.max_replicas);
    draft.current = Some(current);
    draft.explanation.current = Some(current);
    if draft.history.recommendations.is_none() {
        draft.history.recommend(None, Recommendation { replicas: current, at: draft.now });
    }
    if current == 0 && !wakes_from_zero(hpa, config) {
        if !config.gates.scale_to_zero {
            draft.status.remove_condition(SCALED_TO_ZERO);
        }
        let message = "scaling is disabled since the replica count of the target is zero";
        draft.inactive("ScalingDisabled", message.into());
        draft.explanation.course = Course::Disabled;
        return draft.decided(hpa, config, current, 0, String::new());
    }
    if current > max {
        draft.explanation.course = Course::AboveMax;
        draft.explanation.bound = Some(Bound { from: current, to: max, kind: BoundKind::Max });
        return draft.decided(hpa, config, current, max, "Current number of replicas above Spec.MaxReplicas".into());
    }
    if current < min && current != 0 {
        draft.explanation.course = Course::BelowMin;
        draft.explanation.bound = Some(Bound { from: current, to: min, kind: BoundKind::Min });
        return draft.decided(hpa, config, current, min, BELOW_MIN.into());
    }
    from_metrics(draft, hpa, seen, config, scale)
}

const BELOW_MIN: &str = "Current number of replicas below Spec.MinReplicas";

/// Whether a target at zero is looked at: only where this HPA took it there, and can tell when to return.
fn wakes_from_zero(hpa: &Hpa<'_>, config: &Config) -> bool {
    let went_there = hpa.status.condition(SCALED_TO_ZERO).is_some_and(|c| c.status == ConditionStatus::True);
    config.gates.scale_to_zero && went_there && (hpa.spec.min() != 0 || hpa.spec.has_object_or_external_metric())
}

fn from_metrics(mut draft: Draft, hpa: &Hpa<'_>, seen: &Observation<'_>, config: &Config, scale: &Scale) -> Pass {
    let current = scale.spec_replicas;
    let checked = check_selector(&mut draft, hpa, seen, scale);
    let (selector, pods) = match checked {
        Ok(checked) => checked,
        Err((selector, error)) => return Pass { selector, ..draft.not_computed(hpa, current, &error) },
    };
    draft.explanation.pods = pods.iter().map(|p| p.name.clone()).collect();
    let calculator = Calculator {
        pods: Ok(&pods),
        current,
        status_replicas: scale.status_replicas,
        tolerance: tolerance(hpa.spec, config),
        now: seen.now,
        config,
        index: OnceCell::new(),
    };
    let (fold, first_failure) = evaluate_all(&mut draft, hpa, seen, &calculator, &selector);
    let failed = first_failure.as_ref().map(|(count, wrapped)| {
        let of = hpa.spec.metrics.len();
        format!("invalid metrics ({count} invalid out of {of}), first error is: {}", wrapped.error)
    });
    let all_failed = first_failure.as_ref().is_some_and(|(count, _)| *count >= hpa.spec.metrics.len());
    if let (Some((_, wrapped)), Some(error)) = (&first_failure, &failed)
        && (all_failed || fold.replicas < current)
    {
        draft.inactive(wrapped.reason, format!("the HPA was unable to compute the replica count: {}", wrapped.text));
        return Pass { selector: Some(selector), ..draft.not_computed(hpa, current, error) };
    }
    let name = fold.winner.map_or(String::new(), |i| draft.explanation.metrics[i].name.clone());
    let message = format!("the HPA was able to successfully calculate a replica count from {name}");
    if hpa.spec.metrics.is_empty() {
        // Upstream counts none of none as failed, and sets the condition of a failure that it does not have.
        draft.set("", ConditionStatus::Unset, "", "");
    } else {
        draft.set(SCALING_ACTIVE, ConditionStatus::True, "ValidMetricFound", message);
    }
    draft.explanation.winner = fold.winner;
    let pass = normalized(draft, hpa, config, current, fold.replicas.max(0), &name);
    let error_kind = if failed.is_some() { ErrorKind::Internal } else { ErrorKind::None };
    Pass { selector: Some(selector), error: failed, error_kind, ..pass }
}

type SelectorFailure = (Option<Selector>, String);

/// The target's selector and the pods it matches, unless that is impossible or another HPA has the same pods.
fn check_selector<'a>(
    draft: &mut Draft,
    hpa: &Hpa<'_>,
    seen: &Observation<'a>,
    scale: &Scale,
) -> Result<(Selector, Vec<&'a Pod>), SelectorFailure> {
    if scale.selector.is_empty() {
        let error = "selector is required";
        draft.events.push(Event::warning("SelectorRequired", error.into()));
        draft.inactive("InvalidSelector", "the HPA target's scale is missing a selector".into());
        return Err((None, error.into()));
    }
    let mut refuse = |reason: &str, error: String| {
        draft.events.push(Event::warning(reason, error.clone()));
        draft.inactive(reason, error.clone());
        error
    };
    let selector = match Selector::parse(&scale.selector) {
        Ok(selector) => selector,
        Err(e) => {
            let error = format!("couldn't convert selector into a corresponding internal selector object: {e}");
            return Err((None, refuse("InvalidSelector", error)));
        }
    };
    let pods = match seen.pods {
        Ok(pods) => pods.iter().filter(|p| selector.matches(&p.labels)).collect::<Vec<_>>(),
        Err(e) => return Err((Some(selector), e.into())),
    };
    let controlling = seen.registry.controlling(hpa.namespace, (hpa.name, &selector), &pods);
    if controlling.len() > 1 {
        let keys: Vec<String> = controlling.iter().map(|name| format!("{}/{name}", hpa.namespace)).collect();
        let list = keys.join(" ");
        let error = format!("pods by selector {} are controlled by multiple HPAs: [{list}]", scale.selector);
        return Err((Some(selector), refuse("AmbiguousSelector", error)));
    }
    Ok((selector, pods))
}

/// The largest proposal so far, and whose it is.
#[derive(Clone, Copy, Default)]
struct Fold {
    replicas: i32,
    winner: Option<usize>,
}

impl Fold {
    /// Ties keep the earlier metric, except at zero, where any later proposal replaces it, even a negative one.
    fn add(&mut self, index: usize, replicas: i32) {
        if self.replicas == 0 || replicas > self.replicas {
            *self = Fold { replicas, winner: Some(index) };
        }
    }
}

/// Evaluates every metric in order. Also returns how many failed, with the first one's error.
fn evaluate_all(
    draft: &mut Draft,
    hpa: &Hpa<'_>,
    seen: &Observation<'_>,
    calculator: &Calculator<'_>,
    selector: &Selector,
) -> (Fold, Option<(usize, Wrapped)>) {
    let mut fold = Fold::default();
    let mut failures: Option<(usize, Wrapped)> = None;
    let all_selected = seen.pods.is_ok_and(|all| all.len() == draft.explanation.pods.len());
    for (i, spec) in hpa.spec.metrics.iter().enumerate() {
        let answer = seen.answers.get(i).copied().flatten();
        let kept = match answer {
            Some(Answer::Joined(joined)) if !all_selected => {
                let pods = seen.pods.unwrap_or_default();
                Some(joined.keep(pods.iter().map(|p| selector.matches(&p.labels))))
            }
            _ => None,
        };
        let answer = kept.as_ref().map(Answer::Joined).or(answer);
        let Evaluated { explanation, outcome } = metric::evaluate(spec, answer, calculator, hpa.namespace);
        draft.explanation.metrics.push(explanation);
        let (action, error) = match outcome {
            Ok(success) => {
                fold.add(i, success.replicas);
                draft.metric_statuses.push(success.status);
                (Action::from_to(hpa.status.current_replicas, success.replicas), ErrorKind::None)
            }
            Err(wrapped) => {
                draft.events.push(Event::warning(wrapped.reason, wrapped.text.clone()));
                draft.metric_statuses.push(MetricStatus::default());
                let kind = if wrapped.invalid_spec { ErrorKind::Spec } else { ErrorKind::Internal };
                failures = Some(match failures {
                    None => (1, wrapped),
                    Some((count, first)) => (count + 1, first),
                });
                (Action::None, kind)
            }
        };
        draft.metric_labels.push(MetricLabels { r#type: spec.r#type.clone(), action, error });
    }
    (fold, failures)
}

/// The global tolerance, each direction replaced by the spec's own where the gate is on.
fn tolerance(spec: &Spec, config: &Config) -> Tolerance {
    let behavior = spec.behavior.as_ref().filter(|_| config.gates.configurable_tolerance);
    let own = |rules: Option<&ScalingRules>| rules.and_then(|r| r.tolerance.as_ref()).map(|q| q.approximate_f64());
    Tolerance {
        down: behavior.and_then(|b| own(b.scale_down.as_ref())).unwrap_or(config.tolerance),
        up: behavior.and_then(|b| own(b.scale_up.as_ref())).unwrap_or(config.tolerance),
    }
}

fn normalized(mut draft: Draft, hpa: &Hpa<'_>, config: &Config, current: i32, desired: i32, winner: &str) -> Pass {
    let mut reason = match desired.cmp(&current) {
        std::cmp::Ordering::Greater => format!("{winner} above target"),
        std::cmp::Ordering::Less => "All metrics below target".into(),
        std::cmp::Ordering::Equal => String::new(),
    };
    let input = Input { spec: hpa.spec, history: &draft.history, config, now: draft.now, current, desired };
    let Normalized { mut replicas, able, limit, slot, stabilization, rate, bound } =
        normalize::normalize(&input, Stages::ALL);
    let min = hpa.spec.min();
    let raised = |replicas| if raised_from_zero(current, replicas, min, config, hpa) { min } else { replicas };
    let without = counterfactual::without(&input, &draft.explanation.metrics, raised);
    draft.explanation.course = Course::Computed;
    draft.explanation.recommended = Some(desired);
    draft.explanation.stabilization = stabilization;
    draft.explanation.rate = rate;
    draft.explanation.bound = bound;
    draft.explanation.without = Some(without);
    draft.history.recommend(slot, Recommendation { replicas: desired, at: draft.now });
    draft.normalization_conditions(able, limit);
    if raised(replicas) != replicas {
        draft.explanation.bound = Some(Bound { from: replicas, to: min, kind: BoundKind::Min });
        replicas = min;
        if reason.is_empty() {
            reason = BELOW_MIN.into();
        }
    }
    draft.decided(hpa, config, current, replicas, reason)
}

/// With `behavior` an unchanged zero is not raised to the minimum; this does it.
fn raised_from_zero(current: i32, replicas: i32, min: i32, config: &Config, hpa: &Hpa<'_>) -> bool {
    current == 0 && min != 0 && replicas < min && wakes_from_zero(hpa, config)
}

impl Draft {
    fn normalization_conditions(&mut self, able: Able, limit: Limit) {
        self.set(ABLE_TO_SCALE, ConditionStatus::True, able.reason(), able.message());
        let limited = if limit == Limit::WithinRange { ConditionStatus::False } else { ConditionStatus::True };
        self.set(SCALING_LIMITED, limited, limit.reason(), limit.message());
    }

    fn decided(mut self, hpa: &Hpa<'_>, config: &Config, current: i32, desired: i32, reason: String) -> Pass {
        if desired == current {
            self.set_status(current, current);
            return self.ready(hpa.status);
        }
        self.explanation.applied = desired;
        let behavior = hpa.spec.behavior.as_ref();
        let rules = behavior.map(|b| if desired > current { b.scale_up.clone() } else { b.scale_down.clone() });
        let to_zero = current > 0 && desired == 0 && hpa.spec.min() == 0 && hpa.spec.has_object_or_external_metric();
        let rescale = Rescale {
            desired,
            reason,
            rules: rules.map(Option::unwrap_or_default),
            scaled_to_zero: config.gates.scale_to_zero.then_some(to_zero),
        };
        Pass { rescale: Some(rescale), ..self.ready(hpa.status) }
    }
}
