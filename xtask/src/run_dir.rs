//! A run directory: what one load left behind. The only place that knows the names of its files.
//!
//! Files are appended to while the run goes on, so an interrupted run is a shorter run, not a broken one. A report is
//! made from nothing but such a directory.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use loadgen::scenario::Scenario;
use loadgen::stream::{self, Interval, Plan, Record, Summary};
use serde::{Deserialize, Serialize};

use crate::observation::Entry;
use crate::problem;
use crate::session::{Pace, ProviderKind};
use crate::workspace::{self, Workspace};

const PLAN: &str = "plan.json";
const INTERVALS: &str = "intervals.jsonl";
const TIMELINE: &str = "timeline.jsonl";
const SUMMARY: &str = "summary.json";
const REPORT_JSON: &str = "report.json";
const REPORT_HTML: &str = "report.html";
const LOAD: &str = "load.yaml";

pub(crate) const VERSION: u32 = 1;

/// What was about to be done, and where: all of a report that the streams do not say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RunPlan {
    pub version: u32,
    pub scenario: Scenario,
    /// `None`: a load on a URL of the user's own, without a cluster to watch.
    pub cluster: Option<ClusterFacts>,
    pub url: String,
    pub started_unix_ms: i64,
    /// What the machine was measured to do, where the scenario asked for a cost in CPU time.
    pub iterations_per_ms: Option<f64>,
    /// The command line that repeats the run.
    pub command: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClusterFacts {
    pub provider: ProviderKind,
    pub environment: String,
    pub pace: Pace,
    pub namespace: String,
    pub min_replicas: i32,
    pub max_replicas: i32,
    pub target_percent: Option<i32>,
    pub request_milli: Option<i64>,
}

/// Everything that a run directory tells.
#[derive(Clone, Debug)]
pub(crate) struct Recording {
    pub id: String,
    pub plan: RunPlan,
    pub load_plan: Option<Plan>,
    pub intervals: Vec<Interval>,
    pub timeline: Vec<Entry>,
    pub summary: Option<Summary>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunDir {
    pub path: PathBuf,
}

impl RunDir {
    /// `<time>-<scenario>`, so that names sort by time; a second run in the same second gets a number.
    pub(crate) fn create(workspace: &Workspace, scenario: &str, now: jiff::Timestamp) -> Result<RunDir> {
        let time = now.to_zoned(jiff::tz::TimeZone::UTC).strftime("%Y%m%d-%H%M%S").to_string();
        let runs = runs_dir(workspace);
        for number in 1..100 {
            let suffix = if number == 1 { String::new() } else { format!("-{number}") };
            let path = runs.join(format!("{time}-{scenario}{suffix}"));
            std::fs::create_dir_all(&runs).with_context(|| problem::unwritable(&runs))?;
            match std::fs::create_dir(&path) {
                Ok(()) => return Ok(RunDir { path }),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| problem::unwritable(&path)),
            }
        }
        Err(problem::unwritable(&runs).into())
    }

    /// A run by its name, by its path, or the latest.
    pub(crate) fn find(workspace: &Workspace, run: Option<&str>) -> Result<RunDir> {
        let runs = runs_dir(workspace);
        let Some(run) = run else {
            return RunDir::list(workspace).pop().ok_or_else(|| problem::no_runs(&runs).into());
        };
        let candidates = [runs.join(run), PathBuf::from(run)];
        match candidates.into_iter().find(|path| path.join(PLAN).is_file()) {
            Some(path) => Ok(RunDir { path }),
            None => Err(problem::no_such_run(run).into()),
        }
    }

    /// All recorded runs, oldest first.
    pub(crate) fn list(workspace: &Workspace) -> Vec<RunDir> {
        let runs = runs_dir(workspace);
        let names = workspace::names_in(&runs, |path| path.join(PLAN).is_file());
        names.into_iter().map(|name| RunDir { path: runs.join(name) }).collect()
    }

