//! Compares a live answer with a recorded one, leaving out what no two servers share: identities, times, addresses.

use serde_json::{Map, Value, json};

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
    "kubernetes.io/metadata.name",
];

/// Kinds whose status is the business of controllers and nodes that work at their own pace.
const WORKING: &[&str] =
    &["Deployment", "ReplicaSet", "Pod", "Job", "HorizontalPodAutoscaler", "Namespace", "StatefulSet", "DaemonSet"];

/// The first difference, as words; None when the answers agree.
pub(crate) fn difference(recorded: &Value, live: &Value) -> Option<String> {
    let (recorded, live) = (comparable(recorded), comparable(live));
    first(&recorded, &live, "")
}

/// As `difference`, for answers of any kind: of a list and of a table only the form, of discovery and OpenAPI only the kind.
pub(crate) fn answers(recorded: &Value, live: &Value) -> Option<String> {
    let kind = recorded["kind"].as_str().unwrap_or_default();
    if recorded["openapi"].is_string() || recorded["paths"].is_object() || recorded["gitVersion"].is_string() {
        let (a, b) = (recorded.as_object()?, live.as_object());
        return a.keys().find(|key| !b.is_some_and(|b| b.contains_key(*key))).map(|key| format!(".{key} is missing"));
    }
    if kind == "Table" {
        return first(&table_form(recorded), &table_form(live), "");
    }
    if kind.ends_with("List") || kind.starts_with("API") {
        let form = |list: &Value| {
            let keys = |value: &Value| value.as_object().map(|map| map.keys().cloned().collect::<Vec<_>>());
            let continued = matches!(list["metadata"]["continue"].as_str(), Some(token) if !token.is_empty());
            let metadata = if continued { None } else { keys(&list["metadata"]) };
            json!({ "kind": list["kind"], "apiVersion": list["apiVersion"], "keys": keys(list), "metadata": metadata })
        };
        let (recorded, live) = (form(recorded), form(live));
        let more = recorded["metadata"].is_null() || live["metadata"].is_null();
        let pick =
            |form: &Value| if more { json!({ "kind": form["kind"], "keys": form["keys"] }) } else { form.clone() };
        return first(&pick(&recorded), &pick(&live), "");
    }
    first(&settled(&comparable(recorded)), &settled(&comparable(live)), "")
}

/// Columns without their descriptions, and what a row holds.
fn table_form(table: &Value) -> Value {
    let mut columns = table["columnDefinitions"].clone();
    for column in columns.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        column.remove("description");
    }
    json!({ "kind": table["kind"], "apiVersion": table["apiVersion"], "columns": columns })
}

/// Without what a server's own life has changed.
fn settled(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|key, _| {
            !matches!(key.as_str(), "generation" | "ownerReferences" | "finalizers" | "deletionGracePeriodSeconds")
        });
    }
    let kind = object["kind"].as_str().unwrap_or_default().to_owned();
    let is_generated = kind == "Pod" && object["metadata"]["generateName"].is_string();
    if let Some(map) = object.as_object_mut() {
        let living = ["PodDisruptionBudget", "CustomResourceDefinition", "Service"];
        let its_own = ["Node", "Lease", "Scale"].contains(&kind.as_str()) || is_generated;
        map.retain(|key, _| match key.as_str() {
            "kind" | "apiVersion" => true,
            "status" => !its_own && !living.contains(&kind.as_str()),
            _ => !its_own,
        });
    }
    object
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

/// Recordings were cut where they were long: a text, an element or a key tells so.
fn is_trimmed(recorded: &Value) -> bool {
    let told = |text: &str| text.contains('…');
    match recorded {
        Value::String(text) => told(text),
        Value::Array(list) => list.iter().any(|element| element.as_str().is_some_and(told)),
        Value::Object(map) => map.keys().any(|key| told(key)),
        _ => false,
    }
}

fn first(recorded: &Value, live: &Value, path: &str) -> Option<String> {
    match (recorded, live) {
        _ if is_trimmed(recorded) => None,
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
