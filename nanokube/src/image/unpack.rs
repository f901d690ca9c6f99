//! Unpacks image layers into one root directory.
//!
//! Layers are applied in order into the same tree: later files replace earlier ones, `.wh.NAME` removes NAME, and
//! `.wh..wh..opq` hides all that lower layers put into a directory. Paths never leave the root (see `rooted`). Owner
//! and set-id bits are kept only when we are root; device nodes are left out, pods get a `/dev` of their own.

use super::error::ImageError;
use super::rooted;
use std::collections::HashSet;
use std::fs::{self, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::{Component, Path, PathBuf};
use tar::EntryType;

const BYTES_MAX: u64 = 4 << 30;
const ENTRIES_MAX: u64 = 200_000;
const PATH_DEPTH_MAX: usize = 128;
const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";

/// What one image may still use, and what is left to do once all its layers are there.
pub(super) struct Limits {
    bytes: u64,
    entries: u64,
    is_root: bool,
    /// Directory modes are set last: a read-only directory must still take the files of later layers.
    directories: Vec<(PathBuf, u32)>,
}

impl Limits {
    pub(super) fn for_image() -> Limits {
        let is_root = rustix::process::geteuid().is_root();
        Limits { bytes: BYTES_MAX, entries: ENTRIES_MAX, is_root, directories: Vec::new() }
    }

    pub(super) fn bytes_left(&self) -> u64 {
        self.bytes
    }

    pub(super) fn bytes_written(&self) -> u64 {
        BYTES_MAX - self.bytes
    }
}

/// Why a layer could not be unpacked; the archive's path is added by the caller.
pub(super) enum LayerError {
    Unsafe(String),
    TooLarge(String),
    Read(io::Error),
    Write(PathBuf, io::Error),
}

impl LayerError {
    pub(super) fn in_archive(self, archive: &Path) -> ImageError {
        let path = archive.to_owned();
        match self {
            LayerError::Unsafe(why) => ImageError::Inconsistent { path, why },
            LayerError::TooLarge(why) => ImageError::TooLarge { path, why },
            LayerError::Read(error) => {
                ImageError::Inconsistent { path, why: format!("a layer cannot be read: {error}") }
            }
            LayerError::Write(target, source) => ImageError::Io { what: "unpack".to_owned(), path: target, source },
        }
    }
}

/// Applies one layer to `rootfs`.
pub(super) fn layer(reader: &mut impl Read, rootfs: &Path, limits: &mut Limits) -> Result<(), LayerError> {
    let mut own: HashSet<PathBuf> = HashSet::new();
    let mut tar = tar::Archive::new(reader);
    for entry in tar.entries().map_err(LayerError::Read)? {
        let mut entry = entry.map_err(LayerError::Read)?;
        limits.entries = limits
            .entries
            .checked_sub(1)
            .ok_or_else(|| LayerError::TooLarge(format!("more than {ENTRIES_MAX} files in all layers")))?;
        let Some(name) = safe_name(&entry.path().map_err(LayerError::Read)?)? else { continue };
        let target = rooted::resolve_parent(rootfs, &name).map_err(|error| LayerError::Write(name.clone(), error))?;
        match whiteout(&name) {
            Some(Whiteout::Opaque) => clear_lower(&target, rootfs, &own)?,
            Some(Whiteout::Remove(hidden)) => remove(&target.with_file_name(hidden))?,
            None => {
                place(&mut entry, &target, rootfs, limits)?;
                own.insert(target);
            }
        }
    }
    Ok(())
}

/// Sets the modes of directories, deepest first.
pub(super) fn finish(rootfs: &Path, limits: &mut Limits) -> io::Result<()> {
    let keep_open = if limits.is_root { 0 } else { 0o700 };
    for (path, mode) in limits.directories.drain(..).rev() {
        if path.starts_with(rootfs) && path.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
            fs::set_permissions(&path, Permissions::from_mode(mode | keep_open))?;
        }
    }
    Ok(())
}

enum Whiteout {
    Opaque,
    Remove(String),
}

fn whiteout(name: &Path) -> Option<Whiteout> {
    let last = name.file_name()?.to_str()?;
    if last == OPAQUE {
        return Some(Whiteout::Opaque);
    }
    last.strip_prefix(WHITEOUT).map(|hidden| Whiteout::Remove(hidden.to_owned()))
}

