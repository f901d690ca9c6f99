//! Resource quotas: `status.used`, for people to see. What is refused is decided where objects are created, from the
//! objects themselves; both count alike, through [`quota_share`].

use autoscaler::quantity::Quantity;
use serde_json::{Map, Value, json};

use super::action::Outcome;
use crate::cluster::{Change, Snapshot, quota_share};
use crate::kind::Registry;
use crate::object;

pub const QUOTAS: &str = "resourcequotas";

const NANO_PER_MILLI: i128 = 1_000_000;

/// Events and leases change often, and nobody limits them.
pub fn matters(change: &Change) -> bool {
    !matches!(object::str_at(&change.object, "/kind"), "Event" | "Lease")
}

pub fn reconcile(snapshot: &Snapshot, kinds: &Registry) -> Outcome {
    let mut outcome = Outcome::default();
    for quota in snapshot.list(QUOTAS).filter(|quota| !object::is_deleting(quota)) {
        let hard = object::map_at(quota, "/spec/hard").cloned().unwrap_or_default();
        let used: Map<String, Value> = hard
            .iter()
            .map(|(name, limit)| (name.clone(), json!(used(snapshot, kinds, object::namespace(quota), name, limit))))
            .collect();
        let status = json!({ "hard": hard, "used": used });
        if quota["status"] != status {
            let mut draft = Value::clone(quota);
            draft["status"] = status;
            outcome.update_status(QUOTAS, draft);
        }
    }
    outcome
}

/// What the objects of a namespace take, in the notation of the limit.
fn used(snapshot: &Snapshot, kinds: &Registry, namespace: &str, name: &str, limit: &Value) -> String {
    let mut total: i128 = 0;
    for resource in snapshot.resources() {
        let Some(kind) = kinds.resource(resource).filter(|kind| kind.namespaced) else { continue };
        let objects = snapshot.in_namespace(resource, namespace);
        total += objects.filter_map(|object| quota_share(kind, name, object)).sum::<i128>();
    }
    let milli = i64::try_from(total / NANO_PER_MILLI).unwrap_or(i64::MAX);
    let format = limit.as_str().and_then(|limit| Quantity::parse(limit).ok()).map(|limit| limit.format());
    Quantity::from_milli(milli, format.unwrap_or(autoscaler::quantity::Format::DecimalSi)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controllers::deployment::DEPLOYMENTS;
    use crate::controllers::lab::{Lab, deployment};

    #[test]
    fn usage_follows_the_objects_and_what_is_refused_is_told() {
        let mut lab = Lab::new();
        let hard = json!({ "pods": "2", "count/deployments.apps": "3", "requests.memory": "1Gi" });
        lab.create(QUOTAS, json!({ "metadata": { "name": "q" }, "spec": { "hard": hard } }));
        let mut web = deployment(3);
        let resources = json!({ "requests": { "memory": "64Mi" } });
        object::set(
            &mut web,
            &["spec", "template", "spec", "containers"],
            json!([
                { "name": "c", "image": "i", "resources": resources },
            ]),
        );
        lab.create(DEPLOYMENTS, web);
        lab.run(3, |_| {});
        let used = &lab.get(QUOTAS, "q")["status"]["used"];
        assert_eq!(*used, json!({ "pods": "2", "count/deployments.apps": "1", "requests.memory": "128Mi" }));
        assert_eq!(lab.active_pods().len(), 2);

        let failure = |lab: &Lab, resource: &str| -> String {
            let object = lab.list(resource)[0].clone();
            object::condition(&object, "ReplicaFailure")
                .map_or(String::new(), |it| object::str_at(it, "/reason").to_owned())
        };
        assert_eq!(failure(&lab, "replicasets.apps"), "FailedCreate");
        assert_eq!(failure(&lab, DEPLOYMENTS), "FailedCreate");
        assert!(
            lab.events("ReplicaSet").iter().any(|it| it.contains("FailedCreate Error creating: pods \"web-")),
            "{:?}",
            lab.events("ReplicaSet")
        );

        lab.patch(QUOTAS, "q", json!({ "spec": { "hard": { "pods": "9" } } }));
        lab.run(90, |_| {});
        assert_eq!(lab.active_pods().len(), 3);
        assert_eq!(failure(&lab, DEPLOYMENTS), "");
    }
}
