//! What keeps pods running: deployments, replica sets, stateful sets, daemon sets and their revisions.

use jiff::Timestamp;
use serde_json::Value;

use super::{cell, labels_text};
use crate::selector::LabelSelector;

pub(super) fn deployment(object: &Value, now: Timestamp, out: &mut Vec<Value>) {
    let (spec, status) = (&object["spec"], &object["status"]);
    out.push(cell::name(object));
    out.push(ready_of_wanted(object));
    out.push(cell::int(&status["updatedReplicas"]).into());
    out.push(cell::int(&status["availableReplicas"]).into());
    out.push(cell::age(object, now));
    cell::containers(&spec["template"]["spec"], out);
    out.push(LabelSelector::from_value(&spec["selector"]).to_string().into());
}

pub(super) fn replica_set(object: &Value, now: Timestamp, out: &mut Vec<Value>) {
    replicated(object, now, out);
    out.push(cell::selector(&object["spec"]["selector"]));
}

pub(super) fn replication_controller(object: &Value, now: Timestamp, out: &mut Vec<Value>) {
    replicated(object, now, out);
    out.push(labels_text(&object["spec"]["selector"]).into());
}

pub(super) fn stateful_set(object: &Value, now: Timestamp, out: &mut Vec<Value>) {
    out.push(cell::name(object));
    out.push(ready_of_wanted(object));
    out.push(cell::age(object, now));
    cell::containers(&object["spec"]["template"]["spec"], out);
}

pub(super) fn daemon_set(object: &Value, now: Timestamp, out: &mut Vec<Value>) {
    let (spec, status) = (&object["spec"], &object["status"]);
    out.push(cell::name(object));
    let counts = [
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "numberReady",
        "updatedNumberScheduled",
        "numberAvailable",
    ];
    out.extend(counts.map(|count| Value::from(cell::int(&status[count]))));
    out.push(labels_text(&spec["template"]["spec"]["nodeSelector"]).into());
    out.push(cell::age(object, now));
    cell::containers(&spec["template"]["spec"], out);
    out.push(cell::selector(&spec["selector"]));
}

pub(super) fn controller_revision(object: &Value, now: Timestamp, out: &mut Vec<Value>) {
    out.push(cell::name(object));
    let owner = crate::object::owner_of(object).map_or("<none>".to_string(), |owner| {
        let kind = cell::text(&owner["kind"]).to_lowercase();
        let name = cell::text(&owner["name"]);
        match cell::text(&owner["apiVersion"]).split_once('/') {
            Some((group, _)) => format!("{kind}.{group}/{name}"),
            None => format!("{kind}/{name}"),
        }
    });
    out.push(owner.into());
    out.push(cell::int(&object["revision"]).into());
    out.push(cell::age(object, now));
}

pub(super) fn pod_template(object: &Value, _now: Timestamp, out: &mut Vec<Value>) {
    out.push(cell::name(object));
    cell::containers(&object["template"]["spec"], out);
    out.push(labels_text(&object["template"]["metadata"]["labels"]).into());
}

fn replicated(object: &Value, now: Timestamp, out: &mut Vec<Value>) {
    out.push(cell::name(object));
    out.push(cell::int(&object["spec"]["replicas"]).into());
    out.push(cell::int(&object["status"]["replicas"]).into());
    out.push(cell::int(&object["status"]["readyReplicas"]).into());
    out.push(cell::age(object, now));
    cell::containers(&object["spec"]["template"]["spec"], out);
}

fn ready_of_wanted(object: &Value) -> Value {
    let (ready, wanted) = (cell::int(&object["status"]["readyReplicas"]), cell::int(&object["spec"]["replicas"]));
    format!("{ready}/{wanted}").into()
}
