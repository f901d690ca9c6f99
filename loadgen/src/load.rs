//! A load: what is sent, in which pattern, over which connections, and what must hold.
//!
//! Either an open loop (`pattern`: arrivals come when they are planned, whatever the server does) or a closed loop
//! (`concurrency`: each connection sends the next request when the last is answered). Unknown fields are refused by
//! name.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::pattern::Pattern;
use crate::span::Span;
use crate::threshold::Threshold;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// Open loop: the planned rate over time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<Pattern>,
    /// Closed loop: how many connections send one request after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// Closed loop: for how long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Span>,
    #[serde(default)]
    pub arrivals: Arrivals,
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// From sending to the end of the answer; also for dialing.
    #[serde(default = "default_timeout")]
    pub timeout: Span,
    #[serde(default = "default_requests")]
    pub requests: Vec<Request>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<Sessions>,
    #[serde(default)]
    pub connections: ConnectionPolicy,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub thresholds: Vec<Threshold>,
    /// What users were promised, for `slo_violation_seconds` and for the self-check of pacing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slo: Option<Threshold>,
}

/// One request of the mix.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Path and query. `{iterations}` is replaced by the work that costs `cost_ms` on the machine at hand.
    #[serde(default = "default_path")]
    pub path: String,
    #[serde(default = "default_method")]
    pub method: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Share of this request among the mix.
    #[serde(default = "default_weight")]
    pub weight: f64,
    /// CPU time that one request should cost the service; needs `{iterations}` in the path or body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_ms: Option<f64>,
}

/// How arrivals are spread around the planned rate.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Arrivals {
    /// Equal distances at a constant rate.
    #[default]
    Even,
    /// Independent users: exponential distances, non-homogeneous where the rate changes.
    Poisson,
    /// Poisson that switches between calm and bursts of `factor` times the rate; half of all arrivals come in bursts.
    Bursts { factor: f64 },
}

/// Partly-open load: arrivals are sessions that send several requests with pauses between.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sessions {
    /// Fewest and most requests of a session.
    pub requests: [u32; 2],
    /// Mean pause between an answer and the next request (exponential).
    pub think: Span,
}

/// How connections are used and given up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectionPolicy {
    /// Most connections at once.
    #[serde(default = "default_connections_max")]
    pub max: u32,
    /// Each connection is closed after a number of requests drawn from this range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_requests: Option<[u32; 2]>,
    /// Each connection is closed after this time, times 1 - jitter to 1 + jitter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Span>,
    #[serde(default = "default_jitter")]
    pub jitter: f64,
    /// Share of the open connections that is closed each second, whatever their age.
    #[serde(default)]
    pub churn_per_s: f64,
    /// Arrivals that may wait for a connection; more are shed.
    #[serde(default = "default_backlog_max")]
    pub backlog_max: u32,
    /// Send again when a reused connection turns out closed before any answer (idempotent methods only), as HTTP
    /// clients do.
    #[serde(default = "default_true")]
    pub retry_stale: bool,
    /// Ask the resolver again at most once a second when dialing a host name.
    #[serde(default = "default_true")]
    pub resolve_on_dial: bool,
}

fn default_seed() -> u64 {
    1
}
fn default_timeout() -> Span {
    Span::from_secs(10)
}
fn default_requests() -> Vec<Request> {
    vec![Request::default()]
}
fn default_path() -> String {
    String::new()
}
fn default_method() -> String {
    "GET".to_owned()
}
fn default_weight() -> f64 {
    1.0
}
fn default_connections_max() -> u32 {
    1000
}
fn default_jitter() -> f64 {
    0.5
}
fn default_backlog_max() -> u32 {
    100_000
}
fn default_true() -> bool {
    true
}

impl Default for Load {
    fn default() -> Self {
        Self {
            pattern: None,
            concurrency: None,
            duration: None,
            arrivals: Arrivals::Even,
            seed: default_seed(),
            timeout: default_timeout(),
            requests: default_requests(),
            sessions: None,
            connections: ConnectionPolicy::default(),
            thresholds: Vec::new(),
            slo: None,
        }
    }
}

impl Default for Request {
    fn default() -> Self {
        Self {
            path: default_path(),
            method: default_method(),
            headers: BTreeMap::new(),
            body: None,
            weight: default_weight(),
            cost_ms: None,
        }
    }
}

impl Default for ConnectionPolicy {
    fn default() -> Self {
        Self {
            max: default_connections_max(),
            max_requests: None,
            max_age: None,
            jitter: default_jitter(),
            churn_per_s: 0.0,
            backlog_max: default_backlog_max(),
            retry_stale: true,
            resolve_on_dial: true,
        }
    }
}

const ITERATIONS: &str = "{iterations}";
/// The methods whose request may be sent twice.
pub const IDEMPOTENT: [&str; 6] = ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"];

impl Load {
    /// Fills `{iterations}` in, for a service that does so many iterations in a millisecond of CPU time.
    pub fn calibrate(&mut self, iterations_per_ms: f64) {
        for request in &mut self.requests {
            let Some(cost_ms) = request.cost_ms else { continue };
            let iterations = (cost_ms * iterations_per_ms).round().max(1.0).to_string();
            request.path = request.path.replace(ITERATIONS, &iterations);
            request.body = request.body.take().map(|body| body.replace(ITERATIONS, &iterations));
        }
    }

    /// Whether `{iterations}` still waits for `calibrate`.
    pub fn needs_calibration(&self) -> bool {
        self.requests.iter().any(Request::has_placeholder)
    }

    /// How long arrivals come.
    pub fn length(&self) -> Option<Span> {
        match &self.pattern {
            Some(pattern) => pattern.length(),
            None => self.duration,
        }
    }

