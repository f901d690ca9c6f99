//! What one shard counted in one second.
//!
//! A tally belongs to one shard alone while it fills; the shard hands it over whole at the end of the second and
//! takes a fresh one, so nothing is shared on the hot path and nothing is allocated per request.

use hdrhistogram::Histogram;

use crate::histogram::{LATENCY_MAX_US, coarse_histogram, latency_histogram};
use crate::stream::{Connections, Errors, Requests};

/// Most pods told apart; answers of further ones count as `PODS_REST`.
pub const PODS_MAX: usize = 256;
/// Longest name of a pod, in bytes: what Kubernetes allows.
const POD_NAME_MAX: usize = 253;
pub const PODS_REST: &str = "(others)";

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Ok,
    Status4xx,
    Status5xx,
    Timeout,
    Refused,
    Reset,
    Dns,
    Tls,
    Protocol,
    Local,
}

pub const CLASSES: usize = 10;

impl Class {
    /// The class of an answer.
    pub fn of_status(status: u16) -> Self {
        match status {
            200..=399 => Class::Ok,
            400..=499 => Class::Status4xx,
            500..=599 => Class::Status5xx,
            _ => Class::Protocol,
        }
    }

    pub fn name(index: usize) -> &'static str {
        if index == 0 { "ok" } else { Errors::CLASSES[index - 1] }
    }
}

pub struct Tally {
    pub planned: u64,
    pub sent: u64,
    pub shed: u64,
    pub unsent: u64,
    pub retried: u64,
    pub classes: [u64; CLASSES],
    pub statuses: Box<[u64; 1000]>,
    pub response_us: Histogram<u64>,
    pub service_us: Histogram<u64>,
    pub pacing_us: Histogram<u64>,
    pub pods: Vec<PodTally>,
    pub connections: Connections,
    pub backlog: u64,
    pub bytes_received: u64,
}

pub struct PodTally {
    /// As the header has it, be it text or not.
    pub name: Vec<u8>,
    pub requests: u64,
    pub errors: u64,
    pub service_us: Histogram<u64>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            planned: 0,
            sent: 0,
            shed: 0,
            unsent: 0,
            retried: 0,
            classes: [0; CLASSES],
            statuses: Box::new([0; 1000]),
            response_us: latency_histogram(),
            service_us: latency_histogram(),
            pacing_us: latency_histogram(),
            pods: Vec::new(),
            connections: Connections::default(),
            backlog: 0,
            bytes_received: 0,
        }
    }
}

impl Tally {
    /// Counts the end of a request.
    #[inline]
    pub fn record(&mut self, class: Class, response_us: u64, service_us: u64) {
        self.classes[class as usize] += 1;
        record(&mut self.response_us, response_us);
        record(&mut self.service_us, service_us);
    }

    /// Counts an answer of a pod.
    #[inline]
    pub fn record_pod(&mut self, pod: usize, class: Class, service_us: u64) {
        let pod = &mut self.pods[pod];
        pod.requests += 1;
        pod.errors += (class != Class::Ok) as u64;
        record(&mut pod.service_us, service_us);
    }

    /// The place of a pod, from now on in this tally too. Only the head of an absurdly long name counts.
    pub fn pod(&mut self, name: &[u8]) -> usize {
        let name = &name[..name.len().min(POD_NAME_MAX)];
        match self.pods.iter().position(|pod| pod.name == name) {
            Some(place) => place,
            None if self.pods.len() >= PODS_MAX && name != PODS_REST.as_bytes() => self.pod(PODS_REST.as_bytes()),
            None => {
                self.pods.push(PodTally {
                    name: name.to_vec(),
                    requests: 0,
                    errors: 0,
                    service_us: coarse_histogram(),
                });
                self.pods.len() - 1
            }
        }
    }

    /// Empties the tally but keeps the pods, so that their places stay valid.
    pub fn clear_like(&mut self, other: &Tally) {
        (self.planned, self.sent, self.shed, self.unsent, self.retried) = (0, 0, 0, 0, 0);
        self.classes = [0; CLASSES];
        self.statuses.fill(0);
        for histogram in [&mut self.response_us, &mut self.service_us, &mut self.pacing_us] {
            if !histogram.is_empty() {
                histogram.reset();
            }
        }
        for pod in &mut self.pods {
            (pod.requests, pod.errors) = (0, 0);
            pod.service_us.reset();
        }
        for pod in &other.pods[self.pods.len().min(other.pods.len())..] {
            self.pods.push(PodTally { name: pod.name.clone(), requests: 0, errors: 0, service_us: coarse_histogram() });
        }
        self.connections = Connections { opened: 0, closed: 0, open: other.connections.open };
        (self.backlog, self.bytes_received) = (0, 0);
    }

    /// Whether anything was counted.
    pub fn happened(&self) -> bool {
        self.planned + self.sent + self.shed + self.unsent + self.finished() > 0
    }

    pub fn finished(&self) -> u64 {
        self.classes.iter().sum()
    }

    /// The counts in their wire form.
    pub fn requests(&self) -> Requests {
        let statuses = self.statuses.iter().enumerate().filter(|(_, count)| **count > 0);
        Requests {
            planned: self.planned,
            sent: self.sent,
            shed: self.shed,
            unsent: self.unsent,
            ok: self.classes[0],
            errors: Errors::from_counts(std::array::from_fn(|index| self.classes[index + 1])),
            in_flight: self.sent as i64 - self.finished() as i64,
            retried: self.retried,
            statuses: statuses.map(|(status, count)| (status.to_string(), *count)).collect(),
        }
    }
}

/// Records a latency, at least one microsecond and at most one hour.
#[inline]
pub fn record(histogram: &mut Histogram<u64>, value_us: u64) {
    histogram.record(value_us.clamp(1, LATENCY_MAX_US)).expect("invariant: the value was clamped to the bounds");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_keeps_its_place_however_odd_its_name() {
        let mut tally = Tally::default();
        for name in [&b"web-1"[..], &[b'x'; 1000], &[0xff, 0xfe]] {
            assert_eq!(tally.pod(name), tally.pod(name));
        }
        assert_eq!(tally.pods.len(), 3);
        for pod in 0..PODS_MAX {
            tally.pod(format!("pod-{pod}").as_bytes());
        }
        assert_eq!(
            (tally.pods.len(), tally.pods.last().unwrap().name.as_slice()),
            (PODS_MAX + 1, PODS_REST.as_bytes())
        );
    }
}
