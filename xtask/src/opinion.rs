//! A second opinion: the decision that the autoscaler's own code makes on what the API shows of a live workload.
//!
//! It sees what the controller sees but for the controller's memory (earlier recommendations and scalings), which no API
//! tells. It keeps a memory of its own, so an opinion that is asked again and again becomes exact. What the cluster did
//! is explained from what the API showed just before.

mod custom;

use anyhow::{Context, Result, anyhow};
use autoscaler::config::Config;
use autoscaler::explain::Explanation;
use autoscaler::history::History;
use autoscaler::json::metrics_api::Fetched;
use autoscaler::json::{self, observed};
use autoscaler::pass::{self, Hpa, Observation, Scale};
use autoscaler::pod::Pod;
use autoscaler::registry::Registry;
use autoscaler::sample::{Answer, PodMetrics};
use autoscaler::time::Time;
use kube::Client;
use serde_json::Value;

use crate::workload::Workload;

/// From exact to one sync period of a cluster at its defaults.
const WINDOWS_END_SOONER_S: [i32; 5] = [0, 1, 2, 5, 15];

pub(crate) struct Opinion {
    workload: Workload,
    selector: String,
    config: Config,
    history: History,
}

/// What the API showed at one moment of all that a decision looks at.
pub(crate) struct Reading {
    at: Time,
    hpa: Value,
    scale: Value,
    pods: Vec<Pod>,
    samples: Samples,
}

struct Samples {
    /// Or why there are none.
    resource: Result<Vec<PodMetrics>, String>,
    /// In the order of the specification; none for a metric that `resource` answers.
    custom: Vec<Option<Fetched>>,
}

impl Reading {
    pub(crate) async fn take(client: &Client, workload: &Workload) -> Result<Reading> {
        let namespace = &workload.namespace;
        let hpa = format!("/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers/{}", workload.hpa);
        let scale = format!("/apis/apps/v1/namespaces/{namespace}/deployments/{}/scale", workload.deployment);
        let pods = format!("/api/v1/namespaces/{namespace}/pods");
        let metrics = format!("/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods");
        let (hpa, scale, pods, metrics) =
            tokio::join!(get(client, &hpa), get(client, &scale), get(client, &pods), get(client, &metrics));
        let metrics = metrics.map_err(|error| format!("unable to fetch metrics from resource metrics API: {error:#}"));
        let mut reading = Reading::of(now(), hpa?, scale?, &pods?, metrics.as_ref().map_err(Clone::clone));
        reading.samples.custom = custom::fetch_all(client, namespace, &reading.hpa, &reading.scale).await;
        Ok(reading)
    }

    fn of(at: Time, hpa: Value, scale: Value, pods: &Value, metrics: Result<&Value, String>) -> Reading {
        let pods: Vec<Pod> = items(pods).map(observed::pod).collect();
        let selected = |item: &&Value| pods.iter().any(|pod| *pod.name == *text(item, "/metadata/name"));
        let resource = metrics.map(|list| items(list).filter(selected).map(observed::pod_metrics).collect());
        let samples = Samples { resource, custom: Vec::new() };
        Reading { at, hpa, scale, pods, samples }
    }

    /// What the target is asked for.
    pub(crate) fn replicas(&self) -> i32 {
        int(&self.scale, "/spec/replicas")
    }

    /// The controller has written since: its status, or somebody the specification.
    pub(crate) fn differs_from(&self, earlier: &Reading) -> bool {
        let version = |it: &Reading| text(&it.hpa, "/metadata/resourceVersion").to_owned();
        version(self) != version(earlier)
    }

    /// The moment before the controller acted: the pods and the count of `self`, measured by the samples of `later`.
    fn measured_by<'r>(&'r self, later: &'r Reading) -> Moment<'r> {
        Moment { at: later.at, hpa: &self.hpa, scale: &self.scale, pods: &self.pods, samples: &later.samples }
    }
}

/// What one decision is made of; parts may come from different readings.
struct Moment<'r> {
    at: Time,
    hpa: &'r Value,
    scale: &'r Value,
    pods: &'r [Pod],
    samples: &'r Samples,
}

impl Opinion {
    pub(crate) fn new(workload: Workload, selector: String, config: Config) -> Opinion {
        Opinion { workload, selector, config, history: History::default() }
    }

    /// What would be decided now.
    pub(crate) fn form(&self, reading: &Reading) -> Result<Explanation> {
        Ok(self.decide(&reading.measured_by(reading))?.0)
    }

    /// Takes it that the cluster decided at this reading too, and changed nothing.
    pub(crate) fn remember(&mut self, reading: &Reading) -> Result<()> {
        self.history = self.decide(&reading.measured_by(reading))?.1;
        Ok(())
    }

    /// Why the cluster changed the count between two readings; nothing if no reason in them leads to that count. The
    /// controller measured somewhere between the two, so the samples of both are tried; and what it remembers it heard
    /// somewhat earlier than this memory did, so windows may end a little sooner.
    pub(crate) fn attribute(&mut self, before: &Reading, after: &Reading) -> Result<Option<Explanation>> {
        for sooner_s in WINDOWS_END_SOONER_S {
            for mut moment in [before.measured_by(after), before.measured_by(before)] {
                moment.at = moment.at.minus_s(-sooner_s);
                let (explanation, history) = self.decide(&moment)?;
                if explanation.applied == after.replicas() {
                    self.history = history;
                    return Ok(Some(explanation));
                }
            }
        }
        Ok(None)
    }

