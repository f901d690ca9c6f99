//! Merges what the shards hand over, second by second, into the stream and the summary.
//!
//! A second is reported once every shard has handed it over. Whole-run histograms are the sums of the seconds, so the
//! summary and the stream cannot disagree. Memory stays constant: of past seconds only a few plain numbers are kept.

use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::engine::judge::Judge;
use crate::engine::tally::{CLASSES, Tally};
use crate::engine::{FromShard, Job, Setup, clock};
use crate::histogram::{coarse_histogram, encode, latency_histogram};
use crate::stream::{Connections, Interval, PodInterval, Record, Requests, STREAM_VERSION, Summary};

pub struct Reporter<'a> {
    setup: &'a Setup,
    start_unix_ns: u64,
    /// Seconds that not every shard has handed over yet.
    waiting: VecDeque<Second>,
    first_waiting: u64,
    pub totals: Totals,
    judge: Judge,
}

/// Sums over the whole run.
pub struct Totals {
    pub url: String,
    pub requests: Requests,
    pub response_us: Histogram<u64>,
    pub service_us: Histogram<u64>,
    pub pacing_us: Histogram<u64>,
    pub classes: Vec<Histogram<u64>>,
    pub pods: BTreeMap<String, PodTotal>,
    pub connections: Connections,
    pub open_max: u64,
    pub bytes_received: u64,
    pub last_answer_ns: u64,
    pub cpu_start_ns: u64,
}

pub struct PodTotal {
    pub requests: u64,
    pub errors: u64,
    pub service_us: Histogram<u64>,
}

/// One second, summed over the shards.
pub struct Second {
    pub requests: Requests,
    pub response_us: Histogram<u64>,
    pub service_us: Histogram<u64>,
    pub pacing_us: Histogram<u64>,
    pub pods: BTreeMap<String, PodTotal>,
    pub connections: Connections,
    pub backlog: u64,
    pub bytes_received: u64,
    handed_over: u32,
}

impl<'a> Reporter<'a> {
    pub fn new(setup: &'a Setup, job: &Job) -> anyhow::Result<Self> {
        let start_unix_ns = clock::unix_ns() + setup.start_ns.saturating_sub(clock::now_ns());
        Ok(Self {
            setup,
            start_unix_ns,
            waiting: VecDeque::new(),
            first_waiting: 0,
            totals: Totals::new(&job.url),
            judge: Judge::new(&setup.load),
        })
    }

