//! DaemonSets: one pod on every node that fits. The pods are pinned to their node by affinity and bound by the
//! scheduler, and tolerate what a node has when it is not well, as upstream's do. A rolling update replaces at most
//! `maxUnavailable` at a time; `maxSurge` is honoured as replacing in place.

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::action::{Announce, Outcome};
use super::controller_revision::{HASH, History, REVISIONS};
use super::int_or_percent::{self, Round};
use super::ownership::Dependents;
use super::pod::{self, PODS};
use super::scheduler::{self, NODES};
use crate::cluster::Snapshot;
use crate::object::{self, Object};

pub const DAEMON_SETS: &str = "daemonsets.apps";
pub const INPUTS: &[&str] = &[DAEMON_SETS, PODS, NODES, REVISIONS];

const COMPONENT: &str = "daemonset-controller";
const NODE_NAME: &str = "metadata.name";
const TOLERATED: &[(&str, &str)] = &[
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];

/// One DaemonSet with its pods by node.
struct Set<'a> {
    object: &'a Value,
    present: &'a str,
    by_node: HashMap<String, Vec<&'a Object>>,
    /// Nodes that should run a pod, and nodes that should not.
    wanted: Vec<&'a Value>,
    unwanted: Vec<&'a Value>,
    now: Timestamp,
}

pub fn reconcile(snapshot: &Snapshot, now: Timestamp) -> Outcome {
    let mut outcome = Outcome::default();
    if snapshot.list(DAEMON_SETS).next().is_none() {
        return outcome;
    }
    let pods = Dependents::of(snapshot, PODS);
    let records = Dependents::of(snapshot, REVISIONS);
    for object in snapshot.list(DAEMON_SETS) {
        let owned = pods.claim(object, &mut outcome);
        if object::is_deleting(object) {
            continue;
        }
        let history = History::of(object, &records, &mut outcome);
        let set = Set::new(object, &history.present, &owned, snapshot, now);
        set.sync(&mut outcome);
        set.write_status(&mut outcome);
        let in_use = |name: &str| owned.iter().any(|pod| hash_of(object, name) == object::label(pod, HASH));
        history.truncate(object, in_use, &mut outcome);
    }
    outcome
}

/// The hash behind a revision's name: what its pods are labelled with.
fn hash_of<'a>(set: &Value, revision: &'a str) -> Option<&'a str> {
    revision.strip_prefix(object::name(set))?.strip_prefix('-')
}

/// The node that a pod is on, or is meant for.
fn target_of(pod: &Value) -> &str {
    if !pod::node(pod).is_empty() {
        return pod::node(pod);
    }
    let terms = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
    let mut fields = object::array_at(pod, terms).iter().flat_map(|term| object::array_at(term, "/matchFields"));
    fields.find(|field| field["key"] == NODE_NAME).map_or("", |field| object::str_at(field, "/values/0"))
}

impl<'a> Set<'a> {
    fn new(
        object: &'a Value,
        present: &'a str,
        owned: &[&'a Object],
        snapshot: &'a Snapshot,
        now: Timestamp,
    ) -> Set<'a> {
        let mut by_node: HashMap<String, Vec<&Object>> = HashMap::new();
        for pod in owned {
            by_node.entry(target_of(pod).to_owned()).or_default().push(pod);
        }
        let mut set = Set { object, present, by_node, wanted: Vec::new(), unwanted: Vec::new(), now };
        let model = set.fresh_pod(None);
        for node in snapshot.list(NODES) {
            let taints = object::array_at(node, "/spec/taints").iter();
            let hard = taints.filter(|taint| taint["effect"] != "PreferNoSchedule");
            let runs =
                scheduler::matches_node(&model, node) && hard.clone().all(|taint| scheduler::tolerates(&model, taint));
            if runs { set.wanted.push(node) } else { set.unwanted.push(node) }
        }
        set
    }

    fn on(&self, node: &Value) -> &[&'a Object] {
        self.by_node.get(object::name(node)).map(Vec::as_slice).unwrap_or(&[])
    }

    fn hash(&self) -> &str {
        hash_of(self.object, self.present).unwrap_or_default()
    }

    fn is_updated(&self, pod: &Value) -> bool {
        object::label(pod, HASH) == Some(self.hash())
    }

    fn min_ready_s(&self) -> i64 {
        object::i64_at(self.object, "/spec/minReadySeconds").unwrap_or(0)
    }

    fn sync(&self, outcome: &mut Outcome) {
        for node in &self.wanted {
            let mut live = false;
            for pod in self.on(node) {
                if pod::is_finished(pod) && !object::is_deleting(pod) {
                    let (kind, name) = (pod::phase(pod), object::name(pod));
                    let (namespace, node) = (object::namespace(pod), object::name(node));
                    let message = format!(
                        "Found {} daemon pod {namespace}/{name} on node {node}, will try to kill it",
                        kind.to_lowercase()
                    );
                    outcome.warning(COMPONENT, self.object, "FailedDaemonPod", message);
                    self.delete(pod, outcome);
                } else if live && !object::is_deleting(pod) {
                    self.delete(pod, outcome);
                }
                live = true;
                if let Some(at) = pod::available_at(pod, self.min_ready_s()).filter(|at| *at > self.now) {
                    outcome.wake(at);
                }
            }
            if !live {
                let pod = self.fresh_pod(Some(object::name(node)));
                let announce = Announce::pod_created(self.object, COMPONENT);
                outcome.create(PODS, object::namespace(self.object), pod, Some(announce));
            }
        }
        let strays = self.unwanted.iter().flat_map(|node| self.on(node)).filter(|pod| !object::is_deleting(pod));
        strays.for_each(|stray| self.delete(stray, outcome));
        self.update(outcome);
    }

