//! The alerts of `k8s/components/observability`: Prometheus' own tool takes them and runs their cases, and the object for
//! the Prometheus operator carries the same text.

// Helpers outside of `#[test]` functions fail a test by panicking too.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

fn component(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../k8s/components").join(name)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(component(path)).unwrap()
}

fn yaml(text: &str) -> Value {
    serde_yaml::from_str(text).unwrap()
}

fn rules() -> Vec<Value> {
    let groups = yaml(&read("observability/rules.yaml"))["groups"].as_array().unwrap().clone();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

#[track_caller]
fn promtool(args: &[&str]) {
    let Ok(output) = Command::new("promtool").args(args).current_dir(component("observability")).output() else {
        eprintln!("promtool is not installed (Debian: apt-get install prometheus): the rules are not checked by it");
        return;
    };
    let told = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "promtool {args:?}: {}", String::from_utf8_lossy(&told));
}

#[test]
fn prometheus_takes_the_rules() {
    promtool(&["check", "rules", "rules.yaml"]);
}

#[test]
fn each_case_of_firing_and_not_firing_holds() {
    promtool(&["test", "rules", "rules-test.yaml"]);
}

#[test]
fn every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() {
    let cases = yaml(&read("observability/rules-test.yaml"));
    let cases: Vec<&Value> = cases["tests"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|test| test["alert_rule_test"].as_array().unwrap())
        .collect();
    let fires = |case: &&Value| case["exp_alerts"].as_array().is_some_and(|alerts| !alerts.is_empty());
    for rule in rules().iter().filter(|rule| rule.get("alert").is_some()) {
        let own: Vec<&Value> = cases.iter().copied().filter(|case| case["alertname"] == rule["alert"]).collect();
        assert!(own.iter().any(fires), "{}: no case in which it fires", rule["alert"]);
        // Where it fires for one object only, the others of the case are those for which it does not.
        let quiet = own.iter().any(|case| !fires(case)) || own.iter().any(|case| case["exp_alerts"][1].is_null());
        assert!(quiet, "{}: no case in which it does not fire", rule["alert"]);
        assert!(rule["annotations"]["summary"].is_string() && rule["labels"]["severity"].is_string(), "{rule}");
    }
}

#[test]
fn the_operators_object_carries_the_same_rules() {
    let head = "# Written from ../observability/rules.yaml by `UPDATE_EXPECT=1 cargo test -p xtask --test rules`.\n\
        apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: swell\nspec:\n";
    let source = read("observability/rules.yaml");
    let (_, groups) = source.split_once("groups:\n").unwrap();
    let indented: String = groups.lines().map(|line| format!("  {line}\n")).collect();
    let wanted = format!("{head}  groups:\n{indented}");
    let path = component("prometheus-operator/prometheus-rule.yaml");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap();
    assert!(written == wanted, "the rules changed: UPDATE_EXPECT=1 cargo test -p xtask --test rules");
    assert_eq!(yaml(&written)["spec"]["groups"], yaml(&source)["groups"]);
}
