//! Images in Minikube's nodes. `image load` exits 0 whatever happened, and `image ls` merges the nodes, so what was loaded is
//! looked for in the list and, where there are several nodes, on each of them.

use std::path::Path;

use anyhow::Result;
use serde_json::Value;
use xshell::Shell;

use super::state::disk_remedy;
use super::{Minikube, PROGRAM};
use crate::problem;

impl Minikube {
    pub(in crate::cluster) fn has_image(&self, tag: &str) -> Result<bool> {
        let listed = self.read(&["image", "ls", "--format", "json"])?;
        Ok(lists_image(&listed, tag) && self.node_without(tag)?.is_none())
    }

    /// A content-derived file name, since Minikube does not copy a file again that has the same name, size and mtime.
    pub(in crate::cluster) fn load_image(&self, archive: &Path, tag: &str) -> Result<()> {
        let archive = archive.to_string_lossy();
        for _ in 0..2 {
            self.read(&["image", "load", &archive])?;
            if self.has_image(tag)? {
                return Ok(());
            }
        }
        let shell = Shell::new()?;
        let verbose = self.command(&shell).args(["image", "load", &archive, "--alsologtostderr"]);
        let output = verbose.ignore_status().output()?;
        if self.has_image(tag)? {
            return Ok(());
        }
        if let Some(trouble) = self.trouble() {
            return Err(trouble.into());
        }
        if let Some(node) = self.node_without(tag)?
            && lists_image(&self.read(&["image", "ls", "--format", "json"])?, tag)
        {
            return Err(problem::image_not_on_node(tag, &node, &archive, &self.profile).into());
        }
        let detail = load_failure(&String::from_utf8_lossy(&output.stderr));
        let remedy = if detail.contains("no space left") {
            disk_remedy(&self.profile)
        } else {
            format!("minikube image load {archive} -p {} --alsologtostderr", self.profile)
        };
        Err(problem::image_not_loaded(tag, PROGRAM, &detail, &remedy).into())
    }

    /// The first of several nodes that says that it lacks the image. One that says nothing is not held against the image.
    fn node_without(&self, tag: &str) -> Result<Option<String>> {
        let shell = Shell::new()?;
        let status = self.command(&shell).args(["status", "-o", "json"]).ignore_status().read()?;
        let nodes = workers(&status);
        for node in nodes {
            let asked = self.command(&shell).args(["ssh", "-n", &node, "--", "sudo", "crictl", "images", "-o", "json"]);
            let output = asked.ignore_status().output()?;
            let listed: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            if listed["images"].is_array() && !lists_image(&listed["images"].to_string(), tag) {
                return Ok(Some(node));
            }
        }
        Ok(None)
    }
}

/// The nodes beside the first, as `status` names them.
fn workers(status: &str) -> Vec<String> {
    let told: Value = serde_json::from_str(status.trim()).unwrap_or_default();
    let nodes = told.as_array().into_iter().flatten().skip(1);
    nodes.filter_map(|node| node["Name"].as_str().map(str::to_owned)).collect()
}

fn lists_image(listed: &str, tag: &str) -> bool {
    let listed: Value = serde_json::from_str(listed).unwrap_or_default();
    let tags = listed.as_array().into_iter().flatten().filter_map(|image| image["repoTags"].as_array()).flatten();
    tags.into_iter().any(|listed| listed.as_str() == Some(tag))
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
    fn image_listings_are_matched_by_tag_not_by_substring() {
        let listed = r#"[{"id":"ab","repoTags":["localhost/swell-service:3f2a9c1b7e44"],"size":"5"}]"#;
        assert!(lists_image(listed, "localhost/swell-service:3f2a9c1b7e44"));
        assert!(!lists_image(listed, "localhost/swell-service:3f2a"));
        assert!(!lists_image("[]", "localhost/swell-service:3f2a9c1b7e44"));
    }

    #[test]
    fn only_a_profile_of_several_nodes_has_others_to_ask() {
        assert_eq!(workers(r#"{"Name":"p","Host":"Running"}"#), [""; 0]);
        assert_eq!(workers(r#"[{"Name":"p"},{"Name":"p-m02"},{"Name":"p-m03"}]"#), ["p-m02", "p-m03"]);
        assert_eq!(workers("null"), [""; 0]);
    }
}
