//! The workflows of `.github`: of the shape that GitHub takes, with few rights, and of commands that exist.
//!
//! A written subset of the format: whatever is not known here is an error, so that a misspelt key does not go unnoticed.

use clap::Parser;
use serde_json::Value;

use super::{commands, root, words};
use crate::cli::Cli;

const WORKFLOW: [&str; 5] = ["name", "on", "permissions", "concurrency", "jobs"];
const EVENTS: [&str; 4] = ["push", "pull_request", "schedule", "workflow_dispatch"];
const JOB: [&str; 7] = ["runs-on", "timeout-minutes", "permissions", "env", "steps", "needs", "strategy"];
const STEP: [&str; 6] = ["name", "uses", "with", "run", "if", "env"];

fn workflows() -> Vec<(String, Value, String)> {
    let entries = std::fs::read_dir(root().join(".github/workflows")).unwrap();
    let read = |path: std::path::PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let value = serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, value, text)
    };
    entries.map(|entry| read(entry.unwrap().path())).collect()
}

#[track_caller]
fn check_keys(place: &str, object: &Value, known: &[&str]) {
    for key in object.as_object().unwrap_or_else(|| panic!("{place} is no mapping")).keys() {
        assert!(known.contains(&key.as_str()), "{place}: unknown key {key}");
    }
}

#[test]
fn workflows_have_the_shape_that_github_takes_and_only_the_rights_they_need() {
    let all = workflows();
    assert!(all.len() >= 4, "test, macos, end-to-end, release");
    for (name, workflow, _) in &all {
        check_keys(name, workflow, &WORKFLOW);
        check_keys(&format!("{name} on"), &workflow["on"], &EVENTS);
        assert_eq!(workflow["permissions"], serde_json::json!({ "contents": "read" }), "{name}");
        for (id, job) in workflow["jobs"].as_object().expect("jobs") {
            let place = format!("{name} {id}");
            check_keys(&place, job, &JOB);
            assert!(job["runs-on"].is_string() && job["timeout-minutes"].is_u64(), "{place}: runs-on, timeout-minutes");
            for step in job["steps"].as_array().expect("steps") {
                check_keys(&place, step, &STEP);
                assert!(step["run"].is_string() != step["uses"].is_string(), "{place}: one of run and uses: {step}");
                if let Some(action) = step["uses"].as_str() {
                    let version = action.split_once('@').map_or("", |(_, version)| version);
                    let is_version = version.starts_with('v') && version[1..].starts_with(|c: char| c.is_ascii_digit());
                    assert!(is_version, "{place}: {action} is not pinned to a version");
                }
            }
        }
    }
}

#[test]
fn workflows_run_only_verbs_that_exist() {
    for (name, _, text) in workflows() {
        for command in commands(&text) {
            let parsed = Cli::try_parse_from(words(&command));
            assert!(parsed.is_ok(), "{name}: {command}: {}", parsed.err().map(|it| it.to_string()).unwrap_or_default());
        }
    }
}
