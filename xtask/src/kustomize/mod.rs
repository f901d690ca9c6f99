//! A written subset of Kustomize: the objects that `kubectl kustomize` gives for the folders of `k8s/`.
//!
//! Known: `resources`, `components`, `namespace`, `labels`, `images`, `patches` (strategic merge and JSON 6902),
//! `configMapGenerator`, `generatorOptions`. Anything else is an error that names file and field, never a silent
//! difference. Files in, values out: nothing here knows a cluster. The steps and their order are those of Kustomize 5:
//! resources, generators, components, then patches, namespace, labels, images; hashes and references at the very end.

mod config_map;
mod file;
mod json_patch;
mod order;
mod patch;
mod resource;
mod transform;

#[cfg(test)]
mod chart;
#[cfg(test)]
mod manifests;
#[cfg(test)]
mod observed;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

pub(crate) use self::file::Image;
use self::file::Kustomization;
use self::resource::Resource;

/// The objects of the folder `root` with these components on top, in the order in which to apply them. A folder without
/// a kustomization is a set of manifests as they are, as for `kubectl apply -f`.
///
/// Equal to `kubectl kustomize` on a folder whose kustomization lists `root` as its only resource, `components` and
/// `images`.
pub(crate) fn render(root: &Path, components: &[PathBuf], images: &[Image]) -> Result<Vec<Value>> {
    let mut resources =
        if file::has_kustomization(root) { folder(root, Vec::new(), &mut Vec::new())? } else { manifests_in(root)? };
    for component in components {
        resources = folder(component, resources, &mut Vec::new())?;
    }
    transform::images(&mut resources, images);
    config_map::add_hashes(&mut resources)?;
    order::for_apply(&mut resources);
    Ok(resources.into_iter().map(|resource| resource.value).collect())
}

fn manifests_in(directory: &Path) -> Result<Vec<Resource>> {
    let entries =
        std::fs::read_dir(directory).with_context(|| format!("there is no folder {}", directory.display()))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|kind| kind == "yaml" || kind == "yml" || kind == "json"));
    paths.sort();
    if paths.is_empty() {
        bail!(
            "there is neither a kustomization.yaml nor any other .yaml, .yml or .json file in {}",
            directory.display()
        );
    }
    let mut resources = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        for resource in resource::parse(&path, &text)? {
            resource::push(&mut resources, resource).with_context(|| path.display().to_string())?;
        }
    }
    Ok(resources)
}

/// What one folder makes of the `inherited` resources: nothing but its own for a kustomization, the including folder's
/// for a component. `within` are the folders that include this one.
fn folder(directory: &Path, inherited: Vec<Resource>, within: &mut Vec<PathBuf>) -> Result<Vec<Resource>> {
    let place = directory.canonicalize().with_context(|| format!("there is no folder {}", directory.display()))?;
    if within.contains(&place) {
        bail!("{} includes itself", place.display());
    }
    within.push(place);
    let this = Kustomization::read(directory)?;
    if !this.is_component && !inherited.is_empty() {
        bail!("{} is no component, so it belongs under `resources`", this.path.display());
    }
    let mut resources = inherited;
    for entry in &this.resources {
        for resource in accumulate(directory, entry, within).with_context(|| this.field("resources"))? {
            resource::push(&mut resources, resource).with_context(|| this.field("resources"))?;
        }
    }
    for generated in config_map::generate(&this)? {
        resource::push(&mut resources, generated).with_context(|| this.field("configMapGenerator"))?;
    }
    for component in &this.components {
        let path = directory.join(component);
        if !path.is_dir() {
            bail!("{}: there is no folder {component:?}", this.field("components"));
        }
        resources = folder(&path, resources, within)?;
    }
    patch::apply_all(&this, &mut resources)?;
    if let Some(namespace) = &this.namespace {
        transform::namespace(&mut resources, namespace);
    }
    transform::labels(&mut resources, &this.labels);
    transform::images(&mut resources, &this.images);
    within.pop();
    Ok(resources)
}

fn accumulate(directory: &Path, entry: &str, within: &mut Vec<PathBuf>) -> Result<Vec<Resource>> {
    let path = directory.join(entry);
    if path.is_dir() {
        if Kustomization::read(&path)?.is_component {
            bail!("{entry:?} is a component, so it belongs under `components`");
        }
        return folder(&path, Vec::new(), within);
    }
    let text = file::read_inside(directory, entry)?;
    resource::parse(&path, &text)
}
