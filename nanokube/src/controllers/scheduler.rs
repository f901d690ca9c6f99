//! The scheduler: binds pending pods to nodes by what they request against what a node can give, and by node
//! selector, required node affinity, taints and `unschedulable`, and required pod (anti-)affinity. Preferences,
//! topology spread and preemption are left out: on the one node there is they cannot change the answer. Words and
//! order of the reasons in FailedScheduling are those of upstream's scheduler.

use std::collections::{BTreeMap, HashMap};

use autoscaler::quantity::Quantity;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::action::{Action, Event, EventKind, Outcome};
use super::condition;
use super::pod::{self, PODS};
use super::time::created_at;
use crate::cluster::Snapshot;
use crate::object::{self, ObjectReference};
use crate::selector::LabelSelector;

pub const NODES: &str = "nodes";
pub const INPUTS: &[&str] = &[PODS, NODES];

const COMPONENT: &str = "default-scheduler";

/// A node with what there is and what is still free on it, in thousandths.
struct Room<'a> {
    node: &'a Value,
    all: HashMap<&'a str, i64>,
    free: HashMap<&'a str, i64>,
    pods: Vec<&'a Value>,
}

pub fn reconcile(snapshot: &Snapshot, now: Timestamp) -> Outcome {
    let mut outcome = Outcome::default();
    let is_mine = |candidate: &Value| {
        let scheduler = object::str_at(candidate, "/spec/schedulerName");
        pod::node(candidate).is_empty() && pod::is_active(candidate) && matches!(scheduler, "" | COMPONENT)
    };
    let mut waiting: Vec<&Value> =
        snapshot.list(PODS).map(|candidate| &**candidate).filter(|candidate| is_mine(candidate)).collect();
    if waiting.is_empty() {
        return outcome;
    }
    let mut rooms = rooms(snapshot);
    let priority = |candidate: &Value| object::i64_at(candidate, "/spec/priority").unwrap_or(0);
    waiting.sort_by_key(|candidate| (-priority(candidate), created_at(candidate), object::resource_version(candidate)));
    for candidate in waiting {
        schedule(candidate, &mut rooms, now, &mut outcome);
    }
    outcome
}

/// The nodes with what their pods leave free.
fn rooms(snapshot: &Snapshot) -> Vec<Room<'_>> {
    let mut rooms: Vec<Room> = snapshot.list(NODES).map(|node| Room::of(node)).collect();
    for bound in snapshot.list(PODS).filter(|bound| !pod::node(bound).is_empty() && !pod::is_finished(bound)) {
        let home = rooms.iter_mut().find(|room| object::name(room.node) == pod::node(bound));
        if let Some(home) = home {
            home.take(bound);
        }
    }
    rooms
}

fn schedule<'a>(candidate: &'a Value, rooms: &mut [Room<'a>], now: Timestamp, outcome: &mut Outcome) {
    if !object::array_at(candidate, "/spec/schedulingGates").is_empty() {
        let message = "Scheduling is blocked due to non-empty scheduling gates";
        note_unscheduled(candidate, "SchedulingGated", message, now, outcome);
        return;
    }
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let mut helpless = 0;
    let mut best: Option<(i64, usize)> = None;
    for at in 0..rooms.len() {
        let (obstacles, might_fit) = obstacles(candidate, &rooms[at], rooms);
        helpless += usize::from(!might_fit);
        if obstacles.is_empty() {
            let score = rooms[at].free.get("cpu").copied().unwrap_or(0);
            best = best.max(Some((score, rooms.len() - at)));
        }
        obstacles.into_iter().for_each(|obstacle| *reasons.entry(obstacle).or_default() += 1);
    }
    if let Some((_, from_end)) = best {
        let at = rooms.len() - from_end;
        rooms[at].take(candidate);
        bind(candidate, object::name(rooms[at].node), outcome);
    } else {
        let message = why_not(rooms.len(), helpless, &reasons);
        if note_unscheduled(candidate, "Unschedulable", &message, now, outcome) {
            tell(candidate, EventKind::Warning, "FailedScheduling", message, "Scheduling", outcome);
        }
    }
}

fn bind(candidate: &Value, node: &str, outcome: &mut Outcome) {
    let (namespace, name) = (object::namespace(candidate), object::name(candidate));
    outcome.push(Action::Bind {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        uid: object::uid(candidate).to_owned(),
        node: node.to_owned(),
    });
    let message = format!("Successfully assigned {namespace}/{name} to {node}");
    tell(candidate, EventKind::Normal, "Scheduled", message, "Binding", outcome);
}

fn tell(
    candidate: &Value,
    kind: EventKind,
    reason: &'static str,
    message: String,
    action: &'static str,
    outcome: &mut Outcome,
) {
    outcome.push(Action::Event(Event {
        regarding: ObjectReference::of(candidate),
        kind,
        reason: reason.into(),
        message,
        component: COMPONENT,
        action: Some(action),
    }));
}

