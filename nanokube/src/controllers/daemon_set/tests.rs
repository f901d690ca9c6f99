use serde_json::{Value, json};

use super::*;
use crate::controllers::lab::{Lab, template};

fn lab_with(nodes: &[&str], changes: Value) -> Lab {
    let mut lab = Lab::new();
    for node in nodes {
        let metadata = json!({ "name": node, "labels": { "kubernetes.io/hostname": node, "disk": "ssd" } });
        lab.create(NODES, json!({ "metadata": metadata }));
        let allocatable = json!({ "cpu": "1", "memory": "1Gi", "pods": "10" });
        lab.status(
            NODES,
            "",
            node,
            json!({ "allocatable": allocatable, "conditions": [{ "type": "Ready", "status": "True" }] }),
        );
    }
    let mut set = json!({
        "metadata": { "name": "agent" },
        "spec": { "selector": { "matchLabels": { "app": "agent" } }, "template": template("agent", "image:1"),
                  "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 1 } } },
    });
    for (pointer, value) in changes.as_object().unwrap() {
        object::set(&mut set, &pointer.split('/').collect::<Vec<_>>(), value.clone());
    }
    lab.create(DAEMON_SETS, set);
    lab.run(4, |_| {});
    lab
}

fn nodes(lab: &Lab) -> Vec<String> {
    let mut nodes: Vec<String> = lab.active_pods().iter().map(|pod| pod::node(pod).to_owned()).collect();
    nodes.sort();
    nodes
}

#[test]
fn every_node_gets_one_pod_even_a_cordoned_one() {
    let mut lab = lab_with(&["b", "c"], json!({}));
    assert_eq!(nodes(&lab), ["b", "c", "node"]);
    let status = &lab.get(DAEMON_SETS, "agent")["status"];
    assert_eq!((&status["desiredNumberScheduled"], &status["numberAvailable"]), (&json!(3), &json!(3)));
    lab.patch_node(json!({ "spec": { "unschedulable": true } }));
    let victim = lab.active_pods().into_iter().find(|pod| pod::node(pod) == "node").unwrap();
    lab.delete(PODS, "default", object::name(&victim), Default::default());
    lab.run(5, |_| {});
    assert_eq!(nodes(&lab), ["b", "c", "node"]);
}

#[test]
fn node_selectors_choose_the_nodes_and_changes_move_the_pods() {
    let mut lab = lab_with(&["b"], json!({ "spec/template/spec/nodeSelector": { "disk": "ssd" } }));
    assert_eq!(nodes(&lab), ["b"]);
    lab.patch_node(json!({ "metadata": { "labels": { "disk": "ssd" } } }));
    lab.run(4, |_| {});
    assert_eq!(nodes(&lab), ["b", "node"]);
    lab.patch_node(json!({ "metadata": { "labels": { "disk": null } } }));
    lab.run(4, |_| {});
    assert_eq!(nodes(&lab), ["b"]);
}

#[test]
fn an_update_takes_one_node_at_a_time() {
    let mut lab = lab_with(&["b", "c"], json!({}));
    lab.patch(DAEMON_SETS, "agent", json!({ "spec": { "template": template("agent", "image:2") } }));
    lab.run(15, |lab| {
        let ready = lab.active_pods().iter().filter(|pod| pod::is_ready(pod)).count();
        assert!(ready >= 2, "{ready} ready pods");
    });
    assert!(lab.active_pods().iter().all(|pod| pod["spec"]["containers"][0]["image"] == "image:2"));
    assert_eq!(lab.get(DAEMON_SETS, "agent")["status"]["updatedNumberScheduled"], 3);
}
