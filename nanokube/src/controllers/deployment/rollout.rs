//! One Deployment and its ReplicaSets while a look is taken: what they are, and drafts of what they should become.

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{COMPONENT, DESIRED, MAXIMUM, REPLICA_SETS, REVISION, REVISION_HISTORY, replicas_of};
use crate::cluster::Snapshot;
use crate::controllers::action::Outcome;
use crate::controllers::int_or_percent::{self, Round};
use crate::controllers::template::{self, HASH_LABEL};
use crate::controllers::time::created_at;
use crate::controllers::{condition, ownership};
use crate::object::{self, Object};

/// Annotations of a Deployment that its ReplicaSets do not inherit.
const NOT_INHERITED: &[&str] = &[
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED,
    MAXIMUM,
    "deprecated.deployment.rollback.to",
];
/// The recorded history of revisions of one ReplicaSet stays below this many bytes.
const REVISION_HISTORY_MAX: usize = 2000;

/// A ReplicaSet with a draft of its next state.
pub(super) struct Set<'a> {
    pub object: Cow<'a, Value>,
    pub replicas: i64,
    pub is_created: bool,
    is_changed: bool,
    is_removed: bool,
}

pub(super) struct Rollout<'a> {
    pub deployment: &'a Value,
    pub now: Timestamp,
    /// Oldest first.
    pub old: Vec<Set<'a>>,
    pub new: Option<Set<'a>>,
    pub conditions: Vec<Value>,
    /// The revision that the Deployment should carry, once known.
    pub revision: Option<String>,
    pub collisions: Option<i64>,
    events: Vec<(&'static str, String)>,
}

