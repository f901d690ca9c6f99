use serde_json::json;

use super::*;
use crate::metrics::ContainerKey;
use crate::node::cgroup::{Throttling, Usage};
use crate::store::Snapshot;

#[track_caller]
fn check(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|have| have == *line), "no line {line} in\n{text}");
    }
}

fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "web-1", "namespace": "lab", "uid": "u1", "creationTimestamp": "2026-01-01T00:00:00Z",
            "ownerReferences": [{ "kind": "ReplicaSet", "name": "web", "uid": "r1", "controller": true }] },
        "spec": { "nodeName": "n", "containers": [{ "name": "app", "resources": {
            "requests": { "cpu": "100m", "memory": "32Mi" }, "limits": { "cpu": "150m" } } }] },
        "status": { "phase": "Running", "podIP": "127.9.1.1", "hostIP": "127.9.0.1",
            "conditions": [{ "type": "Ready", "status": "False" }],
            "containerStatuses": [{ "name": "app", "image": "web:1", "containerID": "nanokube://c1", "ready": false,
                "restartCount": 3, "state": { "waiting": { "reason": "CrashLoopBackOff" } },
                "lastState": { "terminated": { "reason": "OOMKilled" } } }] },
    })
}

#[test]
fn autoscalers_have_the_series_of_kube_state_metrics() {
    let autoscaler = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": { "name": "web", "namespace": "lab", "generation": 2 },
        "spec": {
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" },
            "minReplicas": 2, "maxReplicas": 10,
            "metrics": [
                { "type": "Resource", "resource": { "name": "cpu", "target": { "averageUtilization": 50 } } },
                { "type": "Pods", "pods": { "metric": { "name": "rps" }, "target": { "averageValue": "1500m" } } },
            ],
        },
        "status": { "currentReplicas": 3, "desiredReplicas": 5,
            "currentMetrics": [{ "type": "Resource",
                "resource": { "name": "cpu", "current": { "averageUtilization": 120, "averageValue": "120m" } } }],
            "conditions": [{ "type": "ScalingActive", "status": "True" }] },
    });
    let mut page = Page::default();
    state::write(&mut page, &Snapshot::of([("horizontalpodautoscalers.autoscaling", autoscaler)]));
    let own = r#"namespace="lab",horizontalpodautoscaler="web""#;
    let prefix = "kube_horizontalpodautoscaler";
    let lines = [
        format!("# TYPE {prefix}_spec_max_replicas gauge"),
        format!("{prefix}_spec_max_replicas{{{own}}} 10"),
        format!("{prefix}_spec_min_replicas{{{own}}} 2"),
        format!("{prefix}_status_current_replicas{{{own}}} 3"),
        format!("{prefix}_status_desired_replicas{{{own}}} 5"),
        format!(r#"{prefix}_spec_target_metric{{{own},metric_name="cpu",metric_target_type="utilization"}} 50"#),
        format!(r#"{prefix}_spec_target_metric{{{own},metric_name="rps",metric_target_type="average"}} 1.5"#),
        format!(r#"{prefix}_status_target_metric{{{own},metric_name="cpu",metric_target_type="utilization"}} 120"#),
        format!(r#"{prefix}_status_target_metric{{{own},metric_name="cpu",metric_target_type="average"}} 0.12"#),
        format!(r#"{prefix}_status_condition{{{own},condition="ScalingActive",status="true"}} 1"#),
        format!(r#"{prefix}_status_condition{{{own},condition="ScalingActive",status="false"}} 0"#),
    ];
    check(&page.finish(), &lines.each_ref().map(String::as_str));
}

#[test]
fn a_pod_that_crashes_shows_it() {
    let mut page = Page::default();
    pods::write(&mut page, &Snapshot::of([("pods", pod())]));
    let own = r#"namespace="lab",pod="web-1",uid="u1""#;
    let lines = [
        format!(r#"kube_pod_status_phase{{{own},phase="Running"}} 1"#),
        format!(r#"kube_pod_status_phase{{{own},phase="Failed"}} 0"#),
        format!(r#"kube_pod_status_ready{{{own},condition="false"}} 1"#),
        format!(r#"kube_pod_owner{{{own},owner_kind="ReplicaSet",owner_name="web",owner_is_controller="true"}} 1"#),
        format!(r#"kube_pod_container_status_restarts_total{{{own},container="app"}} 3"#),
        format!(r#"kube_pod_container_status_ready{{{own},container="app"}} 0"#),
        format!(r#"kube_pod_container_status_waiting{{{own},container="app"}} 1"#),
        format!(r#"kube_pod_container_status_waiting_reason{{{own},container="app",reason="CrashLoopBackOff"}} 1"#),
        format!(r#"kube_pod_container_status_last_terminated_reason{{{own},container="app",reason="OOMKilled"}} 1"#),
        format!(
            r#"kube_pod_container_resource_requests{{{own},container="app",node="n",resource="cpu",unit="core"}} 0.1"#
        ),
        format!("kube_pod_created{{{own}}} 1767225600"),
    ];
    check(&page.finish(), &lines.each_ref().map(String::as_str));
}

#[test]
fn throttling_is_counted_for_containers_with_a_limit_only() {
    let key = ContainerKey { namespace: "lab".into(), pod: "web-1".into(), container: "app".into() };
    let throttling = Throttling { periods: 40, throttled_periods: 10, throttled_ns: 500_000_000 };
    let usage = Usage { cpu_ns: 1_500_000_000, memory_bytes: 4096, throttling };
    let shown = |pod: &Value| {
        let mut page = Page::default();
        let started = jiff::Timestamp::UNIX_EPOCH;
        containers::write(&mut page, &[containers::Measured { key: &key, pod, started, usage }]);
        page.finish()
    };
    let own = r#"container="app",id="/kubepods/podu1/app",image="web:1",name="c1",namespace="lab",pod="web-1""#;
    let mut pod = pod();
    let lines = [
        format!(r#"container_cpu_usage_seconds_total{{{own},cpu="total"}} 1.5"#),
        format!("container_memory_working_set_bytes{{{own}}} 4096"),
        format!("container_spec_cpu_quota{{{own}}} 15000"),
        format!("container_cpu_cfs_periods_total{{{own}}} 40"),
        format!("container_cpu_cfs_throttled_periods_total{{{own}}} 10"),
        format!("container_cpu_cfs_throttled_seconds_total{{{own}}} 0.5"),
    ];
    check(&shown(&pod), &lines.each_ref().map(String::as_str));
    object::remove(&mut pod["spec"]["containers"][0], &["resources"]);
    assert!(!shown(&pod).contains("cfs_periods_total{"));
}

#[test]
fn label_values_are_escaped() {
    let mut page = Page::default();
    page.gauge("x", "y").sample(&[("a", "q\"\\\n")], 1);
    check(&page.finish(), &[r#"x{a="q\"\\\n"} 1"#]);
}
