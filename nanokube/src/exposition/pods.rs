//! Pods and their containers, under kube-state-metrics' names. A pure function of a snapshot.

use serde_json::Value;

use super::state::{all, owner};
use super::{Family, Field, Label, Page, quantity, resource_labels};
use crate::object::{self, Object};
use crate::store::Snapshot;

const PHASES: [&str; 5] = ["Pending", "Succeeded", "Failed", "Unknown", "Running"];

const POD: [Field; 2] = [
    Field {
        name: "kube_pod_created",
        pointer: "/metadata/creationTimestamp",
        absent: None,
        help: "Unix time of creation.",
    },
    Field { name: "kube_pod_start_time", pointer: "/status/startTime", absent: None, help: "Unix time of the start." },
];

pub fn write(page: &mut Page, snapshot: &Snapshot) {
    let pods = all(snapshot, "pods");
    info(page, &pods);
    page.fields(&POD, &pods, |pod| labels(pod).to_vec());
    let mut phases = page.gauge("kube_pod_status_phase", "Whether a pod is in a phase.");
    for pod in &pods {
        phases.one_of(&labels(pod), "phase", &PHASES, object::str_at(pod, "/status/phase"));
    }
    for (name, condition) in [("kube_pod_status_ready", "Ready"), ("kube_pod_status_scheduled", "PodScheduled")] {
        let mut family = page.gauge(name, "Whether the condition holds.");
        for pod in &pods {
            if let Some(status) = object::condition_status(pod, condition) {
                family.one_of(&labels(pod), "condition", &["true", "false", "unknown"], status);
            }
        }
    }
    statuses(page, &pods);
    for (name, list) in
        [("kube_pod_container_resource_requests", "requests"), ("kube_pod_container_resource_limits", "limits")]
    {
        let mut family = page.gauge(name, "What a container asks for, or may use.");
        pods.iter().for_each(|pod| resources(&mut family, pod, list));
    }
}

fn labels(pod: &Value) -> [Label<'_>; 3] {
    [("namespace", object::namespace(pod)), ("pod", object::name(pod)), ("uid", object::uid(pod))]
}

fn with<'a>(pod: &'a Value, more: &[Label<'a>]) -> Vec<Label<'a>> {
    labels(pod).into_iter().chain(more.iter().copied()).collect()
}

fn info(page: &mut Page, pods: &[&Object]) {
    let mut info = page.gauge("kube_pod_info", "Where a pod is and who made it.");
    for pod in pods {
        let at = |pointer| object::str_at(pod, pointer);
        let [(_, created_by_kind), (_, created_by_name), _] = owner(pod);
        let more = [
            ("host_ip", at("/status/hostIP")),
            ("pod_ip", at("/status/podIP")),
            ("node", at("/spec/nodeName")),
            ("created_by_kind", created_by_kind),
            ("created_by_name", created_by_name),
            ("priority_class", at("/spec/priorityClassName")),
            ("host_network", if object::bool_at(pod, "/spec/hostNetwork") { "true" } else { "false" }),
        ];
        info.sample(&with(pod, &more), 1);
    }
    let mut owners = page.gauge("kube_pod_owner", "Who made a pod.");
    pods.iter().for_each(|pod| owners.sample(&with(pod, &owner(pod)), 1));
}

fn statuses(page: &mut Page, pods: &[&Object]) {
    let containers: Vec<(&Value, &Value)> = pods
        .iter()
        .flat_map(|pod| object::array_at(pod, "/status/containerStatuses").iter().map(|status| (&***pod, status)))
        .collect();
    let name = |status| ("container", object::str_at(status, "/name"));
    let mut restarts = page.counter("kube_pod_container_status_restarts_total", "Restarts of a container.");
    for (pod, status) in &containers {
        restarts.sample(&with(pod, &[name(status)]), object::i64_at(status, "/restartCount").unwrap_or(0));
    }
    for (family, pointer) in [
        ("kube_pod_container_status_ready", "/ready"),
        ("kube_pod_container_status_running", "/state/running"),
        ("kube_pod_container_status_waiting", "/state/waiting"),
        ("kube_pod_container_status_terminated", "/state/terminated"),
    ] {
        let mut family = page.gauge(family, "Whether a container is so.");
        for (pod, status) in &containers {
            let holds = status.pointer(pointer).is_some_and(|found| found != &Value::Bool(false));
            family.sample(&with(pod, &[name(status)]), u8::from(holds));
        }
    }
    for (family, pointer) in [
        ("kube_pod_container_status_waiting_reason", "/state/waiting/reason"),
        ("kube_pod_container_status_terminated_reason", "/state/terminated/reason"),
        ("kube_pod_container_status_last_terminated_reason", "/lastState/terminated/reason"),
    ] {
        let mut family = page.gauge(family, "Why a container is so, while it is.");
        for (pod, status) in &containers {
            let reason = object::str_at(status, pointer);
            if !reason.is_empty() {
                family.sample(&with(pod, &[name(status), ("reason", reason)]), 1);
            }
        }
    }
}

fn resources(family: &mut Family<'_>, pod: &Value, list: &str) {
    for container in object::array_at(pod, "/spec/containers") {
        for (resource, amount) in object::map_at(container, &format!("/resources/{list}")).into_iter().flatten() {
            let Some(amount) = quantity(amount) else { continue };
            let [resource, unit] = &resource_labels(resource);
            let more = [
                ("container", object::str_at(container, "/name")),
                ("node", object::str_at(pod, "/spec/nodeName")),
                (resource.0, &*resource.1),
                (unit.0, &*unit.1),
            ];
            family.sample(&with(pod, &more), amount);
        }
    }
}
