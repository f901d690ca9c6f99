//! Which pods count: the rules for pods that are going, starting, or without a sample.
//!
//! Readiness only ever matters for cpu, because a starting process burns cpu that says nothing about load.

use crate::config::Config;
use crate::explain::{Unready, Verdict};
use crate::pod::{Phase, Pod};
use crate::sample::Sample;
use crate::status::ConditionStatus;
use crate::time::Time;

pub(crate) fn verdict(pod: &Pod, sample: Option<&Sample>, is_cpu: bool, now: Time, config: &Config) -> Verdict {
    if pod.deleting || pod.phase == Phase::Failed {
        return Verdict::Ignored;
    }
    if pod.phase == Phase::Pending {
        return Verdict::Unready(Unready::Pending);
    }
    let Some(sample) = sample else { return Verdict::Missing };
    match is_cpu.then(|| starting(pod, sample, now, config)).flatten() {
        Some(why) => Verdict::Unready(why),
        None => Verdict::Counted,
    }
}

fn starting(pod: &Pod, sample: &Sample, now: Time, config: &Config) -> Option<Unready> {
    let (Some(ready), Some(start)) = (pod.ready, pod.start_time) else { return Some(Unready::Starting) };
    let not_ready = ready.status == ConditionStatus::False;
    if start + config.cpu_initialization_period_ns > now {
        let early = sample.at < ready.last_transition_time + sample.window_ns;
        not_ready.then_some(Unready::Starting).or(early.then_some(Unready::MeasuredEarly))
    } else {
        // Unready ever since its start, as opposed to having become unready later.
        let never = not_ready && start + config.initial_readiness_delay_ns > ready.last_transition_time;
        never.then_some(Unready::NeverReady)
    }
}
