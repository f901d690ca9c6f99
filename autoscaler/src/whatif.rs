//! A dry run: what would the HPA do with this load on that many pods?
//!
//! Builds the observation that a cluster would have made and runs the real pass over it. By default nothing was
//! recommended before, so the answer is where the count is heading, not how long stabilisation would hold it back.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::config::Config;
use crate::defaults;
use crate::history::{History, Recommendation};
use crate::pass::{self, Hpa, Observation, Outcome, Scale};
use crate::pod::{Amount, Container, Phase, Pod, Readiness, Resources};
use crate::quantity::Quantity;
use crate::registry::Registry;
use crate::sample::{Answer, ContainerUsage, PodMetrics, PodValue, Value};
use crate::spec::{Metric, Spec};
use crate::status::{Condition, ConditionStatus, SCALED_TO_ZERO, Status};
use crate::time::{NS_PER_MS, NS_PER_S, Time};

/// Most pods that a dry run makes up.
pub const PODS_MAX: usize = 100_000;

#[derive(Clone, Debug)]
pub struct Question {
    /// As written by the user; defaults are filled in.
    pub spec: Spec,
    /// `spec.replicas` of the target, of which `status.replicas` exist.
    pub replicas: i32,
    /// Of the replicas: running, but not ready since they started.
    pub starting: usize,
    /// Of the replicas: not running yet.
    pub pending: usize,
    /// Of the replicas: ready, but the metrics API has no sample of them.
    pub unmeasured: usize,
    /// Usage of each measured pod, by resource name (of each container, where metrics name several).
    pub usage: Vec<(String, Quantity)>,
    /// Request of each pod, by resource name (of each container likewise).
    pub requests: Vec<(String, Quantity)>,
    /// Values by metric name: of each pod for Pods metrics, of the whole for Object and External ones.
    pub values: Vec<(String, Quantity)>,
    /// Earlier recommendations: count, and how long ago.
    pub recommended: Vec<(i32, i64)>,
    pub config: Config,
}

#[derive(Clone, Debug)]
pub struct Decided {
    /// What the scale would be set to, or the count that it stays at.
    pub replicas: i32,
    pub outcome: Outcome,
    /// The status that would be written.
    pub status: Status,
}

const NAMESPACE: &str = "default";
const NAME: &str = "whatif";
/// An instant with room before it.
const NOW: Time = Time(1_000_000 * NS_PER_S);

impl Question {
    pub fn new(spec: Spec, replicas: i32) -> Question {
        Question {
            spec,
            replicas,
            starting: 0,
            pending: 0,
            unmeasured: 0,
            usage: Vec::new(),
            requests: Vec::new(),
            values: Vec::new(),
            recommended: Vec::new(),
            config: Config::default(),
        }
    }
}

/// The decision. A metric without a given value fails, as it would in a cluster, and the explanation says so.
pub fn ask(question: &Question) -> Decided {
    let mut spec = question.spec.clone();
    defaults::apply(&mut spec);
    let pods = pods(question, &spec);
    let measurements = measurements(question, &spec, &pods);
    let answers: Vec<Option<Answer<'_>>> = measurements.iter().map(Measurement::answer).collect();
    let mut registry = Registry::default();
    registry.enqueue(NAMESPACE, NAME);
    let status = status(question);
    let observation = Observation {
        now: NOW,
        scale: Ok(Scale {
            spec_replicas: question.replicas,
            status_replicas: question.replicas,
            selector: format!("{LABEL}={NAME}"),
        }),
        pods: Ok(&pods),
        answers: &answers,
        registry: &registry,
    };
    let hpa = Hpa { namespace: NAMESPACE, name: NAME, spec: &spec, status: &status };
    let recommended =
        question.recommended.iter().map(|&(replicas, age_ns)| Recommendation { replicas, at: NOW - age_ns });
    let history = History { recommendations: Some(recommended.collect()), ..History::default() };
    let conclusion = pass::decide(&hpa, &history, &observation, &question.config).conclude(Ok(()));
    let status = conclusion.status.clone().unwrap_or(status);
    let outcome = conclusion.finish(Ok(()));
    Decided { replicas: outcome.explanation.applied, outcome, status }
}

