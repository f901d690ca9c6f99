//! `conformance`: how far the lab is from Kubernetes itself, by replaying what was recorded of it.
//!
//! `hpa` replays decisions of the real controller and is content with nothing less than all of them. `api` replays
//! exchanges with a real API server, against an embedded cluster that is made for it and removed again.

mod timeline;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use autoscaler::conformance;
use xshell::Shell;

use crate::archive::Archived;
use crate::cli::ConformanceVerb;
use crate::cluster::Cluster;
use crate::lab::Lab;
use crate::problem;
use crate::session::{Pace, ProviderKind, Session};
use crate::terminal::Verbosity;

/// Names the folder of recorded decisions.
const VECTORS: &str = "SWELL_VECTORS";
/// The program that replays exchanges, and the profile of the cluster that it is let loose on.
const SUITE: &str = "nanokube-conformance";
const API_PROFILE: &str = "conformance";
/// Where the suite keeps the real clients that it installs, under the build folder.
const CLIENTS: &str = "clients";
/// The full set, where it lies beside the clone.
const BESIDE: &str = "../shared/hpa-vectors";
/// A sample that every clone has.
const SAMPLE: &str = "autoscaler/testdata";

pub(crate) async fn run(lab: &Lab<'_>, verb: &ConformanceVerb) -> Result<u8> {
    match verb {
        ConformanceVerb::Hpa { files } => hpa(lab, files),
        ConformanceVerb::Timeline => timeline::run(lab).await,
        ConformanceVerb::Api { kubeconfig, recordings } => api(lab, kubeconfig.as_deref(), recordings.as_deref()),
    }
}

fn api(lab: &Lab<'_>, kubeconfig: Option<&Path>, recordings: Option<&Path>) -> Result<u8> {
    lab.workspace.build_binaries(lab.terminal, &["nanokube", SUITE])?;
    if let Some(kubeconfig) = kubeconfig {
        return replay(lab, kubeconfig, recordings);
    }
    let session = Session::new(API_PROFILE, ProviderKind::Embedded, "", Pace::Real);
    let cluster = Cluster::of_session(&lab.workspace, &session)?;
    let step = lab.terminal.step("cluster");
    let access = cluster.start(lab.terminal, &step, Pace::Real, None)?;
    step.done(&access.summary);
    let outcome = load_image(lab, &cluster).and_then(|()| replay(lab, &access.kubeconfig, recordings));
    cluster.delete()?;
    outcome
}

/// The suite makes the image that its pods run.
fn load_image(lab: &Lab<'_>, cluster: &Cluster) -> Result<()> {
    let archive = lab.workspace.target_dir().join(format!("{SUITE}.tar"));
    Shell::new()?.cmd(lab.workspace.binary(SUITE)).arg("--write-image").arg(&archive).quiet().run()?;
    cluster.load_image(&Archived::read(&archive)?)
}

/// The suite is a program of its own, so that it can be run against any API server.
fn replay(lab: &Lab<'_>, kubeconfig: &Path, recordings: Option<&Path>) -> Result<u8> {
    let shell = Shell::new()?;
    let clients = lab.workspace.target_dir().join(CLIENTS);
    let mut suite = shell.cmd(lab.workspace.binary(SUITE)).arg("--kubeconfig").arg(kubeconfig).quiet().ignore_status();
    suite = suite.arg("--clients").arg(clients);
    if let Some(recordings) = recordings {
        suite = suite.arg("--recordings").arg(recordings);
    }
    if lab.terminal.verbosity == Verbosity::Verbose {
        suite = suite.arg("--verbose");
    }
    let output = suite.ignore_stderr().output()?;
    lab.terminal.line(String::from_utf8_lossy(&output.stdout).trim_end());
    Ok(output.status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

fn hpa(lab: &Lab<'_>, given: &[PathBuf]) -> Result<u8> {
    let files = if given.is_empty() { recorded(lab) } else { given.iter().flat_map(|path| files_of(path)).collect() };
    if files.is_empty() {
        return Err(problem::no_vectors(VECTORS, SAMPLE).into());
    }
    let (mut identical, mut total, mut perfect) = (0, 0, true);
    for path in &files {
        let text = std::fs::read_to_string(path).with_context(|| problem::unreadable(path))?;
        let report = conformance::replay(&path.display().to_string(), &text);
        lab.terminal.line(report.to_string().trim_end());
        identical += report.identical();
        total += report.total();
        perfect &= report.is_perfect();
    }
    if files.len() > 1 {
        lab.terminal.line(&format!("{identical} of {total} identical"));
    }
    Ok(u8::from(!perfect))
}

/// The files of `$SWELL_VECTORS`, else of the folder beside the clone, else the sample of the clone.
fn recorded(lab: &Lab<'_>) -> Vec<PathBuf> {
    if let Some(named) = std::env::var_os(VECTORS) {
        return files_of_folder(Path::new(&named));
    }
    let folders = [BESIDE, SAMPLE].map(|folder| lab.workspace.root.join(folder));
    folders.iter().map(|folder| files_of_folder(folder)).find(|files| !files.is_empty()).unwrap_or_default()
}

fn files_of(path: &Path) -> Vec<PathBuf> {
    if path.is_dir() { files_of_folder(path) } else { vec![path.to_owned()] }
}

fn files_of_folder(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|kind| kind == "jsonl")).collect();
    files.sort();
    files
}
