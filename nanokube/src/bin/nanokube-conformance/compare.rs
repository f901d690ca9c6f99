//! Compares a live answer with a recorded one, leaving out what no two servers share: identities, times, addresses.

use serde_json::{Map, Value};

/// Fields that differ from run to run, wherever they stand.
const IGNORED: &[&str] = &[
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
    "managedFields",
    "time",
    "lastTransitionTime",
    "lastUpdateTime",
    "lastProbeTime",
    "lastScaleTime",
    "clusterIP",
    "clusterIPs",
    "nodePort",
    "startTime",
    "continue",
    "selfLink",
    "storageVersionHash",
    "expirationTimestamp",
    "nodeName",
    "token",
    "deployment.kubernetes.io/revision",
    "kubectl.kubernetes.io/last-applied-configuration",
    "pod-template-hash",
    "batch.kubernetes.io/controller-uid",
    "controller-uid",
];

/// Kinds whose status is the business of controllers and nodes that work at their own pace.
const WORKING: &[&str] =
    &["Deployment", "ReplicaSet", "Pod", "Job", "HorizontalPodAutoscaler", "Namespace", "StatefulSet", "DaemonSet"];

/// The first difference, as words; None when the answers agree.
pub(crate) fn difference(recorded: &Value, live: &Value) -> Option<String> {
    let (recorded, live) = (comparable(recorded), comparable(live));
    first(&recorded, &live, "")
}

/// The value without what is ignored.
pub(crate) fn comparable(value: &Value) -> Value {
    let mut value = value.clone();
    strip(&mut value);
    value
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(map) => {
            strip_map(map);
            map.values_mut().for_each(strip);
        }
        Value::Array(list) => list.iter_mut().for_each(strip),
        _ => {}
    }
}

fn strip_map(map: &mut Map<String, Value>) {
    let kind = map.get("kind").and_then(Value::as_str).unwrap_or("").to_string();
    if WORKING.contains(&kind.as_str()) {
        map.remove("status");
    }
    if kind == "Status" {
        // Trailing identities of other runs stand inside messages.
        for field in ["message"] {
            if let Some(Value::String(text)) = map.get_mut(field) {
                *text = without_identities(text);
            }
        }
    }
    if kind == "Pod" || kind == "Service" {
        strip_token_volume(map);
    }
    if kind == "Scale"
        && let Some(Value::Object(status)) = map.get_mut("status")
    {
        status.remove("replicas");
    }
    if kind == "PodList"
        && let Some(Value::Array(items)) = map.get_mut("items")
    {
        // What the pods of a list run is the business of whoever made them.
        for item in items.iter_mut().filter_map(Value::as_object_mut) {
            item.remove("spec");
            item.remove("status");
        }
    }
    let prefix = map.get("generateName").and_then(Value::as_str).map(str::to_string);
    for field in ["name", "generateName"] {
        if let Some(Value::String(name)) = map.get_mut(field) {
            *name = without_hash(prefix.as_deref().unwrap_or(name));
        }
    }
    for field in ["annotations", "labels"] {
        if let Some(Value::Object(entries)) = map.get_mut(field) {
            entries.retain(|key, _| !IGNORED.contains(&key.as_str()));
            if entries.is_empty() {
                map.remove(field);
            }
        }
    }
    map.retain(|key, _| !IGNORED.contains(&key.as_str()));
}

/// The real server mounts a token volume with a random name into every pod.
fn strip_token_volume(map: &mut Map<String, Value>) {
    let Some(Value::Object(spec)) = map.get_mut("spec") else { return };
    let named = |entry: &Value| entry["name"].as_str().is_some_and(|name| name.starts_with("kube-api-access-"));
    let drop_from = |owner: &mut Map<String, Value>, list: &str| {
        if let Some(Value::Array(entries)) = owner.get_mut(list) {
            entries.retain(|entry| !named(entry));
            if entries.is_empty() {
                owner.remove(list);
            }
        }
    };
    drop_from(spec, "volumes");
    if let Some(Value::Array(containers)) = spec.get_mut("containers") {
        for container in containers.iter_mut().filter_map(Value::as_object_mut) {
            drop_from(container, "volumeMounts");
        }
    }
}

/// Masks the hash of a pod template in a name; any stable hash is right.
fn without_hash(name: &str) -> String {
    let letters = "bcdfghjklmnpqrstvwxz2456789";
    let is_hash = |part: &str| (8..=10).contains(&part.len()) && part.chars().all(|c| letters.contains(c));
    name.split('-').map(|part| if is_hash(part) { "#" } else { part }).collect::<Vec<_>>().join("-")
}

/// Masks uids and resource versions in a message, and the folder that the server was built in.
pub(crate) fn without_identities(text: &str) -> String {
    let text = text.replace("\"k8s.io/kubernetes/pkg/", "\"pkg/");
    let mut words: Vec<String> = Vec::new();
    for word in text.split(' ') {
        let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        let is_uid = bare.len() == 36 && bare.matches('-').count() == 4;
        let is_number = bare.len() >= 2 && bare.chars().all(|c| c.is_ascii_digit());
        words.push(if is_uid || is_number { word.replace(bare, "#") } else { word.to_string() });
    }
    words.join(" ")
}

fn first(recorded: &Value, live: &Value, path: &str) -> Option<String> {
    match (recorded, live) {
        (Value::Object(a), Value::Object(b)) => {
            let keys = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key)));
            keys.into_iter().find_map(|key| {
                let inner = format!("{path}.{key}");
                match (a.get(key), b.get(key)) {
                    (Some(a), Some(b)) => first(a, b, &inner),
                    (Some(a), None) => Some(format!("{inner} is missing, recorded {a}")),
                    (None, Some(b)) => Some(format!("{inner} = {b} is too much")),
                    (None, None) => None,
                }
            })
        }
        (Value::Array(a), Value::Array(b)) => {
            if a.len() != b.len() {
                return Some(format!(
                    "{path} has {} entries, recorded {}: {live} recorded {recorded}",
                    b.len(),
                    a.len()
                ));
            }
            a.iter().zip(b).enumerate().find_map(|(index, (a, b))| first(a, b, &format!("{path}[{index}]")))
        }
        (a, b) if a == b => None,
        (a, b) => Some(format!("{path} is {b}, recorded {a}")),
    }
}
