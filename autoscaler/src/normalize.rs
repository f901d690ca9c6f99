//! From what the metrics ask for to what may be done: stabilisation, rate limits, bounds.
//!
//! Two ways, chosen by whether the spec has a `behavior`: [`legacy`] and [`behavior`]. Both return the count and, for
//! the explanation, what each stage did; both can leave a stage out, which answers "what if".

pub(crate) mod behavior;
pub(crate) mod legacy;

use crate::config::Config;
use crate::explain::{Bound, BoundKind, LimitingPolicy, RateLimit, Stabilization};
use crate::history::History;
use crate::spec::Spec;
use crate::time::{NS_PER_S, Time};

pub(crate) struct Input<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) history: &'a History,
    pub(crate) config: &'a Config,
    pub(crate) now: Time,
    pub(crate) current: i32,
    /// What the metrics ask for, at least 0.
    pub(crate) desired: i32,
}

/// Which stages to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stages {
    pub(crate) stabilization: bool,
    pub(crate) policies: bool,
    pub(crate) bounds: bool,
}

pub(crate) struct Normalized {
    pub(crate) replicas: i32,
    pub(crate) able: Able,
    pub(crate) limit: Limit,
    /// The slot of the recommendations that has aged out, to be overwritten.
    pub(crate) slot: Option<usize>,
    pub(crate) stabilization: Option<Stabilization>,
    pub(crate) rate: Option<RateLimit>,
    pub(crate) bound: Option<Bound>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Able {
    ReadyForNewScale,
    ScaleUpStabilized,
    ScaleDownStabilized,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    WithinRange,
    ScaleUp,
    ScaleDown,
    TooMany,
    TooFew,
}

pub(crate) fn normalize(input: &Input<'_>, stages: Stages) -> Normalized {
    match &input.spec.behavior {
        None => legacy::normalize(input, stages),
        Some(rules) => behavior::normalize(input, rules, stages),
    }
}

impl Stages {
    pub(crate) const ALL: Stages = Stages { stabilization: true, policies: true, bounds: true };
}

impl Able {
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Able::ReadyForNewScale => "ReadyForNewScale",
            Able::ScaleUpStabilized => "ScaleUpStabilized",
            Able::ScaleDownStabilized => "ScaleDownStabilized",
        }
    }

    pub(crate) fn message(self) -> &'static str {
        match self {
            Able::ReadyForNewScale => "recommended size matches current size",
            Able::ScaleUpStabilized => {
                "recent recommendations were lower than current one, applying the lowest recent recommendation"
            }
            Able::ScaleDownStabilized => {
                "recent recommendations were higher than current one, applying the highest recent recommendation"
            }
        }
    }
}

impl Limit {
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Limit::WithinRange => "DesiredWithinRange",
            Limit::ScaleUp => "ScaleUpLimit",
            Limit::ScaleDown => "ScaleDownLimit",
            Limit::TooMany => "TooManyReplicas",
            Limit::TooFew => "TooFewReplicas",
        }
    }

    pub(crate) fn message(self) -> &'static str {
        match self {
            Limit::WithinRange => "the desired count is within the acceptable range",
            Limit::ScaleUp => "the desired replica count is increasing faster than the maximum scale rate",
            Limit::ScaleDown => "the desired replica count is decreasing faster than the maximum scale rate",
            Limit::TooMany => "the desired replica count is more than the maximum replica count",
            Limit::TooFew => "the desired replica count is less than the minimum replica count",
        }
    }

    /// What it did, as an explanation of a rate or of a bound.
    fn explain(self, from: i32, to: i32, policy: LimitingPolicy) -> (Option<RateLimit>, Option<Bound>) {
        match self {
            Limit::WithinRange => (None, None),
            Limit::ScaleUp | Limit::ScaleDown => (Some(RateLimit { from, to, policy }), None),
            Limit::TooMany => (None, Some(Bound { from, to, kind: BoundKind::Max })),
            Limit::TooFew => (None, Some(Bound { from, to, kind: BoundKind::Min })),
        }
    }
}

fn seconds(s: i32) -> i64 {
    i64::from(s).saturating_mul(NS_PER_S)
}
