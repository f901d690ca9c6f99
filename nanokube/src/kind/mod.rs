//! Kinds are values: a kind is its group, versions, names, scope, verbs and subresources; nothing else in the crate
//! enumerates them.
//!
//! One storage per kind whatever the version: its resource string ("pods", "deployments.apps") addresses it. The first
//! entry of `served` is the storage version; other entries are views that are converted at the edge. Custom resources
//! become entries of the same table when their CustomResourceDefinition is established.

use std::collections::BTreeMap;
use std::sync::Arc;

pub mod convert;
pub mod fields;
mod table;

pub use table::BUILT_IN;

/// A group and one of its versions.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupVersion {
    pub group: String,
    pub version: String,
}

impl GroupVersion {
    pub fn new(group: &str, version: &str) -> GroupVersion {
        GroupVersion { group: group.to_string(), version: version.to_string() }
    }

    /// From "v1" or "apps/v1".
    pub fn parse(api_version: &str) -> GroupVersion {
        match api_version.split_once('/') {
            Some((group, version)) => GroupVersion::new(group, version),
            None => GroupVersion::new("", api_version),
        }
    }
}

impl std::fmt::Display for GroupVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.group.is_empty() { f.write_str(&self.version) } else { write!(f, "{}/{}", self.group, self.version) }
    }
}

/// What the API does differently for a kind; all false is the plain case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Habits {
    /// `metadata.generation` starts at 1 and counts changes of the specification.
    pub generation: bool,
    /// PUT of a missing object creates it.
    pub create_on_put: bool,
    /// DELETE answers the object instead of a Status.
    pub returns_deleted: bool,
    /// The API answers, but nothing is kept (reviews).
    pub transient: bool,
}

/// A subresource as discovery lists it. An empty group and version mean those of the parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subresource {
    pub name: &'static str,
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub verbs: &'static [&'static str],
}

/// One kind of object.
#[derive(Clone, Debug)]
pub struct Kind {
    /// The storage name: plural, or plural.group.
    pub resource: String,
    pub plural: String,
    pub singular: String,
    pub kind: String,
    pub list_kind: String,
    pub namespaced: bool,
    /// Preference order; the first is the storage version.
    pub served: Vec<GroupVersion>,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
    pub verbs: Vec<&'static str>,
    pub subresources: Vec<Subresource>,
    pub habits: Habits,
    /// The CustomResourceDefinition that this kind comes from; None for built-in kinds.
    pub definition: Option<crate::object::Object>,
}

impl Kind {
    /// The version objects are stored in.
    pub fn storage_version(&self) -> &GroupVersion {
        &self.served[0]
    }

    pub fn group(&self) -> &str {
        &self.served[0].group
    }

    pub fn has_subresource(&self, name: &str) -> bool {
        self.subresources.iter().any(|subresource| subresource.name == name)
    }

    pub fn is_custom(&self) -> bool {
        self.definition.is_some()
    }
}

/// All kinds that are served now.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    by_resource: BTreeMap<String, Arc<Kind>>,
    /// (group, version, plural) of every served view.
    by_path: BTreeMap<(String, String, String), Arc<Kind>>,
    order: Vec<String>,
}

impl Registry {
    /// The kinds that are always there.
    pub fn built_in() -> Registry {
        let mut registry = Registry::default();
        for row in table::BUILT_IN {
            registry.insert(row.to_kind());
        }
        registry
    }

    /// Adds or replaces a kind.
    pub fn insert(&mut self, kind: Kind) {
        let kind = Arc::new(kind);
        self.remove(&kind.resource);
        for served in &kind.served {
            let path = (served.group.clone(), served.version.clone(), kind.plural.clone());
            self.by_path.insert(path, kind.clone());
        }
        self.order.push(kind.resource.clone());
        self.by_resource.insert(kind.resource.clone(), kind);
    }

    pub fn remove(&mut self, resource: &str) -> Option<Arc<Kind>> {
        let kind = self.by_resource.remove(resource)?;
        self.by_path.retain(|_, served| served.resource != resource);
        self.order.retain(|name| name != resource);
        Some(kind)
    }

    /// The kind stored under a resource string such as "deployments.apps".
    pub fn resource(&self, resource: &str) -> Option<&Arc<Kind>> {
        self.by_resource.get(resource)
    }

    /// The kind served at a path.
    pub fn path(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Kind>> {
        self.by_path.get(&(group.to_string(), version.to_string(), plural.to_string()))
    }

    /// The kind that objects with this apiVersion and kind are of.
    pub fn of_object(&self, api_version: &str, kind: &str) -> Option<&Arc<Kind>> {
        let wanted = GroupVersion::parse(api_version);
        self.kinds().find(|entry| entry.kind == kind && entry.served.contains(&wanted))
    }

    /// All kinds in table order, custom ones last.
    pub fn kinds(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.order.iter().filter_map(|resource| self.by_resource.get(resource))
    }
}