    /// Checks what types cannot say. The message names the field.
    pub fn validate(&self) -> Result<(), String> {
        match (&self.pattern, self.concurrency, self.duration) {
            (Some(_), None, None) => {}
            (None, Some(0), _) => return Err("load.concurrency: must be at least 1".to_owned()),
            (None, Some(_), Some(_)) => {}
            (None, Some(_), None) => {
                return Err("load.duration: a closed loop (concurrency) needs a duration".to_owned());
            }
            (Some(_), Some(_), _) => {
                return Err("load: either pattern (open loop) or concurrency (closed loop), not both".to_owned());
            }
            (Some(_), _, Some(_)) => return Err("load.duration: the pattern says its own length".to_owned()),
            (None, None, _) => return Err("load: needs pattern (open loop) or concurrency (closed loop)".to_owned()),
        }
        if self.timeout.as_ns() < 1_000_000 {
            return Err(format!("load.timeout: {} is shorter than 1ms", self.timeout));
        }
        self.connections.validate()?;
        self.validate_requests()?;
        self.validate_sessions()
    }

    fn validate_requests(&self) -> Result<(), String> {
        if self.requests.is_empty() || self.requests.len() > 1000 {
            return Err("load.requests: needs 1 to 1000 requests".to_owned());
        }
        for (index, request) in self.requests.iter().enumerate() {
            request.validate().map_err(|error| format!("load.requests[{index}].{error}"))?;
        }
        Ok(())
    }

    fn validate_sessions(&self) -> Result<(), String> {
        let Some(sessions) = self.sessions else { return Ok(()) };
        let [fewest, most] = sessions.requests;
        if fewest == 0 || fewest > most {
            return Err(format!("load.sessions.requests: [{fewest}, {most}] is not a range from 1 up"));
        }
        match self.pattern {
            Some(_) => Ok(()),
            None => Err("load.sessions: sessions arrive openly; they need a pattern".to_owned()),
        }
    }
}

impl Request {
    fn has_placeholder(&self) -> bool {
        self.path.contains(ITERATIONS) || self.body.as_deref().is_some_and(|body| body.contains(ITERATIONS))
    }

    /// Checks one request; the message begins with the field.
    pub fn validate(&self) -> Result<(), String> {
        if self.method.is_empty() || !self.method.bytes().all(is_token_byte) {
            return Err(format!("method: `{}` is not an HTTP method", self.method));
        }
        if !self.path.is_empty() && !self.path.starts_with('/') {
            return Err(format!("path: `{}` does not begin with /", self.path));
        }
        if let Some(bad) = self.path.chars().find(|c| c.is_whitespace() || c.is_control() || !c.is_ascii()) {
            return Err(format!("path: {bad:?} must be percent-encoded"));
        }
        for (name, value) in &self.headers {
            validate_header(name, value).map_err(|error| format!("headers: {error}"))?;
        }
        if !(self.weight > 0.0 && self.weight <= 1e9) {
            return Err(format!("weight: {} is not a positive number", self.weight));
        }
        match self.cost_ms {
            Some(cost_ms) if !(0.000_001..=600_000.0).contains(&cost_ms) => {
                Err(format!("cost_ms: {cost_ms} is not between a nanosecond and ten minutes"))
            }
            _ => Ok(()),
        }
    }
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Refuses header names and values that would break the request.
pub fn validate_header(name: &str, value: &str) -> Result<(), String> {
    if name.is_empty() || !name.bytes().all(is_token_byte) {
        return Err(format!("`{name}` is not a header name"));
    }
    if name.eq_ignore_ascii_case("content-length") || name.eq_ignore_ascii_case("transfer-encoding") {
        return Err(format!("`{name}` is set from the body"));
    }
    match value.chars().find(|c| c.is_control() && *c != '\t') {
        Some(bad) => Err(format!("the value of `{name}` contains {bad:?}")),
        None => Ok(()),
    }
}

impl ConnectionPolicy {
    fn validate(&self) -> Result<(), String> {
        if self.max == 0 {
            return Err("load.connections.max: must be at least 1".to_owned());
        }
        if let Some([fewest, most]) = self.max_requests
            && (fewest == 0 || fewest > most)
        {
            return Err(format!("load.connections.max_requests: [{fewest}, {most}] is not a range from 1 up"));
        }
        if !(0.0..=1.0).contains(&self.jitter) {
            return Err(format!("load.connections.jitter: {} is not between 0 and 1", self.jitter));
        }
        if !(0.0..=100.0).contains(&self.churn_per_s) {
            return Err(format!("load.connections.churn_per_s: {} is not between 0 and 100", self.churn_per_s));
        }
        Ok(())
    }
}

impl FromStr for Arrivals {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let arrivals = match (words.next(), words.next()) {
            (Some("even"), None) => Arrivals::Even,
            (Some("poisson"), None) => Arrivals::Poisson,
            (Some("bursts"), factor) => match factor.unwrap_or("4").parse::<f64>() {
                Ok(factor) if (1.0..=1000.0).contains(&factor) => Arrivals::Bursts { factor },
                _ => return Err(format!("arrivals `{text}`: the factor of bursts is a number from 1 to 1000")),
            },
            _ => return Err(format!("arrivals `{text}`: expected even, poisson or bursts FACTOR")),
        };
        match words.next() {
            None => Ok(arrivals),
            Some(extra) => Err(format!("arrivals `{text}`: `{extra}` is too much")),
        }
    }
}

impl fmt::Display for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Arrivals::Even => f.write_str("even"),
            Arrivals::Poisson => f.write_str("poisson"),
            Arrivals::Bursts { factor } => write!(f, "bursts {factor}"),
        }
    }
}

impl Serialize for Arrivals {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Arrivals {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
