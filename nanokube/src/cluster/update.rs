//! Update and patch: a change to an object that is there, or, where the kind allows it, a creation by PUT or apply.
//!
//! A write changes its part only: the main resource never touches the status, `/status` nothing but the status (and
//! annotations, as measured). Identity and deletion marks are kept whatever the client sent. A write that changes nothing is
//! not a write: same resourceVersion, no event.

use serde_json::{Value, json};

use super::definition::DEFINITIONS;
use super::scale::{scale_of, scaled};
use super::vet::{self, Source};
use super::{Cluster, Part, Patch, Writer, admission, create};
use crate::kind::{GroupVersion, Kind, convert};
use crate::managed;
use crate::object::{self, Object};
use crate::patch;
use crate::schema::schema;
use crate::status::ApiError;
use crate::store::Writing;

/// Metadata that only the server sets.
const KEPT: [&str; 6] =
    ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink"];

/// Whether the owners of fields are still to be worked out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owners {
    Unknown,
    Settled,
}

impl Cluster {
    /// Replaces an object, or one part of it.
    pub fn update(
        &self,
        resource: &str,
        namespace: &str,
        name: &str,
        object: Value,
        part: Part,
        writer: &Writer,
    ) -> Result<Object, ApiError> {
        let kind = self.kind(resource)?;
        let mut writing = self.inner.store.writing();
        let Some(current) = writing.get(resource, namespace, name) else {
            if kind.habits.create_on_put && part == Part::Object {
                return self.create_in(&mut writing, &kind, namespace, object, writer);
            }
            return Err(ApiError::not_found(resource, name));
        };
        check_identity(&kind, &current, &object)?;
        let new = if part == Part::Scale { scaled(&kind, &current, &object)? } else { object };
        self.replace(&mut writing, &kind, &current, new, part, Owners::Unknown, writer)
    }

