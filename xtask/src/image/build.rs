//! Static binaries for images that real clusters run.
//!
//! Cargo's `release` profile for an explicit target: without `--target` the static flag would also hit proc-macros,
//! which are libraries of the compiler. musl where the toolchain has it, else glibc's static archive; names are then
//! resolved by the `files` and `dns` modules that glibc has built in since 2.34. Paths of this machine are mapped away:
//! the binary does not tell who built it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use xshell::{Shell, cmd};

use crate::workspace::set_by_cargo;

/// Packages whose binaries become images, with the images' names.
pub(crate) const PACKAGES: [(&str, &str); 3] =
    [("service", "swell-service"), ("loadgen", "swell-loadgen"), ("adapter", "swell-adapter")];

/// Builds packages statically in `root`; the binaries' paths, in the order of `packages`.
pub(crate) fn build_static(root: &Path, target_dir: &Path, packages: &[&str], quiet: bool) -> Result<Vec<PathBuf>> {
    let target = static_target()?;
    let shell = Shell::new()?;
    shell.change_dir(root);
    shell.set_var("CARGO_ENCODED_RUSTFLAGS", rust_flags(root));
    let selected = packages.iter().flat_map(|package| ["-p", package]);
    let quiet: &[&str] = if quiet { &["--quiet"] } else { &[] };
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let build = cmd!(
        shell,
        "{cargo} build {quiet...} --release --locked --target {target} --target-dir {target_dir} {selected...}"
    );
    let build = set_by_cargo().iter().fold(build, |build, name| build.env_remove(name));
    build.quiet().run()?;
    Ok(packages.iter().map(|package| target_dir.join(&target).join("release").join(package)).collect())
}

/// Why no static binary can be linked here, with the package that mends it; nothing when all is well.
pub(crate) fn static_libc_missing() -> Option<String> {
    static_target().err().map(|error| format!("{error:#}"))
}

fn static_target() -> Result<String> {
    let architecture = std::env::consts::ARCH;
    if std::env::consts::OS != "linux" {
        bail!("static binaries for Linux nodes are built on Linux; this is {}", std::env::consts::OS);
    }
    let musl = format!("{architecture}-unknown-linux-musl");
    // ring compiles C, so the target alone is not enough.
    if has_target(&musl) && Command::new("musl-gcc").arg("--version").output().is_ok() {
        return Ok(musl);
    }
    let gnu = format!("{architecture}-unknown-linux-gnu");
    // A compiler that does not know the file answers its bare name.
    let found = Command::new("cc").arg("-print-file-name=libc.a").output().context("there is no C compiler `cc`")?;
    if found.stdout.starts_with(b"/") && has_target(&gnu) {
        return Ok(gnu);
    }
    bail!("there is no static C library: install libc6-dev (Debian, Ubuntu) or glibc-static (Fedora, RHEL)")
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
