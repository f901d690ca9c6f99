//! What can be wrong, each with the command that mends it: findings of the machine, and of the cluster with its workload.
//!
//! A check is a function from what was read to findings, so each failure can be shown to a test as a value.

pub(crate) mod cluster;
pub(crate) mod machine;

use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    Fine,
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
    OwnerOnly(std::path::PathBuf),
}

impl Fix {
    pub(crate) fn apply(&self) -> std::io::Result<String> {
        match self {
            Fix::OwnerOnly(path) => {
                use std::os::unix::fs::PermissionsExt;
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
                Ok(format!("chmod 600 {}", path.display()))
            }
        }
    }
}

impl Finding {
    pub(crate) fn fine(name: &str, what: impl Into<String>) -> Finding {
        Finding { state: State::Fine, name: name.to_owned(), what: what.into(), remedy: String::new(), fix: None }
    }

    pub(crate) fn note(name: &str, what: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { state: State::Note, remedy: remedy.into(), ..Finding::fine(name, what) }
    }

    pub(crate) fn wrong(name: &str, what: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { state: State::Wrong, remedy: remedy.into(), ..Finding::fine(name, what) }
    }
}

#[cfg(test)]
mod tests;
