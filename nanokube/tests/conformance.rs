//! The conformance suite against nanokube, on the exchanges that every clone has (`tests/recorded`): requests of our own with
//! the answers that the real server's rules ask for. `cargo xtask conformance api` replays more where more is recorded.

// Helpers outside of `#[test]` functions fail a test by panicking too.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};

const AREAS: [&str; 3] = ["writes basic", "writes workloads", "apply and patch"];

/// A cluster of the test's own; it is deleted with it.
struct Instance(tempfile::TempDir);

impl Instance {
    fn verb(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_nanokube"))
            .arg("--dir")
            .arg(self.0.path().join("i"))
            .args(arguments)
            .output()
            .unwrap()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.verb(&["delete"]);
    }
}

#[test]
fn the_committed_exchanges_are_answered_as_recorded() {
    let instance = Instance(tempfile::tempdir().unwrap());
    let started = instance.verb(&["start"]);
    assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
    let suite = Command::new(env!("CARGO_BIN_EXE_nanokube-conformance"))
        .arg("--kubeconfig")
        .arg(instance.0.path().join("i/kubeconfig"))
        .arg("--recordings")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded"))
        .args(AREAS.iter().flat_map(|area| ["--only", area]))
        .arg("--verbose")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&suite.stdout);
    assert!(suite.status.success() && !said.contains("failed:"), "{said}\n{}", String::from_utf8_lossy(&suite.stderr));
    // Nothing was left out because it was not found.
    let total: usize = AREAS
        .iter()
        .map(|area| {
            let line = said.lines().find(|line| line.starts_with(area)).unwrap_or_else(|| panic!("no {area}: {said}"));
            line.split_whitespace().last().unwrap().parse::<usize>().unwrap()
        })
        .sum();
    assert!(total >= 49, "{said}");
}
