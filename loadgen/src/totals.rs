//! Sums: of one second over all that count in it, and of a whole run over its seconds.
//!
//! The engine sums the tallies of its shards, `merge` the intervals of several generators; both end in the same
//! records. Whole-run histograms are sums of the seconds', so a summary and its stream cannot disagree, and nothing
//! but a sum is kept of a second that has passed.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::histogram::{Percentiles, add, coarse_histogram, decode, encode, latency_histogram};
use crate::judge::{Judge, exit_code};
use crate::stream::{
    Connections, Errors, Generator, Interval, PodInterval, PodSummary, Requests, STREAM_VERSION, Summary, Validity,
    exit, jain_index,
};
use crate::threshold::Measured;

/// One second.
pub struct Second {
    pub requests: Requests,
    pub response_us: Histogram<u64>,
    pub service_us: Histogram<u64>,
    pub pacing_us: Histogram<u64>,
    pub pods: BTreeMap<String, PodTotal>,
    pub connections: Connections,
    pub backlog: u64,
    pub bytes_received: u64,
}

pub struct PodTotal {
    pub requests: u64,
    pub errors: u64,
    pub service_us: Histogram<u64>,
}

/// A whole run.
pub struct Totals {
    requests: Requests,
    response_us: Histogram<u64>,
    service_us: Histogram<u64>,
    pub pacing_us: Histogram<u64>,
    /// Response times of failed requests, in the order of `Errors::CLASSES`.
    failed_us: Vec<Histogram<u64>>,
    first_errors: BTreeMap<String, String>,
    pods: BTreeMap<String, PodTotal>,
    connections: Connections,
    open_max: u64,
    bytes_received: u64,
}

/// What the counts of a run do not say.
pub struct Facts {
    pub t_start_unix_ns: u64,
    pub url: String,
    pub is_open_loop: bool,
    pub interrupted: bool,
    /// Seconds in which requests were sent (the load, and longer where a backlog was worked off), and seconds to the last
    /// answer.
    pub sending_s: f64,
    pub duration_s: f64,
    pub validity: Validity,
    pub generator: Generator,
}

impl Default for Second {
    fn default() -> Self {
        Self {
            requests: Requests::default(),
            response_us: latency_histogram(),
            service_us: latency_histogram(),
            pacing_us: latency_histogram(),
            pods: BTreeMap::new(),
            connections: Connections::default(),
            backlog: 0,
            bytes_received: 0,
        }
    }
}

impl Second {
    pub fn add_pod(&mut self, name: &str, requests: u64, errors: u64, service_us: &Histogram<u64>) {
        match self.pods.get_mut(name) {
            Some(sum) => sum.add(requests, errors, service_us),
            None => {
                let mut sum = PodTotal::default();
                sum.add(requests, errors, service_us);
                self.pods.insert(name.to_owned(), sum);
            }
        }
    }

    /// Adds the same second of another stream.
    pub fn add_interval(&mut self, interval: &Interval) -> Result<(), String> {
        self.requests.add(&interval.requests);
        add(&mut self.response_us, &decode(&interval.response_us)?);
        add(&mut self.service_us, &decode(&interval.service_us)?);
        add(&mut self.pacing_us, &decode(&interval.pacing_us)?);
        for (name, pod) in &interval.pods {
            self.add_pod(name, pod.requests, pod.errors, &decode(&pod.service_us)?);
        }
        self.connections.opened += interval.connections.opened;
        self.connections.closed += interval.connections.closed;
        self.connections.open += interval.connections.open;
        self.backlog += interval.backlog;
        self.bytes_received += interval.bytes_received;
        Ok(())
    }

    /// The record of this second.
    pub fn interval(&self, run_start_unix_ns: u64, index: u64) -> Interval {
        let pods = self.pods.iter().filter(|(_, pod)| pod.requests > 0);
        let pod_interval = |pod: &PodTotal| PodInterval {
            requests: pod.requests,
            errors: pod.errors,
            service_us: encode(&pod.service_us),
        };
        Interval {
            version: STREAM_VERSION,
            t_start_unix_ns: run_start_unix_ns + index * 1_000_000_000,
            t_s: index as f64,
            requests: self.requests.clone(),
            response_us: encode(&self.response_us),
            service_us: encode(&self.service_us),
            pacing_us: encode(&self.pacing_us),
            pods: pods.map(|(name, pod)| (name.clone(), pod_interval(pod))).collect(),
            connections: self.connections,
            backlog: self.backlog,
            bytes_received: self.bytes_received,
        }
    }

    /// What thresholds look at.
    pub fn measured(&self) -> Measured<'_> {
        Measured {
            response_us: &self.response_us,
            service_us: &self.service_us,
            requests: &self.requests,
            seconds: 1.0,
            slo_violation_seconds: 0,
        }
    }
}

impl Default for PodTotal {
    fn default() -> Self {
        Self { requests: 0, errors: 0, service_us: coarse_histogram() }
    }
}

