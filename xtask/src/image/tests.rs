//! Archives against their rules: the same bytes each time, digests that are true, entries that every engine takes.
//!
//! `engines.rs` gives them to real engines.

use std::collections::BTreeMap;
use std::io::Read;

use super::*;

/// A binary that is there wherever these tests run, and dynamic on every common Linux.
fn own_binary() -> PathBuf {
    std::env::current_exe().expect("this test's binary")
}

/// A static binary in the smallest sense: headers of amd64 without a loader.
fn static_binary(directory: &Path) -> PathBuf {
    let mut bytes = vec![0_u8; 64];
    bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
    bytes[18] = 0x3e;
    let path = directory.join("tiny");
    std::fs::write(&path, bytes).expect("written");
    path
}

fn entries(archive: &[u8]) -> Vec<(String, tar::Header, Vec<u8>)> {
    let mut tar = tar::Archive::new(archive);
    let mut found = Vec::new();
    for entry in tar.entries().expect("a tar") {
        let mut entry = entry.expect("an entry");
        let path = entry.path().expect("a path").display().to_string();
        let header = entry.header().clone();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("its bytes");
        found.push((path, header, bytes));
    }
    found
}

#[test]
fn the_same_binary_is_the_same_archive_to_the_byte() {
    let (first, second) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let one = pack("swell-service", &static_binary(first.path()), first.path()).expect("packed");
    let two = pack("swell-service", &static_binary(second.path()), &second.path().join("images")).expect("packed");
    assert_eq!(one.reference, two.reference);
    assert_eq!(std::fs::read(&one.archive).expect("bytes"), std::fs::read(&two.archive).expect("bytes"));
    let other = pack("swell-loadgen", &static_binary(first.path()), first.path()).expect("packed");
    assert_ne!(one.config_digest, other.config_digest, "the entry point is part of the image");
}

#[test]
fn digests_and_counts_are_true() {
    let directory = tempfile::tempdir().expect("a folder");
    let image = pack("swell-service", &static_binary(directory.path()), directory.path()).expect("packed");
    let outer = entries(&std::fs::read(&image.archive).expect("bytes"));
    let names: Vec<&str> = outer.iter().map(|(name, ..)| name.as_str()).collect();
    let layer_digest = hex_digest(&outer[1].2);
    let (config_path, layer_path) = (format!("{}.json", image.config_digest), format!("{layer_digest}/layer.tar"));
    assert_eq!(names, [config_path.as_str(), &layer_path, "manifest.json"]);
    assert_eq!(hex_digest(&outer[0].2), image.config_digest);
    assert_eq!(image.reference, format!("localhost/swell-service:{}", &image.config_digest[..12]));
    assert_eq!((image.architecture, image.is_static), ("amd64", true));

    let config: Value = serde_json::from_slice(&outer[0].2).expect("JSON");
    assert_eq!(config["rootfs"]["diff_ids"], json!([format!("sha256:{layer_digest}")]));
    assert_eq!(config["history"].as_array().map(Vec::len), Some(1));
    assert_eq!(config["config"]["User"], "65532:65532");
    assert_eq!(config["config"]["Entrypoint"], json!(["/swell-service"]));
    let manifest: Value = serde_json::from_slice(&outer[2].2).expect("JSON");
    assert_eq!(manifest, json!([{ "Config": config_path, "RepoTags": [image.reference], "Layers": [layer_path] }]));
}

#[test]
fn directories_come_before_their_files_and_nothing_tells_who_packed_it() {
    let directory = tempfile::tempdir().expect("a folder");
    let image = pack("swell-service", &own_binary(), directory.path()).expect("packed");
    let layer = &entries(&std::fs::read(&image.archive).expect("bytes"))[1].2;
    let mut seen = BTreeMap::new();
    for (path, header, _) in entries(layer) {
        assert!(!path.starts_with(['/', '.']), "{path}");
        assert_eq!((header.uid().ok(), header.gid().ok(), header.mtime().ok()), (Some(0), Some(0), Some(0)), "{path}");
        if let Some((parent, _)) = path.trim_end_matches('/').rsplit_once('/') {
            assert!(seen.contains_key(&format!("{parent}/")), "{path} comes before {parent}/");
        }
        assert!(seen.insert(path.clone(), header.mode().expect("a mode")).is_none(), "{path} is there twice");
    }
    assert_eq!(seen.get("swell-service"), Some(&0o755));
    assert_eq!(seen.get("tmp/"), Some(&0o1777));
    assert_eq!(seen.get("etc/passwd"), Some(&0o644));
    if !image.is_static {
        assert!(
            seen.keys().any(|path| path.contains("libc.so")),
            "a dynamic binary takes its libraries along: {seen:?}"
        );
    }
}

#[test]
fn packing_again_writes_nothing_and_a_new_binary_replaces_the_old_archive() {
    let directory = tempfile::tempdir().expect("a folder");
    let binary = static_binary(directory.path());
    let first = pack("swell-service", &binary, directory.path()).expect("packed");
    let written = std::fs::metadata(&first.archive).expect("there").modified().expect("a time");
    assert_eq!(pack("swell-service", &binary, directory.path()).expect("packed"), first);
    assert_eq!(std::fs::metadata(&first.archive).expect("there").modified().expect("a time"), written);

    let mut changed = std::fs::read(&binary).expect("bytes");
    changed.push(0);
    std::fs::write(&binary, changed).expect("written");
    let neighbour = pack("swell-loadgen", &binary, directory.path()).expect("packed");
    let second = pack("swell-service", &binary, directory.path()).expect("packed");
    assert_ne!(first.reference, second.reference);
    assert!(!first.archive.exists() && second.archive.exists() && neighbour.archive.exists());
}

#[test]
fn a_file_that_is_no_binary_is_named() {
    let directory = tempfile::tempdir().expect("a folder");
    let script = directory.path().join("script");
    std::fs::write(&script, "#!/bin/sh\n").expect("written");
    let error = pack("swell-service", &script, directory.path()).expect_err("no binary");
    let reason = "it is no 64-bit little-endian ELF binary: an image for Linux nodes is built on Linux";
    assert_eq!(format!("{error:#}"), format!("{} cannot go into an image: {reason}", script.display()));
}

#[test]
fn the_dockerfile_gives_the_same_entry_points_and_user() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Dockerfile");
    let text = std::fs::read_to_string(path).expect("the Dockerfile");
    let stages: Vec<&str> = text.split("\nFROM ").collect();
    for (_, name) in PACKAGES {
        let stage = stages.iter().find(|stage| stage.lines().next() == Some(&format!("scratch AS {name}")));
        let stage = stage.unwrap_or_else(|| panic!("no stage {name}"));
        let ours = &config(name, "amd64", b"")["config"];
        assert!(stage.contains(&format!("ENTRYPOINT {}\n", ours["Entrypoint"])), "{stage}");
        assert!(stage.contains(&format!("USER {}\n", ours["User"].as_str().expect("text"))), "{stage}");
        assert_eq!(stage.contains("EXPOSE 8080"), ours["ExposedPorts"].get(SERVICE_PORT).is_some(), "{stage}");
    }
}
