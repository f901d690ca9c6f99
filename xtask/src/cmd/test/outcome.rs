//! What cargo said about a step: how many tests passed, which failed, in which targets, and the words around them.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// Lines of a failed step that are shown.
const KEPT_LINES: usize = 400;

#[derive(Default)]
pub(super) struct Outcome {
    pub(super) passed: u64,
    pub(super) failed: u64,
    pub(super) ignored: u64,
    pub(super) ok: bool,
    pub(super) took: Duration,
    /// What failed, so far.
    pub(super) kept: VecDeque<String>,
    pub(super) passed_tests: Vec<String>,
    pub(super) failed_tests: BTreeSet<String>,
    /// Arguments for cargo that name the targets which failed, as it prints them.
    pub(super) failed_targets: BTreeSet<String>,
    /// What the test program that runs now has said.
    program: Vec<String>,
}

impl Outcome {
    /// Only what failed is worth showing: a program that ended well is forgotten, one that ended without a result is not.
    pub(super) fn keep(&mut self, line: String) {
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

    pub(super) fn keep_program(&mut self) {
        self.kept.extend(self.program.drain(..));
        let surplus = self.kept.len().saturating_sub(KEPT_LINES);
        self.kept.drain(..surplus);
    }

    /// `test NAME ... FAILED`, `error: test failed, to rerun pass `-p crate --test file``, and
    /// `test result: ok. 12 passed; 0 failed; 1 ignored; ...`
    pub(super) fn read(&mut self, line: &str) {
        if let Some((test, result)) = line.strip_prefix("test ").and_then(|rest| rest.rsplit_once(" ... ")) {
            match result {
                "FAILED" => drop(self.failed_tests.insert(test.to_owned())),
                "ok" => self.passed_tests.push(test.to_owned()),
                _ => {}
            }
        }
        if let Some((_, target)) = line.split_once("to rerun pass `") {
            self.failed_targets.insert(target.trim_end_matches('`').to_owned());
        }
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

pub(super) fn progress(line: &str) -> Option<String> {
    let trimmed = line.trim_start();
    let telling = ["Compiling ", "Checking ", "Running ", "Doc-tests "];
    telling.iter().any(|start| trimmed.starts_with(start)).then(|| trimmed.to_owned())
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
    fn what_failed_is_known_by_test_and_by_target() {
        let mut outcome = Outcome::default();
        for line in [
            "test node::says_goodbye ... FAILED",
            "test node::comes_back ... ok",
            "test daemon ... ignored, run by the next test",
            "error: test failed, to rerun pass `-p nanokube --test node`",
        ] {
            outcome.read(line);
        }
        assert_eq!(Vec::from_iter(&outcome.failed_tests), ["node::says_goodbye"]);
        assert_eq!(outcome.passed_tests, ["node::comes_back"]);
        assert_eq!(Vec::from_iter(&outcome.failed_targets), ["-p nanokube --test node"]);
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
