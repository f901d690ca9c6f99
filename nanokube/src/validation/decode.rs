//! A body beside the schema of its kind: wrong types, unknown fields, keys that occur twice.
//!
//! The JSON text itself is walked, since a parsed value has forgotten order and duplicates. The words are those of Go's
//! decoder with Kubernetes' strictness: the first wrong type makes the body unusable; unknown and duplicate fields are
//! an error, a warning or nothing, as `fieldValidation` says.

use std::collections::HashSet;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::text;
use crate::schema::{Scalar, Schema, Shape, Type, schema};

/// What a body does not have in common with its schema.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// The first value of a wrong type, as Go's decoder words it:
    /// `json: cannot unmarshal number into Go struct field ConfigMap.data of type string`.
    pub type_error: Option<String>,
    /// `unknown field "spec.replicaz"` and `duplicate field "data.a"`, in the order of the text.
    pub strict: Vec<String>,
}

/// Upstream's limit for them.
const STRICT_ERRORS_MAX: usize = 100;

/// Compares JSON text with the schema of a kind. Of kinds without a schema here (custom resources) only duplicate keys
/// are found; text that is no JSON has no findings.
pub fn inspect(api_version: &str, kind: &str, json: &[u8]) -> Findings {
    let schema = schema();
    let mut walk = Walk { schema, path: Vec::new(), found: Findings::default() };
    let expected = schema.kind(api_version, kind).map_or(Expected::Anything, Expected::Type);
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    // A syntax error ends the walk; whoever parses the text reports it.
    let _ended = deserializer.deserialize_any(At { walk: &mut walk, expected, owner: "" });
    walk.found
}

struct Walk<'s> {
    schema: &'s Schema,
    path: Vec<Step>,
    found: Findings,
}

enum Step {
    Field(String),
    Key(String),
    Index(usize),
}

#[derive(Clone, Copy)]
enum Expected<'s> {
    Type(&'s Type),
    Shape(&'s Shape),
    /// No schema: anything goes, but no key twice.
    Anything,
}

impl Walk<'_> {
    /// `spec.containers[0].image`.
    fn full_path(&self, last: &str) -> String {
        let mut path = String::new();
        for step in &self.path {
            match step {
                Step::Field(name) | Step::Key(name) if path.is_empty() => path.push_str(name),
                Step::Field(name) | Step::Key(name) => path.extend([".", name]),
                Step::Index(index) => path.push_str(&format!("[{index}]")),
            }
        }
        if path.is_empty() { last.to_string() } else { format!("{path}.{last}") }
    }

    /// Tells of a field once, and not of more than a client can want to know.
    fn complain(&mut self, what: &str, last: &str) {
        let mistake = format!("{what} field \"{}\"", self.full_path(last));
        if self.found.strict.len() < STRICT_ERRORS_MAX && !self.found.strict.contains(&mistake) {
            self.found.strict.push(mistake);
        }
    }

    /// Go names struct fields only, neither keys nor indices.
    fn field_path(&self) -> String {
        let fields = self.path.iter().filter_map(|step| match step {
            Step::Field(name) => Some(name.as_str()),
            Step::Key(_) | Step::Index(_) => None,
        });
        fields.collect::<Vec<_>>().join(".")
    }

    fn report(&mut self, message: String) {
        self.found.type_error.get_or_insert(message);
    }

    fn go_type(&self, shape: &Shape) -> String {
        match shape {
            Shape::Named { go_name, .. } => go_name.clone(),
            Shape::Struct(id) => go_name(self.schema.get(*id)),
            Shape::List(element) => format!("[]{}", self.go_type(element)),
            Shape::Map(element) => format!("map[string]{}", self.go_type(element)),
            Shape::Scalar(scalar) => match scalar {
                Scalar::Bool => "bool",
                Scalar::Int32 | Scalar::IntOrString => "int32",
                Scalar::Int64 => "int64",
                Scalar::Float64 => "float64",
                Scalar::Bytes => "[]uint8",
                _ => "string",
            }
            .into(),
        }
    }
}

fn go_name(kind: &Type) -> String {
    kind.name.split_once('/').map_or(kind.name.as_str(), |(_, name)| name).to_string()
}

/// One place in the text.
struct At<'w, 's> {
    walk: &'w mut Walk<'s>,
    expected: Expected<'s>,
    /// The Go struct that holds the value.
    owner: &'s str,
}

