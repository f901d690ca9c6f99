//! What a HorizontalPodAutoscaler names, asked for as its controller asks: the scale of its target, and what the custom and
//! external metrics APIs say.

use autoscaler::json;
use autoscaler::json::metrics_api::{self, CUSTOM, CUSTOM_VERSIONS, Fetched};
use autoscaler::pass::Scale;
use autoscaler::spec::{Metric, ObjectMetric};
use kube::Client;
use serde_json::Value;

use super::{int, text};

/// One for each metric of the autoscaler; none for those that metrics.k8s.io has.
pub(super) async fn fetch_all(client: &Client, namespace: &str, hpa: &Value, selector: &str) -> Vec<Option<Fetched>> {
    // What cannot be read is told where it is decided on.
    let Ok(spec) = json::spec_from_json(hpa) else { return Vec::new() };
    let mut fetched = Vec::new();
    for metric in &spec.metrics {
        fetched.push(fetch(client, namespace, selector, metric).await);
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

/// The scale of what an autoscaler scales, or the API's word on why there is none.
pub(super) async fn scale(client: &Client, namespace: &str, hpa: &Value) -> Result<Scale, String> {
    let scale = get(client, &scale_path(namespace, hpa)).await?;
    Ok(Scale {
        spec_replicas: int(&scale, "/spec/replicas"),
        status_replicas: int(&scale, "/status/replicas"),
        selector: text(&scale, "/status/selector").to_owned(),
    })
}

fn scale_path(namespace: &str, hpa: &Value) -> String {
    let target = |key: &str| text(hpa, &format!("/spec/scaleTargetRef/{key}"));
    let (version, resource, name) = (target("apiVersion"), plural(target("kind")), target("name"));
    let root = if version.contains('/') { "apis" } else { "api" };
    format!("/{root}/{version}/namespaces/{namespace}/{resource}/{name}/scale")
}

fn resource_of(metric: &ObjectMetric) -> String {
    let described = &metric.described_object;
    let plural = plural(&described.kind);
    described.api_version.split_once('/').map_or(plural.clone(), |(group, _)| format!("{plural}.{group}"))
}

/// By the usual spelling, without discovery.
fn plural(kind: &str) -> String {
    let kind = kind.to_lowercase();
    match kind.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None if kind.ends_with('s') => format!("{kind}es"),
        None => format!("{kind}s"),
    }
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

    #[test]
    fn a_scale_is_asked_of_the_target_whatever_its_kind() {
        for (api_version, kind, expected) in [
            ("apps/v1", "StatefulSet", "/apis/apps/v1/namespaces/shop/statefulsets/web/scale"),
            ("v1", "ReplicationController", "/api/v1/namespaces/shop/replicationcontrollers/web/scale"),
            ("argoproj.io/v1alpha1", "Rollout", "/apis/argoproj.io/v1alpha1/namespaces/shop/rollouts/web/scale"),
        ] {
            let target = serde_json::json!({"apiVersion": api_version, "kind": kind, "name": "web"});
            assert_eq!(scale_path("shop", &serde_json::json!({"spec": {"scaleTargetRef": target}})), expected);
        }
    }
}
