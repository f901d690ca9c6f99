//! The changes that go through every object: namespace, labels, images.

use serde_json::{Map, Value, json};

use super::file::{Image, Labels};
use super::resource::Resource;

/// Kinds that belong to no namespace.
const CLUSTER_SCOPED: [&str; 18] = [
    "APIService",
    "CSIDriver",
    "CSINode",
    "CertificateSigningRequest",
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "FlowSchema",
    "IngressClass",
    "MutatingWebhookConfiguration",
    "Namespace",
    "Node",
    "PersistentVolume",
    "PriorityClass",
    "PriorityLevelConfiguration",
    "RuntimeClass",
    "StorageClass",
    "ValidatingWebhookConfiguration",
];

/// Where objects hold a pod template, from the object's root.
fn template_pointer(kind: &str) -> Option<&'static str> {
    match kind {
        "Deployment" | "ReplicaSet" | "DaemonSet" | "StatefulSet" | "Job" | "ReplicationController" => {
            Some("/spec/template")
        }
        "CronJob" => Some("/spec/jobTemplate/spec/template"),
        _ => None,
    }
}

pub(super) fn namespace(resources: &mut [Resource], namespace: &str) {
    let moved_accounts: Vec<(String, String)> = resources
        .iter()
        .filter(|resource| resource.kind() == "ServiceAccount")
        .map(|account| (account.name().to_owned(), account.namespace().to_owned()))
        .collect();
    for resource in resources.iter_mut() {
        resource.remember_identity();
        match resource.kind() {
            "Namespace" => resource.value["metadata"]["name"] = json!(namespace),
            "APIService" if resource.value["spec"]["service"].is_object() => {
                resource.value["spec"]["service"]["namespace"] = json!(namespace);
            }
            kind if CLUSTER_SCOPED.contains(&kind) => {}
            _ => resource.value["metadata"]["namespace"] = json!(namespace),
        }
        if let Some(Value::Array(subjects)) = resource.value.get_mut("subjects") {
            for subject in subjects {
                let account = (text(subject, "name"), text(subject, "namespace"));
                // An account that names no namespace is in `default`, and so its subjects may say.
                let unnamed = (account.0.clone(), String::new());
                let is_moved = account.0 == "default"
                    || moved_accounts.contains(&account)
                    || (account.1 == "default" && moved_accounts.contains(&unnamed));
                if subject["kind"] == "ServiceAccount" && is_moved {
                    subject["namespace"] = json!(namespace);
                }
            }
        }
    }
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_owned()
}

pub(super) fn labels(resources: &mut [Resource], entries: &[Labels]) {
    for labels in entries {
        for resource in resources.iter_mut() {
            let kind = resource.kind().to_owned();
            let object = &mut resource.value;
            insert(object, "/metadata", "labels", &labels.pairs);
            if labels.include_templates || labels.include_selectors {
                if let Some(template) = template_pointer(&kind) {
                    ensure_map(object, template, "metadata");
                    insert(object, &format!("{template}/metadata"), "labels", &labels.pairs);
                }
                if kind == "CronJob" {
                    ensure_map(object, "/spec/jobTemplate", "metadata");
                    insert(object, "/spec/jobTemplate/metadata", "labels", &labels.pairs);
                }
            }
            if labels.include_selectors {
                add_to_selectors(object, &kind, &labels.pairs);
            }
        }
    }
}

fn add_to_selectors(object: &mut Value, kind: &str, pairs: &Map<String, Value>) {
    match kind {
        "Service" => insert(object, "/spec", "selector", pairs),
        "Deployment" | "ReplicaSet" | "DaemonSet" | "StatefulSet" => {
            ensure_map(object, "/spec", "selector");
            insert(object, "/spec/selector", "matchLabels", pairs);
        }
        "PodDisruptionBudget" => extend(object, "/spec/selector/matchLabels", pairs),
        "NetworkPolicy" => {
            extend(object, "/spec/podSelector/matchLabels", pairs);
            for (rules, peers) in [("ingress", "from"), ("egress", "to")] {
                let rules = object.pointer_mut(&format!("/spec/{rules}"));
                for rule in rules.and_then(Value::as_array_mut).into_iter().flatten() {
                    for peer in rule.get_mut(peers).and_then(Value::as_array_mut).into_iter().flatten() {
                        extend(peer, "/podSelector/matchLabels", pairs);
                    }
                }
            }
        }
        _ => {}
    }
    if let Some(template) = template_pointer(kind) {
        let spreads = format!("{template}/spec/topologySpreadConstraints");
        for spread in object.pointer_mut(&spreads).and_then(Value::as_array_mut).into_iter().flatten() {
            extend(spread, "/labelSelector/matchLabels", pairs);
        }
    }
}

/// Into the map `field` of the map at `pointer`; the field is made when it is not there.
fn insert(object: &mut Value, pointer: &str, field: &str, pairs: &Map<String, Value>) {
    ensure_map(object, pointer, field);
    extend(object, &format!("{pointer}/{field}"), pairs);
}

fn ensure_map(object: &mut Value, pointer: &str, field: &str) {
    if let Some(Value::Object(map)) = object.pointer_mut(pointer) {
        let entry = map.entry(field).or_insert(Value::Null);
        if entry.is_null() {
            *entry = Value::Object(Map::new());
        }
    }
}

/// Only where the map is there already.
fn extend(object: &mut Value, pointer: &str, pairs: &Map<String, Value>) {
    if let Some(Value::Object(map)) = object.pointer_mut(pointer) {
        map.extend(pairs.clone());
    }
}

pub(super) fn images(resources: &mut [Resource], images: &[Image]) {
    for resource in resources {
        for image in images {
            replace_image(&mut resource.value, image);
        }
    }
}

/// In every list of containers, wherever the object holds it.
fn replace_image(value: &mut Value, image: &Image) {
    match value {
        Value::Object(map) => {
            for (field, value) in map {
                if field == "containers" || field == "initContainers" {
                    for container in value.as_array_mut().into_iter().flatten() {
                        if let Some(reference) = container.get_mut("image")
                            && let Some(new) = reference.as_str().and_then(|old| replaced(old, image))
                        {
                            *reference = Value::String(new);
                        }
                    }
                }
                replace_image(value, image);
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|value| replace_image(value, image)),
        _ => {}
    }
}

fn replaced(reference: &str, image: &Image) -> Option<String> {
    let (without_digest, digest) = match reference.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (reference, None),
    };
    // A colon before the last slash is a registry's port, not a tag.
    let slash = without_digest.rfind('/').map_or(0, |at| at + 1);
    let (name, tag) = match without_digest[slash..].split_once(':') {
        Some((last, tag)) => (format!("{}{last}", &without_digest[..slash]), Some(tag)),
        None => (without_digest.to_owned(), None),
    };
    if name != image.name {
        return None;
    }
    let mut new = image.new_name.clone().unwrap_or(name);
    match (&image.new_tag, &image.digest) {
        (new_tag, Some(digest)) => {
            if let Some(tag) = new_tag {
                new = format!("{new}:{tag}");
            }
            new = format!("{new}@{digest}");
        }
        (Some(tag), None) => new = format!("{new}:{tag}"),
        (None, None) => {
            new = tag.map_or(new.clone(), |tag| format!("{new}:{tag}"));
            new = digest.map_or(new.clone(), |digest| format!("{new}@{digest}"));
        }
    }
    Some(new)
}