impl<'s> At<'_, 's> {
    fn mismatch(self, value: &str) {
        let (place, go_type) = match self.expected {
            Expected::Type(kind) => (String::new(), go_name(kind)),
            Expected::Shape(shape) => (self.walk.field_path(), self.walk.go_type(shape)),
            Expected::Anything => return,
        };
        let target = if place.is_empty() { "value".into() } else { format!("struct field {}.{place}", self.owner) };
        self.walk.report(format!("json: cannot unmarshal {value} into Go {target} of type {go_type}"));
    }

    /// The type that a map must have here, if one is declared.
    fn declared(&self) -> Option<&'s Type> {
        match self.expected {
            Expected::Type(kind) => Some(kind),
            Expected::Shape(Shape::Struct(id)) => Some(self.walk.schema.get(*id)),
            Expected::Shape(Shape::Scalar(Scalar::SchemaOrBool | Scalar::SchemaOrArray | Scalar::SchemaOrStrings)) => {
                self.walk.schema.named("apiextensions/v1.JSONSchemaProps")
            }
            Expected::Shape(_) | Expected::Anything => None,
        }
    }

    fn scalar(&self) -> Option<Scalar> {
        match self.expected {
            Expected::Shape(Shape::Scalar(scalar)) => Some(*scalar),
            Expected::Shape(Shape::Named { .. }) => Some(Scalar::String),
            _ => None,
        }
    }

    /// What a key of a map leads to; None when it is not declared, or when what is below is nobody's business.
    fn below(&self, declared: Option<&'s Type>, key: &str) -> Option<(Step, Expected<'s>, &'s str)> {
        let step = || Step::Key(key.to_string());
        match (declared, self.expected) {
            (Some(kind), _) => {
                let field = kind.field(key)?;
                Some((Step::Field(key.to_string()), Expected::Shape(&field.shape), kind.short_name()))
            }
            (None, Expected::Shape(Shape::Map(element))) => Some((step(), Expected::Shape(element), self.owner)),
            (None, Expected::Anything) => Some((step(), Expected::Anything, self.owner)),
            (None, _) => None,
        }
    }

    fn holds_any_json(&self) -> bool {
        matches!(self.scalar(), Some(Scalar::Json | Scalar::Raw | Scalar::Fields))
    }

    fn number(self, fits_int: impl Fn(i64, i64) -> bool, whole: bool, text: &str) {
        let fits = match self.scalar() {
            Some(Scalar::Int32 | Scalar::IntOrString) => whole && fits_int(i64::from(i32::MIN), i64::from(i32::MAX)),
            Some(Scalar::Int64) => whole && fits_int(i64::MIN, i64::MAX),
            Some(Scalar::Float64 | Scalar::Quantity | Scalar::Json | Scalar::Raw | Scalar::Fields) => true,
            Some(_) | None => return self.mismatch("number"),
        };
        if !fits {
            self.mismatch(&format!("number {text}"));
        }
    }
}

impl<'de> DeserializeSeed<'de> for At<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for At<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let declared = self.declared();
        let is_map = declared.is_some() || matches!(self.expected, Expected::Anything | Expected::Shape(Shape::Map(_)));
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            let Some((step, expected, owner)) = self.below(declared, &key) else {
                if declared.is_some() {
                    self.walk.complain("unknown", &key);
                }
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if is_map && !seen.insert(key.clone()) {
                self.walk.complain("duplicate", &key);
            }
            self.walk.path.push(step);
            map.next_value_seed(At { walk: &mut *self.walk, expected, owner })?;
            self.walk.path.pop();
        }
        if !is_map && !self.holds_any_json() {
            self.mismatch("object");
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let expected = match self.expected {
            Expected::Shape(Shape::List(element)) => Expected::Shape(element),
            Expected::Anything => Expected::Anything,
            _ => {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                let unions = [Scalar::SchemaOrArray, Scalar::SchemaOrStrings];
                if !self.holds_any_json() && !self.scalar().is_some_and(|scalar| unions.contains(&scalar)) {
                    self.mismatch("array");
                }
                return Ok(());
            }
        };
        for index in 0.. {
            self.walk.path.push(Step::Index(index));
            let found = list.next_element_seed(At { walk: &mut *self.walk, expected, owner: self.owner })?;
            self.walk.path.pop();
            if found.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        let error = match self.scalar() {
            Some(Scalar::Time) => text::time_error(value, text::TIME_LAYOUT),
            Some(Scalar::MicroTime) => text::time_error(value, text::MICRO_TIME_LAYOUT),
            Some(Scalar::Quantity) => text::quantity_error(value),
            Some(Scalar::Bytes) => text::base64_error(value),
            Some(Scalar::String | Scalar::IntOrString | Scalar::Json | Scalar::Raw | Scalar::Duration) => None,
            Some(_) | None => {
                self.mismatch("string");
                return Ok(());
            }
        };
        if let Some(error) = error {
            self.walk.report(error);
        }
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, _value: bool) -> Result<(), E> {
        if !matches!(self.scalar(), Some(Scalar::Bool | Scalar::Json | Scalar::Raw | Scalar::SchemaOrBool)) {
            self.mismatch("bool");
        }
        Ok(())
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.number(|low, high| (low..=high).contains(&value), true, &value.to_string());
        Ok(())
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.number(|_, high| i64::try_from(value).is_ok_and(|value| value <= high), true, &value.to_string());
        Ok(())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        if !value.is_finite() {
            return Err(E::custom("not a number"));
        }
        self.number(|_, _| false, false, &value.to_string());
        Ok(())
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Ok(())
    }
}