    fn decide(&self, moment: &Moment<'_>) -> Result<(Explanation, History)> {
        let unreadable = |error: json::DecodeError| anyhow!("{}", error.0).context("the HorizontalPodAutoscaler");
        let mut hpa = moment.hpa.clone();
        let spec = json::default_object(&mut hpa).map_err(unreadable)?;
        let status = json::status_from_json(&hpa).map_err(unreadable)?;
        let resource = moment.samples.resource.as_deref().map_err(String::as_str);
        let custom = |at: usize| moment.samples.custom.get(at)?.as_ref();
        let answer = |at| Some(custom(at).map_or(Answer::PodMetrics(resource), Fetched::answer));
        let answers: Vec<Option<Answer<'_>>> = (0..spec.metrics.len()).map(answer).collect();
        let mut registry = Registry::default();
        registry.enqueue(&self.workload.namespace, &self.workload.hpa);
        let observation = Observation {
            now: moment.at,
            scale: Ok(Scale {
                spec_replicas: int(moment.scale, "/spec/replicas"),
                status_replicas: int(moment.scale, "/status/replicas"),
                selector: self.selector.clone(),
            }),
            pods: Ok(moment.pods),
            answers: &answers,
            registry: &registry,
        };
        let seen = Hpa { namespace: &self.workload.namespace, name: &self.workload.hpa, spec: &spec, status: &status };
        let outcome = pass::decide(&seen, &self.history, &observation, &self.config).conclude(Ok(())).finish(Ok(()));
        Ok((outcome.explanation, outcome.history))
    }
}

async fn get(client: &Client, path: &str) -> Result<Value> {
    let request = http::Request::get(path).body(Vec::new())?;
    client.request(request).await.with_context(|| format!("GET {path}"))
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list["items"].as_array().into_iter().flatten()
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

    /// One moment of a workload with a target of 50 % and 100m requested: pods that use so much, and one more that is not
    /// ready yet for each that uses nothing.
    fn reading(at_s: i64, replicas: i32, usage_milli: &[i64]) -> Reading {
        let at = |s: i64| jiff::Timestamp::from_second(1_800_000_000 + s).unwrap().to_string();
        let pod = |i: usize, usage: i64| {
            let ready = if usage > 0 { "True" } else { "False" };
            json!({"metadata": {"name": format!("web-{i}"), "labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "resources":
                {"requests": {"cpu": "100m"}}}]}, "status": {"phase": "Running", "startTime": at(-900), "conditions":
                [{"type": "Ready", "status": ready, "lastTransitionTime": at(-900)}]}})
        };
        let sample = |i: usize, usage: i64| {
            json!({"metadata": {"name": format!("web-{i}")}, "timestamp": at(at_s), "window": "1s",
                "containers": [{"name": "c", "usage": {"cpu": format!("{usage}m")}}]})
        };
        let all = || usage_milli.iter().copied().enumerate();
        let pods = json!({"items": all().map(|(i, usage)| pod(i, usage)).collect::<Vec<_>>()});
        let metrics = json!({"items": all().filter(|it| it.1 > 0).map(|(i, u)| sample(i, u)).collect::<Vec<_>>()});
        let hpa = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "web", "namespace": "n"}, "spec": {"maxReplicas": 10,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "metrics": [{"type": "Resource", "resource": {"name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": 50}}}]}});
        let scale = json!({"spec": {"replicas": replicas}, "status": {"replicas": usage_milli.len()}});
        let at = Time((1_800_000_000 + at_s) * 1_000_000_000);
        Reading::of(at, hpa, scale, &pods, Ok(&metrics))
    }

    fn opinion() -> Opinion {
        let workload = Workload {
            namespace: "n".to_owned(),
            hpa: "web".to_owned(),
            deployment: "web".to_owned(),
            ..Workload::default()
        };
        Opinion::new(workload, "app=web".to_owned(), Config::default())
    }

    #[test]
    fn a_change_is_explained_by_what_was_there_before_it() {
        // After it, the new pod that is not ready would make the same usage look like a reason to wait.
        let (before, after) = (reading(0, 1, &[20]), reading(1, 2, &[80, 0]));
        let explanation = opinion().attribute(&before, &after).unwrap().unwrap();
        assert_eq!(explanation.line(), "1 -> 2: cpu at 80% of 50% asks for 2");
    }

    #[test]
    fn a_change_that_nothing_seen_leads_to_is_not_explained() {
        let explained = opinion().attribute(&reading(0, 1, &[50]), &reading(1, 7, &[50])).unwrap();
        assert_eq!(explained, None);
    }

    #[test]
    fn a_window_that_ended_between_two_looks_is_no_riddle() {
        let mut opinion = opinion();
        opinion.remember(&reading(0, 2, &[50, 50])).unwrap();
        // Five minutes later but for a second the controller's own memory, which is older, has let go.
        let explained = opinion.attribute(&reading(298, 2, &[1, 1]), &reading(299, 1, &[1, 1])).unwrap().unwrap();
        assert_eq!(explained.line(), "2 -> 1: cpu at 1% of 50% asks for 1");
    }
}
