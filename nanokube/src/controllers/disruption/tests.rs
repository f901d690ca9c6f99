use serde_json::{Value, json};

use super::*;
use crate::controllers::deployment::DEPLOYMENTS;
use crate::controllers::lab::{Lab, deployment};

/// A budget over a Deployment of 4 that runs: `[allowed, healthy, desired, expected]`.
#[track_caller]
fn check(spec: Value, expected: [i64; 4]) {
    let mut lab = Lab::new();
    lab.create(DEPLOYMENTS, deployment(4));
    let mut spec = spec;
    spec["selector"] = json!({ "matchLabels": { "app": "web" } });
    lab.create(BUDGETS, json!({ "metadata": { "name": "b" }, "spec": spec }));
    lab.run(4, |_| {});
    assert_eq!(numbers(&lab), expected, "{spec}");
}

fn numbers(lab: &Lab) -> [i64; 4] {
    let budget = lab.get(BUDGETS, "b");
    ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"]
        .map(|field| object::i64_at(&budget, &format!("/status/{field}")).unwrap())
}

#[test]
fn a_budget_allows_what_its_pods_can_spare() {
    check(json!({ "minAvailable": 1 }), [3, 4, 1, 4]);
    check(json!({ "minAvailable": "50%" }), [2, 4, 2, 4]);
    check(json!({ "minAvailable": 5 }), [0, 4, 5, 4]);
    check(json!({ "maxUnavailable": 1 }), [1, 4, 3, 4]);
    check(json!({ "maxUnavailable": "30%" }), [2, 4, 2, 4]);
    check(json!({ "maxUnavailable": 0 }), [0, 4, 4, 4]);
}

#[test]
fn a_granted_eviction_counts_until_the_pod_is_deleted_or_two_minutes_have_passed() {
    let mut lab = Lab::new();
    lab.create(DEPLOYMENTS, deployment(2));
    let selector = json!({ "matchLabels": { "app": "web" } });
    lab.create(BUDGETS, json!({ "metadata": { "name": "b" }, "spec": { "minAvailable": 1, "selector": selector } }));
    lab.run(4, |_| {});
    assert_eq!(numbers(&lab)[0], 1);
    let name = object::name(&lab.active_pods()[0]).to_owned();
    lab.status(BUDGETS, "default", "b", json!({ "disruptedPods": { name: object::time(lab.now()) } }));
    lab.settle();
    assert_eq!(numbers(&lab), [0, 1, 1, 2]);
    let condition = lab.get(BUDGETS, "b");
    assert_eq!(object::condition(&condition, "DisruptionAllowed").unwrap()["reason"], "InsufficientPods");
    lab.skip(121);
    assert_eq!(numbers(&lab), [1, 2, 1, 2]);
}

#[test]
fn a_share_of_pods_that_nothing_controls_cannot_be_told() {
    let mut lab = Lab::new();
    let owner = json!({ "apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "u", "controller": true });
    let metadata =
        json!({ "name": "p", "namespace": "default", "labels": { "app": "web" }, "ownerReferences": [owner] });
    let pod = json!({ "metadata": metadata, "spec": {} });
    let budget = json!({ "metadata": { "name": "b", "namespace": "default" },
        "spec": { "maxUnavailable": 1, "selector": { "matchLabels": { "app": "web" } } } });
    let snapshot = Snapshot::of([(PODS, pod), (BUDGETS, budget)]);
    let outcome = reconcile(&snapshot, lab.now());
    let [super::super::action::Action::Update { object, .. }] = outcome.actions.as_slice() else { panic!() };
    assert_eq!(object["status"]["conditions"][0]["reason"], "SyncFailed");
    lab.settle();
}
