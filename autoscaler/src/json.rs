//! Kubernetes JSON to and from the types of this crate: an API face for hosts that store JSON.
//!
//! Decoding reports what Go's decoder would (`json: cannot unmarshal string into Go struct field ...`), quantities that
//! do not parse included; unknown fields are dropped. Encoding writes the canonical object: fields in Go's order,
//! quantities in canonical form, empty optional fields left out.

mod decode;
mod encode;
pub mod metrics_api;
pub mod observed;
pub mod rfc3339;
#[cfg(test)]
mod tests;
pub mod v1;

use std::fmt;

use serde_json::Value;

use crate::config::Gates;
use crate::defaults;
use crate::field::FieldError;
use crate::spec::Spec;
use crate::status::Status;
use crate::validate;

/// Why a manifest could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError(pub String);

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DecodeError {}

/// `spec` of an autoscaling/v2 object; the object is given whole. Nothing is defaulted.
pub fn spec_from_json(object: &Value) -> Result<Spec, DecodeError> {
    decode::spec(object)
}

/// `status` of an autoscaling/v2 object; the object is given whole.
pub fn status_from_json(object: &Value) -> Result<Status, DecodeError> {
    decode::status(object)
}

pub fn spec_to_json(spec: &Spec) -> Value {
    encode::spec(spec)
}

pub fn status_to_json(status: &Status) -> Value {
    encode::status(status)
}

/// What the API server does to the spec of an object it reads: decodes, fills in defaults, writes quantities
/// canonically.
pub fn default_object(object: &mut Value) -> Result<Spec, DecodeError> {
    let mut spec = spec_from_json(object)?;
    defaults::apply(&mut spec);
    if let Some(fields) = object.as_object_mut() {
        fields.insert("spec".into(), spec_to_json(&spec));
    }
    Ok(spec)
}

/// Name and spec of a defaulted object, or with the stored one the spec of an update, whose name cannot change.
pub fn validate_object(object: &Value, old: Option<&Value>, gates: &Gates) -> Result<Vec<FieldError>, DecodeError> {
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let spec = spec_from_json(object)?;
    let old = old.map(spec_from_json).transpose()?;
    let mut errors = if old.is_none() { validate::name(name) } else { Vec::new() };
    errors.extend(validate::spec(&spec, old.as_ref(), gates));
    Ok(errors)
}
