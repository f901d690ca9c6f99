use serde_json::{Value, json};

use super::*;
use crate::cluster::DeleteOptions;
use crate::controllers::lab::{Fate, Lab};

fn job(changes: Value) -> Value {
    let labels = json!({ "batch.kubernetes.io/job-name": "j" });
    let mut job = json!({
        "metadata": { "name": "j" },
        "spec": {
            "parallelism": 1, "completions": 1, "backoffLimit": 6, "completionMode": "NonIndexed",
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "restartPolicy": "Never", "containers": [{ "name": "c", "image": "i" }] },
            },
        },
    });
    for (field, value) in changes.as_object().unwrap() {
        job["spec"][field] = value.clone();
    }
    job
}

fn lab_with(changes: Value, fate: fn(&Value) -> Fate) -> Lab {
    let mut lab = Lab::new();
    lab.fate = fate;
    lab.create(JOBS, job(changes));
    lab
}

fn status(lab: &Lab) -> Value {
    lab.get(JOBS, "j")["status"].clone()
}

fn has(lab: &Lab, kind: &str) -> bool {
    condition::is_true(&lab.get(JOBS, "j"), kind)
}

fn succeeds(_: &Value) -> Fate {
    Fate::Succeeds
}

fn fails(_: &Value) -> Fate {
    Fate::Fails
}

#[test]
fn a_job_that_succeeds_is_complete_and_looks_like_upstreams() {
    let mut lab = lab_with(json!({}), succeeds);
    lab.run(4, |_| {});
    assert_eq!(
        status(&lab),
        json!({
            "conditions": [
                { "type": "SuccessCriteriaMet", "status": "True", "lastProbeTime": "2026-01-01T00:00:02Z",
                  "lastTransitionTime": "2026-01-01T00:00:02Z", "reason": "CompletionsReached",
                  "message": "Reached expected number of succeeded pods" },
                { "type": "Complete", "status": "True", "lastProbeTime": "2026-01-01T00:00:02Z",
                  "lastTransitionTime": "2026-01-01T00:00:02Z", "reason": "CompletionsReached",
                  "message": "Reached expected number of succeeded pods" },
            ],
            "startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:00:02Z",
            "succeeded": 1, "terminating": 0, "uncountedTerminatedPods": {}, "ready": 0,
        })
    );
    let events = lab.events("Job");
    assert!(events[0].starts_with("SuccessfulCreate Created pod: j-"), "{events:?}");
    assert_eq!(events[1], "Completed Job completed");
    assert!(lab.list(PODS).iter().all(|pod| !is_held(pod)), "finished pods stay, but free");
}

#[test]
fn parallelism_bounds_the_pods_at_work_and_every_success_counts_once() {
    let mut lab = lab_with(json!({ "completions": 7, "parallelism": 3 }), succeeds);
    lab.run(20, |lab| assert!(lab.active_pods().len() <= 3));
    assert!(has(&lab, "Complete"));
    assert_eq!(status(&lab)["succeeded"], 7);
    assert_eq!(lab.list(PODS).len(), 7);
}

#[test]
fn an_indexed_job_gives_every_index_one_success() {
    let mut lab = lab_with(json!({ "completions": 4, "parallelism": 2, "completionMode": "Indexed" }), succeeds);
    lab.settle();
    let first = lab.list(PODS)[0].clone();
    assert_eq!(first["spec"]["hostname"], "j-0");
    assert!(object::name(&first).starts_with("j-0-"));
    assert_eq!(object::annotation(&first, INDEX), Some("0"));
    assert_eq!(first["spec"]["containers"][0]["env"][0]["name"], "JOB_COMPLETION_INDEX");
    lab.run(10, |_| {});
    assert_eq!(status(&lab)["completedIndexes"], "0-3");
    assert_eq!(status(&lab)["succeeded"], 4);
    assert!(has(&lab, "Complete"));
}

