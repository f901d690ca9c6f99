//! An image archive: a tar file with a `manifest.json` (as `docker save` writes it) or an OCI layout, with image
//! configurations and layers.
//!
//! Every digest is checked: the configuration against the name it has in the manifest, each layer against its
//! `diff_id`. The file may be compressed with gzip as a whole, and so may each layer; digests are of what is inside.

use super::config::{ImageConfig, host_architecture};
use super::error::ImageError;
use super::unpack::{self, Limits};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

const MANIFEST_SIZE_MAX: u64 = 1 << 20;
const CONFIG_SIZE_MAX: u64 = 4 << 20;
const ENTRIES_MAX: usize = 10_000;
pub(super) const IMAGES_MAX: usize = 64;
const LAYERS_MAX: usize = 128;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// An archive with its entries found, ready to be read at random.
pub(super) struct Archive {
    path: PathBuf,
    file: File,
    entries: HashMap<String, Span>,
}

#[derive(Clone, Copy)]
struct Span {
    offset: u64,
    size: u64,
}

/// One image of an archive, checked but for its layers.
pub(super) struct ArchivedImage {
    /// `sha256:` and the digest of the configuration's bytes: the image ID.
    pub id: String,
    pub config: ImageConfig,
    pub config_bytes: Vec<u8>,
    pub tags: Vec<String>,
    layers: Vec<Span>,
}

/// One image as `manifest.json` lists it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ManifestItem {
    pub(super) config: String,
    #[serde(default)]
    pub(super) repo_tags: Option<Vec<String>>,
    #[serde(default)]
    pub(super) layers: Vec<String>,
}

impl Archive {
    /// Opens an archive and indexes its entries; a compressed one is first expanded into `scratch`.
    pub(super) fn open(path: &Path, scratch: &Path) -> Result<Archive, ImageError> {
        let mut file = File::open(path).map_err(ImageError::io("open the image archive", path))?;
        let mut magic = Vec::new();
        let read = (&mut file).take(4).read_to_end(&mut magic).and_then(|_| file.rewind());
        read.map_err(ImageError::io("read", path))?;
        if magic == ZSTD_MAGIC {
            let why = "it is compressed with zstd: run `zstd -d` on it first".to_owned();
            return Err(ImageError::NotAnArchive { path: path.to_owned(), why });
        }
        if magic.starts_with(&GZIP_MAGIC) {
            file = expand(path, file, scratch)?;
        }
        let entries = index(path, &mut file)?;
        Ok(Archive { path: path.to_owned(), file, entries })
    }

    /// The images that the archive lists.
    pub(super) fn images(&mut self) -> Result<Vec<ArchivedImage>, ImageError> {
        let has = |name: &str| self.entries.contains_key(name);
        let list = match (has("manifest.json"), has("index.json")) {
            (true, _) => "manifest.json",
            (false, true) => "index.json",
            _ => return Err(self.not_an_archive("it has no manifest.json")),
        };
        let bytes = self.read_whole(list)?;
        let items: Vec<ManifestItem> = if list == "index.json" {
            self.items_of_layout(&bytes)?
        } else {
            serde_json::from_slice(&bytes)
                .map_err(|error| self.not_an_archive(&format!("manifest.json cannot be read: {error}")))?
        };
        if items.is_empty() || items.len() > IMAGES_MAX {
            return Err(self.not_an_archive(&format!("{list} lists {} images, not 1 to {IMAGES_MAX}", items.len())));
        }
        items.into_iter().map(|item| self.image(item)).collect()
    }

    /// Unpacks the image's layers into `rootfs`, lowest first, and checks each digest. Returns the bytes written.
    pub(super) fn unpack(&mut self, image: &ArchivedImage, rootfs: &Path) -> Result<u64, ImageError> {
        let mut limits = Limits::for_image();
        for (span, diff_id) in image.layers.iter().zip(&image.config.rootfs.diff_ids) {
            let found = self.unpack_layer(*span, rootfs, &mut limits)?;
            if &found != diff_id {
                return Err(self.inconsistent(format!("invalid diffID for layer: is {found}, should be {diff_id}")));
            }
        }
        unpack::finish(rootfs, &mut limits).map_err(ImageError::io("set permissions in", rootfs))?;
        Ok(limits.bytes_written())
    }

