//! From the API's JSON to what the decision observes: pods, samples, and the answers of the metrics APIs. A stamp is
//! read as it is stored, in whole seconds; the decision relies on that.

use std::sync::Arc;

use autoscaler::json::rfc3339;
use autoscaler::pod::{Amount, Container, InitContainer, Phase, Pod, Readiness, Resources};
use autoscaler::quantity::Quantity;
use autoscaler::sample::{Answer, ContainerUsage, PodMetrics, PodValue, Value as Sample};
use autoscaler::spec::{LabelSelector, Metric, MetricIdentifier, ObjectMetric, Spec};
use autoscaler::status::ConditionStatus;
use autoscaler::time::Time;
use jiff::Timestamp;
use serde_json::Value;

use super::World;
use crate::object;

/// The answers to the metrics of one spec, owned.
pub enum Fetched {
    PodMetrics(Result<Vec<PodMetrics>, String>),
    PodValues(Result<Vec<PodValue>, String>),
    Object(Result<Sample, String>),
    External(Result<Vec<Sample>, String>),
}

impl Fetched {
    pub fn answer(&self) -> Answer<'_> {
        match self {
            Fetched::PodMetrics(items) => Answer::PodMetrics(items.as_deref().map_err(String::as_str)),
            Fetched::PodValues(items) => Answer::PodValues(items.as_deref().map_err(String::as_str)),
            Fetched::Object(value) => Answer::Object(value.as_ref().copied().map_err(String::as_str)),
            Fetched::External(values) => Answer::External(values.as_deref().map_err(String::as_str)),
        }
    }
}

pub fn time_of(at: Timestamp) -> Time {
    Time(i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX))
}

fn time_at(value: &Value, pointer: &str) -> Option<Time> {
    rfc3339::parse(object::str_at(value, pointer))
}

pub fn pod(value: &Value) -> Pod {
    let containers = |list: &str| object::array_at(value, list).iter();
    let ready = object::condition(value, "Ready").map(|ready| Readiness {
        status: ConditionStatus::parse(object::str_at(ready, "/status")),
        last_transition_time: time_at(ready, "/lastTransitionTime").unwrap_or_default(),
    });
    let init = |it: &Value| InitContainer { container: container(it), restartable: it["restartPolicy"] == "Always" };
    let labels = object::labels(value).into_iter().flatten();
    Pod {
        name: Arc::from(object::name(value)),
        labels: labels.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect(),
        phase: Phase::parse(object::str_at(value, "/status/phase")),
        deleting: object::is_deleting(value),
        start_time: time_at(value, "/status/startTime"),
        ready,
        containers: containers("/spec/containers").map(container).collect(),
        init_containers: containers("/spec/initContainers").map(init).collect(),
        pod_level_requests: resources(value.pointer("/spec/resources/requests")),
        overhead: resources(value.pointer("/spec/overhead")),
    }
}

fn container(value: &Value) -> Container {
    Container {
        name: object::str_at(value, "/name").to_owned(),
        requests: resources(value.pointer("/resources/requests")),
    }
}

fn resources(map: Option<&Value>) -> Resources {
    let mut resources = Resources::default();
    for (name, amount) in map.and_then(Value::as_object).into_iter().flatten() {
        if let Some(quantity) = quantity(amount) {
            resources.set(name, Amount::from_quantity(&quantity));
        }
    }
    resources
}

fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => Quantity::parse(text).ok(),
        Value::Number(number) => Quantity::parse(&number.to_string()).ok(),
        _ => None,
    }
}

/// An item of a PodMetricsList.
pub fn pod_metrics(value: &Value) -> PodMetrics {
    let containers = object::array_at(value, "/containers").iter();
    PodMetrics {
        pod: Arc::from(object::name(value)),
        at: time_at(value, "/timestamp").unwrap_or_default(),
        window_ns: duration_ns(object::str_at(value, "/window")).unwrap_or(0),
        containers: containers
            .map(|it| ContainerUsage {
                name: object::str_at(it, "/name").to_owned(),
                usage: resources(it.get("usage")),
            })
            .collect(),
    }
}

/// A duration as Go prints it ("15.041s", "1m0s", "990ms"), in nanoseconds.
pub fn duration_ns(text: &str) -> Option<i64> {
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let ns = match &tail[..unit] {
            "h" => 3600e9,
            "m" => 60e9,
            "s" => 1e9,
            "ms" => 1e6,
            "us" | "µs" => 1e3,
            "ns" => 1.0,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * ns;
        rest = &tail[unit..];
    }
    #[expect(clippy::cast_possible_truncation, reason = "a float to integer cast saturates")]
    let total = total.round() as i64;
    (!text.is_empty()).then_some(total)
}

/// Asks the metrics APIs for every metric of the spec, in its order. `selector` is the target's.
pub fn fetch_all(world: &impl World, namespace: &str, spec: &Spec, selector: &str) -> Vec<Option<Fetched>> {
    let mut resource: Option<Result<Vec<PodMetrics>, String>> = None;
    let fetch = |metric: &Metric| {
        let fetched = if metric.resource.is_some() || metric.container_resource.is_some() {
            let items = resource.get_or_insert_with(|| {
                world.pod_metrics(namespace, selector).map(|items| items.iter().map(pod_metrics).collect())
            });
            Fetched::PodMetrics(items.clone())
        } else if let Some(pods) = &metric.pods {
            Fetched::PodValues(pod_values(world, namespace, selector, &pods.metric))
        } else if let Some(object) = &metric.object {
            Fetched::Object(object_value(world, namespace, object))
        } else {
            let external = metric.external.as_ref()?;
            Fetched::External(external_values(world, namespace, &external.metric))
        };
        Some(fetched)
    };
    spec.metrics.iter().map(fetch).collect()
}

