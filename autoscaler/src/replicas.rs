//! How many replicas one metric asks for.
//!
//! Mirrors upstream's replica calculator: the order of its errors, its truncations (utilisation is a whole percentage
//! *before* it becomes a ratio) and its floats (one rounding per operation). Value metrics multiply by ready pods,
//! averages of a whole divide by `status.replicas` of the scale, per-pod metrics fill in what pods without a sample
//! would say.

mod per_pod;

use std::cell::OnceCell;

use per_pod::PerPod;

use crate::classify;
use crate::config::Config;
use crate::explain::{Measure, Rule, Verdict};
use crate::number::{ceil_to_i32, f64_to_i64};
use crate::pod::{Phase, Pod};
use crate::sample::{self, Answer, JoinedSamples, Measured, NameIndex};
use crate::time::Time;

/// What went wrong with one metric, by whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    MetricsUnavailable,
    PodListFailed,
    NoPods,
    NoUsablePodMetrics,
    ZeroTotalRequest,
    MissingContainerRequest,
    ContainerNotFound,
    MissingPodLevelRequest,
    ReadyPodsUnavailable,
    BadMetricSelector,
    /// The spec has no usable target, or an unknown type.
    InvalidSpec,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MetricError {
    pub(crate) class: ErrorClass,
    pub(crate) message: String,
}

/// The distance from 1 that a ratio may have without effect, per direction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Tolerance {
    pub(crate) down: f64,
    pub(crate) up: f64,
}

/// What every metric of one pass has in common.
pub(crate) struct Calculator<'a> {
    /// What the target's selector matches, or the error of listing it.
    pub(crate) pods: Result<&'a [&'a Pod], &'a str>,
    /// `spec.replicas` of the scale.
    pub(crate) current: i32,
    /// `status.replicas` of the scale.
    pub(crate) status_replicas: i32,
    pub(crate) tolerance: Tolerance,
    pub(crate) now: Time,
    pub(crate) config: &'a Config,
    /// Of the pods, by name; made on first need.
    pub(crate) index: OnceCell<NameIndex>,
}

/// A calculation, and what it learned about the pods on its way even if it failed.
pub(crate) struct Calculation {
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) sampled_at: Option<Time>,
    pub(crate) outcome: Result<Proposal, MetricError>,
}

#[derive(Clone, Debug)]
pub(crate) struct Proposal {
    pub(crate) replicas: i32,
    pub(crate) usage: Measure,
    pub(crate) target: Measure,
    pub(crate) ratio: f64,
    pub(crate) adjusted_ratio: Option<f64>,
    pub(crate) multiplied_by: Option<usize>,
    pub(crate) rule: Rule,
    pub(crate) without_tolerance: i32,
}

/// The target of a per-pod metric.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    UtilizationPercent(i32),
    AverageMilli(i64),
}

impl ErrorClass {
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorClass::MetricsUnavailable => "metrics_unavailable",
            ErrorClass::PodListFailed => "pod_list_failed",
            ErrorClass::NoPods => "no_pods",
            ErrorClass::NoUsablePodMetrics => "no_usable_pod_metrics",
            ErrorClass::ZeroTotalRequest => "zero_total_request",
            ErrorClass::MissingContainerRequest => "missing_container_request",
            ErrorClass::ContainerNotFound => "container_not_found",
            ErrorClass::MissingPodLevelRequest => "missing_pod_level_request",
            ErrorClass::ReadyPodsUnavailable => "ready_pods_unavailable",
            ErrorClass::BadMetricSelector => "bad_metric_selector",
            ErrorClass::InvalidSpec => "invalid_spec",
        }
    }
}

impl MetricError {
    pub(crate) fn new(class: ErrorClass, message: impl Into<String>) -> MetricError {
        MetricError { class, message: message.into() }
    }

    fn context(self, context: &str) -> MetricError {
        MetricError { message: format!("{context}: {}", self.message), ..self }
    }
}

impl Tolerance {
    pub(crate) const ZERO: Tolerance = Tolerance { down: 0.0, up: 0.0 };

    fn covers(self, ratio: f64) -> bool {
        1.0 - self.down <= ratio && ratio <= 1.0 + self.up
    }
}

impl Calculation {
    pub(crate) fn failed(error: MetricError) -> Calculation {
        Calculation::without_pods(Err(error))
    }

    fn without_pods(outcome: Result<Proposal, MetricError>) -> Calculation {
        Calculation { verdicts: Vec::new(), sampled_at: None, outcome }
    }
}

