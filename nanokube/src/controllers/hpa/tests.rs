//! The controller over a cluster in memory, in virtual time: a Deployment whose pods share a load.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::local::{LocalWorld, Sources};
use super::pass::Hpas;
use super::*;
use crate::controllers::deployment::DEPLOYMENTS;
use crate::controllers::lab::{Lab, deployment};
use crate::controllers::pod::{self, PODS};
use crate::metrics::Metrics;
use crate::object;

mod aggregated;
mod golden;
mod metrics_server;
mod recorded;
mod rules;

/// A lab with an HPA controller and a load in thousandths of a core, shared by the ready pods.
struct Scaling {
    lab: Lab,
    hpas: Hpas<LocalWorld>,
    load_milli: Arc<Mutex<Option<i64>>>,
    /// What asks the aggregated servers.
    _runtime: tokio::runtime::Runtime,
}

impl Scaling {
    fn new() -> Scaling {
        let mut lab = Lab::new();
        let mut web = deployment(1);
        object::set(
            &mut web,
            &["spec", "template", "spec", "containers"],
            json!([
                { "name": "c", "image": "i", "resources": { "requests": { "cpu": "200m" } } },
            ]),
        );
        web["spec"].as_object_mut().unwrap().remove("replicas");
        web["spec"]["replicas"] = json!(1);
        lab.create(DEPLOYMENTS, web);
        lab.run(60, |_| {});
        let load_milli: Arc<Mutex<Option<i64>>> = Arc::default();
        let (cluster, load) = (lab.cluster.clone(), load_milli.clone());
        let pod_metrics = move |namespace: &str, selector: &crate::selector::LabelSelector| {
            let Some(load) = *load.lock().unwrap() else { return Ok(Vec::new()) };
            let pods = cluster.list(PODS, Some(namespace)).items;
            let live: Vec<_> = pods
                .iter()
                .filter(|it| selector.matches_object(it) && pod::is_active(it) && pod::is_ready(it))
                .collect();
            let share = load / i64::try_from(live.len().max(1)).unwrap();
            let item = |pod: &&crate::object::Object| {
                json!({
                    "metadata": { "name": object::name(pod), "namespace": namespace },
                    "timestamp": object::time(cluster.now()),
                    "window": "15.02s",
                    "containers": [{ "name": "c", "usage": { "cpu": format!("{share}m"), "memory": "1Mi" } }],
                })
            };
            Ok(live.iter().map(item).collect())
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let entered = runtime.enter();
        let of_node = Sources::of_node(lab.cluster.clone(), Metrics::new(std::time::Duration::from_secs(15)));
        drop(entered);
        let sources = Sources { pod_metrics: Box::new(pod_metrics), ..of_node };
        let hpas = Hpas::new(LocalWorld::new(lab.cluster.clone(), sources), &Flags::default());
        Scaling { lab, hpas, load_milli, _runtime: runtime }
    }

    fn with(spec: Value) -> Scaling {
        let mut scaling = Scaling::new();
        scaling.create("web", spec);
        scaling
    }

    fn create(&mut self, name: &str, changes: Value) {
        let target = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" });
        let half = json!({ "type": "Utilization", "averageUtilization": 50 });
        let cpu = json!({ "type": "Resource", "resource": { "name": "cpu", "target": half } });
        let mut spec = json!({ "scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 10, "metrics": [cpu] });
        for (field, value) in changes.as_object().unwrap() {
            spec[field] = value.clone();
        }
        self.lab.create(HPAS, json!({ "metadata": { "name": name }, "spec": spec }));
        self.hpas.round();
    }

    fn load(&self, milli: i64) {
        *self.load_milli.lock().unwrap() = Some(milli);
    }

    fn run(&mut self, seconds: u32) {
        for _ in 0..seconds {
            self.lab.run(1, |_| {});
            self.hpas.round();
        }
    }

    fn replicas(&self) -> i64 {
        object::i64_at(&self.lab.get(DEPLOYMENTS, "web"), "/spec/replicas").unwrap()
    }

    fn condition(&self, kind: &str) -> String {
        let hpa = self.lab.get(HPAS, "web");
        let Some(found) = object::condition(&hpa, kind) else { return String::new() };
        let text = |pointer: &str| object::str_at(found, pointer).to_owned();
        format!("{} {} {}", text("/status"), text("/reason"), text("/message"))
    }

    fn events(&self) -> Vec<String> {
        self.lab.events("HorizontalPodAutoscaler")
    }
}

#[test]
fn the_first_decision_comes_a_period_after_creation_and_edits_bring_none_forward() {
    let mut scaling = Scaling::with(json!({}));
    scaling.load(500);
    scaling.run(10);
    scaling.lab.patch(HPAS, "web", json!({ "spec": { "maxReplicas": 9 } }));
    scaling.run(4);
    assert!(scaling.lab.get(HPAS, "web").pointer("/status/conditions").is_none());
    assert_eq!(scaling.replicas(), 1);
    scaling.run(1);
    // 250 % of the target 50 % asks for 5; without behavior a single step goes to 4 at most.
    assert_eq!(scaling.replicas(), 4);
    let limited = "True ScaleUpLimit the desired replica count is increasing faster than the maximum scale rate";
    assert_eq!(scaling.condition("ScalingLimited"), limited);
    let rescaled =
        "SuccessfulRescale New size: 4; reason: cpu resource utilization (percentage of request) above target";
    assert_eq!(scaling.events(), [rescaled]);
    let status = &scaling.lab.get(HPAS, "web")["status"];
    assert_eq!((&status["currentReplicas"], &status["desiredReplicas"]), (&json!(1), &json!(4)));
    assert_eq!(
        status["currentMetrics"][0]["resource"]["current"],
        json!({ "averageUtilization": 250, "averageValue": "500m" })
    );
}

#[test]
fn load_scales_up_and_five_quiet_minutes_scale_down_in_one_step() {
    let mut scaling = Scaling::with(json!({}));
    scaling.load(730);
    scaling.run(90);
    assert_eq!(scaling.replicas(), 8);
    assert!(scaling.condition("ScalingLimited").starts_with("False DesiredWithinRange"));
    scaling.load(8);
    scaling.run(290);
    assert_eq!(scaling.replicas(), 8);
    assert!(
        scaling.condition("AbleToScale").starts_with("True ScaleDownStabilized recent recommendations were higher")
    );
    scaling.run(30);
    assert_eq!(scaling.replicas(), 1);
    assert_eq!(scaling.events().last().unwrap(), "SuccessfulRescale New size: 1; reason: All metrics below target");
}

#[test]
fn a_status_that_says_nothing_new_is_not_written() {
    let mut scaling = Scaling::with(json!({}));
    scaling.load(100);
    scaling.run(40);
    let before = scaling.lab.get(HPAS, "web");
    scaling.run(60);
    assert_eq!(scaling.lab.get(HPAS, "web")["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"]);
}

#[test]
fn without_samples_the_reasons_are_upstreams() {
    let mut scaling = Scaling::with(json!({}));
    scaling.run(31);
    let unable = "unable to get metrics for resource cpu: no metrics returned from resource metrics API";
    assert_eq!(
        scaling.condition("ScalingActive"),
        format!(
            "False FailedGetResourceMetric the HPA was unable to compute the replica count: \
             failed to get cpu utilization: {unable}"
        )
    );
    assert_eq!(
        scaling.events(),
        [
            format!("FailedGetResourceMetric failed to get cpu utilization: {unable}"),
            format!(
                "FailedComputeMetricsReplicas invalid metrics (1 invalid out of 1), first error is: \
                 failed to get cpu resource metric value: failed to get cpu utilization: {unable}"
            ),
        ]
        .map(String::from)
    );
    let hpa = scaling.lab.get(HPAS, "web");
    assert_eq!(hpa["status"]["currentMetrics"], json!([{ "type": "" }]));
    assert_eq!(
        scaling
            .lab
            .list("events")
            .iter()
            .filter(|it| it["involvedObject"]["name"] == "web" && it["count"] == 2)
            .count(),
        2
    );
}

#[test]
fn targets_that_are_not_there_or_cannot_be_scaled_are_named() {
    let cases = [
        ("apps/v1", "Deployment", "no", "deployments.apps \"no\" not found"),
        ("example.com/v1", "Widget", "w", "no matches for kind \"Widget\" in group \"example.com\""),
        ("policy/v1", "PodDisruptionBudget", "b", "the server could not find the requested resource"),
    ];
    for (api_version, kind, name, error) in cases {
        let target = json!({ "apiVersion": api_version, "kind": kind, "name": name });
        let mut scaling = Scaling::with(json!({ "scaleTargetRef": target }));
        scaling.run(16);
        let message =
            format!("False FailedGetScale the HPA controller was unable to get the target's current scale: {error}");
        assert_eq!(scaling.condition("AbleToScale"), message);
        assert_eq!(scaling.events(), [format!("FailedGetScale {error}")]);
    }
}

#[test]
fn metrics_of_an_api_that_is_not_registered_say_so() {
    let target = json!({ "type": "AverageValue", "averageValue": "1" });
    let pods = json!([{ "type": "Pods", "pods": { "metric": { "name": "rps" }, "target": target } }]);
    let mut scaling = Scaling::with(json!({ "metrics": pods }));
    scaling.run(16);
    assert_eq!(
        scaling.events()[0],
        "FailedGetPodsMetric unable to get metric rps: unable to fetch metrics from custom metrics API: \
         no custom metrics API (custom.metrics.k8s.io) registered"
    );
}

#[test]
fn two_autoscalers_over_the_same_pods_stop_each_other() {
    let mut scaling = Scaling::with(json!({}));
    scaling.create("other", json!({}));
    scaling.load(800);
    scaling.run(50);
    let message = scaling.condition("ScalingActive");
    assert!(
        message.starts_with("False AmbiguousSelector pods by selector app=web are controlled by multiple HPAs: ["),
        "{message}"
    );
    assert_eq!(scaling.replicas(), 4);
    scaling.lab.delete(HPAS, "default", "other", Default::default());
    scaling.run(31);
    assert!(scaling.condition("ScalingActive").starts_with("True ValidMetricFound"));
}

#[test]
fn a_size_out_of_bounds_is_brought_back_without_a_look_at_metrics() {
    let mut scaling = Scaling::with(json!({ "minReplicas": 3, "maxReplicas": 5 }));
    scaling.run(16);
    assert_eq!(scaling.replicas(), 3);
    assert_eq!(
        scaling.events()[0],
        "SuccessfulRescale New size: 3; reason: Current number of replicas below Spec.MinReplicas"
    );
}

#[test]
fn a_deleted_autoscaler_forgets_what_it_knew() {
    let mut scaling = Scaling::with(json!({}));
    scaling.load(800);
    scaling.run(60);
    assert_eq!(scaling.replicas(), 8);
    scaling.lab.delete(HPAS, "default", "web", Default::default());
    scaling.run(40);
    scaling.load(100);
    scaling.create("web", json!({}));
    scaling.run(100);
    // A new one seeds its memory with the present size and holds it for the whole window.
    assert_eq!(scaling.replicas(), 8);
    scaling.run(240);
    assert_eq!(scaling.replicas(), 1);
}
