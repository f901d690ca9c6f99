//! Pushing an image archive to a registry, with whatever is installed: skopeo, crane, docker.
//!
//! They know how to log in; this project does not speak the protocol. Where none is there, the exact command is said.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::problem;

/// The tools in the order of preference. The first two need no daemon.
const TOOLS: [&str; 3] = ["skopeo", "crane", "docker"];

/// Pushes `archive`, which carries the tag `local`, as `reference`; the tool that did it.
pub(crate) fn push(archive: &Path, local: &str, reference: &str) -> Result<&'static str> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = |tool: &&str| std::env::split_paths(&path).any(|dir| dir.join(tool).is_file());
    let Some(tool) = TOOLS.into_iter().find(there) else {
        let command = commands("skopeo", archive, local, reference).remove(0).join(" ");
        return Err(problem::no_push_tool(reference, &command).into());
    };
    for command in commands(tool, archive, local, reference) {
        let shown = command.join(" ");
        let output = Command::new(&command[0]).args(&command[1..]).output();
        let output = output.with_context(|| problem::child_failed(&shown, "", &shown))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(problem::push_failed(reference, &said, &shown).into());
        }
    }
    Ok(tool)
}

/// `registry.example.com/lab` and `localhost/swell-service:1a2b` make `registry.example.com/lab/swell-service:1a2b`.
pub(crate) fn reference_in(registry: &str, local: &str) -> String {
    let name = local.rsplit('/').next().unwrap_or(local);
    format!("{}/{name}", registry.trim_end_matches('/'))
}

fn commands(tool: &str, archive: &Path, local: &str, reference: &str) -> Vec<Vec<String>> {
    let archive = archive.display().to_string();
    let plain = is_on_this_machine(reference);
    let words = |words: &[&str]| words.iter().filter(|word| !word.is_empty()).map(|word| (*word).to_owned()).collect();
    match tool {
        "skopeo" => {
            let insecure = if plain { "--dest-tls-verify=false" } else { "" };
            let (from, to) = (format!("docker-archive:{archive}"), format!("docker://{reference}"));
            vec![words(&["skopeo", "copy", "--insecure-policy", insecure, &from, &to])]
        }
        "crane" => vec![words(&["crane", "push", if plain { "--insecure" } else { "" }, &archive, reference])],
        _ => vec![
            words(&["docker", "load", "--input", &archive]),
            words(&["docker", "tag", local, reference]),
            words(&["docker", "push", reference]),
        ],
    }
}

/// The command by which the tool that pushed says the digest of what it pushed.
pub(crate) fn asking_for_digest(tool: &str, reference: &str) -> Vec<String> {
    let plain = is_on_this_machine(reference);
    let docker = format!("docker://{reference}");
    let words: Vec<&str> = match tool {
        "skopeo" if plain => vec!["skopeo", "inspect", "--format", "{{.Digest}}", "--tls-verify=false", &docker],
        "skopeo" => vec!["skopeo", "inspect", "--format", "{{.Digest}}", &docker],
        "crane" if plain => vec!["crane", "digest", "--insecure", reference],
        "crane" => vec!["crane", "digest", reference],
        _ => vec!["docker", "inspect", "--format", "{{.RepoDigests}}", reference],
    };
    words.into_iter().map(str::to_owned).collect()
}

/// Registries on loopback speak plain HTTP, as Docker assumes too.
pub(crate) fn is_on_this_machine(reference: &str) -> bool {
    let host = reference.split('/').next().unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name == "localhost" || name.starts_with("127.") || name == "[::1]"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tool_gets_its_own_words_and_only_loopback_goes_unencrypted() {
        let said = |tool: &str, reference: &str| {
            let commands = commands(tool, Path::new("a.tar"), "localhost/web:1", reference);
            commands.iter().map(|command| command.join(" ")).collect::<Vec<_>>().join(" && ")
        };
        assert_eq!(
            said("skopeo", "r.example.com/lab/web:1"),
            "skopeo copy --insecure-policy docker-archive:a.tar docker://r.example.com/lab/web:1"
        );
        assert!(said("skopeo", "127.0.0.1:5000/web:1").contains("--dest-tls-verify=false"));
        assert_eq!(said("crane", "localhost:5000/web:1"), "crane push --insecure a.tar localhost:5000/web:1");
        assert_eq!(
            said("docker", "r.example.com/web:1"),
            "docker load --input a.tar && docker tag localhost/web:1 r.example.com/web:1 && docker push r.example.com/web:1"
        );
    }

    #[test]
    fn a_pushed_image_keeps_its_name_and_tag() {
        assert_eq!(
            reference_in("r.example.com/lab/", "localhost/swell-service:1a"),
            "r.example.com/lab/swell-service:1a"
        );
    }
}
