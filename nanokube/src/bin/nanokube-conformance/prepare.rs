//! The state that the recordings start from: the namespace `lab` and the objects that cases refer to.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use nanokube::client::Client;

pub(crate) const NAMESPACE: &str = "lab";
/// What the cases and their preparation make outside the namespace, and the namespace.
const MADE: [&str; 5] = [
    "/api/v1/namespaces/lab",
    "/api/v1/namespaces/pbns",
    "/api/v1/namespaces/kns",
    "/api/v1/namespaces/nsdel",
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.lab.example.com",
];

/// Removes what an earlier run left and makes the objects anew.
pub(crate) async fn run(client: &Client) -> anyhow::Result<()> {
    clean(client).await;
    for (path, object) in objects() {
        let answer = client.write("POST", path, &object).await?;
        anyhow::ensure!(matches!(answer.status, 201 | 409), "POST {path}: {} {}", answer.status, answer.json());
    }
    Ok(())
}

/// Takes everything away again; waits until the namespace is gone.
pub(crate) async fn clean(client: &Client) {
    // Programs that ignore SIGTERM would hold up the end of the namespace for half a minute.
    let now = json!({ "gracePeriodSeconds": 0 });
    let _ = client.write("DELETE", "/api/v1/namespaces/lab/pods", &now).await;
    for path in MADE {
        // Nothing to remove is the usual case.
        let _ = client.write("DELETE", path, &json!({})).await;
    }
    for path in MADE {
        for _ in 0..600 {
            match client.get(path).await {
                Ok(answer) if answer.status == 404 => break,
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }
}

/// Waits until the usage of the Deployment's pods was measured, which takes a round of the metrics server.
pub(crate) async fn until_measured(client: &Client) {
    let path = format!("/apis/metrics.k8s.io/v1beta1/namespaces/{NAMESPACE}/pods?labelSelector=app%3Dweb");
    for _ in 0..600 {
        let measured = client.get(&path).await.is_ok_and(|answer| answer.json()["items"][0].is_object());
        if measured {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!("no usage measured within a minute: is {} loaded?", super::image::TAG);
}

/// What the recording of a namespace's end had put there: an object that stays until the namespace is finalized by hand.
async fn block(client: &Client) -> anyhow::Result<()> {
    let blocker = json!({ "metadata": { "name": "x", "finalizers": ["a.b/c"] } });
    client.write("POST", "/api/v1/namespaces/nsdel/configmaps", &blocker).await?;
    Ok(())
}

/// The recording deletes the Deployment g1 again and again, and names pods of it and of web: makes it anew where it is missing and
/// notes how the pods are called here.
pub(crate) async fn renew(
    client: &Client,
    exchange: &Value,
    names: &mut BTreeMap<String, String>,
) -> anyhow::Result<()> {
    let path = exchange["path"].as_str().unwrap_or_default();
    if exchange["method"] == "DELETE" && path.ends_with("/nsdel") {
        return block(client).await;
    }
    let recorded = path.split(['/', '?']).find(|part| part.starts_with("g1-") || part.starts_with("web-"));
    if !path.contains("/g1") && recorded.is_none() {
        return Ok(());
    }
    let deployments = "/apis/apps/v1/namespaces/lab/deployments";
    if path.contains("/deployments/g1") || path.contains("/pods/g1") {
        // As in the recording, it has its pod by the time that a case begins. A pod that no node takes is as good.
        for _ in 0..200 {
            let found = client.get(&format!("{deployments}/g1")).await?;
            let deployment = found.json();
            if found.status == 404 {
                client.write("POST", deployments, &g1()).await?;
            } else if deployment["metadata"].get("deletionTimestamp").is_none() && deployment["status"]["replicas"] == 1
            {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let Some(recorded) = recorded else { return Ok(()) };
    let app = recorded.split('-').next().unwrap_or_default();
    let resource = if path.contains("/pods/") {
        "/api/v1/namespaces/lab/pods"
    } else {
        "/apis/apps/v1/namespaces/lab/replicasets"
    };
    for attempt in 0..100 {
        let list = client.get(&format!("{resource}?labelSelector=app%3D{app}")).await?.json();
        // Without a scheduler or a node a pod is as good that waits for one, after a while.
        let placed = |item: &Value| resource.ends_with("replicasets") || item["spec"]["nodeName"].is_string();
        let living =
            |item: &&Value| item["metadata"].get("deletionTimestamp").is_none() && (attempt >= 50 || placed(item));
        let found = list["items"].as_array().into_iter().flatten().find(living);
        if let Some(name) = found.and_then(|item| item["metadata"]["name"].as_str()) {
            names.insert(recorded.to_string(), name.to_string());
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

fn g1() -> Value {
    let script = "trap 'exit 0' TERM; while true; do sleep 0.2; done";
    let container = json!({ "name": "c", "image": "localhost/bb:1", "command": ["sh", "-c", script] });
    json!({
        "metadata": { "name": "g1" },
        "spec": {
            "replicas": 1,
            "selector": { "matchLabels": { "app": "g1" } },
            "template": {
                "metadata": { "labels": { "app": "g1" } },
                "spec": { "containers": [container], "terminationGracePeriodSeconds": 2 },
            },
        },
    })
}

fn objects() -> Vec<(&'static str, Value)> {
    let template = json!({
        "metadata": { "labels": { "app": "web" } },
        "spec": { "containers": [{ "name": "app", "image": "localhost/bb:1", "command": ["sleep", "10000"] }] },
    });
    let columns = json!([{ "jsonPath": ".spec.replicas", "name": "Replicas", "type": "integer" }]);
    let integer = json!({ "type": "object", "properties": { "replicas": { "type": "integer" } } });
    let status = json!({
        "type": "object",
        "properties": { "replicas": { "type": "integer" }, "selector": { "type": "string" } },
    });
    let names = json!({ "kind": "Widget", "plural": "widgets", "singular": "widget", "shortNames": ["wd"] });
    let definition = json!({
        "metadata": { "name": "widgets.lab.example.com" },
        "spec": {
            "group": "lab.example.com",
            "scope": "Namespaced",
            "names": names,
            "versions": [{
                "name": "v1",
                "served": true,
                "storage": true,
                "additionalPrinterColumns": columns,
                "schema": { "openAPIV3Schema": { "type": "object", "properties": { "spec": integer, "status": status } } },
                "subresources": {
                    "status": {},
                    "scale": {
                        "specReplicasPath": ".spec.replicas",
                        "statusReplicasPath": ".status.replicas",
                        "labelSelectorPath": ".status.selector",
                    },
                },
            }],
        },
    });
    let hpa = json!({
        "metadata": { "name": "web" },
        "spec": {
            "maxReplicas": 5,
            "minReplicas": 2,
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" },
            "metrics": [{
                "type": "Resource",
                "resource": { "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 50 } },
            }],
        },
    });
    vec![
        ("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition),
        ("/api/v1/namespaces", json!({ "metadata": { "name": NAMESPACE } })),
        (
            "/api/v1/namespaces/lab/configmaps",
            json!({
                "metadata": { "name": "cm1", "labels": { "app": "web" } },
                "data": { "k1": "v1", "k2": "line1\nline2" },
            }),
        ),
        ("/api/v1/namespaces/lab/serviceaccounts", json!({ "metadata": { "name": "sa1" } })),
        (
            "/apis/apps/v1/namespaces/lab/deployments",
            json!({
                "metadata": { "name": "web", "labels": { "app": "web" } },
                "spec": { "replicas": 2, "selector": { "matchLabels": { "app": "web" } }, "template": template },
            }),
        ),
        ("/apis/autoscaling/v2/namespaces/lab/horizontalpodautoscalers", hpa),
    ]
}
