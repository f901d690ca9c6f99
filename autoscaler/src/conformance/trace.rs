//! One recorded trace: an HPA followed over many passes.
//!
//! Plays the host: keeps stored status, memory and registry between steps, and answers reads and writes as recorded.

mod report;

use report::{memory, recorded, status_changes};
use serde_json::{Value, json};

use super::input::{self, Custom, Node, Resource, Values};
use super::{Replayed, difference};
use crate::config::{Config, Gates};
use crate::defaults;
use crate::history::{History, Recommendation, ScaleEvent};
use crate::pass::{Hpa, NextWrite, Observation, Scale, ScaleAnswer, ScaleError, ScaleWrite, decide};
use crate::quantity::{Format, Quantity};
use crate::registry::Registry;
use crate::sample::Answer;
use crate::selector::Selector;
use crate::spec::{Metric, MetricIdentifier, Spec};
use crate::status::{Condition, ConditionStatus, MetricSource, MetricStatus, MetricValue, Status};
use crate::time::{NS_PER_MS, Time};

pub(super) fn replay(vector: Node<'_>) -> Replayed {
    let mut host = Host::new(vector);
    let mut steps = 0;
    let mut differs = None;
    for step in vector.get("steps").list() {
        let actual = host.step(step);
        let place = format!("step {steps} at {} ms", step.get("t_ms").int());
        steps += 1;
        let mut expected = step.get("expect").value();
        if let Some(map) = expected.as_object_mut() {
            map.remove("platform_dependent");
        }
        differs = difference(&place, expected, actual);
        if differs.is_some() {
            break;
        }
    }
    if let (None, Some(state)) = (&differs, vector.get("final_state").present()) {
        differs = difference("final_state", state.value(), memory(&host.history));
    }
    Replayed { class: vector.get("category").text().into(), steps, difference: differs }
}

struct Host<'a> {
    config: Config,
    namespace: &'a str,
    name: &'a str,
    registered: bool,
    skip_defaulting: bool,
    scale_mappings: i64,
    spec: Spec,
    status: Status,
    history: History,
    own_selector: Option<Selector>,
    carried: Carried<'a>,
}

/// Inputs that stay as they are until a step gives new ones.
struct Carried<'a> {
    scale: Node<'a>,
    pods: Node<'a>,
    pod_metrics: Node<'a>,
    custom_pod_metrics: Node<'a>,
    object_metrics: Node<'a>,
    external_metrics: Node<'a>,
    other_hpas: Node<'a>,
}

