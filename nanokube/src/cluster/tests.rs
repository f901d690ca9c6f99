use serde_json::json;

use super::*;
use crate::object;

fn writer() -> Writer {
    Writer::controller("test")
}

fn cluster() -> Cluster {
    let cluster = Cluster::in_memory();
    let namespace = json!({ "metadata": { "name": "lab" } });
    cluster.create("namespaces", "", namespace, &writer()).unwrap();
    cluster
}

fn pod(name: &str, node: &str) -> Value {
    json!({ "metadata": { "name": name }, "spec": { "nodeName": node, "containers": [{ "name": "c", "image": "i" }] } })
}

#[test]
fn a_created_object_has_an_identity() {
    let cluster = cluster();
    let object = json!({ "metadata": { "generateName": "x-" } });
    let created = cluster.create("configmaps", "lab", object, &writer()).unwrap();
    assert!(object::name(&created).starts_with("x-") && object::name(&created).len() == 7);
    assert_eq!(object::uid(&created).len(), 36);
    assert_eq!(object::namespace(&created), "lab");
}

#[test]
fn an_object_needs_its_namespace() {
    let error = cluster().create("configmaps", "nope", json!({ "metadata": { "name": "x" } }), &writer()).unwrap_err();
    assert_eq!((error.code, error.message.as_str()), (404, "namespaces \"nope\" not found"));
}

#[test]
fn an_update_from_an_old_version_conflicts_and_one_that_changes_nothing_is_no_write() {
    let cluster = cluster();
    let object = json!({ "metadata": { "name": "x" }, "data": { "a": "1" } });
    let first = cluster.create("configmaps", "lab", object, &writer()).unwrap();
    let same = cluster.update("configmaps", "lab", "x", Value::clone(&first), Part::Object, &writer()).unwrap();
    assert_eq!(object::resource_version(&same), object::resource_version(&first));
    let patch = Patch::Merge(json!({ "data": { "a": "2" } }));
    cluster.patch("configmaps", "lab", "x", patch, Part::Object, &writer()).unwrap();
    let error = cluster.update("configmaps", "lab", "x", Value::clone(&first), Part::Object, &writer()).unwrap_err();
    assert!(error.is_conflict());
}

#[test]
fn a_pod_on_a_node_lingers_for_its_grace_period_and_an_unscheduled_one_goes_at_once() {
    let cluster = cluster();
    cluster.create("pods", "lab", pod("a", "node"), &writer()).unwrap();
    cluster.create("pods", "lab", pod("b", ""), &writer()).unwrap();
    let options = DeleteOptions::default();
    assert!(matches!(cluster.delete("pods", "lab", "b", &options, &writer()), Ok(Deleted::Gone(_))));
    let Ok(Deleted::Lingering(marked)) = cluster.delete("pods", "lab", "a", &options, &writer()) else {
        panic!("the pod on a node should linger")
    };
    assert_eq!(object::i64_at(&marked, "/metadata/deletionGracePeriodSeconds"), Some(30));
    let now = DeleteOptions { grace_period_s: Some(0), ..options };
    assert!(matches!(cluster.delete("pods", "lab", "a", &now, &writer()), Ok(Deleted::Gone(_))));
}

#[test]
fn the_last_finalizer_removes_a_deleted_object() {
    let cluster = cluster();
    let object = json!({ "metadata": { "name": "x", "finalizers": ["a/b"] } });
    cluster.create("configmaps", "lab", object, &writer()).unwrap();
    let deleted = cluster.delete("configmaps", "lab", "x", &DeleteOptions::default(), &writer()).unwrap();
    assert!(matches!(deleted, Deleted::Lingering(_)));
    let patch = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    cluster.patch("configmaps", "lab", "x", patch, Part::Object, &writer()).unwrap();
    assert!(cluster.get("configmaps", "lab", "x").is_none());
}

#[test]
fn scale_changes_replicas_and_reads_the_selector_as_text() {
    let cluster = cluster();
    let deployment = json!({
        "metadata": { "name": "web" },
        "spec": {
            "replicas": 1,
            "selector": { "matchLabels": { "app": "web" } },
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": { "containers": [{ "name": "c", "image": "i" }] },
            },
        },
    });
    cluster.create("deployments.apps", "lab", deployment, &writer()).unwrap();
    let patch = Patch::Merge(json!({ "spec": { "replicas": 3 } }));
    let scaled = cluster.patch("deployments.apps", "lab", "web", patch, Part::Scale, &writer()).unwrap();
    assert_eq!(object::i64_at(&scaled, "/spec/replicas"), Some(3));
    assert_eq!(object::generation(&scaled), 2);
    let kinds = cluster.kinds();
    let scale = scale_of(kinds.resource("deployments.apps").unwrap(), &scaled);
    assert_eq!(object::str_at(&scale, "/status/selector"), "app=web");
}

