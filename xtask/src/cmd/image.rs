//! `image`: the container images of the lab, as archives to load anywhere.
//!
//! Static binaries by default, since that is what a stranger's node surely runs. `--dynamic` packs what is built for
//! this machine anyway, with the libraries it loads: no second build, and no static C library needed.

use std::path::PathBuf;

use anyhow::Result;

use crate::cli::ImageArgs;
use crate::image::{self, PackedImage};
use crate::lab::Lab;
use crate::registry;

pub(crate) fn run(lab: &Lab<'_>, args: &ImageArgs) -> Result<u8> {
    let target_dir = lab.workspace.target_dir();
    let directory = args.output.clone().unwrap_or_else(|| target_dir.join("images"));
    let step = lab.terminal.step("build");
    let packages = image::PACKAGES.map(|(package, _)| package);
    let binaries: Vec<PathBuf> = if args.dynamic {
        lab.workspace.build_binaries(lab.terminal, &packages)?;
        packages.iter().map(|package| lab.workspace.binary(package)).collect()
    } else {
        step.update("static binaries, profile release");
        image::build_static(&lab.workspace.root, &target_dir, &packages)?
    };
    step.done(if args.dynamic { "dynamic, with their libraries" } else { "static" });
    for ((_, name), binary) in image::PACKAGES.iter().zip(&binaries) {
        let packed = image::pack(name, binary, &directory)?;
        lab.terminal.line(&line(&packed));
        if let Some(registry) = &args.push {
            let step = lab.terminal.step("push");
            let reference = registry::reference_in(registry, &packed.reference);
            step.update(&reference);
            let tool = registry::push(&packed.archive, &packed.reference, &reference)?;
            step.done(&format!("{reference} with {tool}"));
        }
    }
    Ok(0)
}

fn line(packed: &PackedImage) -> String {
    let megabytes = packed.size_bytes as f64 / 1e6;
    format!("{}  linux/{}  {megabytes:.1} MB  {}", packed.reference, packed.architecture, packed.archive.display())
}
