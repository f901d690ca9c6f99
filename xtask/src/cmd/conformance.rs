//! `conformance`: how far the lab is from Kubernetes itself, by replaying what was recorded of it.
//!
//! `hpa` replays decisions of the real controller and is content with nothing less than all of them.

use std::path::PathBuf;

use anyhow::{Context, Result};
use autoscaler::conformance;

use crate::cli::ConformanceVerb;
use crate::lab::Lab;
use crate::problem;

/// Names the folder of recorded decisions.
const VECTORS: &str = "SWELL_VECTORS";
/// A sample that every clone has.
const SAMPLE: &str = "autoscaler/testdata";

pub(crate) fn run(lab: &Lab<'_>, verb: &ConformanceVerb) -> Result<u8> {
    match verb {
        ConformanceVerb::Hpa { files } => hpa(lab, files),
    }
}

fn hpa(lab: &Lab<'_>, given: &[PathBuf]) -> Result<u8> {
    let files = if given.is_empty() { recorded(lab) } else { given.to_vec() };
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

/// The files of `$SWELL_VECTORS`, else the sample of the clone.
fn recorded(lab: &Lab<'_>) -> Vec<PathBuf> {
    let named = std::env::var_os(VECTORS).map(PathBuf::from);
    let folder = named.unwrap_or_else(|| lab.workspace.root.join(SAMPLE));
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|kind| kind == "jsonl"))
        .collect();
    files.sort();
    files
}