    /// Follows the shards until all are done.
    pub fn follow(
        &mut self,
        from_shards: Receiver<FromShard>,
        recycle: &[Sender<Box<Tally>>],
        on_record: &mut dyn FnMut(&Record),
    ) -> Result<Summary, String> {
        let mut running = self.setup.shards;
        let mut failure = None;
        while running > 0 {
            match from_shards.recv_timeout(Duration::from_secs(3600)) {
                Ok(FromShard::Interval { shard, index, tally, is_rest }) => {
                    // What is left after the last full second is often nothing.
                    if !is_rest || tally.happened() || !self.is_after_load(index) {
                        self.take(index, &tally);
                    }
                    let _ = recycle[shard as usize].send(tally);
                    while self.waiting.front().is_some_and(|second| second.handed_over == self.setup.shards) {
                        self.report_second(on_record);
                    }
                }
                Ok(FromShard::Done { classes, last_answer_ns, .. }) => {
                    running -= 1;
                    for (sum, class) in self.totals.classes.iter_mut().zip(&classes) {
                        add(sum, class);
                    }
                    self.totals.last_answer_ns = self.totals.last_answer_ns.max(last_answer_ns);
                }
                Ok(FromShard::Failed { error, .. }) => {
                    running -= 1;
                    self.setup.stop.store(true, std::sync::atomic::Ordering::Relaxed);
                    failure = Some(error);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err("a shard ended without a word".to_owned()),
            }
        }
        if let Some(error) = failure {
            return Err(error);
        }
        // Shards that ended in different seconds: what is left is reported as it is.
        while !self.waiting.is_empty() {
            self.report_second(on_record);
        }
        Ok(self.judge.summary(self.setup, &self.totals, self.start_unix_ns))
    }

    fn is_after_load(&self, index: u64) -> bool {
        self.setup.start_ns + index * 1_000_000_000 >= self.setup.end_ns
    }

    fn take(&mut self, index: u64, tally: &Tally) {
        let place = (index - self.first_waiting) as usize;
        while self.waiting.len() <= place {
            self.waiting.push_back(Second::new());
        }
        self.waiting[place].add(tally);
    }

    fn report_second(&mut self, on_record: &mut dyn FnMut(&Record)) {
        let Some(second) = self.waiting.pop_front() else { return };
        let index = self.first_waiting;
        self.first_waiting += 1;
        self.totals.add(&second);
        self.judge.take(&second, index);
        on_record(&Record::Interval(Box::new(self.interval(&second, index))));
    }

    fn interval(&self, second: &Second, index: u64) -> Interval {
        let pods = second.pods.iter().filter(|(_, pod)| pod.requests > 0);
        let pod_interval = |pod: &PodTotal| PodInterval {
            requests: pod.requests,
            errors: pod.errors,
            service_us: encode(&pod.service_us),
        };
        Interval {
            version: STREAM_VERSION,
            t_start_unix_ns: self.start_unix_ns + index * 1_000_000_000,
            t_s: index as f64,
            requests: second.requests.clone(),
            response_us: encode(&second.response_us),
            service_us: encode(&second.service_us),
            pacing_us: encode(&second.pacing_us),
            pods: pods.map(|(name, pod)| (name.clone(), pod_interval(pod))).collect(),
            connections: second.connections,
            backlog: second.backlog,
            bytes_received: second.bytes_received,
        }
    }
}

impl Second {
    fn new() -> Self {
        Self {
            requests: Requests::default(),
            response_us: latency_histogram(),
            service_us: latency_histogram(),
            pacing_us: latency_histogram(),
            pods: BTreeMap::new(),
            connections: Connections::default(),
            backlog: 0,
            bytes_received: 0,
            handed_over: 0,
        }
    }

    fn add(&mut self, tally: &Tally) {
        self.requests.add(&tally.requests());
        add(&mut self.response_us, &tally.response_us);
        add(&mut self.service_us, &tally.service_us);
        add(&mut self.pacing_us, &tally.pacing_us);
        for pod in &tally.pods {
            let sum = self.pods.entry(pod.name.clone()).or_insert_with(PodTotal::new);
            sum.requests += pod.requests;
            sum.errors += pod.errors;
            add(&mut sum.service_us, &pod.service_us);
        }
        self.connections.opened += tally.connections.opened;
        self.connections.closed += tally.connections.closed;
        self.connections.open += tally.connections.open;
        self.backlog += tally.backlog;
        self.bytes_received += tally.bytes_received;
        self.handed_over += 1;
    }
}

impl PodTotal {
    fn new() -> Self {
        Self { requests: 0, errors: 0, service_us: coarse_histogram() }
    }
}

impl Totals {
    fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            requests: Requests::default(),
            response_us: latency_histogram(),
            service_us: latency_histogram(),
            pacing_us: latency_histogram(),
            classes: (0..CLASSES).map(|_| latency_histogram()).collect(),
            pods: BTreeMap::new(),
            connections: Connections::default(),
            open_max: 0,
            bytes_received: 0,
            last_answer_ns: 0,
            cpu_start_ns: clock::process_cpu_ns(),
        }
    }

    fn add(&mut self, second: &Second) {
        self.requests.add(&second.requests);
        add(&mut self.response_us, &second.response_us);
        add(&mut self.service_us, &second.service_us);
        add(&mut self.pacing_us, &second.pacing_us);
        for (name, pod) in &second.pods {
            let sum = self.pods.entry(name.clone()).or_insert_with(PodTotal::new);
            sum.requests += pod.requests;
            sum.errors += pod.errors;
            add(&mut sum.service_us, &pod.service_us);
        }
        self.connections.opened += second.connections.opened;
        self.connections.closed += second.connections.closed;
        self.connections.open = second.connections.open;
        self.open_max = self.open_max.max(second.connections.open);
        self.bytes_received += second.bytes_received;
    }
}

/// Adds histograms of equal bounds.
pub fn add(sum: &mut Histogram<u64>, part: &Histogram<u64>) {
    if !part.is_empty() {
        sum.add(part).expect("invariant: histograms of one kind have the same bounds");
    }
}
