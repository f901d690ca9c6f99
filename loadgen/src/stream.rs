//! What the binary prints while it runs: JSON lines of type `plan`, `interval` and `summary`.
//!
//! One `plan` first, one `interval` a second, one `summary` last, each with the schema version. Counts always keep
//! planned = sent + shed + unsent, and sent = ok + errors + in_flight. Readers should ignore fields they do not know.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::histogram::Percentiles;
use crate::load::Load;
use crate::part::Part;

/// Version of the records in this file; grows when a field changes its meaning.
pub const STREAM_VERSION: u32 = 1;

/// The program's exit codes.
pub mod exit {
    pub const PASS: u8 = 0;
    pub const COULD_NOT_RUN: u8 = 1;
    pub const THRESHOLD_FAILED: u8 = 2;
    /// The generator was the limit: its figures say nothing about the server.
    pub const INVALID: u8 = 3;
    pub const USAGE: u8 = 64;
    pub const INTERRUPTED: u8 = 130;
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Record {
    Plan(Box<Plan>),
    Interval(Box<Interval>),
    Summary(Box<Summary>),
}

/// What is about to be done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub version: u32,
    pub t_start_unix_ns: u64,
    pub url: String,
    pub load: Load,
    /// Length of the load without its drain.
    pub duration_s: f64,
    pub shards: u32,
    /// Which part of the load this generator sends; the figures of the stream are this part's.
    #[serde(default)]
    pub part: Part,
    /// The planned rate, at most 600 points of (seconds, requests per second); empty in a closed loop.
    pub rate_per_s: Vec<(f64, f64)>,
    /// Warnings, such as a forecast of port exhaustion.
    pub notes: Vec<String>,
}

/// One second of the run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    pub version: u32,
    pub t_start_unix_ns: u64,
    /// Seconds since the start of the run.
    pub t_s: f64,
    #[serde(flatten)]
    pub requests: Requests,
    /// Histogram of response times, from the planned moment.
    pub response_us: String,
    /// Histogram of service times, from the moment of sending.
    pub service_us: String,
    /// Histogram of the generator's own lateness.
    pub pacing_us: String,
    pub pods: BTreeMap<String, PodInterval>,
    pub connections: Connections,
    /// Arrivals that wait for a connection at the end of the second.
    pub backlog: u64,
    pub bytes_received: u64,
}

/// Counts of requests: of a second, or of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    pub planned: u64,
    pub sent: u64,
    /// Given up at their planned moment because the backlog was full.
    pub shed: u64,
    /// Still waiting for a connection when the run ended.
    pub unsent: u64,
    pub ok: u64,
    pub errors: Errors,
    /// Sent and neither answered nor failed yet.
    pub in_flight: i64,
    /// Sent a second time because a reused connection had been closed under the first; not counted in `sent`.
    pub retried: u64,
    /// Answers by status code.
    pub statuses: BTreeMap<String, u64>,
}

/// Failed requests by class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errors {
    #[serde(rename = "4xx")]
    pub status_4xx: u64,
    #[serde(rename = "5xx")]
    pub status_5xx: u64,
    pub timeout: u64,
    pub refused: u64,
    /// Reset, or closed before the answer was complete.
    pub reset: u64,
    pub dns: u64,
    pub tls: u64,
    /// Not HTTP, or not this HTTP.
    pub protocol: u64,
    /// The generator could not dial: out of ports or file descriptors.
    pub local: u64,
}

/// What one pod answered in one second.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PodInterval {
    pub requests: u64,
    pub errors: u64,
    /// Histogram of service times, two digits.
    pub service_us: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connections {
    pub opened: u64,
    pub closed: u64,
    /// Open at the end; in a summary the most that were open at once.
    pub open: u64,
}

/// The whole run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    pub version: u32,
    pub t_start_unix_ns: u64,
    pub url: String,
    /// `open` (planned arrivals) or `closed` (each connection waits for its answer).
    pub loop_kind: String,
    pub validity: Validity,
    pub interrupted: bool,
    /// Seconds in which requests were sent: the load, and longer where the server fell behind and a backlog was worked off.
    #[serde(default)]
    pub sending_s: f64,
    /// Seconds from the start to the last answer.
    pub duration_s: f64,
    /// Good answers per second of sending.
    pub rate_per_s: f64,
    pub requests: Requests,
    pub lost: u64,
    /// Response time: from the planned moment to the end of the answer.
    pub latency_us: Percentiles,
    /// Service time: from the moment of sending.
    pub service_latency_us: Percentiles,
    /// How late the generator itself was.
    pub pacing_error_us: Percentiles,
    /// Response times by class (`ok` and the error classes).
    pub classes: BTreeMap<String, Percentiles>,
    /// The same as histograms.
    #[serde(default)]
    pub classes_us: BTreeMap<String, String>,
    /// What the first failure of a class said.
    #[serde(default)]
    pub first_errors: BTreeMap<String, String>,
    pub thresholds: Vec<ThresholdResult>,
    pub slo_violation_seconds: u64,
    pub pods: BTreeMap<String, PodSummary>,
    /// Jain index of the requests per pod, 1 being even.
    pub jain_index: Option<f64>,
    pub connections: Connections,
    pub bytes_received: u64,
    pub generator: Generator,
    pub response_us: String,
    pub service_us: String,
    pub pacing_us: String,
    pub exit_code: u8,
}

/// Whether the figures speak about the server (VALID) or about the generator (INVALID).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validity {
    pub verdict: String,
    pub reasons: Vec<String>,
}