/// Sets PodScheduled=False; true if that is news.
fn note_unscheduled(candidate: &Value, reason: &str, message: &str, now: Timestamp, outcome: &mut Outcome) -> bool {
    let before = condition::of(candidate);
    let mut conditions = before.clone();
    condition::set(&mut conditions, "PodScheduled", "False", reason, message, now);
    if conditions == before {
        return false;
    }
    let mut draft = candidate.clone();
    object::set(&mut draft, &["status", "conditions"], json!(conditions));
    outcome.update_status(PODS, draft);
    true
}

/// `0/1 nodes are available: 1 Insufficient cpu. ...`; on `helpless` nodes no removal of pods would help.
fn why_not(nodes: usize, helpless: usize, reasons: &BTreeMap<String, usize>) -> String {
    if nodes == 0 {
        return "no nodes available to schedule pods".to_owned();
    }
    let listed: Vec<String> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    let mut preemption = Vec::new();
    if nodes > helpless {
        preemption.push(format!("{} No preemption victims found for incoming pod", nodes - helpless));
    }
    if helpless > 0 {
        preemption.push(format!("{helpless} Preemption is not helpful for scheduling"));
    }
    format!(
        "0/{nodes} nodes are available: {}. no new claims to deallocate, \
         preemption: 0/{nodes} nodes are available: {}.",
        listed.join(", "),
        preemption.join(", "),
    )
}

/// Why the pod cannot go there (empty if it can), and whether it could if other pods made room.
fn obstacles(candidate: &Value, room: &Room, all: &[Room]) -> (Vec<String>, bool) {
    let node = room.node;
    let never = |why: &str| (vec![why.to_owned()], false);
    if object::bool_at(node, "/spec/unschedulable") && !tolerates(candidate, &unschedulable_taint()) {
        return never("node(s) were unschedulable");
    }
    if let Some(taint) = untolerated(candidate, node) {
        let (key, value) = (object::str_at(taint, "/key"), object::str_at(taint, "/value"));
        return never(&format!("node(s) had untolerated taint {{{key}: {value}}}"));
    }
    if !matches_node(candidate, node) {
        return never("node(s) didn't match Pod's node affinity/selector");
    }
    let shortages = Room::shortages(candidate, &room.free);
    if !shortages.is_empty() {
        return (shortages, Room::shortages(candidate, &room.all).is_empty());
    }
    if !affinity_holds(candidate, node, all) {
        return never("node(s) didn't match pod affinity rules");
    }
    if !anti_affinity_holds(candidate, node, all) {
        return (vec!["node(s) didn't match pod anti-affinity rules".to_owned()], true);
    }
    (Vec::new(), true)
}

fn unschedulable_taint() -> Value {
    json!({ "key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule" })
}

fn untolerated<'a>(candidate: &Value, node: &'a Value) -> Option<&'a Value> {
    let hard = |taint: &&Value| matches!(object::str_at(taint, "/effect"), "NoSchedule" | "NoExecute");
    object::array_at(node, "/spec/taints").iter().filter(hard).find(|taint| !tolerates(candidate, taint))
}

pub(super) fn tolerates(candidate: &Value, taint: &Value) -> bool {
    object::array_at(candidate, "/spec/tolerations").iter().any(|toleration| matches_taint(toleration, taint))
}

pub(super) fn matches_taint(toleration: &Value, taint: &Value) -> bool {
    let text = |pointer: &str| object::str_at(toleration, pointer);
    let effect = text("/effect").is_empty() || text("/effect") == object::str_at(taint, "/effect");
    let key = text("/key").is_empty() || text("/key") == object::str_at(taint, "/key");
    let value = text("/operator") == "Exists" || text("/value") == object::str_at(taint, "/value");
    effect && key && value
}

/// Node selector and required node affinity.
pub(super) fn matches_node(candidate: &Value, node: &Value) -> bool {
    let selector = json!({ "matchLabels": candidate.pointer("/spec/nodeSelector") });
    if !LabelSelector::from_value(&selector).matches_object(node) {
        return false;
    }
    let required = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
    let terms = object::array_at(candidate, required);
    terms.is_empty() || terms.iter().any(|term| matches_term(term, node))
}

fn matches_term(term: &Value, node: &Value) -> bool {
    let expressions = json!({ "matchExpressions": object::array_at(term, "/matchExpressions") });
    let by_name = json!({ "metadata": { "labels": { "metadata.name": object::name(node) } } });
    let fields = json!({ "matchExpressions": object::array_at(term, "/matchFields") });
    let is_empty = expressions["matchExpressions"] == json!([]) && fields["matchExpressions"] == json!([]);
    !is_empty
        && LabelSelector::from_value(&expressions).matches_object(node)
        && LabelSelector::from_value(&fields).matches_object(&by_name)
}