impl Calculator<'_> {
    /// Resource, ContainerResource and Pods metrics. `subject` is how an error of the metrics API names the metric.
    pub(crate) fn per_pod(&self, answer: Answer<'_>, measured: Measured<'_>, goal: Goal, subject: &str) -> Calculation {
        let listed = self.pods.unwrap_or_default();
        let samples = match sample::join(answer, measured, listed, &self.index) {
            Ok(samples) => samples,
            Err(e) => {
                let message = format!("unable to get {subject}: {e}");
                return Calculation::failed(MetricError::new(ErrorClass::MetricsUnavailable, message));
            }
        };
        let pods = match self.listed_pods() {
            Ok(pods) => pods,
            Err(e) => return Calculation { sampled_at: samples.first_at, ..Calculation::failed(e) },
        };
        let verdicts = self.verdicts(pods, &samples, measured);
        let outcome =
            PerPod { calculator: self, pods, samples: &samples, verdicts: &verdicts, measured, goal }.propose();
        Calculation { verdicts, sampled_at: samples.first_at, outcome }
    }

    pub(crate) fn verdicts(&self, pods: &[&Pod], samples: &JoinedSamples, measured: Measured<'_>) -> Vec<Verdict> {
        let is_cpu = measured.resource() == "cpu";
        let samples = samples.by_pod.iter().map(Option::as_ref).chain(std::iter::repeat(None));
        pods.iter().zip(samples).map(|(p, s)| classify::verdict(p, s, is_cpu, self.now, self.config)).collect()
    }

    /// Object and External metrics with a `value`.
    pub(crate) fn value(&self, usage_milli: i64, target_milli: i64) -> Calculation {
        let ratio = usage_milli as f64 / target_milli as f64;
        let propose = |replicas, without_tolerance, multiplied_by, rule| Proposal {
            replicas,
            usage: Measure::ValueMilli(usage_milli),
            target: Measure::ValueMilli(target_milli),
            ratio,
            adjusted_ratio: None,
            multiplied_by,
            rule,
            without_tolerance,
        };
        if self.current == 0 {
            let replicas = ceil_to_i32(ratio);
            return Calculation::without_pods(Ok(propose(replicas, replicas, None, Rule::Scaled)));
        }
        let tolerated = self.tolerance.covers(ratio);
        let ready = self.ready_pods();
        let scaled = |ready: usize| {
            let product = ratio * ready as f64;
            if product > f64::from(i32::MAX) { i32::MAX } else { ceil_to_i32(product) }
        };
        let outcome =
            match ready {
                _ if tolerated => {
                    let without_tolerance = match (Tolerance::ZERO.covers(ratio), &ready) {
                        (false, Ok(ready)) => scaled(*ready),
                        _ => self.current,
                    };
                    Ok(propose(self.current, without_tolerance, ready.ok(), Rule::Tolerated))
                }
                Ok(ready) => {
                    let replicas = scaled(ready);
                    Ok(propose(replicas, replicas, Some(ready), Rule::Scaled))
                }
                Err(e) => Err(MetricError { class: ErrorClass::ReadyPodsUnavailable, ..e }
                    .context("unable to calculate ready pods")),
            };
        Calculation::without_pods(outcome)
    }

    /// Object and External metrics with an `averageValue`. `capped`: External stops at i32's end where Object is cut.
    pub(crate) fn average_of_whole(&self, usage_milli: i64, target_milli: i64, capped: bool) -> Calculation {
        let (usage, target) = (usage_milli as f64, target_milli as f64);
        let ratio = usage / (target * f64::from(self.status_replicas));
        let needed = (usage / target).ceil();
        let scaled = if capped && needed > f64::from(i32::MAX) { i32::MAX } else { ceil_to_i32(needed) };
        let tolerated = self.tolerance.covers(ratio);
        let average_milli = match capped {
            // As a float the largest integer is 2^63 itself, so a sum that hit the end stays there.
            true if usage >= 9_223_372_036_854_775_808.0 => i64::MAX,
            _ => f64_to_i64((usage / f64::from(self.status_replicas)).ceil()),
        };
        let outcome = Ok(Proposal {
            replicas: if tolerated { self.status_replicas } else { scaled },
            usage: Measure::AverageMilli(average_milli),
            target: Measure::AverageMilli(target_milli),
            ratio,
            adjusted_ratio: None,
            multiplied_by: None,
            rule: if tolerated { Rule::Tolerated } else { Rule::Scaled },
            without_tolerance: if Tolerance::ZERO.covers(ratio) { self.status_replicas } else { scaled },
        });
        Calculation::without_pods(outcome)
    }

    fn listed_pods(&self) -> Result<&[&Pod], MetricError> {
        match self.pods {
            Err(e) => {
                let message = format!("unable to get pods while calculating replica count: {e}");
                Err(MetricError::new(ErrorClass::PodListFailed, message))
            }
            Ok([]) => {
                let message = "no pods returned by selector while calculating replica count";
                Err(MetricError::new(ErrorClass::NoPods, message))
            }
            Ok(pods) => Ok(pods),
        }
    }

    /// Running and ready; one that is being deleted still counts here.
    fn ready_pods(&self) -> Result<usize, MetricError> {
        Ok(self.listed_pods()?.iter().filter(|p| p.phase == Phase::Running && p.is_ready()).count())
    }
}

/// The sum of an External metric's series for a `value` target: stops at i64's end.
pub(crate) fn sum_for_value(values: &[sample::Value]) -> i64 {
    let mut sum = 0i64;
    for value in values.iter().map(|v| v.value_milli) {
        if value > 0 && sum > i64::MAX - value {
            return i64::MAX;
        }
        sum = sum.wrapping_add(value);
    }
    sum
}

/// The same for an `averageValue` target: any negative running sum is taken for an overflow, so it means infinity.
pub(crate) fn sum_for_average(values: &[sample::Value]) -> i64 {
    let mut sum = 0i64;
    for value in values.iter().map(|v| v.value_milli) {
        sum = sum.wrapping_add(value);
        if sum < 0 {
            return i64::MAX;
        }
    }
    sum
}

impl Goal {
    fn measure(self) -> Measure {
        match self {
            Goal::UtilizationPercent(percent) => Measure::Percent { percent, average_milli: None },
            Goal::AverageMilli(average) => Measure::AverageMilli(average),
        }
    }
}
