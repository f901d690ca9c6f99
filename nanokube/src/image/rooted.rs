//! Paths inside another root directory.
//!
//! An image may hold a symbolic link to `/etc` or to `../../..`; what it means is "inside this root". Every path that
//! comes from an image or a pod goes through here before it is opened, created or mounted upon, so that nothing ever
//! leaves the root. Works on paths as `openat2(RESOLVE_IN_ROOT)` would.

use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

/// Links followed before giving up, as in the kernel.
const LINKS_MAX: usize = 40;

/// The real path of `path` inside `root`, following links but never out of it. The last parts need not exist.
pub(crate) fn resolve(root: &Path, path: &Path) -> io::Result<PathBuf> {
    let mut todo: Vec<OsString> = parts(path);
    let mut inside = PathBuf::new();
    let mut links = 0;
    while let Some(part) = todo.pop() {
        if part == ".." {
            inside.pop();
            continue;
        }
        inside.push(&part);
        let Ok(meta) = std::fs::symlink_metadata(root.join(&inside)) else { continue };
        if !meta.file_type().is_symlink() {
            continue;
        }
        links += 1;
        if links > LINKS_MAX {
            return Err(io::Error::other(format!("too many symbolic links in {}", path.display())));
        }
        let target = std::fs::read_link(root.join(&inside))?;
        if target.is_absolute() {
            inside = PathBuf::new();
        } else {
            inside.pop();
        }
        todo.extend(parts(&target));
    }
    Ok(root.join(inside))
}

/// The parent of `path` resolved inside `root`, joined with the last part as it is (which may be a link).
pub(crate) fn resolve_parent(root: &Path, path: &Path) -> io::Result<PathBuf> {
    let Some(name) = path.file_name() else { return resolve(root, path) };
    Ok(resolve(root, path.parent().unwrap_or(Path::new("")))?.join(name))
}

/// Path parts in reverse, ready to be popped; `..` is kept, the root and `.` are dropped.
fn parts(path: &Path) -> Vec<OsString> {
    let named = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        _ => None,
    });
    let mut all: Vec<_> = named.collect();
    all.reverse();
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_never_lead_out_of_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        std::fs::create_dir_all(root.join("usr/lib")).unwrap();
        symlink("usr/lib", root.join("lib")).unwrap();
        symlink("/etc", root.join("abs")).unwrap();
        symlink("../../../../etc", root.join("up")).unwrap();
        let check = |path: &str, real: &str| assert_eq!(resolve(root, Path::new(path)).unwrap(), root.join(real));
        check("/lib/x.so", "usr/lib/x.so");
        check("abs/passwd", "etc/passwd");
        check("up/passwd", "etc/passwd");
        check("../../a", "a");
        check("/", "");
    }

    #[test]
    fn a_loop_of_links_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        symlink("b", dir.path().join("a")).unwrap();
        symlink("a", dir.path().join("b")).unwrap();
        assert!(resolve(dir.path(), Path::new("a/x")).is_err());
    }
}