impl<'a> Host<'a> {
    fn new(vector: Node<'a>) -> Host<'a> {
        let hpa = vector.get("hpa");
        let nothing = vector.get("no such key");
        let mut host = Host {
            config: config(vector.get("config")),
            namespace: hpa.get("namespace").text(),
            name: hpa.get("name").text(),
            registered: !vector.get("self_not_registered").truth(),
            skip_defaulting: vector.get("skip_defaulting").truth(),
            scale_mappings: vector.get("scale_mappings").integer().unwrap_or(1),
            spec: Spec::default(),
            status: hpa.get("initial_status").present().map(status).unwrap_or_default(),
            history: vector.get("initial_state").present().map(history).unwrap_or_default(),
            own_selector: None,
            carried: Carried {
                scale: nothing,
                pods: nothing,
                pod_metrics: nothing,
                custom_pod_metrics: nothing,
                object_metrics: nothing,
                external_metrics: nothing,
                other_hpas: nothing,
            },
        };
        host.spec = host.read_spec(hpa.get("spec"));
        host
    }

    fn read_spec(&self, node: Node<'_>) -> Spec {
        let mut spec = input::spec(node);
        if !self.skip_defaulting {
            defaults::apply(&mut spec);
        } else if let Some(behavior) = &mut spec.behavior {
            defaults::apply_behavior(behavior);
        }
        spec
    }

    fn step(&mut self, step: Node<'a>) -> Value {
        self.carried.update(step);
        if step.get("controller_restart").truth() {
            self.history = History::default();
            self.own_selector = None;
        }
        if let Some(spec) = step.get("hpa_spec").present() {
            self.spec = self.read_spec(spec);
        }
        if step.get("hpa_deleted").truth() {
            self.history = History::default();
            self.own_selector = None;
            self.status = Status::default();
            return json!({ "deleted": true });
        }
        self.reconcile(step)
    }

    fn registry(&self) -> Registry {
        let mut registry = Registry::default();
        if self.registered {
            registry.enqueue(self.namespace, self.name);
        }
        if let Some(selector) = &self.own_selector {
            registry.set(self.namespace, self.name, selector.clone());
        }
        for other in self.carried.other_hpas.list() {
            let (namespace, name) = other.get("key").text().split_once('/').unwrap_or_default();
            registry.enqueue(namespace, name);
            if let Ok(selector) = Selector::parse(other.get("selector").text()) {
                registry.set(namespace, name, selector);
            }
        }
        registry
    }

    fn scale(&self, inject: Node<'_>) -> Result<Scale, ScaleError> {
        let target = &self.spec.scale_target_ref;
        let group = target.api_version.rsplit_once('/').map_or("", |(group, _)| group);
        let known = match group {
            "apps" => matches!(target.kind.as_str(), "Deployment" | "ReplicaSet" | "StatefulSet"),
            _ => group.is_empty() && target.kind == "ReplicationController",
        };
        if !known {
            return Err(ScaleError::UnknownKind(format!("no matches for kind {:?} in group {group:?}", target.kind)));
        }
        let scale = Scale {
            spec_replicas: self.carried.scale.get("spec_replicas").small(),
            status_replicas: self.carried.scale.get("status_replicas").small(),
            selector: self.carried.scale.get("selector").text().into(),
        };
        let mut errors = inject.get("get_scale_errors").list();
        ScaleError::first_of((0..self.scale_mappings).map(|_| match errors.next().and_then(Node::text_or_none) {
            Some(error) => Err(error.to_owned()),
            None => Ok(scale.clone()),
        }))
    }

    fn reconcile(&mut self, step: Node<'a>) -> Value {
        let inject = step.get("inject");
        let now = Time::from_ms(step.get("t_ms").int());
        let pods = input::pods(self.carried.pods.list());
        let answers = Answers::read(&self.carried, &self.spec, now);
        let borrowed: Vec<Option<Answer<'_>>> = answers.0.iter().map(Source::answer).collect();
        let registry = self.registry();
        let observation = Observation {
            now,
            scale: self.scale(inject),
            pods: inject.get("list_pods_error").text_or_none().map_or(Ok(&pods[..]), Err),
            answers: &borrowed,
            registry: &registry,
        };
        let hpa = Hpa { namespace: self.namespace, name: self.name, spec: &self.spec, status: &self.status };
        let pass = decide(&hpa, &self.history, &observation, &self.config);
        if let (Some(selector), true) = (&pass.selector, self.registered) {
            self.own_selector = Some(selector.clone());
        }
        let wanted = pass.scale_write();
        let (attempts, written) = if wanted.is_some() { self.write_scale(inject) } else { (0, Ok(())) };
        let conclusion = pass.conclude(written.clone());
        let sent = conclusion.status.clone();
        let refused = inject.get("update_status_error").text_or_none();
        let outcome = conclusion.finish(refused.map_or(Ok(()), |e| Err(e.to_owned())));
        let mut actual = recorded(&outcome);
        if let Some(status) = &sent {
            actual.insert("status".into(), status_changes(&self.status, status));
        }
        if let (Some(replicas), Ok(())) = (wanted, &written) {
            actual.insert("scale_written".into(), replicas.into());
        }
        if attempts > 1 || written.is_err() {
            actual.insert("scale_update_attempts".into(), attempts.into());
        }
        if let (Some(status), None) = (sent, refused) {
            self.status = status;
        }
        self.history = outcome.history;
        Value::Object(actual)
    }

    fn write_scale(&self, inject: Node<'_>) -> (u32, Result<(), String>) {
        let mut write = ScaleWrite::default();
        let mut errors = inject.get("update_scale_errors").list();
        loop {
            let answer = match errors.next().and_then(Node::text_or_none) {
                None => ScaleAnswer::Written,
                Some(error) => match error.strip_prefix("conflict:") {
                    Some(inner) => ScaleAnswer::Conflict(self.conflict(inner)),
                    None => ScaleAnswer::Failed(error.into()),
                },
            };
            match write.answered(answer) {
                NextWrite::Done(result) => return (write.attempts, result),
                // Reading again may fail too (`get_scale_during_retry_error`): then the old copy is sent once more.
                NextWrite::Retry => {}
            }
        }
    }

    /// The API server's text for a 409.
    fn conflict(&self, inner: &str) -> String {
        let target = &self.spec.scale_target_ref;
        let group = target.api_version.rsplit_once('/').map_or(String::new(), |(group, _)| format!(".{group}"));
        let resource = format!("{}s{group}", target.kind.to_lowercase());
        format!("Operation cannot be fulfilled on {resource} {:?}: {inner}", target.name)
    }
}

impl<'a> Carried<'a> {
    fn update(&mut self, step: Node<'a>) {
        for (key, slot) in [
            ("scale", &mut self.scale),
            ("pods", &mut self.pods),
            ("pod_metrics", &mut self.pod_metrics),
            ("custom_pod_metrics", &mut self.custom_pod_metrics),
            ("object_metrics", &mut self.object_metrics),
            ("external_metrics", &mut self.external_metrics),
            ("other_hpas", &mut self.other_hpas),
        ] {
            if let Some(given) = step.get(key).present() {
                *slot = given;
            }
        }
    }
}

/// Owned answers, one per metric of the spec.
struct Answers(Vec<Source>);

enum Source {
    Resource(Resource),
    Custom(Custom),
    Object(Values),
    External(Values),
    Unknown,
}

impl Answers {
    fn read(carried: &Carried<'_>, spec: &Spec, now: Time) -> Answers {
        let one = |metric: &Metric| match metric {
            Metric { resource: Some(_), .. } | Metric { container_resource: Some(_), .. } => {
                Source::Resource(input::resource(carried.pod_metrics, now))
            }
            Metric { pods: Some(m), .. } => {
                Source::Custom(input::custom(carried.custom_pod_metrics.get(&m.metric.name), now))
            }
            Metric { object: Some(m), .. } => {
                Source::Object(input::values(carried.object_metrics.get(&m.metric.name), now))
            }
            Metric { external: Some(m), .. } => {
                Source::External(input::values(carried.external_metrics.get(&m.metric.name), now))
            }
            _ => Source::Unknown,
        };
        Answers(spec.metrics.iter().map(one).collect())
    }
}

impl Source {
    fn answer(&self) -> Option<Answer<'_>> {
        match self {
            Source::Resource(r) => Some(Answer::PodMetrics(r.error.as_deref().map_or(Ok(&r.items[..]), Err))),
            Source::Custom(c) => Some(Answer::PodValues(c.error.as_deref().map_or(Ok(&c.items[..]), Err))),
            Source::External(v) => Some(Answer::External(v.error.as_deref().map_or(Ok(&v.values[..]), Err))),
            Source::Object(v) => {
                let value = v.values.first().copied().ok_or("no value was recorded");
                Some(Answer::Object(v.error.as_deref().map_or(value, Err)))
            }
            Source::Unknown => None,
        }
    }
}