/// Each required term finds a matching pod in the node's topology (or matches the pod itself, the first of its kind).
fn affinity_holds(candidate: &Value, node: &Value, all: &[Room]) -> bool {
    let required = "/spec/affinity/podAffinity/requiredDuringSchedulingIgnoredDuringExecution";
    object::array_at(candidate, required).iter().all(|term| {
        let anywhere = all.iter().any(|room| room.pods.iter().any(|other| selects(term, candidate, other)));
        in_topology(term, candidate, node, all) || (!anywhere && selects(term, candidate, candidate))
    })
}

fn anti_affinity_holds(candidate: &Value, node: &Value, all: &[Room]) -> bool {
    let required = "/spec/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution";
    let own = object::array_at(candidate, required).iter().any(|term| in_topology(term, candidate, node, all));
    let others =
        all.iter().flat_map(|room| room.pods.iter().map(move |other| (room.node, *other))).any(|(home, other)| {
            object::array_at(other, required)
                .iter()
                .any(|term| same_topology(term, home, node) && selects(term, other, candidate))
        });
    !own && !others
}

fn in_topology(term: &Value, candidate: &Value, node: &Value, all: &[Room]) -> bool {
    all.iter()
        .filter(|room| same_topology(term, room.node, node))
        .any(|room| room.pods.iter().any(|other| selects(term, candidate, other)))
}

fn same_topology(term: &Value, one: &Value, other: &Value) -> bool {
    let key = object::str_at(term, "/topologyKey");
    object::label(one, key).is_some() && object::label(one, key) == object::label(other, key)
}

/// Whether an affinity term of `holder` selects `other`.
fn selects(term: &Value, holder: &Value, other: &Value) -> bool {
    let namespaces = object::array_at(term, "/namespaces");
    let here = match namespaces {
        [] => object::namespace(holder) == object::namespace(other),
        listed => listed.iter().any(|namespace| namespace == object::namespace(other)),
    };
    here && LabelSelector::from_value(&term["labelSelector"]).matches_object(other)
}

impl<'a> Room<'a> {
    fn of(node: &'a Value) -> Room<'a> {
        let allocatable = object::map_at(node, "/status/allocatable").into_iter().flatten();
        let all: HashMap<&str, i64> = allocatable.map(|(name, amount)| (name.as_str(), milli(amount))).collect();
        Room { node, free: all.clone(), all, pods: Vec::new() }
    }

    fn take(&mut self, pod: &'a Value) {
        for (name, amount) in requests(pod) {
            if let Some(free) = self.free.get_mut(name.as_str()) {
                *free = free.saturating_sub(amount);
            }
        }
        self.pods.push(pod);
    }

    fn shortages(candidate: &Value, free: &HashMap<&str, i64>) -> Vec<String> {
        let wanted = requests(candidate);
        let lacks = |(name, amount): (&String, &i64)| {
            (*amount > 0 && *amount > free.get(name.as_str()).copied().unwrap_or(0)).then(|| name.clone())
        };
        let mut shortages = Vec::new();
        for name in wanted.iter().filter_map(lacks) {
            shortages.push(if name == "pods" { "Too many pods".to_owned() } else { format!("Insufficient {name}") });
        }
        shortages
    }
}

/// What a pod asks of a node, in thousandths: its containers together, or its greatest init container if that is more,
/// plus overhead; and one of `pods`. Pod-level requests replace the sum.
pub fn requests(pod: &Value) -> BTreeMap<String, i64> {
    let mut steady: BTreeMap<String, i64> = BTreeMap::new();
    let mut peak: BTreeMap<String, i64> = BTreeMap::new();
    for container in object::array_at(pod, "/spec/initContainers") {
        if object::str_at(container, "/restartPolicy") == "Always" {
            add(&mut steady, container);
            raise(&mut peak, &steady);
        } else {
            let mut phase = steady.clone();
            add(&mut phase, container);
            raise(&mut peak, &phase);
        }
    }
    object::array_at(pod, "/spec/containers").iter().for_each(|container| add(&mut steady, container));
    raise(&mut steady, &peak);
    for (name, amount) in object::map_at(pod, "/spec/resources/requests").into_iter().flatten() {
        steady.insert(name.clone(), milli(amount));
    }
    for (name, amount) in object::map_at(pod, "/spec/overhead").into_iter().flatten() {
        *steady.entry(name.clone()).or_default() += milli(amount);
    }
    steady.insert("pods".to_owned(), 1000);
    steady
}

/// Thousandths of a quantity; what is none counts as nothing.
fn milli(amount: &Value) -> i64 {
    amount.as_str().and_then(|text| Quantity::parse(text).ok()).map_or(0, |quantity| quantity.milli())
}

fn add(total: &mut BTreeMap<String, i64>, container: &Value) {
    for (name, amount) in object::map_at(container, "/resources/requests").into_iter().flatten() {
        let sum = total.entry(name.clone()).or_default();
        *sum = sum.saturating_add(milli(amount));
    }
}

fn raise(total: &mut BTreeMap<String, i64>, other: &BTreeMap<String, i64>) {
    for (name, amount) in other {
        let present = total.entry(name.clone()).or_default();
        *present = (*present).max(*amount);
    }
}

#[cfg(test)]
mod tests;
