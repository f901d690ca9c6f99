//! Validation: what may be stored, worded as Kubernetes words it.
//!
//! Two layers. `strict` compares a body with the generated schema: unknown fields, duplicate keys and wrong types.
//! `validate` applies the rules of a kind to a defaulted object and collects every mistake as a `FieldError`, in the
//! order in which a real API server finds them, since clients show the message as it is.

use serde_json::Value;

use crate::status::FieldError;

/// What `fieldValidation` is about: the texts of `strict decoding error` (and of warnings), in document order.
pub fn unknown_fields(_api_version: &str, _kind: &str, _body: &Value) -> Vec<String> {
    Vec::new()
}

/// Keys that occur twice in one map of the JSON text, as `duplicate field "data.a"`.
pub fn duplicate_fields(_json: &[u8]) -> Vec<String> {
    Vec::new()
}

/// The first value of a wrong type, as Go's decoder words it:
/// `json: cannot unmarshal number into Go struct field ConfigMap.data of type string`.
pub fn type_error(_api_version: &str, _kind: &str, _body: &Value) -> Option<String> {
    None
}

/// The rules of the kind for a defaulted object; with `old` also those of an update (immutable fields).
pub fn validate(_resource: &str, _object: &Value, _old: Option<&Value>) -> Vec<FieldError> {
    Vec::new()
}
