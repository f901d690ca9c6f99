//! What this pod counts, and its Prometheus text form. Only atomics on the request path.
//!
//! Names are those that dashboards in the field expect: `http_requests_total`, `http_request_duration_seconds`,
//! `process_cpu_seconds_total`. Methods, paths and codes come from lists, so a stranger cannot make new series.

use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::pool::Pool;

/// Label values of `method`; the last one stands for the rest.
const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "DELETE", "other"];
/// Label values of `path`; the last one stands for every path that is no route.
pub(crate) const PATHS: [&str; 7] = ["/", "/work", "/load", "/healthz", "/readyz", "/metrics", "other"];
/// Label values of `code`. 499 = the client went away before the answer; the last one stands for the rest.
const CODES: [&str; 7] = ["200", "400", "404", "405", "499", "503", "other"];
/// From a cache hit to the longest queue of the manifests.
const BUCKETS_S: [f64; 13] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

pub(crate) struct Metrics {
    started_at: SystemTime,
    requests: [[[AtomicU64; CODES.len()]; METHODS.len()]; PATHS.len()],
    durations: [Histogram; PATHS.len()],
    in_flight: AtomicUsize,
}

#[derive(Default)]
struct Histogram {
    buckets: [AtomicU64; BUCKETS_S.len()],
    count: AtomicU64,
    sum_us: AtomicU64,
}

impl Metrics {
    pub(crate) fn new(started_at: SystemTime) -> Metrics {
        Metrics {
            started_at,
            requests: Default::default(),
            durations: Default::default(),
            in_flight: AtomicUsize::new(0),
        }
    }

    pub(crate) fn started(&self) {
        self.in_flight.fetch_add(1, Relaxed);
    }

    /// `code` 499 says that the client went away.
    pub(crate) fn finished(&self, method: &str, path: &str, code: u16, took: Duration) {
        self.in_flight.fetch_sub(1, Relaxed);
        let method = METHODS.iter().position(|known| *known == method).unwrap_or(METHODS.len() - 1);
        let path = PATHS.iter().position(|known| *known == path).unwrap_or(PATHS.len() - 1);
        let code = CODES.iter().position(|known| known.parse() == Ok(code)).unwrap_or(CODES.len() - 1);
        self.requests[path][method][code].fetch_add(1, Relaxed);
        self.durations[path].observe(took);
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Relaxed)
    }

    /// Every request that was ever finished. While it stands still and nothing is in flight, nobody is talking to us.
    pub(crate) fn finished_total(&self) -> u64 {
        self.requests.iter().flatten().flatten().map(|count| count.load(Relaxed)).sum()
    }

    /// For one who asks over HTTP: the request for the metrics is the one in flight that is not counted.
    pub(crate) fn render(&self, pool: &Pool, version: &str) -> String {
        let mut text = String::with_capacity(8192);
        self.render_requests(&mut text);
        self.render_durations(&mut text);
        let gauges = [
            ("http_requests_in_flight", "Requests being answered.", self.in_flight().saturating_sub(1)),
            ("work_queue_depth", "Work that waits for a worker thread.", pool.depth()),
            ("work_queue_capacity", "Most work that may wait.", pool.queue()),
            ("work_workers", "Worker threads.", pool.workers()),
            ("work_workers_busy", "Worker threads at work.", pool.busy()),
        ];
        for (name, help, value) in gauges {
            single(&mut text, name, "gauge", help, value);
        }
        let _ = writeln!(
            text,
            "# HELP swell_build_info The version that runs, as a label.\n# TYPE swell_build_info gauge\n\
             swell_build_info{{version={version:?}}} 1"
        );
        self.render_process(&mut text);
        text
    }

    fn render_process(&self, text: &mut String) {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let cpu_s = format!("{}.{:09}", cpu.tv_sec, cpu.tv_nsec);
        single(text, "process_cpu_seconds_total", "counter", "CPU time that the process used.", cpu_s);
        let started_s = self.started_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        single(text, "process_start_time_seconds", "gauge", "When the process started, in Unix time.", started_s);
        if let Some([virtual_bytes, resident_bytes]) = memory_bytes() {
            single(text, "process_virtual_memory_bytes", "gauge", "Address space in use.", virtual_bytes);
            single(text, "process_resident_memory_bytes", "gauge", "Memory in use.", resident_bytes);
        }
        if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
            // One of them is the directory itself.
            let open = files.count().saturating_sub(1);
            single(text, "process_open_fds", "gauge", "Files and connections that are open.", open);
        }
    }

    fn render_requests(&self, text: &mut String) {
        text.push_str("# HELP http_requests_total Requests by method, path and status code.\n");
        text.push_str("# TYPE http_requests_total counter\n");
        for (path, methods) in PATHS.iter().zip(&self.requests) {
            for (method, codes) in METHODS.iter().zip(methods) {
                for (code, count) in CODES.iter().zip(codes) {
                    let count = count.load(Relaxed);
                    // These are shown from the start: a rate never sees the step from nothing to the first.
                    if count > 0 || (*method == "GET" && ["200", "503"].contains(code)) {
                        let labels = format!("method=\"{method}\",path=\"{path}\",code=\"{code}\"");
                        let _ = writeln!(text, "http_requests_total{{{labels}}} {count}");
                    }
                }
            }
        }
    }

    fn render_durations(&self, text: &mut String) {
        text.push_str("# HELP http_request_duration_seconds From the request's arrival to its answer.\n");
        text.push_str("# TYPE http_request_duration_seconds histogram\n");
        for (path, durations) in PATHS.iter().zip(&self.durations) {
            durations.render(path, text);
        }
    }
}

