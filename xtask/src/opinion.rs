//! A second opinion: the decision that the autoscaler's own code makes on what the API shows of a live workload.
//!
//! It sees what the controller sees but for the controller's memory: earlier scalings can be had from events, earlier
//! recommendations only be inferred from conditions. It keeps a memory of its own, so an opinion that is asked again and
//! again becomes exact. What the cluster did is explained from what the API showed just before.

mod custom;
mod strangers;

use anyhow::{Context, Result, anyhow};
use autoscaler::config::Config;
use autoscaler::explain::Explanation;
use autoscaler::history::{History, Recommendation, ScaleEvent};
use autoscaler::json::metrics_api::Fetched;
use autoscaler::json::{self, observed};
use autoscaler::pass::{self, Hpa, Observation, Scale, ScaleError};
use autoscaler::pod::Pod;
use autoscaler::registry::Registry;
use autoscaler::sample::{Answer, PodMetrics};
use autoscaler::selector::Selector;
use autoscaler::time::Time;
use kube::Client;
use serde_json::Value;

use crate::problem;

/// From exact to one sync period of a cluster at its defaults.
const WINDOWS_END_SOONER_S: [i32; 5] = [0, 1, 2, 5, 15];

/// The HorizontalPodAutoscaler that is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) namespace: String,
    pub(crate) hpa: String,
}

pub(crate) struct Opinion {
    subject: Subject,
    config: Config,
    history: History,
}

/// What the API showed at one moment of all that a decision looks at.
pub(crate) struct Reading {
    at: Time,
    hpa: Value,
    /// Or why it cannot be read.
    scale: Result<Scale, String>,
    /// Name and selector of every other autoscaler of the namespace whose target can be read.
    others: Vec<(String, String)>,
    pods: Vec<Pod>,
    /// Pods that are selected and are not the target's.
    pub(crate) strangers: Vec<String>,
    samples: Samples,
}

struct Samples {
    /// Or why there are none.
    resource: Result<Vec<PodMetrics>, String>,
    /// In the order of the specification; none for a metric that `resource` answers.
    custom: Vec<Option<Fetched>>,
}

impl Subject {
    /// `web`, or `shop/web` of another namespace.
    pub(crate) fn parse(text: &str, namespace: &str) -> Subject {
        let (namespace, hpa) = text.split_once('/').unwrap_or((namespace, text));
        Subject { namespace: namespace.to_owned(), hpa: hpa.to_owned() }
    }
}

impl Reading {
    pub(crate) async fn take(client: &Client, subject: &Subject) -> Result<Reading> {
        let Subject { namespace, hpa: name } = subject;
        let hpas = format!("/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers");
        let pods = format!("/api/v1/namespaces/{namespace}/pods");
        let metrics = format!("/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods");
        let (hpas, pods, metrics) = tokio::join!(get(client, &hpas), get(client, &pods), get(client, &metrics));
        let (hpas, pods) = (hpas?, pods?);
        let metrics = metrics.map_err(|error| format!("unable to fetch metrics from resource metrics API: {error:#}"));
        let Some(hpa) = items(&hpas).find(|hpa| text(hpa, "/metadata/name") == name) else {
            let known: Vec<&str> = items(&hpas).map(|hpa| text(hpa, "/metadata/name")).collect();
            return Err(problem::no_such_autoscaler(namespace, name, &known).into());
        };
        let scale = custom::scale(client, namespace, hpa).await;
        let mut reading = Reading::of(now(), hpa.clone(), scale, &pods, metrics.as_ref().map_err(Clone::clone));
        for other in items(&hpas).filter(|other| text(other, "/metadata/name") != name) {
            if let Ok(scale) = custom::scale(client, namespace, other).await {
                reading.others.push((text(other, "/metadata/name").to_owned(), scale.selector));
            }
        }
        reading.samples.custom = custom::fetch_all(client, namespace, &reading.hpa, reading.selector()).await;
        Ok(reading)
    }

