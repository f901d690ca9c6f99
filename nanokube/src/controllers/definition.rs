//! CustomResourceDefinitions that are being deleted: their objects are deleted first, each with its own finalizers; the
//! definition goes with the last of them.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::action::{How, Outcome};
use super::condition;
use crate::cluster::{DEFINITION_CLEANUP, DEFINITIONS, Snapshot};
use crate::object;

/// Works off the definitions that are being deleted.
pub fn finalize(snapshot: &Snapshot, now: Timestamp) -> Outcome {
    let mut outcome = Outcome::default();
    for definition in snapshot.list(DEFINITIONS).filter(|definition| object::is_deleting(definition)) {
        let finalizers = object::array_at(definition, "/metadata/finalizers");
        if !finalizers.iter().any(|finalizer| finalizer == DEFINITION_CLEANUP) {
            continue;
        }
        let (plural, group) =
            (object::str_at(definition, "/spec/names/plural"), object::str_at(definition, "/spec/group"));
        let resource = format!("{plural}.{group}");
        let mut remains = false;
        for instance in snapshot.list(&resource) {
            remains = true;
            if !object::is_deleting(instance) {
                outcome.delete_how(resource.clone(), instance, How::default(), None);
            }
        }
        if remains {
            note_progress(definition, now, &mut outcome);
        } else {
            let rest: Vec<&Value> = finalizers.iter().filter(|finalizer| *finalizer != DEFINITION_CLEANUP).collect();
            outcome.patch(DEFINITIONS, definition, json!({ "metadata": { "finalizers": rest } }));
        }
    }
    outcome
}

fn note_progress(definition: &Value, now: Timestamp, outcome: &mut Outcome) {
    let mut conditions = condition::of(definition);
    let message = "CustomResource deletion is in progress";
    condition::set(&mut conditions, "Terminating", "True", "InstanceDeletionInProgress", message, now);
    let mut draft = definition.clone();
    object::set(&mut draft, &["status", "conditions"], Value::Array(conditions));
    if draft["status"] != definition["status"] {
        outcome.update_status(DEFINITIONS, draft);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::controllers::lab::Lab;

    #[test]
    fn a_definition_outlives_its_last_object() {
        let mut lab = Lab::new();
        lab.create(
            super::DEFINITIONS,
            json!({
                "metadata": { "name": "foos.a.example" },
                "spec": {
                    "group": "a.example",
                    "scope": "Namespaced",
                    "names": { "kind": "Foo", "plural": "foos" },
                    "versions": [{
                        "name": "v1", "served": true, "storage": true,
                        "schema": { "openAPIV3Schema": { "type": "object" } },
                    }],
                },
            }),
        );
        lab.create("foos.a.example", json!({
            "apiVersion": "a.example/v1", "kind": "Foo", "metadata": { "name": "f", "finalizers": ["a.example/hold"] },
        }));
        lab.delete(super::DEFINITIONS, "", "foos.a.example", crate::cluster::DeleteOptions::default());
        lab.settle();
        assert!(crate::object::is_deleting(&lab.get("foos.a.example", "f")));
        let definition = lab.get(super::DEFINITIONS, "foos.a.example");
        assert_eq!(
            crate::object::condition(&definition, "Terminating").unwrap()["reason"],
            "InstanceDeletionInProgress"
        );
        let late = json!({ "metadata": { "name": "late" } });
        let refused =
            lab.cluster.create("foos.a.example", "default", late, &crate::cluster::Writer::controller("test"));
        assert_eq!(refused.unwrap_err().code, 405);
        lab.patch("foos.a.example", "f", json!({ "metadata": { "finalizers": null } }));
        lab.settle();
        assert!(lab.find(super::DEFINITIONS, "foos.a.example").is_none());
    }
}
