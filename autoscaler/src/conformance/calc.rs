//! One recorded calculation: a metric kind, or one of the two helpers below it.

use std::cell::OnceCell;

use serde_json::{Map, Value, json};

use super::input::{self, Node};
use super::{Replayed, difference};
use crate::config::{Config, Gates};
use crate::explain::{Measure, Verdict};
use crate::metric;
use crate::pod::Pod;
use crate::quantity::{Format, Quantity};
use crate::replicas::{Calculation, Calculator, ErrorClass, MetricError, Tolerance};
use crate::requests;
use crate::sample::{self, Answer, Measured};
use crate::spec::{
    ContainerResourceMetric, ExternalMetric, Metric, MetricIdentifier, ObjectMetric, ObjectRef, PodsMetric,
    ResourceMetric, Target,
};
use crate::time::{NS_PER_MS, Time};

/// In these files every calculation happens at the origin.
const NOW: Time = Time(0);
const NAMESPACE: &str = "ns";

pub(super) const KINDS: [&str; 9] = [
    "resource_utilization",
    "resource_average_value",
    "pods_average_value",
    "object_value",
    "object_average_value",
    "external_value",
    "external_average_value",
    "group_pods",
    "pod_requests",
];

pub(super) fn replay(vector: Node<'_>) -> Replayed {
    let kind = vector.get("kind").text();
    let expected = vector.get("expect").value();
    let actual = calculate(vector, kind);
    Replayed { class: kind.into(), steps: 0, difference: difference("", comparable(expected, kind), actual) }
}

/// With an error only the error (and the time stamp, where one is returned with it) is specified.
fn comparable(mut expected: Value, kind: &str) -> Value {
    let failed = !expected["error"].is_null();
    let partial = failed || matches!(kind, "group_pods" | "pod_requests");
    if let Some(map) = expected.as_object_mut().filter(|_| partial) {
        map.retain(|k, _| matches!(k.as_str(), "error" | "timestamp_age_ms" | "groups" | "requests_milli"));
    }
    expected
}

fn calculate(vector: Node<'_>, kind: &str) -> Value {
    let config = Config {
        cpu_initialization_period_ns: vector.get("cpu_initialization_period_ms").int().saturating_mul(NS_PER_MS),
        initial_readiness_delay_ns: vector.get("initial_readiness_delay_ms").int().saturating_mul(NS_PER_MS),
        gates: Gates { pod_level_resources: vector.get("pod_level_resources").truth(), ..Gates::default() },
        ..Config::default()
    };
    let pods = input::pods(vector.get("pods").list());
    let pods: Vec<&Pod> = pods.iter().collect();
    let replicas = vector.get("current_replicas").small();
    let tolerance = vector.get("tolerance");
    let calculator = Calculator {
        pods: match vector.get("list_pods_error").text_or_none() {
            Some(error) => Err(error),
            None => Ok(&pods),
        },
        current: replicas,
        status_replicas: replicas,
        tolerance: Tolerance { down: tolerance.get("scale_down").float(), up: tolerance.get("scale_up").float() },
        now: NOW,
        config: &config,
        index: OnceCell::new(),
    };
    let resource = input::resource(vector.get("pod_metrics"), NOW);
    let custom = input::custom(vector.get("custom_pod_metrics"), NOW);
    let object = input::values(vector.get("object_metric"), NOW);
    let external = input::values(vector.get("external_metric"), NOW);
    let answer = match kind {
        _ if kind.starts_with("resource") => Answer::PodMetrics(result(&resource.error, &resource.items[..])),
        "pods_average_value" => Answer::PodValues(result(&custom.error, &custom.items[..])),
        _ if kind.starts_with("object") => {
            Answer::Object(result(&object.error, ()).and_then(|()| first(&object.values)))
        }
        _ if kind.starts_with("external") => Answer::External(result(&external.error, &external.values[..])),
        _ if vector.get("custom_pod_metrics").is_absent() => {
            Answer::PodMetrics(result(&resource.error, &resource.items[..]))
        }
        _ => Answer::PodValues(result(&custom.error, &custom.items[..])),
    };
    match kind {
        "group_pods" => groups(vector, &calculator, &pods, answer),
        "pod_requests" => pod_requests(vector, &config, &pods),
        _ => outcome(metric::calculate(&metric_of(vector, kind), Some(answer), &calculator, NAMESPACE), kind),
    }
}

fn result<T>(error: &Option<String>, value: T) -> Result<T, &str> {
    error.as_deref().map_or(Ok(value), Err)
}

fn first(values: &[sample::Value]) -> Result<sample::Value, &'static str> {
    values.first().copied().ok_or("no value was recorded")
}