/// The entry's path relative to the root; the root itself is `None`; anything that climbs is refused.
fn safe_name(path: &Path) -> Result<Option<PathBuf>, LayerError> {
    let mut name = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => name.push(part),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(LayerError::Unsafe(format!(
                    "a layer holds the path {}, which leaves the root",
                    path.display()
                )));
            }
        }
    }
    if name.components().count() > PATH_DEPTH_MAX {
        return Err(LayerError::TooLarge(format!("a path is deeper than {PATH_DEPTH_MAX}")));
    }
    Ok((!name.as_os_str().is_empty()).then_some(name))
}

fn place<R: Read>(
    entry: &mut tar::Entry<'_, R>,
    target: &Path,
    rootfs: &Path,
    limits: &mut Limits,
) -> Result<(), LayerError> {
    let fail = |error| LayerError::Write(target.to_owned(), error);
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent).map_err(fail)?;
    }
    let header = entry.header().clone();
    let mode = header.mode().map_err(LayerError::Read)? & if limits.is_root { 0o7777 } else { 0o777 };
    match header.entry_type() {
        EntryType::Directory => {
            let exists = target.symlink_metadata().is_ok_and(|meta| meta.is_dir());
            if !exists {
                remove(target)?;
                fs::create_dir(target).map_err(fail)?;
            }
            limits.directories.push((target.to_owned(), mode));
        }
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            remove(target)?;
            write_file(entry, target, limits)?;
            fs::set_permissions(target, Permissions::from_mode(mode)).map_err(fail)?;
        }
        EntryType::Symlink => {
            remove(target)?;
            let link = entry.link_name().map_err(LayerError::Read)?.unwrap_or_default();
            std::os::unix::fs::symlink(link, target).map_err(fail)?;
        }
        EntryType::Link => {
            let link = entry.link_name().map_err(LayerError::Read)?.unwrap_or_default();
            let Some(link) = safe_name(&link)? else { return Ok(()) };
            let source = rooted::resolve_parent(rootfs, &link).map_err(fail)?;
            remove(target)?;
            fs::hard_link(source, target).map_err(fail)?;
            return Ok(());
        }
        _ => return Ok(()),
    }
    if limits.is_root {
        let id = |id: io::Result<u64>| id.ok().and_then(|id| u32::try_from(id).ok());
        lchown(target, id(header.uid()), id(header.gid())).map_err(fail)?;
        if header.entry_type().is_file() && mode & 0o6000 != 0 {
            fs::set_permissions(target, Permissions::from_mode(mode)).map_err(fail)?;
        }
    }
    Ok(())
}

fn write_file(reader: &mut impl Read, target: &Path, limits: &mut Limits) -> Result<(), LayerError> {
    let mut file = fs::File::create_new(target).map_err(|error| LayerError::Write(target.to_owned(), error))?;
    let mut buffer = vec![0; 128 << 10];
    loop {
        let read = reader.read(&mut buffer).map_err(LayerError::Read)?;
        if read == 0 {
            return Ok(());
        }
        limits.bytes = limits
            .bytes
            .checked_sub(read as u64)
            .ok_or_else(|| LayerError::TooLarge(format!("its files have more than {BYTES_MAX} bytes")))?;
        io::Write::write_all(&mut file, &buffer[..read])
            .map_err(|error| LayerError::Write(target.to_owned(), error))?;
    }
}

fn remove(target: &Path) -> Result<(), LayerError> {
    let removed = match target.symlink_metadata() {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(target),
        Ok(_) => fs::remove_file(target),
        Err(_) => return Ok(()),
    };
    removed.map_err(|error| LayerError::Write(target.to_owned(), error))
}

/// Removes what lower layers put into the directory that holds the opaque marker.
fn clear_lower(marker: &Path, rootfs: &Path, own: &HashSet<PathBuf>) -> Result<(), LayerError> {
    let Some(dir) = marker.parent().filter(|dir| dir.starts_with(rootfs)) else { return Ok(()) };
    let Ok(children) = fs::read_dir(dir) else { return Ok(()) };
    for child in children.flatten() {
        let path = child.path();
        if !own.iter().any(|mine| mine.starts_with(&path)) {
            remove(&path)?;
        }
    }
    Ok(())
}
