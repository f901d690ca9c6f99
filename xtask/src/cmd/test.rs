//! `test`: everything that checks this project, in one command: format, lints, and all tests with the laws and the
//! end-to-end run among them. `--long` adds what takes long.
//!
//! Each step is plain cargo, so each can be run alone. Output is shown where a step fails, and all of it with `-v`.
//! With `--retries N` tests that failed are run again, alone; one that then passes is named as flaky in the summary.

mod outcome;

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result};
use outcome::{Outcome, progress};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Command;
use tokio::sync::mpsc;

use crate::cli::TestArgs;
use crate::lab::Lab;
use crate::problem;
use crate::terminal::{Ink, Terminal, Verbosity, human_duration};
use crate::workspace::set_by_cargo;

/// Clients of other projects that some tests try when they are there.
const OUTSIDE: [&str; 11] =
    ["kubectl", "helm", "promtool", "cargo-deny", "podman", "skopeo", "ctr", "runc", "wrk", "hey", "oha"];
/// Read by tests that have a long form.
const LONG: &str = "SWELL_LONG";

struct Step {
    name: &'static str,
    args: Vec<String>,
    long: bool,
}

pub(crate) async fn run(lab: &Lab<'_>, args: &TestArgs) -> Result<u8> {
    let terminal = lab.terminal;
    let (there, missing): (Vec<&str>, Vec<&str>) = OUTSIDE.iter().partition(|tool| on_path(tool));
    let listed = |tools: &[&str]| if tools.is_empty() { "none".to_owned() } else { tools.join(", ") };
    terminal.say(&format!("outside clients to test with: {}; not installed: {}", listed(&there), listed(&missing)));
    let started = Instant::now();
    let mut total = Outcome::default();
    let (mut failed, mut flaky) = (Vec::new(), Vec::new());
    for step in steps(args.long) {
        if args.only.as_ref().is_some_and(|only| !step.name.contains(only.as_str())) {
            continue;
        }
        let mut outcome = perform(lab, &step).await?;
        report(terminal, &step, &outcome);
        for _ in 0..args.retries {
            flaky.extend(again(lab, &step, &mut outcome).await?);
        }
        total.passed += outcome.passed;
        total.failed += outcome.failed;
        total.ignored += outcome.ignored;
        if !outcome.ok {
            failed.push(step.name.to_owned());
        }
    }
    let later = if args.long { 0 } else { total.ignored };
    if later > 0 {
        terminal.say(&format!("  {later} long tests were left out; cargo xtask test --long runs them"));
    }
    for test in &flaky {
        terminal.line(&terminal.paint(Ink::Warn, &format!("  flaky: {test} failed, and passed when it ran again")));
    }
    terminal.say(&format!("  took {}", human_duration(started.elapsed())));
    terminal.line(&format!("{} passed, {} failed", total.passed, total.failed));
    if failed.is_empty() { Ok(0) } else { Err(problem::tests_failed(&failed).into()) }
}

/// What can be built without Linux, which the pods of the embedded cluster need.
const PORTABLE: &str = "-p autoscaler -p loadgen -p service -p xtask";
/// What can be tested here.
const TESTED: &str = if cfg!(target_os = "linux") { "--workspace" } else { "-p autoscaler" };

fn steps(long: bool) -> Vec<Step> {
    let step = |name, args: &str, long| Step { name, args: args.split(' ').map(str::to_owned).collect(), long };
    let tests = format!("test {TESTED} --locked --no-fail-fast");
    if cfg!(not(target_os = "linux")) {
        return vec![
            step("format", "fmt --all --check", false),
            step("build", &format!("build --locked {PORTABLE}"), false),
            step("tests", &tests, false),
        ];
    }
    let mut all = vec![
        step("format", "fmt --all --check", false),
        step("lints", "clippy --workspace --all-targets --locked --quiet -- -D warnings", false),
        step("tests", &tests, false),
    ];
    if long {
        all.push(step("long tests", &format!("{tests} -- --ignored"), true));
    }
    all
}

