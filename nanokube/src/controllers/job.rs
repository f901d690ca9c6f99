//! Jobs: pods that shall end well, a number of times. Mirrors upstream's Job controller: every pod is counted exactly
//! once (a finalizer holds it until its end is in the status), failures back off from 10 s to 10 min, and a Job that
//! is over says so twice: that it will end (SuccessCriteriaMet, FailureTarget), and, when its last pod has gone, that
//! it has.
//!
//! Jobs managed by others (`managedBy`) are not touched.

mod failure_policy;
mod per_index;
mod tally;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use self::tally::Tally;
use super::action::{Announce, How, Outcome};
use super::condition;
use super::ownership::Dependents;
use super::pod::{self, PODS};
use super::replica_set::rank_for_deletion;
use super::time::plus_s;
use crate::cluster::Snapshot;
use crate::object::{self, Object};

pub const JOBS: &str = "jobs.batch";
pub const INPUTS: &[&str] = &[JOBS, PODS];

const COMPONENT: &str = "job-controller";
const FINALIZER: &str = "batch.kubernetes.io/job-tracking";
const INDEX: &str = "batch.kubernetes.io/job-completion-index";
const MANAGER: &str = "kubernetes.io/job-controller";
/// Pods created or deleted for one Job in one look.
const BURST: usize = 500;
/// Indexes that are remembered as done; far more than pods could ever have run here.
const INDEXES_MAX: i64 = 1_000_000;
const BACK_OFF_S: i64 = 10;
const BACK_OFF_MAX_S: i64 = 600;

/// Why a Job ends.
struct Verdict {
    succeeds: bool,
    reason: &'static str,
    message: String,
}

pub fn reconcile(snapshot: &Snapshot, now: Timestamp) -> Outcome {
    let mut outcome = Outcome::default();
    release_orphans(snapshot, &mut outcome);
    if snapshot.list(JOBS).next().is_none() {
        return outcome;
    }
    let pods = Dependents::of(snapshot, PODS);
    for job in snapshot.list(JOBS) {
        let manager = object::str_at(job, "/spec/managedBy");
        if manager.is_empty() || manager == MANAGER {
            let owned = if job["spec"]["selector"].is_null() {
                pods.controlled_by(job).to_vec()
            } else {
                pods.claim(job, &mut outcome)
            };
            sync(job, &owned, now, &mut outcome);
        }
    }
    outcome
}

/// Whether the Job has ended, one way or the other.
pub fn is_over(job: &Value) -> bool {
    condition::is_true(job, "Complete") || condition::is_true(job, "Failed")
}

/// Pods whose Job is gone are held by nothing.
fn release_orphans(snapshot: &Snapshot, outcome: &mut Outcome) {
    for candidate in snapshot.list(PODS).filter(|candidate| is_held(candidate)) {
        let owner = object::owner_of(candidate).filter(|owner| owner["kind"] == "Job");
        let job = owner.and_then(|owner| {
            snapshot
                .get(JOBS, object::namespace(candidate), object::str_at(owner, "/name"))
                .filter(|job| job["metadata"]["uid"] == owner["uid"])
        });
        if job.is_none_or(|job| object::is_deleting(job) || is_over(job)) {
            release(candidate, outcome);
        }
    }
}

fn is_held(pod: &Value) -> bool {
    object::array_at(pod, "/metadata/finalizers").iter().any(|finalizer| finalizer == FINALIZER)
}

fn release(pod: &Value, outcome: &mut Outcome) {
    let finalizers = object::array_at(pod, "/metadata/finalizers").iter();
    let kept: Vec<&Value> = finalizers.filter(|finalizer| *finalizer != FINALIZER).collect();
    let kept = if kept.is_empty() { Value::Null } else { json!(kept) };
    outcome.patch(PODS, pod, json!({ "metadata": { "uid": object::uid(pod), "finalizers": kept } }));
}

