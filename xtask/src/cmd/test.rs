//! `test`: everything that checks this project, in one command: format, lints, and all tests with the laws and the
//! end-to-end run among them. `--long` adds what takes long.
//!
//! Each step is plain cargo, so each can be run alone. Output is shown where a step fails, and all of it with `-v`.

use std::collections::VecDeque;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Command;
use tokio::sync::mpsc;

use crate::cli::TestArgs;
use crate::lab::Lab;
use crate::problem;
use crate::terminal::{Ink, Terminal, Verbosity, human_duration};
use crate::workspace::set_by_cargo;

/// Lines of a failed step that are shown.
const KEPT_LINES: usize = 400;
/// Clients of other projects that some tests try when they are there.
const OUTSIDE: [&str; 9] = ["kubectl", "helm", "podman", "skopeo", "ctr", "runc", "wrk", "hey", "oha"];
/// Read by tests that have a long form.
const LONG: &str = "SWELL_LONG";

struct Step {
    name: &'static str,
    args: Vec<&'static str>,
    long: bool,
}

#[derive(Default)]
struct Outcome {
    passed: u64,
    failed: u64,
    ignored: u64,
    ok: bool,
    took: Duration,
    /// What failed, so far.
    kept: VecDeque<String>,
    /// What the test program that runs now has said.
    program: Vec<String>,
}

pub(crate) async fn run(lab: &Lab<'_>, args: &TestArgs) -> Result<u8> {
    let terminal = lab.terminal;
    let (there, missing): (Vec<&str>, Vec<&str>) = OUTSIDE.iter().partition(|tool| on_path(tool));
    let listed = |tools: &[&str]| if tools.is_empty() { "none".to_owned() } else { tools.join(", ") };
    terminal.say(&format!("outside clients to test with: {}; not installed: {}", listed(&there), listed(&missing)));
    let started = Instant::now();
    let mut total = Outcome::default();
    let mut failed = Vec::new();
    for step in steps(args.long) {
        if args.only.as_ref().is_some_and(|only| !step.name.contains(only.as_str())) {
            continue;
        }
        let outcome = perform(lab, &step).await?;
        report(terminal, &step, &outcome);
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
    terminal.say(&format!("  took {}", human_duration(started.elapsed())));
    terminal.line(&format!("{} passed, {} failed", total.passed, total.failed));
    if failed.is_empty() { Ok(0) } else { Err(problem::tests_failed(&failed).into()) }
}

fn steps(long: bool) -> Vec<Step> {
    let mut all = vec![
        Step { name: "format", args: vec!["fmt", "--all", "--check"], long: false },
        Step {
            name: "lints",
            args: vec!["clippy", "--workspace", "--all-targets", "--locked", "--quiet", "--", "-D", "warnings"],
            long: false,
        },
        Step { name: "tests", args: vec!["test", "--workspace", "--locked", "--no-fail-fast"], long: false },
    ];
    if long {
        all.push(Step {
            name: "long tests",
            args: vec!["test", "--workspace", "--locked", "--no-fail-fast", "--", "--ignored"],
            long: true,
        });
    }
    all
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

impl Outcome {
    /// Only what failed is worth showing: a program that ended well is forgotten, one that ended without a result is not.
    fn keep(&mut self, line: String) {
        let starts = line.starts_with("running ") && (line.ends_with(" tests") || line.ends_with(" test"));
        if starts && self.program.iter().any(|earlier| earlier.starts_with("running ")) {
            self.keep_program();
        }
        if line.starts_with("test result: ok.") {
            self.program.clear();
        } else if progress(&line).is_none() && !line.ends_with("... ok") {
            let failed = line.starts_with("test result: FAILED");
            self.program.push(line);
            if failed {
                self.keep_program();
            }
        }
    }

    fn keep_program(&mut self) {
        self.kept.extend(self.program.drain(..));
        let surplus = self.kept.len().saturating_sub(KEPT_LINES);
        self.kept.drain(..surplus);
    }

    /// `test result: ok. 12 passed; 0 failed; 1 ignored; ...`
    fn read(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else { return };
        let count = |word: &str| -> u64 {
            let before = result.split(word).next().unwrap_or_default();
            before.split_whitespace().last().and_then(|number| number.parse().ok()).unwrap_or(0)
        };
        self.passed += count(" passed");
        self.failed += count(" failed");
        self.ignored += count(" ignored");
    }
}

fn progress(line: &str) -> Option<String> {
    let trimmed = line.trim_start();
    let telling = ["Compiling ", "Checking ", "Running ", "Doc-tests "];
    telling.iter().any(|start| trimmed.starts_with(start)).then(|| trimmed.to_owned())
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
    fn results_of_all_test_programs_add_up() {
        let mut outcome = Outcome::default();
        for line in [
            "running 3 tests",
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s",
        ] {
            outcome.read(line);
        }
        assert_eq!((outcome.passed, outcome.failed, outcome.ignored), (15, 2, 1));
    }

    #[test]
    fn what_failed_is_kept_and_what_passed_is_not() {
        let mut outcome = Outcome::default();
        for line in [
            "running 2 tests",
            "test first ... FAILED",
            "test second ... ok",
            "test result: FAILED. 1 passed; 1 failed;",
            "running 1 test",
            "test of_a_program_that_was_killed ...",
            "running 1 test",
            "said on the way",
            "test result: ok. 1 passed; 0 failed;",
            "error: 2 targets failed:",
        ] {
            outcome.keep(line.to_owned());
        }
        outcome.keep_program();
        let kept: Vec<&str> = outcome.kept.iter().map(String::as_str).collect();
        assert_eq!(kept[..3], ["running 2 tests", "test first ... FAILED", "test result: FAILED. 1 passed; 1 failed;"]);
        assert_eq!(kept[3..], ["running 1 test", "test of_a_program_that_was_killed ...", "error: 2 targets failed:"]);
    }
}
