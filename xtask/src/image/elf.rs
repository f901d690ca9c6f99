//! What an image must know of a Linux binary: its architecture, and the libraries that it loads.
//!
//! Only the ELF header and the program headers are read; the libraries are asked of the binary's own loader, which
//! resolves them as it will at run time.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

const MAGIC: &[u8] = b"\x7fELF\x02\x01";
const PROGRAM_INTERPRETER: u32 = 3;

pub(super) struct Elf {
    pub(super) architecture: &'static str,
    /// The loader of a dynamic binary.
    pub(super) interpreter: Option<String>,
}

/// A shared library or the loader, with the absolute path that the binary looks for it at.
pub(super) struct Library {
    pub(super) path: String,
    pub(super) bytes: Vec<u8>,
}

impl Elf {
    pub(super) fn parse(bytes: &[u8]) -> Result<Elf> {
        if !bytes.starts_with(MAGIC) {
            bail!("it is no 64-bit little-endian ELF binary: an image for Linux nodes is built on Linux");
        }
        let architecture = match number(bytes, 18, 2)? {
            0x3e => "amd64",
            0xb7 => "arm64",
            machine => bail!("it is for the ELF machine {machine}, and images are made for amd64 and arm64"),
        };
        let table = number(bytes, 32, 8)?;
        let entry_size = number(bytes, 54, 2)?;
        let count = number(bytes, 56, 2)?;
        let mut interpreter = None;
        for index in 0..count {
            let entry = table.saturating_add(index * entry_size);
            if number(bytes, entry, 4)? as u32 == PROGRAM_INTERPRETER {
                let start = number(bytes, entry.saturating_add(8), 8)?;
                let size = number(bytes, entry.saturating_add(32), 8)?;
                let path = slice(bytes, start, size)?.split(|byte| *byte == 0).next().unwrap_or_default();
                interpreter = Some(String::from_utf8(path.to_vec()).context("its loader's path is no text")?);
            }
        }
        Ok(Elf { architecture, interpreter })
    }

    /// Loader and libraries of the binary at `path`; none for a static one.
    pub(super) fn libraries(&self, path: &Path) -> Result<Vec<Library>> {
        let Some(interpreter) = &self.interpreter else { return Ok(Vec::new()) };
        let output =
            Command::new(interpreter).arg("--list").arg(path).output().with_context(|| {
                format!("cannot ask the loader {interpreter} for the libraries of {}", path.display())
            })?;
        if !output.status.success() {
            let reason = String::from_utf8_lossy(&output.stderr);
            bail!("the loader {interpreter} cannot load {}: {}", path.display(), reason.trim());
        }
        let listed = listed_paths(&String::from_utf8_lossy(&output.stdout));
        let paths = listed.into_iter().filter(|listed| listed != interpreter).chain([interpreter.clone()]);
        paths
            .map(|path| {
                let bytes = std::fs::read(&path).with_context(|| format!("cannot read the library {path}"))?;
                Ok(Library { path, bytes })
            })
            .collect()
    }
}

/// The absolute paths in lines such as `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f...)`.
fn listed_paths(text: &str) -> Vec<String> {
    let path_of = |line: &str| {
        let path = line.split_once("=>").map_or(line, |(_, path)| path).trim();
        let path = path.rsplit_once(" (").map_or(path, |(path, _)| path);
        path.starts_with('/').then(|| path.to_owned())
    };
    text.lines().filter_map(path_of).collect()
}

fn number(bytes: &[u8], at: u64, size: u64) -> Result<u64> {
    Ok(slice(bytes, at, size)?.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

fn slice(bytes: &[u8], at: u64, size: u64) -> Result<&[u8]> {
    let range = usize::try_from(at)?..usize::try_from(at.saturating_add(size))?;
    bytes.get(range).context("the ELF binary is cut off")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paths_of_a_loaders_list_are_found() {
        let listed = listed_paths(
            "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibgcc_s.so.1 => /lib/x86_64-linux-gnu/libgcc_s.so.1 (0x00007f1)\n\
             \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f2)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f3)\n",
        );
        assert_eq!(
            listed,
            ["/lib/x86_64-linux-gnu/libgcc_s.so.1", "/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]
        );
    }

    #[test]
    fn what_is_no_binary_for_linux_is_refused_and_never_panics() {
        for bytes in [&b""[..], b"#!/bin/sh\n", MAGIC, b"\xcf\xfa\xed\xfe", &[MAGIC, &[0xff; 60]].concat()] {
            assert!(Elf::parse(bytes).is_err(), "{bytes:?}");
        }
        let own = std::fs::read(std::env::current_exe().expect("this test")).expect("its bytes");
        for cut in [7, 20, 40, 63, 64, 100, 300] {
            let _ = Elf::parse(&own[..cut]);
        }
    }
}
