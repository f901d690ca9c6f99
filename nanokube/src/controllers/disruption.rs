//! PodDisruptionBudgets: how many pods may be evicted right now. `minAvailable` as a number is compared with the pods
//! there are; percentages and `maxUnavailable` need to know how many there should be, which the pods' controllers say
//! through their sizes. Evictions that were granted count until the pod is really being deleted, for two minutes at
//! most.

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::action::Outcome;
use super::int_or_percent::{self, Round};
use super::pod::{self, PODS};
use super::time::plus_s;
use super::{condition, deployment};
use crate::cluster::Snapshot;
use crate::object;
use crate::selector::LabelSelector;

pub const BUDGETS: &str = "poddisruptionbudgets.policy";
pub const INPUTS: &[&str] = &[BUDGETS, PODS, deployment::REPLICA_SETS, deployment::DEPLOYMENTS, "statefulsets.apps"];

/// A granted eviction that led to no deletion is forgotten after this.
const GRANT_S: i64 = 120;

pub fn reconcile(snapshot: &Snapshot, now: Timestamp) -> Outcome {
    let mut outcome = Outcome::default();
    for budget in snapshot.list(BUDGETS).filter(|budget| !object::is_deleting(budget)) {
        sync(snapshot, budget, now, &mut outcome);
    }
    outcome
}

fn sync(snapshot: &Snapshot, budget: &Value, now: Timestamp, outcome: &mut Outcome) {
    let selector = LabelSelector::from_value(&budget["spec"]["selector"]);
    let candidates = snapshot.in_namespace(PODS, object::namespace(budget));
    let pods: Vec<&Value> = candidates
        .map(|candidate| &**candidate)
        .filter(|candidate| selector.matches_object(candidate) && !pod::is_finished(candidate))
        .collect();
    let (expected, desired) = match expectation(snapshot, budget, &pods) {
        Ok(expectation) => expectation,
        Err(message) => {
            write(budget, Numbers { healthy: 0, desired: 0, expected: 0 }, Map::new(), Some(&message), now, outcome);
            return;
        }
    };
    let granted = live_grants(budget, &pods, now, outcome);
    let is_healthy =
        |pod: &&&Value| !object::is_deleting(pod) && !granted.contains_key(object::name(pod)) && pod::is_ready(pod);
    let healthy = i64::try_from(pods.iter().filter(is_healthy).count()).unwrap_or(i64::MAX);
    write(budget, Numbers { healthy, desired, expected }, granted, None, now, outcome);
}

struct Numbers {
    healthy: i64,
    desired: i64,
    expected: i64,
}

/// How many pods there should be, and how many of them healthy.
fn expectation(snapshot: &Snapshot, budget: &Value, pods: &[&Value]) -> Result<(i64, i64), String> {
    let count = i64::try_from(pods.len()).unwrap_or(i64::MAX);
    if let Some(unavailable) = budget.pointer("/spec/maxUnavailable").filter(|it| !it.is_null()) {
        let expected = controlled_size(snapshot, pods)?;
        let unavailable = int_or_percent::resolve(unavailable, expected, Round::Up);
        return Ok((expected, (expected - unavailable).max(0)));
    }
    let available = &budget["spec"]["minAvailable"];
    match int_or_percent::percent_of(available) {
        None => Ok((count, available.as_i64().unwrap_or(1))),
        Some(_) => {
            let expected = controlled_size(snapshot, pods)?;
            Ok((expected, int_or_percent::resolve(available, expected, Round::Up)))
        }
    }
}

/// The sizes of the controllers of all these pods together.
fn controlled_size(snapshot: &Snapshot, pods: &[&Value]) -> Result<i64, String> {
    let mut sizes: HashMap<String, i64> = HashMap::new();
    for candidate in pods {
        let namespace = object::namespace(candidate);
        let Some(owner) = object::owner_of(candidate) else { continue };
        let (kind, name) = (object::str_at(owner, "/kind"), object::str_at(owner, "/name"));
        let resource = match kind {
            "ReplicaSet" => deployment::REPLICA_SETS,
            "StatefulSet" => "statefulsets.apps",
            "ReplicationController" => "replicationcontrollers",
            _ => return Err(format!("found no controllers for pod \"{}\"", object::name(candidate))),
        };
        let Some(mut controller) = snapshot.get(resource, namespace, name) else { continue };
        if let Some(grand) = object::owner_of(controller).filter(|grand| grand["kind"] == "Deployment") {
            let deployment = snapshot.get(deployment::DEPLOYMENTS, namespace, object::str_at(grand, "/name"));
            controller = deployment.unwrap_or(controller);
        }
        let size = object::i64_at(controller, "/spec/replicas").unwrap_or(1);
        sizes.insert(object::uid(controller).to_owned(), size);
    }
    Ok(sizes.values().sum())
}

/// The granted evictions that have not become deletions yet.
fn live_grants(budget: &Value, pods: &[&Value], now: Timestamp, outcome: &mut Outcome) -> Map<String, Value> {
    let grants = object::map_at(budget, "/status/disruptedPods").into_iter().flatten();
    let mut live = Map::new();
    for (name, granted_at) in grants {
        let due = plus_s(granted_at.as_str().and_then(|at| at.parse().ok()).unwrap_or(Timestamp::MIN), GRANT_S);
        let is_there = pods.iter().any(|pod| object::name(pod) == name && !object::is_deleting(pod));
        if is_there && due > now {
            outcome.wake(due);
            live.insert(name.clone(), granted_at.clone());
        }
    }
    live
}

fn write(
    budget: &Value,
    numbers: Numbers,
    granted: Map<String, Value>,
    failure: Option<&str>,
    now: Timestamp,
    outcome: &mut Outcome,
) {
    let Numbers { healthy, desired, expected } = numbers;
    let allowed = if expected <= 0 { 0 } else { (healthy - desired).max(0) };
    let mut conditions = condition::of(budget);
    let (status, reason, message) = match failure {
        Some(failure) => ("False", "SyncFailed", failure),
        None if allowed > 0 => ("True", "SufficientPods", ""),
        None => ("False", "InsufficientPods", ""),
    };
    condition::set(&mut conditions, "DisruptionAllowed", status, reason, message, now);
    for condition in &mut conditions {
        condition["observedGeneration"] = json!(object::generation(budget));
    }
    let mut next = json!({
        "observedGeneration": object::generation(budget),
        "disruptionsAllowed": allowed,
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "expectedPods": expected,
        "conditions": conditions,
    });
    if !granted.is_empty() {
        next["disruptedPods"] = Value::Object(granted);
    }
    if budget["status"] != next {
        let mut draft = budget.clone();
        draft["status"] = next;
        outcome.update_status(BUDGETS, draft);
    }
}

#[cfg(test)]
mod tests;
