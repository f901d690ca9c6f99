//! Images: archives that were loaded, unpacked into a content-addressed store, and found by name.
//!
//! `DIR/images/<config digest>/{config.json,rootfs/}` is written once and never changed; `index.json` maps names to
//! digests and is replaced as a whole under a lock, so that `nanokube image load` works whether or not the daemon
//! runs, and the daemon sees a new image at once. There are no registries here: an image is loaded or it is not there.

mod archive;
mod config;
mod error;
mod layout;
mod reference;
pub(crate) mod rooted;
mod unpack;

#[cfg(test)]
mod tests;

pub use config::{ImageConfig, RunConfig, host_architecture};
pub use error::ImageError;
pub use reference::normalize;

use archive::{Archive, ArchivedImage};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The images of one nanokube directory. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ImageStore {
    dir: Arc<Path>,
}

/// A loaded image.
#[derive(Debug, Clone)]
pub struct Image {
    /// `sha256:` and the digest of the configuration.
    pub id: String,
    pub config: Arc<ImageConfig>,
    /// The unpacked layers; never written to.
    pub rootfs: PathBuf,
}

/// One line of `nanokube image ls`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageEntry {
    pub id: String,
    pub names: Vec<String>,
    pub size_bytes: u64,
}

#[derive(Default, Serialize, Deserialize)]
struct Index {
    version: u32,
    tags: BTreeMap<String, String>,
    sizes: BTreeMap<String, u64>,
}

const INDEX_VERSION: u32 = 1;

impl ImageStore {
    /// Opens the store in `dir`, creating it where it is not there.
    pub fn open(dir: &Path) -> Result<ImageStore, ImageError> {
        fs::create_dir_all(dir).map_err(ImageError::io("create the image directory", dir))?;
        Ok(ImageStore { dir: dir.into() })
    }

    /// Loads every image of an archive. Names that existed move to the new image.
    pub fn load(&self, archive: &Path) -> Result<Vec<ImageEntry>, ImageError> {
        let lock = self.lock()?;
        let scratch = tempdir_in(&self.dir)?;
        let loaded = self.load_into(archive, &scratch);
        let cleaned = fs::remove_dir_all(&scratch).map_err(ImageError::io("remove", &scratch));
        drop(lock);
        let loaded = loaded?;
        cleaned?;
        Ok(loaded)
    }

    /// All images, by their first name.
    pub fn list(&self) -> Result<Vec<ImageEntry>, ImageError> {
        let index = self.index()?;
        let entry = |(id, size): (&String, &u64)| ImageEntry {
            id: id.clone(),
            names: index.tags.iter().filter(|(_, tagged)| *tagged == id).map(|(name, _)| name.clone()).collect(),
            size_bytes: *size,
        };
        let mut all: Vec<_> = index.sizes.iter().map(entry).collect();
        all.sort_by(|a, b| a.names.first().cmp(&b.names.first()).then(a.id.cmp(&b.id)));
        Ok(all)
    }

    /// The image of this name, digest or ID, if it was loaded.
    pub fn resolve(&self, name: &str) -> Result<Option<Image>, ImageError> {
        let index = self.index()?;
        let id = if reference::is_digest(name) {
            name.to_owned()
        } else {
            let full = normalize(name)?;
            match full.split_once('@') {
                Some((_, digest)) => digest.to_owned(),
                None => match index.tags.get(&full) {
                    Some(id) => id.clone(),
                    None => return Ok(None),
                },
            }
        };
        if !index.sizes.contains_key(&id) {
            return Ok(None);
        }
        self.image(&id).map(Some)
    }

    /// Removes images that no name leads to and what an interrupted load left. Call it while no pod runs.
    pub fn prune(&self) -> Result<(), ImageError> {
        let _lock = self.lock()?;
        let mut index = self.index()?;
        index.sizes.retain(|id, _| index.tags.values().any(|tagged| tagged == id));
        let kept: Vec<_> = index.sizes.keys().map(|id| hex_of(id).to_owned()).collect();
        let children = fs::read_dir(&self.dir).map_err(ImageError::io("list", &*self.dir))?;
        for child in children.flatten() {
            let is_dir = child.file_type().is_ok_and(|kind| kind.is_dir());
            if is_dir && !kept.iter().any(|hex| child.file_name() == hex.as_str()) {
                fs::remove_dir_all(child.path()).map_err(ImageError::io("remove", child.path()))?;
            }
        }
        self.write_index(&index)
    }

