//! The discovery documents: groups, versions, and a resource per kind of object and metric.

use serde_json::{Value, json};

use crate::rules::Rules;
use crate::{CUSTOM, EXTERNAL};

/// Objects that metrics are of, and whether they live in a namespace.
const OBJECTS: [(&str, bool); 4] =
    [("pods", true), ("services", true), ("deployments.apps", true), ("namespaces", false)];

pub(crate) fn groups() -> Value {
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": [group(CUSTOM.0), group(EXTERNAL.0)] })
}

pub(crate) fn group(name: &str) -> Value {
    let version = json!({ "groupVersion": group_version(name), "version": version(name) });
    json!({
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": name,
        "versions": [version],
        "preferredVersion": version,
    })
}

pub(crate) fn resources(group: &str, rules: &Rules) -> Value {
    let mut resources = Vec::new();
    for rule in rules.all() {
        if group == EXTERNAL.0 {
            resources.push(resource(&rule.name, true, "ExternalMetricValueList"));
            continue;
        }
        for (object, is_namespaced) in OBJECTS {
            resources.push(resource(&format!("{object}/{}", rule.name), is_namespaced, "MetricValueList"));
        }
    }
    json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version(group), "resources": resources })
}

pub(crate) fn group_version(group: &str) -> String {
    format!("{group}/{}", version(group))
}

fn version(group: &str) -> &'static str {
    if group == EXTERNAL.0 { EXTERNAL.1 } else { CUSTOM.1 }
}

fn resource(name: &str, is_namespaced: bool, kind: &str) -> Value {
    json!({ "name": name, "singularName": "", "namespaced": is_namespaced, "kind": kind, "verbs": ["get"] })
}
