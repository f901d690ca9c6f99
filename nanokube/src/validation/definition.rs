//! CustomResourceDefinitions: names, versions, structural schemas, columns.

use std::collections::HashSet;

use serde_json::Value;

use super::errors::{Errors, entries, list, text as string};
use super::text;

/// Schemas nested deeper are refused.
const MAX_DEPTH: usize = 64;

pub(super) fn definition(object: &Value, old: Option<&Value>, errors: &mut Errors) {
    let spec = &object["spec"];
    let (name, group) = (string(&object["metadata"]["name"]), string(&spec["group"]));
    let plural = string(&spec["names"]["plural"]);
    if name != format!("{plural}.{group}") {
        errors.invalid("metadata.name", name, "must be spec.names.plural+\".\"+spec.group");
    }
    if group.is_empty() {
        errors.required("spec.group", "");
    } else {
        errors.invalid_text("spec.group", group, text::dns_subdomain(group));
        if !group.contains('.') {
            errors.invalid("spec.group", group, "should be a domain with at least one dot");
        }
    }
    let scopes = ["Cluster", "Namespaced"];
    if string(&spec["scope"]).is_empty() {
        errors.required("spec.scope", "");
    } else {
        errors.one_of("spec.scope", &spec["scope"], &scopes);
    }
    if spec["preserveUnknownFields"] == true {
        errors.invalid("spec.preserveUnknownFields", true, "must be false");
    }
    versions(&spec["versions"], errors);
    errors.one_of("spec.conversion.strategy", &spec["conversion"]["strategy"], &["None", "Webhook"]);
    names(&spec["names"], errors);
    if let Some(old) = old {
        update(spec, &old["spec"], errors);
    }
}

fn update(new: &Value, old: &Value, errors: &mut Errors) {
    errors.immutable("spec.group", &new["group"], &old["group"]);
    errors.immutable("spec.names.plural", &new["names"]["plural"], &old["names"]["plural"]);
    errors.immutable("spec.scope", &new["scope"], &old["scope"]);
    errors.immutable("spec.names.kind", &new["names"]["kind"], &old["names"]["kind"]);
}

fn names(names: &Value, errors: &mut Errors) {
    for (field, needed) in [("plural", true), ("singular", false), ("kind", true), ("listKind", true)] {
        let path = format!("spec.names.{field}");
        let name = string(&names[field]);
        match name {
            "" if needed => errors.required(path, ""),
            "" => {}
            _ => errors.invalid_text(&path, name, text::dns_1035_label(&name.to_lowercase())),
        }
    }
    if string(&names["kind"]) == string(&names["listKind"]) && !string(&names["kind"]).is_empty() {
        errors.invalid("spec.names.listKind", string(&names["listKind"]), "kind and listKind may not be the same");
    }
    for (field, path) in [("shortNames", "spec.names.shortNames"), ("categories", "spec.names.categories")] {
        for (index, name) in list(&names[field]).iter().enumerate() {
            errors.invalid_text(&format!("{path}[{index}]"), string(name), text::dns_1035_label(string(name)));
        }
    }
}

fn versions(versions: &Value, errors: &mut Errors) {
    let mut seen = HashSet::new();
    let mut unique = true;
    for (index, version) in list(versions).iter().enumerate() {
        let path = format!("spec.versions[{index}]");
        let name = string(&version["name"]);
        unique &= seen.insert(name);
        errors.invalid_text(&format!("{path}.name"), name, text::dns_1035_label(name));
        self::version(version, &path, errors);
    }
    if !unique {
        errors.invalid("spec.versions", versions.clone(), "must contain unique version names");
    }
    if list(versions).iter().filter(|version| version["storage"] == true).count() != 1 {
        let words = "must have exactly one version marked as storage version";
        errors.invalid("spec.versions", versions.clone(), words);
    }
}

