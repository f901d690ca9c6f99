//! Types of the generated schema as OpenAPI schemas, each with all that it refers to.

use serde_json::{Map, Value, json};

use super::group_version_kind;
use crate::kind::{GroupVersion, Kind};
use crate::schema::{Field, ListKind, Scalar, Shape, Type, schema};

const OBJECT_META: &str = "meta/v1.ObjectMeta";
const LIST_META: &str = "meta/v1.ListMeta";
const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// The schemas of one document.
#[derive(Default)]
pub(super) struct Schemas {
    map: Map<String, Value>,
}

impl Schemas {
    pub(super) fn into_map(self) -> Map<String, Value> {
        self.map
    }

    /// Adds a type and all it refers to; returns its name.
    pub(super) fn add(&mut self, kind: &Type) -> String {
        let name = kind.openapi_name.clone();
        if self.map.contains_key(&name) {
            return name;
        }
        // Holds the place, since types refer to themselves.
        self.map.insert(name.clone(), Value::Null);
        let mut properties = Map::new();
        for field in kind.fields() {
            properties.insert(field.name.clone(), self.property(field));
        }
        let required: Vec<&str> =
            kind.fields().iter().filter(|field| field.required).map(|field| field.name.as_str()).collect();
        let mut schema = json!({ "type": "object" });
        if !properties.is_empty() {
            schema["properties"] = properties.into();
        }
        if !required.is_empty() {
            schema["required"] = required.into();
        }
        if kind.atomic {
            schema["x-kubernetes-map-type"] = "atomic".into();
        }
        if let Some((group, version, kind)) = &kind.kind {
            let of_kind = group_version_kind(&GroupVersion::new(group, version), kind);
            schema["x-kubernetes-group-version-kind"] = json!([of_kind]);
        }
        self.map.insert(name.clone(), schema);
        name
    }

    /// The list of a kind.
    pub(super) fn add_list(&mut self, group_version: &GroupVersion, kind: &Kind) {
        if let Some(list) = schema().kind(&group_version.to_string(), &kind.list_kind) {
            self.add(list);
        }
    }

    /// The schema that a definition declares for one version, and with it what every object has.
    pub(super) fn add_custom(&mut self, definition: &Value, group_version: &GroupVersion, kind: &Kind) -> String {
        let versions = definition["spec"]["versions"].as_array().into_iter().flatten();
        let declared = versions.filter(|version| version["name"] == group_version.version.as_str());
        let declared = declared.map(|version| version["schema"]["openAPIV3Schema"].clone()).next();
        let mut schema = declared.filter(Value::is_object).unwrap_or_else(|| json!({ "type": "object" }));
        if !schema["properties"].is_object() {
            schema["properties"] = json!({});
        }
        let metadata = self.add(schema_type(OBJECT_META));
        schema["properties"]["apiVersion"] = json!({ "type": "string" });
        schema["properties"]["kind"] = json!({ "type": "string" });
        schema["properties"]["metadata"] = reference(&metadata);
        schema["x-kubernetes-group-version-kind"] = json!([group_version_kind(group_version, &kind.kind)]);
        let group: Vec<&str> = group_version.group.rsplit('.').collect();
        let prefix = format!("{}.{}", group.join("."), group_version.version);
        let (name, list) = (format!("{prefix}.{}", kind.kind), format!("{prefix}.{}", kind.list_kind));
        self.map.insert(name.clone(), schema);
        let list_metadata = self.add(schema_type(LIST_META));
        self.map.insert(
            list,
            json!({
                "type": "object",
                "required": ["items"],
                "properties": {
                    "apiVersion": { "type": "string" },
                    "kind": { "type": "string" },
                    "metadata": reference(&list_metadata),
                    "items": { "type": "array", "items": reference(&name) },
                },
                "x-kubernetes-group-version-kind": [group_version_kind(group_version, &kind.list_kind)],
            }),
        );
        name
    }

    fn property(&mut self, field: &Field) -> Value {
        let mut property = self.shape(&field.shape);
        let annotations = annotations(field);
        if annotations.is_empty() {
            return property;
        }
        if property["$ref"].is_string() {
            // Whatever stands beside a $ref is ignored.
            property = json!({ "allOf": [property] });
        }
        property.as_object_mut().expect("invariant: shapes are maps").extend(annotations);
        property
    }

