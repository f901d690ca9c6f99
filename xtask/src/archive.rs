//! An image archive that the user brings: which reference it carries.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

const MANIFEST: &str = "manifest.json";
/// A manifest is a few lines; more is not one.
const MANIFEST_MAX_BYTES: u64 = 1 << 20;

/// The first tag of a docker-archive.
pub(crate) fn reference_of(archive: &Path) -> Result<String> {
    let file = File::open(archive)?;
    let mut tar = tar::Archive::new(file);
    for entry in tar.entries().with_context(|| format!("{} is no tar archive", archive.display()))? {
        let entry = entry.with_context(|| format!("{} is no plain tar archive", archive.display()))?;
        if entry.path()?.as_os_str() != MANIFEST {
            continue;
        }
        let mut text = String::new();
        entry.take(MANIFEST_MAX_BYTES).read_to_string(&mut text)?;
        let manifest: Value = serde_json::from_str(&text).context("its manifest.json is not JSON")?;
        return match manifest.pointer("/0/RepoTags/0").and_then(Value::as_str) {
            Some(tag) => Ok(tag.to_owned()),
            None => bail!("the image in {} has no tag", archive.display()),
        };
    }
    bail!("{} holds no {MANIFEST}: it is not what `docker save` writes", archive.display())
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

    #[test]
    fn the_tag_is_read_and_what_has_none_is_refused_in_words() {
        let good = archive(&[("a.json", "{}"), (MANIFEST, r#"[{"RepoTags": ["localhost/web:7"]}]"#)]);
        assert_eq!(reference_of(good.path()).unwrap(), "localhost/web:7");
        let untagged = archive(&[(MANIFEST, r#"[{"RepoTags": []}]"#)]);
        assert!(reference_of(untagged.path()).unwrap_err().to_string().contains("no tag"));
        let other = archive(&[("index.json", "{}")]);
        assert!(reference_of(other.path()).unwrap_err().to_string().contains("docker save"));
    }
}