#[test]
fn failures_back_off_and_end_the_job_beyond_its_limit() {
    let mut lab = lab_with(json!({ "backoffLimit": 2 }), fails);
    let mut ends = Vec::new();
    lab.run(60, |lab| {
        let failed = lab.list(PODS).iter().filter(|pod| pod::phase(pod) == "Failed").count();
        if failed > ends.len() {
            ends.push(lab.now().as_second());
        }
    });
    assert!(has(&lab, "Failed"));
    assert_eq!(status(&lab)["failed"], 3);
    assert_eq!(object::condition(&lab.get(JOBS, "j"), "Failed").unwrap()["reason"], "BackoffLimitExceeded");
    assert!(lab.events("Job").contains(&"BackoffLimitExceeded Job has reached the specified backoff limit".to_owned()));
    // A pod takes 2 s to fail here; before the next one the Job waits 10 s, then 20 s.
    assert_eq!(ends.windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<_>>(), [12, 22]);
}

/// Index 1 fails, the others succeed.
fn fails_at_one(pod: &Value) -> Fate {
    if object::annotation(pod, INDEX) == Some("1") { Fate::Fails } else { Fate::Succeeds }
}

fn indexed(changes: Value) -> Value {
    let mut spec = json!({ "parallelism": 3, "completions": 3, "completionMode": "Indexed" });
    spec.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    spec
}

#[test]
fn a_failure_in_the_very_second_of_a_success_backs_off_too() {
    let mut lab = lab_with(indexed(json!({})), fails_at_one);
    lab.run(8, |_| {});
    assert_eq!((&status(&lab)["succeeded"], &status(&lab)["failed"]), (&json!(2), &json!(1)));
}

#[test]
fn an_index_with_a_limit_of_its_own_fails_alone_and_the_job_when_all_are_over() {
    let limits = json!({ "backoffLimit": i32::MAX, "backoffLimitPerIndex": 1 });
    let mut lab = lab_with(indexed(limits), fails_at_one);
    lab.run(8, |_| {});
    assert!(!has(&lab, "Failed"), "it may be tried again");
    assert_eq!(status(&lab)["failedIndexes"], "");
    lab.run(20, |_| {});
    let (status, job) = (status(&lab), lab.get(JOBS, "j"));
    assert_eq!((&status["completedIndexes"], &status["failedIndexes"]), (&json!("0,2"), &json!("1")));
    assert_eq!(status["failed"], 2);
    assert_eq!(object::condition(&job, "Failed").unwrap()["reason"], "FailedIndexes");

    let limits = json!({ "backoffLimit": i32::MAX, "backoffLimitPerIndex": 0, "maxFailedIndexes": 0 });
    let mut lab = lab_with(indexed(limits), |pod| match fails_at_one(pod) {
        Fate::Succeeds => Fate::Ready,
        fate => fate,
    });
    lab.run(10, |_| {});
    let job = lab.get(JOBS, "j");
    assert_eq!(object::condition(&job, "Failed").unwrap()["reason"], "MaxFailedIndexesExceeded");
    assert!(lab.active_pods().is_empty());
}

#[test]
fn a_job_succeeds_with_the_indexes_that_its_policy_asks_for() {
    let policy = json!({ "rules": [{ "succeededIndexes": "1-2", "succeededCount": 2 }, { "succeededIndexes": "0" }] });
    let mut lab = lab_with(indexed(json!({ "successPolicy": policy })), |pod| {
        if object::annotation(pod, INDEX) == Some("0") { Fate::Succeeds } else { Fate::Ready }
    });
    lab.run(10, |_| {});
    let job = lab.get(JOBS, "j");
    let complete = object::condition(&job, "Complete").expect("the second rule is fulfilled");
    assert_eq!(
        (&complete["reason"], &complete["message"]),
        (&json!("SuccessPolicy"), &json!("Matched rules at index 1"))
    );
    assert!(lab.active_pods().is_empty());
}

