//! `nanokube delete`: stop, then remove everything the instance has written.

use std::process::ExitCode;
use std::{fs, io};

use anyhow::{Context, bail};

use super::{say, stop};
use crate::instance::Directory;
use crate::removal::remove_tree;

pub(super) fn run(directory: &Directory) -> anyhow::Result<ExitCode> {
    stop::stop(directory)?;
    let path = directory.path();
    if !path.exists() {
        say(format_args!("nothing to delete at {}", path.display()));
        return Ok(ExitCode::SUCCESS);
    }
    let known = directory.keys().exists() || directory.log().exists() || directory.images().exists();
    let ours = known || fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    if !ours {
        bail!("{} does not look like an instance of nanokube: not deleting it", path.display());
    }
    remove(directory).with_context(|| format!("cannot remove {}", path.display()))?;
    say(format_args!("deleted {}", path.display()));
    Ok(ExitCode::SUCCESS)
}

/// The keys go last: by them an instance is known, so a removal that was interrupted can be taken up again.
fn remove(directory: &Directory) -> io::Result<()> {
    for entry in fs::read_dir(directory.path())? {
        let entry = entry?;
        match entry.path() {
            keys if keys == directory.keys() => {}
            folder if entry.file_type()?.is_dir() => remove_tree(&folder)?,
            file => fs::remove_file(file)?,
        }
    }
    remove_tree(directory.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_removal_leaves_what_an_instance_is_known_by() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = Directory::new(scratch.path().join("lab"));
        for folder in [directory.keys(), directory.images(), directory.pods()] {
            fs::create_dir_all(folder).unwrap();
        }
        fs::write(directory.log(), "").unwrap();
        remove(&directory).unwrap();
        assert!(!directory.path().exists());
        // What is left of one that was interrupted at its last step.
        fs::create_dir_all(directory.keys()).unwrap();
        assert_eq!(run(&directory).unwrap(), ExitCode::SUCCESS);
        assert!(!directory.path().exists());
    }
}
