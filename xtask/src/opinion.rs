//! A second opinion: the decision that the autoscaler's own code makes on what the API shows of a live workload.
//!
//! It sees what the controller sees but for the controller's memory (earlier recommendations and scalings), which no API
//! tells. It keeps a memory of its own, so an opinion that is asked again and again becomes exact.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use autoscaler::config::Config;
use autoscaler::explain::Explanation;
use autoscaler::history::History;
use autoscaler::json::{self, rfc3339};
use autoscaler::pass::{self, Hpa, Observation, Scale};
use autoscaler::pod::{Amount, Container, InitContainer, Phase, Pod, Readiness, Resources};
use autoscaler::quantity::Quantity;
use autoscaler::registry::Registry;
use autoscaler::sample::{Answer, ContainerUsage, PodMetrics};
use autoscaler::status::ConditionStatus;
use autoscaler::time::Time;
use kube::Client;
use serde_json::Value;

use crate::workload::Workload;

pub(crate) struct Opinion {
    client: Client,
    workload: Workload,
    selector: String,
    config: Config,
    history: History,
}

impl Opinion {
    pub(crate) fn new(client: Client, workload: Workload, selector: String, config: Config) -> Opinion {
        Opinion { client, workload, selector, config, history: History::default() }
    }

    /// Reads the cluster once and decides. Nothing is written.
    pub(crate) async fn form(&mut self) -> Result<Explanation> {
        let namespace = self.workload.namespace.clone();
        let hpa_path =
            format!("/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers/{}", self.workload.hpa);
        let scale_path = format!("/apis/apps/v1/namespaces/{namespace}/deployments/{}/scale", self.workload.deployment);
        let mut hpa = self.get(&hpa_path).await?;
        let scale = self.get(&scale_path).await?;
        let pods = self.get(&format!("/api/v1/namespaces/{namespace}/pods")).await?;
        let metrics = self.get(&format!("/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods")).await;
        let unreadable = |error: json::DecodeError| anyhow!("{}", error.0).context("the HorizontalPodAutoscaler");
        let spec = json::default_object(&mut hpa).map_err(unreadable)?;
        let status = json::status_from_json(&hpa).map_err(unreadable)?;
        let pods: Vec<Pod> = items(&pods).map(pod).collect();
        let selected = |item: &&Value| pods.iter().any(|pod| *pod.name == *text(item, "/metadata/name"));
        let (samples, refused) = match &metrics {
            Ok(list) => (items(list).filter(selected).map(pod_metrics).collect(), None),
            Err(error) => (Vec::new(), Some(format!("unable to fetch metrics from resource metrics API: {error:#}"))),
        };
        let answer = refused.as_deref().map_or(Ok(samples.as_slice()), Err);
        let answers: Vec<Option<Answer<'_>>> = spec.metrics.iter().map(|_| Some(Answer::PodMetrics(answer))).collect();
        let mut registry = Registry::default();
        registry.enqueue(&namespace, &self.workload.hpa);
        let observation = Observation {
            now: now(),
            scale: Ok(Scale {
                spec_replicas: int(&scale, "/spec/replicas"),
                status_replicas: int(&scale, "/status/replicas"),
                selector: self.selector.clone(),
            }),
            pods: Ok(&pods),
            answers: &answers,
            registry: &registry,
        };
        let seen = Hpa { namespace: &namespace, name: &self.workload.hpa, spec: &spec, status: &status };
        let decided = pass::decide(&seen, &self.history, &observation, &self.config);
        let outcome = decided.conclude(Ok(())).finish(Ok(()));
        self.history = outcome.history;
        Ok(outcome.explanation)
    }

    async fn get(&self, path: &str) -> Result<Value> {
        let request = http::Request::get(path).body(Vec::new())?;
        self.client.request(request).await.with_context(|| format!("GET {path}"))
    }
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list["items"].as_array().into_iter().flatten()
}

fn pod(value: &Value) -> Pod {
    let containers = |pointer: &str| value.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
    let conditions = value.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let ready = conditions.into_iter().find(|condition| condition["type"] == "Ready").map(|condition| Readiness {
        status: ConditionStatus::parse(text(condition, "/status")),
        last_transition_time: rfc3339::parse(text(condition, "/lastTransitionTime")).unwrap_or_default(),
    });
    let init = |it: &Value| InitContainer { container: container(it), restartable: it["restartPolicy"] == "Always" };
    let labels = value.pointer("/metadata/labels").and_then(Value::as_object).into_iter().flatten();
    Pod {
        name: Arc::from(text(value, "/metadata/name")),
        labels: labels.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect(),
        phase: Phase::parse(text(value, "/status/phase")),
        deleting: value.pointer("/metadata/deletionTimestamp").is_some(),
        start_time: rfc3339::parse(text(value, "/status/startTime")),
        ready,
        containers: containers("/spec/containers").map(container).collect(),
        init_containers: containers("/spec/initContainers").map(init).collect(),
        pod_level_requests: resources(value.pointer("/spec/resources/requests")),
        overhead: resources(value.pointer("/spec/overhead")),
    }
}

fn container(value: &Value) -> Container {
    Container { name: text(value, "/name").to_owned(), requests: resources(value.pointer("/resources/requests")) }
}

fn pod_metrics(value: &Value) -> PodMetrics {
    let containers = value["containers"].as_array().into_iter().flatten();
    let usage = |it: &Value| ContainerUsage { name: text(it, "/name").to_owned(), usage: resources(it.get("usage")) };
    let window: jiff::SignedDuration = text(value, "/window").parse().unwrap_or_default();
    PodMetrics {
        pod: Arc::from(text(value, "/metadata/name")),
        at: rfc3339::parse(text(value, "/timestamp")).unwrap_or_default(),
        window_ns: i64::try_from(window.as_nanos()).unwrap_or(i64::MAX),
        containers: containers.map(usage).collect(),
    }
}

fn resources(amounts: Option<&Value>) -> Resources {
    let mut resources = Resources::default();
    for (name, amount) in amounts.and_then(Value::as_object).into_iter().flatten() {
        let written = amount.as_str().map_or_else(|| amount.to_string(), str::to_owned);
        if let Ok(quantity) = Quantity::parse(&written) {
            resources.set(name, Amount::from_quantity(&quantity));
        }
    }
    resources
}

fn now() -> Time {
    Time(i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX))
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn int(value: &Value, pointer: &str) -> i32 {
    value.pointer(pointer).and_then(Value::as_i64).and_then(|n| i32::try_from(n).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_of_the_api_is_a_pod_of_the_decision() {
        let seen = pod(&json!({
            "metadata": {"name": "web-1", "labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "100m"}}}]},
            "status": {"phase": "Running", "startTime": "2026-05-04T10:20:30Z", "conditions":
                [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-05-04T10:20:33Z"}]}}));
        assert!(seen.is_ready());
        assert_eq!(seen.containers[0].requests.get("cpu"), Some(Amount::from_milli(100)));
        assert_eq!(seen.ready.unwrap().last_transition_time.minus_s(3), seen.start_time.unwrap());
    }

    #[test]
    fn usage_keeps_its_window_and_its_nanocores() {
        let seen = pod_metrics(&json!({"metadata": {"name": "web-1"}, "timestamp": "2026-05-04T10:20:30Z",
            "window": "15.041s", "containers": [{"name": "c", "usage": {"cpu": "123456789n"}}]}));
        assert_eq!(seen.window_ns, 15_041_000_000);
        assert_eq!(seen.containers[0].usage.get("cpu"), Some(Amount::from_nano(123_456_789)));
    }
}
