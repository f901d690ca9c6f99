//! An object that is being deleted may lose finalizers, not gain them.

use serde_json::Value;

use crate::kind::Kind;
use crate::object;
use crate::status::{ApiError, FieldError};

pub(super) fn check(kind: &Kind, object: &Value, current: &Value) -> Result<(), ApiError> {
    if !object::is_deleting(current) {
        return Ok(());
    }
    let before = object::array_at(current, "/metadata/finalizers");
    let after = object::array_at(object, "/metadata/finalizers");
    let added: Vec<&str> =
        after.iter().filter(|finalizer| !before.contains(finalizer)).filter_map(Value::as_str).collect();
    if added.is_empty() {
        return Ok(());
    }
    let listed: Vec<String> = added.iter().map(|finalizer| format!("{finalizer:?}")).collect();
    let why = format!(
        "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
        listed.join(", ")
    );
    let error = FieldError::forbidden("metadata.finalizers", why);
    // Twice in the causes, once in the message: so the real server.
    let mut refusal = ApiError::invalid(kind.group(), &kind.kind, object::name(object), &[error]);
    if let Some(causes) = refusal.details.get_mut("causes").and_then(Value::as_array_mut) {
        causes.extend_from_within(..);
    }
    Err(refusal)
}