fn sync(job: &Value, owned: &[&Object], now: Timestamp, outcome: &mut Outcome) {
    if is_over(job) {
        expire(job, now, outcome);
        return;
    }
    if object::is_deleting(job) {
        return;
    }
    let mut draft = job.clone();
    let mut conditions = condition::of(job);
    let suspended = object::bool_at(job, "/spec/suspend");
    note_suspension(job, &mut draft, &mut conditions, suspended, now, outcome);

    let mut tally = Tally::of(job, owned, now, outcome);
    let verdict = standing_verdict(&conditions).or_else(|| judge(job, &tally, now, outcome));
    if let Some(verdict) = verdict {
        for live in &tally.active {
            remove(job, live, outcome);
        }
        let gone = tally.active.len();
        tally.active.clear();
        announce_verdict(&mut conditions, &verdict, now);
        if gone == 0 && tally.terminating == 0 && tally.is_settled() {
            conclude(job, &mut draft, &mut conditions, &verdict, now, outcome);
        }
    } else if suspended {
        tally.active.iter().for_each(|live| remove(job, live, outcome));
        tally.active.clear();
    } else {
        adjust(job, &mut tally, now, outcome);
    }
    tally.write(&mut draft);
    if !conditions.is_empty() {
        object::set(&mut draft, &["status", "conditions"], json!(conditions));
    }
    if draft["status"] != job["status"] {
        outcome.update_status(JOBS, draft);
    }
}

/// A Job that has ended long enough ago goes.
fn expire(job: &Value, now: Timestamp, outcome: &mut Outcome) {
    let Some(ttl_s) = object::i64_at(job, "/spec/ttlSecondsAfterFinished") else { return };
    let ended = ["Complete", "Failed"].into_iter().filter(|kind| condition::is_true(job, kind));
    let ended_at =
        ended.filter_map(|kind| object::time_at(object::condition(job, kind)?, "/lastTransitionTime")).next();
    let due = plus_s(ended_at.unwrap_or(now), ttl_s);
    if due > now {
        outcome.wake(due);
    } else if !object::is_deleting(job) {
        let version = object::str_at(job, "/metadata/resourceVersion").to_owned();
        let how = How { propagation: Some("Foreground"), resource_version: Some(version), ..How::default() };
        outcome.delete_how(JOBS, job, how, None);
    }
}

fn note_suspension(
    job: &Value,
    draft: &mut Value,
    conditions: &mut Vec<Value>,
    suspended: bool,
    now: Timestamp,
    outcome: &mut Outcome,
) {
    let was_suspended = condition::is_true(job, "Suspended");
    if suspended && !was_suspended {
        set(conditions, "Suspended", "True", "JobSuspended", "Job suspended", now);
        outcome.normal(COMPONENT, job, "Suspended", "Job suspended".to_owned());
        if let Some(status) = draft.get_mut("status").and_then(Value::as_object_mut) {
            status.remove("startTime");
        }
    } else if !suspended && was_suspended {
        set(conditions, "Suspended", "False", "JobResumed", "Job resumed", now);
        outcome.normal(COMPONENT, job, "Resumed", "Job resumed".to_owned());
    }
    if !suspended && (was_suspended || job.pointer("/status/startTime").is_none()) {
        object::set(draft, &["status", "startTime"], json!(object::time(now)));
    }
}

/// A verdict passed in an earlier look.
fn standing_verdict(conditions: &[Value]) -> Option<Verdict> {
    let found = |kind: &str| condition::find(conditions, kind).filter(|condition| condition["status"] == "True");
    let (succeeds, standing) = match found("SuccessCriteriaMet") {
        Some(met) => (true, met),
        None => (false, found("FailureTarget")?),
    };
    const REASONS: [&str; 7] = [
        "CompletionsReached",
        "SuccessPolicy",
        "BackoffLimitExceeded",
        "DeadlineExceeded",
        "PodFailurePolicy",
        "MaxFailedIndexesExceeded",
        "FailedIndexes",
    ];
    let reason = REASONS.into_iter().find(|reason| standing["reason"] == *reason).unwrap_or("CompletionsReached");
    Some(Verdict { succeeds, reason, message: object::str_at(standing, "/message").to_owned() })
}

