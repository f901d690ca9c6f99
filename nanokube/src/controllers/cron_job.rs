//! CronJobs: a Job at every time of a schedule. Mirrors upstream's controller: of several missed times only the
//! latest is started, within `startingDeadlineSeconds`; `Forbid` lets a running Job finish, `Replace` removes it;
//! finished Jobs are kept up to the history limits.

pub mod schedule;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use self::schedule::Schedule;
use super::action::{Announce, How, Outcome};
use super::condition;
use super::job::{self, JOBS};
use super::ownership::{self, Dependents};
use super::time::{created_at, plus_s};
use crate::cluster::Snapshot;
use crate::object::{self, Object, ObjectReference};

pub const CRON_JOBS: &str = "cronjobs.batch";
pub const INPUTS: &[&str] = &[CRON_JOBS, JOBS];

const COMPONENT: &str = "cronjob-controller";
const SCHEDULED_AT: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";
/// Missed times that are counted before it is called too many.
const MISSED_MAX: usize = 100;
const SUCCESSFUL_HISTORY: i64 = 3;
const FAILED_HISTORY: i64 = 1;

pub fn reconcile(snapshot: &Snapshot, now: Timestamp) -> Outcome {
    let mut outcome = Outcome::default();
    if snapshot.list(CRON_JOBS).next().is_none() {
        return outcome;
    }
    let jobs = Dependents::of(snapshot, JOBS);
    for cron in snapshot.list(CRON_JOBS) {
        Pass { cron, jobs: jobs.controlled_by(cron), now, outcome: &mut outcome }.sync();
    }
    outcome
}

struct Pass<'a> {
    cron: &'a Value,
    jobs: &'a [&'a Object],
    now: Timestamp,
    outcome: &'a mut Outcome,
}

