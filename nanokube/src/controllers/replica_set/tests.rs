use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::cluster::DeleteOptions;
use crate::controllers::lab::{Fate, Lab, template};

fn set(replicas: i64) -> Value {
    let selector = json!({ "matchLabels": { "app": "web" } });
    json!({
        "metadata": { "name": "rs" },
        "spec": { "replicas": replicas, "selector": selector, "template": template("web", "i") },
    })
}

#[test]
fn orphans_that_match_are_adopted_and_strays_are_released() {
    let mut lab = Lab::new();
    lab.create(
        PODS,
        json!({ "metadata": { "name": "orphan", "labels": { "app": "web" } },
        "spec": { "containers": [{ "name": "c", "image": "i" }] } }),
    );
    let rs = lab.create(REPLICA_SETS, set(2));
    lab.run(3, |_| {});
    assert!(object::is_controlled_by(&lab.get(PODS, "orphan"), object::uid(&rs)));
    assert_eq!(lab.active_pods().len(), 2);

    lab.patch(PODS, "orphan", json!({ "metadata": { "labels": { "app": "debug" } } }));
    lab.run(3, |_| {});
    assert!(object::owner_of(&lab.get(PODS, "orphan")).is_none());
    assert_eq!(lab.active_pods().len(), 3);
    assert_eq!(lab.get(REPLICA_SETS, "rs")["status"]["replicas"], 2);
}

#[test]
fn a_deleted_pod_is_replaced_as_soon_as_it_is_marked() {
    let mut lab = Lab::new();
    lab.create(REPLICA_SETS, set(1));
    lab.run(3, |_| {});
    let victim = lab.active_pods()[0].clone();
    lab.delete(PODS, "default", object::name(&victim), DeleteOptions::default());
    lab.settle();
    assert_eq!(lab.list(PODS).len(), 2);
    assert_eq!(lab.get(REPLICA_SETS, "rs")["status"]["terminatingReplicas"], 1);
    lab.run(2, |_| {});
    assert_eq!(lab.list(PODS).len(), 1);
}

#[test]
fn finished_pods_are_replaced_but_not_deleted() {
    let mut lab = Lab::new();
    lab.fate = |pod| if object::str_at(pod, "/spec/containers/0/image") == "ends" { Fate::Fails } else { Fate::Ready };
    let mut web = set(1);
    web["spec"]["template"] = template("web", "ends");
    lab.create(REPLICA_SETS, web);
    lab.run(2, |_| {});
    lab.patch(REPLICA_SETS, "rs", json!({ "spec": { "template": template("web", "stays") } }));
    lab.run(4, |_| {});
    assert_eq!(lab.active_pods().len(), 1);
    assert!(lab.list(PODS).iter().any(|pod| pod["status"]["phase"] == "Failed"));
}

#[test]
fn a_large_set_is_made_in_bursts() {
    let mut lab = Lab::new();
    lab.create(REPLICA_SETS, set(620));
    lab.runner.round();
    assert_eq!(lab.list(PODS).len(), BURST);
    lab.settle();
    assert_eq!(lab.list(PODS).len(), 620);
}

fn candidate(name: &str, changes: Value) -> Object {
    let mut pod = json!({
        "metadata": { "name": name, "uid": name, "creationTimestamp": "2026-01-01T00:00:00Z" },
        "spec": { "nodeName": "node" },
        "status": { "phase": "Running", "conditions": [
            { "type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:10Z" },
        ] },
    });
    for (pointer, value) in changes.as_object().unwrap() {
        let path: Vec<&str> = pointer.split('/').filter(|part| !part.is_empty()).collect();
        object::set(&mut pod, &path, value.clone());
    }
    Object::new(pod)
}

#[track_caller]
fn check_first(victim: Value, other: Value) {
    let (victim, other) = (candidate("b", victim), candidate("a", other));
    let now: Timestamp = "2026-01-01T01:00:00Z".parse().unwrap();
    for mut pods in [[&victim, &other], [&other, &victim]] {
        rank_for_deletion(&mut pods, now);
        assert_eq!(object::name(pods[0]), "b");
    }
}

#[test]
fn the_pod_that_matters_least_is_deleted_first() {
    let unready = json!([{ "type": "Ready", "status": "False", "lastTransitionTime": "2026-01-01T00:00:10Z" }]);
    let ready_at = |at: &str| json!([{ "type": "Ready", "status": "True", "lastTransitionTime": at }]);
    let restarts = |count: i64| json!([{ "name": "c", "restartCount": count }]);
    let cost = |cost: &str| json!({ DELETION_COST: cost });
    check_first(json!({ "spec/nodeName": "" }), json!({ "status/phase": "Pending" }));
    check_first(json!({ "status/phase": "Pending" }), json!({ "status/phase": "Unknown" }));
    check_first(json!({ "status/conditions": unready }), json!({ "metadata/annotations": cost("-5") }));
    check_first(json!({ "metadata/annotations": cost("-1") }), json!({}));
    check_first(json!({ "status/conditions": ready_at("2026-01-01T00:59:00Z") }), json!({}));
    check_first(json!({ "status/containerStatuses": restarts(3) }), json!({ "status/containerStatuses": restarts(2) }));
    check_first(json!({ "metadata/creationTimestamp": "2026-01-01T00:58:00Z" }), json!({}));
}

#[test]
fn pods_that_the_api_refuses_are_a_condition_and_an_event() {
    let mut lab = Lab::new();
    let mut web = set(1);
    web["spec"]["template"]["metadata"]["labels"] = json!({ "app": "web" });
    web["spec"]["template"]["metadata"]["finalizers"] = json!(["x/y"]);
    lab.create(REPLICA_SETS, web);
    lab.run(2, |_| {});
    let rs = lab.get(REPLICA_SETS, "rs");
    let mut failures = Failures::default();
    failures.note(object::uid(&rs), "FailedCreate", "pods \"rs-\" is forbidden");
    let mut outcome = Outcome::default();
    let owned = lab.list(PODS);
    sync(&rs, owned.iter().collect(), lab.now(), &failures, &mut outcome);
    let [crate::controllers::action::Action::Update { object: draft, .. }] = outcome.actions.as_slice() else {
        panic!()
    };
    let failure = object::condition(draft, "ReplicaFailure").unwrap();
    assert_eq!((&failure["status"], &failure["reason"]), (&json!("True"), &json!("FailedCreate")));
}
