//! The summary for people: the verdict first, then requests, latencies, pods and the generator itself.

use std::fmt::Write;

use crate::histogram::{Percentiles, decode};
use crate::output::history::History;
use crate::output::plot::{bar, sparkline, time};
use crate::stream::{Errors, Summary};

const WIDTH: usize = 60;

/// The whole report.
pub fn report(summary: &Summary, history: &History) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = verdict(&mut text, summary);
    let _ = requests(&mut text, summary);
    let _ = latencies(&mut text, summary);
    let _ = distribution(&mut text, summary);
    let _ = timeline(&mut text, history);
    let _ = pods(&mut text, summary);
    let _ = generator(&mut text, summary);
    let _ = thresholds(&mut text, summary);
    text
}

fn verdict(text: &mut String, summary: &Summary) -> std::fmt::Result {
    let kind = match summary.loop_kind.as_str() {
        "open" => "open loop, latency from the planned moment",
        _ => "closed loop: each connection waits for its answer",
    };
    let interrupted = if summary.interrupted { ", interrupted" } else { "" };
    writeln!(text, "{}  {kind}{interrupted}", summary.validity.verdict)?;
    for reason in &summary.validity.reasons {
        writeln!(text, "  {reason}")?;
    }
    writeln!(text, "  {}, {:.2} s", summary.url, summary.duration_s)
}

fn requests(text: &mut String, summary: &Summary) -> std::fmt::Result {
    let r = &summary.requests;
    writeln!(text, "\nrequests  {:.1}/s good", summary.rate_per_s)?;
    writeln!(text, "  planned {} = sent {} + shed {} + unsent {}", r.planned, r.sent, r.shed, r.unsent)?;
    let in_flight = if r.in_flight > 0 { format!(" + in flight {}", r.in_flight) } else { String::new() };
    writeln!(text, "  sent {} = ok {} + errors {}{in_flight}", r.sent, r.ok, r.errors.total())?;
    for (class, count) in Errors::CLASSES.iter().zip(r.errors.counts()).filter(|(_, count)| *count > 0) {
        let why = summary.first_errors.get(*class).map(|why| format!("  {why}")).unwrap_or_default();
        writeln!(text, "    {class:<8} {count}{why}")?;
    }
    if r.statuses.len() > 1 {
        let statuses: Vec<String> = r.statuses.iter().map(|(status, count)| format!("{status}: {count}")).collect();
        writeln!(text, "  status {}", statuses.join(", "))?;
    }
    if r.retried > 0 {
        writeln!(text, "  {} sent again after their connection was found closed", r.retried)?;
    }
    Ok(())
}

fn latencies(text: &mut String, summary: &Summary) -> std::fmt::Result {
    writeln!(
        text,
        "\n{:<10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}",
        "latency", "mean", "p50", "p90", "p99", "p99.9", "p99.99", "max"
    )?;
    let mut row = |name: &str, p: &Percentiles| {
        let figures = [p.mean, p.p50 as f64, p.p90 as f64, p.p99 as f64, p.p99_9 as f64, p.p99_99 as f64, p.max as f64];
        let figures: String = figures.into_iter().map(|us| format!("{:>10}", time(us))).collect();
        writeln!(text, "  {name:<8}{figures}")
    };
    row("response", &summary.latency_us)?;
    row("service", &summary.service_latency_us)?;
    if summary.pacing_error_us.count > 0 {
        row("pacing", &summary.pacing_error_us)?;
    }
    for (class, percentiles) in summary.classes.iter().filter(|(class, _)| class.as_str() != "ok") {
        row(class, percentiles)?;
    }
    let r = &summary.requests;
    let counts = [("shed", r.shed), ("unsent", r.unsent), ("in flight", r.in_flight.max(0) as u64)];
    let missing: Vec<String> =
        counts.iter().filter(|(_, count)| *count > 0).map(|(name, count)| format!("{count} {name}")).collect();
    if !missing.is_empty() {
        writeln!(text, "  without a latency, and so not in these rows: {}", missing.join(", "))?;
    }
    Ok(())
}

