//! Instants as controllers use them. Stored stamps are whole seconds, cut off and never rounded; several upstream
//! rules (readiness against metric windows, deadlines) are only reproduced with stamps cut like this.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::object;

/// When the object was created; an object without a stamp is as old as can be.
pub fn created_at(object: &Value) -> Timestamp {
    object::creation_time(object).unwrap_or(Timestamp::MIN)
}

/// `at` plus whole seconds, held within the range of time stamps.
pub fn plus_s(at: Timestamp, seconds: i64) -> Timestamp {
    at.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}
