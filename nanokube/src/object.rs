//! An object of the API: plain JSON behind an `Arc`, and small accessors over it.
//!
//! The store, the controllers and the node all share the same immutable value; whoever changes one clones it first.
//! Accessors never fail: a missing or mistyped field reads as absent, as a zero value does in Go's clients.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};

/// A stored object, apiVersion and kind inside.
pub type Object = Arc<Value>;

/// What points at an object from elsewhere (`involvedObject`, `claimRef`, the subject of an event).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectReference {
    pub api_version: String,
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub resource_version: String,
    pub field_path: String,
}

impl ObjectReference {
    /// The reference to `object` as a controller would write it into an event.
    pub fn of(object: &Value) -> ObjectReference {
        ObjectReference {
            api_version: str_at(object, "/apiVersion").to_string(),
            kind: str_at(object, "/kind").to_string(),
            namespace: namespace(object).to_string(),
            name: name(object).to_string(),
            uid: uid(object).to_string(),
            resource_version: str_at(object, "/metadata/resourceVersion").to_string(),
            field_path: String::new(),
        }
    }

    /// The JSON form, empty fields left out.
    pub fn to_value(&self) -> Value {
        let mut map = Map::new();
        let fields = [
            ("apiVersion", &self.api_version),
            ("kind", &self.kind),
            ("namespace", &self.namespace),
            ("name", &self.name),
            ("uid", &self.uid),
            ("resourceVersion", &self.resource_version),
            ("fieldPath", &self.field_path),
        ];
        for (key, value) in fields {
            if !value.is_empty() {
                map.insert(key.to_string(), Value::String(value.clone()));
            }
        }
        Value::Object(map)
    }
}

/// The value at a JSON pointer. Unlike `Value::pointer` it allocates nothing for keys without `~`, which is what makes the
/// accessors below cheap enough for loops over all pods.
pub fn at<'a>(object: &'a Value, pointer: &str) -> Option<&'a Value> {
    if pointer.contains('~') {
        return object.pointer(pointer);
    }
    pointer.split('/').skip(1).try_fold(object, |here, key| match here {
        Value::Object(map) => map.get(key),
        Value::Array(items) => items.get(key.parse::<usize>().ok()?),
        _ => None,
    })
}

/// The string at a JSON pointer, or "".
pub fn str_at<'a>(object: &'a Value, pointer: &str) -> &'a str {
    at(object, pointer).and_then(Value::as_str).unwrap_or("")
}

/// The integer at a JSON pointer.
pub fn i64_at(object: &Value, pointer: &str) -> Option<i64> {
    at(object, pointer).and_then(Value::as_i64)
}

/// The boolean at a JSON pointer, false when absent.
pub fn bool_at(object: &Value, pointer: &str) -> bool {
    at(object, pointer).and_then(Value::as_bool).unwrap_or(false)
}

/// The list at a JSON pointer, empty when absent.
pub fn array_at<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    at(object, pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or(&[])
}

/// The map at a JSON pointer.
pub fn map_at<'a>(object: &'a Value, pointer: &str) -> Option<&'a Map<String, Value>> {
    at(object, pointer).and_then(Value::as_object)
}

/// The RFC 3339 time at a JSON pointer.
pub fn time_at(object: &Value, pointer: &str) -> Option<Timestamp> {
    at(object, pointer).and_then(Value::as_str).and_then(|text| text.parse().ok())
}

pub fn name(object: &Value) -> &str {
    str_at(object, "/metadata/name")
}

pub fn namespace(object: &Value) -> &str {
    str_at(object, "/metadata/namespace")
}

pub fn uid(object: &Value) -> &str {
    str_at(object, "/metadata/uid")
}

pub fn generation(object: &Value) -> i64 {
    i64_at(object, "/metadata/generation").unwrap_or(0)
}

pub fn resource_version(object: &Value) -> u64 {
    str_at(object, "/metadata/resourceVersion").parse().unwrap_or(0)
}

pub fn labels(object: &Value) -> Option<&Map<String, Value>> {
    map_at(object, "/metadata/labels")
}

/// The value of one label.
pub fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    labels(object)?.get(key)?.as_str()
}

/// The value of one annotation.
pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    map_at(object, "/metadata/annotations")?.get(key)?.as_str()
}

pub fn creation_time(object: &Value) -> Option<Timestamp> {
    time_at(object, "/metadata/creationTimestamp")
}

pub fn is_deleting(object: &Value) -> bool {
    at(object, "/metadata/deletionTimestamp").is_some_and(|time| !time.is_null())
}

/// The owner reference with `controller: true`, the one that manages this object.
pub fn owner_of(object: &Value) -> Option<&Value> {
    array_at(object, "/metadata/ownerReferences").iter().find(|owner| bool_at(owner, "/controller"))
}

/// Whether the object with this uid is the managing owner.
pub fn is_controlled_by(object: &Value, owner_uid: &str) -> bool {
    owner_of(object).is_some_and(|owner| str_at(owner, "/uid") == owner_uid)
}

/// The status of a condition: `Some("True")`, `Some("False")`, `Some("Unknown")` or `None`.
pub fn condition_status<'a>(object: &'a Value, kind: &str) -> Option<&'a str> {
    condition(object, kind).map(|condition| str_at(condition, "/status"))
}

/// The condition of this type in `status.conditions`.
pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    array_at(object, "/status/conditions").iter().find(|condition| str_at(condition, "/type") == kind)
}

/// Sets the value at a path of keys, making maps on the way; anything else that stands in the way is replaced.
pub fn set(object: &mut Value, path: &[&str], value: Value) {
    let Some((last, parents)) = path.split_last() else { return };
    let mut here = object;
    for key in parents {
        here = map_mut(here).entry(*key).or_insert_with(|| Value::Object(Map::new()));
    }
    map_mut(here).insert((*last).to_string(), value);
}

/// Removes the value at a path of keys and returns it.
pub fn remove(object: &mut Value, path: &[&str]) -> Option<Value> {
    let (last, parents) = path.split_last()?;
    let mut here = object;
    for key in parents {
        here = here.as_object_mut()?.get_mut(*key)?;
    }
    here.as_object_mut()?.remove(*last)
}

/// The value as a map, replaced by an empty one when it is something else.
pub fn map_mut(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("invariant: the line above made it a map")
}

/// A `Time` as the API writes it: RFC 3339, whole seconds, UTC.
pub fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A `MicroTime` as the API writes it: exactly six fractional digits.
pub fn micro_time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}
