//! Container images without a container engine: one binary in, one docker-archive out.
//!
//! The archive is a plain tar of configuration, one layer and `manifest.json`, which Docker, containerd, podman and
//! nanokube all load. It is a function of the binary's bytes: times, owners and order are pinned, so that the same
//! binary has the same digest, and the tag is that digest (`localhost/<name>:<12 hex>`). A changed binary is then a
//! changed pod template, and "already loaded" a look at a name.
//!
//! A static binary is the whole image. A dynamic one takes its loader and libraries along, so that it runs under the
//! image's own root too.

mod build;
mod elf;

#[cfg(test)]
mod engines;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub(crate) use self::build::{PACKAGES, build_static, name_of, static_libc_missing};

/// Neither root nor a user of the machine; Kubernetes' `runAsNonRoot` can only check a number.
const USER: u32 = 65532;
/// The moment all times are pinned to: what matters of an image is its content.
const CREATED: &str = "1970-01-01T00:00:00Z";
const LICENSE: &str = "MIT OR Apache-2.0";
/// Port of the service, for people who look at the image; the manifests decide.
const SERVICE_PORT: &str = "8080/tcp";

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PackedImage {
    /// `localhost/swell-service:0123456789ab`
    pub(crate) reference: String,
    pub(crate) archive: PathBuf,
    /// The image's ID: SHA-256 of its configuration, 64 hex digits.
    pub(crate) config_digest: String,
    /// As Kubernetes and OCI name it: `amd64`, `arm64`.
    pub(crate) architecture: &'static str,
    pub(crate) is_static: bool,
    pub(crate) size_bytes: u64,
}

/// Packs `binary` as image `name` into `directory`, unless the same image is there already. Older archives of that
/// name are removed.
pub(crate) fn pack(name: &str, binary: &Path, directory: &Path) -> Result<PackedImage> {
    let bytes = std::fs::read(binary).with_context(|| format!("cannot read {}", binary.display()))?;
    let elf = elf::Elf::parse(&bytes).with_context(|| format!("{} cannot go into an image", binary.display()))?;
    let libraries = elf.libraries(binary)?;
    let layer = layer(name, &bytes, &libraries).context("cannot build the layer")?;
    let config = config(name, elf.architecture, &layer).to_string();
    let config_digest = hex_digest(config.as_bytes());
    let tag = &config_digest[..12];
    let reference = format!("localhost/{name}:{tag}");
    let archive = directory.join(format!("{name}-{tag}.tar"));
    let outer = outer(&config, &config_digest, &layer, &reference).context("cannot build the archive")?;
    let size_bytes = outer.len() as u64;
    // The file keeps its real time of change: Minikube copies no file again whose name, size and time it knows.
    if std::fs::metadata(&archive).map(|there| there.len()).ok() != Some(size_bytes) {
        write_new(&archive, &outer)?;
    }
    remove_older(name, directory, &archive)?;
    let is_static = elf.interpreter.is_none();
    Ok(PackedImage { reference, archive, config_digest, architecture: elf.architecture, is_static, size_bytes })
}

/// In one step, so that an interrupted run leaves no half archive under the final name.
fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    let directory = path.parent().context("an archive lies in a directory")?;
    std::fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let partial = path.with_extension(format!("partial-{}", std::process::id()));
    std::fs::write(&partial, bytes).with_context(|| format!("cannot write {}", partial.display()))?;
    std::fs::rename(&partial, path).with_context(|| format!("cannot write {}", path.display()))
}

