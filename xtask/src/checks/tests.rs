//! Every fault as a value, and the words and the remedy that it gets.

use serde_json::{Value, json};

use super::capacity::{Demand, Supply, check as capacity};
use super::cluster::{autoscaler, overlap, pod_states, pull_policy, requests, single_autoscaler};
use super::machine::{cores, driver, limiter, memory};
use super::{Finding, Fix, State};

fn deployment(name: &str, container: Value) -> k8s_openapi::api::apps::v1::Deployment {
    serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web", "of": name}}, "spec": {"containers": [container]}}}}))
    .unwrap()
}

fn hpa(name: &str, conditions: Value) -> k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler {
    serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {"maxReplicas": 10, "scaleTargetRef": {"kind": "Deployment", "name": "web"}},
        "status": {"desiredReplicas": 1, "conditions": conditions}}))
    .unwrap()
}

#[track_caller]
fn check(finding: &Finding, state: State, word: &str) {
    assert_eq!(finding.state, state, "{finding:?}");
    assert!(finding.what.contains(word), "{finding:?}");
    assert_eq!(finding.state == State::Fine, finding.remedy.is_empty(), "a fault has a remedy: {finding:?}");
}

#[test]
fn a_container_without_a_request_is_named() {
    check(&requests(&deployment("web", json!({"name": "side-car"}))), State::Wrong, "side-car");
    let stated = json!({"name": "c", "resources": {"requests": {"cpu": "100m"}}});
    check(&requests(&deployment("web", stated)), State::Fine, "every");
}

#[test]
fn a_local_image_that_is_always_pulled_is_found() {
    let image = |policy: &str| json!({"name": "c", "image": "localhost/web:1", "imagePullPolicy": policy});
    check(&pull_policy(&deployment("web", image("Always"))), State::Wrong, "registry");
    check(&pull_policy(&deployment("web", image("IfNotPresent"))), State::Fine, "node");
}

#[test]
fn a_selector_that_catches_foreign_pods_is_found() {
    let all = [deployment("web", json!({"name": "c"})), deployment("batch", json!({"name": "c"}))];
    check(&overlap(&all[0], &all), State::Wrong, "batch");
    check(&overlap(&all[0], &all[..1]), State::Fine, "own pods");
}

#[test]
fn two_autoscalers_on_one_target_are_both_named() {
    let all = [hpa("a", json!([])), hpa("b", json!([]))];
    check(&single_autoscaler(&all, "web"), State::Wrong, "a, b");
    check(&single_autoscaler(&all[..1], "web"), State::Fine, "alone");
    check(&single_autoscaler(&all, "other"), State::Wrong, "none");
}

#[test]
fn an_autoscaler_that_sees_nothing_says_why() {
    let blind = json!([{"type": "ScalingActive", "status": "False", "reason": "FailedGetResourceMetric",
        "message": "missing request for cpu in container c of Pod p"}]);
    let finding = autoscaler(&hpa("a", blind), 600);
    check(&finding, State::Wrong, "missing request");
    assert!(finding.remedy.contains("resources.requests.cpu"), "{finding:?}");
    let seeing = json!([{"type": "ScalingActive", "status": "True", "reason": "ValidMetricFound"}]);
    check(&autoscaler(&hpa("a", seeing), 600), State::Fine, "ValidMetricFound");
}

#[test]
fn that_nothing_is_known_of_a_young_pod_is_normal_for_a_while() {
    let unknown = json!([{"type": "ScalingActive", "status": "False", "reason": "FailedGetResourceMetric", "message":
        "failed to get cpu utilization: unable to get metrics for resource cpu: no metrics returned from resource metrics API"}]);
    check(&autoscaler(&hpa("a", unknown.clone()), 35), State::Note, "up to 100 s more");
    check(&autoscaler(&hpa("a", unknown), 600), State::Wrong, "no metrics returned");
    check(&autoscaler(&hpa("a", json!([])), 5), State::Note, "no sync yet");
}

#[test]
fn a_pod_in_trouble_is_a_finding_and_a_healthy_fleet_is_one_line() {
    let pod = |reason: &str| {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "status": {"containerStatuses": [{"name": "c",
            "image": "i", "imageID": "", "ready": false, "restartCount": 1, "state": {"waiting": {"reason": reason}}}]}}))
        .unwrap()
    };
    check(&pod_states(&[pod("ErrImageNeverPull")])[0], State::Wrong, "ErrImageNeverPull");
    check(&pod_states(&[pod("ContainerCreating")])[0], State::Fine, "0 of 1");
}

#[test]
fn a_small_machine_is_a_note_not_a_fault() {
    check(&cores(1), State::Note, "INVALID");
    check(&memory("MemAvailable:     512000 kB\n"), State::Note, "500 MB");
    check(&memory("MemAvailable:    8192000 kB\n"), State::Fine, "8000 MB");
}

#[test]
fn without_a_writable_cgroup_limits_are_kept_another_way() {
    let dir = tempfile::tempdir().unwrap();
    check(&limiter(&dir.path().join("none"), ""), State::Fine, "stops and continues");
    std::fs::write(dir.path().join("cgroup.controllers"), "cpu").unwrap();
    check(&limiter(dir.path(), "0::/\n"), State::Fine, "cgroup v2");
}

#[test]
fn fixing_a_kubeconfig_takes_it_from_others() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kubeconfig");
    std::fs::write(&path, "").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    Fix::OwnerOnly(path.clone()).apply(None).unwrap();
    assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_driver_that_answers_is_enough_and_one_that_does_not_is_named() {
    let (works, denied) = (Some(Ok("28.1".to_owned())), Some(Err("dial unix: permission denied".to_owned())));
    let down = Some(Err("Cannot connect to the Docker daemon".to_owned()));
    check(&driver(&[("docker", down.clone()), ("podman", works)]), State::Fine, "podman 28.1");
    check(&driver(&[("docker", denied), ("podman", None)]), State::Note, "may not use it");
    check(&driver(&[("docker", down), ("podman", None)]), State::Note, "does not answer: Cannot connect");
    check(&driver(&[("docker", None), ("podman", None)]), State::Note, "no container engine");
}

#[test]
fn what_does_not_fit_is_found_before_it_is_pending() {
    let objects = [
        json!({"kind": "Deployment", "metadata": {"name": "web"}, "spec": {"template": {"spec": {"containers": [
            {"resources": {"requests": {"cpu": "250m", "memory": "64Mi"}}},
            {"resources": {"requests": {"cpu": "50m"}}}]}}}}),
        json!({"kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
            "spec": {"minReplicas": 2, "maxReplicas": 6}}),
    ];
    let workload = crate::workload::Workload {
        deployment: "web".into(),
        hpa: "web".into(),
        ..crate::workload::Workload::default()
    };
    let demand = Demand::of("prod", &objects, &workload);
    assert_eq!((demand.milli, demand.mebibytes, demand.min, demand.max), (300, 64, 2, 6));
    let supply = |milli, mebibytes| Supply { of: "its node".into(), milli, mebibytes };
    check(&capacity(&demand, &supply(1800, 4000), "grow"), State::Fine, "2 to 6 pods of 300m");
    check(&capacity(&demand, &supply(1500, 4000), "grow"), State::Note, "beyond 5 pods they stay Pending");
    check(&capacity(&demand, &supply(4000, 70), "grow"), State::Wrong, "room for 1");
}
