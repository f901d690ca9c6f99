//! Why a pass decided what it decided, as data; `render` turns it into words.
//!
//! Everything here is a by-product of deciding, not a second opinion: the counts are the ones that were multiplied, the
//! limits are the ones that were applied. The counterfactuals run the same code with one stage left out.

mod render;

use std::sync::Arc;

use crate::replicas::ErrorClass;
use crate::time::Time;

#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    pub at: Time,
    /// `spec.replicas` of the scale, where it could be read.
    pub current: Option<i32>,
    /// What the scale is now asked for: `current` again if nothing was written, or the write failed.
    pub applied: i32,
    pub course: Course,
    pub min: i32,
    pub max: i32,
    /// The pods that the selector matched, in the order of every [`MetricExplanation::verdicts`].
    pub pods: Vec<Arc<str>>,
    pub metrics: Vec<MetricExplanation>,
    /// Index into `metrics`: whose proposal was taken.
    pub winner: Option<usize>,
    /// What the metrics ask for, before anything below held it back.
    pub recommended: Option<i32>,
    pub stabilization: Option<Stabilization>,
    pub rate: Option<RateLimit>,
    pub bound: Option<Bound>,
    pub write: Write,
    pub without: Option<Without>,
    /// What failed beside metrics and the write of the scale: reading the scale, the selector, listing pods, writing
    /// the status.
    pub error: Option<String>,
}

/// Which way the pass went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// The scale could not be read.
    NoScale,
    /// The target has zero replicas, and the HPA does not wake it.
    Disabled,
    /// More replicas than `maxReplicas`: brought back without looking at metrics.
    AboveMax,
    /// Fewer replicas than `minReplicas`: likewise.
    BelowMin,
    /// Selector or metrics failed.
    NotComputed,
    Computed,
}

#[derive(Clone, Debug, PartialEq)]
pub struct MetricExplanation {
    /// As in conditions: `cpu resource utilization (percentage of request)`.
    pub name: String,
    /// Short: `cpu`, `app/cpu`, `rps`.
    pub label: String,
    /// One per pod of [`Explanation::pods`]; empty where pods were not looked at.
    pub verdicts: Vec<Verdict>,
    pub sampled_at: Option<Time>,
    pub outcome: Result<Proposed, Failure>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub class: ErrorClass,
    pub message: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Proposed {
    pub replicas: i32,
    pub usage: Measure,
    pub target: Measure,
    /// Usage over target.
    pub ratio: f64,
    /// The ratio again after pods without a usable sample were filled in.
    pub adjusted_ratio: Option<f64>,
    /// What the ratio was multiplied by: pods counted (per-pod metrics), ready pods (Value), nothing (averages of a
    /// whole).
    pub multiplied_by: Option<usize>,
    pub rule: Rule,
    pub tolerance_down: f64,
    pub tolerance_up: f64,
    /// The proposal with both tolerances at zero.
    pub without_tolerance: i32,
}

/// A value with the unit that its metric is judged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Percent of request, and the average behind it (absent in a target).
    Percent { percent: i32, average_milli: Option<i64> },
    /// Average per pod.
    AverageMilli(i64),
    /// The value of the whole.
    ValueMilli(i64),
}

/// How the proposal came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Within tolerance: stay.
    Tolerated,
    /// Ratio times count, rounded up.
    Scaled,
    /// After filling in absent samples the ratio pointed the other way: stay.
    Reversed,
    /// The product pointed the other way than its ratio: stay.
    Contradicted,
}

/// What became of one pod in one metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Counted,
    /// Being deleted, or failed.
    Ignored,
    Unready(Unready),
    /// No sample.
    Missing,
}

/// Why a pod's load says nothing yet. All but the first only for cpu.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unready {
    Pending,
    /// Within the CPU initialization period, and not ready.
    Starting,
    /// Within that period and ready, but the sample's window reaches back to before it was.
    MeasuredEarly,
    /// Older, and not ready since soon after its start.
    NeverReady,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stabilization {
    pub from: i32,
    pub to: i32,
    /// `to` is held up by the highest, or down by the lowest, recommendation of this window.
    pub direction: Held,
    pub window_ns: i64,
    /// When the recommendation that holds was made; absent where the current count itself holds.
    pub since: Option<Time>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    Up,
    Down,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimit {
    pub from: i32,
    pub to: i32,
    pub policy: LimitingPolicy,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitingPolicy {
    /// Without `behavior`: at most double, or 4.
    Legacy,
    /// `selectPolicy: Disabled`.
    Disabled,
    /// The policy at this index of its direction won by `selectPolicy`.
    Policy { index: usize, r#type: String, value: i32, period_s: i32 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    pub from: i32,
    pub to: i32,
    pub kind: BoundKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoundKind {
    Min,
    Max,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    NotNeeded,
    Written,
    Failed(String),
}

/// The count that the pass would have arrived at with one stage left out, everything else alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Without {
    pub tolerance: i32,
    pub stabilization: i32,
    pub policies: i32,
    pub bounds: i32,
}

impl Explanation {
    /// Names of the pods that one metric judged so.
    pub fn pods_judged<'a>(
        &'a self,
        metric: &'a MetricExplanation,
        verdict: Verdict,
    ) -> impl Iterator<Item = &'a str> + 'a {
        self.pods.iter().zip(&metric.verdicts).filter(move |(_, v)| **v == verdict).map(|(name, _)| &**name)
    }
}

impl MetricExplanation {
    pub fn count(&self, verdict: Verdict) -> usize {
        self.verdicts.iter().filter(|v| **v == verdict).count()
    }
}
