//! Recordings of a real API server, for tests that compare with them where they are there.
//!
//! They lie beside the project (`../shared/specs/kube-api-samples`) or where `SWELL_VECTORS` says; nothing needs them.

use std::path::PathBuf;

use serde_json::Value;

/// The folder with the recordings, or None (said on stderr, so that a run without them is no silent success).
pub(crate) fn folder() -> Option<PathBuf> {
    root().map(|root| root.join("specs/kube-api-samples"))
}

/// The folder of all recordings, of API servers and of clusters.
pub(crate) fn root() -> Option<PathBuf> {
    let root = std::env::var_os("SWELL_VECTORS")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    if !root.join("specs").is_dir() {
        eprintln!("no recordings at {}: not compared with a real API server", root.display());
        return None;
    }
    Some(root)
}

/// The recordings in a subfolder ("" for the top) whose names start with `prefix`, sorted, as (name, JSON).
pub(crate) fn all(subfolder: &str, prefix: &str) -> Vec<(String, Value)> {
    let Some(folder) = folder() else { return Vec::new() };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder.join(subfolder)).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().to_string();
        if name.starts_with(prefix) && path.extension().is_some_and(|extension| extension == "json") {
            found.push((name, serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap()));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}
