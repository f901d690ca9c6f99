//! An image archive, ours or one that the user brings: the reference it carries, and the digest that tells it from another
//! image of the same name.
//!
//! Engines list names in full (`web:1` is `docker.io/library/web:1`), so names are compared in that form.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use sha2::{Digest, Sha256};

const MANIFEST: &str = "manifest.json";
/// Manifests and configurations are a few lines; what is more is a layer.
const JSON_MAX_BYTES: u64 = 1 << 20;
const TAG_OF_CONTENT: usize = 12;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Archived {
    pub(crate) file: PathBuf,
    /// The first tag.
    pub(crate) reference: String,
    /// SHA-256 of its configuration, 64 hex digits: what engines call the image's ID.
    pub(crate) id: String,
    /// As Kubernetes and OCI name it: `amd64`, `arm64`.
    pub(crate) architecture: String,
}

/// What a list of images shows of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    No,
    /// The name belongs to other content.
    Another,
    Yes,
}

impl Archived {
    /// What is in a docker-archive.
    pub(crate) fn read(file: &Path) -> Result<Archived> {
        let texts = small_files(file)?;
        let Some(manifest) = texts.get(MANIFEST) else {
            bail!("{} holds no {MANIFEST}: it is not what `docker save` writes", file.display())
        };
        let manifest: Value = serde_json::from_slice(manifest).context("its manifest.json is not JSON")?;
        let Some(reference) = manifest.pointer("/0/RepoTags/0").and_then(Value::as_str) else {
            bail!("the image in {} has no tag", file.display())
        };
        let path = manifest.pointer("/0/Config").and_then(Value::as_str).unwrap_or_default();
        let config = texts.get(path).with_context(|| format!("{} lacks its image's configuration", file.display()))?;
        let parsed: Value = serde_json::from_slice(config).context("the image's configuration is not JSON")?;
        Ok(Archived {
            file: file.to_owned(),
            reference: reference.to_owned(),
            id: Sha256::digest(config).iter().map(|byte| format!("{byte:02x}")).collect(),
            architecture: parsed["architecture"].as_str().unwrap_or_default().to_owned(),
        })
    }

    /// Whether other content would have another name, as our own images have.
    pub(crate) fn is_named_by_content(&self) -> bool {
        self.reference.rsplit_once(':').is_some_and(|(_, tag)| *tag == self.id[..TAG_OF_CONTENT])
    }

    pub(crate) fn reference_by_content(&self) -> String {
        let name = match self.reference.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => name,
            _ => &self.reference,
        };
        format!("{name}:{}", &self.id[..TAG_OF_CONTENT])
    }

    /// `listed`: IDs, with or without `sha256:`, each with its names.
    pub(crate) fn among<'l>(&self, listed: impl IntoIterator<Item = (&'l str, Vec<&'l str>)>) -> Listed {
        let own = full_name(&self.reference);
        let found = listed.into_iter().find(|(_, names)| names.iter().any(|name| full_name(name) == own));
        match found {
            None => Listed::No,
            Some((id, _)) if id.trim_start_matches("sha256:") == self.id => Listed::Yes,
            // Some engines list another digest than that of the configuration.
            Some(_) if self.is_named_by_content() => Listed::Yes,
            Some(_) => Listed::Another,
        }
    }
}

/// The files that may be manifests and configurations, by path.
fn small_files(file: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut tar = tar::Archive::new(File::open(file)?);
    let mut found = BTreeMap::new();
    for entry in tar.entries().with_context(|| format!("{} is no tar archive", file.display()))? {
        let mut entry = entry.with_context(|| format!("{} is no plain tar archive", file.display()))?;
        if entry.size() > JSON_MAX_BYTES || !entry.header().entry_type().is_file() {
            continue;
        }
        let path = entry.path()?.to_string_lossy().trim_start_matches("./").to_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        found.insert(path, bytes);
    }
    Ok(found)
}

/// `web` is `docker.io/library/web:latest`; a first part with a dot, a colon or the name `localhost` is a registry.
fn full_name(reference: &str) -> String {
    let named = match reference.split_once('/') {
        None => format!("docker.io/library/{reference}"),
        Some((host, _)) if host == "localhost" || host.contains(['.', ':']) => reference.to_owned(),
        Some(_) => format!("docker.io/{reference}"),
    };
    let last = named.rsplit('/').next().unwrap_or_default();
    if last.contains([':', '@']) { named } else { format!("{named}:latest") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(entries: &[(&str, &str)]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut tar = tar::Builder::new(file.reopen().unwrap());
        for (name, content) in entries {
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            header.set_cksum();
            tar.append_data(&mut header, name, content.as_bytes()).unwrap();
        }
        tar.finish().unwrap();
        file
    }

    fn named(tag: &str) -> Archived {
        let manifest = format!(r#"[{{"Config": "a.json", "RepoTags": ["{tag}"]}}]"#);
        let file = archive(&[("./a.json", r#"{"architecture":"arm64"}"#), (MANIFEST, &manifest)]);
        Archived::read(file.path()).unwrap()
    }

    #[test]
    fn what_an_image_is_is_read_and_what_has_no_tag_is_refused_in_words() {
        let good = named("localhost/web:7");
        assert_eq!(
            (good.reference.as_str(), good.architecture.as_str(), good.id.len()),
            ("localhost/web:7", "arm64", 64)
        );
        let untagged = archive(&[(MANIFEST, r#"[{"RepoTags": []}]"#)]);
        assert!(Archived::read(untagged.path()).unwrap_err().to_string().contains("no tag"));
        let other = archive(&[("index.json", "{}")]);
        assert!(Archived::read(other.path()).unwrap_err().to_string().contains("docker save"));
    }

    #[test]
    fn an_image_is_found_by_its_full_name_and_told_from_another_of_that_name() {
        let web = named("web:7");
        let id = format!("sha256:{}", web.id);
        assert_eq!(web.among([(&*id, vec!["other:1", "docker.io/library/web:7"])]), Listed::Yes);
        assert_eq!(web.among([("sha256:00", vec!["docker.io/library/web:7"])]), Listed::Another);
        assert_eq!(web.among([(&*id, vec!["docker.io/library/web:70"])]), Listed::No);
        let content = named(&format!("localhost/web:{}", &web.id[..12]));
        assert_eq!(content.among([("manifest-digest", vec![content.reference.as_str()])]), Listed::Yes);
        assert_eq!(content.reference_by_content(), content.reference);
        assert_eq!(web.reference_by_content(), format!("web:{}", &web.id[..12]));
    }

    #[test]
    fn names_are_made_full_as_engines_list_them() {
        let cases = [
            ("web", "docker.io/library/web:latest"),
            ("team/web:1", "docker.io/team/web:1"),
            ("localhost/web:1", "localhost/web:1"),
            ("registry:5000/web", "registry:5000/web:latest"),
        ];
        for (short, full) in cases {
            assert_eq!(full_name(short), full);
        }
    }
}
