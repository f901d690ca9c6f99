//! `backoffLimitPerIndex`: each index of an Indexed Job may fail so often, whatever becomes of the others. A pod carries
//! how often its index had failed before it, so nothing is remembered but the pods and `failedIndexes` of the status.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::failure_policy::{self, Ruling};
use super::{back_off_s, completions, index_of, is_indexed, parse_indexes, print_indexes};
use crate::controllers::time::plus_s;
use crate::object;

pub(super) const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";

pub(super) struct PerIndex {
    limit: i64,
    /// Indexes that are not tried again.
    pub(super) failed: BTreeSet<i64>,
    /// Of an index that has failed: how often, and when it may be tried again.
    tries: BTreeMap<i64, (i64, Timestamp)>,
}

impl PerIndex {
    pub(super) fn of(job: &Value) -> Option<PerIndex> {
        let limit = object::i64_at(job, "/spec/backoffLimitPerIndex").filter(|_| is_indexed(job))?;
        let failed = parse_indexes(object::str_at(job, "/status/failedIndexes"), completions(job).unwrap_or(0));
        Some(PerIndex { limit, failed, tries: BTreeMap::new() })
    }

    /// Takes note of a pod that has failed.
    pub(super) fn note(&mut self, job: &Value, pod: &Value, ended_at: Timestamp) {
        let Some(index) = index_of(pod) else { return };
        let before: i64 = object::annotation(pod, FAILURES).and_then(|text| text.parse().ok()).unwrap_or(0);
        let ruling = failure_policy::rule(job, pod);
        let failures = if ruling == Ruling::Ignore { before } else { before.saturating_add(1) };
        if ruling == Ruling::FailIndex || failures > self.limit {
            self.failed.insert(index);
        }
        let again = (failures, plus_s(ended_at, back_off_s(failures)));
        let known = self.tries.entry(index).or_insert(again);
        *known = again.max(*known);
    }

    /// How often an index has failed.
    pub(super) fn failures(&self, index: i64) -> i64 {
        self.tries.get(&index).map_or(0, |(failures, _)| *failures)
    }

    /// Until when an index is not tried again.
    pub(super) fn back_off_until(&self, index: i64) -> Option<Timestamp> {
        self.tries.get(&index).map(|(_, due)| *due)
    }

    /// Why the Job ends: too many indexes have failed, or some have and all others are done.
    pub(super) fn verdict(&self, job: &Value, succeeded: i64) -> Option<(&'static str, &'static str)> {
        let failed = i64::try_from(self.failed.len()).unwrap_or(i64::MAX);
        if object::i64_at(job, "/spec/maxFailedIndexes").is_some_and(|limit| failed > limit) {
            let message = "Job has exceeded the specified maximal number of failed indexes";
            return Some(("MaxFailedIndexesExceeded", message));
        }
        let over = failed > 0 && succeeded + failed >= completions(job).unwrap_or(0);
        over.then_some(("FailedIndexes", "Job has failed indexes"))
    }

    pub(super) fn to_value(&self) -> Value {
        json!(print_indexes(&self.failed))
    }
}

/// The rule of a `successPolicy` that the completed indexes fulfil, by number.
pub(super) fn success_rule(job: &Value, completed: &BTreeSet<i64>) -> Option<usize> {
    object::array_at(job, "/spec/successPolicy/rules").iter().position(|rule| {
        let listed = object::str_at(rule, "/succeededIndexes");
        let listed = parse_indexes(listed, completions(job).unwrap_or(0));
        let done = if listed.is_empty() { completed.len() } else { completed.intersection(&listed).count() };
        let count = object::i64_at(rule, "/succeededCount").and_then(|count| usize::try_from(count).ok());
        done > 0 && done >= count.unwrap_or(listed.len())
    })
}