impl<'a> Rollout<'a> {
    pub(super) fn new(deployment: &'a Value, owned: Vec<&'a Object>, now: Timestamp) -> Rollout<'a> {
        let mut old: Vec<Set> = owned.into_iter().map(|object| Set::existing(object)).collect();
        old.sort_by(|one, other| {
            let key = |set: &Set| (created_at(&set.object), object::name(&set.object).to_owned());
            key(one).cmp(&key(other))
        });
        let template = &deployment["spec"]["template"];
        let same = |set: &Set| template::equal_ignoring_hash(&set.object["spec"]["template"], template);
        let new = old.iter().position(same).map(|at| old.remove(at));
        Rollout {
            deployment,
            now,
            old,
            new,
            conditions: condition::of(deployment),
            revision: None,
            collisions: object::i64_at(deployment, "/status/collisionCount"),
            events: Vec::new(),
        }
    }

    pub(super) fn replicas(&self) -> i64 {
        replicas_of(self.deployment)
    }

    pub(super) fn paused(&self) -> bool {
        object::bool_at(self.deployment, "/spec/paused")
    }

    pub(super) fn recreates(&self) -> bool {
        object::str_at(self.deployment, "/spec/strategy/type") == "Recreate"
    }

    /// `maxSurge` and `maxUnavailable` as numbers of pods; never both 0, or nothing could move.
    fn fence_posts(&self) -> (i64, i64) {
        let rolling = |field: &str| {
            let pointer = format!("/spec/strategy/rollingUpdate/{field}");
            self.deployment.pointer(&pointer).cloned().unwrap_or_else(|| json!("25%"))
        };
        let surge = int_or_percent::resolve(&rolling("maxSurge"), self.replicas(), Round::Up);
        let unavailable = int_or_percent::resolve(&rolling("maxUnavailable"), self.replicas(), Round::Down);
        if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
    }

    pub(super) fn max_surge(&self) -> i64 {
        if self.recreates() { 0 } else { self.fence_posts().0 }
    }

    pub(super) fn max_unavailable(&self) -> i64 {
        if self.recreates() || self.replicas() == 0 { 0 } else { self.fence_posts().1.min(self.replicas()) }
    }

    pub(super) fn sets(&self) -> impl Iterator<Item = &Set<'a>> {
        self.old.iter().chain(self.new.iter())
    }

    pub(super) fn old_uids(&self) -> impl Iterator<Item = &str> {
        self.old.iter().map(|set| object::uid(&set.object))
    }

    /// Whether a ReplicaSet was last sized for another number of replicas: the Deployment has been scaled.
    pub(super) fn is_scaling(&self) -> bool {
        let desired = self.replicas().to_string();
        self.sets()
            .filter(|set| set.replicas > 0)
            .any(|set| object::annotation(&set.object, DESIRED).is_some_and(|annotated| annotated != desired))
    }

    /// Brings the new ReplicaSet's annotations and revision up to date; creates it if asked to.
    pub(super) fn find_new(&mut self, snapshot: &Snapshot, create: bool) {
        let revision = self.old.iter().map(|set| set.revision()).max().unwrap_or(0).saturating_add(1);
        if let Some(new) = &mut self.new {
            new.inherit(self.deployment, revision);
            let min_ready = self.deployment["spec"].get("minReadySeconds").cloned().unwrap_or(Value::Null);
            if new.object["spec"]["minReadySeconds"] != min_ready {
                object::set(new.edit(), &["spec", "minReadySeconds"], min_ready);
            }
            self.revision = object::annotation(&new.object, REVISION).map(str::to_owned);
            let found = format!("Found new replica set \"{}\"", object::name(&new.object));
            if self.has_deadline() && condition::find(&self.conditions, "Progressing").is_none() {
                self.set_condition("Progressing", "True", "FoundNewReplicaSet", &found);
            }
        } else if create {
            self.create_new(snapshot, revision);
        }
    }

    fn create_new(&mut self, snapshot: &Snapshot, revision: i64) {
        let mut set = Set::blank(self.deployment, self.collisions);
        let name = object::name(&set.object).to_owned();
        if let Some(taken) = snapshot.get(REPLICA_SETS, object::namespace(self.deployment), &name) {
            if !object::is_deleting(taken) {
                self.collisions = Some(self.collisions.unwrap_or(0) + 1);
            }
            return;
        }
        set.inherit(self.deployment, revision);
        set.replicas = self.room_for_new(0);
        let replicas = json!(set.replicas);
        object::set(set.edit(), &["spec", "replicas"], replicas);
        set.annotate_size(self.replicas(), self.max_surge());
        if set.replicas > 0 {
            self.note_scaled(&name, 0, set.replicas);
        }
        self.revision = object::annotation(&set.object, REVISION).map(str::to_owned);
        self.new = Some(set);
        if self.has_deadline() {
            let created = format!("Created new replica set \"{name}\"");
            self.set_condition("Progressing", "True", "NewReplicaSetCreated", &created);
        }
    }

    /// The size that the new ReplicaSet may grow to from `current` without exceeding the surge.
    pub(super) fn room_for_new(&self, current: i64) -> i64 {
        if self.recreates() {
            return self.replicas();
        }
        let total: i64 = self.sets().map(|set| set.replicas).sum();
        let room = self.replicas() + self.max_surge() - total;
        if room <= 0 { current } else { current + room.min(self.replicas() - current) }
    }

    pub(super) fn note_scaled(&mut self, name: &str, from: i64, to: i64) {
        let direction = if to > from { "up" } else { "down" };
        self.events.push(("ScalingReplicaSet", format!("Scaled {direction} replica set {name} from {from} to {to}")));
    }

    /// Removes the oldest revisions beyond the history limit, once the rollout is complete.
    pub(super) fn clean_history(&mut self) {
        let Some(limit) = object::i64_at(self.deployment, "/spec/revisionHistoryLimit") else { return };
        if !self.is_complete() {
            return;
        }
        let mut candidates: Vec<usize> = (0..self.old.len()).collect();
        candidates.retain(|at| !object::is_deleting(&self.old[*at].object));
        candidates.sort_by_key(|at| self.old[*at].revision());
        let surplus = candidates.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        for at in candidates.into_iter().take(surplus) {
            let set = &mut self.old[at];
            set.is_removed = set.is_idle();
        }
    }

    /// Asks for the writes that the drafts amount to.
    pub(super) fn write_sets(&mut self, outcome: &mut Outcome) {
        for set in self.old.drain(..).chain(self.new.take()) {
            if set.is_removed {
                outcome.delete(REPLICA_SETS, &set.object, None);
            } else if set.is_created {
                let namespace = object::namespace(self.deployment);
                outcome.create(REPLICA_SETS, namespace, set.object.into_owned(), None);
            } else if set.is_changed {
                outcome.update(REPLICA_SETS, set.object.into_owned());
            }
        }
        for (reason, message) in self.events.drain(..) {
            outcome.normal(COMPONENT, self.deployment, reason, message);
        }
    }
}

