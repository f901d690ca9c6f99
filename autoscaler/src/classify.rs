//! Which pods count: the rules for pods that are going, starting, or without a sample.
//!
//! Readiness only ever matters for cpu, because a starting process burns cpu that says nothing about load.

use crate::config::Config;
use crate::explain::Verdict;
use crate::pod::{Phase, Pod};
use crate::sample::Sample;
use crate::status::ConditionStatus;
use crate::time::Time;

pub(crate) fn verdict(pod: &Pod, sample: Option<&Sample>, is_cpu: bool, now: Time, config: &Config) -> Verdict {
    if pod.deleting || pod.phase == Phase::Failed {
        return Verdict::Ignored;
    }
    if pod.phase == Phase::Pending {
        return Verdict::Unready;
    }
    match sample {
        None => Verdict::Missing,
        Some(sample) if is_cpu && is_starting(pod, sample, now, config) => Verdict::Unready,
        Some(_) => Verdict::Counted,
    }
}

fn is_starting(pod: &Pod, sample: &Sample, now: Time, config: &Config) -> bool {
    let (Some(ready), Some(start)) = (pod.ready, pod.start_time) else { return true };
    let not_ready = ready.status == ConditionStatus::False;
    if start + config.cpu_initialization_period_ns > now {
        // Young: not ready, or the sample's window reaches back before it was.
        not_ready || sample.at < ready.last_transition_time + sample.window_ns
    } else {
        // Older: unready ever since its start, as opposed to having become unready later.
        not_ready && start + config.initial_readiness_delay_ns > ready.last_transition_time
    }
}
