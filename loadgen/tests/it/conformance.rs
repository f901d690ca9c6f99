//! Coordinated omission: a server with a known service schedule, and the percentiles that follow from it by arithmetic.
//!
//! The server freezes for a while; an open loop planned N arrivals into that freeze, and each of them waits from its
//! planned moment to the end of the freeze. A generator that measures from the moment of sending, or that sends less
//! while it waits, reports another distribution. Ours must be within 1 % of the analytic one.

use std::io::Write;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use loadgen::histogram::decode;

use crate::run::summary;
use crate::server::{Server, ok_from, read_head};

/// Answers at once, but nothing is answered within the freeze, which begins `after` the first request.
fn freezing(after: Duration, freeze: Duration) -> Server {
    let first: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    Server::start(move |mut stream, served| {
        while read_head(&mut stream, served).is_some() {
            served.requests.fetch_add(1, Ordering::Relaxed);
            let since = first.get_or_init(Instant::now).elapsed();
            if since >= after && since < after + freeze {
                std::thread::sleep(after + freeze - since);
            }
            if stream.write_all(&ok_from("a")).is_err() {
                return;
            }
        }
    })
}

#[test]
fn a_freeze_shows_in_the_percentiles_as_arithmetic_says() {
    // 3 s at 200 requests/s with a freeze of 1 s: a third of the requests wait for 0 to 1 s, evenly spread.
    let (after, freeze, total_s) = (1.0, 1.0, 3.0);
    let server = freezing(Duration::from_secs_f64(after), Duration::from_secs_f64(freeze));
    // Few connections, so that sending itself is held up: from the moment of sending the freeze nearly vanishes.
    let args = ["--rate", "200", "--duration", "3s", "--connections", "5", "--slo", "p99 < 5s", "--no-retry"];
    let (summary, _) = summary(&[&[server.url().as_str()], &args[..]].concat());
    assert_eq!(summary.requests.ok, 600);
    let response = decode(&summary.response_us).unwrap();
    for quantile in [0.75, 0.9, 0.95, 0.99] {
        let waited_s = freeze * (1.0 - (1.0 - quantile) * total_s / freeze);
        let got_s = response.value_at_quantile(quantile) as f64 / 1e6;
        // 1 % of the freeze, and what a busy machine adds while the backlog is worked off.
        assert!((got_s - waited_s).abs() < 0.01 * freeze + 0.03, "p{}: {got_s} s, not {waited_s} s", quantile * 100.0);
    }
    let service = decode(&summary.service_us).unwrap();
    assert!(service.value_at_quantile(0.95) < 200_000, "the service time alone hides the freeze");
}
