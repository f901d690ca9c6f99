//! Strategic merge patch: a merge patch that knows which lists are maps in disguise.
//!
//! Lists with a patch key merge element by element, sets of scalars as sets, every other list replaces. Directives travel
//! in the patch itself: `$patch`, `$retainKeys`, `$setElementOrder/LIST`, `$deleteFromPrimitiveList/LIST`. Elements that a patch
//! names come in its order, before existing ones where nothing else orders them, as measured.

use serde_json::{Map, Value};

use crate::schema::{Field, Shape, Type, schema};
use crate::status::ApiError;

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const ELEMENT_ORDER: &str = "$setElementOrder/";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";

/// `target` after `patch`; `kind` is the type of the object, None for one without a schema.
pub fn apply(target: Value, patch: &Value, kind: Option<&Type>) -> Result<Value, ApiError> {
    let Value::Object(patch) = patch else {
        let message = "error decoding patch: json: cannot unmarshal into Go value of type map[string]interface {}";
        return Err(ApiError::bad_request(message));
    };
    merge_map(as_map(target), patch, kind).map(Value::Object)
}

fn as_map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn merge_map(
    mut target: Map<String, Value>,
    patch: &Map<String, Value>,
    kind: Option<&Type>,
) -> Result<Map<String, Value>, ApiError> {
    match patch.get(PATCH).map(|directive| directive.as_str().unwrap_or("")) {
        None | Some("merge") => {}
        Some("replace") => {
            let kept = patch.iter().filter(|(key, _)| *key != PATCH);
            return Ok(kept.map(|(key, value)| (key.clone(), value.clone())).collect());
        }
        Some("delete") => return Ok(Map::new()),
        Some(other) => return Err(unknown_directive(other, patch)),
    }
    if let Some(retained) = patch.get(RETAIN_KEYS).and_then(Value::as_array) {
        target.retain(|key, _| retained.iter().any(|kept| kept == key));
    }
    for name in lists_named_by_directives(patch) {
        let present = target.remove(name);
        let merged = merge_list(present, patch, name, kind.and_then(|kind| kind.field(name)))?;
        if let Some(merged) = merged {
            target.insert(name.to_string(), merged);
        }
    }
    for (key, value) in patch {
        if key.starts_with('$') || has_directives(patch, key) {
            continue;
        }
        let field = kind.and_then(|kind| kind.field(key));
        match value {
            Value::Null => {
                target.remove(key);
            }
            Value::Object(inner) => {
                let before = as_map(target.remove(key).unwrap_or(Value::Null));
                let merged = merge_map(before, inner, field.and_then(|field| schema().inner(&field.shape)))?;
                let deleted = inner.get(PATCH).is_some_and(|directive| directive == "delete");
                if !deleted {
                    target.insert(key.clone(), Value::Object(merged));
                }
            }
            Value::Array(_) => {
                let present = target.remove(key);
                if let Some(merged) = merge_list(present, patch, key, field)? {
                    target.insert(key.clone(), merged);
                }
            }
            scalar => {
                target.insert(key.clone(), scalar.clone());
            }
        }
    }
    Ok(target)
}

fn directive_key(prefix: &str, name: &str) -> String {
    format!("{prefix}{name}")
}

fn has_directives(patch: &Map<String, Value>, name: &str) -> bool {
    [ELEMENT_ORDER, DELETE_FROM].iter().any(|prefix| patch.contains_key(&directive_key(prefix, name)))
}