impl Default for Validity {
    fn default() -> Self {
        Self::for_reasons(Vec::new())
    }
}

impl Validity {
    /// Valid when there is no reason against it.
    pub fn for_reasons(reasons: Vec<String>) -> Self {
        Self { verdict: if reasons.is_empty() { "VALID" } else { "INVALID" }.to_owned(), reasons }
    }

    pub fn is_valid(&self) -> bool {
        self.verdict == "VALID"
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ThresholdResult {
    pub threshold: String,
    pub value: f64,
    pub shown: String,
    pub passed: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PodSummary {
    pub requests: u64,
    pub errors: u64,
    /// Of all answered requests.
    pub share: f64,
    pub service_latency_us: Percentiles,
}

/// What the generator itself used.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Generator {
    pub shards: u32,
    pub cores: u32,
    pub cpu_s: f64,
    /// CPU time per request in microseconds.
    pub cpu_us_per_request: f64,
    pub rss_max_bytes: u64,
    pub seed: u64,
}

impl Errors {
    pub const CLASSES: [&str; 9] = ["4xx", "5xx", "timeout", "refused", "reset", "dns", "tls", "protocol", "local"];

    /// Counts in the order of `CLASSES`.
    pub fn counts(&self) -> [u64; 9] {
        [
            self.status_4xx,
            self.status_5xx,
            self.timeout,
            self.refused,
            self.reset,
            self.dns,
            self.tls,
            self.protocol,
            self.local,
        ]
    }

    pub fn from_counts(counts: [u64; 9]) -> Self {
        let [status_4xx, status_5xx, timeout, refused, reset, dns, tls, protocol, local] = counts;
        Self { status_4xx, status_5xx, timeout, refused, reset, dns, tls, protocol, local }
    }

    pub fn total(&self) -> u64 {
        self.counts().iter().sum()
    }
}

impl Requests {
    pub fn add(&mut self, other: &Requests) {
        self.planned += other.planned;
        self.sent += other.sent;
        self.shed += other.shed;
        self.unsent += other.unsent;
        self.ok += other.ok;
        let (mine, theirs) = (self.errors.counts(), other.errors.counts());
        self.errors = Errors::from_counts(std::array::from_fn(|class| mine[class] + theirs[class]));
        self.in_flight += other.in_flight;
        self.retried += other.retried;
        for (status, count) in &other.statuses {
            *self.statuses.entry(status.clone()).or_default() += count;
        }
    }

    /// Planned requests that came to no good: failed, given up or never sent.
    pub fn without_good_answer(&self) -> u64 {
        self.errors.total() + self.shed + self.unsent
    }

    /// Failures that the server owes us: all but answers 503, which say that it shed load on purpose.
    pub fn lost(&self) -> u64 {
        self.errors.total() - self.statuses.get("503").copied().unwrap_or(0)
    }

    /// Whether every planned request is accounted for, once the run is over.
    pub fn add_up(&self) -> bool {
        let finished = self.ok + self.errors.total();
        self.planned == self.sent + self.shed + self.unsent && self.sent as i64 == finished as i64 + self.in_flight
    }
}

/// Evenness of shares: 1 when all are equal, 1/n when one has everything.
pub fn jain_index(counts: &[u64]) -> Option<f64> {
    let sum: f64 = counts.iter().map(|count| *count as f64).sum();
    let squares: f64 = counts.iter().map(|count| (*count as f64).powi(2)).sum();
    (squares > 0.0).then(|| sum * sum / (counts.len() as f64 * squares))
}

/// Reads a result stream; a torn last line (the generator was killed) is left out.
pub fn read_stream(text: &str) -> Result<Vec<Record>, String> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let mut records = Vec::with_capacity(lines.len());
    for (index, line) in lines.iter().enumerate() {
        match serde_json::from_str(line) {
            Ok(record) => records.push(record),
            Err(_) if index + 1 == lines.len() && !text.ends_with('\n') => {}
            Err(error) => return Err(format!("line {} of the stream: {error}", index + 1)),
        }
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_and_names_its_type_and_version() {
        let mut interval = Interval { version: STREAM_VERSION, ..Interval::default() };
        interval.requests.errors.status_5xx = 3;
        interval.requests.statuses.insert("503".to_owned(), 2);
        let line = serde_json::to_string(&Record::Interval(Box::new(interval))).unwrap();
        assert!(line.starts_with(r#"{"type":"interval","version":1,"#), "{line}");
        assert!(line.contains(r#""5xx":3"#), "{line}");
        let Record::Interval(back) = serde_json::from_str(&line).unwrap() else { panic!("{line}") };
        assert_eq!(back.requests.lost(), 1);
    }

    #[test]
    fn a_torn_last_line_is_left_out_and_a_torn_middle_line_is_an_error() {
        let line = serde_json::to_string(&Record::Interval(Box::default())).unwrap();
        assert_eq!(read_stream(&format!("{line}\n{{\"type\":\"inter")).unwrap().len(), 1);
        assert!(read_stream(&format!("{{\"type\":\n{line}\n")).unwrap_err().contains("line 1"));
    }

    #[test]
    fn jain_index_is_one_when_even_and_one_nth_when_one_has_all() {
        assert_eq!(jain_index(&[5, 5, 5, 5]), Some(1.0));
        assert_eq!(jain_index(&[20, 0, 0, 0]), Some(0.25));
        assert_eq!(jain_index(&[]), None);
    }
}
