//! Bodies that kubectl sent, bodies made by a little encoder, and bodies broken on purpose.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

use super::*;
use crate::schema::{Field, Scalar, Shape};

/// `body in base64 <TAB> the object in it`, as sent by kubectl 1.32 and 1.36.
const RECORDED: &str = include_str!("recorded_bodies.txt");

fn recorded() -> impl Iterator<Item = (Vec<u8>, Value)> {
    RECORDED.lines().map(|line| {
        let (body, object) = line.split_once('\t').unwrap();
        (BASE64_STANDARD.decode(body).unwrap(), serde_json::from_str(object).unwrap())
    })
}

#[test]
fn bodies_of_kubectl_hold_the_objects_it_meant() {
    for (body, object) in recorded() {
        assert_eq!(decode(&body).unwrap(), object);
    }
}

#[test]
fn what_is_encoded_by_the_schema_is_decoded_to_the_same() {
    let objects = [
        json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "d", "labels": { "a": "",
            "b": "c" }, "creationTimestamp": "2026-11-23T19:59:00Z" }, "spec": { "replicas": 0, "selector":
            { "matchExpressions": [
            { "key": "a", "operator": "In", "values": ["b"] }] }, "strategy": { "rollingUpdate": { "maxSurge": "25%",
            "maxUnavailable": 0 } }, "template": { "spec": { "containers": [{ "name": "c", "resources": { "limits":
            { "cpu": "500m" } }, "livenessProbe": { "httpGet": { "port": "http", "path": "/" }, "periodSeconds": 3 },
            "env": [{ "name": "E", "valueFrom": { "configMapKeyRef": { "name": "m", "key": "k" } } }] }],
            "volumes": [{ "name": "v", "emptyDir": {} }], "terminationGracePeriodSeconds": 0 } } } }),
        json!({ "apiVersion": "v1", "kind": "Secret", "data": { "a": "AAEC/w==" }, "type": "helm.sh/release.v1" }),
        json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": { "holderIdentity": "me",
            "renewTime": "2026-11-23T19:59:00.000123Z" } }),
        json!({ "apiVersion": "v1", "kind": "Pod", "status": { "containerStatuses": [{ "name": "c", "ready": false,
            "restartCount": 0, "image": "i", "imageID": "" }] } }),
        json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "spec": { "group": "g",
            "names": { "plural": "p", "kind": "K" }, "scope": "Namespaced", "versions": [{ "name": "v1", "served": true,
            "storage": false, "schema": { "openAPIV3Schema": { "type": "object", "properties": { "a": {
            "default": [1, "x"], "minimum": 1.5, "additionalProperties": true,
            "items": { "type": "string" } } } } } }] } }),
        json!({ "apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0, "propagationPolicy": "Orphan" }),
    ];
    for object in objects {
        assert_eq!(decode(&encode(&object)).unwrap(), object);
    }
}

