//! `image`: the container images of the lab, as archives to load anywhere.
//!
//! Static binaries by default, since that is what a stranger's node surely runs. `--dynamic` packs what is built for
//! this machine anyway, with the libraries it loads: no second build, and no static C library needed.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::cli::ImageArgs;
use crate::image::{self, PackedImage};
use crate::lab::Lab;
use crate::registry;

pub(crate) fn run(lab: &Lab<'_>, args: &ImageArgs) -> Result<u8> {
    let directory = args.output.clone().unwrap_or_else(|| lab.workspace.target_dir().join("images"));
    for (_, packed) in pack(lab, args.dynamic, &directory)? {
        if let Some(registry) = &args.push {
            push(lab, &packed, &registry::reference_in(registry, &packed.reference))?;
        }
    }
    Ok(0)
}

/// Builds and packs every image; each with the name of its package.
pub(super) fn pack(lab: &Lab<'_>, dynamic: bool, directory: &Path) -> Result<Vec<(&'static str, PackedImage)>> {
    let step = lab.terminal.step("build");
    let packages = image::PACKAGES.map(|(package, _)| package);
    let binaries: Vec<PathBuf> = if dynamic {
        lab.workspace.build_binaries(lab.terminal, &packages)?;
        packages.iter().map(|package| lab.workspace.binary(package)).collect()
    } else {
        step.update("static binaries, profile release");
        image::build_static(&lab.workspace.root, &lab.workspace.target_dir(), &packages)?
    };
    step.done(if dynamic { "dynamic, with their libraries" } else { "static" });
    let mut all = Vec::new();
    for ((package, name), binary) in image::PACKAGES.iter().zip(&binaries) {
        let packed = image::pack(name, binary, directory)?;
        lab.terminal.line(&line(&packed));
        all.push((*package, packed));
    }
    Ok(all)
}

/// The tool that did it.
pub(super) fn push(lab: &Lab<'_>, packed: &PackedImage, reference: &str) -> Result<&'static str> {
    let step = lab.terminal.step("push");
    step.update(reference);
    let tool = registry::push(&packed.archive, &packed.reference, reference)?;
    step.done(&format!("{reference} with {tool}"));
    Ok(tool)
}

fn line(packed: &PackedImage) -> String {
    let megabytes = packed.size_bytes as f64 / 1e6;
    format!("{}  linux/{}  {megabytes:.1} MB  {}", packed.reference, packed.architecture, packed.archive.display())
}