#[test]
fn a_deadline_ends_a_job_and_its_pods() {
    let mut lab = lab_with(json!({ "activeDeadlineSeconds": 5, "parallelism": 2, "completions": 2 }), |_| Fate::Ready);
    lab.run(3, |_| {});
    assert_eq!(status(&lab)["ready"], 2);
    lab.run(5, |_| {});
    assert!(has(&lab, "Failed") && has(&lab, "FailureTarget"));
    assert!(lab.list(PODS).is_empty());
    assert_eq!(object::condition(&lab.get(JOBS, "j"), "Failed").unwrap()["reason"], "DeadlineExceeded");
}

#[test]
fn a_suspended_job_has_no_pods_until_it_is_resumed() {
    let mut lab = lab_with(json!({ "suspend": true }), succeeds);
    lab.run(2, |_| {});
    assert!(lab.list(PODS).is_empty());
    assert!(has(&lab, "Suspended"));
    assert_eq!(status(&lab)["startTime"], Value::Null);
    lab.patch(JOBS, "j", json!({ "spec": { "suspend": false } }));
    lab.run(4, |_| {});
    assert!(has(&lab, "Complete") && !has(&lab, "Suspended"));
}

#[test]
fn a_deleted_pod_is_a_failure_and_is_replaced() {
    let mut lab = lab_with(json!({}), |_| Fate::Ready);
    lab.run(3, |_| {});
    let victim = object::name(&lab.active_pods()[0]).to_owned();
    lab.delete(PODS, "default", &victim, DeleteOptions::default());
    lab.run(15, |_| {});
    assert_eq!(status(&lab)["failed"], 1);
    assert_eq!(lab.active_pods().len(), 1);
    assert_eq!(lab.list(PODS).len(), 1);
}

#[test]
fn fewer_parallel_pods_are_no_failures() {
    let mut lab = lab_with(json!({ "parallelism": 3, "completions": 5 }), |_| Fate::Ready);
    lab.run(3, |_| {});
    lab.patch(JOBS, "j", json!({ "spec": { "parallelism": 1 } }));
    lab.run(3, |_| {});
    assert_eq!(lab.list(PODS).len(), 1);
    assert_eq!(status(&lab)["failed"], Value::Null);
}

#[test]
fn a_failure_policy_ends_the_job_or_lets_failures_pass() {
    let policy =
        |action: &str| json!({ "rules": [{ "action": action, "onExitCodes": { "operator": "In", "values": [1] } }] });
    let mut lab = lab_with(json!({ "podFailurePolicy": policy("FailJob") }), fails);
    lab.run(5, |_| {});
    let failed = object::condition(&lab.get(JOBS, "j"), "Failed").cloned().unwrap();
    assert_eq!(failed["reason"], "PodFailurePolicy");
    let message = object::str_at(&failed, "/message");
    assert!(message.ends_with("failed with exit code 1 matching FailJob rule at index 0"), "{message}");

    let mut lab = lab_with(json!({ "podFailurePolicy": policy("Ignore"), "backoffLimit": 0 }), fails);
    lab.run(40, |_| {});
    assert!(!has(&lab, "Failed"));
    assert!(lab.list(PODS).len() > 1);
}

#[test]
fn a_finished_job_goes_after_its_time_to_live_and_a_deleted_one_takes_its_pods() {
    let mut lab = lab_with(json!({ "ttlSecondsAfterFinished": 10 }), succeeds);
    lab.run(8, |_| {});
    assert!(lab.find(JOBS, "j").is_some());
    lab.run(8, |_| {});
    assert!(lab.find(JOBS, "j").is_none());
    assert!(lab.list(PODS).is_empty());

    let mut lab = lab_with(json!({}), |_| Fate::Ready);
    lab.run(3, |_| {});
    lab.delete(JOBS, "default", "j", DeleteOptions::default());
    lab.run(4, |_| {});
    assert!(lab.list(PODS).is_empty());
}

#[test]
fn indexes_are_printed_as_runs() {
    for text in ["", "0", "0,1", "0-2", "0,2,4-6,8,9"] {
        assert_eq!(print_indexes(&parse_indexes(text, 10)), text);
    }
    assert_eq!(print_indexes(&parse_indexes("1,3-9223372036854775807", 6)), "1,3-5", "more than there can be");
}
