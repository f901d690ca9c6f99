use serde_json::{Value, json};

use super::*;
use crate::controllers::lab::Lab;

fn pod_asking(name: &str, cpu: &str) -> Value {
    json!({
        "metadata": { "name": name },
        "spec": { "containers": [{ "name": "c", "image": "i", "resources": { "requests": { "cpu": cpu } } }] },
    })
}

#[track_caller]
fn check_unschedulable(lab: &mut Lab, pod: Value, expected: &str) {
    let name = object::name(&pod).to_owned();
    lab.create(PODS, pod);
    lab.settle();
    let pod = lab.get(PODS, &name);
    assert_eq!(pod::node(&pod), "");
    let scheduled = object::condition(&pod, "PodScheduled").expect("a condition that says why");
    assert_eq!((&scheduled["status"], &scheduled["reason"]), (&json!("False"), &json!("Unschedulable")));
    let message = object::str_at(scheduled, "/message");
    assert!(message.starts_with(expected), "{message}");
    assert!(lab.events("Pod").contains(&format!("FailedScheduling {message}")));
}

#[test]
fn a_pod_that_fits_is_bound_and_the_event_says_where() {
    let mut lab = Lab::new();
    lab.create(PODS, pod_asking("a", "500m"));
    lab.settle();
    let bound = lab.get(PODS, "a");
    assert_eq!(pod::node(&bound), "node");
    assert_eq!(object::condition_status(&bound, "PodScheduled"), Some("True"));
    assert_eq!(lab.events("Pod"), ["Scheduled Successfully assigned default/a to node"]);
    let event = &lab.list("events")[0];
    assert_eq!(event["action"], "Binding");
    assert_eq!(event["firstTimestamp"], Value::Null);
    assert!(object::str_at(event, "/eventTime").ends_with(".000000Z"));
}

#[test]
fn what_does_not_fit_waits_and_is_bound_when_there_is_room() {
    let mut lab = Lab::new();
    lab.create(PODS, pod_asking("large", "6"));
    lab.settle();
    check_unschedulable(
        &mut lab,
        pod_asking("second", "3"),
        "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, \
         preemption: 0/1 nodes are available: 1 No \
         preemption victims found for incoming pod.",
    );
    lab.run(2, |_| {});
    lab.delete(PODS, "default", "large", Default::default());
    lab.run(3, |_| {});
    assert_eq!(pod::node(&lab.get(PODS, "second")), "node");
}

#[test]
fn what_no_node_could_ever_give_is_not_for_preemption_to_help() {
    check_unschedulable(
        &mut Lab::new(),
        pod_asking("huge", "64"),
        "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, \
         preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.",
    );
}

#[test]
fn selectors_taints_and_cordons_keep_pods_away() {
    let mut lab = Lab::new();
    let mut picky = pod_asking("picky", "1m");
    picky["spec"]["nodeSelector"] = json!({ "disk": "ssd" });
    check_unschedulable(
        &mut lab,
        picky,
        "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. ",
    );
    let taints = json!({ "spec": { "taints": [{ "key": "dedicated", "value": "x", "effect": "NoSchedule" }] } });
    lab.patch_node(taints);
    check_unschedulable(
        &mut lab,
        pod_asking("tainted", "1m"),
        "0/1 nodes are available: 1 node(s) had untolerated taint {dedicated: x}.",
    );
    let mut tolerant = pod_asking("tolerant", "1m");
    tolerant["spec"]["tolerations"] = json!([{ "key": "dedicated", "operator": "Exists" }]);
    lab.create(PODS, tolerant);
    lab.settle();
    assert_eq!(pod::node(&lab.get(PODS, "tolerant")), "node");
    lab.patch_node(json!({ "spec": { "taints": null, "unschedulable": true } }));
    check_unschedulable(&mut lab, pod_asking("late", "1m"), "0/1 nodes are available: 1 node(s) were unschedulable.");
}

#[test]
fn anti_affinity_keeps_two_of_a_kind_apart() {
    let mut lab = Lab::new();
    let rule = json!({ "podAntiAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [
        { "labelSelector": { "matchLabels": { "app": "x" } }, "topologyKey": "kubernetes.io/hostname" },
    ] } });
    for name in ["one", "two"] {
        let mut pod = pod_asking(name, "1m");
        pod["metadata"]["labels"] = json!({ "app": "x" });
        pod["spec"]["affinity"] = rule.clone();
        lab.create(PODS, pod);
        lab.settle();
    }
    assert_eq!(pod::node(&lab.get(PODS, "one")), "node");
    assert_eq!(pod::node(&lab.get(PODS, "two")), "");
}

#[test]
fn init_containers_raise_the_request_to_their_peak() {
    let container = |cpu: &str| json!({ "name": "c", "resources": { "requests": { "cpu": cpu } } });
    let mut sidecar = container("100m");
    sidecar["restartPolicy"] = json!("Always");
    let cases = [
        (json!([]), json!([container("200m"), container("50m")]), 250),
        (json!([container("1")]), json!([container("200m")]), 1000),
        (json!([sidecar.clone()]), json!([container("200m")]), 300),
        (json!([sidecar, container("1")]), json!([container("200m")]), 1100),
    ];
    for (init, containers, expected) in cases {
        let pod = json!({ "spec": { "initContainers": init, "containers": containers } });
        assert_eq!(requests(&pod)["cpu"], expected, "{pod}");
    }
}
