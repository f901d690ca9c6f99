//! Normalisation without `behavior`.
//!
//! The highest recommendation of the window applies, unlimited as it was made. So a peak that the up-limit cut short
//! keeps pulling the target up for the rest of the window, even when the metrics ask for less by then. There is no
//! down-limit.

use super::{Able, Input, Limit, Normalized, Stages};
use crate::explain::{Held, LimitingPolicy, Stabilization};
use crate::number::f64_to_i32;

pub(crate) fn normalize(input: &Input<'_>, stages: Stages) -> Normalized {
    let desired = input.desired;
    let window_ns = input.config.downscale_stabilization_ns;
    let cutoff = input.now - window_ns;
    let mut stabilized = desired;
    let mut since = None;
    let mut slot = None;
    for (i, recommendation) in input.history.recommendations().iter().enumerate() {
        if recommendation.at < cutoff {
            slot = Some(i);
        } else if stages.stabilization && recommendation.replicas > stabilized {
            stabilized = recommendation.replicas;
            since = Some(recommendation.at);
        }
    }
    let held = stabilized != desired;
    let (replicas, limit) = limited(input, stabilized, stages);
    let (rate, bound) = limit.explain(stabilized, replicas, LimitingPolicy::Legacy);
    Normalized {
        replicas,
        able: if held { Able::ScaleDownStabilized } else { Able::ReadyForNewScale },
        limit,
        slot,
        stabilization: held.then_some(Stabilization {
            from: desired,
            to: stabilized,
            direction: Held::Up,
            window_ns,
            since,
        }),
        rate,
        bound,
    }
}

fn limited(input: &Input<'_>, stabilized: i32, stages: Stages) -> (i32, Limit) {
    let min = if stages.bounds { input.spec.min() } else { 0 };
    let max = if stages.bounds { input.spec.max_replicas } else { i32::MAX };
    let up_limit = if stages.policies { up_limit(input) } else { i32::MAX };
    let (highest, limit) = if max > up_limit { (up_limit, Limit::ScaleUp) } else { (max, Limit::TooMany) };
    if stabilized < min {
        (min, Limit::TooFew)
    } else if stabilized > highest {
        (highest, limit)
    } else {
        (stabilized, Limit::WithinRange)
    }
}

fn up_limit(input: &Input<'_>) -> i32 {
    let factor = input.config.legacy_scale_up_limit_factor;
    f64_to_i32((factor * f64::from(input.current)).max(input.config.legacy_scale_up_limit_minimum))
}
