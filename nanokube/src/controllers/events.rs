//! Events live for an hour after they were last seen.

use jiff::Timestamp;
use serde_json::Value;

use super::action::Outcome;
use super::time::{created_at, plus_s};
use crate::cluster::Snapshot;
use crate::object;

pub const EVENTS: &str = "events";

const TIME_TO_LIVE_S: i64 = 3600;
/// Expired events go in batches: the wait for the next look is never shorter than this.
const BATCH_S: i64 = 30;

pub fn reconcile(snapshot: &Snapshot, now: Timestamp) -> Outcome {
    let mut outcome = Outcome::default();
    // An event that is yet to come cannot expire before this.
    outcome.wake(plus_s(now, TIME_TO_LIVE_S));
    for event in snapshot.list(EVENTS) {
        let due = plus_s(last_seen(event), TIME_TO_LIVE_S);
        if due <= now {
            outcome.delete(EVENTS, event, None);
        } else {
            outcome.wake(due.max(plus_s(now, BATCH_S)));
        }
    }
    outcome
}

fn last_seen(event: &Value) -> Timestamp {
    let seen = ["/lastTimestamp", "/series/lastObservedTime", "/eventTime"].map(|it| object::time_at(event, it));
    seen.into_iter().flatten().fold(created_at(event), Timestamp::max)
}
