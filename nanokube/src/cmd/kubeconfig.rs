//! `nanokube kubeconfig`: where clients find the cluster.

use std::fs;
use std::process::ExitCode;

use anyhow::bail;

use super::say;
use crate::instance::Directory;

pub(super) fn run(directory: &Directory, raw: bool) -> anyhow::Result<ExitCode> {
    let path = directory.kubeconfig();
    let Ok(content) = fs::read_to_string(&path) else {
        bail!("there is no cluster at {}: run `nanokube start`", directory.path().display());
    };
    if raw {
        say(content.trim_end());
    } else {
        say(path.display());
    }
    Ok(ExitCode::SUCCESS)
}
