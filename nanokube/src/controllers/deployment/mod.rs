//! Deployments: a rollout is a set of ReplicaSets, one per pod template, whose sizes this controller shifts from the
//! old ones to the new one within `maxSurge` and `maxUnavailable`. Mirrors upstream's deployment controller:
//! revisions by template equality (so an undo finds its old ReplicaSet again), proportional scaling in the middle of
//! a rollout, Recreate, pause, progress deadline and revision history.
//!
//! `rollout` holds one Deployment with its ReplicaSets, `scale` moves sizes, `progress` words the status.

mod progress;
mod rollout;
mod scale;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::Value;

use self::rollout::Rollout;
use super::action::Outcome;
use super::ownership::Dependents;
use super::pod::{self, PODS};
use crate::cluster::Snapshot;
use crate::object::{self, Object};

pub const DEPLOYMENTS: &str = "deployments.apps";
pub const REPLICA_SETS: &str = "replicasets.apps";
pub const INPUTS: &[&str] = &[DEPLOYMENTS, REPLICA_SETS, PODS];

const COMPONENT: &str = "deployment-controller";
const REVISION: &str = "deployment.kubernetes.io/revision";
const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAXIMUM: &str = "deployment.kubernetes.io/max-replicas";

pub fn reconcile(snapshot: &Snapshot, now: Timestamp) -> Outcome {
    let mut outcome = Outcome::default();
    let sets = Dependents::of(snapshot, REPLICA_SETS);
    for deployment in snapshot.list(DEPLOYMENTS) {
        let owned = sets.claim(deployment, &mut outcome);
        sync(snapshot, deployment, owned, now, &mut outcome);
    }
    outcome
}

fn sync(snapshot: &Snapshot, deployment: &Object, owned: Vec<&Object>, now: Timestamp, outcome: &mut Outcome) {
    let mut rollout = Rollout::new(deployment, owned, now);
    if object::is_deleting(deployment) {
        rollout.finish(outcome);
        return;
    }
    rollout.note_pause();
    if rollout.paused() {
        rollout.find_new(snapshot, false);
        rollout.resize();
        rollout.write_status(outcome);
        return;
    }
    if rollout.is_scaling() {
        rollout.find_new(snapshot, false);
        rollout.resize();
        rollout.write_status(outcome);
        return;
    }
    if rollout.recreates() {
        recreate(snapshot, &mut rollout);
    } else {
        roll(snapshot, &mut rollout);
    }
    rollout.write_rollout_status(outcome);
}

/// Rolling update: grow the new ReplicaSet while there is room, else shrink the old ones while enough pods are
/// available.
fn roll(snapshot: &Snapshot, rollout: &mut Rollout) {
    rollout.find_new(snapshot, true);
    if rollout.grow_new() || rollout.shrink_old() {
        return;
    }
    rollout.clean_history();
}

/// Recreate: all old pods go before the first new one comes.
fn recreate(snapshot: &Snapshot, rollout: &mut Rollout) {
    rollout.find_new(snapshot, false);
    if rollout.empty_old() || old_pods_live(snapshot, rollout) {
        return;
    }
    rollout.find_new(snapshot, true);
    rollout.grow_new();
    rollout.clean_history();
}

/// Whether a pod of an old ReplicaSet may still run; deleting ones count until they are gone.
fn old_pods_live(snapshot: &Snapshot, rollout: &Rollout) -> bool {
    let mut live: HashMap<&str, bool> = HashMap::new();
    for candidate in snapshot.in_namespace(PODS, object::namespace(rollout.deployment)) {
        if let Some(owner) = object::owner_of(candidate).filter(|_| !pod::is_finished(candidate)) {
            live.insert(object::str_at(owner, "/uid"), true);
        }
    }
    rollout.old_uids().any(|uid| live.contains_key(uid))
}

fn replicas_of(object: &Value) -> i64 {
    object::i64_at(object, "/spec/replicas").unwrap_or(1)
}
