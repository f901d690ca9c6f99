//! What the API server fills in: `minReplicas`, the cpu metric, and both directions of a `behavior`.
//!
//! `behavior` itself has no default: leaving it out selects the older path. Its down-window has none either; the
//! controller fills that in from its flag at each pass.

use crate::spec::{Behavior, Metric, PERCENT_POLICY, PODS_POLICY, Policy, SELECT_MAX, ScalingRules, Spec, Target};

/// Percent of request, where an HPA names no metric.
pub const CPU_UTILIZATION_PERCENT: i32 = 80;

pub fn apply(spec: &mut Spec) {
    spec.min_replicas.get_or_insert(1);
    if spec.metrics.is_empty() {
        spec.metrics.push(Metric::resource("cpu", Target::utilization(CPU_UTILIZATION_PERCENT)));
    }
    if let Some(behavior) = &mut spec.behavior {
        apply_behavior(behavior);
    }
}

/// Field by field: what the user gave replaces the default of that field only.
pub fn apply_behavior(behavior: &mut Behavior) {
    let policy = |r#type: &str, value| Policy { r#type: r#type.into(), value, period_s: 15 };
    let up = behavior.scale_up.get_or_insert_default();
    up.stabilization_window_s.get_or_insert(0);
    complete(up, || vec![policy(PODS_POLICY, 4), policy(PERCENT_POLICY, 100)]);
    let down = behavior.scale_down.get_or_insert_default();
    complete(down, || vec![policy(PERCENT_POLICY, 100)]);
}

fn complete(rules: &mut ScalingRules, policies: impl Fn() -> Vec<Policy>) {
    rules.select_policy.get_or_insert_with(|| SELECT_MAX.into());
    rules.policies.get_or_insert_with(policies);
}