#[test]
fn json_inside_the_envelope_is_taken_as_it_is() {
    let mut body = MAGIC.to_vec();
    put(&mut body, 2, br#"{"kind":"Widget"}"#);
    put(&mut body, 4, b"application/json");
    assert_eq!(decode(&body).unwrap(), json!({ "kind": "Widget" }));
}

#[test]
fn broken_bodies_are_refused_with_words() {
    let namespace = encode(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "x" } }));
    let cases: [(&[u8], &str); 5] = [
        (b"", "does not start with k8s"),
        (b"{}", "does not start with k8s"),
        (&namespace[..namespace.len() - 1], "is broken"),
        (&encode(&json!({ "apiVersion": "v9", "kind": "Namespace" })), "no kind \"Namespace\" is registered"),
        (b"k8s\0\x0f", "is broken"),
    ];
    for (body, words) in cases {
        let error = decode(body).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn depth_and_number_of_values_are_limited() {
    let number = |kind: &str, field: &str| schema().named(kind).unwrap().field(field).unwrap().number;
    let wrap = |inner: &[u8], kind: &str, field: &str| {
        let mut outer = Vec::new();
        put(&mut outer, number(&format!("apiextensions/v1.{kind}"), field), inner);
        outer
    };
    let mut body = Vec::new();
    for _ in 0..200 {
        body = wrap(&body, "JSONSchemaProps", "not");
    }
    body = wrap(&body, "CustomResourceValidation", "openAPIV3Schema");
    body = wrap(&body, "CustomResourceDefinitionVersion", "schema");
    body = wrap(&body, "CustomResourceDefinitionSpec", "versions");
    body = wrap(&body, "CustomResourceDefinition", "spec");
    let kind = json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition" });
    assert!(decode(&envelope(&kind, &body)).unwrap_err().0.contains("nested more than"));

    let kind = json!({ "apiVersion": "v1", "kind": "Pod" });
    let (mut spec, mut body) = ([0x12, 0].repeat(MAX_VALUES + 1), Vec::new());
    put(&mut body, 2, &spec);
    spec.clear();
    assert!(decode(&envelope(&kind, &body)).unwrap_err().0.contains("more than"));
}

/// The fuzz target: whatever the bytes, an answer and no panic. Here it is driven from recorded bodies and a seed.
fn fuzz(bytes: &[u8]) {
    let _answer = decode(bytes);
}

#[test]
fn no_body_however_broken_stops_the_decoder() {
    let mut random = SmallRng::seed_from_u64(4);
    let corpus: Vec<Vec<u8>> = recorded().map(|(body, _)| body).collect();
    for _ in 0..20_000 {
        let mut body = corpus[random.random_range(0..corpus.len())].clone();
        for _ in 0..random.random_range(1..8) {
            let at = random.random_range(4..body.len());
            match random.random_range(0..4) {
                0 => body[at] = random.random(),
                1 => body[at] ^= 1 << random.random_range(0..8),
                2 => body.truncate(at.max(5)),
                _ => body.insert(at, random.random()),
            }
        }
        fuzz(&body);
    }
}

fn encode(object: &Value) -> Vec<u8> {
    let text = |key: &str| object[key].as_str().unwrap();
    let Some(kind) = find(schema(), text("apiVersion"), text("kind")) else { return envelope(object, &[]) };
    envelope(object, &message(kind, object))
}

fn envelope(object: &Value, raw: &[u8]) -> Vec<u8> {
    let (mut meta, mut body) = (Vec::new(), MAGIC.to_vec());
    put(&mut meta, 1, object["apiVersion"].as_str().unwrap().as_bytes());
    put(&mut meta, 2, object["kind"].as_str().unwrap().as_bytes());
    put(&mut body, 1, &meta);
    put(&mut body, 2, raw);
    body
}

fn message(kind: &Type, value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    for field in kind.declared() {
        if let (Shape::Struct(id), true) = (&field.shape, field.inline) {
            put(&mut bytes, field.number, &message(schema().get(*id), value));
        } else if let Some(value) = value.get(&field.name) {
            encode_field(&mut bytes, field, value);
        }
    }
    bytes
}

fn encode_field(bytes: &mut Vec<u8>, field: &Field, value: &Value) {
    match &field.shape {
        Shape::List(element) => {
            value.as_array().unwrap().iter().for_each(|value| encode_value(bytes, field.number, element, value));
        }
        Shape::Map(element) => {
            for (key, value) in value.as_object().unwrap() {
                let mut entry = Vec::new();
                put(&mut entry, 1, key.as_bytes());
                encode_value(&mut entry, 2, element, value);
                put(bytes, field.number, &entry);
            }
        }
        shape => encode_value(bytes, field.number, shape, value),
    }
}

fn encode_value(bytes: &mut Vec<u8>, number: u32, shape: &Shape, value: &Value) {
    let int = |value: &Value| value.as_i64().unwrap() as u64;
    let mut inner = Vec::new();
    match shape {
        Shape::Struct(id) => inner = message(schema().get(*id), value),
        Shape::Scalar(Scalar::Bool) => return put_int(bytes, number, u64::from(value == &json!(true))),
        Shape::Scalar(Scalar::Int32 | Scalar::Int64) => return put_int(bytes, number, int(value)),
        Shape::Scalar(Scalar::Float64) => {
            bytes.extend(varint(u64::from(number) << 3 | 1));
            return bytes.extend(value.as_f64().unwrap().to_le_bytes());
        }
        Shape::Scalar(Scalar::Bytes) => inner = BASE64_STANDARD.decode(value.as_str().unwrap()).unwrap(),
        Shape::Scalar(Scalar::Time | Scalar::MicroTime) => {
            let at: jiff::Timestamp = value.as_str().unwrap().parse().unwrap();
            put_int(&mut inner, 1, at.as_second() as u64);
            put_int(&mut inner, 2, at.subsec_nanosecond() as u64);
        }
        Shape::Scalar(Scalar::Quantity) => put(&mut inner, 1, value.as_str().unwrap().as_bytes()),
        Shape::Scalar(Scalar::Json | Scalar::Raw | Scalar::Fields) => put(&mut inner, 1, value.to_string().as_bytes()),
        Shape::Scalar(Scalar::IntOrString) => match value.as_str() {
            Some(text) => {
                put_int(&mut inner, 1, 1);
                put(&mut inner, 3, text.as_bytes());
            }
            None => put_int(&mut inner, 2, int(value)),
        },
        Shape::Scalar(Scalar::SchemaOrBool) => put_int(&mut inner, 1, u64::from(value == &json!(true))),
        Shape::Scalar(Scalar::SchemaOrArray) => {
            put(&mut inner, 1, &message(schema().named("apiextensions/v1.JSONSchemaProps").unwrap(), value));
        }
        _ => inner = value.as_str().unwrap().as_bytes().to_vec(),
    }
    put(bytes, number, &inner);
}

fn put(bytes: &mut Vec<u8>, number: u32, inner: &[u8]) {
    bytes.extend(varint(u64::from(number) << 3 | 2));
    bytes.extend(length(inner.len()));
    bytes.extend(inner);
}

fn put_int(bytes: &mut Vec<u8>, number: u32, value: u64) {
    bytes.extend(varint(u64::from(number) << 3));
    bytes.extend(varint(value));
}

fn length(length: usize) -> Vec<u8> {
    varint(length as u64)
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}
