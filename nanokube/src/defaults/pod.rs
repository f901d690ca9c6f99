//! Defaults of a pod specification, the same in a Pod and in every template.

use serde_json::{Value, json};

use super::{canonical_quantities, fill, rules};
use crate::object;

const CONTAINER_LISTS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

pub(super) fn apply(spec: &mut Value) {
    if !spec.is_object() {
        return;
    }
    for rule in rules::POD_SPEC {
        fill(spec, rule.path, rule.value);
    }
    for list in CONTAINER_LISTS {
        for each in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            container(each);
        }
    }
    for volume in spec.get_mut("volumes").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(map) = volume.as_object_mut()
            && map.len() == 1
            && map.contains_key("name")
        {
            map.insert("emptyDir".into(), json!({}));
        }
    }
    let account = object::str_at(spec, "/serviceAccountName").to_string();
    let deprecated = object::str_at(spec, "/serviceAccount").to_string();
    if !account.is_empty() {
        spec["serviceAccount"] = account.into();
    } else if !deprecated.is_empty() {
        spec["serviceAccountName"] = deprecated.into();
    }
}

fn container(container: &mut Value) {
    if !container.is_object() {
        return;
    }
    for rule in rules::CONTAINER {
        fill(container, rule.path, rule.value);
    }
    if object::str_at(container, "/imagePullPolicy").is_empty() {
        let policy = if is_latest(object::str_at(container, "/image")) { "Always" } else { "IfNotPresent" };
        container["imagePullPolicy"] = policy.into();
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.get_mut(name).filter(|probe| probe.is_object()) {
            for rule in rules::PROBE.iter().chain(rules::HANDLER) {
                fill(probe, rule.path, rule.value);
            }
        }
    }
    for hook in ["postStart", "preStop"] {
        if let Some(handler) = container.pointer_mut(&format!("/lifecycle/{hook}")) {
            for rule in rules::HANDLER {
                fill(handler, rule.path, rule.value);
            }
        }
    }
    canonical_quantities(container.pointer_mut("/resources/limits"));
    canonical_quantities(container.pointer_mut("/resources/requests"));
}

/// No tag, or the tag `latest`; a digest pins the image.
fn is_latest(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}
