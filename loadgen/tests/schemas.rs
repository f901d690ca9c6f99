//! The published JSON schemas against the Rust types: what one accepts, the other accepts, down to the field names.
//!
//! A small validator knows the words that the schemas use and refuses any other, so that a schema cannot promise more
//! than is checked here.

// Only tests and what serves them.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use loadgen::scenario::Scenario;
use serde_json::{Value, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn schema(path: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(root().join(path)).unwrap()).unwrap()
}

/// Checks a value; the first place where it does not fit.
fn validate(root: &Value, schema: &Value, value: &Value, place: &str) -> Result<(), String> {
    let Some(rules) = schema.as_object() else { return Ok(()) };
    for (word, rule) in rules {
        let fits = match word.as_str() {
            "$schema" | "$id" | "title" | "description" | "$defs" | "default" | "examples" => true,
            "$ref" => {
                let path = rule.as_str().unwrap().trim_start_matches('#');
                return validate(root, root.pointer(path).unwrap_or_else(|| panic!("no {path}")), value, place);
            }
            "type" => is_type(rule.as_str().unwrap(), value),
            "enum" => rule.as_array().unwrap().contains(value),
            "const" => rule == value,
            "minimum" => value.as_f64().is_none_or(|number| number >= rule.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|number| number <= rule.as_f64().unwrap()),
            "minItems" => value.as_array().is_none_or(|items| items.len() as u64 >= rule.as_u64().unwrap()),
            "maxItems" => value.as_array().is_none_or(|items| items.len() as u64 <= rule.as_u64().unwrap()),
            "required" => {
                let fields = rule.as_array().unwrap();
                let missing =
                    fields.iter().find(|name| value.is_object() && value.get(name.as_str().unwrap()).is_none());
                match missing {
                    Some(name) => return Err(format!("{place}: {name} is missing")),
                    None => true,
                }
            }
            "properties" => {
                for (name, inner) in rule.as_object().unwrap() {
                    if let Some(field) = value.get(name) {
                        validate(root, inner, field, &format!("{place}.{name}"))?;
                    }
                }
                true
            }
            "additionalProperties" => {
                let known = rules.get("properties").and_then(Value::as_object);
                for (name, field) in value.as_object().into_iter().flatten() {
                    if known.is_some_and(|known| known.contains_key(name)) {
                        continue;
                    }
                    if *rule == json!(false) {
                        return Err(format!("{place}: {name} is not known"));
                    }
                    validate(root, rule, field, &format!("{place}.{name}"))?;
                }
                true
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    validate(root, rule, item, &format!("{place}[{index}]"))?;
                }
                true
            }
            "oneOf" => {
                let fitting = rule.as_array().unwrap().iter().filter(|one| validate(root, one, value, place).is_ok());
                fitting.count() == 1
            }
            other => panic!("the validator does not know `{other}`"),
        };
        if !fits {
            return Err(format!("{place}: {value} does not keep {word} {rule}"));
        }
    }
    Ok(())
}

fn is_type(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "null" => value.is_null(),
        other => panic!("the validator does not know the type `{other}`"),
    }
}

/// Every field of every object that a schema lists must be in the sample, and the other way round.
fn same_fields(root: &Value, schema: &Value, sample: &Value, place: &str) {
    if let Some(path) = schema.get("$ref") {
        let path = path.as_str().unwrap().trim_start_matches('#');
        return same_fields(root, root.pointer(path).unwrap(), sample, place);
    }
    if let (Some(properties), Some(fields)) = (schema.get("properties").and_then(Value::as_object), sample.as_object())
    {
        for (name, inner) in properties {
            let field = fields.get(name).unwrap_or_else(|| panic!("{place}: the types do not know `{name}`"));
            same_fields(root, inner, field, &format!("{place}.{name}"));
        }
        for name in fields.keys() {
            assert!(properties.contains_key(name), "{place}: the schema does not know `{name}`");
        }
    }
    if let (Some(items), Some(first)) = (schema.get("items"), sample.as_array().and_then(|array| array.first())) {
        same_fields(root, items, first, &format!("{place}[]"));
    }
    if let (Some(values), Some(fields)) = (schema.get("additionalProperties"), sample.as_object())
        && schema.get("properties").is_none()
        && let Some(first) = fields.values().next()
    {
        same_fields(root, values, first, &format!("{place}.*"));
    }
}

/// A scenario with every field but those of a closed loop, which excludes an open one.
const OPEN: &str = include_str!("every-field.yaml");

#[test]
fn the_scenario_schema_knows_exactly_the_fields_of_the_types() {
    let schema = schema("scenarios/schema.json");
    let scenario = Scenario::parse(OPEN, Path::new(".")).unwrap();
    let mut sample = serde_json::to_value(scenario).unwrap();
    sample["load"]["concurrency"] = json!(5);
    sample["load"]["duration"] = json!("5s");
    same_fields(&schema, &schema, &sample, "scenario");
}

#[test]
fn every_scenario_keeps_the_schema() {
    let schema = schema("scenarios/schema.json");
    let mut checked = 0;
    for entry in std::fs::read_dir(root().join("scenarios")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let value: Value = serde_yaml::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            validate(&schema, &schema, &value, "").unwrap_or_else(|error| panic!("{}{error}", path.display()));
            checked += 1;
        }
    }
    assert!(checked >= 6);
    let open: Value = serde_yaml::from_str(OPEN).unwrap();
    validate(&schema, &schema, &open, "").unwrap();
}

#[test]
fn the_scenario_schema_refuses_what_the_types_refuse() {
    let schema = schema("scenarios/schema.json");
    for (from, to) in [
        ("seed: 7", "sead: 7"),
        ("seed: 7", "seed: seven"),
        ("pace: fast", "pace: slow"),
        ("final_replicas: 1", "finally: 1"),
        ("{min: 3, max: 10}", "{min: 3}"),
        ("max: 100\n", "max: 0\n"),
        ("jitter: 0.2", "jitter: 2"),
        ("share_min: 0.9", "share_min: 9"),
        ("requests: [1, 3]", "requests: [1]"),
        ("think: 100ms", "thinking: 100ms"),
        ("description: Every field once.", ""),
    ] {
        let text = OPEN.replacen(from, to, 1);
        assert!(Scenario::parse(&text, Path::new(".")).is_err(), "the types accept {to:?}");
        let value: Value = serde_yaml::from_str(&text).unwrap();
        assert!(validate(&schema, &schema, &value, "").is_err(), "the schema accepts {to:?}");
    }
}

#[test]
fn the_summary_schema_knows_exactly_the_fields_of_the_summary() {
    let schema = schema("loadgen/summary.schema.json");
    let mut summary = loadgen::stream::Summary { jain_index: Some(1.0), ..Default::default() };
    summary.classes.insert("ok".to_owned(), Default::default());
    summary.classes_us.insert("ok".to_owned(), String::new());
    summary.first_errors.insert("refused".to_owned(), "Connection refused".to_owned());
    summary.pods.insert("a".to_owned(), Default::default());
    summary.requests.statuses.insert("200".to_owned(), 1);
    summary.thresholds.push(loadgen::stream::ThresholdResult {
        threshold: "p99 < 1s".to_owned(),
        value: 1.0,
        shown: "1".to_owned(),
        passed: true,
    });
    summary.validity.reasons.push("x".to_owned());
    summary.loop_kind = "open".to_owned();
    let sample = serde_json::to_value(&summary).unwrap();
    same_fields(&schema, &schema, &sample, "summary");
    validate(&schema, &schema, &sample, "summary").unwrap();
}