const CUSTOM_METRICS: &str = "custom.metrics.k8s.io";
/// The versions that can be read, the better first.
const CUSTOM_VERSIONS: [&str; 2] = ["v1beta2", "v1beta1"];
const EXTERNAL_METRICS: &str = "external.metrics.k8s.io";

fn pod_values(
    world: &impl World,
    namespace: &str,
    selector: &str,
    metric: &MetricIdentifier,
) -> Result<Vec<PodValue>, String> {
    let mut path = format!("namespaces/{namespace}/pods/%2A/{}?", escape(&metric.name));
    path.push_str(&[query("labelSelector", selector), metric_selector("metricLabelSelector", metric)].concat());
    let list = get_custom(world, path.trim_end_matches(['?', '&']), "pods", "*")?;
    let items = object::array_at(&list, "/items").iter();
    let read = |item: &Value| {
        Some(PodValue {
            pod: Arc::from(object::str_at(item, "/describedObject/name")),
            at: time_at(item, "/timestamp").unwrap_or_default(),
            // v1beta1 calls it "window".
            window_s: object::i64_at(item, "/windowSeconds").or_else(|| object::i64_at(item, "/window")),
            value_milli: quantity(&item["value"])?.milli(),
        })
    };
    Ok(items.filter_map(read).collect())
}

fn object_value(world: &impl World, namespace: &str, metric: &ObjectMetric) -> Result<Sample, String> {
    let described = &metric.described_object;
    let name = escape(&metric.metric.name);
    let group = described.api_version.split_once('/').map_or("", |(group, _)| group);
    let (path, resource, about) = if described.kind == "Namespace" && group.is_empty() {
        // Read at the root, under the HPA's own namespace whatever name was given.
        (format!("namespaces/{namespace}/metrics/{name}?"), "metrics".to_owned(), metric.metric.name.as_str())
    } else {
        let kind = if group.is_empty() { described.kind.clone() } else { format!("{}.{group}", described.kind) };
        let unmapped = |error| format!("unable to map kind {kind} to resource: {error}");
        let resource = world.resource_of(group, &described.kind).map_err(unmapped)?;
        let path = format!("namespaces/{namespace}/{resource}/{}/{name}?", escape(&described.name));
        (path, resource, described.name.as_str())
    };
    let path = path + &metric_selector("metricLabelSelector", &metric.metric);
    let list = get_custom(world, path.trim_end_matches(['?', '&']), &resource, about)?;
    let [item] = object::array_at(&list, "/items") else {
        let count = object::array_at(&list, "/items").len();
        return Err(format!("the custom metrics API server returned {count} results when we asked for exactly one"));
    };
    let value_milli = quantity(&item["value"]).ok_or("the metric's value is not a quantity")?.milli();
    Ok(Sample { value_milli, at: time_at(item, "/timestamp").unwrap_or_default() })
}

fn external_values(world: &impl World, namespace: &str, metric: &MetricIdentifier) -> Result<Vec<Sample>, String> {
    let path = format!("/apis/{EXTERNAL_METRICS}/v1beta1/namespaces/{namespace}/{}?", escape(&metric.name));
    let path = path + &metric_selector("labelSelector", metric);
    let answer = world.get(path.trim_end_matches(['?', '&']))?;
    let asked = format!("get {}.{EXTERNAL_METRICS}", metric.name);
    let list = answer.read(&asked).map_err(|refusal| refusal.message)?;
    let items = object::array_at(&list, "/items").iter();
    let read = |item: &Value| {
        let value_milli = quantity(&item["value"])?.milli();
        Some(Sample { value_milli, at: time_at(item, "/timestamp").unwrap_or_default() })
    };
    Ok(items.filter_map(read).collect())
}

/// From the newest version of the custom metrics API that is served.
fn get_custom(world: &impl World, path: &str, resource: &str, name: &str) -> Result<Value, String> {
    let served = world.versions(CUSTOM_METRICS)?;
    if served.is_empty() {
        return Err(format!("no custom metrics API ({CUSTOM_METRICS}) registered"));
    }
    let version = CUSTOM_VERSIONS.iter().find(|version| served.iter().any(|it| it == *version));
    let version = version.ok_or("no known available metric versions found")?;
    let answer = world.get(&format!("/apis/{CUSTOM_METRICS}/{version}/{path}"))?;
    answer.read(&format!("get {resource}.{CUSTOM_METRICS} {name}")).map_err(|refusal| refusal.message)
}

fn metric_selector(parameter: &str, metric: &MetricIdentifier) -> String {
    query(parameter, &metric.selector.as_ref().map(selector_text).unwrap_or_default())
}

/// One parameter of a query, if it says something.
fn query(parameter: &str, value: &str) -> String {
    if value.is_empty() { String::new() } else { format!("{parameter}={}&", escape(value)) }
}

/// A structured selector in its string form.
fn selector_text(selector: &LabelSelector) -> String {
    let mut terms: Vec<String> = selector.match_labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    for requirement in &selector.match_expressions {
        let (key, values) = (&requirement.key, requirement.values.join(","));
        terms.push(match requirement.operator.as_str() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.clone(),
            _ => format!("!{key}"),
        });
    }
    terms.sort();
    terms.join(",")
}

/// Percent-encodes what may not stand in a path segment or query value.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => escaped.push(char::from(byte)),
            other => escaped.push_str(&format!("%{other:02X}")),
        }
    }
    escaped
}
