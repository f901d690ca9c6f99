//! The metrics APIs as a controller of HorizontalPodAutoscalers uses them: where to ask for a metric, and how to read
//! what custom.metrics.k8s.io and external.metrics.k8s.io answer. Asking itself is the host's.

use std::sync::Arc;

use serde_json::Value;

use super::observed::{array, quantity, text, time};
use crate::sample::{Answer, PodMetrics, PodValue, Value as Sample};
use crate::spec::{LabelSelector, MetricIdentifier, ObjectMetric};

pub const CUSTOM: &str = "custom.metrics.k8s.io";
/// The versions of [`CUSTOM`] that can be read, the better first.
pub const CUSTOM_VERSIONS: [&str; 2] = ["v1beta2", "v1beta1"];
pub const EXTERNAL: &str = "external.metrics.k8s.io";

/// The answer to one metric of a specification, owned.
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

/// Below a version of [`CUSTOM`]: one metric of all pods that `selector` matches.
pub fn pods_path(namespace: &str, selector: &str, metric: &MetricIdentifier) -> String {
    let path = format!("namespaces/{namespace}/pods/%2A/{}", escape(&metric.name));
    let selectors = [("labelSelector", selector.to_owned()), ("metricLabelSelector", series(metric))];
    path + &query(&selectors)
}

/// Below a version of [`CUSTOM`]: one metric of one object, whose kind is served as `resource` (`ingresses.networking.k8s.io`).
/// A namespace is read at the root, under the autoscaler's own namespace whatever name was given.
pub fn object_path(namespace: &str, resource: &str, metric: &ObjectMetric) -> String {
    let (object, name) = (escape(&metric.described_object.name), escape(&metric.metric.name));
    let path = if is_of_namespace(metric) {
        format!("namespaces/{namespace}/metrics/{name}")
    } else {
        format!("namespaces/{namespace}/{resource}/{object}/{name}")
    };
    path + &query(&[("metricLabelSelector", series(&metric.metric))])
}

pub fn is_of_namespace(metric: &ObjectMetric) -> bool {
    let described = &metric.described_object;
    described.kind == "Namespace" && !described.api_version.contains('/')
}

/// From the root: the values of one metric that comes from outside.
pub fn external_path(namespace: &str, metric: &MetricIdentifier) -> String {
    let path = format!("/apis/{EXTERNAL}/v1beta1/namespaces/{namespace}/{}", escape(&metric.name));
    path + &query(&[("labelSelector", series(metric))])
}

/// Of a MetricValueList about pods.
pub fn pod_values(list: &Value) -> Vec<PodValue> {
    let read = |item: &Value| {
        // v1beta1 calls it "window".
        let window = item.get("windowSeconds").or(item.get("window"));
        let Sample { value_milli, at } = sample(item)?;
        let pod = Arc::from(text(item, "/describedObject/name"));
        Some(PodValue { pod, at, window_s: window.and_then(Value::as_i64), value_milli })
    };
    array(list, "/items").iter().filter_map(read).collect()
}

/// Of a MetricValueList about one object.
pub fn object_value(list: &Value) -> Result<Sample, String> {
    let [item] = array(list, "/items") else {
        let count = array(list, "/items").len();
        return Err(format!("the custom metrics API server returned {count} results when we asked for exactly one"));
    };
    sample(item).ok_or_else(|| "the metric's value is not a quantity".to_owned())
}

/// Of an ExternalMetricValueList.
pub fn external_values(list: &Value) -> Vec<Sample> {
    array(list, "/items").iter().filter_map(sample).collect()
}

/// Percent-encodes what may not stand in a path segment or query value.
pub fn escape(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(encode).collect()
}

fn sample(item: &Value) -> Option<Sample> {
    let value_milli = quantity(&item["value"])?.milli();
    Some(Sample { value_milli, at: time(item, "/timestamp").unwrap_or_default() })
}

/// The selector of a metric's series.
fn series(metric: &MetricIdentifier) -> String {
    metric.selector.as_ref().map(selector_text).unwrap_or_default()
}

/// A structured selector as it stands in a query.
fn selector_text(selector: &LabelSelector) -> String {
    let mut terms: Vec<String> = selector.match_labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    terms.extend(selector.match_expressions.iter().map(|requirement| {
        let (key, values) = (&requirement.key, requirement.values.join(","));
        match requirement.operator.as_str() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.clone(),
            _ => format!("!{key}"),
        }
    }));
    terms.sort();
    terms.join(",")
}

/// Of those parameters that say something.
fn query(parameters: &[(&str, String)]) -> String {
    let said = parameters.iter().filter(|(_, value)| !value.is_empty());
    let pairs: Vec<String> = said.map(|(name, value)| format!("{name}={}", escape(value))).collect();
    if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object_metric(described: Value, metric: Value) -> ObjectMetric {
        let hpa = json!({"spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "web"}, "metrics":
            [{"type": "Object", "object": {"describedObject": described, "metric": metric,
              "target": {"type": "Value", "value": 5}}}]}});
        let mut spec = crate::json::spec_from_json(&hpa).unwrap();
        spec.metrics.remove(0).object.unwrap()
    }

    #[test]
    fn objects_are_asked_for_by_their_resource() {
        let check = |described: Value, metric: Value, resource: &str, expected: &str| {
            assert_eq!(
                object_path("lab", resource, &object_metric(described, metric)),
                format!("namespaces/lab/{expected}")
            );
        };
        let web = || json!({"kind": "Service", "name": "web", "apiVersion": "v1"});
        check(web(), json!({"name": "rps"}), "services", "services/web/rps");
        let other = json!({"kind": "Namespace", "name": "other", "apiVersion": "v1"});
        check(other, json!({"name": "a/b"}), "namespaces", "metrics/a%2Fb");
        let series = json!({"matchLabels": {"code": "200"},
            "matchExpressions": [{"key": "x", "operator": "In", "values": ["a", "b"]}]});
        check(
            web(),
            json!({"name": "rps", "selector": series}),
            "services",
            "services/web/rps?metricLabelSelector=code%3D200%2Cx%20in%20%28a%2Cb%29",
        );
    }

    #[test]
    fn a_list_about_one_object_has_one_item() {
        let item = json!({"value": "1500m", "timestamp": "2026-05-04T10:20:30Z"});
        assert_eq!(object_value(&json!({"items": [item]})).unwrap().value_milli, 1500);
        let none = object_value(&json!({"items": []})).unwrap_err();
        assert!(none.contains("returned 0 results"), "{none}");
        assert!(object_value(&json!({"items": [{"value": "much"}]})).is_err());
    }

    #[test]
    fn pods_keep_their_window_in_both_versions() {
        let item = |key: &str| json!({"describedObject": {"name": "web-1"}, "value": "3", key: 30});
        let read = pod_values(&json!({"items": [item("windowSeconds"), item("window"), {"value": true}]}));
        assert_eq!(read.iter().map(|it| (it.window_s, it.value_milli)).collect::<Vec<_>>(), [(Some(30), 3000); 2]);
    }
}