fn version(version: &Value, path: &str, errors: &mut Errors) {
    let schema = &version["schema"]["openAPIV3Schema"];
    let schema_path = format!("{path}.schema.openAPIV3Schema");
    if schema.is_null() {
        errors.required(schema_path, "schemas are required");
    } else {
        match string(&schema["type"]) {
            "object" => {}
            "" => errors.required(format!("{schema_path}.type"), "must not be empty at the root"),
            other => errors.invalid(format!("{schema_path}.type"), other, "must be object at the root"),
        }
        structure(schema, &schema_path, "", 0, errors);
    }
    for (index, column) in list(&version["additionalPrinterColumns"]).iter().enumerate() {
        let path = format!("{path}.additionalPrinterColumns[{index}]");
        if string(&column["name"]).is_empty() {
            errors.required(format!("{path}.name"), "");
        }
        let kinds = ["boolean", "date", "integer", "number", "string"];
        if string(&column["type"]).is_empty() {
            let words = format!("must be one of {}", kinds.join(","));
            errors.required(format!("{path}.type"), &words);
        } else if !kinds.contains(&string(&column["type"])) {
            let words = format!("must be one of {}", kinds.join(","));
            errors.invalid(format!("{path}.type"), string(&column["type"]), words);
        }
        if string(&column["jsonPath"]).is_empty() {
            errors.required(format!("{path}.jsonPath"), "");
        }
    }
    let scale = &version["subresources"]["scale"];
    if !scale.is_null() {
        for (field, root) in [("specReplicasPath", ".spec."), ("statusReplicasPath", ".status.")] {
            let path = format!("{path}.subresources.scale.{field}");
            match string(&scale[field]) {
                "" => errors.required(path, ""),
                value if !value.starts_with(root) => {
                    errors.invalid(path, value, format!("should be a json path under {}", root.trim_end_matches('.')));
                }
                _ => {}
            }
        }
    }
}

/// How the elements of a list are told apart.
fn list_kind(schema: &Value, path: &str, errors: &mut Errors) {
    let (kind, keys) = (&schema["x-kubernetes-list-type"], list(&schema["x-kubernetes-list-map-keys"]));
    let keys_path = format!("{path}.x-kubernetes-list-map-keys");
    if !kind.is_null() && string(&schema["type"]) != "array" {
        let words = "must be array if x-kubernetes-list-type is specified";
        match string(&schema["type"]) {
            "" => errors.required(format!("{path}.type"), words),
            other => errors.invalid(format!("{path}.type"), other, words),
        }
    }
    errors.one_of(&format!("{path}.x-kubernetes-list-type"), kind, &["atomic", "map", "set"]);
    match string(kind) {
        "map" if keys.is_empty() => errors.required(keys_path, "must not be empty if x-kubernetes-list-type is map"),
        "map" => {
            for (index, key) in keys.iter().enumerate() {
                if schema["items"]["properties"][string(key)].is_null() {
                    let words = "entries must all be names of item properties";
                    errors.invalid(format!("{keys_path}[{index}]"), string(key), words);
                }
            }
        }
        _ if !keys.is_empty() => {
            errors.forbidden(keys_path, "must not be specified if x-kubernetes-list-type is not map");
        }
        _ => {}
    }
}

/// A schema is structural: every field, element and value has a type.
fn structure(schema: &Value, path: &str, what: &str, depth: usize, errors: &mut Errors) {
    if depth > MAX_DEPTH {
        return errors.forbidden(path, format!("schemas may not be nested more than {MAX_DEPTH} deep"));
    }
    let free = schema["x-kubernetes-int-or-string"] == true
        || schema["x-kubernetes-preserve-unknown-fields"] == true && schema["properties"].is_null();
    let kind = string(&schema["type"]);
    if kind.is_empty() && !what.is_empty() && !free {
        errors.required(format!("{path}.type"), &format!("must not be empty for specified {what}"));
    }
    let kinds = ["array", "boolean", "integer", "number", "object", "string"];
    if !kind.is_empty() && !kinds.contains(&kind) {
        errors.not_supported(format!("{path}.type"), &schema["type"], &kinds);
    }
    if kind == "array" && schema["items"].is_null() {
        errors.required(format!("{path}.items"), "must be specified");
    }
    if schema["uniqueItems"] == true {
        let words = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.forbidden(format!("{path}.uniqueItems"), words);
    }
    if schema["x-kubernetes-preserve-unknown-fields"] == false {
        errors.invalid(format!("{path}.x-kubernetes-preserve-unknown-fields"), false, "must be true or undefined");
    }
    list_kind(schema, path, errors);
    for (name, property) in entries(&schema["properties"]) {
        structure(property, &format!("{path}.properties[{name}]"), "object fields", depth + 1, errors);
    }
    if schema["items"].is_object() {
        structure(&schema["items"], &format!("{path}.items"), "array items", depth + 1, errors);
    }
    let additional = &schema["additionalProperties"];
    if additional.is_object() {
        let path = format!("{path}.additionalProperties");
        structure(additional, &path, "object fields", depth + 1, errors);
        if !schema["properties"].is_null() {
            errors.forbidden(path, "must not be used with properties");
        }
    }
    for field in ["$ref", "definitions", "dependencies", "patternProperties", "id"] {
        if !schema[field].is_null() {
            errors.forbidden(format!("{path}.{field}"), format!("{field} is not supported"));
        }
    }
}
