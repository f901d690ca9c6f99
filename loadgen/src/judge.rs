//! What the figures mean: whether they are valid at all, and whether the thresholds hold.
//!
//! INVALID means that the generator was the limit: it was late (p99 of its own pacing error above 1 ms or 5 % of the
//! SLO, whichever is larger) or could not send (out of ports or files) more than 0.1 % of the plan. Nothing is said
//! about a server from an invalid run. Windowed thresholds are judged at every second on the sum of the seconds
//! before it.

use std::collections::VecDeque;

use hdrhistogram::Histogram;

use crate::histogram::{add, latency_histogram};
use crate::load::Load;
use crate::stream::{Requests, Summary, ThresholdResult, Validity, exit};
use crate::threshold::{Bound, Limit, Measured, Metric, Threshold};

const PACING_FLOOR_US: f64 = 1_000.0;
const PACING_SHARE_OF_SLO: f64 = 0.05;
/// Most of the plan that may fail by the generator's own fault.
const OWN_FAULT_SHARE: f64 = 0.001;

pub struct Judge {
    slo: Option<Threshold>,
    thresholds: Vec<Windowed>,
    /// The last seconds, for windows.
    seconds: VecDeque<Kept>,
    seconds_kept: usize,
    slo_violation_seconds: u64,
    load_s: f64,
}

struct Windowed {
    threshold: Threshold,
    window_s: Option<usize>,
    /// The worst window so far.
    worst: Option<f64>,
}

struct Kept {
    requests: Requests,
    response_us: Histogram<u64>,
    service_us: Histogram<u64>,
}

impl Judge {
    pub fn new(load: &Load) -> Self {
        let window_s = |threshold: &Threshold| threshold.window.map(|window| (window.as_ns() / 1_000_000_000) as usize);
        let thresholds: Vec<Windowed> = load
            .thresholds
            .iter()
            .map(|threshold| Windowed { threshold: threshold.clone(), window_s: window_s(threshold), worst: None })
            .collect();
        let seconds_kept = thresholds.iter().filter_map(|threshold| threshold.window_s).max().unwrap_or(0);
        Self {
            slo: load.slo.clone(),
            thresholds,
            seconds: VecDeque::new(),
            seconds_kept,
            slo_violation_seconds: 0,
            load_s: load.length().map_or(0.0, |length| length.as_secs_f64()),
        }
    }

    /// Takes the next second.
    pub fn take(&mut self, second: &Measured, index: u64) {
        if let Some(slo) = &self.slo
            && !second.response_us.is_empty()
            && !slo.holds(slo.value(second))
        {
            self.slo_violation_seconds += 1;
        }
        if self.seconds_kept > 0 {
            self.seconds.push_back(Kept {
                requests: second.requests.clone(),
                response_us: second.response_us.clone(),
                service_us: second.service_us.clone(),
            });
            if self.seconds.len() > self.seconds_kept {
                self.seconds.pop_front();
            }
            self.judge_windows((index + 1) as f64 <= self.load_s);
        }
    }

    pub fn slo_violation_seconds(&self) -> u64 {
        self.slo_violation_seconds
    }

    /// `in_load`: the load still ran in the last second, so that a rate can be asked of it.
    fn judge_windows(&mut self, in_load: bool) {
        let mut lengths: Vec<usize> = self.thresholds.iter().filter_map(|windowed| windowed.window_s).collect();
        lengths.sort_unstable();
        lengths.dedup();
        for length in lengths.into_iter().filter(|length| *length <= self.seconds.len()) {
            let mut sum = Kept {
                requests: Requests::default(),
                response_us: latency_histogram(),
                service_us: latency_histogram(),
            };
            for second in self.seconds.iter().rev().take(length) {
                sum.requests.add(&second.requests);
                add(&mut sum.response_us, &second.response_us);
                add(&mut sum.service_us, &second.service_us);
            }
            let measured = Measured {
                response_us: &sum.response_us,
                service_us: &sum.service_us,
                requests: &sum.requests,
                seconds: length as f64,
                slo_violation_seconds: 0,
            };
            let of_length = |windowed: &&mut Windowed| windowed.window_s == Some(length);
            for windowed in self.thresholds.iter_mut().filter(of_length) {
                if windowed.threshold.metric == Metric::Rate && !in_load {
                    continue;
                }
                windowed.take(windowed.threshold.value(&measured));
            }
        }
    }