/// Whether the Job ends now: by its failure policy, too many failures, its deadline, or success.
fn judge(job: &Value, tally: &Tally, now: Timestamp, outcome: &mut Outcome) -> Option<Verdict> {
    let fails = |reason, message: String| Some(Verdict { succeeds: false, reason, message });
    if let Some(message) = &tally.condemned {
        return fails("PodFailurePolicy", message.clone());
    }
    let limit = object::i64_at(job, "/spec/backoffLimit").unwrap_or(6);
    let restarts = match object::str_at(job, "/spec/template/spec/restartPolicy") {
        "OnFailure" => tally.active.iter().map(|live| pod::restarts(live)).sum(),
        _ => 0,
    };
    if tally.failed() > limit || (restarts > 0 && restarts >= limit) {
        return fails("BackoffLimitExceeded", "Job has reached the specified backoff limit".to_owned());
    }
    if let Some((reason, message)) = tally.per_index.as_ref().and_then(|it| it.verdict(job, tally.succeeded())) {
        return fails(reason, message.to_owned());
    }
    let started = object::time_at(job, "/status/startTime");
    let deadline_s = object::i64_at(job, "/spec/activeDeadlineSeconds");
    if let (Some(started), Some(deadline_s), false) = (started, deadline_s, object::bool_at(job, "/spec/suspend")) {
        let due = plus_s(started, deadline_s);
        if due <= now {
            return fails("DeadlineExceeded", "Job was active longer than specified deadline".to_owned());
        }
        outcome.wake(due);
    } else if let Some(deadline_s) = deadline_s {
        outcome.wake(plus_s(now, deadline_s));
    }
    if let Some(rule) = tally.completed.as_ref().and_then(|completed| per_index::success_rule(job, completed)) {
        let message = format!("Matched rules at index {rule}");
        return Some(Verdict { succeeds: true, reason: "SuccessPolicy", message });
    }
    let reached = match completions(job) {
        Some(completions) => tally.succeeded() >= completions,
        None => tally.succeeded() > 0 && tally.active.is_empty(),
    };
    let message = "Reached expected number of succeeded pods".to_owned();
    reached.then_some(Verdict { succeeds: true, reason: "CompletionsReached", message })
}

fn announce_verdict(conditions: &mut Vec<Value>, verdict: &Verdict, now: Timestamp) {
    let kind = if verdict.succeeds { "SuccessCriteriaMet" } else { "FailureTarget" };
    if condition::find(conditions, kind).is_none() {
        set(conditions, kind, "True", verdict.reason, &verdict.message, now);
    }
}

fn conclude(
    job: &Value,
    draft: &mut Value,
    conditions: &mut Vec<Value>,
    verdict: &Verdict,
    now: Timestamp,
    outcome: &mut Outcome,
) {
    if verdict.succeeds {
        set(conditions, "Complete", "True", verdict.reason, &verdict.message, now);
        object::set(draft, &["status", "completionTime"], json!(object::time(now)));
        outcome.normal(COMPONENT, job, "Completed", "Job completed".to_owned());
    } else {
        set(conditions, "Failed", "True", verdict.reason, &verdict.message, now);
        outcome.warning(COMPONENT, job, verdict.reason, verdict.message.clone());
    }
}

/// Conditions of Jobs also carry `lastProbeTime`.
fn set(conditions: &mut Vec<Value>, kind: &str, status: &str, reason: &str, message: &str, now: Timestamp) {
    condition::set(conditions, kind, status, reason, message, now);
    if let Some(condition) = conditions.iter_mut().find(|condition| condition["type"] == kind) {
        condition["lastProbeTime"] = json!(object::time(now));
    }
}

fn completions(job: &Value) -> Option<i64> {
    object::i64_at(job, "/spec/completions")
}

fn is_indexed(job: &Value) -> bool {
    object::str_at(job, "/spec/completionMode") == "Indexed"
}

/// Deletes a pod that is not wanted any more; let go first, it is not counted as a failure.
fn remove(job: &Value, live: &Value, outcome: &mut Outcome) {
    if is_held(live) {
        release(live, outcome);
    }
    outcome.delete(PODS, live, Some(Announce::pod_deleted(job, COMPONENT)));
}

