//! Normalisation with `behavior`: stabilise, then rate limit, then bounds.
//!
//! Stabilisation starts from the *current* count: raised to the lowest recommendation of the up-window, then lowered to
//! the highest of the down-window. Windows and periods are exclusive at the cut, where the legacy window is inclusive.
//! Limits start from the count at the beginning of the policy's period, net of changes both ways.

use super::{Able, Input, Limit, Normalized, Stages, seconds};
use crate::explain::{Held, LimitingPolicy, Stabilization};
use crate::history::{History, change_within};
use crate::number::{ceil_to_i32, f64_to_i32};
use crate::spec::{Behavior, PERCENT_POLICY, PODS_POLICY, Policy, SELECT_DISABLED, SELECT_MIN, ScalingRules};
use crate::time::{NS_PER_S, Time};

pub(crate) fn normalize(input: &Input<'_>, behavior: &Behavior, stages: Stages) -> Normalized {
    let none = ScalingRules::default();
    let up = behavior.scale_up.as_ref().unwrap_or(&none);
    let down = behavior.scale_down.as_ref().unwrap_or(&none);
    let (slot, stabilization) = stabilize(input, up, down);
    let stabilization = stabilization.filter(|_| stages.stabilization);
    let stabilized = stabilization.map_or(input.desired, |s| s.to);
    let able = match stabilization {
        None => Able::ReadyForNewScale,
        Some(_) if input.desired >= input.current => Able::ScaleUpStabilized,
        Some(_) => Able::ScaleDownStabilized,
    };
    let (replicas, limit, policy) = limited(input, stabilized, up, down, stages);
    let (rate, bound) = limit.explain(stabilized, replicas, policy);
    Normalized { replicas, able, limit, slot, stabilization, rate, bound }
}

/// The most demanding recommendation of one window so far, and when it was made.
#[derive(Clone, Copy)]
struct Extreme {
    replicas: i32,
    at: Option<Time>,
}

fn stabilize(input: &Input<'_>, up: &ScalingRules, down: &ScalingRules) -> (Option<usize>, Option<Stabilization>) {
    let up_window_ns = seconds(up.stabilization_window_s.unwrap_or(0));
    let down_window_ns = match down.stabilization_window_s {
        Some(s) => seconds(s),
        None => input.config.downscale_stabilization_ns / NS_PER_S * NS_PER_S,
    };
    let (up_cut, down_cut) = (input.now - up_window_ns, input.now - down_window_ns);
    let mut lowest = Extreme { replicas: input.desired, at: None };
    let mut highest = lowest;
    let mut slot = None;
    for (i, r) in input.history.recommendations().iter().enumerate() {
        if r.at > up_cut && r.replicas < lowest.replicas {
            lowest = Extreme { replicas: r.replicas, at: Some(r.at) };
        }
        if r.at > down_cut && r.replicas > highest.replicas {
            highest = Extreme { replicas: r.replicas, at: Some(r.at) };
        }
        if r.at < up_cut && r.at < down_cut {
            slot = Some(i);
        }
    }
    let to = input.current.max(lowest.replicas).min(highest.replicas);
    let (direction, window_ns, extreme) =
        if to > input.desired { (Held::Up, down_window_ns, highest) } else { (Held::Down, up_window_ns, lowest) };
    let since = extreme.at.filter(|_| extreme.replicas == to);
    let held = Stabilization { from: input.desired, to, direction, window_ns, since };
    (slot, (to != input.desired).then_some(held))
}

fn limited(
    input: &Input<'_>,
    stabilized: i32,
    up: &ScalingRules,
    down: &ScalingRules,
    stages: Stages,
) -> (i32, Limit, LimitingPolicy) {
    let Input { current, history, now, .. } = *input;
    if stabilized > current {
        let max = if stages.bounds { input.spec.max_replicas } else { i32::MAX };
        let (limit, policy) = match stages.policies {
            true => up_limit(current, history, up, now),
            false => (i32::MAX, LimitingPolicy::Disabled),
        };
        let limit = limit.max(current);
        let (highest, reason) = if max > limit { (limit, Limit::ScaleUp) } else { (max, Limit::TooMany) };
        if stabilized > highest {
            return (highest, reason, policy);
        }
    } else if stabilized < current {
        let min = if stages.bounds { input.spec.min() } else { 0 };
        let (limit, policy) = match stages.policies {
            true => down_limit(current, history, down, now),
            false => (i32::MIN, LimitingPolicy::Disabled),
        };
        let limit = limit.min(current);
        let (lowest, reason) = if min < limit { (limit, Limit::ScaleDown) } else { (min, Limit::TooFew) };
        if stabilized < lowest {
            return (lowest, reason, policy);
        }
    }
    (stabilized, Limit::WithinRange, LimitingPolicy::Disabled)
}

fn up_limit(current: i32, history: &History, rules: &ScalingRules, now: Time) -> (i32, LimitingPolicy) {
    let propose = |start: i32, policy: &Policy| match policy.r#type.as_str() {
        PODS_POLICY => Some(start.wrapping_add(policy.value)),
        PERCENT_POLICY => Some(ceil_to_i32(f64::from(start) * (1.0 + f64::from(policy.value) / 100.0))),
        _ => None,
    };
    let smallest = rules.select_policy.as_deref() == Some(SELECT_MIN);
    select(current, history, rules, now, propose, if smallest { Pick::Lowest } else { Pick::Highest })
}

fn down_limit(current: i32, history: &History, rules: &ScalingRules, now: Time) -> (i32, LimitingPolicy) {
    let propose = |start: i32, policy: &Policy| match policy.r#type.as_str() {
        PODS_POLICY => Some(start.wrapping_sub(policy.value)),
        PERCENT_POLICY => Some(f64_to_i32(f64::from(start) * (1.0 - f64::from(policy.value) / 100.0))),
        _ => None,
    };
    // The smallest change leaves the most pods.
    let smallest = rules.select_policy.as_deref() == Some(SELECT_MIN);
    select(current, history, rules, now, propose, if smallest { Pick::Highest } else { Pick::Lowest })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pick {
    Lowest,
    Highest,
}

fn select(
    current: i32,
    history: &History,
    rules: &ScalingRules,
    now: Time,
    propose: impl Fn(i32, &Policy) -> Option<i32>,
    pick: Pick,
) -> (i32, LimitingPolicy) {
    if rules.select_policy.as_deref() == Some(SELECT_DISABLED) {
        return (current, LimitingPolicy::Disabled);
    }
    let mut limit = if pick == Pick::Lowest { i32::MAX } else { i32::MIN };
    let mut limiting = LimitingPolicy::Disabled;
    // A policy of unknown type repeats the proposal before it, as upstream's does.
    let mut proposed = 0;
    for (index, policy) in rules.policies.iter().flatten().enumerate() {
        let added = change_within(&history.scale_up_events, policy.period_s, now);
        let removed = change_within(&history.scale_down_events, policy.period_s, now);
        let start = current.wrapping_sub(added).wrapping_add(removed);
        proposed = propose(start, policy).unwrap_or(proposed);
        let better = if pick == Pick::Lowest { proposed < limit } else { proposed > limit };
        if better || limiting == LimitingPolicy::Disabled {
            limit = if better { proposed } else { limit };
            let Policy { r#type, value, period_s } = policy.clone();
            limiting = LimitingPolicy::Policy { index, r#type, value, period_s };
        }
    }
    (limit, limiting)
}