    fn image(&mut self, item: ManifestItem) -> Result<ArchivedImage, ImageError> {
        let span = self.entry(&item.config)?;
        let config_bytes = self.read(span, CONFIG_SIZE_MAX, &item.config)?;
        let id = format!("sha256:{}", hex(&Sha256::digest(&config_bytes)));
        let named = item.config.rsplit('/').next().unwrap_or_default().trim_end_matches(".json");
        if id.trim_start_matches("sha256:") != named {
            return Err(self.inconsistent(format!("config {} has digest {id}", item.config)));
        }
        let config: ImageConfig = serde_json::from_slice(&config_bytes)
            .map_err(|error| self.inconsistent(format!("config {} cannot be read: {error}", item.config)))?;
        self.check_platform(&config)?;
        let diff_ids = config.rootfs.diff_ids.len();
        if item.layers.len() != diff_ids {
            return Err(self.inconsistent(format!("{} layers but {diff_ids} diff_ids", item.layers.len())));
        }
        if diff_ids > LAYERS_MAX {
            return Err(ImageError::TooLarge { path: self.path.clone(), why: format!("{diff_ids} layers, limit 128") });
        }
        let layers = item.layers.iter().map(|name| self.entry(name)).collect::<Result<_, _>>()?;
        let tags = item.repo_tags.unwrap_or_default();
        let tags = tags.iter().map(|tag| super::normalize(tag)).collect::<Result<_, _>>()?;
        Ok(ArchivedImage { id, config, config_bytes, tags, layers })
    }

    fn check_platform(&self, config: &ImageConfig) -> Result<(), ImageError> {
        let found = format!("{}/{}", config.os, config.architecture);
        let needed = format!("linux/{}", host_architecture());
        if found == needed { Ok(()) } else { Err(self.wrong_platform(found)) }
    }

    pub(super) fn wrong_platform(&self, found: String) -> ImageError {
        let needed = format!("linux/{}", host_architecture());
        ImageError::WrongPlatform { path: self.path.clone(), found, needed }
    }

    fn unpack_layer(&mut self, span: Span, rootfs: &Path, limits: &mut Limits) -> Result<String, ImageError> {
        let path = self.path.clone();
        self.file.seek(SeekFrom::Start(span.offset)).map_err(ImageError::io("read", &path))?;
        let mut raw = BufReader::with_capacity(256 << 10, (&mut self.file).take(span.size));
        let head = io::BufRead::fill_buf(&mut raw).map_err(ImageError::io("read", &path))?;
        if head.starts_with(&ZSTD_MAGIC) {
            let why = "a layer is compressed with zstd, which is not read here".to_owned();
            return Err(ImageError::Inconsistent { path, why });
        }
        let is_gzip = head.starts_with(&GZIP_MAGIC);
        let inner: Box<dyn Read + '_> =
            if is_gzip { Box::new(flate2::bufread::MultiGzDecoder::new(raw)) } else { Box::new(raw) };
        let mut hashed = Hashed { inner, hash: Sha256::new() };
        unpack::layer(&mut hashed, rootfs, limits).map_err(|error| error.in_archive(&path))?;
        // The digest covers what follows the end-of-archive marker too; a bomb there is bounded as well.
        let rest = io::copy(&mut (&mut hashed).take(limits.bytes_left() + 1), &mut io::sink())
            .map_err(ImageError::io("read a layer of", &path))?;
        if rest > limits.bytes_left() {
            return Err(ImageError::TooLarge { path, why: "a layer expands beyond the limit".to_owned() });
        }
        Ok(format!("sha256:{}", hex(&hashed.hash.finalize())))
    }

