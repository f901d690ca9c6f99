//! This project's own images in a cluster: packed as its nodes want them, and loaded unless they are there.
//!
//! The embedded cluster takes a binary as it was built; any other node wants a static one.

use anyhow::Result;

use crate::archive::Archived;
use crate::cluster::Cluster;
use crate::image;
use crate::lab::Lab;
use crate::problem;
use crate::registry;
use crate::terminal::Step;

/// Packs the image of a package.
pub(crate) fn pack(lab: &Lab<'_>, cluster: &Cluster, step: &Step<'_>, package: &str) -> Result<Archived> {
    let binary = if cluster.needs_static_image() {
        step.update("building a static binary");
        let built = image::build_static(&lab.workspace.root, &lab.workspace.target_dir(), &[package])?;
        built.into_iter().next().ok_or_else(|| problem::build_failed(package))?
    } else {
        lab.workspace.binary(package)
    };
    let packed = image::pack(image::name_of(package), &binary, &lab.workspace.target_dir().join("images"))?;
    Ok(Archived {
        file: packed.archive,
        reference: packed.reference,
        id: packed.config_digest,
        architecture: packed.architecture.to_owned(),
    })
}

/// The same, brought into the cluster: its reference there, and whether something had to be done for that.
pub(crate) fn ensure(
    lab: &Lab<'_>,
    cluster: &Cluster,
    step: &Step<'_>,
    package: &str,
    registry: Option<&str>,
) -> Result<(String, bool)> {
    bring(cluster, step, &pack(lab, cluster, step, package)?, registry)
}

/// Loads an image unless it is there, or pushes it to where the cluster pulls from. A pushed name has the content in its tag,
/// since a node does not pull again what it has under a name.
pub(crate) fn bring(
    cluster: &Cluster,
    step: &Step<'_>,
    image: &Archived,
    registry: Option<&str>,
) -> Result<(String, bool)> {
    if let Some(registry) = registry {
        let pushed = registry::reference_in(registry, &image.reference_by_content());
        step.update(&format!("pushing {pushed}"));
        registry::push(&image.file, &image.reference, &pushed)?;
        return Ok((pushed, true));
    }
    let there = cluster.has_image(image)?;
    if !there {
        step.update(&format!("loading {}", image.reference));
        cluster.load_image(image)?;
    }
    Ok((image.reference.clone(), !there))
}
