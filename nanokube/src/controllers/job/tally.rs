//! The count of a Job's pods. A pod that has ended is first written down by uid (`uncountedTerminatedPods`), then let
//! go of, then added to the totals; whatever is interrupted between these steps, it is counted once.

use std::collections::{BTreeSet, HashSet};

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::failure_policy::{self, Ruling};
use super::per_index::PerIndex;
use super::{back_off_s, completions, index_of, is_held, is_indexed, parse_indexes, print_indexes, release};
use crate::controllers::action::Outcome;
use crate::controllers::pod;
use crate::controllers::time::{created_at, plus_s};
use crate::object::{self, Object};

pub(super) struct Tally<'a> {
    pub active: Vec<&'a Object>,
    pub terminating: usize,
    /// Set when the failure policy ends the Job: why.
    pub condemned: Option<String>,
    ready: usize,
    /// Totals of the status.
    counted: (i64, i64),
    /// Ended, in the status by uid, not in the totals.
    uncounted: (Vec<String>, Vec<String>),
    /// Of an Indexed Job: the indexes that are done.
    pub completed: Option<BTreeSet<i64>>,
    /// Of an Indexed Job whose indexes have limits of their own.
    pub per_index: Option<PerIndex>,
    /// `(ended at, succeeded)` of every ended pod that is still there.
    ends: Vec<(Timestamp, bool)>,
    /// Pods whose end is in the status but which are still held.
    holds: usize,
}

