//! CustomResourceDefinitions become kinds: as soon as one is stored its resources are served, until it is removed.
//!
//! The conditions NamesAccepted and Established follow in a write of their own, as the real server's controllers make it.
//! A definition that is deleted stays, marked, until a controller has seen off its objects.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Cluster, Part, Writer};
use crate::kind::{GroupVersion, Habits, Kind, Registry, Subresource};
use crate::object::{self, Object};
use crate::store::Writing;

pub(crate) const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";
/// Holds a definition that is being deleted until its objects are gone.
pub(crate) const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";
/// In the order in which the real server lists them for custom resources.
const ALL: [&str; 8] = ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];
const GET_PATCH_UPDATE: &[&str] = &["get", "patch", "update"];

/// The kind that a definition declares; None while it serves no version.
pub(crate) fn kind_of(definition: &Object) -> Option<Kind> {
    let names = &definition["spec"]["names"];
    let group = object::str_at(definition, "/spec/group");
    let plural = object::str_at(names, "/plural");
    let versions = object::array_at(definition, "/spec/versions");
    let stored = versions.iter().filter(|version| object::bool_at(version, "/storage"));
    let others = versions.iter().filter(|version| !object::bool_at(version, "/storage"));
    let served: Vec<GroupVersion> = stored
        .chain(others)
        .filter(|version| object::bool_at(version, "/served") || object::bool_at(version, "/storage"))
        .map(|version| GroupVersion::new(group, object::str_at(version, "/name")))
        .collect();
    if served.is_empty() || plural.is_empty() {
        return None;
    }
    let texts = |list: &str| -> Vec<String> {
        object::array_at(names, list).iter().filter_map(Value::as_str).map(str::to_string).collect()
    };
    let singular = match object::str_at(names, "/singular") {
        "" => object::str_at(names, "/kind").to_lowercase(),
        singular => singular.to_string(),
    };
    Some(Kind {
        resource: format!("{plural}.{group}"),
        plural: plural.to_string(),
        singular,
        kind: object::str_at(names, "/kind").to_string(),
        list_kind: object::str_at(names, "/listKind").to_string(),
        namespaced: object::str_at(definition, "/spec/scope") == "Namespaced",
        served,
        short_names: texts("/shortNames"),
        categories: texts("/categories"),
        verbs: ALL.to_vec(),
        subresources: subresources(versions),
        habits: Habits { generation: true, ..Habits::default() },
        definition: Some(definition.clone()),
    })
}

/// Subresources of any version; a version without one has an empty part there.
fn subresources(versions: &[Value]) -> Vec<Subresource> {
    let has = |name: &str| versions.iter().any(|version| version["subresources"][name].is_object());
    let mut subresources = Vec::new();
    if has("scale") {
        subresources.push(Subresource {
            name: "scale",
            group: "autoscaling",
            version: "v1",
            kind: "Scale",
            verbs: GET_PATCH_UPDATE,
        });
    }
    if has("status") {
        // An empty kind stands for the parent's.
        subresources.push(Subresource { name: "status", group: "", version: "", kind: "", verbs: GET_PATCH_UPDATE });
    }
    subresources
}

impl Cluster {
    /// Brings the registry up to what is stored; once at the start.
    pub fn serve_definitions(&self) {
        for definition in self.list(DEFINITIONS, None).items {
            self.serve(&definition);
        }
    }

    fn serve(&self, definition: &Object) {
        if let Some(kind) = kind_of(definition) {
            self.edit_kinds(|kinds: &mut Registry| kinds.insert(kind));
        }
    }

    /// After a definition was stored: serves it and says so in its status.
    pub(super) fn definition_stored(&self, writing: &mut Writing<'_>, definition: &Object) {
        self.serve(definition);
        let accepted = accepted(definition, self.now());
        if object::is_deleting(definition) || accepted == **definition {
            return;
        }
        let mut accepted = accepted;
        let writer = Writer { version: None, ..Writer::controller("kube-apiserver") };
        let kinds = self.kinds();
        if let Some(kind) = kinds.resource(DEFINITIONS) {
            let write = crate::managed::Write { kind, writer: &writer, part: Part::Status, now: self.now() };
            crate::managed::track_update(&write, Some(definition), &mut accepted);
        }
        if let Err(error) = writing.put(DEFINITIONS, accepted) {
            eprintln!("cannot accept the definition {}: {error}", object::name(definition));
        }
    }

    /// After a definition was removed: its objects go too.
    pub(super) fn definition_removed(&self, writing: &mut Writing<'_>, definition: &Object) {
        let Some(kind) = kind_of(definition) else { return };
        for object in writing.list_all(&kind.resource) {
            if let Err(error) = writing.remove(&kind.resource, &object) {
                eprintln!("cannot remove {} {}: {error}", kind.resource, object::name(&object));
            }
        }
        self.edit_kinds(|kinds: &mut Registry| drop(kinds.remove(&kind.resource)));
    }
}

/// Marks a definition whose deletion begins.
pub(super) fn mark_terminating(definition: &mut Value, now: Timestamp) {
    let mut conditions = object::array_at(definition, "/status/conditions").to_vec();
    conditions.push(json!({
        "type": "Terminating",
        "status": "True",
        "lastTransitionTime": object::time(now),
        "reason": "InstanceDeletionPending",
        "message": "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
    }));
    object::set(definition, &["status", "conditions"], conditions.into());
}

/// The definition with its names accepted and established.
fn accepted(definition: &Arc<Value>, now: Timestamp) -> Value {
    let mut accepted = Value::clone(definition);
    object::set(&mut accepted, &["status", "acceptedNames"], definition["spec"]["names"].clone());
    let mut stored: Vec<Value> = object::array_at(definition, "/status/storedVersions").to_vec();
    let versions = object::array_at(definition, "/spec/versions");
    for version in versions.iter().filter(|version| object::bool_at(version, "/storage")) {
        if !stored.contains(&version["name"]) {
            stored.push(version["name"].clone());
        }
    }
    object::set(&mut accepted, &["status", "storedVersions"], stored.into());
    let wanted = [
        ("NamesAccepted", "NoConflicts", "no conflicts found"),
        ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
    ];
    let mut conditions = object::array_at(definition, "/status/conditions").to_vec();
    for (kind, reason, message) in wanted {
        if object::condition_status(definition, kind) == Some("True") {
            continue;
        }
        conditions.retain(|condition| condition["type"] != kind);
        conditions.push(json!({
            "type": kind,
            "status": "True",
            "reason": reason,
            "message": message,
            "lastTransitionTime": object::time(now),
        }));
    }
    object::set(&mut accepted, &["status", "conditions"], conditions.into());
    accepted
}