    pub(crate) fn id(&self) -> String {
        self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    pub(crate) fn remove(&self) -> Result<()> {
        std::fs::remove_dir_all(&self.path).with_context(|| problem::unwritable(&self.path))
    }

    /// The generator's stream, for its own comparison.
    pub(crate) fn intervals(&self) -> PathBuf {
        self.path.join(INTERVALS)
    }

    pub(crate) fn html(&self) -> PathBuf {
        self.path.join(REPORT_HTML)
    }

    pub(crate) fn write_plan(&self, plan: &RunPlan) -> Result<()> {
        self.write(PLAN, &serde_json::to_vec_pretty(plan)?)
    }

    /// The load as the generator is to run it, every placeholder filled in.
    pub(crate) fn write_load(&self, scenario: &Scenario) -> Result<PathBuf> {
        self.write(LOAD, serde_yaml::to_string(scenario)?.as_bytes())?;
        Ok(self.path.join(LOAD))
    }

    pub(crate) fn write_summary(&self, summary: &Summary) -> Result<()> {
        let record = Record::Summary(Box::new(summary.clone()));
        self.write(SUMMARY, &serde_json::to_vec_pretty(&record)?)
    }

    pub(crate) fn write_report(&self, json: &str, html: &str) -> Result<()> {
        self.write(REPORT_JSON, json.as_bytes())?;
        self.write(REPORT_HTML, html.as_bytes())
    }

    pub(crate) fn append_intervals(&self) -> Result<Lines> {
        self.append(INTERVALS)
    }

    pub(crate) fn append_timeline(&self) -> Result<Lines> {
        self.append(TIMELINE)
    }

    pub(crate) fn read(&self) -> Result<Recording> {
        let plan: RunPlan = serde_json::from_str(&self.text(PLAN)?).with_context(|| self.broken(PLAN))?;
        if plan.version != VERSION {
            return Err(problem::run_of_another_version(&self.path, plan.version).into());
        }
        let mut load_plan = None;
        let mut intervals = Vec::new();
        let stream = self.text(INTERVALS).unwrap_or_default();
        let records = stream::read_stream(&stream).map_err(anyhow::Error::msg);
        for record in records.with_context(|| self.broken(INTERVALS))? {
            match record {
                Record::Plan(plan) => load_plan = Some(*plan),
                Record::Interval(interval) => intervals.push(*interval),
                Record::Summary(_) => {}
            }
        }
        let timeline = self.text(TIMELINE).unwrap_or_default();
        // The last line may be torn where the run was killed; any other that does not parse is from a newer version.
        let timeline = timeline.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let summary = match self.text(SUMMARY) {
            Ok(text) => match serde_json::from_str(&text).with_context(|| self.broken(SUMMARY))? {
                Record::Summary(summary) => Some(*summary),
                Record::Plan(_) | Record::Interval(_) => return Err(self.broken(SUMMARY).into()),
            },
            Err(_) => None,
        };
        Ok(Recording { id: self.id(), plan, load_plan, intervals, timeline, summary })
    }

    /// Whole or not at all: half a plan or summary would make the whole run unreadable.
    fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        let path = self.path.join(name);
        workspace::replace(&path, content).with_context(|| problem::unwritable(&path))
    }

    fn append(&self, name: &str) -> Result<Lines> {
        let path = self.path.join(name);
        let file = File::options().create(true).append(true).open(&path);
        Ok(Lines { file: file.with_context(|| problem::unwritable(&path))?, path })
    }

    fn text(&self, name: &str) -> Result<String> {
        let path = self.path.join(name);
        std::fs::read_to_string(&path).with_context(|| problem::unreadable(&path))
    }

    fn broken(&self, file: &str) -> problem::Problem {
        problem::run_incomplete(&self.path, file)
    }
}

/// A file of lines that grows while the run goes on.
pub(crate) struct Lines {
    file: File,
    path: PathBuf,
}

impl Lines {
    pub(crate) fn push(&mut self, line: &str) -> Result<()> {
        let whole = format!("{line}\n");
        self.file.write_all(whole.as_bytes()).with_context(|| problem::unwritable(&self.path))
    }

    pub(crate) fn push_entry(&mut self, entry: &Entry) -> Result<()> {
        self.push(&serde_json::to_string(entry)?)
    }
}

fn runs_dir(workspace: &Workspace) -> PathBuf {
    workspace.state_dir().join("runs")
}

/// A path as the user would type it, where it lies below the current directory.
pub(crate) fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_runs_in_one_second_get_two_directories_and_the_latest_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let workspace = Workspace::at(dir.path());
        let now: jiff::Timestamp = "2026-05-04T10:20:30Z".parse().unwrap();
        let first = RunDir::create(&workspace, "demo", now).unwrap();
        let second = RunDir::create(&workspace, "demo", now).unwrap();
        assert_eq!((first.id().as_str(), second.id().as_str()), ("20260504-102030-demo", "20260504-102030-demo-2"));
        assert!(RunDir::find(&workspace, None).is_err(), "a directory without a plan is no run");
        std::fs::write(first.path.join(PLAN), "{}").unwrap();
        assert_eq!(RunDir::find(&workspace, None).unwrap(), first);
        assert_eq!(RunDir::find(&workspace, Some("20260504-102030-demo")).unwrap(), first);
        assert!(RunDir::find(&workspace, Some("nope")).is_err());
        // A scenario may be named as a version is.
        let dotted = RunDir::create(&workspace, "v1.2", now).unwrap();
        std::fs::write(dotted.path.join(PLAN), "{}").unwrap();
        assert_eq!(RunDir::list(&workspace), [first, dotted]);
    }
}
