//! What the figures mean: whether they are valid at all, whether the thresholds hold, and the summary.
//!
//! INVALID means that the generator was the limit: it was late (p99 of its own pacing error above 1 ms or 5 % of the
//! SLO, whichever is larger) or could not send (out of ports or files) more than 0.1 % of the plan. Nothing is said
//! about a server from an invalid run. Windowed thresholds are judged at every second on the sum of the seconds
//! before it.

use std::collections::{BTreeMap, VecDeque};

use hdrhistogram::Histogram;

use crate::engine::reporter::{Second, Totals, add};
use crate::engine::tally::Class;
use crate::engine::{Setup, clock, is_stopping};
use crate::histogram::{Percentiles, encode, latency_histogram};
use crate::load::Load;
use crate::stream::{
    Connections, Generator, PodSummary, Requests, STREAM_VERSION, Summary, ThresholdResult, Validity, exit, jain_index,
};
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
    pub fn take(&mut self, second: &Second, index: u64) {
        let measured = Measured {
            response_us: &second.response_us,
            service_us: &second.service_us,
            requests: &second.requests,
            seconds: 1.0,
            slo_violation_seconds: 0,
        };
        if let Some(slo) = &self.slo
            && !second.response_us.is_empty()
            && !slo.holds(slo.value(&measured))
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

    /// Everything that is known at the end.
    pub fn summary(&self, setup: &Setup, totals: &Totals, start_unix_ns: u64) -> Summary {
        let stopped_ns = if is_stopping() { clock::now_ns().max(setup.start_ns) } else { u64::MAX };
        let load_s = (setup.end_ns.min(stopped_ns) - setup.start_ns) as f64 / 1e9;
        let validity = self.validity(setup, totals);
        let thresholds = self.results(totals, load_s);
        let mut summary = Summary {
            version: STREAM_VERSION,
            t_start_unix_ns: start_unix_ns,
            url: totals.url.clone(),
            loop_kind: if setup.load.pattern.is_some() { "open" } else { "closed" }.to_owned(),
            interrupted: is_stopping(),
            duration_s: load_s.max(totals.last_answer_ns.saturating_sub(setup.start_ns) as f64 / 1e9),
            rate_per_s: totals.requests.ok as f64 / load_s.max(1e-9),
            lost: totals.requests.lost(),
            latency_us: Percentiles::of(&totals.response_us),
            service_latency_us: Percentiles::of(&totals.service_us),
            pacing_error_us: Percentiles::of(&totals.pacing_us),
            classes: classes(totals),
            slo_violation_seconds: self.slo_violation_seconds,
            pods: pods(totals),
            jain_index: jain_index(&totals.pods.values().map(|pod| pod.requests).collect::<Vec<_>>()),
            connections: Connections { open: totals.open_max, ..totals.connections },
            bytes_received: totals.bytes_received,
            generator: generator(setup, totals),
            response_us: encode(&totals.response_us),
            service_us: encode(&totals.service_us),
            pacing_us: encode(&totals.pacing_us),
            requests: totals.requests.clone(),
            validity,
            thresholds,
            exit_code: exit::PASS,
        };
        summary.exit_code = exit_code(&summary);
        summary
    }

    fn results(&self, totals: &Totals, load_s: f64) -> Vec<ThresholdResult> {
        let measured = Measured {
            response_us: &totals.response_us,
            service_us: &totals.service_us,
            requests: &totals.requests,
            seconds: load_s,
            slo_violation_seconds: self.slo_violation_seconds,
        };
        let result = |windowed: &Windowed| {
            let threshold = &windowed.threshold;
            // A run shorter than the window is its own window.
            let value = windowed.worst.unwrap_or_else(|| threshold.value(&measured));
            ThresholdResult {
                threshold: threshold.to_string(),
                value,
                shown: threshold.show(value),
                passed: threshold.holds(value),
            }
        };
        self.thresholds.iter().map(result).collect()
    }

    fn validity(&self, setup: &Setup, totals: &Totals) -> Validity {
        let mut reasons = Vec::new();
        let slo_us = self.slo.as_ref().map_or(0.0, |slo| match slo.limit {
            Limit::Time(_) => slo.limit_value(),
            _ => 0.0,
        });
        let allowed_us = PACING_FLOOR_US.max(PACING_SHARE_OF_SLO * slo_us);
        let late_us = totals.pacing_us.value_at_quantile(0.99) as f64;
        if !totals.pacing_us.is_empty() && late_us > allowed_us {
            reasons.push(format!(
                "the generator was late: p99 of its pacing error is {:.2} ms, more than {:.2} ms",
                late_us / 1e3,
                allowed_us / 1e3
            ));
        }
        let capped = setup.connections_max < setup.load.concurrency.unwrap_or(setup.load.connections.max);
        let requests = &totals.requests;
        let given_up = if capped { requests.shed + requests.unsent } else { 0 };
        let own_fault = requests.errors.local + given_up;
        if own_fault as f64 > OWN_FAULT_SHARE * requests.planned as f64 {
            reasons.push(format!(
                "{own_fault} of {} requests could not be sent: this machine is out of ports or open files",
                requests.planned
            ));
        }
        let verdict = if reasons.is_empty() { "VALID" } else { "INVALID" };
        Validity { verdict: verdict.to_owned(), reasons }
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

fn exit_code(summary: &Summary) -> u8 {
    if summary.interrupted {
        exit::INTERRUPTED
    } else if summary.validity.verdict != "VALID" {
        exit::INVALID
    } else if summary.thresholds.iter().any(|threshold| !threshold.passed) {
        exit::THRESHOLD_FAILED
    } else {
        exit::PASS
    }
}

/// Response times by class; good answers are all answers without the failed ones.
fn classes(totals: &Totals) -> BTreeMap<String, Percentiles> {
    let mut good = totals.response_us.clone();
    for class in &totals.classes {
        // Histograms that were summed from the same records: a class is never larger than the whole.
        let _ = good.subtract(class);
    }
    let failed = totals.classes.iter().enumerate().skip(1).filter(|(_, class)| !class.is_empty());
    let mut classes: BTreeMap<String, Percentiles> =
        failed.map(|(index, class)| (Class::name(index).to_owned(), Percentiles::of(class))).collect();
    if !good.is_empty() {
        classes.insert(Class::name(0).to_owned(), Percentiles::of(&good));
    }
    classes
}

fn pods(totals: &Totals) -> BTreeMap<String, PodSummary> {
    let answered: u64 = totals.pods.values().map(|pod| pod.requests).sum();
    let summary = |pod: &crate::engine::reporter::PodTotal| PodSummary {
        requests: pod.requests,
        errors: pod.errors,
        share: pod.requests as f64 / answered.max(1) as f64,
        service_latency_us: Percentiles::of(&pod.service_us),
    };
    totals.pods.iter().map(|(name, pod)| (name.clone(), summary(pod))).collect()
}

fn generator(setup: &Setup, totals: &Totals) -> Generator {
    let cpu_ns = clock::process_cpu_ns() - totals.cpu_start_ns;
    Generator {
        shards: setup.shards,
        cores: std::thread::available_parallelism().map_or(1, |count| count.get() as u32),
        cpu_s: cpu_ns as f64 / 1e9,
        cpu_us_per_request: cpu_ns as f64 / 1e3 / totals.requests.sent.max(1) as f64,
        rss_max_bytes: clock::rss_max_bytes(),
        seed: setup.load.seed,
    }
}