/// Runs what failed once more, target by target; the tests that now passed, which no longer count as failed.
async fn again(lab: &Lab<'_>, step: &Step, outcome: &mut Outcome) -> Result<Vec<String>> {
    if outcome.failed_targets.is_empty() {
        return Ok(Vec::new());
    }
    let mut still = Outcome::default();
    let mut passed = Vec::new();
    for target in &outcome.failed_targets {
        let mut second = perform(lab, &retry(step, target, &outcome.failed_tests)).await?;
        if second.ok && second.passed_tests.is_empty() {
            // None of the failed tests is of this target: its program ended without a result.
            second = perform(lab, &retry(step, target, &BTreeSet::new())).await?;
        }
        report(lab.terminal, step, &second);
        if second.ok {
            passed.extend(second.passed_tests);
        } else {
            still.failed_targets.insert(target.clone());
            still.failed_tests.extend(second.failed_tests);
        }
    }
    passed.retain(|test| outcome.failed_tests.contains(test) && !still.failed_tests.contains(test));
    let recovered = outcome.failed.min(passed.len() as u64);
    outcome.passed += recovered;
    outcome.failed -= recovered;
    outcome.ok = still.failed_targets.is_empty();
    (outcome.failed_targets, outcome.failed_tests) = (still.failed_targets, still.failed_tests);
    Ok(passed)
}

/// The given tests of one target; all of them where none is given.
fn retry(step: &Step, target: &str, tests: &BTreeSet<String>) -> Step {
    // Of the whole workspace, not `-p crate` as cargo proposes: with other features all would be compiled once more.
    let mut args: Vec<String> = format!("test {TESTED} --locked").split(' ').map(str::to_owned).collect();
    let words = target.split(' ').map(str::to_owned);
    args.extend(words.skip(if target.starts_with("-p ") { 2 } else { 0 }));
    args.push("--".to_owned());
    args.extend(step.long.then(|| "--ignored".to_owned()));
    if !tests.is_empty() {
        args.push("--exact".to_owned());
        args.extend(tests.iter().cloned());
    }
    Step { name: "what failed, again", args, long: step.long }
}

async fn perform(lab: &Lab<'_>, step: &Step) -> Result<Outcome> {
    let started = Instant::now();
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut command = Command::new(cargo);
    for name in set_by_cargo() {
        command.env_remove(name);
    }
    command.args(&step.args).current_dir(&lab.workspace.root).stdin(Stdio::null());
    command.env("CARGO_TARGET_DIR", lab.workspace.target_dir()).env("CARGO_TERM_COLOR", "never");
    if step.long {
        command.env(LONG, "1");
    }
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn()?;
    let (lines, mut received) = mpsc::channel(256);
    forward_lines(child.stdout.take(), lines.clone());
    forward_lines(child.stderr.take(), lines);
    let shown = lab.terminal.step(step.name);
    let mut outcome = Outcome::default();
    while let Some(line) = received.recv().await {
        outcome.read(&line);
        if lab.terminal.verbosity == Verbosity::Verbose {
            lab.terminal.line(&line);
        } else if let Some(progress) = progress(&line) {
            shown.update(&progress);
        }
        outcome.keep(line);
    }
    outcome.keep_program();
    outcome.ok = child.wait().await.context("waiting for cargo")?.success();
    outcome.took = started.elapsed();
    // A step that is not a test counts as one check.
    if outcome.passed + outcome.failed == 0 {
        (outcome.passed, outcome.failed) = (u64::from(outcome.ok), u64::from(!outcome.ok));
    }
    let words = format!("{} passed, {} failed", outcome.passed, outcome.failed);
    if outcome.ok {
        shown.done(&words);
    }
    Ok(outcome)
}

fn report(terminal: &Terminal, step: &Step, outcome: &Outcome) {
    if outcome.ok {
        return;
    }
    if terminal.verbosity < Verbosity::Verbose {
        for line in &outcome.kept {
            terminal.line(&format!("    {line}"));
        }
    }
    let took = human_duration(outcome.took);
    terminal.line(&terminal.paint(Ink::Bad, &format!("  {} failed after {took}", step.name)));
}

fn forward_lines(stream: Option<impl AsyncRead + Unpin + Send + 'static>, lines: mpsc::Sender<String>) {
    let Some(stream) = stream else { return };
    tokio::spawn(async move {
        let mut read = BufReader::new(stream).lines();
        while let Ok(Some(line)) = read.next_line().await {
            if lines.send(line).await.is_err() {
                return;
            }
        }
    });
}

fn on_path(tool: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(tool).is_file()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_runs_again_with_the_features_of_the_whole() {
        let step = Step { name: "tests", args: Vec::new(), long: false };
        let tests = BTreeSet::from(["says_goodbye".to_owned()]);
        let again = |target: &str, tests: &BTreeSet<String>| retry(&step, target, tests).args.join(" ");
        let named = "test --workspace --locked --test node -- --exact says_goodbye";
        assert_eq!(again("-p nanokube --test node", &tests), named);
        assert_eq!(again("-p xtask --bin xtask", &BTreeSet::new()), "test --workspace --locked --bin xtask --");
    }
}