/// Creates or deletes pods to have as many active ones as parallelism and completions leave to do.
fn adjust(job: &Value, tally: &mut Tally, now: Timestamp, outcome: &mut Outcome) {
    let parallelism = object::i64_at(job, "/spec/parallelism").unwrap_or(1).max(0);
    let active = i64::try_from(tally.active.len()).unwrap_or(i64::MAX);
    let wanted = match completions(job) {
        Some(completions) => parallelism.min((completions - tally.succeeded() - tally.failed_indexes()).max(0)),
        None if tally.succeeded() > 0 => active.min(parallelism),
        None => parallelism,
    };
    if active > wanted {
        rank_for_deletion(&mut tally.active, now);
        let surplus = usize::try_from(active - wanted).unwrap_or(0).min(BURST);
        for victim in tally.active.drain(..surplus) {
            remove(job, victim, outcome);
        }
        return;
    }
    let waits_for_failed = object::str_at(job, "/spec/podReplacementPolicy") == "Failed";
    let terminating = if waits_for_failed { i64::try_from(tally.terminating).unwrap_or(0) } else { 0 };
    let missing = usize::try_from(wanted - active - terminating).unwrap_or(0).min(BURST);
    if missing == 0 {
        return;
    }
    if let Some(due) = tally.back_off_until().filter(|due| *due > now) {
        outcome.wake(due);
        return;
    }
    let indexes: Vec<Option<i64>> = if is_indexed(job) {
        let free = tally.free_indexes(completions(job).unwrap_or(0));
        let mut dues = Vec::new();
        let may_start = |index: &i64| {
            let due = tally.per_index.as_ref().and_then(|it| it.back_off_until(*index)).filter(|due| *due > now);
            dues.extend(due);
            due.is_none()
        };
        let indexes = free.filter(may_start).take(missing).map(Some).collect();
        dues.into_iter().for_each(|due| outcome.wake(due));
        indexes
    } else {
        vec![None; missing]
    };
    for index in indexes {
        let mut pod = fresh_pod(job, index);
        if let (Some(per_index), Some(index)) = (&tally.per_index, index) {
            let failures = per_index.failures(index).to_string();
            object::set(&mut pod, &["metadata", "annotations", per_index::FAILURES], json!(failures));
        }
        outcome.create(PODS, object::namespace(job), pod, Some(Announce::pod_created(job, COMPONENT)));
    }
}

/// How long to wait after so many failures.
fn back_off_s(failures: i64) -> i64 {
    let doublings = u32::try_from(failures - 1).unwrap_or(0).min(16);
    (BACK_OFF_S << doublings).min(BACK_OFF_MAX_S)
}

fn fresh_pod(job: &Value, index: Option<i64>) -> Value {
    let name = object::name(job);
    let prefix = index.map_or(format!("{name}-"), |index| format!("{name}-{index}-"));
    let metadata = Map::from_iter([("generateName".to_owned(), json!(prefix))]);
    let mut pod = pod::from_template(&job["spec"]["template"], job, metadata);
    let mut finalizers = object::array_at(&pod, "/metadata/finalizers").to_vec();
    finalizers.push(json!(FINALIZER));
    object::set(&mut pod, &["metadata", "finalizers"], json!(finalizers));
    let Some(index) = index else { return pod };
    object::set(&mut pod, &["metadata", "annotations", INDEX], json!(index.to_string()));
    object::set(&mut pod, &["metadata", "labels", INDEX], json!(index.to_string()));
    if object::str_at(&pod, "/spec/hostname").is_empty() {
        object::set(&mut pod, &["spec", "hostname"], json!(format!("{name}-{index}")));
    }
    let field = json!({ "fieldRef": { "apiVersion": "v1", "fieldPath": format!("metadata.labels['{INDEX}']") } });
    let variable = json!({ "name": "JOB_COMPLETION_INDEX", "valueFrom": field });
    for containers in ["initContainers", "containers"] {
        let Some(list) = pod["spec"].get_mut(containers).and_then(Value::as_array_mut) else { continue };
        for container in list {
            let mut variables = object::array_at(container, "/env").to_vec();
            if !variables.iter().any(|variable| variable["name"] == "JOB_COMPLETION_INDEX") {
                variables.push(variable.clone());
                container["env"] = json!(variables);
            }
        }
    }
    pod
}

fn index_of(pod: &Value) -> Option<i64> {
    object::annotation(pod, INDEX)?.parse().ok()
}

/// `1,3-5,7` as a set, of what is below `end`: anybody may write a status.
fn parse_indexes(text: &str, end: i64) -> BTreeSet<i64> {
    let mut indexes = BTreeSet::new();
    let end = end.min(INDEXES_MAX);
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<i64>(), last.parse::<i64>()) {
            indexes.extend(first.max(0)..=last.min(end - 1));
        }
    }
    indexes
}

/// A set as `1,3-5,7`.
fn print_indexes(indexes: &BTreeSet<i64>) -> String {
    let mut runs: Vec<(i64, i64)> = Vec::new();
    for index in indexes {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *index => *last = *index,
            _ => runs.push((*index, *index)),
        }
    }
    let print = |(first, last): &(i64, i64)| match last - first {
        0 => first.to_string(),
        1 => format!("{first},{last}"),
        _ => format!("{first}-{last}"),
    };
    runs.iter().map(print).collect::<Vec<_>>().join(",")
}
