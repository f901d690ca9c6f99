//! StatefulSets: pods with a number, a name and claims that stay theirs. Ordered by default: pod n is created when
//! all before it are available, the highest is removed first, and an update goes from the highest down to the
//! partition. `Parallel` drops the waiting when creating and removing. Mirrors upstream's stateful pod control;
//! claims are created from the templates and kept when pods or the set go.

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
use crate::cluster::Snapshot;
use crate::object::{self, Object, ObjectReference};

pub const STATEFUL_SETS: &str = "statefulsets.apps";
pub const CLAIMS: &str = "persistentvolumeclaims";
pub const INPUTS: &[&str] = &[STATEFUL_SETS, PODS, REVISIONS];

const COMPONENT: &str = "statefulset-controller";
const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
const POD_INDEX: &str = "apps.kubernetes.io/pod-index";
/// Pods created or deleted for one Parallel set in one look.
const BURST: usize = 500;

/// One StatefulSet with its pods by ordinal.
struct Set<'a> {
    object: &'a Value,
    history: History,
    current: String,
    /// How many pods there should be.
    size: i64,
    /// A pod, or None where one is missing, for each ordinal that there should be; of a huge set the first of them,
    /// among which there are as many missing as one look creates.
    replicas: Vec<(i64, Option<&'a Object>)>,
    /// Pods beyond, highest first.
    condemned: Vec<&'a Object>,
    now: Timestamp,
}

pub fn reconcile(snapshot: &Snapshot, now: Timestamp) -> Outcome {
    let mut outcome = Outcome::default();
    if snapshot.list(STATEFUL_SETS).next().is_none() {
        return outcome;
    }
    let pods = Dependents::of(snapshot, PODS);
    let records = Dependents::of(snapshot, REVISIONS);
    for object in snapshot.list(STATEFUL_SETS) {
        let owned: Vec<&Object> =
            pods.claim(object, &mut outcome).into_iter().filter(|pod| ordinal_of(object, pod).is_some()).collect();
        if object::is_deleting(object) {
            continue;
        }
        let history = History::of(object, &records, &mut outcome);
        let set = Set::new(object, history, &owned, now);
        set.sync(snapshot, &mut outcome);
        set.write_status(&owned, &mut outcome);
        let in_use = |name: &str| name == set.current || owned.iter().any(|pod| object::label(pod, HASH) == Some(name));
        set.history.truncate(object, in_use, &mut outcome);
    }
    outcome
}

fn ordinal_of(set: &Value, pod: &Value) -> Option<i64> {
    object::name(pod).strip_prefix(object::name(set))?.strip_prefix('-')?.parse().ok().filter(|ordinal| *ordinal >= 0)
}

