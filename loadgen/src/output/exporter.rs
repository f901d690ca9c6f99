//! What was counted so far, for a Prometheus that scrapes the generator while the load runs.
//!
//! A thread of its own answers every request with the page as the last second left it: the engine waits for nobody who
//! asks. The names are those of the file at the end of a run (`prometheus.rs`).

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv6Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;

use crate::histogram::{add, decode, latency_histogram};
use crate::output::prometheus::{Counted, page};
use crate::stream::{Interval, Record, Requests};

/// Who asks and then says nothing, or does not take the answer, keeps the next one waiting for no longer.
const PATIENCE: Duration = Duration::from_secs(1);
const REQUEST_MAX: u64 = 16 << 10;

pub struct Exporter {
    page: Arc<Mutex<String>>,
    requests: Requests,
    response_us: Histogram<u64>,
    service_us: Histogram<u64>,
    pacing_us: Histogram<u64>,
    pods: BTreeMap<String, u64>,
}

impl Exporter {
    /// Listens on `ADDRESS:PORT`; port 0 takes a free one. Says on standard error where.
    pub fn start(address: &str) -> Result<Exporter> {
        let listener = TcpListener::bind(bracketed(address).as_str())
            .with_context(|| format!("--metrics: cannot listen on {address}"))?;
        let _ = writeln!(std::io::stderr(), "metrics http://{}/metrics", listener.local_addr()?);
        let exporter = Exporter {
            page: Arc::default(),
            requests: Requests::default(),
            response_us: latency_histogram(),
            service_us: latency_histogram(),
            pacing_us: latency_histogram(),
            pods: BTreeMap::new(),
        };
        exporter.publish(0, 0);
        let page = exporter.page.clone();
        std::thread::Builder::new().name("metrics".to_owned()).spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else {
                    // Out of files, perhaps: to try again at once would take the CPU from the load.
                    std::thread::sleep(PATIENCE);
                    continue;
                };
                let text = page.lock().unwrap_or_else(PoisonError::into_inner).clone();
                // Who went away needs no answer.
                let _ = answer(stream, &text);
            }
        })?;
        Ok(exporter)
    }

    pub fn take(&mut self, record: &Record) {
        let Record::Interval(interval) = record else { return };
        // The engine wrote these histograms a moment ago; what cannot be read adds nothing.
        let _ = self.add(interval);
        self.publish(interval.connections.open, interval.backlog);
    }

    fn add(&mut self, interval: &Interval) -> Result<(), String> {
        self.requests.add(&interval.requests);
        for (name, pod) in &interval.pods {
            *self.pods.entry(name.clone()).or_default() += pod.requests;
        }
        add(&mut self.response_us, &decode(&interval.response_us)?);
        add(&mut self.service_us, &decode(&interval.service_us)?);
        add(&mut self.pacing_us, &decode(&interval.pacing_us)?);
        Ok(())
    }

    fn publish(&self, connections: u64, backlog: u64) {
        let counted = Counted {
            requests: &self.requests,
            response_us: &self.response_us,
            service_us: &self.service_us,
            pacing_us: &self.pacing_us,
            pods: self.pods.iter().map(|(name, count)| (name.as_str(), *count)).collect(),
        };
        let mut text = page(&counted);
        for (name, help, value) in [
            ("loadgen_connections_open", "Connections at the end of the second.", connections),
            ("loadgen_backlog", "Arrivals that wait for a connection.", backlog),
        ] {
            text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n"));
        }
        *self.page.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }
}

/// An IPv6 address as a variable gives it has no brackets.
fn bracketed(address: &str) -> String {
    match address.rsplit_once(':') {
        Some((host, port)) if host.parse::<Ipv6Addr>().is_ok() => format!("[{host}]:{port}"),
        _ => address.to_owned(),
    }
}

fn answer(mut stream: TcpStream, page: &str) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(stream.try_clone()?.take(REQUEST_MAX)).lines();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{page}",
        page.len()
    )
}

#[cfg(test)]
mod tests {
    use super::bracketed;

    #[test]
    fn only_a_bare_ipv6_address_gets_brackets() {
        for (address, bound) in
            [("10.0.0.7:9100", "10.0.0.7:9100"), ("fd00::7:9100", "[fd00::7]:9100"), ("[::1]:0", "[::1]:0")]
        {
            assert_eq!(bracketed(address), bound);
        }
    }
}
