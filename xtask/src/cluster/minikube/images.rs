//! Images in Minikube's nodes. `image load` exits 0 whatever happened, and `image ls` merges the nodes, so what was loaded is
//! looked for in the list and, where there are several nodes, on each of them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;
use xshell::Shell;

use super::super::texts;
use super::state::disk_remedy;
use super::{Minikube, PROGRAM, canonical};
use crate::archive::{Archived, Listed};
use crate::problem;

impl Minikube {
    pub(in crate::cluster) fn has_image(&self, image: &Archived) -> Result<bool> {
        Ok(self.listed(image)? == Listed::Yes && self.node_without(image)?.is_none())
    }

    pub(in crate::cluster) fn load_image(&self, image: &Archived) -> Result<()> {
        // Minikube copies no file again whose name, size and time it knows: the second time it gets another name.
        if self.takes(image, &image.file)? || self.takes(image, &Copied::of(image)?.0)? {
            return Ok(());
        }
        let shell = Shell::new()?;
        let archive = image.file.to_string_lossy();
        let verbose = self.command(&shell).args(["image", "load", &archive, "--alsologtostderr"]);
        let output = verbose.ignore_status().output()?;
        if self.has_image(image)? {
            return Ok(());
        }
        if let Some(trouble) = self.trouble() {
            return Err(trouble.into());
        }
        let tag = &image.reference;
        let runtime = self.look()?.map(|existing| existing.runtime).unwrap_or_default();
        match self.listed(image)? {
            // What Docker lists for an ID may be another digest.
            Listed::Another if runtime == "docker" => Ok(()),
            Listed::Another => Err(problem::image_is_old(tag, &archive, &self.profile).into()),
            Listed::Yes if let Some(node) = self.node_without(image)? => {
                Err(problem::image_not_on_node(tag, &node, &archive, &self.profile, import(&runtime)).into())
            }
            _ => {
                let detail = load_failure(&String::from_utf8_lossy(&output.stderr));
                let remedy = if detail.contains("no space left") {
                    disk_remedy(&self.profile)
                } else {
                    format!("minikube image load {archive} -p {} --alsologtostderr", self.profile)
                };
                Err(problem::image_not_loaded(tag, PROGRAM, &detail, &remedy).into())
            }
        }
    }

    fn takes(&self, image: &Archived, file: &Path) -> Result<bool> {
        self.read(&["image", "load", &file.to_string_lossy()])?;
        self.has_image(image)
    }

    fn listed(&self, image: &Archived) -> Result<Listed> {
        Ok(listed(&self.read(&["image", "ls", "--format", "json"])?, image))
    }

    /// The first of several nodes that says that it lacks the image. One that says nothing is not held against the image.
    fn node_without(&self, image: &Archived) -> Result<Option<String>> {
        let shell = Shell::new()?;
        let status = self.command(&shell).args(["status", "-o", "json"]).ignore_status().read()?;
        let nodes = workers(&status);
        for node in nodes {
            let asked = self.command(&shell).args(["ssh", "-n", &node, "--", "sudo", "crictl", "images", "-o", "json"]);
            let output = asked.ignore_status().output()?;
            let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            if told["images"].is_array() && listed(&told["images"].to_string(), image) == Listed::No {
                return Ok(Some(node));
            }
        }
        Ok(None)
    }
}

/// The archive under a name that only its content has, for as long as it is needed.
struct Copied(PathBuf);

impl Copied {
    fn of(image: &Archived) -> Result<Copied> {
        let path = std::env::temp_dir().join(format!("swell-{}-{}.tar", &image.id[..12], std::process::id()));
        std::fs::copy(&image.file, &path).with_context(|| problem::unwritable(&path))?;
        Ok(Copied(path))
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// How a node takes an archive by hand.
fn import(runtime: &str) -> &'static str {
    match canonical(runtime) {
        "docker" => "docker load -i",
        "cri-o" => "podman load -i",
        _ => "ctr -n=k8s.io images import",
    }
}

/// The nodes beside the first, as `status` names them.
fn workers(status: &str) -> Vec<String> {
    let told: Value = serde_json::from_str(status.trim()).unwrap_or_default();
    let nodes = told.as_array().into_iter().flatten().skip(1);
    nodes.filter_map(|node| node["Name"].as_str().map(str::to_owned)).collect()
}

fn listed(images: &str, image: &Archived) -> Listed {
    let images: Value = serde_json::from_str(images).unwrap_or_default();
    let entries = images.as_array().into_iter().flatten();
    image.among(entries.map(|entry| (entry["id"].as_str().unwrap_or_default(), texts(&entry["repoTags"]))))
}

/// The lines that hold the true reason: warnings of the image code and what the container runtime wrote.
fn load_failure(log: &str) -> String {
    let telling = |line: &&str| line.contains("cache_images.go") || line.contains("stderr:") || line.starts_with("! ");
    let reason = |line: &str| line.split_once("] ").map_or(line, |(_, reason)| reason).trim().to_owned();
    log.lines().filter(telling).take(3).map(reason).collect::<Vec<_>>().join(" / ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_profile_of_several_nodes_has_others_to_ask() {
        assert_eq!(workers(r#"{"Name":"p","Host":"Running"}"#), [""; 0]);
        assert_eq!(workers(r#"[{"Name":"p"},{"Name":"p-m02"},{"Name":"p-m03"}]"#), ["p-m02", "p-m03"]);
        assert_eq!(workers("null"), [""; 0]);
    }
}
