//! Nodes: what keeps pods away is written on them as taints, `unschedulable` for a cordoned one and `not-ready` or
//! `unreachable` for one that is not well. None of these evicts pods: the one node there is has nowhere to send them.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::action::Outcome;
use super::scheduler::NODES;
use crate::cluster::Snapshot;
use crate::object;

pub const INPUTS: &[&str] = &[NODES];

const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

pub fn reconcile(snapshot: &Snapshot, now: Timestamp) -> Outcome {
    let mut outcome = Outcome::default();
    for node in snapshot.list(NODES).filter(|node| !object::is_deleting(node)) {
        let present = object::array_at(node, "/spec/taints");
        let taints = wanted(node, present, now);
        if taints != present {
            let taints = if taints.is_empty() { Value::Null } else { json!(taints) };
            let version = &node["metadata"]["resourceVersion"];
            let patch = json!({ "metadata": { "resourceVersion": version }, "spec": { "taints": taints } });
            outcome.patch(NODES, node, patch);
        }
    }
    outcome
}

fn wanted(node: &Value, present: &[Value], now: Timestamp) -> Vec<Value> {
    let ready = object::condition_status(node, "Ready");
    let should = [
        (UNSCHEDULABLE, object::bool_at(node, "/spec/unschedulable")),
        (NOT_READY, ready == Some("False")),
        (UNREACHABLE, ready == Some("Unknown")),
    ];
    let mut taints = present.to_vec();
    for (key, is_wanted) in should {
        let has = |taint: &Value| taint["key"] == key && taint["effect"] == "NoSchedule";
        if !is_wanted {
            taints.retain(|taint| !has(taint));
        } else if !taints.iter().any(has) {
            taints.push(json!({ "key": key, "effect": "NoSchedule", "timeAdded": object::time(now) }));
        }
    }
    taints
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controllers::lab::Lab;

    #[test]
    fn a_cordon_is_a_taint_as_long_as_it_lasts() {
        let mut lab = Lab::new();
        let own = json!({ "key": "dedicated", "effect": "NoSchedule" });
        lab.patch_node(json!({ "spec": { "unschedulable": true, "taints": [own] } }));
        lab.settle();
        let keys = |lab: &Lab| -> Vec<String> {
            let node = lab.get(NODES, "node");
            object::array_at(&node, "/spec/taints")
                .iter()
                .map(|taint| object::str_at(taint, "/key").to_owned())
                .collect()
        };
        assert_eq!(keys(&lab), ["dedicated", UNSCHEDULABLE]);
        lab.patch_node(json!({ "spec": { "unschedulable": null } }));
        lab.settle();
        assert_eq!(keys(&lab), ["dedicated"]);
        lab.status(NODES, "", "node", json!({ "conditions": [{ "type": "Ready", "status": "False" }] }));
        lab.settle();
        assert_eq!(keys(&lab), ["dedicated", NOT_READY]);
    }
}
