//! Merges what the shards hand over, second by second, into the stream and the summary.
//!
//! A second is reported once every shard has handed it over. Memory stays constant: of past seconds only sums are kept.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use crate::engine::tally::{Class, Tally};
use crate::engine::{FromShard, Job, Setup, clock, is_stopping};
use crate::histogram::add;
use crate::judge::Judge;
use crate::stream::{Generator, Record, Summary};
use crate::totals::{Facts, Second, Totals};

pub struct Reporter<'a> {
    setup: &'a Setup,
    url: String,
    start_unix_ns: u64,
    /// Seconds that not every shard has handed over yet, and how many have.
    waiting: VecDeque<(Second, u32)>,
    first_waiting: u64,
    totals: Totals,
    judge: Judge,
    last_sent_ns: u64,
    last_answer_ns: u64,
    cpu_start_ns: u64,
}

impl<'a> Reporter<'a> {
    pub fn new(setup: &'a Setup, job: &Job) -> anyhow::Result<Self> {
        let start_unix_ns = clock::unix_ns() + setup.start_ns.saturating_sub(clock::now_ns());
        Ok(Self {
            setup,
            url: job.url.clone(),
            start_unix_ns,
            waiting: VecDeque::new(),
            first_waiting: 0,
            totals: Totals::default(),
            judge: Judge::new(&setup.load),
            last_sent_ns: 0,
            last_answer_ns: 0,
            cpu_start_ns: clock::process_cpu_ns(),
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
                    while self.waiting.front().is_some_and(|(_, handed_over)| *handed_over == self.setup.shards) {
                        self.report_second(on_record);
                    }
                }
                Ok(FromShard::Done { classes, first_errors, last_sent_ns, last_answer_ns, .. }) => {
                    running -= 1;
                    for (class, response_us) in classes.iter().skip(1).enumerate() {
                        self.totals.add_failed(class, response_us);
                    }
                    for (class, why) in first_errors.iter().enumerate() {
                        why.iter().for_each(|why| self.totals.explain(Class::name(class), why));
                    }
                    self.last_sent_ns = self.last_sent_ns.max(last_sent_ns);
                    self.last_answer_ns = self.last_answer_ns.max(last_answer_ns);
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
        Ok(self.summary())
    }

    fn is_after_load(&self, index: u64) -> bool {
        self.setup.start_ns + index * 1_000_000_000 >= self.setup.end_ns
    }

    fn take(&mut self, index: u64, tally: &Tally) {
        let place = (index - self.first_waiting) as usize;
        while self.waiting.len() <= place {
            self.waiting.push_back(Default::default());
        }
        let (second, handed_over) = &mut self.waiting[place];
        add_tally(second, tally);
        *handed_over += 1;
    }

    fn report_second(&mut self, on_record: &mut dyn FnMut(&Record)) {
        let Some((second, _)) = self.waiting.pop_front() else { return };
        let index = self.first_waiting;
        self.first_waiting += 1;
        self.totals.add(&second);
        self.judge.take(&second.measured(), index);
        on_record(&Record::Interval(Box::new(second.interval(self.start_unix_ns, index))));
    }

    fn summary(&self) -> Summary {
        let setup = self.setup;
        let stopped_ns = if is_stopping() { clock::now_ns().max(setup.start_ns) } else { u64::MAX };
        let asked_for = setup.part.share(setup.load.concurrency.unwrap_or(setup.load.connections.max));
        let capped = setup.connections_max < asked_for;
        let facts = Facts {
            t_start_unix_ns: self.start_unix_ns,
            url: self.url.clone(),
            is_open_loop: setup.load.pattern.is_some(),
            interrupted: is_stopping(),
            sending_s: (setup.end_ns.min(stopped_ns).max(self.last_sent_ns) - setup.start_ns) as f64 / 1e9,
            duration_s: self.last_answer_ns.saturating_sub(setup.start_ns) as f64 / 1e9,
            validity: self.judge.validity(&self.totals.pacing_us, self.totals.requests(), capped),
            generator: self.generator(),
        };
        self.totals.summary(facts, &self.judge)
    }

    fn generator(&self) -> Generator {
        let cpu_ns = clock::process_cpu_ns() - self.cpu_start_ns;
        Generator {
            shards: self.setup.shards,
            cores: std::thread::available_parallelism().map_or(1, |count| count.get() as u32),
            cpu_s: cpu_ns as f64 / 1e9,
            cpu_us_per_request: cpu_ns as f64 / 1e3 / self.totals.requests().sent.max(1) as f64,
            rss_max_bytes: clock::rss_max_bytes(),
            seed: self.setup.load.seed,
        }
    }
}

/// Adds what a shard counted in a second.
pub fn add_tally(second: &mut Second, tally: &Tally) {
    second.requests.add(&tally.requests());
    add(&mut second.response_us, &tally.response_us);
    add(&mut second.service_us, &tally.service_us);
    add(&mut second.pacing_us, &tally.pacing_us);
    for pod in &tally.pods {
        second.add_pod(&String::from_utf8_lossy(&pod.name), pod.requests, pod.errors, &pod.service_us);
    }
    second.connections.opened += tally.connections.opened;
    second.connections.closed += tally.connections.closed;
    second.connections.open += tally.connections.open;
    second.backlog += tally.backlog;
    second.bytes_received += tally.bytes_received;
}
