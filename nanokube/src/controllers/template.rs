//! Pod templates: when two are the same, and the short hash that names a revision. Any stable hash serves clients;
//! this one has upstream's form (FNV-1a of the template, its decimal digits spelt in letters that make no words).

use serde_json::{Map, Value};

pub const HASH_LABEL: &str = "pod-template-hash";

/// Whether two templates are equal but for the hash label that controllers add.
pub fn equal_ignoring_hash(one: &Value, other: &Value) -> bool {
    canonical(one) == canonical(other)
}

/// The hash of a template; `collisions` distinguishes templates that happened to share one.
pub fn hash(template: &Value, collisions: Option<i64>) -> String {
    let mut state = Fnv::default();
    state.value(&canonical(template));
    if let Some(collisions) = collisions {
        state.bytes(&collisions.to_le_bytes());
    }
    spell(state.0)
}

/// The hash of any JSON value, as controller revisions are named by.
pub fn hash_value(value: &Value, collisions: Option<i64>) -> String {
    let mut state = Fnv::default();
    state.value(value);
    if let Some(collisions) = collisions {
        state.bytes(&collisions.to_le_bytes());
    }
    spell(state.0)
}

/// Decimal digits as letters and digits that cannot form a word.
fn spell(number: u32) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    number.to_string().bytes().map(|digit| char::from(ALPHABET[usize::from(digit) % ALPHABET.len()])).collect()
}

/// Without the hash label and without nulls, which clients send for absent fields.
fn canonical(template: &Value) -> Value {
    let mut template = without_nulls(template);
    let metadata = template.get_mut("metadata").and_then(Value::as_object_mut);
    if let Some(labels) = metadata.and_then(|metadata| metadata.get_mut("labels")).and_then(Value::as_object_mut) {
        labels.remove(HASH_LABEL);
    }
    for field in ["labels", "annotations"] {
        let metadata = template.get_mut("metadata").and_then(Value::as_object_mut);
        let Some(metadata) = metadata else { break };
        if metadata.get(field).and_then(Value::as_object).is_some_and(Map::is_empty) {
            metadata.remove(field);
        }
    }
    template
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key.clone(), without_nulls(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}

/// FNV-1a, 32 bits, over a walk of the value with sorted keys.
struct Fnv(u32);

impl Default for Fnv {
    fn default() -> Fnv {
        Fnv(0x811c_9dc5)
    }
}

impl Fnv {
    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Object(map) => {
                let mut entries: Vec<_> = map.iter().collect();
                entries.sort_by_key(|(key, _)| key.as_str());
                self.bytes(b"{");
                for (key, value) in entries {
                    self.bytes(key.as_bytes());
                    self.bytes(b":");
                    self.value(value);
                }
                self.bytes(b"}");
            }
            Value::Array(items) => {
                self.bytes(b"[");
                items.iter().for_each(|item| self.value(item));
                self.bytes(b"]");
            }
            scalar => {
                self.bytes(scalar.to_string().as_bytes());
                self.bytes(b",");
            }
        }
    }
}
