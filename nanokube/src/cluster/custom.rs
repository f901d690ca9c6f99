//! Custom resources: pruning, defaults and validation by the structural schema of their CustomResourceDefinition.

use serde_json::{Map, Value};

use crate::kind::{GroupVersion, Kind};
use crate::object;

/// Metadata is the same for every object, so schemas do not describe it.
const EVERYWHERE: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// The structural schema of a served version; None when there is none or it is empty.
pub(crate) fn schema_of<'a>(kind: &'a Kind, view: &GroupVersion) -> Option<&'a Value> {
    let versions = object::array_at(kind.definition.as_ref()?, "/spec/versions");
    let served = versions.iter().find(|served| object::str_at(served, "/name") == view.version)?;
    served.pointer("/schema/openAPIV3Schema").filter(|schema| schema.is_object())
}

/// `unknown field "spec.x"` for every field that the schema does not know.
pub(super) fn unknown_fields(kind: &Kind, view: &GroupVersion, sent: &Value) -> Vec<String> {
    let mut unknown = Vec::new();
    if let Some(schema) = schema_of(kind, view) {
        visit_unknown(schema, &mut sent.clone(), &mut String::new(), true, &mut |path| unknown.push(path.to_string()));
    }
    unknown.into_iter().map(|path| format!("unknown field {path:?}")).collect()
}

/// Drops what the schema does not know and fills in its defaults.
pub(super) fn settle(kind: &Kind, view: &GroupVersion, object: &mut Value) {
    let Some(schema) = schema_of(kind, view) else { return };
    visit_unknown(schema, object, &mut String::new(), true, &mut |_| {});
    fill_defaults(schema, object);
}

fn visit_unknown(schema: &Value, value: &mut Value, path: &mut String, root: bool, found: &mut impl FnMut(&str)) {
    let length = path.len();
    match value {
        Value::Object(map) => {
            let keeps = object::bool_at(schema, "/x-kubernetes-preserve-unknown-fields");
            let embedded = root || object::bool_at(schema, "/x-kubernetes-embedded-resource");
            map.retain(|key, below| {
                if embedded && EVERYWHERE.contains(&key.as_str()) {
                    return true;
                }
                if length > 0 {
                    path.push('.');
                }
                path.push_str(key);
                let declared = schema["properties"]
                    .get(key)
                    .or_else(|| schema.get("additionalProperties").filter(|inner| inner.is_object()));
                let known = match declared {
                    Some(inner) => {
                        visit_unknown(inner, below, path, false, found);
                        true
                    }
                    None => keeps || schema.get("additionalProperties") == Some(&Value::Bool(true)),
                };
                if !known {
                    found(path);
                }
                path.truncate(length);
                known
            });
        }
        Value::Array(items) => {
            let Some(inner) = schema.get("items") else { return };
            for (index, item) in items.iter_mut().enumerate() {
                path.push_str(&format!("[{index}]"));
                visit_unknown(inner, item, path, false, found);
                path.truncate(length);
            }
        }
        _ => {}
    }
}

fn fill_defaults(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, inner) in schema["properties"].as_object().unwrap_or(&Map::new()) {
                let absent = map.get(key).is_none_or(|value| value.is_null() && !object::bool_at(inner, "/nullable"));
                if absent && let Some(default) = inner.get("default") {
                    map.insert(key.clone(), default.clone());
                }
                if let Some(below) = map.get_mut(key) {
                    fill_defaults(inner, below);
                }
            }
            if let Some(inner) = schema.get("additionalProperties").filter(|inner| inner.is_object()) {
                map.values_mut().for_each(|below| fill_defaults(inner, below));
            }
        }
        Value::Array(items) => {
            if let Some(inner) = schema.get("items") {
                items.iter_mut().for_each(|item| fill_defaults(inner, item));
            }
        }
        _ => {}
    }
}
