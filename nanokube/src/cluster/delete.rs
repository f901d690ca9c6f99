//! Delete: at once, or by a mark that finalizers, a grace period or dependents outlive.
//!
//! A pod on a node gets its grace period and is removed by the node when its processes are gone. Foreground and Orphan
//! are finalizers that the garbage collector works off. A namespace is emptied by its controller first.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::definition::{self, DEFINITIONS};
use super::{Cluster, DeleteOptions, Deleted, Propagation, Writer};
use crate::kind::Kind;
use crate::object::{self, Object};
use crate::status::ApiError;
use crate::store::Writing;

const PROTECTED_NAMESPACES: [&str; 3] = ["default", "kube-system", "kube-public"];

impl Cluster {
    /// Deletes an object, or marks it for deletion.
    pub fn delete(
        &self,
        resource: &str,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
        writer: &Writer,
    ) -> Result<Deleted, ApiError> {
        let kind = self.kind(resource)?;
        let mut writing = self.inner.store.writing();
        let Some(current) = writing.get(resource, namespace, name) else {
            return Err(ApiError::not_found(resource, name));
        };
        check_preconditions(&kind, &current, options)?;
        if resource == "namespaces" && PROTECTED_NAMESPACES.contains(&name) {
            return Err(ApiError::forbidden(resource, name, "this namespace may not be deleted"));
        }
        let mut marked = Value::clone(&current);
        mark(&mut marked, &kind, options, self.now());
        if is_finished(&marked) {
            // Only pods show how they were deleted; other objects go as they were.
            let last = if resource == "pods" { &marked } else { &*current };
            if writer.dry_run {
                return Ok(Deleted::Gone(Object::new(last.clone())));
            }
            return self.remove(&mut writing, &kind, last).map(Deleted::Gone);
        }
        if marked == *current || writer.dry_run {
            return Ok(Deleted::Lingering(Object::new(marked)));
        }
        let lingering = writing.put(resource, marked)?;
        if resource == DEFINITIONS {
            self.definition_stored(&mut writing, &lingering);
        }
        Ok(Deleted::Lingering(lingering))
    }

    /// Takes an object out of the store, and with it what only lives through it.
    pub(super) fn remove(&self, writing: &mut Writing<'_>, kind: &Kind, last: &Value) -> Result<Object, ApiError> {
        let removed = writing.remove(&kind.resource, last)?;
        if kind.resource == DEFINITIONS {
            self.definition_removed(writing, &removed);
        }
        Ok(removed)
    }
}

/// Whether a marked object has nothing left to wait for.
pub(super) fn is_finished(object: &Value) -> bool {
    object::is_deleting(object)
        && object::array_at(object, "/metadata/finalizers").is_empty()
        && object::i64_at(object, "/metadata/deletionGracePeriodSeconds").unwrap_or(0) == 0
        && (object::str_at(object, "/kind") != "Namespace" || object::array_at(object, "/spec/finalizers").is_empty())
}

fn check_preconditions(kind: &Kind, current: &Value, options: &DeleteOptions) -> Result<(), ApiError> {
    let found = object::uid(current);
    let why = match (&options.uid, &options.resource_version) {
        (Some(wanted), _) if wanted != found => format!(
            "the UID in the precondition ({wanted}) does not match the UID in record ({found}). The object might have been \
             deleted and then recreated"
        ),
        (_, Some(wanted)) if wanted != object::str_at(current, "/metadata/resourceVersion") => format!(
            "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record ({}). The \
             object might have been modified",
            object::str_at(current, "/metadata/resourceVersion")
        ),
        _ => return Ok(()),
    };
    let qualified = match kind.group() {
        "" => kind.kind.clone(),
        group => format!("{}.{group}", kind.kind),
    };
    Err(ApiError::conflict_because(&qualified, object::name(current), &why))
}

fn mark(object: &mut Value, kind: &Kind, options: &DeleteOptions, now: Timestamp) {
    let grace_s = grace_period_s(object, kind, options);
    match options.propagation {
        Some(Propagation::Foreground) => add_finalizer(object, "foregroundDeletion"),
        Some(Propagation::Orphan) => add_finalizer(object, "orphan"),
        Some(Propagation::Background) | None => {}
    }
    let already = object::is_deleting(object);
    let remaining_s = object::i64_at(object, "/metadata/deletionGracePeriodSeconds").unwrap_or(0);
    if already && grace_s >= remaining_s {
        return;
    }
    let deadline = now.checked_add(SignedDuration::from_secs(grace_s)).unwrap_or(now);
    object::set(object, &["metadata", "deletionTimestamp"], object::time(deadline).into());
    if kind.resource != "namespaces" {
        object::set(object, &["metadata", "deletionGracePeriodSeconds"], grace_s.into());
    }
    if !already && object::generation(object) > 0 {
        object::set(object, &["metadata", "generation"], (object::generation(object) + 1).into());
    }
    if kind.resource == "namespaces" {
        object::set(object, &["status", "phase"], json!("Terminating"));
    }
    if kind.resource == DEFINITIONS {
        add_finalizer(object, definition::CLEANUP);
        definition::mark_terminating(object, now);
    }
}

/// Only pods that a node runs have a grace period; a negative one means one second.
fn grace_period_s(object: &Value, kind: &Kind, options: &DeleteOptions) -> i64 {
    if kind.resource != "pods" {
        return 0;
    }
    let unscheduled = object::str_at(object, "/spec/nodeName").is_empty();
    let finished = matches!(object::str_at(object, "/status/phase"), "Succeeded" | "Failed");
    if unscheduled || finished {
        return 0;
    }
    let asked = options.grace_period_s.or_else(|| object::i64_at(object, "/spec/terminationGracePeriodSeconds"));
    match asked.unwrap_or(30) {
        negative if negative < 0 => 1,
        grace_s => grace_s,
    }
}

fn add_finalizer(object: &mut Value, finalizer: &str) {
    let mut finalizers = object::array_at(object, "/metadata/finalizers").to_vec();
    if !finalizers.iter().any(|present| present == finalizer) {
        finalizers.push(finalizer.into());
        object::set(object, &["metadata", "finalizers"], Value::Array(finalizers));
    }
}
