//! What is allowed and yet likely a mistake: words for the `Warning` header, as the real server words them.
//!
//! An object is warned about when it is created and when its specification changes; pods, which people rarely write, at
//! their creation only.

use std::collections::HashMap;

use serde_json::Value;

use super::container;
use super::errors::{entries, list, text as string};
use super::text;
use crate::defaults::pod_specs;

const DEPRECATED_LABELS: [(&str, &str, &str); 5] = [
    ("beta.kubernetes.io/arch", "v1.14", "kubernetes.io/arch"),
    ("beta.kubernetes.io/os", "v1.14", "kubernetes.io/os"),
    ("beta.kubernetes.io/instance-type", "v1.17", "node.kubernetes.io/instance-type"),
    ("failure-domain.beta.kubernetes.io/region", "v1.17", "topology.kubernetes.io/region"),
    ("failure-domain.beta.kubernetes.io/zone", "v1.17", "topology.kubernetes.io/zone"),
];
/// Kinds whose name begins the names of their pods.
const NAMED_AFTER: [&str; 4] = ["deployments.apps", "replicasets.apps", "jobs.batch", "cronjobs.batch"];
const SURPRISING: &str = "which can result in surprising behavior; a DNS label is recommended";

/// What to warn about at a creation, or at an update that changed the specification.
pub fn warnings(resource: &str, object: &Value, custom: bool) -> Vec<String> {
    let mut found = Vec::new();
    name(resource, string(&object["metadata"]["name"]), &mut found);
    for pointer in pod_specs(resource) {
        let path = pointer.trim_start_matches('/').replace('/', ".");
        if let Some(spec) = object.pointer(pointer) {
            pod_spec(spec, &path, &mut found);
        }
    }
    if resource == "services" && object["spec"]["clusterIP"] == "None" {
        headless(&object["spec"], &mut found);
    }
    for finalizer in list(&object["metadata"]["finalizers"]).iter().map(string) {
        if custom && !finalizer.contains('/') && !matches!(finalizer, "orphan" | "foregroundDeletion") {
            found.push(format!(
                "metadata.finalizers: {finalizer:?}: prefer a domain-qualified finalizer name including a path (/) to \
                 avoid accidental conflicts with other finalizer writers"
            ));
        }
    }
    found
}

fn name(resource: &str, name: &str, found: &mut Vec<String>) {
    let used = match resource {
        "pods" => "this is used in the Pod's hostname",
        _ if NAMED_AFTER.contains(&resource) => "this is used in Pod names and hostnames",
        _ => return,
    };
    let wrong = text::dns_label(name);
    if !wrong.is_empty() {
        found.push(format!("metadata.name: {used}, {SURPRISING}: [{}]", wrong.join(" ")));
    }
}

fn headless(service: &Value, found: &mut Vec<String>) {
    if !string(&service["loadBalancerIP"]).is_empty() {
        found.push("spec.loadBalancerIP is ignored for headless services".into());
    }
    if !list(&service["externalIPs"]).is_empty() {
        found.push("spec.externalIPs is ignored for headless services".into());
    }
    if service["sessionAffinity"] != "None" {
        found.push("spec.SessionAffinity is ignored for headless services".into());
    }
}

fn pod_spec(spec: &Value, path: &str, found: &mut Vec<String>) {
    for (label, since, instead) in DEPRECATED_LABELS {
        if !spec["nodeSelector"][label].is_null() {
            found.push(format!("{path}.nodeSelector[{label}]: deprecated since {since}; use {instead:?} instead"));
        }
    }
    for (index, volume) in list(&spec["volumes"]).iter().enumerate() {
        if !volume["gitRepo"].is_null() {
            found.push(format!("{path}.volumes[{index}].gitRepo: deprecated in v1.11"));
        }
    }
    pull_secrets(&spec["imagePullSecrets"], &format!("{path}.imagePullSecrets"), found);
    for field in ["initContainers", "containers"] {
        for (index, each) in list(&spec[field]).iter().enumerate() {
            let path = format!("{path}.{field}[{index}]");
            fractions(&each["resources"], &format!("{path}.resources"), found);
            hidden_variables(&each["env"], &format!("{path}.env"), found);
        }
    }
    repeated_ports(&spec["containers"], &format!("{path}.containers"), found);
    if spec["terminationGracePeriodSeconds"].as_i64().is_some_and(|seconds| seconds < 0) {
        let words = "must be >= 0; negative values are invalid and will be treated as 1";
        found.push(format!("{path}.terminationGracePeriodSeconds: {words}"));
    }
}

fn pull_secrets(secrets: &Value, path: &str, found: &mut Vec<String>) {
    let names: Vec<&str> = list(secrets).iter().map(|secret| string(&secret["name"])).collect();
    for (index, name) in names.iter().enumerate() {
        if name.is_empty() {
            found.push(format!("{path}[{index}].name: invalid empty name \"\""));
        } else if names[..index].contains(name) {
            found.push(format!("{path}[{index}].name: duplicate name {name:?}"));
        }
    }
}

/// Bytes come whole.
fn fractions(resources: &Value, path: &str, found: &mut Vec<String>) {
    for field in ["limits", "requests"] {
        for (name, quantity) in entries(&resources[field]) {
            let whole = container::parsed(quantity).is_none_or(|quantity| quantity.nano() % 1_000_000_000 == 0);
            if matches!(name.as_str(), "memory" | "ephemeral-storage") && !whole {
                let value = string(quantity);
                let words = format!("fractional byte value {value:?} is invalid, must be an integer");
                found.push(format!("{path}.{field}[{name}]: {words}"));
            }
        }
    }
}

/// A variable that is set twice, unless it builds upon what it was.
fn hidden_variables(variables: &Value, path: &str, found: &mut Vec<String>) {
    let variables = list(variables);
    for (index, variable) in variables.iter().enumerate() {
        let name = string(&variable["name"]);
        let again = variables[..index].iter().any(|earlier| earlier["name"] == variable["name"]);
        if again && !string(&variable["value"]).contains(&format!("$({name})")) {
            let words = format!("hides previous definition of {name:?}, which may be dropped when using apply");
            found.push(format!("{path}[{index}]: {words}"));
        }
    }
}

fn repeated_ports(containers: &Value, path: &str, found: &mut Vec<String>) {
    let (mut numbers, mut names) = (HashMap::new(), HashMap::new());
    for (index, container) in list(containers).iter().enumerate() {
        for (at, port) in list(&container["ports"]).iter().enumerate() {
            let path = format!("{path}[{index}].ports[{at}]");
            let number = (port["containerPort"].as_i64(), string(&port["protocol"]), port["hostPort"].as_i64());
            if let Some(first) = numbers.get(&number) {
                found.push(format!("{path}: duplicate port definition with {first}"));
            }
            numbers.entry(number).or_insert_with(|| path.clone());
            let name = string(&port["name"]);
            if name.is_empty() {
                continue;
            }
            if let Some(first) = names.get(name) {
                found.push(format!(
                    "{path}: duplicate port name {name:?} with {first}, services and probes that select ports by name \
                     will use {first}"
                ));
            }
            names.entry(name).or_insert(path);
        }
    }
}
