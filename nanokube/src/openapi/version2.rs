//! OpenAPI v2, which clients before 1.29 ask for: the same schemas as one protobuf document of the gnostic models.
//!
//! It is written, never read, so a few functions that put fields suffice. Listed are definitions (what kubectl checks
//! manifests against and merges by) and for each kind a patch operation with its query parameters (how kubectl learns
//! that the server can do a dry run). Extensions are YAML inside; JSON is YAML.

use serde_json::{Map, Value};

use super::types::Schemas;
use super::{PATCH_PARAMETERS, group_version_kind, item_path};
use crate::kind::Registry;
use crate::schema::schema;

/// The document of all kinds.
pub(super) fn build(registry: &Registry) -> Vec<u8> {
    let (mut schemas, mut paths) = (Schemas::default(), Vec::new());
    for kind in registry.kinds() {
        for served in &kind.served {
            match &kind.definition {
                Some(definition) => drop(schemas.add_custom(definition, served, kind)),
                None => drop(schema().kind(&served.to_string(), &kind.kind).map(|kind| schemas.add(kind))),
            }
            if kind.verbs.contains(&"patch") {
                let operation = operation(&group_version_kind(served, &kind.kind));
                put(&mut paths, 2, &named(&item_path(served, kind), &message(8, &operation)));
            }
        }
    }
    let mut definitions = Vec::new();
    for (name, schema) in schemas.into_map() {
        put(&mut definitions, 1, &named(&name, &encode(&schema)));
    }
    let info = [message(1, b"Kubernetes"), message(2, b"v1.36.2")].concat();
    [message(1, b"2.0"), message(2, &info), message(8, &paths), message(9, &definitions)].concat()
}

/// `Operation{parameters=8, vendor_extension=13}`.
fn operation(of_kind: &Value) -> Vec<u8> {
    let mut operation = Vec::new();
    for (name, kind) in PATCH_PARAMETERS {
        let query = [message(2, b"query"), message(4, name.as_bytes()), message(6, kind.as_bytes())].concat();
        // ParametersItem.parameter, Parameter.non_body_parameter, NonBodyParameter.query_parameter_sub_schema.
        put(&mut operation, 8, &message(1, &message(2, &message(3, &query))));
    }
    put(&mut operation, 13, &extension("x-kubernetes-group-version-kind", of_kind));
    put(&mut operation, 13, &extension("x-kubernetes-action", &"patch".into()));
    operation
}

/// `Schema`: of an OpenAPI v3 schema what the older version can say.
fn encode(schema: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    let text = |value: &Value| value.as_str().map(str::to_string);
    let target = text(&schema["$ref"]).or_else(|| text(&schema["allOf"][0]["$ref"]));
    if let Some(target) = target {
        put(&mut bytes, 1, target.replace("#/components/schemas/", "#/definitions/").as_bytes());
    }
    if let Some(format) = schema["format"].as_str() {
        put(&mut bytes, 2, format.as_bytes());
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        put(&mut bytes, 19, name.as_bytes());
    }
    if schema["additionalProperties"].is_object() {
        put(&mut bytes, 21, &message(1, &encode(&schema["additionalProperties"])));
    }
    // A union of types is a string here, as it is in the real document.
    let kind = schema["type"].as_str().or(schema["oneOf"].is_array().then_some("string"));
    if let Some(kind) = kind {
        put(&mut bytes, 22, &message(1, kind.as_bytes()));
    }
    if schema["items"].is_object() {
        put(&mut bytes, 23, &message(1, &encode(&schema["items"])));
    }
    if let Some(properties) = schema["properties"].as_object() {
        put(&mut bytes, 25, &encode_properties(properties));
    }
    for (name, value) in schema.as_object().into_iter().flatten().filter(|(name, _)| name.starts_with("x-")) {
        put(&mut bytes, 31, &extension(name, value));
    }
    bytes
}

fn encode_properties(properties: &Map<String, Value>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, schema) in properties {
        put(&mut bytes, 1, &named(name, &encode(schema)));
    }
    bytes
}

/// `NamedAny{name=1, value=2: Any{yaml=2}}`.
fn extension(name: &str, value: &Value) -> Vec<u8> {
    named(name, &message(2, format!("{value}\n").as_bytes()))
}

/// `{name=1, value=2}`.
fn named(name: &str, value: &[u8]) -> Vec<u8> {
    [message(1, name.as_bytes()), message(2, value)].concat()
}

/// One field with a length.
fn message(number: u8, inner: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(inner.len() + 4);
    put(&mut bytes, number, inner);
    bytes
}

fn put(bytes: &mut Vec<u8>, number: u8, inner: &[u8]) {
    put_varint(bytes, u64::from(number) << 3 | 2);
    put_varint(bytes, inner.len() as u64);
    bytes.extend(inner);
}

fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}
