//! What the custom and external metrics APIs answer for one metric of a HorizontalPodAutoscaler, asked as its controller
//! asks.

use autoscaler::json;
use autoscaler::json::metrics_api::{self, CUSTOM, CUSTOM_VERSIONS, Fetched};
use autoscaler::spec::{Metric, ObjectMetric};
use kube::Client;
use serde_json::Value;

use super::text;

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
        let list = get_custom(client, &metrics_api::pods_path(namespace, selector, &pods.metric)).await;
        Some(Fetched::PodValues(list.map(|list| metrics_api::pod_values(&list))))
    } else if let Some(object) = &metric.object {
        let path = metrics_api::object_path(namespace, &resource_of(object), object);
        let list = get_custom(client, &path).await;
        Some(Fetched::Object(list.and_then(|list| metrics_api::object_value(&list))))
    } else {
        let external = metric.external.as_ref()?;
        let list = get(client, &metrics_api::external_path(namespace, &external.metric)).await;
        Some(Fetched::External(list.map(|list| metrics_api::external_values(&list))))
    }
}

/// By the usual spelling, without discovery.
fn resource_of(metric: &ObjectMetric) -> String {
    let described = &metric.described_object;
    let kind = described.kind.to_lowercase();
    let plural = match kind.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None if kind.ends_with('s') => format!("{kind}es"),
        None => format!("{kind}s"),
    };
    described.api_version.split_once('/').map_or(plural.clone(), |(group, _)| format!("{plural}.{group}"))
}

async fn get_custom(client: &Client, path: &str) -> Result<Value, String> {
    get(client, &format!("/apis/{CUSTOM}/{}/{path}", CUSTOM_VERSIONS[0])).await
}

async fn get(client: &Client, path: &str) -> Result<Value, String> {
    let request = http::Request::get(path).body(Vec::new()).map_err(|error| error.to_string())?;
    client.request(request).await.map_err(|error| match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_spelt_as_their_resources() {
        for (kind, api_version, expected) in [
            ("Service", "v1", "services"),
            ("Deployment", "apps/v1", "deployments.apps"),
            ("Ingress", "networking.k8s.io/v1", "ingresses.networking.k8s.io"),
            ("NetworkPolicy", "networking.k8s.io/v1", "networkpolicies.networking.k8s.io"),
        ] {
            let hpa = serde_json::json!({"spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "web"},
                "metrics": [{"type": "Object", "object": {"metric": {"name": "rps"}, "target": {"type": "Value", "value": 5},
                "describedObject": {"kind": kind, "name": "web", "apiVersion": api_version}}}]}});
            let spec = json::spec_from_json(&hpa).unwrap_or_else(|error| panic!("{}", error.0));
            assert_eq!(resource_of(spec.metrics[0].object.as_ref().unwrap()), expected);
        }
    }
}
