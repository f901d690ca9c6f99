//! The garbage collector: what becomes of objects whose owners go. An object all of whose owners are gone is deleted;
//! a reference to one of several owners that is gone is dropped. An owner that waits with `foregroundDeletion` goes
//! after the dependents that block it; one with `orphan` goes after its dependents have been cut loose.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::action::{How, Outcome};
use super::ownership::without_owners;
use crate::cluster::{Change, ChangeKind, Snapshot};
use crate::kind::Registry;
use crate::object::{self, Object};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// What the collector sees: every object by uid, and the dependents of each.
struct Graph<'a> {
    objects: HashMap<&'a str, &'a Object>,
    dependents: HashMap<&'a str, Vec<(&'a str, &'a Object)>>,
    kinds: &'a Registry,
}

/// The state of an owner, as far as its dependent is concerned.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Present,
    /// Being deleted in the foreground: it waits for this dependent.
    Waiting,
    Gone,
}

/// Ownership changes when an object goes, comes with owners, or has its owners or its deletion changed.
pub fn matters(change: &Change) -> bool {
    let owners = |object: &Value| object::array_at(object, "/metadata/ownerReferences").to_vec();
    match change.kind {
        ChangeKind::Deleted => object::str_at(&change.object, "/kind") != "Event",
        ChangeKind::Added => !owners(&change.object).is_empty(),
        ChangeKind::Modified => {
            object::is_deleting(&change.object)
                || change.previous.as_ref().is_some_and(|previous| owners(previous) != owners(&change.object))
        }
    }
}

pub fn reconcile(snapshot: &Snapshot, kinds: &Registry) -> Outcome {
    let mut outcome = Outcome::default();
    let graph = Graph::of(snapshot, kinds);
    for resource in snapshot.resources() {
        for candidate in snapshot.list(resource) {
            if object::is_deleting(candidate) {
                graph.finish_owner(resource, candidate, &mut outcome);
            }
            if candidate.pointer("/metadata/ownerReferences").is_some() {
                graph.judge(resource, candidate, &mut outcome);
            }
        }
    }
    outcome
}

impl<'a> Graph<'a> {
    fn of(snapshot: &'a Snapshot, kinds: &'a Registry) -> Graph<'a> {
        let mut graph = Graph { objects: HashMap::new(), dependents: HashMap::new(), kinds };
        for resource in snapshot.resources() {
            for candidate in snapshot.list(resource) {
                graph.objects.insert(object::uid(candidate), candidate);
                for reference in object::array_at(candidate, "/metadata/ownerReferences") {
                    let owner = object::str_at(reference, "/uid");
                    graph.dependents.entry(owner).or_default().push((resource, candidate));
                }
            }
        }
        graph
    }

    /// Deletes an object that no owner holds any more, or drops the references to those that are gone.
    fn judge(&self, resource: &str, dependent: &Object, outcome: &mut Outcome) {
        let references = object::array_at(dependent, "/metadata/ownerReferences");
        let states: Vec<Owner> = references.iter().map(|reference| self.state(dependent, reference)).collect();
        if states.is_empty() || states.iter().all(|state| *state == Owner::Present) {
            return;
        }
        if states.contains(&Owner::Present) {
            let gone: Vec<&str> = references
                .iter()
                .zip(&states)
                .filter(|(_, state)| **state != Owner::Present)
                .map(|(reference, _)| object::str_at(reference, "/uid"))
                .collect();
            let patch = without_owners(dependent, |uid| gone.contains(&uid));
            outcome.patch(resource.to_owned(), dependent, patch);
            return;
        }
        if object::is_deleting(dependent) {
            return;
        }
        let has_dependents = self.dependents.contains_key(object::uid(dependent));
        let foreground = states.contains(&Owner::Waiting) && has_dependents;
        let propagation = if foreground || has_finalizer(dependent, FOREGROUND) {
            "Foreground"
        } else if has_finalizer(dependent, ORPHAN) {
            "Orphan"
        } else {
            "Background"
        };
        let version = object::str_at(dependent, "/metadata/resourceVersion").to_owned();
        let how = How { propagation: Some(propagation), resource_version: Some(version), ..How::default() };
        outcome.delete_how(resource.to_owned(), dependent, how, None);
    }

    fn state(&self, dependent: &Value, reference: &Value) -> Owner {
        let (version, kind) = (object::str_at(reference, "/apiVersion"), object::str_at(reference, "/kind"));
        let Some(owner) = self.objects.get(object::str_at(reference, "/uid")) else {
            // An owner of a kind that is not served cannot be looked up, so it cannot be called gone.
            return if self.kinds.of_object(version, kind).is_some() { Owner::Gone } else { Owner::Present };
        };
        let elsewhere =
            object::namespace(owner) != object::namespace(dependent) && !object::namespace(owner).is_empty();
        if elsewhere {
            Owner::Gone
        } else if object::is_deleting(owner) && has_finalizer(owner, FOREGROUND) {
            Owner::Waiting
        } else {
            Owner::Present
        }
    }

    /// Takes the collector's finalizers off an owner once nothing is left for them to wait for.
    fn finish_owner(&self, resource: &str, owner: &Object, outcome: &mut Outcome) {
        let uid = object::uid(owner);
        let dependents = self.dependents.get(uid).map(Vec::as_slice).unwrap_or(&[]);
        if has_finalizer(owner, ORPHAN) {
            for (resource, dependent) in dependents {
                outcome.patch(resource.to_string(), dependent, without_owners(dependent, |gone| gone == uid));
            }
            if dependents.is_empty() {
                drop_finalizer(resource, owner, ORPHAN, outcome);
            }
        } else if has_finalizer(owner, FOREGROUND) && !dependents.iter().any(|(_, dependent)| blocks(dependent, uid)) {
            drop_finalizer(resource, owner, FOREGROUND, outcome);
        }
    }
}

fn blocks(dependent: &Value, owner_uid: &str) -> bool {
    let references = object::array_at(dependent, "/metadata/ownerReferences");
    references
        .iter()
        .any(|reference| reference["uid"] == owner_uid && object::bool_at(reference, "/blockOwnerDeletion"))
}

fn has_finalizer(object: &Value, finalizer: &str) -> bool {
    object::array_at(object, "/metadata/finalizers").iter().any(|present| present == finalizer)
}

fn drop_finalizer(resource: &str, owner: &Value, finalizer: &str, outcome: &mut Outcome) {
    let finalizers = object::array_at(owner, "/metadata/finalizers");
    let kept: Vec<&Value> = finalizers.iter().filter(|present| *present != finalizer).collect();
    let kept = if kept.is_empty() { Value::Null } else { json!(kept) };
    let version = &owner["metadata"]["resourceVersion"];
    let patch = json!({ "metadata": { "resourceVersion": version, "finalizers": kept } });
    outcome.patch(resource.to_owned(), owner, patch);
}

#[cfg(test)]
mod tests;