impl<'a> Tally<'a> {
    /// Counts, and asks to let go of the pods whose end the stored status already holds.
    pub(super) fn of(job: &Value, owned: &[&'a Object], now: Timestamp, outcome: &mut Outcome) -> Tally<'a> {
        let mut tally = Tally::stored(job);
        let there: HashSet<&str> = owned.iter().filter(|it| is_held(it)).map(|it| object::uid(it)).collect();
        tally.move_to_totals(&there);
        for candidate in owned {
            let ended = end_of(job, candidate);
            if let Some(succeeded) = ended {
                tally.ends.push((ended_at(candidate, now), succeeded));
                if let Some(per_index) = tally.per_index.as_mut().filter(|_| !succeeded) {
                    per_index.note(job, candidate, ended_at(candidate, now));
                }
                if is_held(candidate) {
                    tally.count(job, candidate, succeeded, outcome);
                }
            }
            if pod::is_terminating(candidate) {
                tally.terminating += 1;
            } else if ended.is_none() {
                tally.ready += usize::from(pod::is_ready(candidate));
                tally.active.push(candidate);
            }
        }
        tally
    }

    fn stored(job: &Value) -> Tally<'a> {
        let total = |field: &str| job["status"][field].as_i64().unwrap_or(0);
        let uids = |field: &str| -> Vec<String> {
            let list = object::array_at(job, &format!("/status/uncountedTerminatedPods/{field}")).iter();
            list.filter_map(|uid| uid.as_str().map(str::to_owned)).collect()
        };
        Tally {
            active: Vec::new(),
            terminating: 0,
            condemned: None,
            ready: 0,
            counted: (total("succeeded"), total("failed")),
            uncounted: (uids("succeeded"), uids("failed")),
            completed: is_indexed(job)
                .then(|| parse_indexes(object::str_at(job, "/status/completedIndexes"), completions(job).unwrap_or(0))),
            per_index: PerIndex::of(job),
            ends: Vec::new(),
            holds: 0,
        }
    }

    /// Pods that are let go of (or gone) go from the list of uids to the totals.
    fn move_to_totals(&mut self, held: &HashSet<&str>) {
        let settle = |uids: &mut Vec<String>, total: &mut i64| {
            let before = uids.len();
            uids.retain(|uid| held.contains(uid.as_str()));
            *total += i64::try_from(before - uids.len()).unwrap_or(0);
        };
        if self.completed.is_none() {
            settle(&mut self.uncounted.0, &mut self.counted.0);
        }
        settle(&mut self.uncounted.1, &mut self.counted.1);
    }

    /// Notes the end of a held pod, or lets go of it if the status has it already.
    fn count(&mut self, job: &Value, ended: &Value, succeeded: bool, outcome: &mut Outcome) {
        let uid = object::uid(ended).to_owned();
        self.holds += 1;
        if succeeded && let Some(completed) = &mut self.completed {
            let valid = index_of(ended).filter(|index| (0..completions(job).unwrap_or(0)).contains(index));
            if valid.is_none_or(|index| !completed.insert(index)) {
                release(ended, outcome);
            }
            return;
        }
        let uids = if succeeded { &mut self.uncounted.0 } else { &mut self.uncounted.1 };
        if uids.contains(&uid) {
            release(ended, outcome);
            return;
        }
        if !succeeded {
            match failure_policy::rule(job, ended) {
                Ruling::FailJob(message) => self.condemned = self.condemned.take().or(Some(message)),
                Ruling::Ignore => {
                    release(ended, outcome);
                    return;
                }
                Ruling::FailIndex | Ruling::Count => {}
            }
        }
        uids.push(uid);
    }

    pub(super) fn succeeded(&self) -> i64 {
        match &self.completed {
            Some(completed) => i64::try_from(completed.len()).unwrap_or(i64::MAX),
            None => self.counted.0 + i64::try_from(self.uncounted.0.len()).unwrap_or(0),
        }
    }

    pub(super) fn failed(&self) -> i64 {
        self.counted.1 + i64::try_from(self.uncounted.1.len()).unwrap_or(0)
    }

    /// Every pod that has ended is in the totals.
    pub(super) fn is_settled(&self) -> bool {
        self.uncounted.0.is_empty() && self.uncounted.1.is_empty() && self.holds == 0
    }

    pub(super) fn failed_indexes(&self) -> i64 {
        self.per_index.as_ref().map_or(0, |it| i64::try_from(it.failed.len()).unwrap_or(i64::MAX))
    }

    /// Until when no new pod is made: 10 s after a failure, doubled with each one since the last success. Indexes that
    /// have limits of their own wait each for itself.
    pub(super) fn back_off_until(&self) -> Option<Timestamp> {
        if self.per_index.is_some() {
            return None;
        }
        let last_success = self.ends.iter().filter(|(_, succeeded)| *succeeded).map(|(at, _)| *at).max();
        // Ends are whole seconds: of two in the same one, the failure counts as the later.
        let failures = self.ends.iter().filter(|(at, succeeded)| !succeeded && Some(*at) >= last_success);
        let last = failures.clone().map(|(at, _)| *at).max()?;
        Some(plus_s(last, back_off_s(i64::try_from(failures.count()).unwrap_or(i64::MAX))))
    }

    /// Indexes that are neither done nor given up nor being worked on.
    pub(super) fn free_indexes(&self, completions: i64) -> impl Iterator<Item = i64> {
        let mut taken = self.completed.clone().unwrap_or_default();
        taken.extend(self.per_index.iter().flat_map(|it| &it.failed));
        taken.extend(self.active.iter().filter_map(|live| index_of(live)));
        (0..completions).filter(move |index| !taken.contains(index))
    }

    pub(super) fn write(&self, draft: &mut Value) {
        if !draft["status"].is_object() {
            draft["status"] = json!({});
        }
        let Some(status) = draft.get_mut("status").and_then(Value::as_object_mut) else { return };
        let succeeded = if self.completed.is_some() { self.succeeded() } else { self.counted.0 };
        for (field, count) in
            [("active", self.active.len() as i64), ("succeeded", succeeded), ("failed", self.counted.1)]
        {
            match count {
                0 => status.remove(field),
                count => status.insert(field.to_owned(), json!(count)),
            };
        }
        status.insert("ready".to_owned(), json!(self.ready.min(self.active.len())));
        status.insert("terminating".to_owned(), json!(self.terminating));
        let mut uncounted = Map::new();
        for (field, uids) in [("succeeded", &self.uncounted.0), ("failed", &self.uncounted.1)] {
            if !uids.is_empty() {
                uncounted.insert(field.to_owned(), json!(uids));
            }
        }
        status.insert("uncountedTerminatedPods".to_owned(), Value::Object(uncounted));
        if let Some(per_index) = &self.per_index {
            status.insert("failedIndexes".to_owned(), per_index.to_value());
        }
        if let Some(completed) = self.completed.as_ref().filter(|completed| !completed.is_empty()) {
            status.insert("completedIndexes".to_owned(), json!(print_indexes(completed)));
        }
    }
}

/// Whether a pod has ended, and how. One that is being deleted has failed, unless replacements wait for its real end.
fn end_of(job: &Value, candidate: &Value) -> Option<bool> {
    match pod::phase(candidate) {
        "Succeeded" => Some(true),
        "Failed" => Some(false),
        _ => {
            let waits = object::str_at(job, "/spec/podReplacementPolicy") == "Failed" || failure_policy::exists(job);
            (object::is_deleting(candidate) && !waits).then_some(false)
        }
    }
}

fn ended_at(candidate: &Value, now: Timestamp) -> Timestamp {
    let containers = object::array_at(candidate, "/status/containerStatuses").iter();
    let ends = containers.filter_map(|status| object::time_at(status, "/state/terminated/finishedAt"));
    let unready =
        || object::condition(candidate, "Ready").and_then(|ready| object::time_at(ready, "/lastTransitionTime"));
    ends.max().or_else(unready).unwrap_or_else(|| created_at(candidate).min(now))
}
