//! A kustomization file as it is written, checked field by field.
//!
//! Unknown fields are refused by name. Old spellings that Kustomize still takes (`bases`, `commonLabels`,
//! `patchesStrategicMerge` ...) are outside the subset too; the message then says which field replaces them.

use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Map, Value};

const NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];
/// Old fields of Kustomize and what to write instead.
const REPLACED: [(&str, &str); 7] = [
    ("bases", "resources"),
    ("commonLabels", "labels"),
    ("patchesStrategicMerge", "patches"),
    ("patchesJson6902", "patches"),
    ("imageTags", "images"),
    ("replicas", "patches"),
    ("vars", "patches"),
];

#[derive(Debug)]
pub(super) struct Kustomization {
    /// The file itself, for messages.
    pub(super) path: PathBuf,
    pub(super) directory: PathBuf,
    pub(super) is_component: bool,
    pub(super) resources: Vec<String>,
    pub(super) components: Vec<String>,
    pub(super) namespace: Option<String>,
    pub(super) labels: Vec<Labels>,
    pub(super) images: Vec<Image>,
    pub(super) patches: Vec<Patch>,
    pub(super) config_maps: Vec<ConfigMapArgs>,
    pub(super) generator_options: GeneratorOptions,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Fields {
    api_version: Option<String>,
    kind: Option<String>,
    resources: Vec<String>,
    components: Vec<String>,
    namespace: Option<String>,
    labels: Vec<Labels>,
    images: Vec<Image>,
    patches: Vec<Patch>,
    config_map_generator: Vec<ConfigMapArgs>,
    generator_options: GeneratorOptions,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Labels {
    pub(super) pairs: Map<String, Value>,
    #[serde(default)]
    pub(super) include_selectors: bool,
    #[serde(default)]
    pub(super) include_templates: bool,
}

/// Which image becomes which. `name` is without tag or digest.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Image {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) new_name: Option<String>,
    #[serde(default)]
    pub(crate) new_tag: Option<String>,
    #[serde(default)]
    pub(crate) digest: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Patch {
    pub(super) path: Option<String>,
    pub(super) patch: Option<String>,
    pub(super) target: Option<Target>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Target {
    pub(super) group: Option<String>,
    pub(super) version: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) name: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) label_selector: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ConfigMapArgs {
    pub(super) name: String,
    pub(super) namespace: Option<String>,
    #[serde(default)]
    pub(super) literals: Vec<String>,
    #[serde(default)]
    pub(super) files: Vec<String>,
    #[serde(default)]
    pub(super) envs: Vec<String>,
    #[serde(default)]
    pub(super) options: GeneratorOptions,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct GeneratorOptions {
    pub(super) labels: Map<String, Value>,
    pub(super) annotations: Map<String, Value>,
    pub(super) disable_name_suffix_hash: bool,
    pub(super) immutable: bool,
}

pub(super) fn has_kustomization(directory: &Path) -> bool {
    NAMES.iter().any(|name| directory.join(name).is_file())
}

impl Kustomization {
    pub(super) fn read(directory: &Path) -> Result<Kustomization> {
        let found: Vec<PathBuf> = NAMES.iter().map(|name| directory.join(name)).filter(|path| path.is_file()).collect();
        let path = match &found[..] {
            [path] => path.clone(),
            [] => bail!("there is no kustomization.yaml in {}", directory.display()),
            [first, second, ..] => bail!("both {} and {} are there; keep one", first.display(), second.display()),
        };
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let value: Value =
            serde_yaml::from_str(&text).with_context(|| format!("{} is not valid YAML", path.display()))?;
        Kustomization::from_value(path, directory, value)
    }

    fn from_value(path: PathBuf, directory: &Path, value: Value) -> Result<Kustomization> {
        for (old, new) in REPLACED {
            if value.get(old).is_some() {
                bail!("{}: field `{old}` is outside the supported subset; write `{new}`", path.display());
            }
        }
        let fields = fields(value).with_context(|| format!("{} is not in the supported subset", path.display()))?;
        let is_component = match (fields.kind.as_deref(), fields.api_version.as_deref()) {
            (None | Some("Kustomization"), None | Some("kustomize.config.k8s.io/v1beta1")) => false,
            (Some("Component"), Some("kustomize.config.k8s.io/v1alpha1")) => true,
            _ => bail!(
                "{}: `kind` and `apiVersion` are neither Kustomization, v1beta1 nor Component, v1alpha1",
                path.display()
            ),
        };
        Ok(Kustomization {
            path,
            directory: directory.to_owned(),
            is_component,
            resources: fields.resources,
            components: fields.components,
            namespace: fields.namespace,
            labels: fields.labels,
            images: fields.images,
            patches: fields.patches,
            config_maps: fields.config_map_generator,
            generator_options: fields.generator_options,
        })
    }

    /// How messages name one field of this file.
    pub(super) fn field(&self, name: &str) -> String {
        format!("{}: `{name}`", self.path.display())
    }
}

/// An error names the field at the top that holds the fault; serde's own words name the fault.
fn fields(value: Value) -> Result<Fields> {
    let Value::Object(map) = value else {
        return if value.is_null() { Ok(Fields::default()) } else { bail!("it holds no fields") };
    };
    for (field, value) in &map {
        let alone = Value::Object([(field.clone(), value.clone())].into_iter().collect());
        if let Err(error) = serde_json::from_value::<Fields>(alone) {
            let fault = error.to_string();
            // The list of fields that there are would bury the one that is meant.
            bail!("field `{field}`: {}", fault.split(", expected one of").next().unwrap_or_default());
        }
    }
    Ok(serde_json::from_value(Value::Object(map))?)
}

/// The text of a file that must lie in or below `directory`, as Kustomize demands too: a folder can then be moved or
/// published as a whole.
pub(super) fn read_inside(directory: &Path, entry: &str) -> Result<String> {
    if entry.contains("://") || entry.contains('?') {
        bail!("{entry:?} is remote; only local files and folders are supported");
    }
    let mut depth = 0_i32;
    for component in Path::new(entry).components() {
        match component {
            Component::ParentDir => depth -= 1,
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => depth = i32::MIN / 2,
        }
        if depth < 0 {
            bail!("file {entry:?} lies outside {}", directory.display());
        }
    }
    let path = directory.join(entry);
    std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}
