//! What the stand-in remembers: profiles and their images, in one JSON file below `MINIKUBE_HOME`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::speech::Fatal;

pub(crate) struct Home {
    directory: PathBuf,
    profiles: BTreeMap<String, Profile>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Profile {
    pub(crate) driver: String,
    pub(crate) runtime: String,
    pub(crate) kubernetes_version: String,
    pub(crate) cpus: String,
    pub(crate) memory_mib: u64,
    pub(crate) nodes: u64,
    pub(crate) addons: Vec<String>,
    /// `component.key=value`, as they were given.
    pub(crate) extra_config: Vec<String>,
    pub(crate) is_running: bool,
    #[serde(default)]
    pub(crate) is_paused: bool,
    pub(crate) images: Vec<Image>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Image {
    /// 64 hex digits.
    pub(crate) id: String,
    pub(crate) tags: Vec<String>,
    pub(crate) size_bytes: u64,
}

impl Home {
    pub(crate) fn open() -> Result<Home> {
        let base = std::env::var_os("MINIKUBE_HOME").or_else(|| std::env::var_os("HOME")).map(PathBuf::from);
        let base = base.context("neither MINIKUBE_HOME nor HOME is set")?;
        let directory = if base.ends_with(".minikube") { base } else { base.join(".minikube") };
        let profiles = match std::fs::read_to_string(directory.join("stand-in.json")) {
            Ok(text) => serde_json::from_str(&text).context("the stand-in's state is broken")?,
            Err(_) => BTreeMap::new(),
        };
        Ok(Home { directory, profiles })
    }

    fn save(&self) -> Result<()> {
        std::fs::create_dir_all(&self.directory)?;
        Ok(std::fs::write(self.directory.join("stand-in.json"), serde_json::to_string_pretty(&self.profiles)?)?)
    }

    pub(crate) fn profiles(&self) -> &BTreeMap<String, Profile> {
        &self.profiles
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Profile> {
        self.profiles.get(name)
    }

    /// For commands that end with 85 when there is no such profile.
    pub(crate) fn require(&self, name: &str) -> Result<&Profile> {
        let message = format!("Profile {name:?} not found. Run \"minikube profile list\" to view all profiles.");
        let advice = format!("To start a cluster, run: \"minikube start -p {name}\"");
        self.find(name).ok_or_else(|| Fatal::new(85, "GUEST_NOT_FOUND", message, advice).into())
    }

    /// As `require`, and the host must run: else 83.
    pub(crate) fn require_running(&self, name: &str) -> Result<&Profile> {
        let profile = self.require(name)?;
        if profile.is_running {
            return Ok(profile);
        }
        let message = format!("The control-plane node {name} host is not running: state=Stopped");
        let advice = format!("To start a cluster, run: \"minikube start -p {name}\"");
        Err(Fatal::new(83, "GUEST_NOT_RUNNING", message, advice).into())
    }

    pub(crate) fn put(&mut self, name: &str, profile: Profile) -> Result<()> {
        self.profiles.insert(name.to_owned(), profile);
        self.save()
    }

    pub(crate) fn remove(&mut self, name: &str) -> Result<()> {
        self.profiles.remove(name);
        self.save()
    }

    /// The directory of the nanokube behind a profile.
    pub(crate) fn cluster_directory(&self, name: &str) -> PathBuf {
        self.directory.join("machines").join(name)
    }
}
