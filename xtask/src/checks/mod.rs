//! What can be wrong, each with the command that mends it: findings of the machine, and of the cluster with its workload.
//!
//! A check is a function from what was read to findings, so each failure can be shown to a test as a value.

pub(crate) mod capacity;
pub(crate) mod cluster;
pub(crate) mod left;
pub(crate) mod machine;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::cluster::{Cluster, Mend};
use crate::problem::{self, Problem};
use crate::run_dir::shown;
use crate::session::DEFAULT_PROFILE;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    Fine,
    /// By `--fix`, just now.
    Mended,
    /// Works, but is worth knowing.
    Note,
    Wrong,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub state: State,
    pub name: String,
    pub what: String,
    /// The command that mends it; empty where nothing is to mend.
    pub remedy: String,
    /// What `doctor --fix` may do by itself.
    #[serde(skip)]
    pub fix: Option<Fix>,
}

/// Repairs that can harm nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fix {
    /// A kubeconfig is a password.
    OwnerOnly(PathBuf),
    /// What whoever runs the cluster can do: start it, point the kubeconfig to it, turn on its metrics.
    Cluster(Mend),
    /// The directory of a cluster that no session knows of and no daemon runs in.
    RemoveLeft(PathBuf),
}

impl Fix {
    /// What was done, in words.
    pub(crate) fn apply(&self, cluster: Option<&Cluster>) -> Result<String> {
        match (self, cluster) {
            (Fix::OwnerOnly(path), _) => {
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
                    .with_context(|| problem::unwritable(path))?;
                Ok(format!("chmod 600 {}", path.display()))
            }
            (Fix::Cluster(mend), Some(cluster)) => cluster.mend(*mend),
            (Fix::Cluster(_), None) => Ok("nothing: the cluster is not known".to_owned()),
            (Fix::RemoveLeft(dir), _) => {
                std::fs::remove_dir_all(dir).with_context(|| problem::unwritable(dir))?;
                Ok(format!("removed {}", shown(dir)))
            }
        }
    }
}

impl Finding {
    pub(crate) fn fine(name: &str, what: impl Into<String>) -> Finding {
        Finding { state: State::Fine, name: name.to_owned(), what: what.into(), remedy: String::new(), fix: None }
    }

    pub(crate) fn mended(&self, done: &str) -> Finding {
        Finding { state: State::Mended, ..Finding::fine(&self.name, format!("{done}   (was: {})", self.what)) }
    }

    pub(crate) fn note(name: &str, what: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { state: State::Note, remedy: remedy.into(), ..Finding::fine(name, what) }
    }

    pub(crate) fn wrong(name: &str, what: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { state: State::Wrong, remedy: remedy.into(), ..Finding::fine(name, what) }
    }

    /// A fault that is worded as a failure of a verb is.
    pub(crate) fn problem(name: &str, problem: Problem, fix: Option<Fix>) -> Finding {
        let words = problem::render(&problem.into(), DEFAULT_PROFILE);
        let (what, remedy) = words.split_once("\n  try: ").unwrap_or((&words, "cargo xtask setup"));
        Finding { fix, ..Finding::wrong(name, what, remedy) }
    }
}

#[cfg(test)]
mod tests;
