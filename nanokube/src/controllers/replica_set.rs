//! ReplicaSets: keep as many active pods of one template as asked for. Mirrors upstream's ReplicaSet controller:
//! adoption and release by selector, at most 500 pods created or deleted a look, and its order of deletion (the pod
//! that matters least goes first). There are no "expectations" as upstream has them: they bridge the lag of a cache,
//! and here the snapshot is the store itself.

use std::cmp::Ordering;
use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::action::{Announce, Outcome};
use super::failures::Failures;
use super::memo::{Memo, Versions};
use super::ownership::Dependents;
use super::pod::{self, PODS};
use super::time::created_at;
use super::{condition, deployment::REPLICA_SETS};
use crate::cluster::Snapshot;
use crate::object::{self, Object};
use crate::selector::LabelSelector;

pub const INPUTS: &[&str] = &[REPLICA_SETS, PODS];

const COMPONENT: &str = "replicaset-controller";
/// Pods created or deleted for one ReplicaSet in one look.
const BURST: usize = 500;
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The controller with its memory of what needs nothing.
#[derive(Debug, Default)]
pub struct ReplicaSets {
    memo: Memo,
}

impl ReplicaSets {
    pub fn reconcile(&mut self, snapshot: &Snapshot, now: Timestamp, failures: &Failures) -> Outcome {
        let mut outcome = Outcome::default();
        let pods = Dependents::of(snapshot, PODS);
        let mut live = 0;
        for set in snapshot.list(REPLICA_SETS) {
            live += 1;
            let dependents = pods.controlled_by(set).iter().map(|pod| &***pod);
            let versions = Versions::of(dependents.chain([&**set]));
            let is_quiet = !pods.has_orphans(set) && failures.of(object::uid(set)).is_none();
            if is_quiet && self.memo.is_settled(set, versions) {
                continue;
            }
            let mut wanted = Outcome::default();
            let owned = pods.claim(set, &mut wanted);
            sync(set, owned, now, failures, &mut wanted);
            self.memo.note(set, versions, is_quiet && wanted.actions.is_empty() && wanted.wake_at.is_none());
            outcome.append(wanted);
        }
        self.memo.prune(live);
        outcome
    }
}

fn sync(set: &Value, owned: Vec<&Object>, now: Timestamp, failures: &Failures, outcome: &mut Outcome) {
    let terminating = owned.iter().filter(|candidate| pod::is_terminating(candidate)).count();
    let active: Vec<&Object> = owned.into_iter().filter(|candidate| pod::is_active(candidate)).collect();
    let wanted = usize::try_from(object::i64_at(set, "/spec/replicas").unwrap_or(1)).unwrap_or(0);
    if !object::is_deleting(set) {
        for _ in 0..wanted.saturating_sub(active.len()).min(BURST) {
            let metadata = Map::from_iter([("generateName".to_owned(), json!(format!("{}-", object::name(set))))]);
            let fresh = pod::from_template(&set["spec"]["template"], set, metadata);
            outcome.create(PODS, object::namespace(set), fresh, Some(Announce::pod_created(set, COMPONENT)));
        }
        let surplus = active.len().saturating_sub(wanted).min(BURST);
        if surplus > 0 {
            let mut ranked = active.clone();
            rank_for_deletion(&mut ranked, now);
            for victim in ranked.iter().take(surplus) {
                outcome.delete(PODS, victim, Some(Announce::pod_deleted(set, COMPONENT)));
            }
        }
    }
    write_status(set, &active, terminating, now, failures, outcome);
}

