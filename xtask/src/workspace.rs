//! Where things are: the clone, its target directory, and the binaries that the lab spawns.
//!
//! xtask finds the target directory and the profile from its own path, so that what it builds lands beside it and
//! nothing is compiled twice. Knows no cluster and no session.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use crate::problem;
use crate::terminal::Terminal;

/// The binaries that xtask spawns, built by one call. Chosen by `--bin` from the whole workspace, so that features are
/// resolved as they were for xtask itself and nothing is compiled twice.
const SPAWNED: [&str; 3] = ["nanokube", "service", "loadgen"];

#[derive(Clone, Debug)]
pub(crate) struct Workspace {
    pub root: PathBuf,
    /// `<target>/<profile>`, the directory that this very executable lies in.
    bin_dir: PathBuf,
}

impl Workspace {
    /// The workspace around the current directory; else the one that this executable was built from.
    pub(crate) fn locate() -> Result<Workspace> {
        let here = std::env::current_dir().context("the current directory is gone")?;
        let built_from = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root =
            find_root(&here).or_else(|| find_root(built_from)).ok_or_else(|| problem::not_in_workspace(&here))?;
        let exe = std::env::current_exe().context("the path of this executable is unknown")?;
        let bin_dir = exe.parent().unwrap_or(Path::new(".")).to_path_buf();
        // A test binary lies one level deeper, in `deps`.
        let bin_dir = match bin_dir.parent() {
            Some(above) if bin_dir.ends_with("deps") => above.to_path_buf(),
            _ => bin_dir,
        };
        Ok(Workspace { root, bin_dir })
    }

    /// A workspace at `root`, for tests.
    #[cfg(test)]
    pub(crate) fn at(root: &Path) -> Workspace {
        Workspace { root: root.to_path_buf(), bin_dir: root.join("target/debug") }
    }

    pub(crate) fn binary(&self, name: &str) -> PathBuf {
        self.bin_dir.join(name)
    }

    pub(crate) fn target_dir(&self) -> PathBuf {
        self.bin_dir.parent().unwrap_or(&self.bin_dir).to_path_buf()
    }

    pub(crate) fn overlay(&self, environment: &str) -> PathBuf {
        self.root.join("k8s/overlays").join(environment)
    }

    /// The environments that have an overlay, in alphabetical order.
    pub(crate) fn environments(&self) -> Vec<String> {
        names_in(&self.root.join("k8s/overlays"), |path| path.join("kustomization.yaml").is_file())
    }

    pub(crate) fn scenario_dir(&self) -> PathBuf {
        self.root.join("scenarios")
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.root.join(".swell")
    }

    /// Builds the binaries that the lab spawns; says whether anything had to be built.
    pub(crate) fn build(&self, terminal: &Terminal) -> Result<bool> {
        self.build_binaries(terminal, &SPAWNED)
    }

    /// Builds binaries of the workspace by name. Cargo itself looks first.
    pub(crate) fn build_binaries(&self, terminal: &Terminal, names: &[&str]) -> Result<bool> {
        let before = self.built(names);
        let target_dir = self.target_dir();
        let release: &[&str] = if self.bin_dir.ends_with("release") { &["--release"] } else { &[] };
        let bins: Vec<&str> = names.iter().flat_map(|name| ["--bin", *name]).collect();
        let quiet: &[&str] = if terminal.is_interactive() { &[] } else { &["--quiet"] };
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let shell = Shell::new()?;
        shell.change_dir(&self.root);
        let build = cmd!(shell, "{cargo} build {quiet...} {release...} --locked --target-dir {target_dir} {bins...}");
        let build = set_by_cargo().iter().fold(build, |build, name| build.env_remove(name));
        build.quiet().run().with_context(|| problem::build_failed(&names.join(", ")))?;
        Ok(self.built(names) != before)
    }

    fn built(&self, names: &[&str]) -> Vec<Option<std::time::SystemTime>> {
        names.iter().map(|name| self.binary(name).metadata().ok()?.modified().ok()).collect()
    }
}

/// What cargo sets for the programs that it runs, and thus for this one. A cargo started from here must not inherit it:
/// build scripts that look at one of these (ring's does) would count as changed, and all that depends on them is compiled
/// again.
pub(crate) fn set_by_cargo() -> Vec<String> {
    let starts =
        ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_", "CARGO_TARGET_TMPDIR"];
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    names.filter(|name| starts.iter().any(|start| name.starts_with(start))).collect()
}

/// Writes a file in one step: a reader sees the old content or the new, never half of it.
pub(crate) fn replace(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    std::fs::write(&fresh, content)?;
    std::fs::rename(&fresh, path)
}

/// File stems or whole directory names under `dir` that `keep`, sorted; empty when there is no such directory.
pub(crate) fn names_in(dir: &Path, keep: impl Fn(&Path) -> bool) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| keep(path))
        .filter_map(|path| {
            let name = if path.is_dir() { path.file_name() } else { path.file_stem() };
            Some(name?.to_str()?.to_owned())
        })
        .collect();
    names.sort();
    names
}

fn find_root(from: &Path) -> Option<PathBuf> {
    from.ancestors()
        .find(|dir| dir.join("xtask/Cargo.toml").is_file() && dir.join("k8s").is_dir())
        .map(Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_found_from_any_folder_below_it() {
        let manifest_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert_eq!(find_root(&manifest_dir.join("src/cmd")).as_deref(), manifest_dir.parent());
        assert_eq!(find_root(Path::new("/")), None);
    }
}