/// Resources that a metric of the spec measures: those of which a usage can be given.
pub fn resources(spec: &Spec) -> Vec<&str> {
    let names = spec.metrics.iter().filter_map(|m| {
        let of_container = m.container_resource.as_ref().map(|c| &c.name);
        m.resource.as_ref().map(|r| &r.name).or(of_container)
    });
    names.map(String::as_str).collect()
}

/// Metrics of the spec that are not resources: those of which a value can be given.
pub fn values(spec: &Spec) -> Vec<&str> {
    let metrics = spec.metrics.iter().filter_map(|m| {
        let of_whole = m.object.as_ref().map(|o| &o.metric).or(m.external.as_ref().map(|e| &e.metric));
        m.pods.as_ref().map(|p| &p.metric).or(of_whole)
    });
    metrics.map(|metric| metric.name.as_str()).collect()
}

const LABEL: &str = "app";

/// With scale to zero, a target at zero is taken to have been put there by the HPA.
fn status(question: &Question) -> Status {
    let mut status =
        Status { current_replicas: question.replicas, desired_replicas: question.replicas, ..Status::default() };
    if question.replicas == 0 && question.config.gates.scale_to_zero {
        status.conditions.push(Condition {
            r#type: SCALED_TO_ZERO.into(),
            status: ConditionStatus::True,
            reason: SCALED_TO_ZERO.into(),
            message: String::new(),
            last_transition_time: NOW - NS_PER_S,
        });
    }
    status
}

/// Ready pods first, then the unmeasured, the starting and the pending ones.
fn pods(question: &Question, spec: &Spec) -> Vec<Pod> {
    let count = usize::try_from(question.replicas).unwrap_or(0).min(PODS_MAX);
    let mut requests = Resources::default();
    for (resource, quantity) in &question.requests {
        requests.set(resource, Amount::from_quantity(quantity));
    }
    let container = |name| Container { name, requests: requests.clone() };
    let containers: Vec<Container> = container_names(spec).into_iter().map(container).collect();
    let target = Some(spec.scale_target_ref.name.as_str()).filter(|name| !name.is_empty()).unwrap_or("pod");
    let pending_from = count.saturating_sub(question.pending);
    let starting_from = pending_from.saturating_sub(question.starting);
    let pod = |i: usize| {
        let starting = i >= starting_from;
        // Young enough to be starting up, or old enough for that to be over.
        let start = NOW - if starting { 5 * NS_PER_S } else { 86_400 * NS_PER_S };
        let status = if starting { ConditionStatus::False } else { ConditionStatus::True };
        Pod {
            name: format!("{target}-{i}").into(),
            labels: vec![(LABEL.into(), NAME.into())],
            phase: if i >= pending_from { Phase::Pending } else { Phase::Running },
            deleting: false,
            start_time: Some(start),
            ready: Some(Readiness { status, last_transition_time: start + 10 * NS_PER_MS }),
            containers: containers.clone(),
            init_containers: Vec::new(),
            pod_level_requests: Resources::default(),
            overhead: Resources::default(),
        }
    };
    (0..count).map(pod).collect()
}

/// The containers that ContainerResource metrics name, or one that nobody names.
fn container_names(spec: &Spec) -> BTreeSet<String> {
    let named = spec.metrics.iter().filter_map(|m| m.container_resource.as_ref()).map(|m| m.container.clone());
    let named: BTreeSet<String> = named.collect();
    if named.is_empty() { BTreeSet::from(["app".into()]) } else { named }
}