    fn update(&self, outcome: &mut Outcome) {
        if object::str_at(self.object, "/spec/updateStrategy/type") == "OnDelete" {
            return;
        }
        let size = i64::try_from(self.wanted.len()).unwrap_or(i64::MAX);
        let allowed =
            self.object.pointer("/spec/updateStrategy/rollingUpdate/maxUnavailable").cloned().unwrap_or(json!(1));
        let allowed = int_or_percent::resolve(&allowed, size, Round::Up).max(1);
        let is_away = |node: &&&Value| !self.on(node).iter().any(|pod| self.is_available(pod));
        let mut away = i64::try_from(self.wanted.iter().filter(is_away).count()).unwrap_or(i64::MAX);
        for pod in self.wanted.iter().flat_map(|node| self.on(node)) {
            if self.is_updated(pod) || !pod::is_active(pod) {
                continue;
            }
            if self.is_available(pod) {
                if away >= allowed {
                    continue;
                }
                away += 1;
            }
            self.delete(pod, outcome);
        }
    }

    fn is_available(&self, pod: &Value) -> bool {
        pod::is_active(pod) && pod::is_available(pod, self.min_ready_s(), self.now)
    }

    fn delete(&self, pod: &Value, outcome: &mut Outcome) {
        outcome.delete(PODS, pod, Some(Announce::pod_deleted(self.object, COMPONENT)));
    }

    /// A pod for a node; without one, a model to ask which nodes would do.
    fn fresh_pod(&self, node: Option<&str>) -> Value {
        let set = self.object;
        let metadata = Map::from_iter([("generateName".to_owned(), json!(format!("{}-", object::name(set))))]);
        let mut pod = pod::from_template(&set["spec"]["template"], set, metadata);
        object::set(&mut pod, &["metadata", "labels", HASH], json!(self.hash()));
        let generation = object::generation(set).to_string();
        object::set(&mut pod, &["metadata", "labels", "pod-template-generation"], json!(generation));
        let mut tolerations = object::array_at(&pod, "/spec/tolerations").to_vec();
        for (key, effect) in TOLERATED {
            tolerations.push(json!({ "key": key, "operator": "Exists", "effect": effect }));
        }
        object::set(&mut pod, &["spec", "tolerations"], json!(tolerations));
        if let Some(node) = node {
            pin(&mut pod, node);
        }
        pod
    }

    fn write_status(&self, outcome: &mut Outcome) {
        let (mut scheduled, mut ready, mut available, mut updated) = (0, 0, 0, 0);
        for node in &self.wanted {
            let Some(pod) = self.on(node).iter().find(|pod| !object::is_deleting(pod)).or(self.on(node).first()) else {
                continue;
            };
            scheduled += 1;
            let is_ready = pod::is_active(pod) && pod::is_ready(pod);
            ready += i64::from(is_ready);
            available += i64::from(self.is_available(pod));
            updated += i64::from(self.is_updated(pod));
        }
        let desired = i64::try_from(self.wanted.len()).unwrap_or(i64::MAX);
        let misplaced = self.unwanted.iter().filter(|node| !self.on(node).is_empty()).count();
        let mut status = Map::from_iter([
            ("currentNumberScheduled".to_owned(), json!(scheduled)),
            ("numberMisscheduled".to_owned(), json!(misplaced)),
            ("desiredNumberScheduled".to_owned(), json!(desired)),
            ("numberReady".to_owned(), json!(ready)),
            ("observedGeneration".to_owned(), json!(object::generation(self.object))),
        ]);
        let counts = [
            ("updatedNumberScheduled", updated),
            ("numberAvailable", available),
            ("numberUnavailable", desired - available),
        ];
        for (field, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            status.insert(field.to_owned(), json!(count));
        }
        if self.object["status"].as_object() != Some(&status) {
            let mut draft = self.object.clone();
            draft["status"] = Value::Object(status);
            outcome.update_status(DAEMON_SETS, draft);
        }
    }
}

/// Restricts a pod to one node, on top of what its own affinity asks.
fn pin(pod: &mut Value, node: &str) {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    let field = json!({ "key": NODE_NAME, "operator": "In", "values": [node] });
    let path = ["spec", "affinity", "nodeAffinity", REQUIRED, "nodeSelectorTerms"];
    let mut terms = object::array_at(pod, &format!("/{}", path.join("/"))).to_vec();
    if terms.is_empty() {
        terms.push(json!({}));
    }
    for term in &mut terms {
        term["matchFields"] = json!([field]);
    }
    object::set(pod, &path, json!(terms));
}
