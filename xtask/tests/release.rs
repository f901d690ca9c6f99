//! A release with stand-ins for the tools that reach a registry: what they are told, in which order, and what lies in
//! the folder at the end.

// Helpers outside of `#[test]` functions fail a test by panicking too.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use sha2::{Digest, Sha256};

const DIGEST: &str = "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// A tool that writes down what it was told, and does the one thing that is looked at afterwards.
fn stand_in(folder: &Path, name: &str, more: &str) {
    let path = folder.join(name);
    let log = folder.join("told");
    std::fs::write(&path, format!("#!/bin/sh\necho \"{name} $*\" >> {}\n{more}\n", log.display())).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_release_is_packed_billed_summed_pushed_and_signed_by_its_digest() {
    let folder = tempfile::tempdir().unwrap();
    let (tools, output) = (folder.path().join("tools"), folder.path().join("out"));
    std::fs::create_dir(&tools).unwrap();
    stand_in(&tools, "skopeo", &format!("[ \"$1\" = inspect ] && echo {DIGEST} || true"));
    stand_in(&tools, "cosign", "for it; do case $it in *.cdx.json) test -s \"$it\" || exit 1;; esac; done");
    let made = "[ \"$1\" = package ] && echo chart > \"$7/swell-1.2.3.tgz\"";
    stand_in(&tools, "helm", &format!("{made} || echo \"Digest: {DIGEST}\" >&2"));
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
    let released = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["release", "v1.2.3", "--dynamic", "--push", "r.example.com/lab/", "--sign", "--output"])
        .arg(&output)
        .env("PATH", path)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .unwrap();
    assert!(released.status.success(), "{}", String::from_utf8_lossy(&released.stderr));

    let told = std::fs::read_to_string(tools.join("told")).unwrap();
    let told: Vec<&str> = told.lines().collect();
    // The chart is packed; each image is copied, asked for its digest, signed and attested; the chart is pushed and signed.
    assert_eq!(told.len(), 1 + 3 * 4 + 2, "{told:#?}");
    let service = &told[1..5];
    assert!(service[0].ends_with("docker://r.example.com/lab/swell-service:1.2.3"), "{service:#?}");
    assert_eq!(service[2], format!("cosign sign --yes r.example.com/lab/swell-service@{DIGEST}"));
    assert!(service[3].starts_with("cosign attest --yes --type cyclonedx --predicate "), "{service:#?}");
    assert!(told[13].ends_with("swell-1.2.3.tgz oci://r.example.com/lab"), "{}", told[13]);
    assert_eq!(told[14], format!("cosign sign --yes r.example.com/lab/swell@{DIGEST}"));

    let bill: Value = serde_json::from_slice(&std::fs::read(output.join("swell-service.cdx.json")).unwrap()).unwrap();
    let components = bill["components"].as_array().unwrap();
    let has = |name: &str| components.iter().any(|it| it["name"] == name);
    assert!(has("service") && has("salvo") && has("tokio"), "{components:#?}");
    assert!(!has("serde_derive") && !has("kube"), "a macro, and what the service does not use");
    assert!(components.iter().all(|it| it["licenses"].is_array()), "{components:#?}");
    let sums = std::fs::read_to_string(output.join("SHA256SUMS")).unwrap();
    assert_eq!(sums.lines().count(), 3 * 2 + 1, "three images with their bills, and the chart: {sums}");
    for line in sums.lines() {
        let (sum, name) = line.split_once("  ").unwrap();
        let bytes = std::fs::read(output.join(name)).unwrap();
        let found: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, sum, "{name}");
    }
}