    fn load_into(&self, archive: &Path, scratch: &Path) -> Result<Vec<ImageEntry>, ImageError> {
        let mut archive = Archive::open(archive, scratch)?;
        let mut index = self.index()?;
        let mut loaded = Vec::new();
        for image in archive.images()? {
            let size_bytes = match index.sizes.get(&image.id) {
                Some(size) if self.image_dir(&image.id).is_dir() => *size,
                _ => self.unpack(&mut archive, &image, scratch)?,
            };
            index.sizes.insert(image.id.clone(), size_bytes);
            for tag in &image.tags {
                index.tags.insert(tag.clone(), image.id.clone());
            }
            loaded.push(ImageEntry { id: image.id, names: image.tags, size_bytes });
        }
        self.write_index(&index)?;
        Ok(loaded)
    }

    fn unpack(&self, archive: &mut Archive, image: &ArchivedImage, scratch: &Path) -> Result<u64, ImageError> {
        let fresh = scratch.join(hex_of(&image.id));
        let rootfs = fresh.join("rootfs");
        fs::create_dir_all(&rootfs).map_err(ImageError::io("create", &rootfs))?;
        let size = archive.unpack(image, &rootfs)?;
        let config = fresh.join("config.json");
        fs::write(&config, &image.config_bytes).map_err(ImageError::io("write", &config))?;
        let home = self.image_dir(&image.id);
        if home.exists() {
            fs::remove_dir_all(&home).map_err(ImageError::io("remove", &home))?;
        }
        fs::rename(&fresh, &home).map_err(ImageError::io("move the image to", &home))?;
        Ok(size)
    }

    fn image(&self, id: &str) -> Result<Image, ImageError> {
        let dir = self.image_dir(id);
        let path = dir.join("config.json");
        let bytes = fs::read(&path).map_err(ImageError::io("read", &path))?;
        let config: ImageConfig = serde_json::from_slice(&bytes)
            .map_err(|error| ImageError::Inconsistent { path, why: format!("not an image configuration: {error}") })?;
        Ok(Image { id: id.to_owned(), config: Arc::new(config), rootfs: dir.join("rootfs") })
    }

    fn image_dir(&self, id: &str) -> PathBuf {
        self.dir.join(hex_of(id))
    }

    fn index(&self) -> Result<Index, ImageError> {
        let path = self.dir.join("index.json");
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Index { version: INDEX_VERSION, ..Index::default() });
            }
            Err(error) => return Err(ImageError::io("read", path)(error)),
        };
        match serde_json::from_slice::<Index>(&bytes) {
            Ok(index) if index.version == INDEX_VERSION => Ok(index),
            Ok(index) => Err(ImageError::BadIndex { path, why: format!("unknown version {}", index.version) }),
            Err(error) => Err(ImageError::BadIndex { path, why: error.to_string() }),
        }
    }

    fn write_index(&self, index: &Index) -> Result<(), ImageError> {
        let (path, fresh) = (self.dir.join("index.json"), self.dir.join("index.json.new"));
        let bytes = serde_json::to_vec_pretty(index).unwrap_or_default(); // maps of strings always serialise
        fs::write(&fresh, bytes).map_err(ImageError::io("write", &fresh))?;
        fs::rename(&fresh, &path).map_err(ImageError::io("replace", &path))
    }

    /// Held while the store changes; released when the file closes, also when the process dies.
    fn lock(&self) -> Result<File, ImageError> {
        let path = self.dir.join("lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(ImageError::io("open", &path))?;
        file.lock().map_err(ImageError::io("lock", &path))?;
        Ok(file)
    }
}

impl Image {
    /// The number of a user, given by number or name, and of the group that the image's own `/etc/passwd` gives it (0
    /// where it says nothing). Without a user, root.
    pub fn user(&self, user: &str) -> Option<(u32, u32)> {
        let user = if user.is_empty() { "0" } else { user };
        let entry = self.account("etc/passwd", user);
        let number = |at: usize| entry.as_ref()?.get(at)?.parse().ok();
        Some((user.parse().ok().or_else(|| number(2))?, number(3).unwrap_or(0)))
    }

    /// The number of a group, given by number or by a name of the image's own `/etc/group`.
    pub fn group(&self, group: &str) -> Option<u32> {
        group.parse().ok().or_else(|| self.account("etc/group", group)?.get(2)?.parse().ok())
    }

    /// The fields of the line whose name or number is `wanted`.
    fn account(&self, file: &str, wanted: &str) -> Option<Vec<String>> {
        let text = fs::read_to_string(rooted::resolve(&self.rootfs, Path::new(file)).ok()?).ok()?;
        let mut lines = text.lines().map(|line| line.split(':').map(str::to_owned).collect::<Vec<_>>());
        lines.find(|fields| fields[0] == wanted || fields.get(2).is_some_and(|number| number == wanted))
    }
}

fn hex_of(id: &str) -> &str {
    id.trim_start_matches("sha256:")
}

fn tempdir_in(dir: &Path) -> Result<PathBuf, ImageError> {
    let path = dir.join(format!(".load-{}-{:08x}", std::process::id(), rand::random::<u32>()));
    fs::create_dir(&path).map_err(ImageError::io("create", &path))?;
    Ok(path)
}