    fn of(
        at: Time,
        hpa: Value,
        scale: Result<Scale, String>,
        pods: &Value,
        metrics: Result<&Value, String>,
    ) -> Reading {
        let selector = scale.as_ref().ok().and_then(|scale| Selector::parse(&scale.selector).ok());
        let mut strangers = Vec::new();
        let mut selected = Vec::new();
        let mut seen = Vec::new();
        for object in items(pods) {
            let pod = observed::pod(object);
            if selector.as_ref().is_some_and(|selector| selector.matches(&pod.labels)) {
                strangers.extend(strangers::of(&hpa["spec"]["scaleTargetRef"], object));
                selected.push(std::sync::Arc::clone(&pod.name));
            }
            seen.push(pod);
        }
        let is_selected = |item: &&Value| selected.iter().any(|name| **name == *text(item, "/metadata/name"));
        let resource = metrics.map(|list| items(list).filter(is_selected).map(observed::pod_metrics).collect());
        let samples = Samples { resource, custom: Vec::new() };
        Reading { at, hpa, scale, others: Vec::new(), pods: seen, strangers, samples }
    }

    /// What the target is asked for, where that can be read.
    pub(crate) fn replicas(&self) -> Option<i32> {
        self.scale.as_ref().ok().map(|scale| scale.spec_replicas)
    }

    fn selector(&self) -> &str {
        self.scale.as_ref().map_or("", |scale| &scale.selector)
    }

    /// The controller has written since: its status, or somebody the specification.
    pub(crate) fn differs_from(&self, earlier: &Reading) -> bool {
        let version = |it: &Reading| text(&it.hpa, "/metadata/resourceVersion").to_owned();
        version(self) != version(earlier)
    }

    /// The moment before the controller acted: the pods and the count of `self`, measured by the samples of `later`.
    fn measured_by<'r>(&'r self, later: &'r Reading) -> Moment<'r> {
        Moment { at: later.at, reading: self, samples: &later.samples }
    }
}

/// What one decision is made of; the samples may come from another reading.
struct Moment<'r> {
    at: Time,
    reading: &'r Reading,
    samples: &'r Samples,
}

impl Opinion {
    pub(crate) fn new(subject: Subject, config: Config) -> Opinion {
        Opinion { subject, config, history: History::default() }
    }

