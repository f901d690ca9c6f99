//! Static binaries for images that real clusters run.
//!
//! Cargo's profile `image` for an explicit target: without `--target` the static flag would also hit proc-macros,
//! which are libraries of the compiler. musl where the toolchain has it, else glibc's static archive; names are then
//! resolved by the `files` and `dns` modules that glibc has built in since 2.34. Paths of this machine are mapped away:
//! the binary does not tell who built it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use crate::problem;
use crate::workspace::set_by_cargo;

/// Packages whose binaries become images, with the images' names.
pub(crate) const PACKAGES: [(&str, &str); 3] =
    [("service", "swell-service"), ("loadgen", "swell-loadgen"), ("adapter", "swell-adapter")];

/// The name of a package's image.
pub(crate) fn name_of(package: &str) -> &str {
    PACKAGES.iter().find(|(known, _)| *known == package).map_or(package, |(_, name)| name)
}

/// Builds these packages statically in `root`; the binaries' paths, in the same order.
pub(crate) fn build_static(root: &Path, target_dir: &Path, packages: &[&str]) -> Result<Vec<PathBuf>> {
    let target = static_target().map_err(|missing| problem::no_static_libc(&missing.why, &missing.install))?;
    let shell = Shell::new()?;
    shell.change_dir(root);
    shell.set_var("CARGO_ENCODED_RUSTFLAGS", rust_flags(root));
    let selected: Vec<&str> = packages.iter().flat_map(|package| ["-p", *package]).collect();
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let build = cmd!(
        shell,
        "{cargo} build --quiet --profile image --locked --target {target} --target-dir {target_dir} {selected...}"
    );
    let build = set_by_cargo().iter().fold(build, |build, name| build.env_remove(name));
    build.quiet().run().with_context(|| problem::build_failed(&packages.join(", ")))?;
    Ok(packages.iter().map(|package| target_dir.join(&target).join("image").join(package)).collect())
}

/// Why no static binary can be linked here, and the command that mends it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct StaticLibcMissing {
    pub(crate) why: String,
    pub(crate) install: String,
}

/// Nothing when all is well.
pub(crate) fn static_libc_missing() -> Option<StaticLibcMissing> {
    static_target().err()
}

fn static_target() -> Result<String, StaticLibcMissing> {
    let architecture = std::env::consts::ARCH;
    let missing = |why: &str, install: &str| StaticLibcMissing { why: why.to_owned(), install: install.to_owned() };
    if std::env::consts::OS != "linux" {
        let why = "static binaries for Linux nodes are built on Linux";
        return Err(missing(why, "docker build -t localhost/swell-service:dev .   (or run this on Linux)"));
    }
    let musl = format!("{architecture}-unknown-linux-musl");
    // ring compiles C, so the target alone is not enough.
    if has_target(&musl) && Command::new("musl-gcc").arg("--version").output().is_ok() {
        return Ok(musl);
    }
    let gnu = format!("{architecture}-unknown-linux-gnu");
    let os_release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let install = install_command(&os_release);
    // A compiler that does not know the file answers its bare name.
    let found = Command::new("cc").arg("-print-file-name=libc.a").output();
    match found {
        Err(_) => Err(missing("there is no C compiler `cc`", install)),
        Ok(found) if found.stdout.starts_with(b"/") && has_target(&gnu) => Ok(gnu),
        Ok(_) => Err(missing("there is no static C library (libc.a)", install)),
    }
}

/// Each distribution calls the package with libc.a otherwise.
fn install_command(os_release: &str) -> &'static str {
    let value = |key: &str| os_release.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    let ids = format!("{} {}", value("ID="), value("ID_LIKE=")).replace('"', "");
    let commands = [
        (&["debian", "ubuntu"][..], "sudo apt-get install gcc libc6-dev"),
        (&["fedora", "rhel", "centos"], "sudo dnf install gcc glibc-static"),
        (&["suse", "opensuse"], "sudo zypper install gcc glibc-devel-static"),
        (&["arch"], "sudo pacman -S gcc glibc"),
        (&["alpine"], "sudo apk add gcc musl-dev"),
    ];
    let known = commands.iter().find(|(names, _)| ids.split_whitespace().any(|id| names.contains(&id)));
    known.map_or("rustup target add x86_64-unknown-linux-musl   (and install musl-gcc)", |(_, command)| command)
}

fn has_target(target: &str) -> bool {
    let libraries = Command::new("rustc").args(["--print", "target-libdir", "--target", target]).output();
    libraries.is_ok_and(|output| Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
}

fn rust_flags(root: &Path) -> String {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let cargo_home = std::env::var_os("CARGO_HOME").map_or_else(|| home.join(".cargo"), PathBuf::from);
    let flags = [
        "-Ctarget-feature=+crt-static".to_owned(),
        "-Cstrip=symbols".to_owned(),
        format!("--remap-path-prefix={}=/cargo", cargo_home.display()),
        format!("--remap-path-prefix={}=/swell", root.display()),
    ];
    // Cargo's own separator, which no path contains.
    flags.join("\x1f")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_with_the_static_library_is_named_as_the_distribution_names_it() {
        let cases = [
            ("ID=debian\n", "libc6-dev"),
            ("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", "libc6-dev"),
            ("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", "glibc-static"),
            ("ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\n", "glibc-devel-static"),
            ("ID=arch\n", "pacman"),
            ("", "musl"),
        ];
        for (os_release, word) in cases {
            let command = install_command(os_release);
            assert!(command.contains(word), "{os_release}: {command}");
        }
    }
}