fn lists_named_by_directives(patch: &Map<String, Value>) -> Vec<&str> {
    let names =
        patch.keys().filter_map(|key| key.strip_prefix(ELEMENT_ORDER).or_else(|| key.strip_prefix(DELETE_FROM)));
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn unknown_directive(directive: &str, element: &Map<String, Value>) -> ApiError {
    ApiError::bare(500, format!("unknown patch type: {directive} in map: {}", go_map(element)))
}

/// A map as Go prints it: `map[a:1 b:x]`.
fn go_map(map: &Map<String, Value>) -> String {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let entries: Vec<String> = map.iter().map(|(key, value)| format!("{key}:{}", text(value))).collect();
    format!("map[{}]", entries.join(" "))
}

/// The list `name` after the patch; None when it is deleted.
fn merge_list(
    present: Option<Value>,
    patch: &Map<String, Value>,
    name: &str,
    field: Option<&Field>,
) -> Result<Option<Value>, ApiError> {
    let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let sent = patch.get(name);
    if sent.is_some_and(Value::is_null) {
        return Ok(None);
    }
    let order = patch.get(&directive_key(ELEMENT_ORDER, name)).and_then(Value::as_array);
    let deleted = list(patch.get(&directive_key(DELETE_FROM, name)));
    let merges = field.is_some_and(|field| field.patch_merge);
    if !merges {
        return Ok(sent.cloned().or(present));
    }
    let sent = list(sent);
    let server = list(present.as_ref());
    let key = field.map(|field| field.patch_key.as_str()).unwrap_or("");
    if key.is_empty() {
        let mut merged = server.clone();
        merged.extend(sent.iter().filter(|value| !server.contains(value)).cloned());
        merged.retain(|value| !deleted.contains(value));
        let order = order.cloned().unwrap_or(sent);
        return Ok(Some(ordered(merged, &order, &server, Clone::clone).into()));
    }
    let element = field.and_then(|field| match &field.shape {
        Shape::List(element) => schema().inner(element),
        _ => None,
    });
    if let Some(replacement) = replacement(&sent)? {
        return Ok(Some(replacement.into()));
    }
    let merged = merge_elements(server.clone(), &sent, key, element)?;
    let order = order.cloned().unwrap_or(sent);
    let identity = |value: &Value| value.get(key).cloned().unwrap_or(Value::Null);
    Ok(Some(ordered(merged, &order, &server, identity).into()))
}

/// `[{"$patch": "replace"}, ...]` means the rest, as it is.
fn replacement(sent: &[Value]) -> Result<Option<Vec<Value>>, ApiError> {
    let is_replace = |element: &Value| element.get(PATCH).is_some_and(|directive| directive == "replace");
    if !sent.iter().any(is_replace) {
        return Ok(None);
    }
    let rest = sent.iter().filter(|element| !is_replace(element)).cloned();
    Ok(Some(rest.collect()))
}

fn merge_elements(
    mut merged: Vec<Value>,
    sent: &[Value],
    key: &str,
    element: Option<&Type>,
) -> Result<Vec<Value>, ApiError> {
    for change in sent {
        let Value::Object(change) = change else { continue };
        let Some(identity) = change.get(key) else {
            let message = format!("map: {} does not contain declared merge key: {key}", go_map(change));
            return Err(ApiError::bare(500, message));
        };
        let same = |present: &Value| present.get(key) == Some(identity);
        match change.get(PATCH).map(|directive| directive.as_str().unwrap_or("")) {
            Some("delete") => merged.retain(|present| !same(present)),
            None | Some("merge") => match merged.iter_mut().find(|present| same(present)) {
                Some(present) => {
                    let before = as_map(present.take());
                    *present = Value::Object(merge_map(before, change, element)?);
                }
                None => merged.push(Value::Object(merge_map(Map::new(), change, element)?)),
            },
            Some(other) => return Err(unknown_directive(other, change)),
        }
    }
    Ok(merged)
}

/// Elements that the patch names in the order it gives, woven into the others so that nothing the server ordered changes
/// places.
fn ordered(merged: Vec<Value>, order: &[Value], server: &[Value], identity: impl Fn(&Value) -> Value) -> Vec<Value> {
    let order: Vec<Value> = order.iter().map(&identity).collect();
    let server: Vec<Value> = server.iter().map(&identity).collect();
    let place = |list: &[Value], value: &Value| list.iter().position(|other| *other == identity(value));
    let (mut named, mut others): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|value| place(&order, value).is_some());
    named.sort_by_key(|value| place(&order, value));
    others.sort_by_key(|value| place(&server, value));
    let mut woven = Vec::with_capacity(named.len() + others.len());
    let mut named = named.into_iter().peekable();
    let mut others = others.into_iter().peekable();
    while let (Some(left), Some(right)) = (named.peek(), others.peek()) {
        let right_first = match (place(&server, left), place(&server, right)) {
            (Some(left), Some(right)) => right < left,
            _ => false,
        };
        woven.extend(if right_first { others.next() } else { named.next() });
    }
    woven.extend(named);
    woven.extend(others);
    woven
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(target: Value, patch: Value, wanted: Value) {
        let kind = schema().kind("v1", "Pod");
        assert_eq!(apply(target, &patch, kind).unwrap(), wanted, "{patch}");
    }

    fn containers(list: Value) -> Value {
        json!({ "spec": { "containers": list } })
    }

    #[test]
    fn containers_merge_by_name_and_new_ones_come_first() {
        check(
            containers(json!([{ "name": "a", "image": "1", "args": ["x"] }, { "name": "b" }])),
            containers(json!([{ "name": "c" }, { "name": "a", "image": "2", "args": ["y"] }])),
            containers(json!([{ "name": "c" }, { "name": "a", "image": "2", "args": ["y"] }, { "name": "b" }])),
        );
    }

    #[test]
    fn directives_delete_replace_order_and_retain() {
        let two = || containers(json!([{ "name": "a" }, { "name": "b" }]));
        check(two(), containers(json!([{ "name": "b", "$patch": "delete" }])), containers(json!([{ "name": "a" }])));
        check(
            two(),
            containers(json!([{ "$patch": "replace" }, { "name": "z" }])),
            containers(json!([{ "name": "z" }])),
        );
        let order = json!([{ "name": "b" }, { "name": "a" }]);
        check(
            two(),
            json!({ "spec": { "$setElementOrder/containers": order } }),
            containers(json!([{ "name": "b" }, { "name": "a" }])),
        );
        check(
            json!({ "spec": { "volumes": [{ "name": "v", "emptyDir": {} }] } }),
            json!({ "spec": { "volumes": [{ "name": "v", "$retainKeys": ["name", "secret"], "secret": {} }] } }),
            json!({ "spec": { "volumes": [{ "name": "v", "secret": {} }] } }),
        );
        check(
            json!({ "metadata": { "finalizers": ["a", "b"] } }),
            json!({ "metadata": { "finalizers": ["c"], "$deleteFromPrimitiveList/finalizers": ["a"] } }),
            json!({ "metadata": { "finalizers": ["c", "b"] } }),
        );
        check(
            json!({ "metadata": { "labels": { "a": "1" } } }),
            json!({ "metadata": { "labels": { "$patch": "replace", "b": "2" } } }),
            json!({ "metadata": { "labels": { "b": "2" } } }),
        );
    }

    #[test]
    fn an_element_without_its_key_is_refused_in_the_words_of_the_real_server() {
        let patch = containers(json!([{ "image": "nokey" }]));
        let error = apply(json!({}), &patch, schema().kind("v1", "Pod")).unwrap_err();
        assert_eq!(error.message, "map: map[image:nokey] does not contain declared merge key: name");
        assert_eq!(error.code, 500);
    }
}
