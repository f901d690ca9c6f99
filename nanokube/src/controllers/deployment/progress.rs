//! A Deployment's status: counters, and the conditions Available, Progressing and ReplicaFailure.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::rollout::{Rollout, Set};
use super::{DEPLOYMENTS, REVISION};
use crate::controllers::action::Outcome;
use crate::controllers::condition;
use crate::controllers::time::plus_s;
use crate::object;

/// What the ReplicaSets add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counters {
    replicas: i64,
    updated: i64,
    ready: i64,
    available: i64,
    unavailable: i64,
    terminating: i64,
}

impl Rollout<'_> {
    pub(super) fn has_deadline(&self) -> bool {
        object::i64_at(self.deployment, "/spec/progressDeadlineSeconds")
            .is_some_and(|deadline| deadline != i64::from(i32::MAX))
    }

    /// Progressing=Unknown while paused, and once more when resumed, so that the deadline starts anew.
    pub(super) fn note_pause(&mut self) {
        let reason =
            condition::find(&self.conditions, "Progressing").map_or("", |found| object::str_at(found, "/reason"));
        if !self.has_deadline() || reason == "ProgressDeadlineExceeded" {
            return;
        }
        let was_paused = reason == "DeploymentPaused";
        if self.paused() && !was_paused {
            self.set_condition("Progressing", "Unknown", "DeploymentPaused", "Deployment is paused");
        } else if !self.paused() && was_paused {
            self.set_condition("Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed");
        }
    }

    /// Sets a condition. One that keeps status and reason stays as it is; a new one goes to the end of the list.
    pub(super) fn set_condition(&mut self, kind: &str, status: &str, reason: &str, message: &str) {
        let now = object::time(self.now);
        let existing = condition::find(&self.conditions, kind);
        if existing.is_some_and(|existing| existing["status"] == status && existing["reason"] == reason) {
            return;
        }
        let since =
            existing.filter(|existing| existing["status"] == status).map(|existing| &existing["lastTransitionTime"]);
        let since = since.cloned().unwrap_or_else(|| json!(now));
        condition::remove(&mut self.conditions, kind);
        self.conditions.push(json!({
            "type": kind, "status": status, "lastUpdateTime": now, "lastTransitionTime": since,
            "reason": reason, "message": message,
        }));
    }

    /// All pods are of the new template and available, and the status has said so for this generation.
    pub(super) fn is_complete(&self) -> bool {
        let counters = self.counters();
        let wanted = self.replicas();
        counters.updated == wanted && counters.replicas == wanted && counters.available == wanted
    }

    /// The status of a rollout under way: judges progress, then writes.
    pub(super) fn write_rollout_status(mut self, outcome: &mut Outcome) {
        self.judge_availability();
        self.judge_progress(outcome);
        self.write(outcome);
    }

    /// The status when sizes were changed or the rollout is paused: counters and availability only.
    pub(super) fn write_status(mut self, outcome: &mut Outcome) {
        self.judge_availability();
        self.write(outcome);
    }

    /// The status of a Deployment that is being deleted.
    pub(super) fn finish(self, outcome: &mut Outcome) {
        self.write_status(outcome);
    }

    fn counters(&self) -> Counters {
        let sum = |field: &str| self.sets().map(|set| set.status(field)).sum::<i64>();
        let wanted: i64 = self.sets().map(|set| set.replicas).sum();
        let available = sum("availableReplicas");
        Counters {
            replicas: sum("replicas"),
            updated: self.new.as_ref().map_or(0, |new| new.status("replicas")),
            ready: sum("readyReplicas"),
            available,
            unavailable: (wanted - available).max(0),
            terminating: sum("terminatingReplicas"),
        }
    }

    fn judge_availability(&mut self) {
        if self.counters().available >= self.replicas() - self.max_unavailable() {
            let message = "Deployment has minimum availability.";
            self.set_condition("Available", "True", "MinimumReplicasAvailable", message);
        } else {
            let message = "Deployment does not have minimum availability.";
            self.set_condition("Available", "False", "MinimumReplicasUnavailable", message);
        }
    }

    fn judge_progress(&mut self, outcome: &mut Outcome) {
        if !self.has_deadline() {
            condition::remove(&mut self.conditions, "Progressing");
        } else if !self.was_complete() {
            let subject = match &self.new {
                Some(new) => format!("ReplicaSet \"{}\"", object::name(&new.object)),
                None => format!("Deployment \"{}\"", object::name(self.deployment)),
            };
            if self.is_complete() {
                let message = format!("{subject} has successfully progressed.");
                self.set_condition("Progressing", "True", "NewReplicaSetAvailable", &message);
            } else if self.progressed() {
                self.renew_progressing(&format!("{subject} is progressing."));
            } else if self.timed_out(outcome) {
                let message = format!("{subject} has timed out progressing.");
                self.set_condition("Progressing", "False", "ProgressDeadlineExceeded", &message);
            }
        }
        self.judge_failures();
    }

    /// Complete in an earlier look, and nothing has changed since that would start a rollout.
    fn was_complete(&self) -> bool {
        let counters = self.counters();
        let reason = condition::find(&self.conditions, "Progressing").map(|found| object::str_at(found, "/reason"));
        counters.replicas == counters.updated && reason == Some("NewReplicaSetAvailable")
    }

    fn progressed(&self) -> bool {
        let before = |field: &str| self.deployment["status"][field].as_i64().unwrap_or(0);
        let now = self.counters();
        now.updated > before("updatedReplicas")
            || now.replicas - now.updated < before("replicas") - before("updatedReplicas")
            || now.ready > before("readyReplicas")
            || now.available > before("availableReplicas")
    }

    /// Progress renews `lastUpdateTime`, from which the deadline counts, even when nothing else changes.
    fn renew_progressing(&mut self, message: &str) {
        let existing = condition::find(&self.conditions, "Progressing").filter(|existing| existing["status"] == "True");
        let since = existing.map(|existing| existing["lastTransitionTime"].clone());
        condition::remove(&mut self.conditions, "Progressing");
        self.set_condition("Progressing", "True", "ReplicaSetUpdated", message);
        if let (Some(since), Some(condition)) = (since, self.conditions.last_mut()) {
            condition["lastTransitionTime"] = since;
        }
    }

    fn timed_out(&self, outcome: &mut Outcome) -> bool {
        let Some(progressing) = condition::find(&self.conditions, "Progressing") else { return false };
        match object::str_at(progressing, "/reason") {
            "NewReplicaSetAvailable" => return false,
            "ProgressDeadlineExceeded" => return true,
            _ => {}
        }
        let deadline_s = object::i64_at(self.deployment, "/spec/progressDeadlineSeconds").unwrap_or(600);
        let from = object::time_at(progressing, "/lastUpdateTime").unwrap_or(Timestamp::MAX);
        let due = plus_s(from, deadline_s);
        if due >= self.now {
            outcome.wake(plus_s(due, 1));
        }
        due < self.now
    }

    /// Passes on that pods cannot be created, from the new ReplicaSet before the old ones.
    fn judge_failures(&mut self) {
        let failing = |set: &Set| condition::find(&condition::of(&set.object), "ReplicaFailure").cloned();
        let failure = self.new.iter().chain(&self.old).find_map(failing);
        match failure {
            Some(failure) => {
                let text = |pointer: &str| object::str_at(&failure, pointer).to_owned();
                self.set_condition("ReplicaFailure", &text("/status"), &text("/reason"), &text("/message"));
            }
            None => condition::remove(&mut self.conditions, "ReplicaFailure"),
        }
    }

    fn write(mut self, outcome: &mut Outcome) {
        let draft = self.draft();
        self.write_sets(outcome);
        if let Some(draft) = draft {
            outcome.update_status(DEPLOYMENTS, draft);
        }
    }

    /// The Deployment with its next status and revision, if that says anything new.
    fn draft(&self) -> Option<Value> {
        let counters = self.counters();
        let mut status = Map::new();
        if object::generation(self.deployment) > 0 {
            status.insert("observedGeneration".to_owned(), json!(object::generation(self.deployment)));
        }
        for (field, count) in [
            ("replicas", counters.replicas),
            ("updatedReplicas", counters.updated),
            ("readyReplicas", counters.ready),
            ("availableReplicas", counters.available),
            ("unavailableReplicas", counters.unavailable),
        ] {
            if count > 0 {
                status.insert(field.to_owned(), json!(count));
            }
        }
        status.insert("terminatingReplicas".to_owned(), json!(counters.terminating));
        if let Some(collisions) = self.collisions {
            status.insert("collisionCount".to_owned(), json!(collisions));
        }
        if !self.conditions.is_empty() {
            status.insert("conditions".to_owned(), json!(self.conditions));
        }
        let revised = self.revision.as_deref().filter(|it| object::annotation(self.deployment, REVISION) != Some(it));
        if revised.is_none() && self.deployment["status"].as_object() == Some(&status) {
            return None;
        }
        let mut draft = self.deployment.clone();
        draft["status"] = Value::Object(status);
        if let Some(revision) = revised {
            object::set(&mut draft, &["metadata", "annotations", REVISION], json!(revision));
        }
        Some(draft)
    }
}
