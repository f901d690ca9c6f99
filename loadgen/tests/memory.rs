//! Memory is constant in the number of requests: 64 MiB after a hundred million of them.
//!
//! So many cannot be sent in a test of seconds; they are recorded, through the code that a run records them with. A file
//! of its own, since the figure is the most that this process ever had.

// Only tests and what serves them.
#![allow(clippy::unwrap_used)]

use loadgen::engine::clock::rss_max_bytes;
use loadgen::engine::reporter::add_tally;
use loadgen::engine::tally::{Class, Tally, record};
use loadgen::judge::Judge;
use loadgen::load::Load;
use loadgen::output::history::History;
use loadgen::pattern::Pattern;
use loadgen::span::Span;
use loadgen::stream::Record;
use loadgen::totals::{Second, Totals};

/// Seconds of load, through all that keeps anything of a request: the tally of a second,
/// its sum over the shards, the interval's record, the sums of the run, the windows of a threshold and the history.
fn record_seconds(seconds: u64, requests_per_s: u64) {
    let thresholds = vec!["p99 over any 10s < 1s".parse().unwrap()];
    let load = Load { pattern: Some(Pattern::constant(1.0, Span::from_secs(seconds))), thresholds, ..Load::default() };
    let (mut judge, mut totals, mut history) = (Judge::new(&load), Totals::default(), History::default());
    let mut tally = Tally::default();
    let pod = tally.pod(b"web-1");
    for index in 0..seconds {
        for request in 0..requests_per_s {
            // Spread over all magnitudes, so that as many counters as can be are in use.
            let latency_us = 1 + ((request * 2_654_435_761 + index) & 0xffff_ffff) % (1 << (request % 31));
            tally.record(Class::Ok, latency_us, latency_us);
            record(&mut tally.pacing_us, request % 1000);
            tally.record_pod(pod, Class::Ok, latency_us);
        }
        let mut second = Second::default();
        add_tally(&mut second, &tally);
        totals.add(&second);
        judge.take(&second.measured(), index);
        history.take(&Record::Interval(Box::new(second.interval(0, index))));
        let full = std::mem::take(&mut tally);
        tally.clear_like(&full);
    }
    assert_eq!(totals.requests().ok, seconds * requests_per_s);
}

#[test]
fn a_million_recorded_requests_fit_into_64_mib() {
    record_seconds(10, 100_000);
    assert!(rss_max_bytes() < 64 << 20, "{} bytes", rss_max_bytes());
}

#[test]
#[ignore = "long"]
fn a_hundred_million_recorded_requests_fit_into_64_mib() {
    record_seconds(1000, 100_000);
    assert!(rss_max_bytes() < 64 << 20, "{} bytes", rss_max_bytes());
}
