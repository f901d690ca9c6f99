//! What a node's container runtime checks of a docker-archive before it takes it.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::home::Image;

/// The images of the archive, or why the runtime refuses it.
pub(crate) fn read(path: &Path, runtime: &str) -> Result<Vec<Image>> {
    let bytes = std::fs::read(path).with_context(|| format!("open {}", path.display()))?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        bail!("{runtime}: archive/tar: invalid tar header");
    }
    let size_bytes = bytes.len() as u64;
    let files = entries(&bytes)?;
    let find = |name: &str| files.get(name).with_context(|| format!("{name}: no such file in the archive"));
    let manifest: Value = serde_json::from_slice(find("manifest.json")?).context("manifest.json")?;
    let items = manifest.as_array().context("manifest.json is no list")?;
    items.iter().map(|item| image(item, &find, size_bytes)).collect()
}

fn entries(bytes: &[u8]) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(bytes).entries()? {
        let mut entry = entry?;
        let name = entry.path()?.display().to_string();
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        files.insert(name, content);
    }
    Ok(files)
}

fn image<'a>(item: &Value, find: &impl Fn(&str) -> Result<&'a Vec<u8>>, size_bytes: u64) -> Result<Image> {
    let config_bytes = find(item["Config"].as_str().context("no Config")?)?;
    let config: Value = serde_json::from_slice(config_bytes).context("Config")?;
    let layers = item["Layers"].as_array().context("no Layers")?;
    let diff_ids = config["rootfs"]["diff_ids"].as_array().context("no rootfs.diff_ids")?;
    if layers.len() != diff_ids.len() {
        bail!("invalid manifest, layers length mismatch: expected {}, got {}", diff_ids.len(), layers.len());
    }
    for (layer, diff_id) in layers.iter().zip(diff_ids) {
        let digest = format!("sha256:{}", hex(find(layer.as_str().context("a layer is no path")?)?));
        if *diff_id != digest {
            bail!("invalid diffID for layer: expected {diff_id}, got {digest:?}");
        }
    }
    let node = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    if config["architecture"] != node {
        bail!("the image is for {}, the node is {node}", config["architecture"]);
    }
    let tags = item["RepoTags"].as_array().into_iter().flatten().filter_map(Value::as_str);
    Ok(Image { id: hex(config_bytes), tags: tags.map(normalized).collect(), size_bytes })
}

/// `x:tag` is `docker.io/library/x:tag`; a first part with a dot, a colon or the name `localhost` is a registry.
pub(crate) fn normalized(tag: &str) -> String {
    match tag.split_once('/') {
        None => format!("docker.io/library/{tag}"),
        Some((host, _)) if host == "localhost" || host.contains(['.', ':']) => tag.to_owned(),
        Some(_) => format!("docker.io/{tag}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
