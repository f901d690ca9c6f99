//! The result in Prometheus' text format, for a text-file collector or a push gateway.

use std::fmt::Write;

use hdrhistogram::Histogram;

use crate::histogram::{decode, latency_histogram};
use crate::stream::{Errors, Requests, Summary};

/// Upper ends of the latency buckets in seconds.
const BUCKETS_S: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

/// What there is to tell of a run that goes on, too.
pub struct Counted<'c> {
    pub requests: &'c Requests,
    pub response_us: &'c Histogram<u64>,
    pub service_us: &'c Histogram<u64>,
    pub pacing_us: &'c Histogram<u64>,
    pub pods: Vec<(&'c str, u64)>,
}

pub fn metrics(summary: &Summary) -> String {
    let histogram = |encoded: &str| decode(encoded).unwrap_or_else(|_| latency_histogram());
    let mut text = page(&Counted {
        requests: &summary.requests,
        response_us: &histogram(&summary.response_us),
        service_us: &histogram(&summary.service_us),
        pacing_us: &histogram(&summary.pacing_us),
        pods: summary.pods.iter().map(|(name, counts)| (name.as_str(), counts.requests)).collect(),
    });
    // Writing to a String cannot fail.
    let _ = write_verdict(&mut text, summary);
    text
}

pub fn page(counted: &Counted<'_>) -> String {
    let mut text = String::new();
    let _ = write_counts(&mut text, counted);
    text
}

fn write_counts(text: &mut String, counted: &Counted<'_>) -> std::fmt::Result {
    let r = counted.requests;
    family(text, "loadgen_requests_total", "counter", "Requests by what became of them.")?;
    for (outcome, count) in
        [("planned", r.planned), ("sent", r.sent), ("shed", r.shed), ("unsent", r.unsent), ("ok", r.ok)]
    {
        writeln!(text, "loadgen_requests_total{{outcome=\"{outcome}\"}} {count}")?;
    }
    family(text, "loadgen_errors_total", "counter", "Failed requests by class.")?;
    for (class, count) in Errors::CLASSES.iter().zip(r.errors.counts()) {
        writeln!(text, "loadgen_errors_total{{class=\"{class}\"}} {count}")?;
    }
    histogram(text, "loadgen_response_seconds", "Time from the planned moment.", counted.response_us)?;
    histogram(text, "loadgen_service_seconds", "Time from the moment of sending.", counted.service_us)?;
    histogram(text, "loadgen_pacing_error_seconds", "Lateness of the generator itself.", counted.pacing_us)?;
    family(text, "loadgen_pod_requests_total", "counter", "Answers by pod.")?;
    for (pod, count) in &counted.pods {
        let pod = pod.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        // Not `pod`: that is what a scrape in a cluster calls the generator's own.
        writeln!(text, "loadgen_pod_requests_total{{answered_by=\"{pod}\"}} {count}")?;
    }
    Ok(())
}

fn write_verdict(text: &mut String, summary: &Summary) -> std::fmt::Result {
    family(text, "loadgen_valid", "gauge", "1 when the generator was not the limit.")?;
    writeln!(text, "loadgen_valid {}", (summary.validity.verdict == "VALID") as u8)?;
    family(text, "loadgen_cpu_seconds_total", "counter", "CPU time of the generator.")?;
    writeln!(text, "loadgen_cpu_seconds_total {}", summary.generator.cpu_s)
}

fn family(text: &mut String, name: &str, kind: &str, help: &str) -> std::fmt::Result {
    writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

fn histogram(text: &mut String, name: &str, help: &str, histogram: &Histogram<u64>) -> std::fmt::Result {
    family(text, name, "histogram", help)?;
    for bucket_s in BUCKETS_S {
        let count = histogram.count_between(0, (bucket_s * 1e6) as u64);
        writeln!(text, "{name}_bucket{{le=\"{bucket_s}\"}} {count}")?;
    }
    writeln!(text, "{name}_bucket{{le=\"+Inf\"}} {}", histogram.len())?;
    writeln!(text, "{name}_sum {}", histogram.mean() * histogram.len() as f64 / 1e6)?;
    writeln!(text, "{name}_count {}", histogram.len())
}
