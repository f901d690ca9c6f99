//! One verb at a time changes a profile. The kernel holds the lock as long as the process lives, so a kill leaves none behind.
//!
//! The file says who holds it, for whoever comes second.

use std::fs::{File, TryLockError};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::problem;
use crate::workspace::Workspace;

pub(crate) struct Lock {
    path: PathBuf,
    _held: File,
}

impl Lock {
    pub(crate) fn take(workspace: &Workspace, profile: &str, verb: &str) -> Result<Lock> {
        let dir = workspace.state_dir();
        // A dot is in no profile's name.
        let path = dir.join(format!("{profile}.lock"));
        std::fs::create_dir_all(&dir).with_context(|| problem::unwritable(&dir))?;
        loop {
            let open = File::options().create(true).truncate(false).read(true).write(true).open(&path);
            let mut file = open.with_context(|| problem::unwritable(&path))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let holder = std::fs::read_to_string(&path).unwrap_or_default();
                    let (verb, pid) = holder.trim().split_once(' ').unwrap_or(("another verb", ""));
                    return Err(problem::profile_busy(profile, verb, pid).into());
                }
                Err(TryLockError::Error(error)) => return Err(error).with_context(|| problem::unwritable(&path)),
            }
            // Whoever held it before removed the file that was opened here: then it guards nothing.
            if !std::fs::metadata(&path).is_ok_and(|there| file.metadata().is_ok_and(|held| held.ino() == there.ino()))
            {
                continue;
            }
            let held = format!("{verb} {}\n", std::process::id());
            let written = file.set_len(0).and_then(|()| file.write_all(held.as_bytes()));
            written.with_context(|| problem::unwritable(&path))?;
            return Ok(Lock { path, _held: file });
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // An empty file would do no harm; only a tidy directory is lost.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_verb_is_told_which_is_at_it_and_the_next_gets_in() {
        let dir = tempfile::tempdir().unwrap();
        let workspace = Workspace::at(dir.path());
        let first = Lock::take(&workspace, "lab", "setup").unwrap();
        let other = Lock::take(&workspace, "other", "setup");
        assert!(other.is_ok(), "another profile is free");
        let refused = Lock::take(&workspace, "lab", "teardown").err().unwrap();
        let words = problem::render(&refused, "lab");
        let pid = std::process::id();
        let held = format!("profile `lab` is being changed by `cargo xtask setup` (pid {pid})");
        assert_eq!(words, format!("{held}\n  try: wait for its end, or end it: kill -INT {pid}"));
        drop(first);
        let path = workspace.state_dir().join("lab.lock");
        assert!(!path.exists());
        assert!(Lock::take(&workspace, "lab", "teardown").is_ok());
    }
}
