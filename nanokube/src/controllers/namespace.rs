//! Namespaces: a new one gets the ServiceAccount `default` and the ConfigMap `kube-root-ca.crt`; one that is being
//! deleted is emptied, told how far that has come in its conditions, and finalized.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::action::{Action, How, Outcome};
use super::condition;
use crate::cluster::{Change, ChangeKind, Snapshot};
use crate::kind::Registry;
use crate::object;

pub const NAMESPACES: &str = "namespaces";
pub const SERVICE_ACCOUNTS: &str = "serviceaccounts";
pub const CONFIG_MAPS: &str = "configmaps";

const ROOT_CA: &str = "kube-root-ca.crt";
const ROOT_CA_DESCRIPTION: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using \
     internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across \
     distributions of Kubernetes clusters.";

/// Furnishes every live namespace. `root_ca` is the certificate (PEM) that in-cluster clients verify the API with.
pub fn furnish(snapshot: &Snapshot, root_ca: &str) -> Outcome {
    let mut outcome = Outcome::default();
    for namespace in snapshot.list(NAMESPACES).filter(|namespace| !object::is_deleting(namespace)) {
        let name = object::name(namespace);
        if snapshot.get(SERVICE_ACCOUNTS, name, "default").is_none() {
            let account = json!({
                "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "default", "namespace": name },
            });
            outcome.create(SERVICE_ACCOUNTS, name, account, None);
        }
        let data = json!({ "ca.crt": root_ca });
        match snapshot.get(CONFIG_MAPS, name, ROOT_CA) {
            Some(present) if present["data"] == data => {}
            Some(present) => {
                outcome.patch(CONFIG_MAPS, present, json!({ "data": null }));
                outcome.patch(CONFIG_MAPS, present, json!({ "data": data }));
            }
            None => {
                let annotations = json!({ "kubernetes.io/description": ROOT_CA_DESCRIPTION });
                let metadata = json!({ "name": ROOT_CA, "namespace": name, "annotations": annotations });
                let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data });
                outcome.create(CONFIG_MAPS, name, map, None);
            }
        }
    }
    outcome
}

/// A namespace begins to go, or the last of something in one has gone.
pub fn matters(change: &Change) -> bool {
    change.kind == ChangeKind::Deleted || object::is_deleting(&change.object)
}

/// Empties and finalizes the namespaces that are being deleted.
pub fn finalize(snapshot: &Snapshot, kinds: &Registry, now: Timestamp) -> Outcome {
    let mut outcome = Outcome::default();
    for namespace in snapshot.list(NAMESPACES).filter(|namespace| object::is_deleting(namespace)) {
        if object::array_at(namespace, "/spec/finalizers").iter().any(|finalizer| finalizer == "kubernetes") {
            empty(snapshot, namespace, kinds, now, &mut outcome);
        }
    }
    outcome
}

fn empty(snapshot: &Snapshot, namespace: &Value, kinds: &Registry, now: Timestamp, outcome: &mut Outcome) {
    let name = object::name(namespace);
    let mut remaining: Vec<(&str, usize)> = Vec::new();
    let mut finalizers: BTreeMap<String, usize> = BTreeMap::new();
    let mut resources: Vec<&str> = snapshot.resources().collect();
    resources.sort_unstable();
    for resource in resources {
        if kinds.resource(resource).is_some_and(|kind| !kind.namespaced) {
            continue;
        }
        let mut count = 0;
        for content in snapshot.in_namespace(resource, name) {
            count += 1;
            for finalizer in object::array_at(content, "/metadata/finalizers") {
                *finalizers.entry(finalizer.as_str().unwrap_or_default().to_owned()).or_default() += 1;
            }
            if !object::is_deleting(content) {
                let how = How { propagation: Some("Background"), ..How::default() };
                outcome.delete_how(resource.to_owned(), content, how, None);
            }
        }
        if count > 0 {
            remaining.push((resource, count));
        }
    }
    let draft = with_conditions(namespace, &remaining, &finalizers, now);
    if draft["status"] != namespace["status"] {
        outcome.update_status(NAMESPACES, draft);
    }
    if remaining.is_empty() {
        outcome.push(Action::Finalize { namespace: name.to_owned() });
    }
}

fn with_conditions(
    namespace: &Value,
    remaining: &[(&str, usize)],
    finalizers: &BTreeMap<String, usize>,
    now: Timestamp,
) -> Value {
    let mut conditions = condition::of(namespace);
    let mut set = |kind: &str, status: bool, reason: &str, message: &str| {
        condition::set(&mut conditions, kind, if status { "True" } else { "False" }, reason, message, now);
    };
    let discovered = "All resources successfully discovered";
    set("NamespaceDeletionDiscoveryFailure", false, "ResourcesDiscovered", discovered);
    let parsed = "All legacy kube types successfully parsed";
    set("NamespaceDeletionGroupVersionParsingFailure", false, "ParsedGroupVersions", parsed);
    let deleted = "All content successfully deleted, may be waiting on finalization";
    set("NamespaceDeletionContentFailure", false, "ContentDeleted", deleted);
    if remaining.is_empty() {
        set("NamespaceContentRemaining", false, "ContentRemoved", "All content successfully removed");
    } else {
        let listed = remaining.iter().map(|(resource, count)| match resource.contains('.') {
            true => format!("{resource} has {count} resource instances"),
            false => format!("{resource}. has {count} resource instances"),
        });
        let message = format!("Some resources are remaining: {}", listed.collect::<Vec<_>>().join(", "));
        set("NamespaceContentRemaining", true, "SomeResourcesRemain", &message);
    }
    if finalizers.is_empty() {
        let finished = "All content-preserving finalizers finished";
        set("NamespaceFinalizersRemaining", false, "ContentHasNoFinalizers", finished);
    } else {
        let listed = finalizers.iter().map(|(name, count)| format!("{name} in {count} resource instances"));
        let message = format!(
            "Some content in the namespace has finalizers remaining: {}",
            listed.collect::<Vec<_>>().join(", ")
        );
        set("NamespaceFinalizersRemaining", true, "SomeFinalizersRemain", &message);
    }
    let mut draft = namespace.clone();
    object::set(&mut draft, &["status", "conditions"], Value::Array(conditions));
    object::set(&mut draft, &["status", "phase"], json!("Terminating"));
    draft
}

#[cfg(test)]
mod tests;
