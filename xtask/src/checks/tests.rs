//! Every fault as a value, and the words and the remedy that it gets.

use serde_json::{Value, json};

use super::cluster::{autoscaler, overlap, pod_states, pull_policy, requests, single_autoscaler};
use super::machine::{cores, limiter, memory};
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
    let finding = autoscaler(&hpa("a", blind));
    check(&finding, State::Wrong, "missing request");
    assert!(finding.remedy.contains("resources.requests.cpu"), "{finding:?}");
    let seeing = json!([{"type": "ScalingActive", "status": "True", "reason": "ValidMetricFound"}]);
    check(&autoscaler(&hpa("a", seeing)), State::Fine, "ValidMetricFound");
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
    Fix::OwnerOnly(path.clone()).apply().unwrap();
    assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
}
