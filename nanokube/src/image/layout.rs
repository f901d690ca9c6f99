//! An OCI image layout: `index.json` leads by digests to manifests, and these to a configuration and layers, all in
//! `blobs/`.
//!
//! It becomes what a docker-archive says in its `manifest.json`; from there on both are the same. Every digest on the
//! way is checked. Of an image for several platforms the one of this machine is taken.

use std::collections::BTreeMap;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::archive::{Archive, IMAGES_MAX, ManifestItem, hex};
use super::config::host_architecture;
use super::error::ImageError;

/// An index of an index is as deep as tools nest them.
const DEPTH_MAX: usize = 4;
/// Where tools write an image's name, the most telling first.
const NAMES: [&str; 2] = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];

/// An index (it has `manifests`) or a manifest (it has a `config`).
#[derive(Deserialize)]
struct Node {
    #[serde(default)]
    manifests: Vec<Descriptor>,
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
    platform: Option<Platform>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Platform {
    os: String,
    architecture: String,
}

impl Archive {
    /// The images that an `index.json` of these bytes leads to.
    pub(super) fn items_of_layout(&mut self, index: &[u8]) -> Result<Vec<ManifestItem>, ImageError> {
        let mut items = Vec::new();
        self.follow("index.json", index, None, 0, &mut items)?;
        Ok(items)
    }

    fn follow(
        &mut self,
        file: &str,
        bytes: &[u8],
        name: Option<&String>,
        depth: usize,
        items: &mut Vec<ManifestItem>,
    ) -> Result<(), ImageError> {
        let node: Node = serde_json::from_slice(bytes)
            .map_err(|error| self.inconsistent(format!("{file} cannot be read: {error}")))?;
        if let Some(config) = &node.config {
            let layers = node.layers.iter().map(|layer| place(&layer.digest)).collect();
            items.push(ManifestItem {
                config: place(&config.digest),
                repo_tags: name.map(|it| vec![it.clone()]),
                layers,
            });
            return Ok(());
        }
        if depth == DEPTH_MAX {
            return Err(self.inconsistent(format!("{file} is an index below {DEPTH_MAX} others")));
        }
        if node.manifests.is_empty() && depth > 0 {
            return Err(self.inconsistent(format!("{file} lists no image")));
        }
        let fits = |child: &&Descriptor| child.platform.as_ref().is_none_or(Platform::is_ours);
        for child in self.nonempty(&node.manifests, fits)? {
            let own = NAMES.iter().find_map(|key| child.annotations.get(*key));
            let file = place(&child.digest);
            let bytes = self.read_whole(&file)?;
            if format!("sha256:{}", hex(&Sha256::digest(&bytes))) != child.digest {
                return Err(self.inconsistent(format!("{file} has another digest")));
            }
            self.follow(&file, &bytes, own.or(name), depth + 1, items)?;
            // Indexes that list each other's many times over would have us read for ever; the caller refuses so many.
            if items.len() > IMAGES_MAX {
                break;
            }
        }
        Ok(())
    }

    /// The images for this machine, of which there must be one if there are any.
    fn nonempty<'a>(
        &self,
        all: &'a [Descriptor],
        fits: impl Fn(&&Descriptor) -> bool,
    ) -> Result<Vec<&'a Descriptor>, ImageError> {
        let fitting: Vec<&Descriptor> = all.iter().filter(fits).collect();
        if fitting.is_empty() && !all.is_empty() {
            let platforms = all.iter().filter_map(|it| it.platform.as_ref());
            let found: Vec<String> = platforms.map(|it| format!("{}/{}", it.os, it.architecture)).collect();
            return Err(self.wrong_platform(found.join(", ")));
        }
        Ok(fitting)
    }
}

impl Platform {
    fn is_ours(&self) -> bool {
        self.os == "linux" && self.architecture == host_architecture()
    }
}

/// `sha256:abc` lies at `blobs/sha256/abc`.
fn place(digest: &str) -> String {
    format!("blobs/{}", digest.replacen(':', "/", 1))
}
