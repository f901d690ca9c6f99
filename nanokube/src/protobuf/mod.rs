//! Decodes `application/vnd.kubernetes.protobuf` request bodies to JSON, by the generated schema and nothing else.
//!
//! A body is the magic `k8s\0` and a `runtime.Unknown` that names the kind and holds the message. There is no message
//! written by hand: field numbers, names and whether a zero counts as absent come from the Go types of v1.36. Answers
//! stay JSON; every client that sends protobuf also accepts that. Depth and the number of values are limited, so that a
//! small body cannot become a large object.

use std::fmt;

use serde_json::{Map, Value};

use crate::schema::{Schema, Type, schema};

mod message;
mod special;
mod wire;

use wire::Reader;

/// What every body starts with.
pub const MAGIC: &[u8] = b"k8s\0";

/// Messages inside messages.
pub const MAX_DEPTH: usize = 64;

/// Values of one body; an object of 1.5 MB has less than a tenth of it.
pub const MAX_VALUES: usize = 1_000_000;

/// Why a body is not an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError(pub String);

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DecodeError {}

/// The object in a body, apiVersion and kind inside.
pub fn decode(body: &[u8]) -> Result<Value, DecodeError> {
    let Some(unknown) = body.strip_prefix(MAGIC) else {
        return Err(DecodeError("the body is not protobuf of Kubernetes: it does not start with k8s\\0".into()));
    };
    let unknown = Unknown::read(unknown)?;
    if !unknown.content_encoding.is_empty() {
        return Err(DecodeError(format!(
            "unsupported content encoding {:?} in a protobuf body",
            unknown.content_encoding
        )));
    }
    if unknown.content_type == "application/json" {
        let error = |error| DecodeError(format!("the JSON in the protobuf body is broken: {error}"));
        return serde_json::from_slice(unknown.raw).map_err(error);
    }
    let schema = schema();
    let kind = find(schema, unknown.api_version, unknown.kind).ok_or_else(|| {
        let (version, kind) = (unknown.api_version, unknown.kind);
        DecodeError(format!("no kind {kind:?} is registered for version {version:?} in protobuf bodies"))
    })?;
    let mut decoder = message::Decoder::new(schema);
    let mut object = decoder.message(kind, unknown.raw, 0)?;
    stamp(&mut object, unknown.api_version, unknown.kind);
    Ok(Value::Object(object))
}

/// Types of every group that clients send under the group's own version (`DeleteOptions` of meta.k8s.io as `v1`).
fn find<'a>(schema: &'a Schema, api_version: &str, kind: &str) -> Option<&'a Type> {
    schema.kind(api_version, kind).or_else(|| schema.named(&format!("meta/v1.{kind}")))
}

fn stamp(object: &mut Map<String, Value>, api_version: &str, kind: &str) {
    for (key, text) in [("apiVersion", api_version), ("kind", kind)] {
        if !text.is_empty() {
            object.insert(key.into(), text.into());
        }
    }
}

/// `runtime.Unknown`: the envelope.
#[derive(Default)]
struct Unknown<'a> {
    api_version: &'a str,
    kind: &'a str,
    raw: &'a [u8],
    content_encoding: &'a str,
    content_type: &'a str,
}

impl<'a> Unknown<'a> {
    fn read(bytes: &'a [u8]) -> Result<Unknown<'a>, DecodeError> {
        let mut unknown = Unknown::default();
        let mut reader = Reader::new(bytes);
        while let Some((number, value)) = reader.field()? {
            match number {
                1 => {
                    let mut meta = Reader::new(value.bytes()?);
                    while let Some((number, value)) = meta.field()? {
                        match number {
                            1 => unknown.api_version = value.text()?,
                            2 => unknown.kind = value.text()?,
                            _ => {}
                        }
                    }
                }
                2 => unknown.raw = value.bytes()?,
                3 => unknown.content_encoding = value.text()?,
                4 => unknown.content_type = value.text()?,
                _ => {}
            }
        }
        Ok(unknown)
    }
}

#[cfg(test)]
mod tests;