fn metric_of(vector: Node<'_>, kind: &str) -> Metric {
    let milli = || Some(Quantity::from_milli(vector.get("target_milli").int(), Format::DecimalSi));
    let target = match kind {
        "resource_utilization" => Target::utilization(vector.get("target_utilization_percent").small()),
        "object_value" | "external_value" => Target { r#type: "Value".into(), value: milli(), ..Target::default() },
        _ => Target { r#type: "AverageValue".into(), average_value: milli(), ..Target::default() },
    };
    let metric = MetricIdentifier { name: "m".into(), selector: input::label_selector(vector.get("metric_selector")) };
    let name: String = vector.get("resource").text().into();
    let container: String = vector.get("container").text().into();
    let described_object = ObjectRef::new("networking.k8s.io/v1", "Ingress", "main");
    let mut of = Metric::default();
    let r#type = match kind.split('_').next().unwrap_or_default() {
        "resource" if container.is_empty() => {
            of.resource = Some(ResourceMetric { name, target });
            "Resource"
        }
        "resource" => {
            of.container_resource = Some(ContainerResourceMetric { name, container, target });
            "ContainerResource"
        }
        "pods" => {
            of.pods = Some(PodsMetric { metric, target });
            "Pods"
        }
        "object" => {
            of.object = Some(ObjectMetric { described_object, metric, target });
            "Object"
        }
        _ => {
            of.external = Some(ExternalMetric { metric, target });
            "External"
        }
    };
    Metric { r#type: r#type.into(), ..of }
}

fn outcome(calculation: Calculation, kind: &str) -> Value {
    // Upstream returns no time stamp with a value of a whole, and with a failed utilisation.
    let dated = match kind {
        "object_value" | "external_value" => false,
        "resource_utilization" => calculation.outcome.is_ok(),
        _ => true,
    };
    let age_ms = calculation.sampled_at.filter(|_| dated).map(|at| Time(NOW.0 - at.0).ms());
    let proposal = match calculation.outcome {
        Ok(proposal) => proposal,
        Err(e) => return json!({ "error": error(&e), "timestamp_age_ms": age_ms }),
    };
    let mut map = Map::new();
    let usage_milli = match proposal.usage {
        Measure::Percent { percent, average_milli } => {
            map.insert("utilization_percent".into(), percent.into());
            average_milli.unwrap_or_default()
        }
        Measure::AverageMilli(value) | Measure::ValueMilli(value) => value,
    };
    map.insert("replicas".into(), proposal.replicas.into());
    map.insert("usage_milli".into(), usage_milli.into());
    map.insert("timestamp_age_ms".into(), age_ms.into());
    Value::Object(map)
}

fn error(e: &MetricError) -> Value {
    json!({ "class": e.class.as_str(), "message": e.message })
}

fn measured<'a>(vector: Node<'a>) -> Measured<'a> {
    let resource = vector.get("resource").text();
    match vector.get("container").text() {
        _ if resource.is_empty() => Measured::Custom,
        "" => Measured::Resource(resource),
        container => Measured::Container { resource, container },
    }
}

fn groups(vector: Node<'_>, calculator: &Calculator<'_>, pods: &[&Pod], answer: Answer<'_>) -> Value {
    let measured = measured(vector);
    let samples = match sample::join(answer, measured, pods, &calculator.index) {
        Ok(samples) => samples,
        Err(e) => return json!({ "error": error(&MetricError::new(ErrorClass::MetricsUnavailable, e)) }),
    };
    let verdicts = calculator.verdicts(pods, &samples, measured);
    let names = |is: fn(&Verdict) -> bool| {
        let judged = pods.iter().zip(&verdicts).filter(|(_, v)| is(v));
        let mut names: Vec<&str> = judged.map(|(p, _)| &*p.name).collect();
        names.sort_unstable();
        names
    };
    json!({ "groups": {
        "ready_count": names(|v| *v == Verdict::Counted).len(),
        "unready": names(|v| matches!(v, Verdict::Unready(_))),
        "missing": names(|v| *v == Verdict::Missing),
        "ignored": names(|v| *v == Verdict::Ignored),
    } })
}

fn pod_requests(vector: Node<'_>, config: &Config, pods: &[&Pod]) -> Value {
    let mut requests = Map::new();
    for pod in pods {
        match requests::of(pod, measured(vector), config.gates.pod_level_resources) {
            Ok(milli) => requests.insert(pod.name.to_string(), milli.into()),
            Err(e) => return json!({ "error": error(&e) }),
        };
    }
    json!({ "requests_milli": requests })
}
