//! `release`: the images of a version with their bills of materials, the chart, and checksums of it all in one folder; with
//! `--push` in a registry too, and with `--sign` signed there.
//!
//! What is signed is a digest, never a tag: tags move. Logging in is left to the tools, which know how. Without `--push`
//! nothing leaves the machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::image;
use crate::bill;
use crate::cli::ReleaseArgs;
use crate::image::{PackedImage, hex_digest};
use crate::lab::Lab;
use crate::problem;
use crate::registry;
use crate::workspace::set_by_cargo;

/// How this project's archives, bills and chart are listed for `sha256sum -c`.
const SUMS: &str = "SHA256SUMS";

/// An image, or the chart, that is part of a release.
struct Part {
    /// Without registry and version.
    name: String,
    file: PathBuf,
    /// None for the chart, which brings nothing along.
    image: Option<(PackedImage, PathBuf)>,
}

pub(crate) fn run(lab: &Lab<'_>, args: &ReleaseArgs) -> Result<u8> {
    let version = version(&args.version)?;
    let directory = args.output.clone().unwrap_or_else(|| lab.workspace.target_dir().join("releases").join(version));
    std::fs::create_dir_all(&directory).with_context(|| problem::unwritable(&directory))?;
    let mut parts = images(lab, args, version, &directory)?;
    parts.push(chart(lab, version, &directory)?);
    let step = lab.terminal.step("checksums");
    sum(&parts, &directory)?;
    step.done(&directory.join(SUMS).display().to_string());
    for part in &parts {
        let Some(registry) = &args.push else { continue };
        let pushed = publish(lab, part, registry.trim_end_matches('/'), version)?;
        lab.terminal.line(&pushed);
        if args.sign {
            let step = lab.terminal.step("sign");
            for command in signing(&pushed, part.image.as_ref().map(|(_, bill)| bill.as_path())) {
                told(&command)?;
            }
            step.done(&pushed);
        }
    }
    Ok(0)
}

/// As Helm demands of a chart: three numbers, and perhaps something behind a hyphen.
fn version(text: &str) -> Result<&str> {
    let version = text.strip_prefix('v').unwrap_or(text);
    let numbers: Vec<&str> = version.split('-').next().unwrap_or_default().split('.').collect();
    let is_legal = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
    let is_number = |number: &&str| !number.is_empty() && number.chars().all(|c| c.is_ascii_digit());
    if numbers.len() == 3 && numbers.iter().all(is_number) && version.chars().all(is_legal) {
        Ok(version)
    } else {
        Err(problem::bad_version(text).into())
    }
}

fn images(lab: &Lab<'_>, args: &ReleaseArgs, version: &str, directory: &Path) -> Result<Vec<Part>> {
    let packed = image::pack(lab, args.dynamic, directory)?;
    let step = lab.terminal.step("bills");
    let metadata = metadata(lab)?;
    let lock = lab.workspace.root.join("Cargo.lock");
    let lock = std::fs::read_to_string(&lock).with_context(|| problem::unreadable(&lock))?;
    let mut parts = Vec::new();
    for (package, packed) in packed {
        let name = packed.reference.rsplit('/').next().and_then(|name| name.split(':').next()).unwrap_or(package);
        let bill =
            bill::of(&metadata, &lock, package, &bill::Subject { name, version, digest: &packed.config_digest })?;
        let file = directory.join(format!("{name}.cdx.json"));
        let text = serde_json::to_string_pretty(&bill)?;
        std::fs::write(&file, text + "\n").with_context(|| problem::unwritable(&file))?;
        parts.push(Part { name: name.to_owned(), file: packed.archive.clone(), image: Some((packed, file)) });
    }
    step.done("CycloneDX, of the crates that are linked in");
    Ok(parts)
}

