//! The chart of `k8s/chart` is a copy of the manifests for people who use Helm. Copies drift: here they are compared.
//!
//! Rendering needs a `helm`; what needs none is checked everywhere: values against schema and README.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

use super::manifests::{ENVIRONMENTS, check_neighbours, check_templates, environment, k8s};
use super::resource;

fn chart() -> PathBuf {
    k8s().join("chart")
}

fn helm(args: &[&str]) -> Option<Output> {
    match Command::new("helm").args(args).current_dir(chart()).output() {
        Ok(output) => Some(output),
        Err(_) => {
            eprintln!("helm is not installed: the chart is not rendered");
            None
        }
    }
}

fn rendered(name: &str, is_fast: bool, more: &[&str]) -> Option<Vec<Value>> {
    let (namespace, values) = (format!("swell-{name}"), format!("values-{name}.yaml"));
    let mut args = vec!["template", "swell", ".", "-n", &namespace, "-f", &values, "--set", "namespace.create=true"];
    if is_fast {
        args.extend(["-f", "values-fast.yaml"]);
    }
    args.extend(more);
    let output = helm(&args)?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(resource::documents(&String::from_utf8(output.stdout).expect("text")).expect("YAML"))
}

/// By kind and name, with `env` in one order: it is a list of pairs, and the two tools put changes at different ends.
fn by_name(objects: Vec<Value>) -> BTreeMap<String, Value> {
    let named = objects.into_iter().map(|mut object| {
        let containers = object.pointer_mut("/spec/template/spec/containers").and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            if let Some(Value::Array(env)) = container.get_mut("env") {
                env.sort_by_key(|entry| entry["name"].to_string());
            }
        }
        (format!("{} {}", object["kind"], object["metadata"]["name"]), object)
    });
    named.collect()
}

#[test]
fn the_chart_gives_the_objects_of_the_overlays() {
    for name in ENVIRONMENTS {
        for is_fast in [false, true] {
            let Some(charted) = rendered(name, is_fast, &["--skip-tests"]) else { return };
            let (charted, overlaid) = (by_name(charted), by_name(environment(name, is_fast)));
            let names = |objects: &BTreeMap<String, Value>| objects.keys().cloned().collect::<Vec<_>>();
            assert_eq!(names(&charted), names(&overlaid), "{name}, fast: {is_fast}");
            for (object, overlaid) in overlaid {
                assert_eq!(charted[&object], overlaid, "{name}, fast: {is_fast}: {object}");
            }
        }
    }
}

/// The rules' ConfigMap is named after its content, by each tool with a hash of its own.
fn without_hash(objects: Vec<Value>) -> Vec<Value> {
    let rules = objects.iter().find(|object| object["kind"] == "ConfigMap").expect("the rules");
    let name = rules["metadata"]["name"].as_str().expect("a name").to_owned();
    let text = serde_json::to_string(&objects).expect("JSON").replace(&name, "the-rules");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn the_chart_with_custom_metrics_gives_the_objects_of_their_overlay() {
    for is_fast in [false, true] {
        let with = ["--skip-tests", "--set", "customMetrics.enabled=true"];
        let Some(charted) = rendered("dev", is_fast, &with) else { return };
        let charted = by_name(without_hash(charted));
        let overlaid = by_name(without_hash(environment("dev-multi-metric", is_fast)));
        assert_eq!(charted.keys().collect::<Vec<_>>(), overlaid.keys().collect::<Vec<_>>(), "fast: {is_fast}");
        for (object, overlaid) in overlaid {
            assert_eq!(charted[&object], overlaid, "fast: {is_fast}: {object}");
        }
    }
}

#[test]
fn every_pod_of_every_value_set_passes_the_restricted_standard_its_test_included() {
    let sets = crate::workspace::names_in(&chart(), |path| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("values-"))
    });
    let mut known: Vec<String> = ENVIRONMENTS.iter().chain(&["fast"]).map(|name| format!("values-{name}")).collect();
    known.sort();
    assert_eq!(sets, known, "a value set that is not checked here");
    for name in ENVIRONMENTS {
        for is_fast in [false, true] {
            for (more, pods) in [(&[][..], 2), (&["--set", "customMetrics.enabled=true"], 3)] {
                let Some(charted) = rendered(name, is_fast, more) else { return };
                assert_eq!(check_templates(name, &charted), pods, "{name}, fast: {is_fast}, {more:?}");
                check_neighbours(name, &charted);
            }
        }
    }
}