/// Owned answers, one per metric.
enum Measurement {
    Resource(Vec<PodMetrics>),
    Pods(Vec<PodValue>),
    Object(Value),
    External([Value; 1]),
    Missing { text: String, r#type: String },
}

fn measurements(question: &Question, spec: &Spec, pods: &[Pod]) -> Vec<Measurement> {
    let absent = question.starting + question.pending + question.unmeasured;
    let measured_first = pods.len().saturating_sub(absent);
    let unmeasured = measured_first..measured_first + question.unmeasured;
    let measured = pods.iter().enumerate().filter(|(i, p)| !unmeasured.contains(i) && p.phase != Phase::Pending);
    let measured: Vec<&Pod> = measured.map(|(_, p)| p).collect();
    spec.metrics.iter().map(|metric| measurement(question, metric, &measured)).collect()
}

fn measurement(question: &Question, metric: &Metric, measured: &[&Pod]) -> Measurement {
    let find = |list: &[(String, Quantity)], name: &str| list.iter().find(|(n, _)| n == name).map(|(_, q)| q.clone());
    let missing = |text: String| Measurement::Missing { text, r#type: metric.r#type.clone() };
    let of_resource = |name: &str| match find(&question.usage, name) {
        Some(usage) => Measurement::Resource(usages(measured, name, &usage)),
        None => missing(format!("no usage was given for {name}")),
    };
    let value = |name: &str| find(&question.values, name).map(|q| q.milli());
    let not_given = |name: &str| missing(format!("no value was given for {name}"));
    if let Some(m) = &metric.resource {
        of_resource(&m.name)
    } else if let Some(m) = &metric.container_resource {
        of_resource(&m.name)
    } else if let Some(m) = &metric.pods {
        match value(&m.metric.name) {
            Some(value_milli) => Measurement::Pods(pod_values(measured, value_milli)),
            None => not_given(&m.metric.name),
        }
    } else if let Some(m) = &metric.object {
        match value(&m.metric.name) {
            Some(value_milli) => Measurement::Object(Value { value_milli, at: NOW }),
            None => not_given(&m.metric.name),
        }
    } else if let Some(m) = &metric.external {
        match value(&m.metric.name) {
            Some(value_milli) => Measurement::External([Value { value_milli, at: NOW }]),
            None => not_given(&m.metric.name),
        }
    } else {
        missing("the metric has no source".into())
    }
}

fn usages(measured: &[&Pod], resource: &str, usage: &Quantity) -> Vec<PodMetrics> {
    let mut resources = Resources::default();
    resources.set(resource, Amount::from_quantity(usage));
    let of_pod = |pod: &&Pod| {
        let containers =
            pod.containers.iter().map(|c| ContainerUsage { name: c.name.clone(), usage: resources.clone() });
        PodMetrics { pod: Arc::clone(&pod.name), at: NOW, window_ns: 15 * NS_PER_S, containers: containers.collect() }
    };
    measured.iter().map(of_pod).collect()
}

fn pod_values(measured: &[&Pod], value_milli: i64) -> Vec<PodValue> {
    let of_pod = |pod: &&Pod| PodValue { pod: Arc::clone(&pod.name), at: NOW, window_s: None, value_milli };
    measured.iter().map(of_pod).collect()
}

impl Measurement {
    fn answer(&self) -> Option<Answer<'_>> {
        Some(match self {
            Measurement::Resource(items) => Answer::PodMetrics(Ok(items)),
            Measurement::Pods(items) => Answer::PodValues(Ok(items)),
            Measurement::Object(value) => Answer::Object(Ok(*value)),
            Measurement::External(values) => Answer::External(Ok(values)),
            Measurement::Missing { text, r#type } => match r#type.as_str() {
                crate::spec::PODS => Answer::PodValues(Err(text)),
                crate::spec::OBJECT => Answer::Object(Err(text)),
                crate::spec::EXTERNAL => Answer::External(Err(text)),
                _ => Answer::PodMetrics(Err(text)),
            },
        })
    }
}
