//! One object on its way through the folders, with every name and namespace it has had.
//!
//! A patch may name an object as it was in the base or as it is by now; both find it, as in Kustomize.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

#[derive(Clone, Debug)]
pub(super) struct Resource {
    pub(super) value: Value,
    /// Earlier names and namespaces, oldest first.
    former: Vec<(String, String)>,
    /// Made by a generator that wants its name to end in a hash of its content.
    pub(super) wants_hash: bool,
}

impl Resource {
    pub(super) fn new(value: Value) -> Resource {
        Resource { value, former: Vec::new(), wants_hash: false }
    }

    pub(super) fn kind(&self) -> &str {
        self.value["kind"].as_str().unwrap_or_default()
    }

    /// Group and version; the core group is "".
    pub(super) fn group_version(&self) -> (&str, &str) {
        let api_version = self.value["apiVersion"].as_str().unwrap_or_default();
        api_version.split_once('/').unwrap_or(("", api_version))
    }

    pub(super) fn name(&self) -> &str {
        self.value["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// "" when the object names none.
    pub(super) fn namespace(&self) -> &str {
        self.value["metadata"]["namespace"].as_str().unwrap_or_default()
    }

    /// To be called before a name or namespace changes.
    pub(super) fn remember_identity(&mut self) {
        self.former.push((self.name().to_owned(), self.namespace().to_owned()));
    }

    /// Whether this object has, or once had, the identity of `other` (a patch, or a reference made into one).
    pub(super) fn answers_to(&self, name: &str, namespace: &str) -> bool {
        let now = (self.name(), self.namespace());
        now == (name, namespace) || self.former.iter().any(|was| (was.0.as_str(), was.1.as_str()) == (name, namespace))
    }

    pub(super) fn had_name(&self, name: &str) -> bool {
        self.name() == name || self.former.iter().any(|was| was.0 == name)
    }

    pub(super) fn had_namespace(&self, namespace: &str) -> bool {
        self.namespace() == namespace || self.former.iter().any(|was| was.1 == namespace)
    }

    /// How messages name it.
    pub(super) fn display(&self) -> String {
        match self.namespace() {
            "" => format!("{} {}", self.kind(), self.name()),
            namespace => format!("{} {namespace}/{}", self.kind(), self.name()),
        }
    }
}

/// The documents of one file. Empty documents are skipped.
pub(super) fn parse(path: &Path, text: &str) -> Result<Vec<Resource>> {
    let mut resources = Vec::new();
    for value in documents(text).with_context(|| format!("{} is not valid YAML", path.display()))? {
        let resource = Resource::new(value);
        for field in ["apiVersion", "kind"] {
            if !resource.value[field].is_string() {
                bail!("{}: an object has no `{field}`", path.display());
            }
        }
        if resource.kind() == "List" {
            bail!("{}: `kind: List` is outside the supported subset; write its items as documents", path.display());
        }
        if resource.name().is_empty() {
            bail!("{}: a {} has no `metadata.name`", path.display(), resource.kind());
        }
        resources.push(resource);
    }
    Ok(resources)
}

pub(super) fn documents(text: &str) -> Result<Vec<Value>> {
    let mut values = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        let value = Value::deserialize(document)?;
        if !value.is_null() {
            values.push(value);
        }
    }
    Ok(values)
}

/// Adds one that must not be there yet.
pub(super) fn push(resources: &mut Vec<Resource>, new: Resource) -> Result<()> {
    let is_same = |old: &Resource| {
        (old.kind(), old.group_version().0, old.name(), old.namespace())
            == (new.kind(), new.group_version().0, new.name(), new.namespace())
    };
    if resources.iter().any(is_same) {
        bail!("{} is there twice", new.display());
    }
    resources.push(new);
    Ok(())
}
