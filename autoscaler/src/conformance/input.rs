//! The inputs of a recorded vector: pods, answers of the metrics APIs, HPA specs.
//!
//! An absent key means null, zero, false or empty, so reading never fails; what was misread shows as a difference.

use std::sync::Arc;

use serde_json::Value;

use crate::pod::{Amount, Container, InitContainer, Phase, Pod, Readiness, Resources};
use crate::quantity::{Format, Quantity};
use crate::sample::{self, ContainerUsage, PodMetrics, PodValue};
use crate::spec::{
    Behavior, ContainerResourceMetric, ExternalMetric, LabelSelector, LabelSelectorRequirement, Metric,
    MetricIdentifier, ObjectMetric, ObjectRef, PodsMetric, Policy, ResourceMetric, ScalingRules, Spec, Target,
};
use crate::status::ConditionStatus;
use crate::time::{NS_PER_MS, Time};

/// A JSON value that may be absent.
#[derive(Clone, Copy)]
pub(super) struct Node<'a>(Option<&'a Value>);

/// More pods in one group than any recording has; a bound on what a broken file can ask for.
const GROUP_MAX: i64 = 100_000;

impl<'a> Node<'a> {
    pub(super) fn of(value: &'a Value) -> Node<'a> {
        Node(Some(value))
    }

    pub(super) fn get(self, key: &str) -> Node<'a> {
        Node(self.0.and_then(|v| v.get(key)).filter(|v| !v.is_null()))
    }

    pub(super) fn is_absent(self) -> bool {
        self.0.is_none()
    }

    pub(super) fn value(self) -> Value {
        self.0.cloned().unwrap_or_default()
    }

    pub(super) fn present(self) -> Option<Node<'a>> {
        self.0.map(|v| Node(Some(v)))
    }

    pub(super) fn integer(self) -> Option<i64> {
        self.0.and_then(Value::as_i64)
    }

    pub(super) fn int(self) -> i64 {
        self.integer().unwrap_or(0)
    }

    pub(super) fn small(self) -> i32 {
        self.int() as i32
    }

    pub(super) fn small_or_none(self) -> Option<i32> {
        self.integer().map(|i| i as i32)
    }

    pub(super) fn float(self) -> f64 {
        self.0.and_then(Value::as_f64).unwrap_or(0.0)
    }

    pub(super) fn truth(self) -> bool {
        self.0.and_then(Value::as_bool).unwrap_or(false)
    }

    pub(super) fn text(self) -> &'a str {
        self.text_or_none().unwrap_or("")
    }

    pub(super) fn text_or_none(self) -> Option<&'a str> {
        self.0.and_then(Value::as_str)
    }

    pub(super) fn list(self) -> impl DoubleEndedIterator<Item = Node<'a>> {
        self.0.and_then(Value::as_array).into_iter().flatten().map(Node::of)
    }

    pub(super) fn entries(self) -> impl Iterator<Item = (&'a String, Node<'a>)> {
        self.0.and_then(Value::as_object).into_iter().flatten().map(|(k, v)| (k, Node::of(v)))
    }

    fn milli_ns(self) -> i64 {
        self.int().saturating_mul(NS_PER_MS)
    }

    fn instant(self) -> Option<Time> {
        self.integer().map(Time::from_ms)
    }
}

/// The answers that recordings keep apart by API.
pub(super) struct Resource {
    pub(super) items: Vec<PodMetrics>,
    pub(super) error: Option<String>,
}

pub(super) struct Custom {
    pub(super) items: Vec<PodValue>,
    pub(super) error: Option<String>,
}

pub(super) struct Values {
    pub(super) values: Vec<sample::Value>,
    pub(super) error: Option<String>,
}

/// The text of an answer that the recording does not have; only its class is comparable.
const NOT_RECORDED: &str = "no answer was recorded";

fn error_of(node: Node<'_>) -> Option<String> {
    if node.is_absent() {
        return Some(NOT_RECORDED.into());
    }
    node.get("error").text_or_none().filter(|e| !e.is_empty()).map(str::to_owned)
}

pub(super) fn resource(node: Node<'_>, now: Time) -> Resource {
    let mut items = Vec::new();
    for item in node.get("items").list() {
        let containers = item
            .get("containers")
            .list()
            .map(|c| ContainerUsage { name: c.get("name").text().into(), usage: resources(c.get("usage")) });
        let containers: Vec<ContainerUsage> = containers.collect();
        let at = now - item.get("age_ms").milli_ns();
        let window_ns = item.get("window_ms").milli_ns();
        items.extend(names(item, "pod").map(|pod| PodMetrics { pod, at, window_ns, containers: containers.clone() }));
    }
    Resource { items, error: error_of(node) }
}

pub(super) fn custom(node: Node<'_>, now: Time) -> Custom {
    let mut items = Vec::new();
    for item in node.get("items").list() {
        let at = now - item.get("age_ms").milli_ns();
        let window_s = item.get("window_s").integer();
        let value_milli = item.get("value_milli").int();
        items.extend(names(item, "pod").map(|pod| PodValue { pod, at, window_s, value_milli }));
    }
    Custom { items, error: error_of(node) }
}

/// An Object metric has one value, an External one a list.
pub(super) fn values(node: Node<'_>, now: Time) -> Values {
    let at = now - node.get("age_ms").milli_ns();
    let list = node.get("values_milli").list().map(Node::int);
    let values: Vec<i64> = match node.get("value_milli").integer() {
        Some(value) => vec![value],
        None => list.collect(),
    };
    Values {
        values: values.into_iter().map(|value_milli| sample::Value { value_milli, at }).collect(),
        error: error_of(node),
    }
}