/// How the response times are spread, in steps of powers of two.
fn distribution(text: &mut String, summary: &Summary) -> std::fmt::Result {
    let Ok(histogram) = decode(&summary.response_us) else { return Ok(()) };
    if histogram.is_empty() {
        return Ok(());
    }
    writeln!(text)?;
    let first = histogram.min().max(1).ilog2();
    let last = histogram.max().max(1).ilog2();
    let counts: Vec<(u64, u64)> = (first..=last)
        .map(|power| (1u64 << (power + 1), histogram.count_between(1 << power, (1 << (power + 1)) - 1)))
        .collect();
    let most = counts.iter().map(|(_, count)| *count).max().unwrap_or(1);
    for (end, count) in counts {
        let share = count as f64 / histogram.len() as f64;
        let drawn = bar(count as f64 / most as f64, WIDTH - 20);
        writeln!(text, "  < {:>8}  {:>7.3}%  {drawn}", time(end as f64), share * 100.0)?;
    }
    Ok(())
}

fn timeline(text: &mut String, history: &History) -> std::fmt::Result {
    if history.rows.len() < 3 {
        return Ok(());
    }
    writeln!(text)?;
    let mut line = |name: &str, unit: &str, values: Vec<f64>, show: &dyn Fn(f64) -> String| {
        let highest = values.iter().copied().fold(0.0, f64::max);
        writeln!(text, "  {name:<8}{}  up to {}{unit}", sparkline(&values, WIDTH), show(highest))
    };
    let of = |value: &dyn Fn(&crate::output::history::Row) -> f64| history.rows.iter().map(value).collect::<Vec<f64>>();
    let per_s = history.row_s as f64;
    line("ok", "/s", of(&|row| row.requests.ok as f64 / per_s), &|value| format!("{value:.0}"))?;
    line("p99", "", of(&|row| row.response.p99 as f64), &time)?;
    if history.rows.iter().any(|row| row.requests.errors.total() > 0) {
        line("errors", "/s", of(&|row| row.requests.errors.total() as f64 / per_s), &|value| format!("{value:.0}"))?;
    }
    Ok(())
}

fn pods(text: &mut String, summary: &Summary) -> std::fmt::Result {
    if summary.pods.is_empty() {
        return Ok(());
    }
    let jain = summary.jain_index.map_or(String::new(), |jain| format!(", Jain index {jain:.3}"));
    writeln!(text, "\npods  {}{jain}", summary.pods.len())?;
    for (name, pod) in &summary.pods {
        writeln!(
            text,
            "  {name:<40} {:>8} requests  {:>5.1}%  errors {:>4}  p99 {:>8}",
            pod.requests,
            pod.share * 100.0,
            pod.errors,
            time(pod.service_latency_us.p99 as f64)
        )?;
    }
    Ok(())
}

fn generator(text: &mut String, summary: &Summary) -> std::fmt::Result {
    let g = &summary.generator;
    let c = &summary.connections;
    writeln!(text, "\nconnections  {} opened, at most {} at a second's end", c.opened, c.open)?;
    writeln!(
        text,
        "generator  {} shard(s) on {} core(s), {:.2} s CPU ({:.1} µs a request), {:.0} MiB, seed {}",
        g.shards,
        g.cores,
        g.cpu_s,
        g.cpu_us_per_request,
        g.rss_max_bytes as f64 / (1 << 20) as f64,
        g.seed
    )
}

fn thresholds(text: &mut String, summary: &Summary) -> std::fmt::Result {
    if summary.slo_violation_seconds > 0 {
        writeln!(text, "\nthe SLO was broken in {} second(s)", summary.slo_violation_seconds)?;
    }
    if !summary.thresholds.is_empty() {
        writeln!(text)?;
    }
    for result in &summary.thresholds {
        let verdict = if result.passed { "pass" } else { "FAIL" };
        writeln!(text, "  {verdict}  {}  ({})", result.threshold, result.shown)?;
    }
    Ok(())
}
