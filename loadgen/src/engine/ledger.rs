//! A shard's books: the tally of the current second, and what is kept for the whole run.
//!
//! Seconds are handed over whole. What is kept besides are the failed requests by class; good answers are what is
//! left of all, so the hot path records no third histogram.

use std::sync::mpsc::{Receiver, Sender};

use hdrhistogram::Histogram;

use crate::engine::tally::{CLASSES, Class, Tally, record};
use crate::engine::{FromShard, Setup};
use crate::histogram::latency_histogram;

const SECOND_NS: u64 = 1_000_000_000;

/// What the first failure of each class said.
pub type FirstErrors = [Option<Box<str>>; CLASSES];

pub struct Ledger {
    pub tally: Box<Tally>,
    shard: u32,
    interval: u64,
    interval_end_ns: u64,
    last_sent_ns: u64,
    last_answer_ns: u64,
    classes: Vec<Histogram<u64>>,
    first_errors: FirstErrors,
    to_report: Sender<FromShard>,
    emptied: Receiver<Box<Tally>>,
}

impl Ledger {
    pub fn new(setup: &Setup, shard: u32, to_report: Sender<FromShard>, emptied: Receiver<Box<Tally>>) -> Self {
        Self {
            tally: Box::default(),
            shard,
            interval: 0,
            interval_end_ns: setup.start_ns + SECOND_NS,
            last_sent_ns: setup.start_ns,
            last_answer_ns: setup.start_ns,
            classes: (0..CLASSES).map(|_| latency_histogram()).collect(),
            first_errors: FirstErrors::default(),
            to_report,
            emptied,
        }
    }

    pub fn interval_end_ns(&self) -> u64 {
        self.interval_end_ns
    }

    /// Records an end; the service time in microseconds.
    #[inline]
    pub fn record(&mut self, class: Class, planned_ns: u64, sent_ns: u64, end_ns: u64) -> u64 {
        let micros = |since_ns: u64| (end_ns.saturating_sub(since_ns) + 500) / 1000;
        let (response_us, service_us) = (micros(planned_ns), micros(sent_ns));
        self.tally.record(class, response_us, service_us);
        if class != Class::Ok {
            record(&mut self.classes[class as usize], response_us);
        }
        self.last_sent_ns = self.last_sent_ns.max(sent_ns);
        self.last_answer_ns = self.last_answer_ns.max(end_ns);
        service_us
    }

    /// Keeps what the first failure of a class said.
    pub fn explain(&mut self, class: Class, why: impl std::fmt::Display) {
        self.first_errors[class as usize].get_or_insert_with(|| why.to_string().into());
    }

    /// Hands over the tally of each second that has passed.
    #[inline]
    pub fn roll_over(&mut self, now_ns: u64, backlog: usize) {
        while now_ns >= self.interval_end_ns {
            self.hand_over(backlog, false);
            self.interval_end_ns += SECOND_NS;
        }
    }

    fn hand_over(&mut self, backlog: usize, is_rest: bool) {
        self.tally.backlog = backlog as u64;
        let mut fresh = self.emptied.try_recv().unwrap_or_default();
        fresh.clear_like(&self.tally);
        let full = std::mem::replace(&mut self.tally, fresh);
        let message = FromShard::Interval { shard: self.shard, index: self.interval, tally: full, is_rest };
        // The receiver is only gone when the whole run is being given up.
        let _ = self.to_report.send(message);
        self.interval += 1;
    }

    /// Hands over everything; what still waits for a connection stays unsent.
    pub fn finish(mut self, now_ns: u64, backlog: usize) {
        self.tally.unsent += backlog as u64;
        self.roll_over(now_ns, 0);
        self.hand_over(0, true);
        let Self { shard, classes, first_errors, last_sent_ns, last_answer_ns, .. } = self;
        let done = FromShard::Done { shard, classes, first_errors, last_sent_ns, last_answer_ns };
        let _ = self.to_report.send(done);
    }
}
