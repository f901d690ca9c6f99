//! `runs`: the recorded runs, oldest first, each with its verdict.

use anyhow::Result;
use serde_json::json;

use crate::cli::{Output, RunsArgs};
use crate::lab::Lab;
use crate::report::Report;
use crate::run_dir::RunDir;

pub(crate) fn run(lab: &Lab<'_>, args: &RunsArgs) -> Result<u8> {
    if let Some(keep) = args.keep {
        prune(lab, keep)?;
    }
    let runs = RunDir::list(&lab.workspace);
    if runs.is_empty() && args.output == Output::Text {
        lab.terminal.say("no run recorded yet; make one with: cargo xtask load demo");
    }
    for dir in runs {
        let report = dir.read().and_then(|recording| Report::of(&recording));
        match (args.output, report) {
            (Output::Text, Ok(report)) => lab.terminal.line(&format!(
                "{:<32} {:<12} replicas {} -> {} -> {}  ok {}  lost {}  p99 {:.0} ms",
                report.run,
                report.verdict.word(),
                report.replicas.start,
                report.replicas.peak,
                report.replicas.end,
                report.requests.counts.ok,
                report.requests.lost,
                report.latency_us.p99 as f64 / 1e3,
            )),
            (Output::Text, Err(error)) => {
                lab.terminal.line(&format!("{:<32} {:<12} {error:#}", dir.id(), "UNREADABLE"));
            }
            (Output::Json, Ok(report)) => {
                let line = json!({"version": 1, "run": report.run, "verdict": report.verdict, "scenario": report.scenario,
                    "started": report.started, "replicas": report.replicas, "lost": report.requests.lost});
                lab.terminal.line(&line.to_string());
            }
            (Output::Json, Err(error)) => {
                lab.terminal.line(&json!({"version": 1, "run": dir.id(), "error": format!("{error:#}")}).to_string());
            }
        }
    }
    Ok(0)
}

/// Removes the oldest runs until `keep` are left; one that goes on now is the last, and stays.
fn prune(lab: &Lab<'_>, keep: usize) -> Result<()> {
    let runs = RunDir::list(&lab.workspace);
    let old = runs.len().saturating_sub(keep.max(1));
    for dir in &runs[..old] {
        dir.remove()?;
        lab.terminal.say(&format!("removed {}", dir.id()));
    }
    Ok(())
}
