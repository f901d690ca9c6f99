use serde_json::{Value, json};

use super::*;
use crate::controllers::lab::{Fate, Lab};

fn lab_with(changes: Value, fate: fn(&Value) -> Fate) -> Lab {
    let pod = json!({ "restartPolicy": "Never", "containers": [{ "name": "c", "image": "i" }] });
    let job = json!({ "completions": 1, "parallelism": 1, "backoffLimit": 0, "template": { "spec": pod } });
    let mut spec = json!({ "schedule": "* * * * *", "timeZone": "UTC", "jobTemplate": { "spec": job } });
    for (field, value) in changes.as_object().unwrap() {
        spec[field] = value.clone();
    }
    let mut lab = Lab::new();
    lab.fate = fate;
    lab.create(CRON_JOBS, json!({ "metadata": { "name": "tick" }, "spec": spec }));
    lab
}

fn jobs(lab: &Lab) -> usize {
    lab.list(JOBS).len()
}

#[test]
fn a_job_is_started_each_minute_and_remembered() {
    let mut lab = lab_with(json!({}), |_| Fate::Succeeds);
    lab.run(59, |_| {});
    assert_eq!(jobs(&lab), 0);
    lab.run(1, |_| {});
    let job = lab.list(JOBS)[0].clone();
    assert_eq!(object::name(&job), format!("tick-{}", lab.now().as_second() / 60));
    assert_eq!(object::annotation(&job, SCHEDULED_AT), Some("2026-01-01T00:01:00Z"));
    let status = lab.get(CRON_JOBS, "tick")["status"].clone();
    assert_eq!(status["lastScheduleTime"], "2026-01-01T00:01:00Z");
    assert_eq!(status["active"][0]["name"], job["metadata"]["name"]);
    lab.run(10, |_| {});
    let status = lab.get(CRON_JOBS, "tick")["status"].clone();
    assert_eq!(status["active"], Value::Null);
    assert_eq!(status["lastSuccessfulTime"], "2026-01-01T00:01:02Z");
    let events = lab.events("CronJob");
    let name = object::name(&job);
    assert_eq!(
        events,
        [
            format!("SuccessfulCreate Created job {name}"),
            format!("SawCompletedJob Saw completed job: {name}, condition: Complete")
        ]
    );
}

#[test]
fn finished_jobs_are_kept_up_to_the_limits() {
    let mut lab = lab_with(json!({ "successfulJobsHistoryLimit": 2 }), |_| Fate::Succeeds);
    lab.run(5 * 60 + 10, |_| {});
    assert_eq!(jobs(&lab), 2);
    let mut lab = lab_with(json!({}), |_| Fate::Fails);
    lab.run(4 * 60 + 10, |_| {});
    assert_eq!(jobs(&lab), 1);
}

#[test]
fn concurrency_policies_decide_about_a_job_that_still_runs() {
    for (policy, expected) in [("Allow", 3), ("Forbid", 1), ("Replace", 1)] {
        let mut lab = lab_with(json!({ "concurrencyPolicy": policy }), |_| Fate::Ready);
        lab.run(60, |_| {});
        let first = lab.list(JOBS)[0].clone();
        lab.run(125, |_| {});
        assert_eq!(jobs(&lab), expected, "{policy}");
        let is_kept = lab.find(JOBS, object::name(&first)).is_some();
        assert_eq!(is_kept, policy != "Replace", "{policy}");
    }
}

#[test]
fn after_a_sleep_only_the_latest_missed_time_is_started() {
    let mut lab = lab_with(json!({}), |_| Fate::Succeeds);
    lab.settle();
    lab.skip(3 * 3600 + 30);
    assert_eq!(jobs(&lab), 1);
    assert_eq!(object::annotation(&lab.list(JOBS)[0], SCHEDULED_AT), Some("2026-01-01T03:00:00Z"));
    assert!(lab.events("CronJob")[0].starts_with("TooManyMissedTimes"));

    let mut lab = lab_with(json!({ "schedule": "0 * * * *", "startingDeadlineSeconds": 100 }), |_| Fate::Succeeds);
    lab.settle();
    lab.skip(3600 + 101);
    assert_eq!(jobs(&lab), 0);
}

#[test]
fn a_suspended_cron_job_starts_nothing() {
    let mut lab = lab_with(json!({ "suspend": true }), |_| Fate::Succeeds);
    lab.run(130, |_| {});
    assert_eq!(jobs(&lab), 0);
}

#[test]
fn mistakes_in_zone_and_schedule_are_events() {
    for (schedule, zone, reason) in
        [("* * * * *", "Mars/Olympus", "UnknownTimeZone"), ("every day", "UTC", "UnparseableCronJobSchedule")]
    {
        let cron = json!({ "kind": "CronJob", "metadata": { "name": "tick", "namespace": "default" },
            "spec": { "schedule": schedule, "timeZone": zone } });
        let outcome = reconcile(&Snapshot::of([(CRON_JOBS, cron)]), "2026-01-01T00:00:00Z".parse().unwrap());
        let [crate::controllers::action::Action::Event(event)] = outcome.actions.as_slice() else { panic!() };
        assert_eq!(event.reason, reason);
    }
}