/// What Cargo resolves for the platform that is built for.
fn metadata(lab: &Lab<'_>) -> Result<Value> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut command = Command::new(cargo);
    for name in set_by_cargo() {
        command.env_remove(name);
    }
    command.args(["metadata", "--format-version", "1", "--locked", "--filter-platform", &platform]);
    let output = command.current_dir(&lab.workspace.root).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(problem::child_failed("cargo metadata", &said, "cargo fetch --locked").into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn chart(lab: &Lab<'_>, version: &str, directory: &Path) -> Result<Part> {
    let step = lab.terminal.step("chart");
    let chart = lab.workspace.root.join("k8s/chart");
    let words = ["helm", "package", "--version", version, "--app-version", version, "--destination"];
    let mut command: Vec<String> = words.map(str::to_owned).into();
    command.extend([directory.display().to_string(), chart.display().to_string()]);
    told(&command)?;
    let file = directory.join(format!("swell-{version}.tgz"));
    step.done(&file.display().to_string());
    Ok(Part { name: "swell".to_owned(), file, image: None })
}

fn sum(parts: &[Part], directory: &Path) -> Result<()> {
    let mut sums = String::new();
    let files = parts.iter().flat_map(|part| [Some(&part.file), part.image.as_ref().map(|(_, bill)| bill)]);
    for file in files.flatten() {
        let bytes = std::fs::read(file).with_context(|| problem::unreadable(file))?;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        sums.push_str(&format!("{}  {name}\n", hex_digest(&bytes)));
    }
    let file = directory.join(SUMS);
    std::fs::write(&file, sums).with_context(|| problem::unwritable(&file))
}

/// `REGISTRY/NAME@sha256:…`: what was pushed, under the name that cannot come to mean something else.
fn publish(lab: &Lab<'_>, part: &Part, registry: &str, version: &str) -> Result<String> {
    let name = format!("{registry}/{}", part.name);
    let said = match &part.image {
        Some((packed, _)) => {
            let reference = format!("{name}:{version}");
            let tool = image::push(lab, packed, &reference)?;
            told(&registry::asking_for_digest(tool, &reference))?
        }
        None => {
            let mut command = ["helm", "push"].map(str::to_owned).to_vec();
            command.push(part.file.display().to_string());
            command.push(format!("oci://{registry}"));
            command.extend(registry::is_on_this_machine(registry).then(|| "--plain-http".to_owned()));
            told(&command)?
        }
    };
    let digest = digest_in(&said).with_context(|| problem::no_digest(&name, &said))?;
    Ok(format!("{name}@{digest}"))
}

/// `sha256:` and 64 digits, wherever they stand.
fn digest_in(said: &str) -> Option<&str> {
    said.match_indices("sha256:").find_map(|(at, start)| {
        let digest = said.get(at..at + start.len() + 64)?;
        digest[start.len()..].chars().all(|c| c.is_ascii_hexdigit()).then_some(digest)
    })
}

/// The commands that sign what was pushed, and attest its bill of materials.
fn signing(pushed: &str, bill: Option<&Path>) -> Vec<Vec<String>> {
    let insecure: &[&str] = if registry::is_on_this_machine(pushed) {
        &["--allow-http-registry", "--allow-insecure-registry"]
    } else {
        &[]
    };
    let command = |verb: &str, more: &[&str]| {
        let words = [&["cosign", verb, "--yes"], more, insecure, &[pushed]].concat();
        words.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let mut commands = vec![command("sign", &[])];
    if let Some(bill) = bill {
        let bill = bill.display().to_string();
        commands.push(command("attest", &["--type", "cyclonedx", "--predicate", &bill]));
    }
    commands
}

/// What a tool says on both its streams, if it succeeds.
fn told(command: &[String]) -> Result<String> {
    let shown = command.join(" ");
    let install = match command[0].as_str() {
        "helm" => "see https://helm.sh/docs/intro/install/",
        "cosign" => "see https://docs.sigstore.dev/cosign/system_config/installation/",
        _ => "cargo xtask release --help",
    };
    let output = Command::new(&command[0]).args(&command[1..]).output();
    let output = output.with_context(|| problem::tool_missing(&command[0], install))?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    if output.status.success() { Ok(said) } else { Err(problem::child_failed(&command[0], &said, &shown).into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_three_numbers_with_or_without_a_v() {
        for (text, expected) in [("1.2.3", "1.2.3"), ("v0.1.0", "0.1.0"), ("v1.0.0-rc.1", "1.0.0-rc.1")] {
            assert_eq!(version(text).unwrap(), expected);
        }
        for text in ["", "v", "1.2", "1.2.x", "latest", "1.2.3/4", "1.2.3 ", "1..3"] {
            assert!(version(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_digest_is_signed_and_only_an_image_has_a_bill_to_attest() {
        let pushed = "r.example.com/lab/swell-service@sha256:12";
        let said = |bill| signing(pushed, bill).iter().map(|it| it.join(" ")).collect::<Vec<_>>();
        assert_eq!(said(None), [format!("cosign sign --yes {pushed}")]);
        let attest = format!("cosign attest --yes --type cyclonedx --predicate a.cdx.json {pushed}");
        assert_eq!(said(Some(Path::new("a.cdx.json"))), [format!("cosign sign --yes {pushed}"), attest]);
        let local = &signing("127.0.0.1:5000/swell@sha256:12", None)[0];
        assert!(local.contains(&"--allow-http-registry".to_owned()), "{local:?}");
    }

    #[test]
    fn a_digest_is_found_in_what_each_tool_says() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        for said in [
            format!("{digest}\n"),
            format!("[r.example.com/lab/a@{digest}]\n"),
            format!("Pushed: r.example.com/lab/swell:1.2.3\nDigest: {digest}\n"),
        ] {
            assert_eq!(digest_in(&said), Some(digest.as_str()), "{said}");
        }
        assert_eq!(digest_in("sha256:12 and é"), None);
    }
}
