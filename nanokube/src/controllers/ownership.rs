//! Who controls what. A controller owns the objects whose controller reference carries its uid; it adopts orphans that
//! its selector matches and releases what the selector no longer matches, as upstream's reference manager does.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::action::Outcome;
use crate::cluster::Snapshot;
use crate::object::{self, Object};
use crate::selector::LabelSelector;

/// The objects of one resource by who controls them, built once a look so that many owners cost one pass.
pub struct Dependents<'a> {
    resource: &'static str,
    by_owner: HashMap<&'a str, Vec<&'a Object>>,
    orphans: HashMap<&'a str, Vec<&'a Object>>,
}

impl<'a> Dependents<'a> {
    pub fn of(snapshot: &'a Snapshot, resource: &'static str) -> Dependents<'a> {
        let mut dependents = Dependents { resource, by_owner: HashMap::new(), orphans: HashMap::new() };
        for candidate in snapshot.list(resource) {
            match object::owner_of(candidate) {
                Some(owner) => dependents.by_owner.entry(object::str_at(owner, "/uid")).or_default().push(candidate),
                None => dependents.orphans.entry(object::namespace(candidate)).or_default().push(candidate),
            }
        }
        dependents
    }

    /// Those that name `owner` their controller, whatever its selector says.
    pub fn controlled_by(&self, owner: &Value) -> &[&'a Object] {
        self.by_owner.get(object::uid(owner)).map(Vec::as_slice).unwrap_or(&[])
    }

    /// Whether there are objects without a controller where `owner` lives, which it may have to adopt.
    pub fn has_orphans(&self, owner: &Value) -> bool {
        self.orphans.contains_key(object::namespace(owner))
    }

    /// The objects that `owner` controls, those it adopts now among them. Adoptions and releases are asked for in
    /// `outcome`.
    pub fn claim(&self, owner: &Value, outcome: &mut Outcome) -> Vec<&'a Object> {
        let selector = LabelSelector::from_value(&owner["spec"]["selector"]);
        let mut owned = Vec::new();
        for dependent in self.controlled_by(owner) {
            if selector.matches_object(dependent) {
                owned.push(*dependent);
            } else if !object::is_deleting(owner) {
                let uid = object::uid(owner);
                outcome.patch(self.resource, dependent, without_owners(dependent, |gone| gone == uid));
            }
        }
        if object::is_deleting(owner) || selector.is_everything() {
            return owned;
        }
        for orphan in self.orphans.get(object::namespace(owner)).into_iter().flatten() {
            if !object::is_deleting(orphan) && selector.matches_object(orphan) {
                adopt(self.resource, orphan, owner, outcome);
                owned.push(*orphan);
            }
        }
        owned
    }
}

/// The controller reference that a dependent of `owner` carries.
pub fn controller_reference(owner: &Value) -> Value {
    json!({
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": object::name(owner),
        "uid": object::uid(owner),
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// The references of `dependent` without those to any of `uids`, as a merge patch that fails if it changed meanwhile.
pub fn without_owners(dependent: &Value, gone: impl Fn(&str) -> bool) -> Value {
    let references = object::array_at(dependent, "/metadata/ownerReferences");
    let kept: Vec<&Value> = references.iter().filter(|reference| !gone(object::str_at(reference, "/uid"))).collect();
    let kept = if kept.is_empty() { Value::Null } else { json!(kept) };
    json!({ "metadata": { "resourceVersion": dependent["metadata"]["resourceVersion"], "ownerReferences": kept } })
}

fn adopt(resource: &'static str, orphan: &Value, owner: &Value, outcome: &mut Outcome) {
    let mut references = object::array_at(orphan, "/metadata/ownerReferences").to_vec();
    references.push(controller_reference(owner));
    let version = &orphan["metadata"]["resourceVersion"];
    outcome.patch(
        resource,
        orphan,
        json!({ "metadata": { "resourceVersion": version, "ownerReferences": references } }),
    );
}