    fn shape(&mut self, shape: &Shape) -> Value {
        match shape {
            Shape::Struct(id) => reference(&self.add(schema().get(*id))),
            Shape::List(element) => json!({ "type": "array", "items": self.shape(element) }),
            Shape::Map(element) => json!({ "type": "object", "additionalProperties": self.shape(element) }),
            Shape::Named { values, .. } if !values.is_empty() => json!({ "type": "string", "enum": values }),
            Shape::Named { .. } => json!({ "type": "string" }),
            Shape::Scalar(scalar) => self.scalar(*scalar),
        }
    }

    fn scalar(&mut self, scalar: Scalar) -> Value {
        let apiextensions = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1";
        let (name, schema) = match scalar {
            Scalar::String => return json!({ "type": "string" }),
            Scalar::Bool => return json!({ "type": "boolean" }),
            Scalar::Int32 => return json!({ "type": "integer", "format": "int32" }),
            Scalar::Int64 => return json!({ "type": "integer", "format": "int64" }),
            Scalar::Float64 => return json!({ "type": "number", "format": "double" }),
            Scalar::Bytes => return json!({ "type": "string", "format": "byte" }),
            Scalar::Time => (format!("{META}.Time"), json!({ "type": "string", "format": "date-time" })),
            Scalar::MicroTime => (format!("{META}.MicroTime"), json!({ "type": "string", "format": "date-time" })),
            Scalar::Duration => (format!("{META}.Duration"), json!({ "type": "string" })),
            Scalar::Fields => (format!("{META}.FieldsV1"), json!({ "type": "object" })),
            Scalar::Quantity => (
                "io.k8s.apimachinery.pkg.api.resource.Quantity".into(),
                json!({ "oneOf": [{ "type": "string" }, { "type": "number" }] }),
            ),
            Scalar::IntOrString => (
                "io.k8s.apimachinery.pkg.util.intstr.IntOrString".into(),
                json!({ "oneOf": [{ "type": "integer" }, { "type": "string" }], "format": "int-or-string" }),
            ),
            Scalar::Raw => ("io.k8s.apimachinery.pkg.runtime.RawExtension".into(), json!({ "type": "object" })),
            Scalar::Json => (format!("{apiextensions}.JSON"), json!({})),
            Scalar::SchemaOrBool => (format!("{apiextensions}.JSONSchemaPropsOrBool"), json!({})),
            Scalar::SchemaOrArray => (format!("{apiextensions}.JSONSchemaPropsOrArray"), json!({})),
            Scalar::SchemaOrStrings => (format!("{apiextensions}.JSONSchemaPropsOrStringArray"), json!({})),
        };
        self.map.insert(name.clone(), schema);
        reference(&name)
    }
}

pub(super) fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn schema_type(name: &str) -> &'static Type {
    schema().named(name).expect("invariant: metadata is in the generated table")
}

/// Defaults, and what the two merges need to know.
fn annotations(field: &Field) -> Map<String, Value> {
    let mut annotations = Map::new();
    let mut add = |key: &str, value: Value| annotations.insert(key.to_string(), value);
    if let Ok(default) = serde_json::from_str::<Value>(&field.default) {
        add("default", default);
    }
    let strategies: Vec<&str> = [(field.patch_merge, "merge"), (field.patch_retain_keys, "retainKeys")]
        .into_iter()
        .filter_map(|(has, strategy)| has.then_some(strategy))
        .collect();
    if !strategies.is_empty() {
        add("x-kubernetes-patch-strategy", strategies.join(",").into());
    }
    if !field.patch_key.is_empty() {
        add("x-kubernetes-patch-merge-key", field.patch_key.as_str().into());
    }
    if matches!(field.shape, Shape::List(_)) {
        let kind = match field.list {
            ListKind::Atomic => "atomic",
            ListKind::Set => "set",
            ListKind::Map => "map",
        };
        add("x-kubernetes-list-type", kind.into());
    }
    if !field.list_keys.is_empty() {
        add("x-kubernetes-list-map-keys", field.list_keys.clone().into());
    }
    if field.atomic {
        add("x-kubernetes-map-type", "atomic".into());
    }
    annotations
}
