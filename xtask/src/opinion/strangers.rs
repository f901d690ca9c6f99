//! Pods that a target's selector matches and the target does not own. The autoscaler asks for labels, never for owners, so
//! they are averaged in with the others.

use serde_json::Value;

use super::text;

/// How a selected pod is named if it is not of the target: `backup-x7 (of Job backup)`. Of a kind whose pods we do not know
/// how to tell, nothing is said.
pub(super) fn of(target: &Value, pod: &Value) -> Option<String> {
    let (kind, name) = (text(target, "/kind"), text(target, "/name"));
    if !["Deployment", "ReplicaSet", "ReplicationController", "StatefulSet"].contains(&kind) {
        return None;
    }
    let owners = pod.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let owner = owners.into_iter().flatten().find(|owner| owner["controller"] == true);
    let pod_name = text(pod, "/metadata/name");
    let Some(owner) = owner else { return Some(format!("{pod_name} (of nobody)")) };
    let (owner_kind, owner_name) = (text(owner, "/kind"), text(owner, "/name"));
    // The ReplicaSet between a Deployment and its pods is named after both.
    let hash = text(pod, "/metadata/labels/pod-template-hash");
    let through = kind == "Deployment" && owner_kind == "ReplicaSet" && owner_name == format!("{name}-{hash}");
    let is_own = through || (owner_kind == kind && owner_name == name);
    (!is_own).then(|| format!("{pod_name} (of {owner_kind} {owner_name})"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_selected_pod_of_somebody_else_is_named_with_its_owner() {
        let pod = |owner: &str, name: &str| {
            json!({"metadata": {"name": "p", "labels": {"pod-template-hash": "7d9"}, "ownerReferences": [
                {"kind": "Node", "name": "not its controller"}, {"kind": owner, "name": name, "controller": true}]}})
        };
        let deployment = json!({"kind": "Deployment", "name": "web"});
        let stateful_set = json!({"kind": "StatefulSet", "name": "web"});
        for (target, pod, expected) in [
            (&deployment, pod("ReplicaSet", "web-7d9"), None),
            (&deployment, pod("ReplicaSet", "web-canary-7d9"), Some("p (of ReplicaSet web-canary-7d9)")),
            (&deployment, pod("Job", "backup"), Some("p (of Job backup)")),
            (&deployment, json!({"metadata": {"name": "p"}}), Some("p (of nobody)")),
            (&stateful_set, pod("StatefulSet", "web"), None),
            (&json!({"kind": "Rollout", "name": "web"}), pod("ReplicaSet", "web-7d9"), None),
        ] {
            assert_eq!(of(target, &pod).as_deref(), expected);
        }
    }
}
