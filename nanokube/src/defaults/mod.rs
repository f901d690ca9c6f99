//! Defaulting: what a real API server fills in before it stores an object, so that clients and controllers find it there.
//!
//! Most defaults are rows of a table: a path and the value that is put there when its parent exists and it does not. Only
//! what depends on other fields is code. Values are those of v1.36, measured where recordings exist.

use serde_json::{Value, json};

use crate::object;

mod pod;
mod rules;
mod special;

pub use rules::Rule;
pub(crate) use rules::pod_specs;

/// Fills in the defaults of a kind.
pub fn apply(resource: &str, object: &mut Value) {
    special::before(resource, object);
    for table in rules::of(resource) {
        for rule in *table {
            fill(object, rule.path, rule.value);
        }
    }
    for path in rules::pod_specs(resource) {
        if let Some(spec) = object.pointer_mut(path) {
            pod::apply(spec);
        }
    }
    special::after(resource, object);
}

/// Puts `text` (JSON) at every place that `path` means, where nothing is yet. `a[].b` means b of each element of a.
fn fill(object: &mut Value, path: &str, text: &str) {
    let (head, rest) = match path.split_once('.') {
        Some((head, rest)) => (head, Some(rest)),
        None => (path, None),
    };
    let Some(map) = object.as_object_mut() else { return };
    let (key, each) = match head.strip_suffix("[]") {
        Some(key) => (key, true),
        None => (head, false),
    };
    match (map.get_mut(key), rest) {
        (Some(Value::Array(items)), Some(rest)) if each => items.iter_mut().for_each(|item| fill(item, rest, text)),
        (Some(inner), Some(rest)) if !each => fill(inner, rest, text),
        (present, None) if present.as_ref().is_none_or(|value| value.is_null()) => {
            let value = serde_json::from_str(text).expect("invariant: the tables hold JSON");
            map.insert(key.to_string(), value);
        }
        _ => {}
    }
}

/// Writes quantities in their canonical form; what is no quantity is left for validation to refuse.
pub(crate) fn canonical_quantities(list: Option<&mut Value>) {
    let Some(Value::Object(list)) = list else { return };
    for value in list.values_mut() {
        canonical(value);
    }
}

pub(crate) fn canonical(value: &mut Value) {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return,
    };
    if let Ok(quantity) = autoscaler::quantity::Quantity::parse(&text) {
        *value = json!(quantity.to_string());
    }
}

/// Sets a value at a path of keys if nothing is there.
fn default_at(object: &mut Value, path: &[&str], value: Value) {
    let pointer = format!("/{}", path.join("/"));
    if object.pointer(&pointer).is_none_or(Value::is_null) {
        object::set(object, path, value);
    }
}

#[cfg(test)]
mod tests;
