//! How apply sees a value: as a map whose entries have owners of their own, a keyed list, a set, or one whole.
//!
//! Built-in kinds are typed by the generated schema, custom resources by their own structural schema. What neither
//! knows is deduced: maps are granular, lists are atomic.

use serde_json::Value;

use crate::object;
use crate::schema::{Field, ListKind, Scalar, Shape, Type, schema};

/// The type of one value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Typing<'a> {
    Struct(&'a Type),
    Field(&'a Field),
    /// An element of a built-in list or map.
    Element(&'a Shape),
    /// The root of a custom resource.
    CustomRoot(&'a Value),
    /// A node of a structural schema.
    Custom(&'a Value),
    Deduced,
}

/// What a value is to its owners.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Structure {
    /// One value, owned as a whole.
    Whole,
    Map,
    Keyed(Vec<String>),
    Set,
}

impl<'a> Typing<'a> {
    /// The structure that `value` has under this type.
    pub(crate) fn structure(self, value: &Value) -> Structure {
        let map = value.is_object();
        match self {
            Typing::Struct(kind) if map && !kind.atomic => Structure::Map,
            Typing::Field(field) => match &field.shape {
                Shape::List(_) if value.is_array() => match field.list {
                    ListKind::Atomic => Structure::Whole,
                    ListKind::Set => Structure::Set,
                    ListKind::Map => Structure::Keyed(field.list_keys.clone()),
                },
                _ if field.atomic => Structure::Whole,
                shape => Typing::Element(shape).structure(value),
            },
            Typing::Element(Shape::Struct(id)) => Typing::Struct(schema().get(*id)).structure(value),
            Typing::Element(Shape::Map(_)) if map => Structure::Map,
            Typing::Element(Shape::Scalar(Scalar::Raw | Scalar::Json)) => Typing::Deduced.structure(value),
            Typing::CustomRoot(_) if map => Structure::Map,
            Typing::Custom(node) => custom_structure(node, value),
            Typing::Deduced if map => Structure::Map,
            _ => Structure::Whole,
        }
    }

    /// The type of an entry; None when the type declares no such field.
    pub(crate) fn field(self, name: &str) -> Option<Typing<'a>> {
        match self {
            Typing::Struct(kind) => kind.field(name).map(Typing::Field),
            Typing::Field(field) => Typing::Element(&field.shape).field(name),
            Typing::Element(Shape::Struct(id)) => Typing::Struct(schema().get(*id)).field(name),
            Typing::Element(Shape::Map(inner)) => Some(Typing::Element(inner)),
            Typing::Element(Shape::Scalar(_)) | Typing::Deduced => Some(Typing::Deduced),
            Typing::Element(_) => None,
            Typing::CustomRoot(node) => match name {
                "metadata" => schema().named("meta/v1.ObjectMeta").map(Typing::Struct),
                "apiVersion" | "kind" => Some(Typing::Deduced),
                _ => Typing::Custom(node).field(name),
            },
            Typing::Custom(node) => {
                if let Some(declared) = node["properties"].get(name) {
                    return Some(Typing::Custom(declared));
                }
                match node.get("additionalProperties") {
                    Some(Value::Object(_)) => Some(Typing::Custom(&node["additionalProperties"])),
                    Some(Value::Bool(true)) => Some(Typing::Deduced),
                    _ if object::bool_at(node, "/x-kubernetes-preserve-unknown-fields") => Some(Typing::Deduced),
                    _ => None,
                }
            }
        }
    }

    /// The type of the elements of a list.
    pub(crate) fn element(self) -> Typing<'a> {
        match self {
            Typing::Field(Field { shape: Shape::List(element), .. }) | Typing::Element(Shape::List(element)) => {
                Typing::Element(element)
            }
            Typing::Custom(node) if node.get("items").is_some() => Typing::Custom(&node["items"]),
            _ => Typing::Deduced,
        }
    }

    /// Whether entries are fields that the type declares, rather than keys of a map.
    pub(crate) fn declares_fields(self) -> bool {
        match self {
            Typing::Struct(_) | Typing::CustomRoot(_) | Typing::Element(Shape::Struct(_)) => true,
            Typing::Field(field) => Typing::Element(&field.shape).declares_fields(),
            Typing::Custom(node) => node.get("properties").is_some(),
            _ => false,
        }
    }

    /// Whether Go shows this container even when nothing was written to it (a struct, or a list that is never left out).
    pub(crate) fn is_always_there(self) -> bool {
        match self {
            Typing::Field(field) => !field.pointer && (matches!(field.shape, Shape::Struct(_)) || !field.omit_empty),
            _ => false,
        }
    }

    /// The default of a key field, as ports have it for their protocol.
    pub(crate) fn default_of(self, key: &str) -> Option<Value> {
        match self.field(key)? {
            Typing::Field(field) if !field.default.is_empty() => serde_json::from_str(&field.default).ok(),
            Typing::Custom(node) => node.get("default").cloned(),
            _ => None,
        }
    }
}

fn custom_structure(node: &Value, value: &Value) -> Structure {
    match value {
        Value::Object(_) if object::str_at(node, "/x-kubernetes-map-type") == "atomic" => Structure::Whole,
        Value::Object(_) => Structure::Map,
        Value::Array(_) => match object::str_at(node, "/x-kubernetes-list-type") {
            "set" => Structure::Set,
            "map" => {
                let keys = object::array_at(node, "/x-kubernetes-list-map-keys");
                Structure::Keyed(keys.iter().filter_map(Value::as_str).map(str::to_string).collect())
            }
            _ => Structure::Whole,
        },
        _ => Structure::Whole,
    }
}