    /// Changes an object, or one part of it, by a patch. Apply creates what is missing.
    pub fn patch(
        &self,
        resource: &str,
        namespace: &str,
        name: &str,
        patch: Patch,
        part: Part,
        writer: &Writer,
    ) -> Result<Object, ApiError> {
        let kind = self.kind(resource)?;
        let mut writing = self.inner.store.writing();
        let current = writing.get(resource, namespace, name);
        if let Patch::Apply { object, force } = patch {
            return self.apply(&mut writing, &kind, namespace, name, current, object, force, part, writer);
        }
        let current = current.ok_or_else(|| ApiError::not_found(resource, name))?;
        let view = writer.version.as_ref().unwrap_or(kind.storage_version());
        if part == Part::Scale {
            let patched = patched(scale_of(&kind, &current), &patch, "autoscaling/v1", "Scale")?;
            let new = scaled(&kind, &current, &patched)?;
            return self.replace(&mut writing, &kind, &current, new, part, Owners::Unknown, writer);
        }
        let shown = convert::to_view(&kind, view, &current).into_owned();
        let patched = patched(shown, &patch, &view.to_string(), &kind.kind)?;
        check_identity(&kind, &current, &patched)?;
        vet::check(&kind, view, &patched, Source::Patch(patch.body()), writer)?;
        let new = convert::from_view(&kind, view, patched);
        self.replace(&mut writing, &kind, &current, new, part, Owners::Unknown, writer)
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one apply request, passed on once")]
    fn apply(
        &self,
        writing: &mut Writing<'_>,
        kind: &Kind,
        namespace: &str,
        name: &str,
        current: Option<Object>,
        applied: Value,
        force: bool,
        part: Part,
        writer: &Writer,
    ) -> Result<Object, ApiError> {
        let view = writer.version.as_ref().unwrap_or(kind.storage_version());
        let applied = appliable(kind, view, namespace, name, applied, part)?;
        let write = managed::Write { kind, writer, part, now: self.now() };
        let Some(current) = current else {
            if part != Part::Object {
                return Err(ApiError::not_found(&kind.resource, name));
            }
            let uid = object::uid(&applied);
            if !uid.is_empty() {
                let why =
                    format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
                return Err(ApiError::conflict_because(&kind.resource, name, &why));
            }
            let new = managed::apply(&write, None, &applied, force)?;
            let new = convert::from_view(kind, view, new);
            return self.create_in(writing, kind, namespace, new, writer);
        };
        check_identity(kind, &current, &applied)?;
        let shown = convert::to_view(kind, view, &current);
        let new = managed::apply(&write, Some(&shown), &applied, force)?;
        let new = convert::from_view(kind, view, new);
        self.replace(writing, kind, &current, new, part, Owners::Settled, writer)
    }

    #[expect(clippy::too_many_arguments, reason = "the one place where a change meets the stored object")]
    fn replace(
        &self,
        writing: &mut Writing<'_>,
        kind: &Kind,
        current: &Object,
        mut new: Value,
        part: Part,
        owners: Owners,
        writer: &Writer,
    ) -> Result<Object, ApiError> {
        if part == Part::Status {
            keep_sent_managers(&mut new, current);
        }
        new = confined(kind, current, new, part);
        keep_identity(&mut new, current);
        create::settle(kind, &mut new);
        if owners == Owners::Unknown {
            let write = managed::Write { kind, writer, part, now: self.now() };
            managed::track_update(&write, Some(current), &mut new);
        }
        admission::on_update(writing, kind, &mut new, current, self.settings())?;
        if kind.habits.generation && specification_changed(current, &new) {
            object::set(&mut new, &["metadata", "generation"], (object::generation(current) + 1).into());
        }
        if managed::is_same(&new, current) {
            return Ok(current.clone());
        }
        create::check_rules(kind, &new, Some(current))?;
        if part == Part::Object && object::generation(&new) != object::generation(current) && kind.resource != "pods" {
            create::warn(kind, &new, writer);
        }
        if writer.dry_run {
            return Ok(Object::new(new));
        }
        if super::delete::is_finished(&new) {
            return self.remove(writing, kind, &new);
        }
        let stored = writing.put(&kind.resource, new)?;
        if kind.resource == DEFINITIONS && part == Part::Object {
            self.definition_stored(writing, &stored);
        }
        Ok(stored)
    }
}

/// The target after a patch that is no apply.
fn patched(target: Value, patch: &Patch, api_version: &str, kind: &str) -> Result<Value, ApiError> {
    match patch {
        Patch::Json(operations) => patch::json::apply(target, operations),
        Patch::Merge(changes) if !changes.is_object() => {
            Err(ApiError::bad_request("error decoding patch: json: cannot unmarshal into Go value of type map"))
        }
        Patch::Merge(changes) | Patch::Apply { object: changes, .. } => Ok(patch::merge::apply(target, changes)),
        Patch::Strategic(changes) => patch::strategic::apply(target, changes, schema().kind(api_version, kind)),
    }
}

/// Checks an applied configuration and brings the Scale form into the object's own.
fn appliable(
    kind: &Kind,
    view: &GroupVersion,
    namespace: &str,
    name: &str,
    mut applied: Value,
    part: Part,
) -> Result<Value, ApiError> {
    let (version, sent_kind) = (object::str_at(&applied, "/apiVersion"), object::str_at(&applied, "/kind"));
    if version.is_empty() || sent_kind.is_empty() {
        return Err(ApiError::bad_request(format!("invalid object type: {version}/, Kind={sent_kind}")));
    }
    if applied.pointer("/metadata/managedFields").is_some_and(|list| !list.is_null()) {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    if part == Part::Scale {
        let replicas = object::i64_at(&applied, "/spec/replicas").unwrap_or(0);
        return Ok(json!({
            "apiVersion": view.to_string(),
            "kind": kind.kind,
            "metadata": { "name": name, "namespace": namespace },
            "spec": { "replicas": replicas },
        }));
    }
    if version != view.to_string() || sent_kind != kind.kind {
        let message = format!("no kind {sent_kind:?} is registered for version {version:?} at this path");
        return Err(ApiError::bad_request(message));
    }
    match object::name(&applied) {
        "" => object::set(&mut applied, &["metadata", "name"], name.into()),
        sent if sent != name => {
            let message = format!("the name of the object ({sent}) does not match the name on the URL ({name})");
            return Err(ApiError::bad_request(message));
        }
        _ => {}
    }
    Ok(applied)
}

/// A status written without managed fields keeps those there are.
fn keep_sent_managers(new: &mut Value, current: &Value) {
    if new.pointer("/metadata/managedFields").is_none() {
        take_over(new, current, &["metadata", "managedFields"]);
    }
}

fn check_identity(kind: &Kind, current: &Value, new: &Value) -> Result<(), ApiError> {
    let name = object::name(current);
    let sent_name = object::name(new);
    if !sent_name.is_empty() && sent_name != name {
        let message = format!("the name of the object ({sent_name}) does not match the name on the URL ({name})");
        return Err(ApiError::bad_request(message));
    }
    let sent_uid = object::uid(new);
    if !sent_uid.is_empty() && sent_uid != object::uid(current) {
        // The words of the real server, whose store has such keys.
        let why = format!(
            "StorageError: invalid object, Code: 4, Key: /registry/{}/{}{name}, ResourceVersion: 0, AdditionalErrorMsg: \
             Precondition failed: UID in precondition: {sent_uid}, UID in object meta: {}",
            kind.plural,
            if kind.namespaced { format!("{}/", object::namespace(current)) } else { String::new() },
            object::uid(current)
        );
        return Err(ApiError::conflict_because(&kind.resource, name, &why));
    }
    let sent_version = object::str_at(new, "/metadata/resourceVersion");
    if !sent_version.is_empty() && sent_version != object::str_at(current, "/metadata/resourceVersion") {
        return Err(ApiError::conflict(&kind.resource, name));
    }
    Ok(())
}

/// `new` with everything outside its part taken from `current`.
fn confined(kind: &Kind, current: &Value, mut new: Value, part: Part) -> Value {
    match part {
        Part::Object | Part::Scale => {
            if kind.has_subresource("status") {
                take_over(&mut new, current, &["status"]);
            }
            if kind.resource == "namespaces" {
                take_over(&mut new, current, &["spec", "finalizers"]);
            }
            new
        }
        Part::Status => {
            let mut confined = current.clone();
            take_over(&mut confined, &new, &["status"]);
            take_over(&mut confined, &new, &["metadata", "annotations"]);
            take_over(&mut confined, &new, &["metadata", "managedFields"]);
            confined
        }
        Part::Finalize => {
            let mut confined = current.clone();
            take_over(&mut confined, &new, &["spec", "finalizers"]);
            confined
        }
    }
}

/// Makes `target` agree with `source` at a path.
fn take_over(target: &mut Value, source: &Value, path: &[&str]) {
    let pointer = format!("/{}", path.join("/"));
    match source.pointer(&pointer) {
        Some(value) => object::set(target, path, value.clone()),
        None => {
            object::remove(target, path);
        }
    }
}

fn keep_identity(new: &mut Value, current: &Value) {
    for field in ["apiVersion", "kind"] {
        take_over(new, current, &[field]);
    }
    for field in ["name", "namespace", "resourceVersion", "generateName"].iter().chain(&KEPT) {
        take_over(new, current, &["metadata", field]);
    }
}

/// Whether anything outside metadata and status differs.
fn specification_changed(current: &Value, new: &Value) -> bool {
    let payload = |object: &Value| -> Vec<(String, Value)> {
        let map = object.as_object().into_iter().flatten();
        map.filter(|(key, _)| !matches!(key.as_str(), "metadata" | "status"))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    };
    payload(current) != payload(new)
}