impl PodTotal {
    fn add(&mut self, requests: u64, errors: u64, service_us: &Histogram<u64>) {
        self.requests += requests;
        self.errors += errors;
        add(&mut self.service_us, service_us);
    }
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            requests: Requests::default(),
            response_us: latency_histogram(),
            service_us: latency_histogram(),
            pacing_us: latency_histogram(),
            failed_us: Errors::CLASSES.iter().map(|_| latency_histogram()).collect(),
            first_errors: BTreeMap::new(),
            pods: BTreeMap::new(),
            connections: Connections::default(),
            open_max: 0,
            bytes_received: 0,
        }
    }
}

impl Totals {
    pub fn add(&mut self, second: &Second) {
        self.requests.add(&second.requests);
        add(&mut self.response_us, &second.response_us);
        add(&mut self.service_us, &second.service_us);
        add(&mut self.pacing_us, &second.pacing_us);
        for (name, pod) in &second.pods {
            let sum = self.pods.entry(name.clone()).or_default();
            sum.add(pod.requests, pod.errors, &pod.service_us);
        }
        self.connections.opened += second.connections.opened;
        self.connections.closed += second.connections.closed;
        self.connections.open = second.connections.open;
        self.open_max = self.open_max.max(second.connections.open);
        self.bytes_received += second.bytes_received;
    }

    /// Adds response times of the class at a place of `Errors::CLASSES`.
    pub fn add_failed(&mut self, class: usize, response_us: &Histogram<u64>) {
        add(&mut self.failed_us[class], response_us);
    }

    /// Adds what the first failure of a class said.
    pub fn explain(&mut self, class: &str, why: &str) {
        self.first_errors.entry(class.to_owned()).or_insert_with(|| why.to_owned());
    }

    pub fn requests(&self) -> &Requests {
        &self.requests
    }

    /// Everything that is known at the end.
    pub fn summary(&self, facts: Facts, judge: &Judge) -> Summary {
        let measured = Measured {
            response_us: &self.response_us,
            service_us: &self.service_us,
            requests: &self.requests,
            seconds: facts.sending_s,
            slo_violation_seconds: judge.slo_violation_seconds(),
        };
        let classes = self.classes();
        let mut summary = Summary {
            version: STREAM_VERSION,
            t_start_unix_ns: facts.t_start_unix_ns,
            url: facts.url,
            loop_kind: if facts.is_open_loop { "open" } else { "closed" }.to_owned(),
            interrupted: facts.interrupted,
            sending_s: facts.sending_s,
            duration_s: facts.sending_s.max(facts.duration_s),
            rate_per_s: self.requests.ok as f64 / facts.sending_s.max(1e-9),
            lost: self.requests.lost(),
            latency_us: Percentiles::of(&self.response_us),
            service_latency_us: Percentiles::of(&self.service_us),
            pacing_error_us: Percentiles::of(&self.pacing_us),
            classes: classes.iter().map(|(name, class)| ((*name).to_owned(), Percentiles::of(class))).collect(),
            classes_us: classes.iter().map(|(name, class)| ((*name).to_owned(), encode(class))).collect(),
            first_errors: self.first_errors_of(&classes),
            slo_violation_seconds: judge.slo_violation_seconds(),
            thresholds: judge.results(&measured),
            pods: self.pods(),
            jain_index: jain_index(&self.pods.values().map(|pod| pod.requests).collect::<Vec<_>>()),
            connections: Connections { open: self.open_max, ..self.connections },
            bytes_received: self.bytes_received,
            generator: facts.generator,
            response_us: encode(&self.response_us),
            service_us: encode(&self.service_us),
            pacing_us: encode(&self.pacing_us),
            requests: self.requests.clone(),
            validity: facts.validity,
            exit_code: exit::PASS,
        };
        summary.exit_code = exit_code(&summary);
        summary
    }

    /// Response times by class; good answers are all answers without the failed ones.
    fn classes(&self) -> BTreeMap<&'static str, Histogram<u64>> {
        let mut good = self.response_us.clone();
        for class in &self.failed_us {
            // Histograms that were summed from the same records: a class is never larger than the whole.
            let _ = good.subtract(class);
        }
        let failed = Errors::CLASSES.into_iter().zip(self.failed_us.iter().cloned());
        std::iter::once(("ok", good)).chain(failed).filter(|(_, class)| !class.is_empty()).collect()
    }

    /// Only of classes that were counted: what was sent again with success is no failure.
    fn first_errors_of(&self, classes: &BTreeMap<&str, Histogram<u64>>) -> BTreeMap<String, String> {
        let counted = self.first_errors.iter().filter(|(class, _)| classes.contains_key(class.as_str()));
        counted.map(|(class, why)| (class.clone(), why.clone())).collect()
    }

    fn pods(&self) -> BTreeMap<String, PodSummary> {
        let answered: u64 = self.pods.values().map(|pod| pod.requests).sum();
        let summary = |pod: &PodTotal| PodSummary {
            requests: pod.requests,
            errors: pod.errors,
            share: pod.requests as f64 / answered.max(1) as f64,
            service_latency_us: Percentiles::of(&pod.service_us),
        };
        self.pods.iter().map(|(name, pod)| (name.clone(), summary(pod))).collect()
    }
}
