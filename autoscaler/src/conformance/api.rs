//! One recorded API case: decode, default, prepare, validate.

use serde_json::{Value, json};

use super::input::Node;
use super::{Replayed, difference};
use crate::config::Gates;
use crate::field::FieldError;
use crate::json::{self, DecodeError};
use crate::spec::Spec;
use crate::{defaults, validate};

pub(super) fn replay(vector: Node<'_>) -> Replayed {
    let features = vector.get("features");
    let gates = Gates {
        scale_to_zero: features.get("hpa_scale_to_zero").truth(),
        configurable_tolerance: features.get("hpa_configurable_tolerance").truth(),
        pod_level_resources: features.get("pod_level_resources").truth(),
    };
    let expected = vector.get("expect").value();
    let old = vector.get("old_manifest").present().map(Node::value);
    let actual = accept(&vector.get("manifest").value(), old.as_ref(), &gates);
    let actual = actual.unwrap_or_else(|e| json!({ "decode_error": e.to_string() }));
    let class = vector.get("category").text().into();
    Replayed { class, steps: 0, difference: difference("", sorted(expected), sorted(actual)) }
}

fn accept(manifest: &Value, old: Option<&Value>, gates: &Gates) -> Result<Value, DecodeError> {
    let defaulted = read(manifest)?;
    let old = old.map(read).transpose()?;
    let mut stored = defaulted.clone();
    validate::drop_disabled_fields(&mut stored, old.as_ref(), gates);
    let name = manifest.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let mut errors = if old.is_none() { validate::name(name) } else { Vec::new() };
    errors.extend(validate::spec(&stored, old.as_ref(), gates));
    let changed = (stored != defaulted).then(|| json::spec_to_json(&stored));
    Ok(json!({
        "defaulted_spec": json::spec_to_json(&defaulted),
        "stored_spec": changed,
        "errors": errors.iter().map(error).collect::<Vec<_>>(),
    }))
}

fn read(manifest: &Value) -> Result<Spec, DecodeError> {
    let mut spec = json::spec_from_json(manifest)?;
    defaults::apply(&mut spec);
    Ok(spec)
}

fn error(e: &FieldError) -> Value {
    json!({ "type": e.kind.reason(), "field": e.field, "detail": e.detail, "error": e.to_string() })
}

/// Errors are compared as a set.
fn sorted(mut recorded: Value) -> Value {
    if let Some(errors) = recorded.get_mut("errors").and_then(Value::as_array_mut) {
        errors.sort_by_key(ToString::to_string);
        errors.dedup();
    }
    recorded
}