#[test]
fn pods_outside_of_a_limit_range_or_silent_about_what_a_quota_holds_are_refused() {
    let limits = json!([
        { "type": "Container", "max": { "cpu": "500m" }, "min": { "cpu": "50m" } },
        { "type": "Pod", "max": { "memory": "1Gi" } },
    ]);
    let range = json!({ "metadata": { "name": "range" }, "spec": { "limits": limits } });
    let quota = json!({ "metadata": { "name": "quota" }, "spec": { "hard": { "limits.memory": "2Gi" } } });
    let refusal = |with: (&str, &Value), requests: Value, limits: Value| {
        let cluster = cluster();
        cluster.create(with.0, "lab", with.1.clone(), &writer()).unwrap();
        let resources = json!({ "requests": requests, "limits": limits });
        let containers = json!([{ "name": "a", "image": "i", "resources": resources.clone() },
            { "name": "b", "image": "i", "resources": resources }]);
        let pod = json!({ "metadata": { "name": "p" }, "spec": { "containers": containers } });
        cluster.create("pods", "lab", pod, &writer()).map(drop).map_err(|error| error.message).err().unwrap_or_default()
    };
    let (range, quota) = (("limitranges", &range), ("resourcequotas", &quota));
    let memory = "256Mi";
    let fits = json!({ "cpu": "500m", "memory": memory });
    assert_eq!(refusal(range, json!({ "cpu": "50m", "memory": memory }), fits), "");
    let large = json!({ "cpu": "2", "memory": "600Mi" });
    let words = "pods \"p\" is forbidden: [maximum cpu usage per Container is 500m, but limit is 2, maximum cpu usage per \
                 Container is 500m, but limit is 2, maximum memory usage per Pod is 1Gi, but limit is 1200Mi]";
    assert_eq!(refusal(range, json!({ "cpu": "50m" }), large), words);
    let small = json!({ "cpu": "1m", "memory": memory });
    let words = "pods \"p\" is forbidden: [minimum cpu usage per Container is 50m, but request is 1m, minimum cpu usage per \
                 Container is 50m, but request is 1m]";
    assert_eq!(refusal(range, small, json!({ "cpu": "100m", "memory": memory })), words);
    assert_eq!(refusal(quota, json!({}), json!({ "memory": "1Gi" })), "");
    let words = "pods \"p\" is forbidden: failed quota: quota: must specify limits.memory for: a,b";
    assert_eq!(refusal(quota, json!({}), json!({})), words);
}

#[test]
fn a_pod_finds_its_token_unless_it_or_its_account_asks_not_to() {
    let cluster = cluster();
    let mounts = |name: &str, spec: Value| {
        let mut object = pod(name, "");
        object["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let created = cluster.create("pods", "lab", object, &writer()).unwrap();
        let mounts = object::array_at(&created, "/spec/containers/0/volumeMounts").to_vec();
        (mounts, object::array_at(&created, "/spec/volumes").to_vec())
    };
    let (mounted, volumes) = mounts("a", json!({}));
    assert_eq!(mounted[0]["mountPath"], "/var/run/secrets/kubernetes.io/serviceaccount");
    assert_eq!(mounted[0]["name"], volumes[0]["name"]);
    assert_eq!(mounts("b", json!({ "automountServiceAccountToken": false })), (vec![], vec![]));
    let account = json!({ "metadata": { "name": "shy" }, "automountServiceAccountToken": false });
    cluster.create("serviceaccounts", "lab", account, &writer()).unwrap();
    assert_eq!(mounts("c", json!({ "serviceAccountName": "shy" })), (vec![], vec![]));
    let (mounted, _) = mounts("d", json!({ "serviceAccountName": "shy", "automountServiceAccountToken": true }));
    assert_eq!(mounted.len(), 1);
}

#[test]
fn what_is_wrong_with_an_object_is_said_before_that_its_name_is_taken() {
    let cluster = cluster();
    cluster.create("pods", "lab", pod("a", ""), &writer()).unwrap();
    let again = |image: &str| {
        let mut object = pod("a", "");
        object["spec"]["containers"][0]["image"] = image.into();
        cluster.create("pods", "lab", object, &writer()).unwrap_err().code
    };
    assert_eq!((again("i"), again("")), (409, 422));
}
