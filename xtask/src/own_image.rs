//! This project's own images in a cluster: packed as its nodes want them, and loaded unless they are there.
//!
//! The embedded cluster takes a binary as it was built; any other node wants a static one.

use std::path::PathBuf;

use anyhow::Result;

use crate::cluster::Cluster;
use crate::image;
use crate::lab::Lab;
use crate::problem;
use crate::registry;
use crate::terminal::Step;

/// Packs the image of a package: its archive, and the reference that the archive carries.
pub(crate) fn pack(lab: &Lab<'_>, cluster: &Cluster, step: &Step<'_>, package: &str) -> Result<(PathBuf, String)> {
    let binary = if cluster.needs_static_image() {
        step.update("building a static binary");
        let built = image::build_static(&lab.workspace.root, &lab.workspace.target_dir(), &[package])?;
        built.into_iter().next().ok_or_else(|| problem::build_failed(package))?
    } else {
        lab.workspace.binary(package)
    };
    let packed = image::pack(image::name_of(package), &binary, &lab.workspace.target_dir().join("images"))?;
    Ok((packed.archive, packed.reference))
}

/// The reference of a package's image as the cluster gets it, and whether something had to be done for that.
pub(crate) fn ensure(
    lab: &Lab<'_>,
    cluster: &Cluster,
    step: &Step<'_>,
    package: &str,
    registry: Option<&str>,
) -> Result<(String, bool)> {
    let (archive, reference) = pack(lab, cluster, step, package)?;
    if let Some(registry) = registry {
        let pushed = registry::reference_in(registry, &reference);
        step.update(&format!("pushing {pushed}"));
        registry::push(&archive, &reference, &pushed)?;
        return Ok((pushed, true));
    }
    let there = cluster.has_image(&reference)?;
    if !there {
        step.update(&format!("loading {reference}"));
        cluster.load_image(&archive, &reference)?;
    }
    Ok((reference, !there))
}
