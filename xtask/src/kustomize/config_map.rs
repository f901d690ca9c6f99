//! ConfigMaps from literals, files and env files; their names end in a hash of the content.
//!
//! So a changed value is a changed name, a changed name is a changed pod template, and the roll-out happens by itself.
//! The hash is Kustomize's, so that both tools give one object the same name.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::file::{ConfigMapArgs, GeneratorOptions, Kustomization, read_inside};
use super::resource::Resource;

pub(super) fn generate(this: &Kustomization) -> Result<Vec<Resource>> {
    this.config_maps
        .iter()
        .map(|args| {
            config_map(this, args).with_context(|| format!("{} {}", this.field("configMapGenerator"), args.name))
        })
        .collect()
}

fn config_map(this: &Kustomization, args: &ConfigMapArgs) -> Result<Resource> {
    let mut value = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": args.name } });
    if let Some(namespace) = &args.namespace {
        value["metadata"]["namespace"] = json!(namespace);
    }
    let data = data(&this.directory, args)?;
    if !data.is_empty() {
        value["data"] = Value::Object(data);
    }
    let options = [&this.generator_options, &args.options];
    for (field, of) in [
        ("labels", (|o| &o.labels) as fn(&GeneratorOptions) -> &Map<String, Value>),
        ("annotations", |o| &o.annotations),
    ] {
        let merged: Map<String, Value> = options.iter().flat_map(|options| of(options).clone()).collect();
        if !merged.is_empty() {
            value["metadata"][field] = Value::Object(merged);
        }
    }
    if options.iter().any(|options| options.immutable) {
        value["immutable"] = json!(true);
    }
    let mut resource = Resource::new(value);
    resource.wants_hash = !options.iter().any(|options| options.disable_name_suffix_hash);
    Ok(resource)
}

fn data(directory: &Path, args: &ConfigMapArgs) -> Result<Map<String, Value>> {
    let mut data = Map::new();
    let mut insert = |key: &str, value: String| match data.insert(key.to_owned(), Value::String(value)) {
        None => Ok(()),
        Some(_) => bail!("the key {key:?} is there twice"),
    };
    for entry in &args.envs {
        let text = read_inside(directory, entry)?;
        for line in text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (key, value) = line.split_once('=').with_context(|| format!("{entry}: {line:?} has no `=`"))?;
            insert(key, value.to_owned())?;
        }
    }
    for entry in &args.literals {
        let (key, value) = entry.split_once('=').with_context(|| format!("literal {entry:?} has no `=`"))?;
        insert(key, unquoted(value).to_owned())?;
    }
    for entry in &args.files {
        let (key, path) = match entry.split_once('=') {
            Some((key, path)) => (key, path),
            None => (entry.rsplit('/').next().unwrap_or(entry), entry.as_str()),
        };
        insert(key, read_inside(directory, path)?)?;
    }
    Ok(data)
}

/// Kustomize takes one pair of quotes around a literal's value off.
fn unquoted(value: &str) -> &str {
    let inner = |quote| value.strip_prefix(quote).and_then(|rest: &str| rest.strip_suffix(quote));
    inner('"').or_else(|| inner('\'')).unwrap_or(value)
}

/// Renames generated ConfigMaps and follows the references to them.
pub(super) fn add_hashes(resources: &mut [Resource]) -> Result<()> {
    let mut renamed = Vec::new();
    for resource in resources.iter_mut().filter(|resource| resource.wants_hash) {
        let old = resource.name().to_owned();
        let new = format!("{old}-{}", hash(&resource.value)?);
        resource.remember_identity();
        resource.value["metadata"]["name"] = json!(new);
        renamed.push((old, resource.namespace().to_owned(), new));
    }
    for resource in resources.iter_mut() {
        let namespace = resource.namespace().to_owned();
        for (old, _, new) in renamed.iter().filter(|(_, of, _)| *of == namespace) {
            follow(&mut resource.value, old, new);
        }
    }
    Ok(())
}

/// A pod names a ConfigMap in `configMapRef`, `configMapKeyRef` or a volume's `configMap`.
fn follow(value: &mut Value, old: &str, new: &str) {
    match value {
        Value::Object(map) => {
            for (field, value) in map {
                let is_reference = matches!(field.as_str(), "configMapRef" | "configMapKeyRef" | "configMap");
                if is_reference && value["name"] == old {
                    value["name"] = json!(new);
                }
                follow(value, old, new);
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|value| follow(value, old, new)),
        _ => {}
    }
}

/// The first ten hex digits of the SHA-256 of kind and data, with the digits that could spell words replaced. The name
/// counts as empty there, as it does in Kustomize.
fn hash(config_map: &Value) -> Result<String> {
    let data = config_map.get("data").cloned().unwrap_or_else(|| json!(""));
    let identity = json!({ "kind": "ConfigMap", "name": "", "data": data });
    // Go's encoder, which the hash is defined by, escapes these three wherever they stand.
    let text =
        serde_json::to_string(&identity)?.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e");
    let digest: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
    let replaced = digest.chars().take(10).map(|digit| match digit {
        '0' => 'g',
        '1' => 'h',
        '3' => 'k',
        'a' => 'm',
        'e' => 't',
        other => other,
    });
    Ok(replaced.collect())
}
