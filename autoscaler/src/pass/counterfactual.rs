//! "What if": the same pass with one stage left out.
//!
//! The stages run as they do in earnest, on the same history, so the answers are exact, not estimates.

use crate::explain::{MetricExplanation, Without};
use crate::normalize::{Input, Stages, normalize};

/// `raise` is what happens to a count that is still at zero when it should not be; it belongs to the bounds.
pub(super) fn without(input: &Input<'_>, metrics: &[MetricExplanation], raise: impl Fn(i32) -> i32) -> Without {
    let leaving_out = |stages| normalize(input, stages).replicas;
    let untolerated = metrics.iter().filter_map(|m| m.outcome.as_ref().ok()).map(|p| p.without_tolerance).max();
    let desired = untolerated.unwrap_or(input.desired).max(0);
    Without {
        tolerance: raise(normalize(&Input { desired, ..*input }, Stages::ALL).replicas),
        stabilization: raise(leaving_out(Stages { stabilization: false, ..Stages::ALL })),
        policies: raise(leaving_out(Stages { policies: false, ..Stages::ALL })),
        bounds: leaving_out(Stages { bounds: false, ..Stages::ALL }),
    }
}
