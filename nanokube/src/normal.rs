//! The normal form of built-in objects: what Go's decoding and encoding leaves of them.
//!
//! Unknown fields are dropped, null is absent, and zero values of fields that Go omits when empty are left out; so equal
//! objects are equal JSON, and a write that says nothing new is no write. Custom resources are pruned by their own schema.

use serde_json::Value;

use crate::schema::{Field, Scalar, Schema, Shape, Type, schema};

/// Brings an object of a built-in kind into its normal form.
pub fn apply(kind: &Type, object: &mut Value) {
    fields(schema(), kind, object);
}

fn fields(schema: &Schema, kind: &Type, value: &mut Value) {
    let Some(map) = value.as_object_mut() else { return };
    map.retain(|key, below| match kind.field(key) {
        // kind and apiVersion are declared by no type of its own.
        None => matches!(key.as_str(), "kind" | "apiVersion"),
        Some(_) if below.is_null() => false,
        Some(field) => {
            shape(schema, &field.shape, below);
            !is_omitted(field, below)
        }
    });
    for field in kind.fields().iter().filter(|field| shows_as_null(field)) {
        map.entry(field.name.as_str()).or_insert(Value::Null);
    }
}

fn shape(schema: &Schema, wanted: &Shape, value: &mut Value) {
    match wanted {
        Shape::Struct(id) => fields(schema, schema.get(*id), value),
        Shape::List(element) => {
            value.as_array_mut().into_iter().flatten().for_each(|item| shape(schema, element, item));
        }
        Shape::Map(inner) => {
            value.as_object_mut().into_iter().flatten().for_each(|(_, below)| shape(schema, inner, below));
        }
        Shape::Scalar(_) | Shape::Named { .. } => {}
    }
}

/// A time is a struct in Go, which no encoder leaves out; only the creation time has an exception of its own.
fn shows_as_null(field: &Field) -> bool {
    let time = matches!(field.shape, Shape::Scalar(Scalar::Time | Scalar::MicroTime));
    time && !field.pointer && field.name != "creationTimestamp"
}

fn is_omitted(field: &Field, value: &Value) -> bool {
    if !field.omit_empty {
        return false;
    }
    match (&field.shape, value) {
        (Shape::List(_), Value::Array(list)) => list.is_empty(),
        (Shape::Map(_), Value::Object(map)) => map.is_empty(),
        _ if field.pointer => false,
        (Shape::Scalar(Scalar::IntOrString), _) => false,
        (Shape::Scalar(_) | Shape::Named { .. }, Value::String(text)) => text.is_empty(),
        (Shape::Scalar(_), Value::Bool(flag)) => !flag,
        (Shape::Scalar(_), Value::Number(number)) => number.as_f64() == Some(0.0),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(kind: (&str, &str), sent: Value, wanted: Value) {
        let mut object = sent;
        apply(schema().kind(kind.0, kind.1).unwrap(), &mut object);
        assert_eq!(object, wanted);
    }

    #[test]
    fn what_go_omits_is_left_out_and_meaningful_zeros_stay() {
        check(
            ("apps/v1", "Deployment"),
            json!({ "metadata": { "labels": {}, "name": "x", "creationTimestamp": null }, "what": 1,
                    "spec": { "replicas": 0, "paused": false, "minReadySeconds": 0, "revisionHistoryLimit": null } }),
            json!({ "metadata": { "name": "x" }, "spec": { "replicas": 0 } }),
        );
        check(
            ("v1", "Pod"),
            json!({ "spec": { "containers": [{ "name": "c", "args": [], "securityContext": {} }] } }),
            json!({ "spec": { "containers": [{ "name": "c", "securityContext": {} }] } }),
        );
    }

    /// Real objects are in normal form already.
    #[test]
    fn recorded_objects_are_their_own_normal_form() {
        for (name, recorded) in crate::recorded::all("objects", "") {
            let (version, kind) =
                (crate::object::str_at(&recorded, "/apiVersion"), crate::object::str_at(&recorded, "/kind"));
            let Some(kind) = schema().kind(version, kind) else { continue };
            let mut object = recorded.clone();
            apply(kind, &mut object);
            assert_eq!(object, recorded, "{name}");
        }
    }
}