impl<'a> Set<'a> {
    fn existing(object: &'a Value) -> Set<'a> {
        let replicas = replicas_of(object);
        Set { object: Cow::Borrowed(object), replicas, is_created: false, is_changed: false, is_removed: false }
    }

    /// A ReplicaSet for the Deployment's present template, not sized yet.
    fn blank(deployment: &Value, collisions: Option<i64>) -> Set<'a> {
        let hash = template::hash(&deployment["spec"]["template"], collisions);
        let mut template = deployment["spec"]["template"].clone();
        object::set(&mut template, &["metadata", "labels", HASH_LABEL], json!(hash));
        let mut selector = deployment["spec"]["selector"].clone();
        object::set(&mut selector, &["matchLabels", HASH_LABEL], json!(hash));
        let mut object = json!({
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": format!("{}-{hash}", object::name(deployment)),
                "namespace": object::namespace(deployment),
                "labels": template["metadata"]["labels"],
                "ownerReferences": [ownership::controller_reference(deployment)],
            },
            "spec": { "selector": selector, "template": template },
        });
        if let Some(min_ready) = deployment.pointer("/spec/minReadySeconds") {
            object::set(&mut object, &["spec", "minReadySeconds"], min_ready.clone());
        }
        Set { object: Cow::Owned(object), replicas: 0, is_created: true, is_changed: false, is_removed: false }
    }

    pub(super) fn edit(&mut self) -> &mut Value {
        self.is_changed = true;
        self.object.to_mut()
    }

    pub(super) fn revision(&self) -> i64 {
        object::annotation(&self.object, REVISION).and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    pub(super) fn status(&self, field: &str) -> i64 {
        if self.is_created { 0 } else { self.object["status"][field].as_i64().unwrap_or(0) }
    }

    /// No pods, none wanted, and its controller has seen that.
    fn is_idle(&self) -> bool {
        let generation = object::generation(&self.object);
        self.replicas == 0 && self.status("replicas") == 0 && generation <= self.status("observedGeneration")
    }

    /// Sizes this set, and notes for how many replicas it was sized.
    pub(super) fn resize(&mut self, to: i64, desired: i64, surge: i64) {
        if self.replicas != to {
            self.replicas = to;
            object::set(self.edit(), &["spec", "replicas"], json!(to));
        }
        self.annotate_size(desired, surge);
    }

    pub(super) fn annotate_size(&mut self, desired: i64, surge: i64) {
        self.annotate(DESIRED, &desired.to_string());
        self.annotate(MAXIMUM, &(desired + surge).to_string());
    }

    fn annotate(&mut self, key: &str, value: &str) {
        if object::annotation(&self.object, key) != Some(value) {
            object::set(self.edit(), &["metadata", "annotations", key], json!(value));
        }
    }

    /// Copies the Deployment's annotations and raises the revision to `revision`.
    fn inherit(&mut self, deployment: &Value, revision: i64) {
        for (key, value) in object::map_at(deployment, "/metadata/annotations").into_iter().flatten() {
            if !NOT_INHERITED.contains(&key.as_str()) {
                self.annotate(key, value.as_str().unwrap_or_default());
            }
        }
        let before = object::annotation(&self.object, REVISION).map(str::to_owned);
        if self.revision() >= revision {
            return;
        }
        self.annotate(REVISION, &revision.to_string());
        if let Some(before) = before {
            let history = object::annotation(&self.object, REVISION_HISTORY).unwrap_or_default();
            let mut kept: Vec<&str> = history.split(',').filter(|revision| !revision.is_empty()).collect();
            kept.push(&before);
            while kept.iter().map(|revision| revision.len() + 1).sum::<usize>() > REVISION_HISTORY_MAX {
                kept.remove(0);
            }
            let history = kept.join(",");
            self.annotate(REVISION_HISTORY, &history);
        }
    }
}
