//! The session: what `setup` made, for the verbs that come after it. `.swell/<profile>/session.json`.
//!
//! Written before the first change is made and after each one, so that an interrupted `setup` leaves a record that
//! `teardown` can work from. Flags override it; without it a verb says that nothing is set up.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::problem;
use crate::workload::Workload;
use crate::workspace::{self, Workspace};

pub(crate) const DEFAULT_PROFILE: &str = "default";
const VERSION: u32 = 1;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Session {
    pub version: u32,
    pub profile: String,
    pub provider: ProviderKind,
    pub context: String,
    pub kubeconfig: PathBuf,
    pub environment: String,
    pub pace: Pace,
    pub namespace: String,
    /// Image name in the manifests -> the reference that runs.
    #[serde(default)]
    pub images: BTreeMap<String, String>,
    /// A directory of the user's own manifests, instead of `k8s/overlays/<environment>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifests: Option<PathBuf>,
    /// The image that `--image` named: an archive's absolute path, or a reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The registry that `--push` named, with its path: the generator's image goes there too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<String>,
    /// Kinds that were applied, as `apps/v1 Deployment`: where teardown looks for what carries the lab's label.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub kinds: BTreeSet<String>,
    /// Names of what is scaled, as the manifests have them; none before anything was rendered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<Workload>,
    /// Whether setup came to its end.
    #[serde(default)]
    pub complete: bool,
    pub created: Created,
}

/// What is ours to remove.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Created {
    pub cluster: bool,
    pub namespace: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ProviderKind {
    Embedded,
    Minikube,
    Context,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Pace {
    /// The constants that real clusters have: minutes.
    #[default]
    Real,
    /// The same algorithm with short windows: seconds.
    Fast,
}

impl Pace {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Pace::Real => "real",
            Pace::Fast => "fast",
        }
    }
}

impl ProviderKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            ProviderKind::Embedded => "embedded",
            ProviderKind::Minikube => "minikube",
            ProviderKind::Context => "context",
        }
    }
}

impl Session {
    pub(crate) fn new(profile: &str, provider: ProviderKind, environment: &str, pace: Pace) -> Session {
        Session {
            version: VERSION,
            profile: profile.to_owned(),
            provider,
            context: String::new(),
            kubeconfig: PathBuf::new(),
            environment: environment.to_owned(),
            pace,
            namespace: String::new(),
            images: BTreeMap::new(),
            manifests: None,
            image: None,
            registry: None,
            kinds: BTreeSet::new(),
            workload: None,
            complete: false,
            created: Created::default(),
        }
    }

    /// The session of a profile, or `None` where nothing is set up.
    pub(crate) fn load(workspace: &Workspace, profile: &str) -> Result<Option<Session>> {
        let path = path(workspace, profile);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).context(problem::unreadable(&path)),
        };
        let session: Session = serde_json::from_str(&text).with_context(|| problem::session_unreadable(&path))?;
        if session.version != VERSION {
            return Err(problem::session_unreadable(&path).into());
        }
        Ok(Some(session))
    }

    pub(crate) fn require(workspace: &Workspace, profile: &str) -> Result<Session> {
        Session::load(workspace, profile)?.ok_or_else(|| problem::no_session(profile).into())
    }

    pub(crate) fn workload(&self) -> Result<&Workload> {
        self.workload.as_ref().ok_or_else(|| problem::setup_unfinished(&self.profile).into())
    }

    pub(crate) fn save(&self, workspace: &Workspace) -> Result<()> {
        let path = path(workspace, &self.profile);
        let dir = path.parent().expect("a session path has a directory");
        let write = || -> std::io::Result<()> {
            std::fs::create_dir_all(dir)?;
            workspace::replace(&path, &serde_json::to_vec_pretty(self)?)
        };
        write().with_context(|| problem::unwritable(&path))
    }

    pub(crate) fn remove(workspace: &Workspace, profile: &str) -> Result<()> {
        let dir = workspace.state_dir().join(profile);
        match std::fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| problem::unwritable(&dir))
            }
            _ => Ok(()),
        }
    }
}

/// Names that are safe as a directory, as part of a Minikube profile and of a context.
pub(crate) fn check_profile_name(name: &str) -> Result<()> {
    let legal = (1..=40).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && name != "runs"
        && name != "clusters";
    if legal { Ok(()) } else { Err(problem::bad_profile_name(name).into()) }
}

fn path(workspace: &Workspace, profile: &str) -> PathBuf {
    workspace.state_dir().join(profile).join("session.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(dir: &std::path::Path) -> Workspace {
        Workspace::at(dir)
    }

    #[test]
    fn a_session_comes_back_as_it_was_saved() {
        let dir = tempfile::tempdir().unwrap();
        let workspace = scratch(dir.path());
        let mut session = Session::new("lab", ProviderKind::Embedded, "dev", Pace::Fast);
        session.images.insert("localhost/a:dev".into(), "localhost/a:1234".into());
        session.save(&workspace).unwrap();
        assert_eq!(Session::load(&workspace, "lab").unwrap(), Some(session));
        Session::remove(&workspace, "lab").unwrap();
        assert_eq!(Session::load(&workspace, "lab").unwrap(), None);
        Session::remove(&workspace, "lab").unwrap();
    }

    #[test]
    fn a_session_of_another_version_is_refused_with_the_command_that_mends_it() {
        let dir = tempfile::tempdir().unwrap();
        let workspace = scratch(dir.path());
        let mut session = Session::new("lab", ProviderKind::Embedded, "dev", Pace::Fast);
        session.version = 99;
        session.save(&workspace).unwrap();
        let error = Session::load(&workspace, "lab").unwrap_err();
        assert!(problem::render(&error, "lab").contains("cargo xtask teardown --profile lab"), "{error:#}");
    }

    #[test]
    fn profile_names_cannot_leave_their_directory() {
        for bad in ["", "../x", "a/b", "A", "runs", "clusters", "1a", "a b", &"x".repeat(41)] {
            assert!(check_profile_name(bad).is_err(), "{bad:?} was accepted");
        }
        for good in ["default", "demo", "e2e-17"] {
            assert!(check_profile_name(good).is_ok(), "{good:?} was refused");
        }
    }
}
