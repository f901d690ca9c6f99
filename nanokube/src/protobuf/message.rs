//! Messages to JSON maps, by the schema.
//!
//! Go writes every non-pointer field, zero or not, so a zero or empty one that its JSON may omit (`omitempty`) is
//! dropped; one that means something (`replicas: 0` behind a pointer, `ready: false` that is always written) stays.
//! Lists are repeated fields, maps are repeated pairs, inlined types are messages whose fields go into the map around
//! them.

use serde_json::{Map, Value};

use super::wire::{Reader, Wire, broken};
use super::{DecodeError, MAX_DEPTH, MAX_VALUES, special};
use crate::schema::{Field, Scalar, Schema, Shape, Type};

pub(super) struct Decoder<'s> {
    pub(super) schema: &'s Schema,
    values_left: usize,
}

impl<'s> Decoder<'s> {
    pub(super) fn new(schema: &'s Schema) -> Decoder<'s> {
        Decoder { schema, values_left: MAX_VALUES }
    }

    pub(super) fn message(
        &mut self,
        kind: &Type,
        bytes: &[u8],
        depth: usize,
    ) -> Result<Map<String, Value>, DecodeError> {
        if depth > MAX_DEPTH {
            return Err(DecodeError(format!("the protobuf body is nested more than {MAX_DEPTH} deep")));
        }
        let mut map = Map::new();
        let mut reader = Reader::new(bytes);
        while let Some((number, wire)) = reader.field()? {
            let Some(field) = kind.numbered(number) else { continue };
            self.field(&mut map, field, wire, depth)?;
        }
        map.retain(|name, value| !kind.field(name).is_some_and(|field| is_omitted(field, value)));
        Ok(map)
    }

    fn field(
        &mut self,
        map: &mut Map<String, Value>,
        field: &Field,
        wire: Wire,
        depth: usize,
    ) -> Result<(), DecodeError> {
        self.values_left = self
            .values_left
            .checked_sub(1)
            .ok_or_else(|| DecodeError(format!("the protobuf body holds more than {MAX_VALUES} values")))?;
        match &field.shape {
            Shape::Struct(id) if field.inline => {
                map.append(&mut self.message(self.schema.get(*id), wire.bytes()?, depth + 1)?);
            }
            Shape::List(element) => {
                let list = map.entry(field.name.as_str()).or_insert_with(|| Value::Array(Vec::new()));
                let Value::Array(list) = list else { return Err(broken("a list")) };
                match (wire, &**element) {
                    (Wire::Bytes(packed), Shape::Scalar(Scalar::Int32 | Scalar::Int64)) => {
                        let mut packed = Reader::new(packed);
                        while !packed.is_empty() {
                            list.push((packed.varint()? as i64).into());
                        }
                    }
                    _ => list.push(self.value(element, wire, depth)?),
                }
            }
            Shape::Map(element) => {
                let (key, value) = self.entry(element, wire, depth)?;
                let entries = map.entry(field.name.as_str()).or_insert_with(|| Value::Object(Map::new()));
                let Value::Object(entries) = entries else { return Err(broken("a map")) };
                entries.insert(key, value);
            }
            shape => {
                let value = self.value(shape, wire, depth)?;
                map.insert(field.name.clone(), value);
            }
        }
        Ok(())
    }

    /// One `{key=1, value=2}` of a map.
    fn entry(&mut self, element: &Shape, wire: Wire, depth: usize) -> Result<(String, Value), DecodeError> {
        let (mut key, mut value) = (String::new(), None);
        let mut reader = Reader::new(wire.bytes()?);
        while let Some((number, wire)) = reader.field()? {
            match number {
                1 => key = wire.text()?.to_string(),
                2 => value = Some(self.value(element, wire, depth + 1)?),
                _ => {}
            }
        }
        let value = match value {
            Some(value) => value,
            None => self.value(element, Wire::Bytes(&[]), depth + 1)?,
        };
        Ok((key, value))
    }

    fn value(&mut self, shape: &Shape, wire: Wire, depth: usize) -> Result<Value, DecodeError> {
        match shape {
            Shape::Named { .. } => Ok(wire.text()?.into()),
            Shape::Struct(id) => Ok(Value::Object(self.message(self.schema.get(*id), wire.bytes()?, depth + 1)?)),
            Shape::Scalar(scalar) => self.scalar(*scalar, wire, depth),
            // A list inside a list or map is a message with the elements as field 1 (`ExtraValue{items=1}`).
            Shape::List(element) => {
                let mut list = Vec::new();
                let mut reader = Reader::new(wire.bytes()?);
                while let Some((_, wire)) = reader.field()? {
                    list.push(self.value(element, wire, depth + 1)?);
                }
                Ok(Value::Array(list))
            }
            Shape::Map(_) => Err(broken("a map of maps")),
        }
    }

    fn scalar(&mut self, scalar: Scalar, wire: Wire, depth: usize) -> Result<Value, DecodeError> {
        Ok(match scalar {
            Scalar::String => wire.text()?.into(),
            Scalar::Bool => (wire.int()? != 0).into(),
            Scalar::Int32 => i32::try_from(wire.int()?).map_err(|_| broken("a number of 32 bits"))?.into(),
            Scalar::Int64 => wire.int()?.into(),
            Scalar::Float64 => wire.float()?.into(),
            other => special::value(self, other, wire.bytes()?, depth)?,
        })
    }
}

/// What Go would not have written as JSON.
fn is_omitted(field: &Field, value: &Value) -> bool {
    if value.is_null() {
        return field.pointer || field.omit_empty;
    }
    if field.pointer {
        return false;
    }
    if let Value::Object(map) = value {
        return map.is_empty();
    }
    field.omit_empty
        && match value {
            Value::Bool(value) => !value,
            Value::Number(number) => number.as_f64() == Some(0.0),
            Value::String(text) => text.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::Object(_) | Value::Null => true,
        }
}