fn remove_older(name: &str, directory: &Path, keep: &Path) -> Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let file = path.file_name().and_then(|file| file.to_str()).unwrap_or_default();
        let tag = file.strip_prefix(name).and_then(|rest| rest.strip_prefix('-')?.strip_suffix(".tar"));
        let is_archive = tag.is_some_and(|tag| tag.len() == 12 && tag.chars().all(|c| c.is_ascii_hexdigit()));
        if is_archive && path != keep {
            std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

fn config(name: &str, architecture: &str, layer: &[u8]) -> Value {
    let mut run = json!({
        "Entrypoint": [format!("/{name}")],
        "User": format!("{USER}:{USER}"),
        "WorkingDir": "/",
        "StopSignal": "SIGTERM",
        "Labels": {
            "org.opencontainers.image.title": name,
            "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
            "org.opencontainers.image.licenses": LICENSE,
        },
    });
    if name == "swell-service" {
        run["ExposedPorts"] = json!({ SERVICE_PORT: {} });
    }
    json!({
        "architecture": architecture,
        "os": "linux",
        "created": CREATED,
        "config": run,
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", hex_digest(layer))] },
        "history": [{ "created": CREATED, "created_by": "cargo xtask image" }],
    })
}

/// The one layer: the binary, what it needs beside it, and the few files that programs expect of a root.
fn layer(name: &str, binary: &[u8], libraries: &[elf::Library]) -> Result<Vec<u8>> {
    let passwd = format!("root:x:0:0:root:/:/sbin/nologin\nswell:x:{USER}:{USER}:swell:/:/sbin/nologin\n");
    let group = format!("root:x:0:\nswell:x:{USER}:\n");
    let mut tree = Tree::default();
    tree.directory("tmp", 0o1777);
    tree.file("etc/passwd", 0o644, passwd.into_bytes());
    tree.file("etc/group", 0o644, group.into_bytes());
    // What glibc does without it depends on its version; this is what every node does.
    tree.file("etc/nsswitch.conf", 0o644, b"hosts: files dns\n".to_vec());
    tree.file(name, 0o755, binary.to_vec());
    for library in libraries {
        tree.file(&library.path, 0o755, library.bytes.clone());
    }
    tree.into_tar()
}

/// Files by path; directories are entries before their files, as some engines demand.
#[derive(Default)]
struct Tree(std::collections::BTreeMap<String, (u32, Option<Vec<u8>>)>);

impl Tree {
    fn directory(&mut self, path: &str, mode: u32) {
        self.0.insert(path.to_owned(), (mode, None));
    }

    fn file(&mut self, path: &str, mode: u32, bytes: Vec<u8>) {
        let path = path.trim_start_matches('/');
        for (at, _) in path.match_indices('/') {
            self.0.entry(path[..at].to_owned()).or_insert((0o755, None));
        }
        self.0.insert(path.to_owned(), (mode, Some(bytes)));
    }

    fn into_tar(self) -> Result<Vec<u8>> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, (mode, content)) in self.0 {
            match content {
                Some(bytes) => append(&mut tar, &path, tar::EntryType::Regular, mode, &bytes)?,
                None => append(&mut tar, &format!("{path}/"), tar::EntryType::Directory, mode, &[])?,
            }
        }
        Ok(tar.into_inner()?)
    }
}

/// Configuration, layer, manifest, in the order in which engines want to meet them.
fn outer(config: &str, config_digest: &str, layer: &[u8], reference: &str) -> Result<Vec<u8>> {
    let layer_path = format!("{}/layer.tar", hex_digest(layer));
    let config_path = format!("{config_digest}.json");
    let manifest = json!([{ "Config": config_path, "RepoTags": [reference], "Layers": [layer_path] }]);
    let mut tar = tar::Builder::new(Vec::with_capacity(layer.len() + (16 << 10)));
    append(&mut tar, &config_path, tar::EntryType::Regular, 0o644, config.as_bytes())?;
    append(&mut tar, &layer_path, tar::EntryType::Regular, 0o644, layer)?;
    append(&mut tar, "manifest.json", tar::EntryType::Regular, 0o644, manifest.to_string().as_bytes())?;
    Ok(tar.into_inner()?)
}

fn append(
    tar: &mut tar::Builder<Vec<u8>>,
    path: &str,
    entry_type: tar::EntryType,
    mode: u32,
    bytes: &[u8],
) -> Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(entry_type);
    header.set_path(path)?;
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(bytes.len() as u64);
    header.set_cksum();
    Ok(tar.append(&header, bytes)?)
}

pub(crate) fn hex_digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