impl Pass<'_> {
    fn sync(&mut self) {
        let mut status = object::map_at(self.cron, "/status").cloned().unwrap_or_default();
        let mut active = self.review(&mut status);
        if !object::is_deleting(self.cron) {
            self.clean_history();
            if !object::bool_at(self.cron, "/spec/suspend") {
                self.start_due(&mut status, &mut active);
            }
        }
        match active.is_empty() {
            true => status.remove("active"),
            false => status.insert("active".to_owned(), json!(active)),
        };
        if self.cron["status"].as_object().cloned().unwrap_or_default() != status {
            let mut draft = self.cron.clone();
            draft["status"] = Value::Object(status);
            self.outcome.update_status(CRON_JOBS, draft);
        }
    }

    /// The references to Jobs still at work; tells about those that ended, and about surprises.
    fn review(&mut self, status: &mut Map<String, Value>) -> Vec<Value> {
        let mut active = object::array_at(self.cron, "/status/active").to_vec();
        for job in self.jobs {
            let listed = active.iter().position(|reference| reference["uid"] == job["metadata"]["uid"]);
            let name = object::name(job);
            match (listed, job::is_over(job)) {
                (Some(at), true) => {
                    active.remove(at);
                    let how = if condition::is_true(job, "Complete") { "Complete" } else { "Failed" };
                    let message = format!("Saw completed job: {name}, condition: {how}");
                    self.outcome.normal(COMPONENT, self.cron, "SawCompletedJob", message);
                }
                (None, false) => {
                    let message = format!("Saw a job that the controller did not create or forgot: {name}");
                    let is_manual = object::annotation(job, "cronjob.kubernetes.io/instantiate").is_some();
                    if !is_manual && object::annotation(job, SCHEDULED_AT).is_none() {
                        self.outcome.warning(COMPONENT, self.cron, "UnexpectedJob", message);
                    }
                }
                _ => {}
            }
            let ended = object::time_at(job, "/status/completionTime").filter(|_| condition::is_true(job, "Complete"));
            let last = status.get("lastSuccessfulTime").and_then(Value::as_str).and_then(|at| at.parse().ok());
            if let Some(ended) = ended.filter(|ended| last.is_none_or(|last: Timestamp| *ended > last)) {
                status.insert("lastSuccessfulTime".to_owned(), json!(object::time(ended)));
            }
        }
        active.retain(|reference| {
            let is_there = self.jobs.iter().any(|job| job["metadata"]["uid"] == reference["uid"]);
            if !is_there {
                let message = format!("Active job went missing: {}", object::str_at(reference, "/name"));
                self.outcome.normal(COMPONENT, self.cron, "MissingJob", message);
            }
            is_there
        });
        // A Job that was started in an earlier look, whose reference could not be written because it had no uid yet.
        for job in self.jobs.iter().filter(|job| !job::is_over(job) && object::annotation(job, SCHEDULED_AT).is_some())
        {
            if !active.iter().any(|reference| reference["uid"] == job["metadata"]["uid"]) {
                active.push(ObjectReference::of(job).to_value());
            }
        }
        active
    }

    fn start_due(&mut self, status: &mut Map<String, Value>, active: &mut Vec<Value>) {
        let zone_name = object::str_at(self.cron, "/spec/timeZone");
        let zone = match zone_name {
            "" => TimeZone::system(),
            name => match TimeZone::get(name) {
                Ok(zone) => zone,
                Err(error) => {
                    let message = format!("invalid timeZone: \"{name}\": {error}");
                    self.outcome.warning(COMPONENT, self.cron, "UnknownTimeZone", message);
                    return;
                }
            },
        };
        let text = object::str_at(self.cron, "/spec/schedule");
        let schedule = match Schedule::parse(text) {
            Ok(schedule) => schedule,
            Err(error) => {
                let message = format!("unparseable schedule for cronjob: {text}: {error}");
                self.outcome.warning(COMPONENT, self.cron, "UnparseableCronJobSchedule", message);
                return;
            }
        };
        if let Some(next) = schedule.next(self.now, &zone) {
            self.outcome.wake(next);
        }
        let Some(due) = self.latest_due(&schedule, &zone) else { return };
        let last = object::time_at(self.cron, "/status/lastScheduleTime");
        let deadline_s = object::i64_at(self.cron, "/spec/startingDeadlineSeconds");
        if deadline_s.is_some_and(|deadline_s| plus_s(due, deadline_s) < self.now) {
            let at = due.to_zoned(TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S %z");
            let message = format!("Missed scheduled time to start a job: {at}");
            self.outcome.warning(COMPONENT, self.cron, "MissSchedule", message);
            return;
        }
        let name = format!("{}-{}", object::name(self.cron), due.as_second() / 60);
        if last == Some(due) || self.jobs.iter().any(|job| object::name(job) == name) {
            return;
        }
        match object::str_at(self.cron, "/spec/concurrencyPolicy") {
            "Forbid" if !active.is_empty() => {
                let message = "Not starting job because prior execution is running and concurrency policy is Forbid";
                self.outcome.normal(COMPONENT, self.cron, "JobAlreadyActive", message.to_owned());
                return;
            }
            "Replace" => {
                let replaced = self.jobs.iter().filter(|job| !job::is_over(job) && !object::is_deleting(job));
                for job in replaced.copied().collect::<Vec<_>>() {
                    self.delete(job);
                }
                active.clear();
            }
            _ => {}
        }
        self.start(&name, due, &zone);
        status.insert("lastScheduleTime".to_owned(), json!(object::time(due)));
    }

    /// The latest time of the schedule that has come and not been served.
    fn latest_due(&mut self, schedule: &Schedule, zone: &TimeZone) -> Option<Timestamp> {
        let mut from = created_at(self.cron);
        if let Some(last) = object::time_at(self.cron, "/status/lastScheduleTime") {
            from = from.max(last);
        }
        if let Some(deadline_s) = object::i64_at(self.cron, "/spec/startingDeadlineSeconds") {
            from = from.max(plus_s(self.now, -deadline_s));
        }
        let mut due = None;
        let mut missed = 0;
        while let Some(next) = schedule.next(from, zone).filter(|next| *next <= self.now) {
            missed += 1;
            due = Some(next);
            from = next;
            if missed > MISSED_MAX {
                // A long sleep: leap near the present instead of counting every time.
                let period = schedule.next(next, zone).map_or(60, |after| after.duration_since(next).as_secs().max(1));
                from = from.max(plus_s(self.now, -2 * period));
            }
            if missed == MISSED_MAX + 1 {
                let message =
                    "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
                self.outcome.warning(COMPONENT, self.cron, "TooManyMissedTimes", message.to_owned());
            }
        }
        due
    }

    fn start(&mut self, name: &str, due: Timestamp, zone: &TimeZone) {
        let template = &self.cron["spec"]["jobTemplate"];
        let mut metadata = Map::new();
        for field in ["labels", "annotations"] {
            if let Some(value) = template.pointer(&format!("/metadata/{field}")).filter(|value| !value.is_null()) {
                metadata.insert(field.to_owned(), value.clone());
            }
        }
        metadata.insert("name".to_owned(), json!(name));
        metadata.insert("namespace".to_owned(), json!(object::namespace(self.cron)));
        metadata.insert("ownerReferences".to_owned(), json!([ownership::controller_reference(self.cron)]));
        let mut job =
            json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": template["spec"] });
        let at = due.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string().replace("+00:00", "Z");
        object::set(&mut job, &["metadata", "annotations", SCHEDULED_AT], json!(at));
        let announce = Announce {
            regarding: ObjectReference::of(self.cron),
            component: COMPONENT,
            done: ("SuccessfulCreate", "Created job {}".to_owned()),
            failed: ("FailedCreate", "Error creating job: {}".to_owned()),
        };
        self.outcome.create(JOBS, object::namespace(self.cron), job, Some(announce));
    }

    fn delete(&mut self, job: &Object) {
        let announce = Announce {
            regarding: ObjectReference::of(self.cron),
            component: COMPONENT,
            done: ("SuccessfulDelete", "Deleted job {}".to_owned()),
            failed: ("FailedDelete", "Deleted job: {}".to_owned()),
        };
        let how = How { propagation: Some("Background"), ..How::default() };
        self.outcome.delete_how(JOBS, job, how, Some(announce));
    }

    /// Removes the oldest finished Jobs beyond the limits.
    fn clean_history(&mut self) {
        let limits = [
            ("Complete", "/spec/successfulJobsHistoryLimit", SUCCESSFUL_HISTORY),
            ("Failed", "/spec/failedJobsHistoryLimit", FAILED_HISTORY),
        ];
        for (kind, pointer, default) in limits {
            let limit = usize::try_from(object::i64_at(self.cron, pointer).unwrap_or(default)).unwrap_or(0);
            let ended =
                self.jobs.iter().copied().filter(|job| condition::is_true(job, kind) && !object::is_deleting(job));
            let mut ended: Vec<&Object> = ended.collect();
            ended.sort_by_key(|job| (object::time_at(job, "/status/startTime"), object::name(job).to_owned()));
            for job in ended.iter().take(ended.len().saturating_sub(limit)) {
                self.delete(job);
            }
        }
    }
}
