//! `demo`: everything in one go at pace fast, in a profile of its own: set up, load, up, down, report, tear down.
//!
//! Exits 0 only if it scaled up and down, lost no request, and left no process behind. Whatever fails, the teardown runs.

use std::time::Instant;

use anyhow::Result;
use clap::Parser;

use crate::cli::{Cli, DemoArgs, LoadArgs, SetupArgs, TeardownArgs, Verb};
use crate::cmd::{load, setup, teardown};
use crate::lab::Lab;
use crate::lock::Lock;
use crate::problem;
use crate::report::{Report, Verdict};
use crate::scenario;
use crate::session::{DEFAULT_PROFILE, Pace};
use crate::terminal::human_duration;

/// Its own profile, so that a demo beside a lab that is set up disturbs neither.
const PROFILE: &str = "demo";

pub(crate) async fn run(lab: &Lab<'_>, args: &DemoArgs) -> Result<u8> {
    let profile = if lab.profile == DEFAULT_PROFILE { PROFILE } else { &lab.profile };
    let lab = Lab { workspace: lab.workspace.clone(), terminal: lab.terminal, profile: profile.to_owned() };
    let _lock = Lock::take(&lab.workspace, &lab.profile, "demo")?;
    let started = Instant::now();
    let outcome = tokio::select! {
        outcome = show(&lab, args) => outcome,
        // What was made until then is removed below.
        _ = tokio::signal::ctrl_c(), if !args.keep => Err(problem::interrupted().into()),
    };
    if args.keep {
        lab.terminal.say(&format!("kept running; remove it with: {}", lab.command("teardown")));
    } else {
        lab.terminal.say("");
        teardown::perform(&lab, &TeardownArgs { keep_cluster: false }).await?;
    }
    let report = outcome?;
    let code = judge(&lab, &report);
    lab.terminal.say(&format!("demo took {}", human_duration(started.elapsed())));
    Ok(code)
}

async fn show(lab: &Lab<'_>, args: &DemoArgs) -> Result<Report> {
    let setup_args = SetupArgs { cluster: args.cluster.clone(), pace: Some(Pace::Fast), ..default_setup() };
    let (session, _) = setup::perform(lab, &setup_args).await?;
    let load_args = LoadArgs { scenario: Some(args.scenario.clone()), ..LoadArgs::default() };
    let scenario = scenario::resolve(&lab.workspace, &load_args)?;
    let command = format!("cargo xtask demo --scenario {}", args.scenario);
    let report = load::perform(lab, scenario, Some(&session), None, &load::From::Here, &command).await?;
    load::finish(lab, &report, None)?;
    Ok(report)
}

/// The demo's own demands, whatever the scenario's file says.
fn judge(lab: &Lab<'_>, report: &Report) -> u8 {
    if report.verdict != Verdict::Pass {
        return report.verdict.exit_code();
    }
    let replicas = report.replicas;
    let demands = [
        (replicas.peak > replicas.start, "it did not scale up"),
        (replicas.end < replicas.peak, "it did not scale down"),
        (report.requests.lost == 0, "requests were lost"),
    ];
    let broken: Vec<&str> = demands.iter().filter(|(kept, _)| !kept).map(|(_, words)| *words).collect();
    if broken.is_empty() {
        return 0;
    }
    lab.terminal.warn(&broken.join(", "));
    problem::EXIT_EXPECTATION
}

/// The defaults of `setup`, from the one place that states them.
pub(crate) fn default_setup() -> SetupArgs {
    match Cli::try_parse_from(["xtask", "setup"]) {
        Ok(Cli { verb: Verb::Setup(args), .. }) => args,
        _ => unreachable!("invariant: `setup` without flags parses"),
    }
}
