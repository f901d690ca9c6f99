//! Pods that nobody else would remove: those on a node that is gone for 40 seconds, and unscheduled ones being
//! deleted.

use std::collections::HashSet;

use jiff::Timestamp;

use super::action::{How, Outcome};
use super::pod::{self, PODS};
use super::scheduler::NODES;
use super::time::plus_s;
use crate::cluster::Snapshot;
use crate::object;

pub const INPUTS: &[&str] = &[PODS, NODES];

/// A node may come back (a restart) for this long before its pods are given up.
const QUARANTINE_S: i64 = 40;

/// Remembers since when pods have been seen on nodes that are not there.
#[derive(Debug, Default)]
pub struct PodGc {
    orphaned_since: std::collections::HashMap<String, Timestamp>,
}

impl PodGc {
    pub fn reconcile(&mut self, snapshot: &Snapshot, now: Timestamp) -> Outcome {
        let mut outcome = Outcome::default();
        let nodes: HashSet<&str> = snapshot.list(NODES).map(|node| object::name(node)).collect();
        let mut orphans = HashSet::new();
        for candidate in snapshot.list(PODS) {
            let node = pod::node(candidate);
            let now_gone = if node.is_empty() {
                object::is_deleting(candidate)
            } else if nodes.contains(node) {
                false
            } else {
                let uid = object::uid(candidate);
                orphans.insert(uid.to_owned());
                let since = *self.orphaned_since.entry(uid.to_owned()).or_insert(now);
                outcome.wake(plus_s(since, QUARANTINE_S).max(now));
                plus_s(since, QUARANTINE_S) <= now
            };
            if now_gone {
                let how = How { grace_s: Some(0), ..How::default() };
                outcome.delete_how(PODS, candidate, how, None);
            }
        }
        self.orphaned_since.retain(|uid, _| orphans.contains(uid));
        outcome
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::controllers::action::Action;

    fn deletions(gc: &mut PodGc, pods: &[Value], now: &str) -> usize {
        let node = json!({ "metadata": { "name": "node" } });
        let pods = pods.iter().map(|pod| (PODS, pod.clone()));
        let snapshot = Snapshot::of(pods.chain([(NODES, node)]));
        let outcome = gc.reconcile(&snapshot, now.parse().unwrap());
        outcome.actions.iter().filter(|action| matches!(action, Action::Delete { .. })).count()
    }

    #[test]
    fn pods_of_a_lost_node_go_after_forty_seconds() {
        let mut gc = PodGc::default();
        let pods = [("a", "node"), ("b", "gone")].map(|(name, node)| {
            json!({ "metadata": { "name": name, "uid": name, "namespace": "x" }, "spec": { "nodeName": node } })
        });
        assert_eq!(deletions(&mut gc, &pods, "2026-01-01T00:00:00Z"), 0);
        assert_eq!(deletions(&mut gc, &pods, "2026-01-01T00:00:39Z"), 0);
        assert_eq!(deletions(&mut gc, &pods, "2026-01-01T00:00:40Z"), 1);
    }

    #[test]
    fn an_unscheduled_pod_with_a_deletion_mark_goes_at_once() {
        let metadata =
            json!({ "name": "a", "uid": "a", "namespace": "x", "deletionTimestamp": "2026-01-01T00:00:00Z" });
        let pods = [json!({ "metadata": metadata, "spec": {} })];
        assert_eq!(deletions(&mut PodGc::default(), &pods, "2026-01-01T00:00:00Z"), 1);
    }
}
