//! `nanokube hpa` scales another cluster over its API alone: here a nanokube that was started `--without hpa`.

// Helpers outside of `#[test]` functions fail a test by panicking too.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use nanokube::client::Client;
use nanokube::controllers::hpa::lease::{Election, Times};
use serde_json::{Value, json};

mod process;

use process::{nanokube, start};

/// Reached only when something is broken.
const PATIENCE: Duration = Duration::from_secs(60);
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/horizontal-pod-autoscaler";
const HPAS: &str = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";

async fn until(client: &Client, path: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = client.get(path).await.unwrap().json();
        if wanted(&found) {
            return found;
        }
        assert!(Instant::now() < deadline, "gave up waiting until {what}: {found:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn condition(hpa: &Value, kind: &str) -> Value {
    let conditions = hpa["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().find(|it| it["type"] == kind).cloned().unwrap_or_default()
}

fn autoscaler(name: &str, target: &str, metric: Value) -> Value {
    let target = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": target });
    let spec = json!({ "scaleTargetRef": target, "minReplicas": 3, "maxReplicas": 5, "metrics": [metric] });
    json!({ "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": { "name": name }, "spec": spec })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_cluster_without_an_autoscaler_is_scaled_by_one_from_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let _daemon = start(dir.path(), &["--without", "hpa"]);
    let kubeconfig = dir.path().join("kubeconfig");
    let client = Client::from_kubeconfig(&kubeconfig).unwrap();
    let template = json!({
        "metadata": { "labels": { "app": "web" } },
        "spec": { "containers": [{ "name": "c", "image": "none:1", "imagePullPolicy": "Never" }] },
    });
    let spec = json!({ "replicas": 1, "selector": { "matchLabels": { "app": "web" } }, "template": template });
    let web = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" }, "spec": spec });
    assert_eq!(client.write("POST", DEPLOYMENTS, &web).await.unwrap().status, 201);
    let target = json!({ "type": "AverageValue", "averageValue": "1" });
    let external = json!({ "type": "External", "external": { "metric": { "name": "queue" }, "target": target } });
    let cpu = json!({ "type": "Utilization", "averageUtilization": 50 });
    let cpu = json!({ "type": "Resource", "resource": { "name": "cpu", "target": cpu } });
    assert_eq!(client.write("POST", HPAS, &autoscaler("web", "web", external)).await.unwrap().status, 201);

    let period = ["--horizontal-pod-autoscaler-sync-period", "200ms"];
    let acting = nanokube(dir.path(), &["hpa", "--kubeconfig", kubeconfig.to_str().unwrap(), period[0], period[1]]);
    until(&client, &format!("{DEPLOYMENTS}/web"), "web has 3 replicas", |it| it["spec"]["replicas"] == 3).await;
    let path = format!("{HPAS}/web");
    let unregistered = |it: &Value| condition(it, "ScalingActive")["reason"] == "FailedGetExternalMetric";
    let found = until(&client, &path, "the metric is missed", unregistered).await;
    let message = condition(&found, "ScalingActive")["message"].as_str().unwrap().to_owned();
    let words = "the server could not find the requested resource (get queue.external.metrics.k8s.io)";
    assert!(message.ends_with(words), "{message}");

    // One that comes later is seen; pods without samples are no reason to do anything.
    assert_eq!(client.write("POST", HPAS, &autoscaler("late", "gone", cpu)).await.unwrap().status, 201);
    let found =
        until(&client, &format!("{HPAS}/late"), "late has had a pass", |it| it["status"]["conditions"].is_array())
            .await;
    let words = "the HPA controller was unable to get the target's current scale: deployments.apps \"gone\" not found";
    assert_eq!(condition(&found, "AbleToScale")["message"], words);
    let counted =
        |it: &Value| it["items"].as_array().is_some_and(|items| items.iter().any(|it| it["count"].as_i64() > Some(1)));
    let events = until(&client, "/api/v1/namespaces/default/events", "an event is told again", counted).await;
    let reasons: Vec<&Value> = events["items"].as_array().unwrap().iter().map(|it| &it["reason"]).collect();
    assert!(reasons.iter().any(|it| *it == "SuccessfulRescale"), "{reasons:?}");

    // It leads, and when it is ended another may do so at once.
    let holder = |it: &Value| it["spec"]["holderIdentity"].as_str().map(str::to_owned);
    until(&client, LEASE, "it holds the lease", |it| holder(it).is_some_and(|holder| !holder.is_empty())).await;
    drop(acting);
    until(&client, LEASE, "the lease is free", |it| holder(it).is_some_and(|holder| holder.is_empty())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn one_autoscaler_acts_at_a_time_and_another_takes_over_when_it_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let _daemon = start(dir.path(), &["--without", "hpa"]);
    let client = Client::from_kubeconfig(&dir.path().join("kubeconfig")).unwrap();
    let lease = Duration::from_secs(1);
    let times = Times { lease, renew: Duration::from_secs(30), retry: Duration::from_millis(50) };
    let mut first = Election::new(client.clone(), times);
    first.acquire().await;
    let held = client.get(LEASE).await.unwrap().json()["spec"].clone();

    // The first renews no more: the second waits for the whole lease, and no longer than need be.
    let mut second = Election::new(client.clone(), times);
    let began = Instant::now();
    tokio::time::timeout(PATIENCE, second.acquire()).await.unwrap();
    assert!(began.elapsed() >= lease);
    let taken = client.get(LEASE).await.unwrap().json()["spec"].clone();
    assert_ne!(taken["holderIdentity"], held["holderIdentity"]);
    assert_eq!((&held["leaseTransitions"], &taken["leaseTransitions"]), (&json!(0), &json!(1)));
    tokio::time::timeout(PATIENCE, first.hold()).await.expect("the first learns that it has lost the lease");

    // What is given back is there for the next one.
    second.release().await.unwrap();
    tokio::time::timeout(PATIENCE, first.acquire()).await.unwrap();
    assert_eq!(client.get(LEASE).await.unwrap().json()["spec"]["leaseTransitions"], 2);
}
