//! Create: a new object, its identity set by the server, in a namespace that is there and not going away.

use serde_json::{Value, json};

use super::definition::DEFINITIONS;
use super::{Cluster, Part, Writer, admission, custom, identity};
use crate::defaults;
use crate::kind::Kind;
use crate::managed;
use crate::normal;
use crate::object::{self, Object};
use crate::schema::schema;
use crate::status::{ApiError, split_resource};
use crate::store::Writing;
use crate::validation;

impl Cluster {
    /// Creates an object; its name may be generated.
    pub fn create(&self, resource: &str, namespace: &str, object: Value, writer: &Writer) -> Result<Object, ApiError> {
        let kind = self.kind(resource)?;
        let mut writing = self.inner.store.writing();
        self.create_in(&mut writing, &kind, namespace, object, writer)
    }

    pub(super) fn create_in(
        &self,
        writing: &mut Writing<'_>,
        kind: &Kind,
        namespace: &str,
        mut object: Value,
        writer: &Writer,
    ) -> Result<Object, ApiError> {
        object::set(&mut object, &["apiVersion"], kind.storage_version().to_string().into());
        object::set(&mut object, &["kind"], kind.kind.clone().into());
        identity::stamp(&mut object, kind, namespace, self.now())?;
        identity::settle_name(&mut object, kind, |name| writing.get(&kind.resource, namespace, name).is_some())?;
        if kind.definition.as_deref().is_some_and(object::is_deleting) {
            let message = "create not allowed while custom resource definition is terminating";
            return Err(ApiError { message: message.to_owned(), ..ApiError::method_not_allowed(&kind.resource) });
        }
        if kind.namespaced {
            check_namespace(writing, kind, namespace, object::name(&object))?;
        }
        settle(kind, &mut object);
        if object.pointer("/metadata/managedFields").is_none() {
            let write = managed::Write { kind, writer, part: Part::Object, now: self.now() };
            managed::track_update(&write, None, &mut object);
        }
        admission::on_create(writing, kind, &mut object, self.settings())?;
        check_rules(kind, &object, None)?;
        if writing.get(&kind.resource, namespace, object::name(&object)).is_some() {
            return Err(ApiError::already_exists(&kind.resource, object::name(&object)));
        }
        warn(kind, &object, writer);
        if writer.dry_run {
            return Ok(Object::new(object));
        }
        let created = writing.put(&kind.resource, object)?;
        if kind.resource == DEFINITIONS {
            self.definition_stored(writing, &created);
        }
        Ok(created)
    }
}

/// Normal form and defaults.
pub(super) fn settle(kind: &Kind, object: &mut Value) {
    let version = kind.storage_version();
    if kind.is_custom() {
        custom::settle(kind, version, object);
        return;
    }
    let typed = schema().kind(&version.to_string(), &kind.kind);
    if let Some(typed) = typed {
        normal::apply(typed, object);
    }
    defaults::apply(&kind.resource, object);
}

/// Tells the writer of what is allowed and yet likely a mistake.
pub(super) fn warn(kind: &Kind, object: &Value, writer: &Writer) {
    let warnings = validation::warnings(&kind.resource, object, kind.is_custom());
    warnings.into_iter().for_each(|warning| writer.warnings.add(warning));
}

/// The validation of the kind.
pub(super) fn check_rules(kind: &Kind, object: &Value, old: Option<&Value>) -> Result<(), ApiError> {
    let mut errors = validation::validate(&kind.resource, object, old);
    if let Some(schema) = custom::schema_of(kind, kind.storage_version()) {
        errors.extend(validation::check_custom(schema, object));
    }
    if errors.is_empty() {
        return Ok(());
    }
    Err(ApiError::invalid(kind.group(), &kind.kind, object::name(object), &errors))
}

fn check_namespace(writing: &Writing<'_>, kind: &Kind, namespace: &str, name: &str) -> Result<(), ApiError> {
    let Some(found) = writing.get("namespaces", "", namespace) else {
        return Err(ApiError::not_found("namespaces", namespace));
    };
    if !object::is_deleting(&found) {
        return Ok(());
    }
    let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
    let mut error = ApiError::forbidden(&kind.resource, name, why);
    let (group, plural) = split_resource(&kind.resource);
    error.details = json!({
        "name": name,
        "group": group,
        "kind": plural,
        "causes": [{
            "reason": "NamespaceTerminating",
            "message": format!("namespace {namespace} is being terminated"),
            "field": "metadata.namespace",
        }],
    });
    if group.is_empty() {
        object::remove(&mut error.details, &["group"]);
    }
    Err(error)
}
