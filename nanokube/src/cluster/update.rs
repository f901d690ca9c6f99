//! Update and patch: a change to an object that is there, or, where the kind allows it, a creation by PUT or apply.
//!
//! A write changes its part only: the main resource never touches the status, `/status` nothing but the status (and
//! annotations, as measured). Identity and deletion marks are kept whatever the client sent. A write that changes nothing is
//! not a write: same resourceVersion, no event.

use serde_json::{Value, json};

use super::{Cluster, Part, Patch, Writer, admission, create};
use crate::defaults;
use crate::kind::Kind;
use crate::object::{self, Object};
use crate::patch;
use crate::status::{ApiError, FieldError};
use crate::store::Writing;

/// Metadata that only the server sets.
const KEPT: [&str; 6] =
    ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink"];

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
        self.replace(&mut writing, &kind, &current, new, part, writer)
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
        let Some(current) = writing.get(resource, namespace, name) else {
            return match patch {
                Patch::Apply { object, .. } if part == Part::Object => {
                    self.create_in(&mut writing, &kind, namespace, object, writer)
                }
                _ => Err(ApiError::not_found(resource, name)),
            };
        };
        let target = if part == Part::Scale { scale_of(&kind, &current) } else { Value::clone(&current) };
        let patched = match patch {
            Patch::Json(operations) => patch::json::apply(target, &operations)?,
            Patch::Merge(changes) | Patch::Strategic(changes) => patch::merge::apply(target, &changes),
            Patch::Apply { object, .. } => patch::merge::apply(target, &object),
        };
        check_identity(&kind, &current, &patched)?;
        let new = if part == Part::Scale { scaled(&kind, &current, &patched)? } else { patched };
        self.replace(&mut writing, &kind, &current, new, part, writer)
    }

    fn replace(
        &self,
        writing: &mut Writing<'_>,
        kind: &Kind,
        current: &Object,
        mut new: Value,
        part: Part,
        writer: &Writer,
    ) -> Result<Object, ApiError> {
        new = confined(kind, current, new, part);
        keep_identity(&mut new, current);
        defaults::apply(&kind.resource, &mut new);
        admission::on_update(writing, kind, &mut new, current, self.settings())?;
        if kind.habits.generation && specification_changed(current, &new) {
            object::set(&mut new, &["metadata", "generation"], (object::generation(current) + 1).into());
        }
        if new == **current {
            return Ok(current.clone());
        }
        create::check_rules(kind, &new, Some(current))?;
        if writer.dry_run {
            return Ok(Object::new(new));
        }
        if super::delete::is_finished(&new) {
            return writing.remove(&kind.resource, &new);
        }
        writing.put(&kind.resource, new)
    }
}

/// The Scale view of an object that has replicas.
pub fn scale_of(kind: &Kind, object: &Value) -> Value {
    let selector = match object.pointer("/spec/selector") {
        Some(Value::Object(map)) if kind.resource == "replicationcontrollers" => {
            crate::selector::LabelSelector::from_map(map).to_string()
        }
        Some(selector) => crate::selector::LabelSelector::from_value(selector).to_string(),
        None => String::new(),
    };
    let mut metadata = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        metadata[field] = object["metadata"][field].clone();
    }
    let mut scale = json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {},
        "status": { "replicas": object::i64_at(object, "/status/replicas").unwrap_or(0) },
    });
    match object::i64_at(object, "/spec/replicas").unwrap_or(0) {
        0 => {}
        replicas => scale["spec"]["replicas"] = replicas.into(),
    }
    if !selector.is_empty() {
        scale["status"]["selector"] = selector.into();
    }
    scale
}

/// The object with the replicas that a Scale asks for.
fn scaled(kind: &Kind, current: &Value, scale: &Value) -> Result<Value, ApiError> {
    let replicas = object::i64_at(scale, "/spec/replicas").unwrap_or(0);
    if replicas < 0 {
        let error = FieldError::invalid("spec.replicas", replicas, "must be greater than or equal to 0");
        return Err(ApiError::invalid("autoscaling", "Scale", object::name(current), &[error]));
    }
    let sent = object::str_at(scale, "/metadata/resourceVersion");
    if !sent.is_empty() && sent != object::str_at(current, "/metadata/resourceVersion") {
        return Err(ApiError::conflict(&kind.resource, object::name(current)));
    }
    let mut new = current.clone();
    object::set(&mut new, &["spec", "replicas"], replicas.into());
    Ok(new)
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
        let why = format!(
            "Precondition failed: UID in precondition: {sent_uid}, UID in object meta: {}",
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
