//! Taints with the effect NoExecute: pods on the node that do not tolerate them go at once, those that tolerate them
//! for a time when that is over. Mirrors upstream's taint eviction controller.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use serde_json::Value;

use super::action::Outcome;
use super::pod::{self, PODS};
use super::scheduler::{self, NODES};
use super::time::plus_s;
use crate::cluster::Snapshot;
use crate::object;

pub const INPUTS: &[&str] = &[PODS, NODES];

const COMPONENT: &str = "taint-eviction-controller";

/// Remembers since when pods have stood the taints of their node.
#[derive(Debug, Default)]
pub struct TaintEviction {
    since: HashMap<String, Timestamp>,
}

impl TaintEviction {
    pub fn reconcile(&mut self, snapshot: &Snapshot, now: Timestamp) -> Outcome {
        let mut outcome = Outcome::default();
        let taints: HashMap<&str, Vec<&Value>> =
            snapshot.list(NODES).map(|node| (object::name(node), expelling(node))).collect();
        if taints.values().all(Vec::is_empty) {
            self.since.clear();
            return outcome;
        }
        let mut patient = HashSet::new();
        for candidate in snapshot.list(PODS).filter(|candidate| pod::is_active(candidate)) {
            let Some(patience_s) = taints.get(pod::node(candidate)).and_then(|taints| patience_s(candidate, taints))
            else {
                continue;
            };
            let uid = object::uid(candidate);
            patient.insert(uid);
            let due = plus_s(*self.since.entry(uid.to_owned()).or_insert(now), patience_s);
            if due > now {
                outcome.wake(due);
                continue;
            }
            let message =
                format!("Marking for deletion Pod {}/{}", object::namespace(candidate), object::name(candidate));
            outcome.normal(COMPONENT, candidate, "TaintManagerEviction", message);
            outcome.delete(PODS, candidate, None);
        }
        self.since.retain(|uid, _| patient.contains(uid.as_str()));
        outcome
    }
}

fn expelling(node: &Value) -> Vec<&Value> {
    object::array_at(node, "/spec/taints").iter().filter(|taint| taint["effect"] == "NoExecute").collect()
}

/// How long the pod tolerates all of these taints; None for good.
fn patience_s(candidate: &Value, taints: &[&Value]) -> Option<i64> {
    let tolerations = object::array_at(candidate, "/spec/tolerations");
    let of = |taint: &&Value| match tolerations.iter().find(|toleration| scheduler::matches_taint(toleration, taint)) {
        Some(toleration) => object::i64_at(toleration, "/tolerationSeconds").map(|seconds| seconds.max(0)),
        None => Some(0),
    };
    taints.iter().filter_map(of).min()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::controllers::lab::Lab;

    #[test]
    fn pods_leave_a_node_whose_taint_they_do_not_tolerate_or_no_longer() {
        let mut lab = Lab::new();
        let tolerating = |seconds: Value| {
            let toleration = json!({ "key": "broken", "operator": "Exists", "effect": "NoExecute" });
            let mut tolerations = json!([toleration]);
            tolerations[0]["tolerationSeconds"] = seconds;
            tolerations
        };
        let pods = [("none", json!([])), ("while", tolerating(json!(5))), ("always", tolerating(Value::Null))];
        for (name, tolerations) in pods {
            let spec = json!({ "containers": [{ "name": "c", "image": "i" }], "tolerations": tolerations });
            lab.create(PODS, json!({ "metadata": { "name": name }, "spec": spec }));
        }
        lab.run(2, |_| {});
        let left = |lab: &Lab| lab.active_pods().iter().map(|it| object::name(it).to_owned()).collect::<Vec<_>>();
        lab.patch_node(json!({ "spec": { "taints": [{ "key": "soft", "effect": "NoSchedule" }] } }));
        lab.run(2, |_| {});
        assert_eq!(left(&lab), ["always", "none", "while"]);
        lab.patch_node(json!({ "spec": { "taints": [{ "key": "broken", "effect": "NoExecute" }] } }));
        lab.run(2, |_| {});
        assert_eq!(left(&lab), ["always", "while"]);
        assert!(lab.events("Pod").contains(&"TaintManagerEviction Marking for deletion Pod default/none".to_owned()));
        lab.run(6, |_| {});
        assert_eq!(left(&lab), ["always"]);
    }
}
