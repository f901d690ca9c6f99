//! The result in Prometheus' text format, for a text-file collector or a push gateway.

use std::fmt::Write;

use crate::histogram::decode;
use crate::stream::{Errors, Summary};

/// Upper ends of the latency buckets in seconds.
const BUCKETS_S: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

pub fn metrics(summary: &Summary) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_metrics(&mut text, summary);
    text
}

fn write_metrics(text: &mut String, summary: &Summary) -> std::fmt::Result {
    let r = &summary.requests;
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
    histogram(text, "loadgen_response_seconds", "Time from the planned moment.", &summary.response_us)?;
    histogram(text, "loadgen_service_seconds", "Time from the moment of sending.", &summary.service_us)?;
    histogram(text, "loadgen_pacing_error_seconds", "Lateness of the generator itself.", &summary.pacing_us)?;
    family(text, "loadgen_pod_requests_total", "counter", "Answers by pod.")?;
    for (pod, counts) in &summary.pods {
        let pod = pod.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        writeln!(text, "loadgen_pod_requests_total{{pod=\"{pod}\"}} {}", counts.requests)?;
    }
    family(text, "loadgen_valid", "gauge", "1 when the generator was not the limit.")?;
    writeln!(text, "loadgen_valid {}", (summary.validity.verdict == "VALID") as u8)?;
    family(text, "loadgen_cpu_seconds_total", "counter", "CPU time of the generator.")?;
    writeln!(text, "loadgen_cpu_seconds_total {}", summary.generator.cpu_s)
}

fn family(text: &mut String, name: &str, kind: &str, help: &str) -> std::fmt::Result {
    writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

fn histogram(text: &mut String, name: &str, help: &str, encoded: &str) -> std::fmt::Result {
    let Ok(histogram) = decode(encoded) else { return Ok(()) };
    family(text, name, "histogram", help)?;
    for bucket_s in BUCKETS_S {
        let count = histogram.count_between(0, (bucket_s * 1e6) as u64);
        writeln!(text, "{name}_bucket{{le=\"{bucket_s}\"}} {count}")?;
    }
    writeln!(text, "{name}_bucket{{le=\"+Inf\"}} {}", histogram.len())?;
    writeln!(text, "{name}_sum {}", histogram.mean() * histogram.len() as f64 / 1e6)?;
    writeln!(text, "{name}_count {}", histogram.len())
}
