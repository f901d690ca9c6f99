//! `nanokube delete`: stop, then remove everything the instance has written.

use std::process::ExitCode;

use anyhow::{Context, bail};

use super::stop;
use crate::instance::Directory;
use crate::removal::remove_tree;

pub(super) fn run(directory: &Directory) -> anyhow::Result<ExitCode> {
    stop::stop(directory)?;
    let path = directory.path();
    if !path.exists() {
        println!("nothing to delete at {}", path.display());
        return Ok(ExitCode::SUCCESS);
    }
    let ours = directory.keys().exists() || directory.log().exists() || directory.images().exists();
    if !ours {
        bail!("{} does not look like an instance of nanokube: not deleting it", path.display());
    }
    remove_tree(path).with_context(|| format!("cannot remove {}", path.display()))?;
    println!("deleted {}", path.display());
    Ok(ExitCode::SUCCESS)
}