impl Histogram {
    fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        if let Some(bucket) = BUCKETS_S.iter().position(|bound| seconds <= *bound) {
            self.buckets[bucket].fetch_add(1, Relaxed);
        }
        self.count.fetch_add(1, Relaxed);
        self.sum_us.fetch_add(took.as_micros() as u64, Relaxed);
    }

    fn render(&self, path: &str, text: &mut String) {
        // The count is read first: an observation that comes in between must not make a bucket exceed `+Inf`.
        let count = self.count.load(Relaxed);
        let mut below = 0;
        for (bound, bucket) in BUCKETS_S.iter().zip(&self.buckets) {
            below = (below + bucket.load(Relaxed)).min(count);
            let _ = writeln!(text, "http_request_duration_seconds_bucket{{path=\"{path}\",le=\"{bound}\"}} {below}");
        }
        let sum_s = self.sum_us.load(Relaxed) as f64 / 1e6;
        let _ = writeln!(text, "http_request_duration_seconds_bucket{{path=\"{path}\",le=\"+Inf\"}} {count}");
        let _ = writeln!(text, "http_request_duration_seconds_sum{{path=\"{path}\"}} {sum_s}");
        let _ = writeln!(text, "http_request_duration_seconds_count{{path=\"{path}\"}} {count}");
    }
}

/// A family of one series without labels.
fn single(text: &mut String, name: &str, kind: &str, help: &str, value: impl Display) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
}

/// Virtual and resident memory, only where the system has `/proc`.
fn memory_bytes() -> Option<[u64; 2]> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let mut pages = statm.split_whitespace().map_while(|number| number.parse::<u64>().ok());
    let page_bytes = rustix::param::page_size() as u64;
    Some([pages.next()? * page_bytes, pages.next()? * page_bytes])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_end_at_the_count() {
        let metrics = Metrics::new(UNIX_EPOCH);
        for took_ms in [1, 7, 7, 90_000] {
            metrics.started();
            metrics.finished("GET", "/work", 200, Duration::from_millis(took_ms));
        }
        let text = metrics.render(&Pool::start(1, 4).unwrap(), "v");
        for line in [
            r#"http_requests_total{method="GET",path="/work",code="200"} 4"#,
            r#"http_request_duration_seconds_bucket{path="/work",le="0.005"} 1"#,
            r#"http_request_duration_seconds_bucket{path="/work",le="0.01"} 3"#,
            r#"http_request_duration_seconds_bucket{path="/work",le="60"} 3"#,
            r#"http_request_duration_seconds_bucket{path="/work",le="+Inf"} 4"#,
            r#"http_request_duration_seconds_sum{path="/work"} 90.015"#,
            r#"http_request_duration_seconds_count{path="/work"} 4"#,
            "http_requests_in_flight 0",
            "process_start_time_seconds 0",
            "work_queue_capacity 4",
            r#"swell_build_info{version="v"} 1"#,
        ] {
            assert!(text.lines().any(|have| have == line), "no line {line} in\n{text}");
        }
    }

    #[test]
    fn a_path_that_is_no_route_makes_no_series_of_its_own() {
        let metrics = Metrics::new(UNIX_EPOCH);
        metrics.started();
        metrics.finished("BREW", "/wp-admin", 418, Duration::ZERO);
        let text = metrics.render(&Pool::start(1, 4).unwrap(), "v");
        assert!(text.contains(r#"{method="other",path="other",code="other"} 1"#), "{text}");
        assert!(!text.contains("wp-admin") && !text.contains("BREW"));
    }
}
