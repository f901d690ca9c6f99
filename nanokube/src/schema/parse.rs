//! Reads the generated table. It is ours, so whatever is wrong with it is a broken build: an expect, not an error.
//!
//! Lines of fields separated by tabs: `G key group openapi-prefix` opens a package; `A name meaning values` names a
//! scalar, list or map; `T name flags` opens a type (`K` an object of its own, `a` atomic); `F number name type flags
//! extras` is a field (`p` pointer, `o` omitempty, `i` inline, `r` required; extras `s` patchStrategy, `k`
//! patchMergeKey, `l` listType, `m` listMapKeys, `a` atomic, `d` default). `[]x` is a list of x, `{}x` a map to x.

use std::collections::HashMap;
use std::io::Read;

use flate2::read::GzDecoder;

use super::{Field, ListKind, Scalar, Schema, Shape, Type, TypeId};

pub(super) fn parse(compressed: &[u8]) -> Schema {
    let mut text = String::new();
    GzDecoder::new(compressed).read_to_string(&mut text).expect("invariant: the generated table is gzipped text");
    let names = Names::read(&text);
    let mut schema = Schema { by_name: names.types.clone(), ..Schema::default() };
    let mut package: Vec<&str> = Vec::new();
    for line in text.lines() {
        let mut columns: Vec<&str> = line.split('\t').collect();
        match columns.remove(0) {
            "G" => package = columns,
            "T" => schema.types.push(named_type(&package, columns[0], columns[1])),
            "F" => {
                let field = field(&names, &columns);
                schema.types.last_mut().expect("invariant: fields follow a type").declared.push(field);
            }
            _ => {}
        }
    }
    for index in 0..schema.types.len() {
        let fields = flattened(&schema, &schema.types[index]);
        let kind = &mut schema.types[index];
        kind.by_json_name = fields.iter().zip(0..).map(|(field, at)| (field.name.clone(), at)).collect();
        kind.fields = fields;
        if let Some((group, version, name)) = &kind.kind {
            let api_version = if group.is_empty() { version.clone() } else { format!("{group}/{version}") };
            schema.by_kind.insert((api_version, name.clone()), TypeId(index as u32));
        }
    }
    schema
}

/// What names in the table mean; a first pass, since types are used before they are declared.
struct Names {
    types: HashMap<String, TypeId>,
    aliases: HashMap<String, (String, Vec<String>)>,
}

impl Names {
    fn read(text: &str) -> Names {
        let mut names = Names { types: HashMap::new(), aliases: HashMap::new() };
        let mut package = "";
        for line in text.lines() {
            let columns: Vec<&str> = line.split('\t').collect();
            match columns[0] {
                "G" => package = columns[1],
                "T" => {
                    let id = TypeId(names.types.len() as u32);
                    names.types.insert(format!("{package}.{}", columns[1]), id);
                }
                "A" => {
                    let values = columns[3].split('|').filter(|value| !value.is_empty()).map(str::to_string).collect();
                    names.aliases.insert(format!("{package}.{}", columns[1]), (columns[2].to_string(), values));
                }
                _ => {}
            }
        }
        names
    }

    fn shape(&self, text: &str) -> Shape {
        if let Some(element) = text.strip_prefix("[]") {
            return Shape::List(Box::new(self.shape(element)));
        }
        if let Some(element) = text.strip_prefix("{}") {
            return Shape::Map(Box::new(self.shape(element)));
        }
        if let Some(scalar) = scalar(text) {
            return Shape::Scalar(scalar);
        }
        if let Some(id) = self.types.get(text) {
            return Shape::Struct(*id);
        }
        let Some((meaning, values)) = self.aliases.get(text) else {
            return Shape::Scalar(Scalar::Json);
        };
        match self.shape(meaning) {
            Shape::Scalar(Scalar::String) => Shape::Named {
                go_name: text.split_once('/').map_or(text, |(_, name)| name).to_string(),
                values: values.clone(),
            },
            other => other,
        }
    }
}

fn scalar(text: &str) -> Option<Scalar> {
    Some(match text {
        "string" => Scalar::String,
        "bool" => Scalar::Bool,
        "int32" => Scalar::Int32,
        "int64" => Scalar::Int64,
        "float64" => Scalar::Float64,
        "bytes" => Scalar::Bytes,
        "time" => Scalar::Time,
        "microtime" => Scalar::MicroTime,
        "duration" => Scalar::Duration,
        "quantity" => Scalar::Quantity,
        "intorstring" => Scalar::IntOrString,
        "raw" => Scalar::Raw,
        "fields" => Scalar::Fields,
        "json" => Scalar::Json,
        "schemaorbool" => Scalar::SchemaOrBool,
        "schemaorarray" => Scalar::SchemaOrArray,
        "schemaorstrings" => Scalar::SchemaOrStrings,
        _ => return None,
    })
}

fn named_type(package: &[&str], name: &str, flags: &str) -> Type {
    let (key, group, prefix) = (package[0], package[1], package[2]);
    let version = key.rsplit('/').next().unwrap_or(key);
    let kind = (group.to_string(), version.to_string(), name.to_string());
    Type {
        name: format!("{key}.{name}"),
        openapi_name: format!("{prefix}.{name}"),
        kind: flags.contains('K').then_some(kind),
        atomic: flags.contains('a'),
        declared: Vec::new(),
        fields: Vec::new(),
        by_json_name: HashMap::new(),
    }
}

fn field(names: &Names, columns: &[&str]) -> Field {
    let flags = columns[3];
    let extra = |key: &str| {
        columns[4..].iter().find_map(|extra| extra.strip_prefix(key)?.strip_prefix('=')).unwrap_or_default()
    };
    let strategies: Vec<&str> = extra("s").split(',').collect();
    Field {
        name: columns[1].to_string(),
        number: columns[0].parse().expect("invariant: the generator writes numbers"),
        shape: names.shape(columns[2]),
        pointer: flags.contains('p'),
        omit_empty: flags.contains('o'),
        inline: flags.contains('i'),
        required: flags.contains('r'),
        patch_merge: strategies.contains(&"merge"),
        patch_retain_keys: strategies.contains(&"retainKeys"),
        patch_key: extra("k").to_string(),
        list: match extra("l") {
            "set" => ListKind::Set,
            "map" => ListKind::Map,
            _ => ListKind::Atomic,
        },
        list_keys: extra("m").split(',').filter(|key| !key.is_empty()).map(str::to_string).collect(),
        atomic: extra("a") == "1",
        default: extra("d").to_string(),
    }
}

/// The fields with those of inlined types in the place of these.
fn flattened(schema: &Schema, kind: &Type) -> Vec<Field> {
    let mut fields = Vec::new();
    for field in &kind.declared {
        match (&field.shape, field.inline) {
            (Shape::Struct(id), true) => fields.extend(flattened(schema, schema.get(*id))),
            _ => fields.push(field.clone()),
        }
    }
    if kind.kind.is_some() {
        for name in ["kind", "apiVersion"] {
            fields.push(type_meta_field(name));
        }
    }
    fields
}

/// `kind` and `apiVersion` stand outside of the message in protobuf, but in the object in JSON.
fn type_meta_field(name: &str) -> Field {
    Field {
        name: name.to_string(),
        number: 0,
        shape: Shape::Scalar(Scalar::String),
        pointer: false,
        omit_empty: true,
        inline: false,
        required: false,
        patch_merge: false,
        patch_retain_keys: false,
        patch_key: String::new(),
        list: ListKind::Atomic,
        list_keys: Vec::new(),
        atomic: false,
        default: String::new(),
    }
}