impl<'a> Set<'a> {
    fn new(object: &'a Value, history: History, owned: &[&'a Object], now: Timestamp) -> Set<'a> {
        let start = object::i64_at(object, "/spec/ordinals/start").unwrap_or(0);
        let size = object::i64_at(object, "/spec/replicas").unwrap_or(1).max(0);
        let end = start.saturating_add(size);
        let ordinal = |pod: &Object| ordinal_of(object, pod).unwrap_or(-1);
        let by_ordinal: HashMap<i64, &Object> = owned.iter().map(|pod| (ordinal(pod), *pod)).collect();
        let find = |ordinal: i64| (ordinal, by_ordinal.get(&ordinal).copied());
        let replicas = (start..end).take(owned.len() + BURST).map(find).collect();
        let mut condemned: Vec<&Object> =
            owned.iter().copied().filter(|pod| !(start..end).contains(&ordinal(pod))).collect();
        condemned.sort_by_key(|pod| std::cmp::Reverse(ordinal(pod)));
        let current = match object::str_at(object, "/status/currentRevision") {
            "" => history.present.clone(),
            current => current.to_owned(),
        };
        Set { object, history, current, size, replicas, condemned, now }
    }

    fn is_ordered(&self) -> bool {
        object::str_at(self.object, "/spec/podManagementPolicy") != "Parallel"
    }

    fn min_ready_s(&self) -> i64 {
        object::i64_at(self.object, "/spec/minReadySeconds").unwrap_or(0)
    }

    fn is_available(&self, pod: &Value) -> bool {
        pod::is_active(pod) && pod::is_available(pod, self.min_ready_s(), self.now)
    }

    fn sync(&self, snapshot: &Snapshot, outcome: &mut Outcome) {
        for pod in self.replicas.iter().filter_map(|(_, pod)| *pod) {
            if let Some(at) = pod::available_at(pod, self.min_ready_s()).filter(|at| *at > self.now) {
                outcome.wake(at);
            }
        }
        if self.fill(snapshot, outcome) && self.shrink(outcome) {
            self.update(outcome);
        }
    }

    /// Creates what is missing; true if it is the turn of the next step.
    fn fill(&self, snapshot: &Snapshot, outcome: &mut Outcome) -> bool {
        let mut created = 0;
        for (ordinal, pod) in &self.replicas {
            let waits = match pod {
                None if created < BURST => {
                    self.create(snapshot, *ordinal, outcome);
                    created += 1;
                    true
                }
                None => true,
                Some(pod) if object::is_deleting(pod) => true,
                Some(pod) if pod::is_finished(pod) => {
                    let kind = pod::phase(pod).to_lowercase();
                    let (namespace, name) = (object::namespace(self.object), object::name(self.object));
                    let message =
                        format!("StatefulSet {namespace}/{name} is recreating {kind} Pod {}", object::name(pod));
                    outcome.warning(COMPONENT, self.object, "RecreatingFailedPod", message);
                    self.delete(pod, outcome);
                    true
                }
                Some(pod) => !self.is_available(pod),
            };
            if waits && self.is_ordered() {
                return false;
            }
        }
        true
    }

    /// Deletes the pods beyond the last ordinal, the highest first; true when none is left to wait for.
    fn shrink(&self, outcome: &mut Outcome) -> bool {
        for pod in &self.condemned {
            if !object::is_deleting(pod) {
                self.delete(pod, outcome);
            }
            if self.is_ordered() {
                return false;
            }
        }
        true
    }

    /// Rolling update: deletes pods of old revisions from the highest down, at most `maxUnavailable` being away.
    fn update(&self, outcome: &mut Outcome) {
        if object::str_at(self.object, "/spec/updateStrategy/type") == "OnDelete" {
            return;
        }
        let allowed = match self.object.pointer("/spec/updateStrategy/rollingUpdate/maxUnavailable") {
            Some(allowed) if !allowed.is_null() => int_or_percent::resolve(allowed, self.size, Round::Down).max(1),
            _ => 1,
        };
        let away = |pod: &Option<&Object>| pod.is_none_or(|pod| !self.is_available(pod));
        let mut unavailable =
            i64::try_from(self.replicas.iter().filter(|(_, pod)| away(pod)).count()).unwrap_or(i64::MAX);
        for (ordinal, pod) in self.replicas.iter().rev() {
            let Some(pod) = pod.filter(|_| *ordinal >= self.partition()) else { continue };
            if object::label(pod, HASH) == Some(self.history.present.as_str()) || object::is_deleting(pod) {
                continue;
            }
            let is_away = !self.is_available(pod);
            if unavailable >= allowed && !is_away {
                return;
            }
            self.delete(pod, outcome);
            unavailable += i64::from(!is_away);
        }
    }

    fn partition(&self) -> i64 {
        object::i64_at(self.object, "/spec/updateStrategy/rollingUpdate/partition").unwrap_or(0)
    }

    fn delete(&self, pod: &Value, outcome: &mut Outcome) {
        outcome.delete(PODS, pod, Some(self.announce("delete", object::name(pod))));
    }

    fn announce(&self, verb: &'static str, pod: &str) -> Announce {
        let set = object::name(self.object);
        let (done, failed) =
            if verb == "create" { ("SuccessfulCreate", "FailedCreate") } else { ("SuccessfulDelete", "FailedDelete") };
        Announce {
            regarding: ObjectReference::of(self.object),
            component: COMPONENT,
            done: (done, format!("{verb} Pod {pod} in StatefulSet {set} successful")),
            failed: (failed, format!("{verb} Pod {pod} in StatefulSet {set} failed error: {{}}")),
        }
    }

    fn create(&self, snapshot: &Snapshot, ordinal: i64, outcome: &mut Outcome) {
        let set = self.object;
        let name = format!("{}-{ordinal}", object::name(set));
        let is_old = object::str_at(set, "/spec/updateStrategy/type") != "OnDelete" && ordinal < self.partition();
        let revision = if is_old { &self.current } else { &self.history.present };
        let template = self.history.template(revision).unwrap_or_else(|| set["spec"]["template"].clone());
        let mut pod = pod::from_template(&template, set, Map::from_iter([("name".to_owned(), json!(name))]));
        for (label, value) in [(POD_NAME, name.as_str()), (POD_INDEX, &ordinal.to_string()), (HASH, revision)] {
            object::set(&mut pod, &["metadata", "labels", label], json!(value));
        }
        object::set(&mut pod, &["spec", "hostname"], json!(name));
        object::set(&mut pod, &["spec", "subdomain"], json!(object::str_at(set, "/spec/serviceName")));
        let mut volumes = object::array_at(&pod, "/spec/volumes").to_vec();
        for claim in object::array_at(set, "/spec/volumeClaimTemplates") {
            let claim_name = format!("{}-{name}", object::name(claim));
            volumes.retain(|volume| volume["name"] != object::name(claim));
            let source = json!({ "claimName": claim_name });
            volumes.push(json!({ "name": object::name(claim), "persistentVolumeClaim": source }));
            if snapshot.get(CLAIMS, object::namespace(set), &claim_name).is_none() {
                self.create_claim(claim, &claim_name, &name, outcome);
            }
        }
        if !volumes.is_empty() {
            object::set(&mut pod, &["spec", "volumes"], json!(volumes));
        }
        outcome.create(PODS, object::namespace(set), pod, Some(self.announce("create", &name)));
    }

    fn create_claim(&self, template: &Value, name: &str, pod: &str, outcome: &mut Outcome) {
        let mut labels = object::labels(template).cloned().unwrap_or_default();
        labels.extend(object::map_at(self.object, "/spec/selector/matchLabels").cloned().unwrap_or_default());
        let claim = json!({
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {
                "name": name,
                "namespace": object::namespace(self.object),
                "labels": labels,
                "annotations": template["metadata"]["annotations"],
            },
            "spec": template["spec"],
        });
        let set = object::name(self.object);
        let announce = Announce {
            regarding: ObjectReference::of(self.object),
            component: COMPONENT,
            done: ("SuccessfulCreate", format!("create Claim {name} Pod {pod} in StatefulSet {set} success")),
            failed: (
                "FailedCreate",
                format!("create Claim {name} for Pod {pod} in StatefulSet {set} failed error: {{}}"),
            ),
        };
        outcome.create(CLAIMS, object::namespace(self.object), claim, Some(announce));
    }

    fn write_status(&self, owned: &[&Object], outcome: &mut Outcome) {
        let present = &self.history.present;
        let live = owned.iter().filter(|pod| !pod::is_finished(pod));
        let count = |passes: &dyn Fn(&Value) -> bool| live.clone().filter(|pod| passes(pod)).count();
        let of = |revision: &str, pod: &Value| !object::is_deleting(pod) && object::label(pod, HASH) == Some(revision);
        let (replicas, ready) = (count(&|_| true), count(&|pod| pod::is_ready(pod)));
        let updated = count(&|pod| of(present, pod));
        let mut current = self.current.as_str();
        let rolls = object::str_at(self.object, "/spec/updateStrategy/type") != "OnDelete";
        if rolls && updated == replicas && ready == replicas && i64::try_from(replicas) == Ok(self.size) {
            current = present;
        }
        let mut status = Map::from_iter([
            ("observedGeneration".to_owned(), json!(object::generation(self.object))),
            ("replicas".to_owned(), json!(replicas)),
            ("availableReplicas".to_owned(), json!(count(&|pod| self.is_available(pod)))),
            ("currentRevision".to_owned(), json!(current)),
            ("updateRevision".to_owned(), json!(present)),
            ("collisionCount".to_owned(), json!(object::i64_at(self.object, "/status/collisionCount").unwrap_or(0))),
        ]);
        let counts = [
            ("readyReplicas", ready),
            ("currentReplicas", count(&|pod| of(current, pod))),
            ("updatedReplicas", updated),
        ];
        for (field, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            status.insert(field.to_owned(), json!(count));
        }
        if self.object["status"].as_object() != Some(&status) {
            let mut draft = self.object.clone();
            draft["status"] = Value::Object(status);
            outcome.update_status(STATEFUL_SETS, draft);
        }
    }
}