fn config(node: Node<'_>) -> Config {
    let ns = |key: &str| node.get(key).int().saturating_mul(NS_PER_MS);
    let features = node.get("features");
    Config {
        tolerance: node.get("tolerance").float(),
        downscale_stabilization_ns: ns("downscale_stabilization_ms"),
        cpu_initialization_period_ns: ns("cpu_initialization_period_ms"),
        initial_readiness_delay_ns: ns("initial_readiness_delay_ms"),
        legacy_scale_up_limit_factor: node.get("legacy_scale_up_limit_factor").float(),
        legacy_scale_up_limit_minimum: node.get("legacy_scale_up_limit_minimum").float(),
        gates: Gates {
            scale_to_zero: features.get("hpa_scale_to_zero").truth(),
            configurable_tolerance: features.get("hpa_configurable_tolerance").truth(),
            pod_level_resources: features.get("pod_level_resources").truth(),
        },
    }
}

fn status(node: Node<'_>) -> Status {
    let condition = |c: Node<'_>| Condition {
        r#type: c.get("type").text().into(),
        status: ConditionStatus::parse(c.get("status").text()),
        reason: c.get("reason").text().into(),
        message: c.get("message").text().into(),
        last_transition_time: Time::from_ms(c.get("last_transition_ms").int()),
    };
    Status {
        observed_generation: node.get("observed_generation").integer(),
        last_scale_time: node.get("last_scale_ms").integer().map(Time::from_ms),
        current_replicas: node.get("current_replicas").small(),
        desired_replicas: node.get("desired_replicas").small(),
        current_metrics: node.get("current_metrics").list().map(stored_metric).collect(),
        conditions: node.get("conditions").list().map(condition).collect(),
    }
}

fn stored_metric(node: Node<'_>) -> MetricStatus {
    let name: String = node.get("resource").text().into();
    let container: String = node.get("container").text().into();
    let metric = MetricIdentifier::named(node.get("metric").text());
    let r#type = node.get("type").text();
    let source = match r#type {
        "Resource" => Some(MetricSource::Resource { name: name.clone() }),
        "ContainerResource" => Some(MetricSource::ContainerResource { name: name.clone(), container }),
        "Pods" => Some(MetricSource::Pods { metric }),
        "External" => Some(MetricSource::External { metric }),
        "Object" => {
            let described_object = input::object_ref(node.get("described_object"));
            Some(MetricSource::Object { metric, described_object })
        }
        _ => None,
    };
    let milli = |key: &str| node.get(key).integer().map(|v| Quantity::from_milli(v, Format::DecimalSi));
    let current = MetricValue {
        value: milli("value_milli"),
        average_value: milli("average_value_milli"),
        average_utilization: node.get("average_utilization_percent").small_or_none(),
    };
    MetricStatus { r#type: r#type.into(), source, current }
}

fn history(node: Node<'_>) -> History {
    let events = |key: &str| {
        let event = |e: Node<'_>| ScaleEvent {
            change: e.get("change").small(),
            at: Time::from_ms(e.get("at_ms").int()),
            outdated: e.get("outdated").truth(),
        };
        node.get(key).list().map(event).collect()
    };
    let recommendation =
        |r: Node<'_>| Recommendation { replicas: r.get("value").small(), at: Time::from_ms(r.get("at_ms").int()) };
    History {
        recommendations: Some(node.get("recommendations").list().map(recommendation).collect()),
        scale_up_events: events("scale_up_events"),
        scale_down_events: events("scale_down_events"),
    }
}
