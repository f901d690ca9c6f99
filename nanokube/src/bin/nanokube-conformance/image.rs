//! The image that the recordings name, as an archive: a shell and a few programs of this machine, under two tags.
//!
//! Libraries are not packed: nanokube lends its pods those of the machine. On another cluster, load any image with a
//! shell under these names.

use std::path::Path;

use anyhow::Context;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub(crate) const TAG: &str = "localhost/bb:1";
const NEXT_TAG: &str = "localhost/bb:2";
const PROGRAMS: [&str; 6] = ["sh", "sleep", "cat", "date", "echo", "mkdir"];
const FOLDERS: [&str; 2] = ["/bin", "/usr/bin"];

/// Writes the archive.
pub(crate) fn write(target: &Path) -> anyhow::Result<()> {
    let mut layer = tar::Builder::new(Vec::new());
    for program in PROGRAMS {
        let found = FOLDERS.iter().map(|folder| Path::new(folder).join(program)).find(|path| path.exists());
        let found = found.with_context(|| format!("this machine has no {program}: install coreutils"))?;
        add(&mut layer, &format!("bin/{program}"), &std::fs::read(found)?)?;
    }
    let layer = layer.into_inner()?;
    let architecture = nanokube::image::host_architecture();
    let root = json!({ "type": "layers", "diff_ids": [format!("sha256:{}", digest(&layer))] });
    let settings = json!({ "Cmd": ["sleep", "10000"], "Env": ["PATH=/bin"] });
    let config = json!({ "architecture": architecture, "os": "linux", "config": settings, "rootfs": root });
    let config = serde_json::to_vec(&config)?;
    let (config_name, layer_name) = (format!("{}.json", digest(&config)), format!("{}/layer.tar", digest(&layer)));
    let manifest: Value = json!([{ "Config": config_name, "RepoTags": [TAG, NEXT_TAG], "Layers": [layer_name] }]);
    let mut archive = tar::Builder::new(Vec::new());
    add(&mut archive, &config_name, &config)?;
    add(&mut archive, &layer_name, &layer)?;
    add(&mut archive, "manifest.json", &serde_json::to_vec(&manifest)?)?;
    std::fs::write(target, archive.into_inner()?).with_context(|| format!("cannot write {}", target.display()))
}

fn add(archive: &mut tar::Builder<Vec<u8>>, name: &str, data: &[u8]) -> anyhow::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(data.len() as u64);
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    archive.append_data(&mut header, name, data).context("cannot build the image")
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