    fn entry(&self, name: &str) -> Result<Span, ImageError> {
        let found = clean_name(Path::new(name)).and_then(|name| self.entries.get(&name).copied());
        found.ok_or_else(|| self.inconsistent(format!("it names {name}, which is not there")))
    }

    /// A small file of the archive that lists others.
    pub(super) fn read_whole(&mut self, name: &str) -> Result<Vec<u8>, ImageError> {
        let span = self.entry(name)?;
        self.read(span, MANIFEST_SIZE_MAX, name)
    }

    fn read(&mut self, span: Span, size_max: u64, name: &str) -> Result<Vec<u8>, ImageError> {
        if span.size > size_max {
            let why = format!("{name} has {} bytes, limit {size_max}", span.size);
            return Err(ImageError::TooLarge { path: self.path.clone(), why });
        }
        let mut bytes = Vec::with_capacity(span.size as usize);
        let read = self
            .file
            .seek(SeekFrom::Start(span.offset))
            .and_then(|_| (&mut self.file).take(span.size).read_to_end(&mut bytes));
        read.map_err(ImageError::io("read", &self.path))?;
        if bytes.len() as u64 != span.size {
            return Err(self.inconsistent(format!("{name} is cut off")));
        }
        Ok(bytes)
    }

    fn not_an_archive(&self, why: &str) -> ImageError {
        ImageError::NotAnArchive { path: self.path.clone(), why: why.to_owned() }
    }

    pub(super) fn inconsistent(&self, why: String) -> ImageError {
        ImageError::Inconsistent { path: self.path.clone(), why }
    }
}

/// Writes the expanded archive to a scratch file.
fn expand(path: &Path, file: File, scratch: &Path) -> Result<File, ImageError> {
    let at = scratch.join("archive.tar");
    let mut out =
        File::options().read(true).write(true).create_new(true).open(&at).map_err(ImageError::io("create", &at))?;
    let limit = Limits::for_image().bytes_left();
    let mut plain = flate2::bufread::MultiGzDecoder::new(BufReader::new(file)).take(limit + 1);
    let written = io::copy(&mut plain, &mut out)
        .map_err(|error| ImageError::Inconsistent { path: path.to_owned(), why: format!("gzip: {error}") })?;
    if written > limit {
        return Err(ImageError::TooLarge { path: path.to_owned(), why: format!("expands to more than {limit} bytes") });
    }
    out.rewind().map_err(ImageError::io("read", &at))?;
    Ok(out)
}

/// Finds each regular file of the outer tar. The last of two entries with one name wins, as in docker.
fn index(path: &Path, file: &mut File) -> Result<HashMap<String, Span>, ImageError> {
    // The reader's own words quote what it stumbled over, whatever bytes that may be.
    let not_tar = |error: io::Error| {
        let is_cut = error.kind() == io::ErrorKind::UnexpectedEof;
        let why = if is_cut { "it is cut off" } else { "it is no tar file" };
        ImageError::NotAnArchive { path: path.to_owned(), why: why.to_owned() }
    };
    let mut entries = HashMap::new();
    let mut tar = tar::Archive::new(file);
    for entry in tar.entries_with_seek().map_err(not_tar)? {
        let entry = entry.map_err(not_tar)?;
        if entries.len() >= ENTRIES_MAX {
            return Err(ImageError::TooLarge {
                path: path.to_owned(),
                why: format!("more than {ENTRIES_MAX} entries"),
            });
        }
        let Some(name) = clean_name(&entry.path().map_err(not_tar)?) else { continue };
        if entry.header().entry_type().is_file() {
            entries.insert(name, Span { offset: entry.raw_file_position(), size: entry.size() });
        }
    }
    Ok(entries)
}

/// `./a/b` and `a//b` are `a/b`; names that climb are no names.
fn clean_name(path: &Path) -> Option<String> {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => parts.push(name.to_str()?),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

struct Hashed<R> {
    inner: R,
    hash: Sha256,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.update(&buffer[..read]);
        Ok(read)
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a String cannot fail
        text
    })
}
