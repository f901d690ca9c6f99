//! What the custom and external metrics APIs answer for one metric of a HorizontalPodAutoscaler, asked as its controller
//! asks.

use std::sync::Arc;

use autoscaler::json::{self, rfc3339};
use autoscaler::quantity::Quantity;
use autoscaler::sample::{Answer, PodValue, Value as Sample};
use autoscaler::spec::{LabelSelector, Metric, MetricIdentifier, ObjectMetric};
use kube::Client;
use serde_json::Value;

use super::{items, text};

const CUSTOM: &str = "/apis/custom.metrics.k8s.io/v1beta2";
const EXTERNAL: &str = "/apis/external.metrics.k8s.io/v1beta1";

pub(super) enum Fetched {
    Pods(Result<Vec<PodValue>, String>),
    Object(Result<Sample, String>),
    External(Result<Vec<Sample>, String>),
}

impl Fetched {
    pub(super) fn answer(&self) -> Answer<'_> {
        match self {
            Fetched::Pods(values) => Answer::PodValues(values.as_deref().map_err(String::as_str)),
            Fetched::Object(value) => Answer::Object(value.as_ref().copied().map_err(String::as_str)),
            Fetched::External(values) => Answer::External(values.as_deref().map_err(String::as_str)),
        }
    }
}

/// One for each metric of the autoscaler; none for those that metrics.k8s.io has.
pub(super) async fn fetch_all(client: &Client, namespace: &str, hpa: &Value, scale: &Value) -> Vec<Option<Fetched>> {
    // What cannot be read is told where it is decided on.
    let Ok(spec) = json::spec_from_json(hpa) else { return Vec::new() };
    let mut fetched = Vec::new();
    for metric in &spec.metrics {
        fetched.push(fetch(client, namespace, text(scale, "/status/selector"), metric).await);
    }
    fetched
}

async fn fetch(client: &Client, namespace: &str, selector: &str, metric: &Metric) -> Option<Fetched> {
    if let Some(pods) = &metric.pods {
        let of_series = chosen("&metricLabelSelector", &pods.metric);
        let name = escaped(&pods.metric.name);
        let path =
            format!("{CUSTOM}/namespaces/{namespace}/pods/%2A/{name}?labelSelector={}{of_series}", escaped(selector));
        let list = get(client, &path).await;
        Some(Fetched::Pods(list.map(|list| items(&list).filter_map(pod_value).collect())))
    } else if let Some(object) = &metric.object {
        let list = get(client, &object_path(namespace, object)).await;
        let first = |list: Value| items(&list).find_map(sample).ok_or("the list is empty".to_owned());
        Some(Fetched::Object(list.and_then(first)))
    } else {
        let external = metric.external.as_ref()?;
        let of_series = chosen("?labelSelector", &external.metric);
        let path = format!("{EXTERNAL}/namespaces/{namespace}/{}{of_series}", escaped(&external.metric.name));
        let list = get(client, &path).await;
        Some(Fetched::External(list.map(|list| items(&list).filter_map(sample).collect())))
    }
}

fn object_path(namespace: &str, metric: &ObjectMetric) -> String {
    let described = &metric.described_object;
    let (group, kind) =
        (described.api_version.split_once('/').map_or("", |(group, _)| group), described.kind.to_lowercase());
    let (name, of_series) = (escaped(&metric.metric.name), chosen("?metricLabelSelector", &metric.metric));
    match (kind.as_str(), group) {
        ("namespace", "") => format!("{CUSTOM}/namespaces/{namespace}/metrics/{name}{of_series}"),
        (_, "") => format!("{CUSTOM}/namespaces/{namespace}/{kind}s/{}/{name}{of_series}", described.name),
        _ => format!("{CUSTOM}/namespaces/{namespace}/{kind}s.{group}/{}/{name}{of_series}", described.name),
    }
}

async fn get(client: &Client, path: &str) -> Result<Value, String> {
    let request = http::Request::get(path).body(Vec::new()).map_err(|error| error.to_string())?;
    client.request(request).await.map_err(|error| match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    })
}

/// The selector of a metric's series as a parameter, where it has one.
fn chosen(parameter: &str, metric: &MetricIdentifier) -> String {
    match metric.selector.as_ref().map(selector_text).filter(|text| !text.is_empty()) {
        Some(text) => format!("{parameter}={}", escaped(&text)),
        None => String::new(),
    }
}

/// A structured selector as it stands in a query.
fn selector_text(selector: &LabelSelector) -> String {
    let labels = selector.match_labels.iter().map(|(key, value)| format!("{key}={value}"));
    let expressions = selector.match_expressions.iter().map(|expression| {
        let (key, values) = (&expression.key, expression.values.join(","));
        match expression.operator.as_str() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.clone(),
            _ => format!("!{key}"),
        }
    });
    labels.chain(expressions).collect::<Vec<_>>().join(",")
}

fn pod_value(item: &Value) -> Option<PodValue> {
    let Sample { value_milli, at } = sample(item)?;
    let pod = Arc::from(text(item, "/describedObject/name"));
    Some(PodValue { pod, at, window_s: item["windowSeconds"].as_i64(), value_milli })
}

fn sample(item: &Value) -> Option<Sample> {
    let value_milli = Quantity::parse(item["value"].as_str()?).ok()?.milli();
    Some(Sample { value_milli, at: rfc3339::parse(text(item, "/timestamp")).unwrap_or_default() })
}

/// Percent-encoded.
fn escaped(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The path that an object metric is read from.
    #[track_caller]
    fn check(described: &str, metric: &str, expected: &str) {
        let hpa = format!(
            "{{spec: {{maxReplicas: 3, scaleTargetRef: {{kind: Deployment, name: web}}, metrics: [{{type: Object, object: \
             {{describedObject: {described}, metric: {metric}, target: {{type: Value, value: 5}}}}}}]}}}}"
        );
        let hpa: Value = serde_yaml::from_str(&hpa).unwrap();
        let spec = json::spec_from_json(&hpa).unwrap_or_else(|error| panic!("{}", error.0));
        let object = spec.metrics[0].object.as_ref().unwrap();
        assert_eq!(object_path("lab", object), format!("{CUSTOM}/namespaces/lab/{expected}"));
    }

    #[test]
    fn objects_are_asked_for_as_the_controller_does() {
        check("{kind: Service, name: web, apiVersion: v1}", "{name: rps}", "services/web/rps");
        check("{kind: Deployment, name: web, apiVersion: apps/v1}", "{name: rps}", "deployments.apps/web/rps");
        check("{kind: Namespace, name: other, apiVersion: v1}", "{name: a/b}", "metrics/a%2Fb");
        check(
            "{kind: Service, name: web, apiVersion: v1}",
            "{name: rps, selector: {matchLabels: {code: '200'}, matchExpressions: [{key: x, operator: In, values: [a, b]}]}}",
            "services/web/rps?metricLabelSelector=code%3D200%2Cx%20in%20%28a%2Cb%29",
        );
    }
}