#[test]
fn helm_lints_the_chart_and_refuses_values_that_make_no_sense() {
    let Some(linted) = helm(&["lint", ".", "--strict"]) else { return };
    assert!(linted.status.success(), "{}", String::from_utf8_lossy(&linted.stdout));
    for (value, reason) in [
        ("autoscaling.minReplicas=11", "minReplicas is more than autoscaling.maxReplicas"),
        ("drain.terminationGracePeriodSeconds=20", "must be more than drain.drainMs"),
        ("service.nodePort=80", "service"),
        ("logLevel=loud", "logLevel"),
        ("image.tag=latest", "tag"),
        ("autoscalling.minReplicas=2", "autoscalling"),
    ] {
        let output = helm(&["template", "swell", ".", "--set", value]).expect("helm is there");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains(reason), "{value}: {error}");
    }
}

/// The leaves of `values.yaml` with the comment above each and their values as they are written.
fn documented() -> Vec<(String, String, String)> {
    let text = std::fs::read_to_string(chart().join("values.yaml")).expect("values.yaml");
    let (mut path, mut comment, mut leaves): (Vec<&str>, Vec<&str>, Vec<_>) = (Vec::new(), Vec::new(), Vec::new());
    for line in text.lines() {
        let (indent, line) = (line.len() - line.trim_start().len(), line.trim());
        if let Some(words) = line.strip_prefix("# ") {
            comment.push(words);
            continue;
        }
        let (key, value) = line.split_once(':').unwrap_or_else(|| panic!("{line:?} is neither comment nor field"));
        path.truncate(indent / 2);
        path.push(key);
        let comment = std::mem::take(&mut comment).join(" ");
        if !value.trim().is_empty() {
            leaves.push((path.join("."), value.trim().to_owned(), comment));
        }
    }
    leaves
}

#[test]
fn the_readme_of_the_chart_lists_every_value() {
    let mut table = "| value | default | what it is |\n|---|---|---|\n".to_owned();
    for (path, value, comment) in documented() {
        assert!(!comment.is_empty(), "values.yaml: {path} has no comment");
        table.push_str(&format!("| `{path}` | `{value}` | {comment} |\n"));
    }
    let file = chart().join("README.md");
    let readme = std::fs::read_to_string(&file).expect("README.md");
    let (head, _) = readme.split_once("## Values\n").expect("a section Values");
    let wanted = format!("{head}## Values\n\n{table}");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&file, &wanted).expect("written");
        return;
    }
    assert!(readme == wanted, "k8s/chart/README.md is not what values.yaml says; run the test with UPDATE_EXPECT=1");
}

#[test]
fn the_schema_knows_every_value_and_nothing_else() {
    let text = std::fs::read_to_string(chart().join("values.schema.json")).expect("the schema");
    let schema: Value = serde_json::from_str(&text).expect("JSON");
    let mut known = Vec::new();
    properties(&schema, &schema, "", &mut known);
    known.retain(|path| path != "global");
    known.sort();
    let mut written: Vec<String> = documented().into_iter().map(|(path, ..)| path).collect();
    written.sort();
    assert_eq!(known, written);
}

fn properties(schema: &Value, root: &Value, path: &str, found: &mut Vec<String>) {
    let reference = schema["$ref"].as_str().and_then(|reference| root.pointer(reference.trim_start_matches('#')));
    let schema = reference.unwrap_or(schema);
    match schema.get("properties").and_then(Value::as_object) {
        Some(fields) => {
            for (name, field) in fields {
                let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                properties(field, root, &below, found);
            }
        }
        None => found.push(path.to_owned()),
    }
}
