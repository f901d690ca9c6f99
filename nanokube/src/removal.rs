//! Removes a directory that pods have written in, whatever modes they left behind.
//!
//! An overlay file system keeps a directory of mode 000 in its work directory, and a pod may take its own rights away.
//! Root removes such a tree anyway; an ordinary user who owns it has to give himself the rights first. Links are never
//! followed, so nothing outside the tree changes.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const OWNER_ALL: u32 = 0o700;

/// As `fs::remove_dir_all`, and once more after making every directory of the tree accessible to its owner.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(path)?;
            fs::remove_dir_all(path)
        }
        outcome => outcome,
    }
}

fn open_up(directory: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(directory)?.is_dir() {
        return Ok(());
    }
    fs::set_permissions(directory, Permissions::from_mode(OWNER_ALL))?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_with_closed_directories_is_removed_and_what_links_point_to_stays() {
        let scratch = tempfile::tempdir().unwrap();
        let outside = scratch.path().join("outside");
        let tree = scratch.path().join("tree");
        fs::create_dir_all(tree.join("work/work")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::set_permissions(&outside, Permissions::from_mode(0o500)).unwrap();
        std::os::unix::fs::symlink(&outside, tree.join("work/link")).unwrap();
        fs::set_permissions(tree.join("work/work"), Permissions::from_mode(0o000)).unwrap();
        // What root may do anyway is done here as its own step, so that the test says something to root too.
        open_up(&tree).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&tree.join("work/work")), mode(&outside)), (0o700, 0o500));
        fs::set_permissions(tree.join("work/work"), Permissions::from_mode(0o000)).unwrap();
        remove_tree(&tree).unwrap();
        assert!(!tree.exists() && outside.exists());
    }
}
