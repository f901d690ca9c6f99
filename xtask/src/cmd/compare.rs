//! `compare`: two recorded runs side by side: what the autoscaler made of each, and what the clients felt.
//!
//! Scaling is compared here, from the two reports; whether latencies differ by more than chance is the generator's own
//! comparison, second by second. Needs no cluster.

use anyhow::{Context, Result};
use serde_json::json;
use xshell::{Shell, cmd};

use crate::cli::{CompareArgs, Output};
use crate::lab::Lab;
use crate::problem;
use crate::report::Report;
use crate::run_dir::RunDir;

pub(crate) fn run(lab: &Lab<'_>, args: &CompareArgs) -> Result<u8> {
    let dirs = [RunDir::find(&lab.workspace, Some(&args.before))?, RunDir::find(&lab.workspace, Some(&args.after))?];
    let [before, after] = [Report::of(&dirs[0].read()?)?, Report::of(&dirs[1].read()?)?];
    let latency = latency(lab, &dirs, args.output)?;
    let rows = rows(&before, &after);
    if args.output == Output::Json {
        let figures: serde_json::Map<String, serde_json::Value> =
            rows.iter().map(|row| (row.name.to_owned(), json!({ "a": row.before, "b": row.after }))).collect();
        let latency: serde_json::Value = serde_json::from_str(&latency).unwrap_or_default();
        let line = json!({ "version": 1, "a": before.run, "b": after.run, "figures": figures, "latency": latency });
        lab.terminal.line(&line.to_string());
        return Ok(0);
    }
    lab.terminal.line(&format!("{:<28}{:>28}{:>28}{:>12}", "", "A", "B", "B - A"));
    lab.terminal.line(&format!("{:<28}{:>28}{:>28}", "run", before.run, after.run));
    lab.terminal.line(&format!("{:<28}{:>28}{:>28}", "verdict", before.verdict.word(), after.verdict.word()));
    for row in &rows {
        lab.terminal.line(&row.text());
    }
    if before.scenario != after.scenario {
        let told = format!("the loads differ: {} and {}", before.scenario, after.scenario);
        lab.terminal.warn(&told);
    }
    lab.terminal.line(&format!("\n{}", latency.trim_end()));
    Ok(0)
}

/// One figure of both runs; `None` where a run has none, as one that never scaled has no time of scaling.
#[derive(Debug, PartialEq)]
struct Row {
    name: &'static str,
    unit: &'static str,
    before: Option<f64>,
    after: Option<f64>,
}

impl Row {
    fn text(&self) -> String {
        let show = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.1} {}", self.unit));
        let difference = self.before.zip(self.after).map(|(before, after)| after - before);
        let difference = difference.map_or("-".to_owned(), |value| format!("{value:+.1}"));
        format!("{:<28}{:>28}{:>28}{difference:>12}", self.name, show(self.before), show(self.after))
    }
}

type Figure = fn(&Report) -> Option<f64>;

const FIGURES: [(&str, &str, Figure); 9] = [
    ("first additional pod ready", "s", |report| report.scale_up_s),
    ("most pods ready", "s", |report| report.peak_s),
    ("scaled down after", "s", |report| report.scale_down_s),
    ("peak replicas", "", |report| Some(f64::from(report.replicas.peak))),
    ("changes of direction", "", |report| Some(f64::from(report.flaps))),
    ("pod-seconds", "s", pod_seconds),
    ("p99", "ms", |report| Some(report.latency_us.p99 as f64 / 1e3)),
    ("lost requests", "", |report| Some(report.requests.lost as f64)),
    ("expectations not met", "", |report| Some(report.expectations.iter().filter(|it| !it.passed).count() as f64)),
];

/// What was paid for: ready pods, second by second, over the whole recording.
fn pod_seconds(report: &Report) -> Option<f64> {
    let ready: Vec<i32> = report.series.iter().filter_map(|point| point.ready).collect();
    (!ready.is_empty()).then(|| ready.into_iter().map(f64::from).sum())
}

fn rows(before: &Report, after: &Report) -> Vec<Row> {
    let row = |(name, unit, figure): &(&'static str, &'static str, Figure)| Row {
        name,
        unit,
        before: figure(before),
        after: figure(after),
    };
    FIGURES.iter().map(row).collect()
}

fn latency(lab: &Lab<'_>, dirs: &[RunDir; 2], output: Output) -> Result<String> {
    lab.workspace.build_binaries(lab.terminal, &["loadgen"])?;
    let shell = Shell::new()?;
    let (binary, before, after) = (lab.workspace.binary("loadgen"), dirs[0].intervals(), dirs[1].intervals());
    let form = if output == Output::Json { "json" } else { "text" };
    let output = cmd!(shell, "{binary} compare {before} {after} --summary {form}")
        .quiet()
        .ignore_status()
        .output()
        .with_context(|| problem::tool_missing("loadgen", "cargo build -p loadgen"))?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr);
        return Err(problem::child_failed("loadgen compare", &told, "cargo xtask runs").into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_shows_both_and_the_difference_or_that_there_is_none() {
        let row = |before, after| Row { name: "p99", unit: "ms", before, after }.text();
        assert!(row(Some(10.0), Some(12.5)).ends_with("10.0 ms                     12.5 ms        +2.5"));
        assert!(row(None, Some(1.0)).ends_with("-                      1.0 ms           -"));
    }
}
