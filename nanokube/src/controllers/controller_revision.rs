//! ControllerRevisions: the history of a StatefulSet's or DaemonSet's pod template. The present template has the
//! highest revision; one that returns takes its old record along.

use serde_json::{Value, json};

use super::action::Outcome;
use super::ownership::{self, Dependents};
use super::template;
use crate::object::{self, Object};

pub const REVISIONS: &str = "controllerrevisions.apps";
pub const HASH: &str = "controller-revision-hash";

const HASH_OF_REVISION: &str = "controller.kubernetes.io/hash";

/// The revisions of one owner, oldest first, the present one last.
pub struct History {
    pub revisions: Vec<Object>,
    /// The name of the revision of the present template.
    pub present: String,
}

impl History {
    /// Finds or asks for the revision of the owner's present template.
    pub fn of(owner: &Value, records: &Dependents, outcome: &mut Outcome) -> History {
        let mut revisions: Vec<Object> = records.controlled_by(owner).iter().map(|record| (*record).clone()).collect();
        revisions.sort_by_key(|record| (number(record), object::name(record).to_owned()));
        let data = data_of(owner);
        let next = revisions.last().map_or(0, |record| number(record)).saturating_add(1);
        match revisions.iter().position(|record| same(&record["data"], &data)) {
            Some(at) if at + 1 == revisions.len() => {}
            Some(at) => {
                let record = revisions.remove(at);
                let version = &record["metadata"]["resourceVersion"];
                let patch = json!({ "metadata": { "resourceVersion": version }, "revision": next });
                outcome.patch(REVISIONS, &record, patch);
                revisions.push(record);
            }
            None => {
                let record = record(owner, data, next, &revisions);
                outcome.create(REVISIONS, object::namespace(owner), record.clone(), None);
                revisions.push(Object::new(record));
            }
        }
        let present = revisions.last().map(|record| object::name(record).to_owned()).unwrap_or_default();
        History { revisions, present }
    }

    /// The pod template of a revision, if it is still known.
    pub fn template(&self, name: &str) -> Option<Value> {
        let record = self.revisions.iter().find(|record| object::name(record) == name)?;
        let mut template = record.pointer("/data/spec/template")?.clone();
        object::remove(&mut template, &["$patch"]);
        Some(template)
    }

    /// Deletes what is beyond the limit and in use by nobody.
    pub fn truncate(&self, owner: &Value, in_use: impl Fn(&str) -> bool, outcome: &mut Outcome) {
        let limit = object::i64_at(owner, "/spec/revisionHistoryLimit").unwrap_or(10);
        let idle: Vec<&Object> = self
            .revisions
            .iter()
            .filter(|record| object::name(record) != self.present && !in_use(object::name(record)))
            .collect();
        let surplus = idle.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        idle.iter().take(surplus).for_each(|record| outcome.delete(REVISIONS, record, None));
    }
}

fn number(record: &Value) -> i64 {
    object::i64_at(record, "/revision").unwrap_or(0)
}

fn data_of(owner: &Value) -> Value {
    let mut template = owner["spec"]["template"].clone();
    object::set(&mut template, &["$patch"], json!("replace"));
    json!({ "spec": { "template": template } })
}

fn same(one: &Value, other: &Value) -> bool {
    template::equal_ignoring_hash(&one["spec"]["template"], &other["spec"]["template"])
}

fn record(owner: &Value, data: Value, revision: i64, taken: &[Object]) -> Value {
    let mut collisions = object::i64_at(owner, "/status/collisionCount");
    let mut hash = template::hash_value(&data, collisions);
    let name = |hash: &str| format!("{}-{hash}", object::name(owner));
    while taken.iter().any(|record| object::name(record) == name(&hash)) {
        collisions = Some(collisions.unwrap_or(0) + 1);
        hash = template::hash_value(&data, collisions);
    }
    let mut labels = object::map_at(owner, "/spec/template/metadata/labels").cloned().unwrap_or_default();
    labels.insert(HASH_OF_REVISION.to_owned(), json!(hash));
    json!({
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": name(&hash),
            "namespace": object::namespace(owner),
            "labels": labels,
            "ownerReferences": [ownership::controller_reference(owner)],
        },
        "data": data,
        "revision": revision,
    })
}