    /// The thresholds over a whole run.
    pub fn results(&self, run: &Measured) -> Vec<ThresholdResult> {
        let result = |windowed: &Windowed| {
            let threshold = &windowed.threshold;
            // A run shorter than the window is its own window.
            let value = windowed.worst.unwrap_or_else(|| threshold.value(run));
            ThresholdResult {
                threshold: threshold.to_string(),
                value,
                shown: threshold.show(value),
                passed: threshold.holds(value),
            }
        };
        self.thresholds.iter().map(result).collect()
    }

    /// `capped`: the generator was not allowed the connections that the load asks for.
    pub fn validity(&self, pacing_us: &Histogram<u64>, requests: &Requests, capped: bool) -> Validity {
        let mut reasons = Vec::new();
        let slo_us = self.slo.as_ref().map_or(0.0, |slo| match slo.limit {
            Limit::Time(_) => slo.limit_value(),
            _ => 0.0,
        });
        let allowed_us = PACING_FLOOR_US.max(PACING_SHARE_OF_SLO * slo_us);
        let late_us = pacing_us.value_at_quantile(0.99) as f64;
        if !pacing_us.is_empty() && late_us > allowed_us {
            reasons.push(format!(
                "the generator was late: p99 of its pacing error is {:.2} ms, more than {:.2} ms",
                late_us / 1e3,
                allowed_us / 1e3
            ));
        }
        let given_up = if capped { requests.shed + requests.unsent } else { 0 };
        let own_fault = requests.errors.local + given_up;
        if own_fault as f64 > OWN_FAULT_SHARE * requests.planned as f64 {
            reasons.push(format!(
                "{own_fault} of {} requests could not be sent: this machine is out of ports or open files",
                requests.planned
            ));
        }
        Validity::for_reasons(reasons)
    }
}

impl Windowed {
    fn take(&mut self, value: f64) {
        let upper = matches!(self.threshold.bound, Bound::Below | Bound::AtMost);
        self.worst = Some(match self.worst {
            Some(worst) if upper => worst.max(value),
            Some(worst) => worst.min(value),
            None => value,
        });
    }
}

/// What a run comes to: an interruption says more than a verdict, and a verdict on the generator more than one on the
/// server.
pub fn exit_code(summary: &Summary) -> u8 {
    if summary.interrupted {
        exit::INTERRUPTED
    } else if !summary.validity.is_valid() {
        exit::INVALID
    } else if summary.thresholds.iter().any(|threshold| !threshold.passed) {
        exit::THRESHOLD_FAILED
    } else {
        exit::PASS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(slo: Option<&str>) -> Judge {
        Judge::new(&Load { slo: slo.map(|slo| slo.parse().unwrap()), ..Load::default() })
    }

    /// The verdict on a run that was late by so much in 2 % of its requests, and else by nothing to speak of.
    fn verdict(slo: Option<&str>, late_us: u64) -> String {
        let mut pacing_us = latency_histogram();
        pacing_us.record_n(20, 980).unwrap();
        pacing_us.record_n(late_us, 20).unwrap();
        let requests = Requests { planned: 1000, sent: 1000, ok: 1000, ..Requests::default() };
        judge(slo).validity(&pacing_us, &requests, false).verdict
    }

    #[test]
    fn a_late_generator_is_invalid_beyond_a_millisecond_or_a_twentieth_of_the_slo() {
        for (slo, late_us, expected) in [
            (None, 900, "VALID"),
            (None, 1_100, "INVALID"),
            (Some("p99 < 10ms"), 1_100, "INVALID"),
            (Some("p99 < 1s"), 49_000, "VALID"),
            (Some("p99 < 1s"), 51_000, "INVALID"),
            (Some("errors < 1%"), 1_100, "INVALID"),
        ] {
            assert_eq!(verdict(slo, late_us), expected, "{slo:?} {late_us}");
        }
    }

    #[test]
    fn requests_that_the_machine_could_not_send_are_its_own_fault_and_the_servers_failures_are_not() {
        let verdict = |local: u64, refused: u64, shed: u64, capped: bool| {
            let errors = crate::stream::Errors { local, refused, ..Default::default() };
            let requests = Requests { planned: 10_000, shed, errors, ..Requests::default() };
            judge(None).validity(&latency_histogram(), &requests, capped).verdict
        };
        assert_eq!(verdict(10, 0, 0, false), "VALID");
        assert_eq!(verdict(11, 0, 0, false), "INVALID");
        assert_eq!(verdict(0, 10_000, 0, false), "VALID");
        assert_eq!(verdict(0, 0, 11, false), "VALID");
        assert_eq!(verdict(0, 0, 11, true), "INVALID");
    }
}
