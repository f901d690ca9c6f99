//! The types of the API: fields, numbers, merge keys and list kinds, from a table generated from Kubernetes' Go types.
//!
//! One table serves four readers: protobuf bodies (numbers), strict decoding (names and types), OpenAPI documents
//! (all of it), and the two merges (strategic: patch keys; apply: list kinds and keys). It is 17 KB in the binary and
//! parsed on first use; `examples/generate_schema.rs` wrote it.

use std::collections::HashMap;
use std::sync::OnceLock;

mod parse;

/// The table as it was generated.
pub const TABLE: &[u8] = include_bytes!("../../data/schema.txt.gz");

/// All types of the served API groups (v1.36).
pub fn schema() -> &'static Schema {
    static SCHEMA: OnceLock<Schema> = OnceLock::new();
    SCHEMA.get_or_init(|| parse::parse(TABLE))
}

/// Types and how to find them.
#[derive(Debug, Default)]
pub struct Schema {
    types: Vec<Type>,
    /// By "core/v1.Container".
    by_name: HashMap<String, TypeId>,
    /// By apiVersion and kind.
    by_kind: HashMap<(String, String), TypeId>,
}

/// Where a type stands in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TypeId(u32);

/// A map with declared fields.
#[derive(Debug)]
pub struct Type {
    /// "core/v1.Container".
    pub name: String,
    /// "io.k8s.api.core.v1.Container".
    pub openapi_name: String,
    /// Set for types that are objects of their own: group, version, kind.
    pub kind: Option<(String, String, String)>,
    /// Apply treats it as one value.
    pub atomic: bool,
    /// As declared: a field that is inlined has no name of its own.
    declared: Vec<Field>,
    /// As JSON shows them, inlined ones among them, in order of declaration.
    fields: Vec<Field>,
    by_json_name: HashMap<String, u32>,
}

/// One field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The JSON name; "" for an inlined type.
    pub name: String,
    /// The protobuf number, 0 for none.
    pub number: u32,
    pub shape: Shape,
    /// Absent and zero differ.
    pub pointer: bool,
    pub omit_empty: bool,
    pub inline: bool,
    pub required: bool,
    /// Strategic merge: elements are merged by `patch_key` (or as a set of scalars without one).
    pub patch_merge: bool,
    /// Strategic merge: keys that the patch does not retain are dropped (`retainKeys`).
    pub patch_retain_keys: bool,
    pub patch_key: String,
    /// Apply: what kind of list.
    pub list: ListKind,
    /// Apply: the keys of a list that is a map.
    pub list_keys: Vec<String>,
    /// Apply: the map (or struct) is one value.
    pub atomic: bool,
    /// The default as JSON text, "" for none.
    pub default: String,
}

/// How apply sees a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListKind {
    #[default]
    Atomic,
    Set,
    Map,
}

/// What values a field has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    Scalar(Scalar),
    /// A named string with the values it may take (empty: any), and its Go name as error texts have it.
    Named {
        go_name: String,
        values: Vec<String>,
    },
    Struct(TypeId),
    List(Box<Shape>),
    Map(Box<Shape>),
}

/// Values without fields of their own; the last ones have a JSON form that differs from their Go fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    String,
    Bool,
    Int32,
    Int64,
    Float64,
    Bytes,
    Time,
    MicroTime,
    Duration,
    Quantity,
    IntOrString,
    /// `RawExtension`: an embedded object.
    Raw,
    /// `FieldsV1`.
    Fields,
    Json,
    SchemaOrBool,
    SchemaOrArray,
    SchemaOrStrings,
}

impl Schema {
    /// The type of objects with this apiVersion and kind.
    pub fn kind(&self, api_version: &str, kind: &str) -> Option<&Type> {
        self.by_kind.get(&(api_version.to_string(), kind.to_string())).map(|id| self.get(*id))
    }

    /// The type of a name such as "core/v1.Container".
    pub fn named(&self, name: &str) -> Option<&Type> {
        self.by_name.get(name).map(|id| self.get(*id))
    }

    pub fn get(&self, id: TypeId) -> &Type {
        &self.types[id.0 as usize]
    }

    /// The id of a type of this schema.
    pub fn id(&self, kind: &Type) -> TypeId {
        self.by_name[&kind.name]
    }

    pub fn types(&self) -> impl Iterator<Item = &Type> {
        self.types.iter()
    }

    /// The struct that a value of this shape is, or that the elements of a list or map are.
    pub fn inner<'a>(&'a self, shape: &Shape) -> Option<&'a Type> {
        match shape {
            Shape::Struct(id) => Some(self.get(*id)),
            Shape::List(element) | Shape::Map(element) => self.inner(element),
            Shape::Scalar(_) | Shape::Named { .. } => None,
        }
    }
}

impl Type {
    /// The field with this JSON name, wherever it was declared.
    pub fn field(&self, json_name: &str) -> Option<&Field> {
        self.by_json_name.get(json_name).map(|at| &self.fields[*at as usize])
    }

    /// All fields as JSON shows them.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The field with this protobuf number.
    pub fn numbered(&self, number: u32) -> Option<&Field> {
        self.declared.iter().find(|field| field.number == number)
    }

    /// All fields as they were declared, inlined types as one.
    pub fn declared(&self) -> &[Field] {
        &self.declared
    }

    /// "Container" of "core/v1.Container".
    pub fn short_name(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or(&self.name)
    }
}

#[cfg(test)]
mod tests;