fn write_status(
    set: &Value,
    active: &[&Object],
    terminating: usize,
    now: Timestamp,
    failures: &Failures,
    outcome: &mut Outcome,
) {
    let min_ready_s = object::i64_at(set, "/spec/minReadySeconds").unwrap_or(0);
    let template_labels =
        LabelSelector::from_value(&json!({ "matchLabels": set.pointer("/spec/template/metadata/labels") }));
    let labelled = active.iter().filter(|pod| template_labels.matches_object(pod)).count();
    let ready = active.iter().filter(|pod| pod::is_ready(pod)).count();
    let mut available = 0;
    for at in active.iter().filter_map(|pod| pod::available_at(pod, min_ready_s)) {
        if at <= now {
            available += 1;
        } else {
            outcome.wake(at);
        }
    }
    let mut status = Map::from_iter([
        ("replicas".to_owned(), json!(active.len())),
        ("terminatingReplicas".to_owned(), json!(terminating)),
        ("observedGeneration".to_owned(), json!(object::generation(set))),
    ]);
    for (field, count) in
        [("fullyLabeledReplicas", labelled), ("readyReplicas", ready), ("availableReplicas", available)]
    {
        if count > 0 {
            status.insert(field.to_owned(), json!(count));
        }
    }
    let conditions = failure_conditions(set, now, failures);
    if !conditions.is_empty() {
        status.insert("conditions".to_owned(), json!(conditions));
    }
    if set["status"].as_object() != Some(&status) {
        let mut draft = set.clone();
        draft["status"] = Value::Object(status);
        outcome.update_status(REPLICA_SETS, draft);
    }
}

/// ReplicaFailure while pods are refused by the API.
fn failure_conditions(set: &Value, now: Timestamp, failures: &Failures) -> Vec<Value> {
    let mut conditions = condition::of(set);
    match failures.of(object::uid(set)) {
        Some(failure) => {
            condition::set(&mut conditions, "ReplicaFailure", "True", failure.reason, &failure.message, now);
        }
        None => condition::remove(&mut conditions, "ReplicaFailure"),
    }
    conditions
}

/// Orders pods so that those to delete come first: unassigned, then Pending, then not ready, then of low deletion
/// cost, then where most siblings share the node, then lately ready, then often restarted, then lately created.
pub fn rank_for_deletion(pods: &mut [&Object], now: Timestamp) {
    let mut per_node: HashMap<String, usize> = HashMap::new();
    for candidate in pods.iter() {
        *per_node.entry(pod::node(candidate).to_owned()).or_default() += 1;
    }
    pods.sort_by(|one, other| compare_for_deletion(one, other, &per_node, now));
}

fn compare_for_deletion(one: &Value, other: &Value, per_node: &HashMap<String, usize>, now: Timestamp) -> Ordering {
    let phase_rank = |it: &Value| match pod::phase(it) {
        "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    let siblings = |it: &Value| per_node.get(pod::node(it)).copied().unwrap_or(0);
    let cost =
        |it: &Value| object::annotation(it, DELETION_COST).and_then(|text| text.parse::<i32>().ok()).unwrap_or(0);
    let ready_since = |it: &Value| pod::ready_since(it).unwrap_or(Timestamp::MAX);
    pod::node(one)
        .is_empty()
        .cmp(&pod::node(other).is_empty())
        .reverse()
        .then_with(|| phase_rank(one).cmp(&phase_rank(other)))
        .then_with(|| pod::is_ready(one).cmp(&pod::is_ready(other)))
        .then_with(|| cost(one).cmp(&cost(other)))
        .then_with(|| siblings(one).cmp(&siblings(other)).reverse())
        .then_with(|| compare_ages(ready_since(one), ready_since(other), one, other, now))
        .then_with(|| pod::restarts(one).cmp(&pod::restarts(other)).reverse())
        .then_with(|| compare_ages(created_at(one), created_at(other), one, other, now))
}

/// The younger first, by order of magnitude only; within one, the uid decides, so that no age is always the victim.
fn compare_ages(one_at: Timestamp, other_at: Timestamp, one: &Value, other: &Value, now: Timestamp) -> Ordering {
    if one_at == other_at {
        return Ordering::Equal;
    }
    let magnitude = |at: Timestamp| {
        let age = now.duration_since(at).as_nanos();
        if age <= 0 { -1 } else { i64::from(age.ilog2()) }
    };
    magnitude(one_at).cmp(&magnitude(other_at)).then_with(|| object::uid(one).cmp(object::uid(other)))
}

#[cfg(test)]
mod tests;
