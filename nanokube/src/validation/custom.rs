//! The values of custom resources beside the schema of their CustomResourceDefinition.
//!
//! The schema is structural (see `definition`), so one walk by type suffices. `metadata`, `apiVersion` and `kind` at
//! the root are the API's own. Not supported: `x-kubernetes-validations` (CEL) and `pattern`.

use serde_json::{Map, Value};

use super::errors::{list, text as string};
use crate::status::{FieldError, FieldErrorKind};

const ROOT_FIELDS: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// What is wrong with the values.
pub fn check(schema: &Value, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    check_at(schema, object, "", &mut errors);
    errors
}

fn check_at(schema: &Value, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if value.is_null() && schema["nullable"] == true {
        return;
    }
    let kind = string(&schema["type"]);
    if !has_type(schema, kind, value) {
        let found = type_name(value);
        let words = format!("{path} in body must be of type {kind}: \"{found}\"");
        errors.push(FieldError::new(FieldErrorKind::TypeInvalid, shown(path), &found.into(), words));
        return;
    }
    let options = list(&schema["enum"]);
    if !options.is_empty() && !options.contains(value) {
        let listed: Vec<String> = options.iter().map(Value::to_string).collect();
        let detail = format!("supported values: {}", listed.join(", "));
        errors.push(FieldError::new(FieldErrorKind::NotSupported, shown(path), value, detail));
    }
    match value {
        Value::Object(map) => check_map(schema, map, value, path, errors),
        Value::Array(elements) => {
            count(schema, ["minItems", "maxItems"], elements.len(), "items", value, path, errors);
            for (index, element) in elements.iter().enumerate() {
                check_at(&schema["items"], element, &format!("{path}[{index}]"), errors);
            }
        }
        Value::String(text) => {
            let length = text.chars().count();
            if let Some(limit) = schema["maxLength"].as_u64().filter(|limit| length as u64 > *limit) {
                errors.push(FieldError::too_long(shown(path), usize::try_from(limit).unwrap_or(usize::MAX)));
            }
            if let Some(limit) = schema["minLength"].as_u64().filter(|limit| (length as u64) < *limit) {
                let words = format!("{path} in body should be at least {limit} chars long");
                errors.push(FieldError::invalid(shown(path), value.clone(), words));
            }
        }
        Value::Number(_) => check_number(schema, value, path, errors),
        Value::Bool(_) | Value::Null => {}
    }
}

fn check_map(schema: &Value, map: &Map<String, Value>, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for name in list(&schema["required"]).iter().map(string) {
        if !map.contains_key(name) {
            errors.push(FieldError::required(join(path, name), ""));
        }
    }
    count(schema, ["minProperties", "maxProperties"], map.len(), "properties", value, path, errors);
    for (name, inner) in map {
        if path.is_empty() && ROOT_FIELDS.contains(&name.as_str()) {
            continue;
        }
        let additional = &schema["additionalProperties"];
        let inner_schema = schema["properties"].get(name).unwrap_or(additional);
        if inner_schema.is_object() {
            check_at(inner_schema, inner, &join(path, name), errors);
        }
    }
}

fn check_number(schema: &Value, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let number = value.as_f64().unwrap_or(0.0);
    let mut wrong = |words: String| errors.push(FieldError::invalid(shown(path), value.clone(), words));
    if let Some(least) = schema["minimum"].as_f64() {
        let exclusive = schema["exclusiveMinimum"] == true;
        if number < least || exclusive && number == least {
            let or_equal = if exclusive { "" } else { " or equal to" };
            wrong(format!("{path} in body should be greater than{or_equal} {}", schema["minimum"]));
        }
    }
    if let Some(most) = schema["maximum"].as_f64() {
        let exclusive = schema["exclusiveMaximum"] == true;
        if number > most || exclusive && number == most {
            let or_equal = if exclusive { "" } else { " or equal to" };
            wrong(format!("{path} in body should be less than{or_equal} {}", schema["maximum"]));
        }
    }
    if let Some(factor) = schema["multipleOf"].as_f64().filter(|factor| *factor > 0.0 && number % factor != 0.0) {
        wrong(format!("{path} in body should be a multiple of {factor}"));
    }
}

fn count(
    schema: &Value,
    [least, most]: [&str; 2],
    found: usize,
    what: &str,
    value: &Value,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    if let Some(limit) = schema[least].as_u64().filter(|limit| (found as u64) < *limit) {
        let words = format!("{path} in body should have at least {limit} {what}");
        errors.push(FieldError::invalid(shown(path), value.clone(), words));
    }
    if let Some(limit) = schema[most].as_u64().filter(|limit| found as u64 > *limit) {
        let words = format!("must have at most {limit} {what}");
        errors.push(FieldError::new(FieldErrorKind::TooMany, shown(path), &found.into(), words));
    }
}

fn has_type(schema: &Value, kind: &str, value: &Value) -> bool {
    match kind {
        _ if schema["x-kubernetes-int-or-string"] == true => value.is_i64() || value.is_u64() || value.is_string(),
        "" => true,
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0),
        _ => true,
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_string() } else { format!("{path}.{name}") }
}

/// The root has a name only where errors are shown.
fn shown(path: &str) -> &str {
    if path.is_empty() { "<nil>" } else { path }
}
