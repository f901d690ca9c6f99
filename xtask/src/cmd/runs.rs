//! `runs`: the recorded runs, oldest first, each with its verdict.

use anyhow::Result;
use serde_json::json;

use crate::cli::{Output, RunsArgs};
use crate::lab::Lab;
use crate::problem;
use crate::report::Report;
use crate::run_dir::{RunDir, shown};

pub(crate) fn run(lab: &Lab<'_>, args: &RunsArgs) -> Result<u8> {
    if let Some(keep) = args.keep {
        prune(lab, usize::from(keep))?;
    }
    let runs = RunDir::list(&lab.workspace);
    if runs.is_empty() && args.output == Output::Text {
        lab.terminal.say("no run recorded yet; make one with: cargo xtask load demo");
    }
    for dir in runs {
        let report = dir.read().and_then(|recording| Report::of(&recording));
        match (args.output, report) {
            (Output::Text, Ok(report)) => lab.terminal.line(&format!(
                "{:<32} {:<12} {:<22} ok {}  lost {}  p99 {:.0} ms",
                report.run,
                report.verdict.word(),
                replicas(&report),
                report.requests.counts.ok,
                report.requests.lost,
                report.latency_us.p99 as f64 / 1e3,
            )),
            (Output::Text, Err(error)) => {
                lab.terminal.line(&format!("{:<32} unusable: {}", dir.id(), problem::why(&error)));
                lab.terminal.line(&format!("{:<32}   try: rm -r {}", "", shown(&dir.path)));
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

/// A load on a URL of the user's own has no cluster to watch.
fn replicas(report: &Report) -> String {
    let replicas = report.replicas;
    if replicas.peak == 0 {
        return "no cluster watched".to_owned();
    }
    format!("replicas {} -> {} -> {}", replicas.start, replicas.peak, replicas.end)
}

/// Removes the oldest runs until `keep` are left, and what never became a run before them. One that goes on now is the
/// last, and stays.
fn prune(lab: &Lab<'_>, keep: usize) -> Result<()> {
    let runs = RunDir::list(&lab.workspace);
    let Some(oldest) = runs.get(runs.len().saturating_sub(keep)) else { return Ok(()) };
    for dir in RunDir::before(&lab.workspace, oldest) {
        dir.remove()?;
        lab.terminal.say(&format!("removed {}", dir.id()));
    }
    Ok(())
}