pub(super) fn pods<'a>(list: impl Iterator<Item = Node<'a>>) -> Vec<Pod> {
    let mut pods = Vec::new();
    for node in list {
        let labels = match node.get("labels").present() {
            Some(labels) => labels.entries().map(|(k, v)| (k.clone(), v.text().to_owned())).collect(),
            None => vec![("app".to_owned(), "web".to_owned())],
        };
        let sidecars =
            node.get("sidecars").list().map(|c| InitContainer { container: container(c), restartable: true });
        let ordinary =
            node.get("init_containers").list().map(|c| InitContainer { container: container(c), restartable: false });
        let pod = Pod {
            name: "".into(),
            labels,
            phase: Phase::parse(node.get("phase").text()),
            deleting: node.get("deleting").truth(),
            start_time: node.get("start_ms").instant(),
            ready: node.get("ready").present().map(|r| Readiness {
                status: ConditionStatus::parse(r.get("status").text()),
                last_transition_time: Time::from_ms(r.get("transition_ms").int()),
            }),
            containers: node.get("containers").list().map(container).collect(),
            init_containers: sidecars.chain(ordinary).collect(),
            pod_level_requests: resources(node.get("pod_level_requests")),
            overhead: resources(node.get("overhead")),
        };
        pods.extend(names(node, "name").map(|name| Pod { name, ..pod.clone() }));
    }
    pods
}

/// A single name, or with `count` that many numbered ones.
fn names<'a>(node: Node<'a>, key: &str) -> impl Iterator<Item = Arc<str>> + use<'a> {
    let name = node.get(key).text();
    let first = node.get("first").int();
    let count = node.get("count").integer();
    (0..count.unwrap_or(1).min(GROUP_MAX)).map(move |i| match count {
        Some(_) => format!("{name}{}", first.saturating_add(i)).into(),
        None => name.into(),
    })
}

fn container(node: Node<'_>) -> Container {
    Container { name: node.get("name").text().into(), requests: resources(node.get("requests")) }
}

fn resources(node: Node<'_>) -> Resources {
    let mut resources = Resources::default();
    for (key, value) in node.entries() {
        let value = value.int();
        match key.as_str() {
            "cpu_milli" => resources.cpu = Some(Amount::from_milli(value)),
            "cpu_nano" => resources.cpu = Some(Amount::from_nano(value)),
            "memory_bytes" => resources.memory = Some(Amount::from_units(value)),
            "memory_milli" => resources.memory = Some(Amount::from_milli(value)),
            _ => {}
        }
    }
    resources
}

pub(super) fn spec(node: Node<'_>) -> Spec {
    Spec {
        scale_target_ref: object_ref(node.get("scale_target_ref")),
        min_replicas: node.get("min_replicas").small_or_none(),
        max_replicas: node.get("max_replicas").small(),
        metrics: node.get("metrics").list().map(metric).collect(),
        behavior: node.get("behavior").present().map(|b| Behavior {
            scale_up: b.get("scale_up").present().map(rules),
            scale_down: b.get("scale_down").present().map(rules),
        }),
    }
}

pub(super) fn object_ref(node: Node<'_>) -> ObjectRef {
    ObjectRef::new(node.get("api_version").text(), node.get("kind").text(), node.get("name").text())
}

pub(super) fn label_selector(node: Node<'_>) -> Option<LabelSelector> {
    let node = node.present()?;
    let expressions = node.get("match_expressions").list().map(|e| LabelSelectorRequirement {
        key: e.get("key").text().into(),
        operator: e.get("operator").text().into(),
        values: e.get("values").list().map(|v| v.text().into()).collect(),
    });
    Some(LabelSelector {
        match_labels: node.get("match_labels").entries().map(|(k, v)| (k.clone(), v.text().into())).collect(),
        match_expressions: expressions.collect(),
    })
}

fn metric(node: Node<'_>) -> Metric {
    let target = node.get("target");
    let milli = |key: &str| target.get(key).integer().map(|v| Quantity::from_milli(v, Format::DecimalSi));
    let target = Target {
        r#type: target.get("type").text().into(),
        value: milli("value_milli"),
        average_value: milli("average_value_milli"),
        average_utilization: target.get("average_utilization_percent").small_or_none(),
    };
    let identifier =
        MetricIdentifier { name: node.get("metric").text().into(), selector: label_selector(node.get("selector")) };
    let name: String = node.get("resource").text().into();
    let container: String = node.get("container").text().into();
    let mut metric = Metric { r#type: node.get("type").text().into(), ..Metric::default() };
    match metric.r#type.as_str() {
        "Resource" => metric.resource = Some(ResourceMetric { name, target }),
        "ContainerResource" => metric.container_resource = Some(ContainerResourceMetric { name, container, target }),
        "Pods" => metric.pods = Some(PodsMetric { metric: identifier, target }),
        "Object" => {
            let described_object = object_ref(node.get("described_object"));
            metric.object = Some(ObjectMetric { described_object, metric: identifier, target });
        }
        "External" => metric.external = Some(ExternalMetric { metric: identifier, target }),
        _ => {}
    }
    metric
}

fn rules(node: Node<'_>) -> ScalingRules {
    let policy = |p: Node<'_>| Policy {
        r#type: p.get("type").text().into(),
        value: p.get("value").small(),
        period_s: p.get("period_s").small(),
    };
    ScalingRules {
        stabilization_window_s: node.get("stabilization_window_s").small_or_none(),
        select_policy: node.get("select_policy").text_or_none().map(str::to_owned),
        policies: node.get("policies").present().map(|p| p.list().map(policy).collect()),
        tolerance: node.get("tolerance").text_or_none().and_then(|t| Quantity::parse(t).ok()),
    }
}
