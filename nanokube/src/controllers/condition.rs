//! Status conditions. `lastTransitionTime` moves only when the status value does; an unchanged condition stays as it
//! is, so that a status write that says nothing new is no write at all.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::object;

pub fn find<'a>(conditions: &'a [Value], kind: &str) -> Option<&'a Value> {
    conditions.iter().find(|condition| condition["type"] == kind)
}

/// The conditions of an object's status, as a list that can be worked on.
pub fn of(object: &Value) -> Vec<Value> {
    object::array_at(object, "/status/conditions").to_vec()
}

pub fn is_true(object: &Value, kind: &str) -> bool {
    object::condition_status(object, kind) == Some("True")
}

/// Sets a condition in place, or appends it.
pub fn set(conditions: &mut Vec<Value>, kind: &str, status: &str, reason: &str, message: &str, now: Timestamp) {
    let fresh = json!({
        "type": kind, "status": status, "lastTransitionTime": object::time(now), "reason": reason, "message": message,
    });
    let Some(existing) = conditions.iter_mut().find(|condition| condition["type"] == kind) else {
        conditions.push(fresh);
        return;
    };
    if existing["status"] != status {
        existing["lastTransitionTime"] = fresh["lastTransitionTime"].clone();
    }
    for field in ["status", "reason", "message"] {
        existing[field] = fresh[field].clone();
    }
}

pub fn remove(conditions: &mut Vec<Value>, kind: &str) {
    conditions.retain(|condition| condition["type"] != kind);
}