    /// Makes up the controller's memory: from the counts that it set and when, and from what it last said of itself. That it
    /// recommended the present count is likely unless it was held back on the way down.
    pub(crate) fn recall(&mut self, reading: &Reading, counts_set: &[(Time, i32)]) {
        let conditions = reading.hpa.pointer("/status/conditions").and_then(Value::as_array);
        let limited =
            conditions.into_iter().flatten().find(|it| it["type"] == "ScalingLimited" && it["status"] == "True");
        let going_down = limited.is_some_and(|it| it["reason"] == "ScaleDownLimit" || it["reason"] == "TooFewReplicas");
        let replicas = reading.replicas().filter(|_| !going_down);
        let recommendations =
            replicas.map(|replicas| Recommendation { replicas, at: reading.at }).into_iter().collect();
        self.history = History { recommendations: Some(recommendations), ..History::default() };
        for (&(_, from), &(at, to)) in counts_set.iter().zip(counts_set.iter().skip(1)) {
            let History { scale_up_events: ups, scale_down_events: downs, .. } = &mut self.history;
            let events = if to > from { ups } else { downs };
            events.push(ScaleEvent { change: to.saturating_sub(from).saturating_abs(), at, outdated: false });
        }
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
                if Some(explanation.applied) == after.replicas() {
                    self.history = history;
                    return Ok(Some(explanation));
                }
            }
        }
        Ok(None)
    }

    fn decide(&self, moment: &Moment<'_>) -> Result<(Explanation, History)> {
        let Moment { at, reading, samples } = moment;
        let Subject { namespace, hpa: name } = &self.subject;
        let unreadable = |error: json::DecodeError| anyhow!("{}", error.0).context("the HorizontalPodAutoscaler");
        let mut hpa = reading.hpa.clone();
        let spec = json::default_object(&mut hpa).map_err(unreadable)?;
        let status = json::status_from_json(&hpa).map_err(unreadable)?;
        let resource = samples.resource.as_deref().map_err(String::as_str);
        let custom = |at: usize| samples.custom.get(at)?.as_ref();
        let answer = |at| Some(custom(at).map_or(Answer::PodMetrics(resource), Fetched::answer));
        let answers: Vec<Option<Answer<'_>>> = (0..spec.metrics.len()).map(answer).collect();
        let mut registry = Registry::default();
        registry.enqueue(namespace, name);
        for (other, selector) in &reading.others {
            registry.enqueue(namespace, other);
            if let Ok(selector) = Selector::parse(selector) {
                registry.set(namespace, other, selector);
            }
        }
        let scale = reading.scale.clone().map_err(ScaleError::Unreadable);
        let observation =
            Observation { now: *at, scale, pods: Ok(&reading.pods), answers: &answers, registry: &registry };
        let seen = Hpa { namespace, name, spec: &spec, status: &status };
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
        let status_replicas = i32::try_from(usage_milli.len()).unwrap();
        let scale = Scale { spec_replicas: replicas, status_replicas, selector: "app=web".to_owned() };
        let at = Time((1_800_000_000 + at_s) * 1_000_000_000);
        Reading::of(at, hpa, Ok(scale), &pods, Ok(&metrics))
    }

    fn opinion() -> Opinion {
        Opinion::new(Subject::parse("web", "n"), Config::default())
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
    fn what_the_cluster_says_of_itself_is_remembered() {
        let mut reading = reading(100, 4, &[1, 1, 1, 1]);
        let mut opinion = opinion();
        opinion.recall(&reading, &[]);
        let held = "stay at 4: cpu at 1% of 50% asks for 1; held up at 4 by the 5m0s window";
        assert_eq!(opinion.form(&reading).unwrap().line(), held);

        let policies = json!([{"type": "Pods", "value": 3, "periodSeconds": 60}]);
        reading.hpa["spec"]["behavior"] = json!({"scaleDown": {"policies": policies}});
        let limited = json!({"type": "ScalingLimited", "status": "True", "reason": "ScaleDownLimit"});
        reading.hpa["status"] = json!({"conditions": [limited]});
        let ago = |s: i32| reading.at.minus_s(s);
        opinion.recall(&reading, &[(ago(90), 9), (ago(80), 6), (ago(20), 4)]);
        let limited = "4 -> 3: cpu at 1% of 50% asks for 1; limited to 3 (policy 3 pods per 1m0s)";
        assert_eq!(opinion.form(&reading).unwrap().line(), limited);
    }

    #[test]
    fn an_overlapping_selector_is_told_as_the_controller_tells_it() {
        let mut reading = reading(0, 1, &[50]);
        reading.others = vec![("apart".to_owned(), "app=api".to_owned()), ("other".to_owned(), "app".to_owned())];
        let told = opinion().form(&reading).unwrap().line();
        assert_eq!(told, "stay at 1: pods by selector app=web are controlled by multiple HPAs: [n/other n/web]");
    }

    #[test]
    fn samples_of_pods_that_are_not_selected_do_not_count() {
        let pod = |name: &str, app: &str| json!({"metadata": {"name": name, "labels": {"app": app}}});
        let sample = |name: &str| json!({"metadata": {"name": name}, "containers": []});
        let pods = json!({"items": [pod("web-0", "web"), pod("db-0", "db")]});
        let metrics = json!({"items": [sample("web-0"), sample("db-0"), sample("gone")]});
        let scale = Scale { spec_replicas: 1, status_replicas: 1, selector: "app=web".to_owned() };
        let hpa = json!({"spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}}});
        let reading = Reading::of(Time(0), hpa, Ok(scale), &pods, Ok(&metrics));
        let sampled: Vec<&str> = reading.samples.resource.iter().flatten().map(|it| &*it.pod).collect();
        assert_eq!((sampled, reading.strangers), (vec!["web-0"], vec!["web-0 (of nobody)".to_owned()]));
    }

    #[test]
    fn a_target_that_cannot_be_read_is_why_there_is_no_decision() {
        let mut reading = reading(0, 1, &[50]);
        reading.scale = Err("deployments.apps \"web\" not found".to_owned());
        let told = opinion().form(&reading).unwrap().line();
        let why = "failed to query scale subresource for Deployment/n/web: deployments.apps \"web\" not found";
        assert_eq!((told, reading.replicas()), (format!("no decision: {why}"), None));
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
