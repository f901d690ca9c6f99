//! Values whose JSON is not that of their protobuf message: times, quantities, embedded JSON, and the unions of
//! CustomResourceDefinition schemas.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde_json::Value;

use super::DecodeError;
use super::message::Decoder;
use super::wire::{Reader, broken};
use crate::object;
use crate::schema::Scalar;

pub(super) fn value(decoder: &mut Decoder, scalar: Scalar, bytes: &[u8], depth: usize) -> Result<Value, DecodeError> {
    match scalar {
        Scalar::Bytes => Ok(BASE64_STANDARD.encode(bytes).into()),
        Scalar::Time => time(bytes, object::time),
        Scalar::MicroTime => time(bytes, object::micro_time),
        Scalar::Duration => duration(bytes),
        Scalar::Quantity => quantity(bytes),
        Scalar::IntOrString => int_or_string(bytes),
        Scalar::Raw | Scalar::Fields | Scalar::Json => embedded(bytes),
        _ => schema_union(decoder, scalar, bytes, depth),
    }
}

/// `{seconds=1, nanos=2}`; an empty message is no time.
fn time(bytes: &[u8], write: fn(Timestamp) -> String) -> Result<Value, DecodeError> {
    let (mut seconds, mut nanos) = (0, 0);
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.field()? {
        match number {
            1 => seconds = wire.int()?,
            2 => nanos = i32::try_from(wire.int()?).map_err(|_| broken("a time"))?,
            _ => {}
        }
    }
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    Timestamp::new(seconds, nanos).map(|at| write(at).into()).map_err(|_| broken("a time"))
}

/// `{duration=1}` in nanoseconds, as Go prints it when it is whole seconds.
fn duration(bytes: &[u8]) -> Result<Value, DecodeError> {
    let mut nanos = 0;
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.field()? {
        if number == 1 {
            nanos = wire.int()?;
        }
    }
    let seconds = nanos / 1_000_000_000;
    Ok(if nanos % 1_000_000_000 == 0 { format!("{seconds}s") } else { format!("{nanos}ns") }.into())
}

fn quantity(bytes: &[u8]) -> Result<Value, DecodeError> {
    let mut text = "0";
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.field()? {
        if number == 1 {
            text = wire.text()?;
        }
    }
    Ok(text.into())
}

/// `{type=1 (0 number, 1 string), intVal=2, strVal=3}`.
fn int_or_string(bytes: &[u8]) -> Result<Value, DecodeError> {
    let (mut is_text, mut int, mut text) = (false, 0, "");
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.field()? {
        match number {
            1 => is_text = wire.int()? == 1,
            2 => int = wire.int()?,
            3 => text = wire.text()?,
            _ => {}
        }
    }
    Ok(if is_text { text.into() } else { int.into() })
}

/// `{raw=1}`: JSON as it is; nothing is null.
fn embedded(bytes: &[u8]) -> Result<Value, DecodeError> {
    let mut raw: &[u8] = &[];
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.field()? {
        if number == 1 {
            raw = wire.bytes()?;
        }
    }
    if raw.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(raw)
        .map_err(|error| DecodeError(format!("the JSON embedded in the protobuf body is broken: {error}")))
}

/// `OrBool{allows=1, schema=2}`, `OrArray{schema=1, jSONSchemas=2}`, `OrStringArray{schema=1, property=2}`.
fn schema_union(decoder: &mut Decoder, scalar: Scalar, bytes: &[u8], depth: usize) -> Result<Value, DecodeError> {
    let kind = decoder.schema.named("apiextensions/v1.JSONSchemaProps").expect("invariant: in the generated table");
    let schema_number = if scalar == Scalar::SchemaOrBool { 2 } else { 1 };
    let (mut one, mut many, mut allows) = (None, Vec::new(), false);
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.field()? {
        if number == schema_number {
            one = Some(Value::Object(decoder.message(kind, wire.bytes()?, depth + 1)?));
        } else if scalar == Scalar::SchemaOrBool {
            allows = wire.int()? != 0;
        } else if scalar == Scalar::SchemaOrArray {
            many.push(Value::Object(decoder.message(kind, wire.bytes()?, depth + 1)?));
        } else {
            many.push(wire.text()?.into());
        }
    }
    Ok(match one {
        Some(schema) => schema,
        None if scalar == Scalar::SchemaOrBool => allows.into(),
        None => Value::Array(many),
    })
}
