//! What is scaled: the Deployment, its Service and its HorizontalPodAutoscaler, found in the manifests.
//!
//! No name is written in Rust. `setup` reads them from what it renders and keeps them in the session; the other verbs ask
//! the cluster for the rest (selector, port, bounds), so they show what is really there.

use anyhow::Result;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{Node, Service};
use kube::api::ListParams;
use kube::{Api, Client};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::problem;

/// The label that marks what the lab made, in a cluster that may hold more.
pub(crate) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
pub(crate) const MANAGER: &str = "swell";

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Workload {
    pub namespace: String,
    pub deployment: String,
    pub service: String,
    pub hpa: String,
    /// Images that the Deployment's containers name, as written in the manifests.
    pub images: Vec<String>,
}

impl Workload {
    /// The HPA says which Deployment it scales; the Service is the one whose selector fits that Deployment's pods.
    pub(crate) fn find(objects: &[Value]) -> Result<Workload> {
        let of_kind = |kind: &'static str| objects.iter().filter(move |object| object["kind"] == kind);
        let hpa = of_kind("HorizontalPodAutoscaler")
            .next()
            .ok_or_else(|| problem::manifests_lack("HorizontalPodAutoscaler"))?;
        let target = text(hpa, "/spec/scaleTargetRef/name");
        let deployment = of_kind("Deployment")
            .find(|deployment| text(deployment, "/metadata/name") == target)
            .ok_or_else(|| problem::manifests_lack("Deployment that the HorizontalPodAutoscaler names"))?;
        let pod_labels = deployment.pointer("/spec/template/metadata/labels").cloned().unwrap_or_default();
        let service = of_kind("Service")
            .find(|service| selects(&service["spec"]["selector"], &pod_labels))
            .ok_or_else(|| problem::manifests_lack("Service that selects the Deployment's pods"))?;
        let containers = deployment.pointer("/spec/template/spec/containers").and_then(Value::as_array);
        let images = containers.into_iter().flatten().filter_map(|c| c["image"].as_str()).map(str::to_owned).collect();
        let namespace = text(deployment, "/metadata/namespace");
        Ok(Workload {
            namespace: if namespace.is_empty() { "default".to_owned() } else { namespace },
            deployment: target,
            service: text(service, "/metadata/name"),
            hpa: text(hpa, "/metadata/name"),
            images,
        })
    }
}

/// What the cluster says of the workload right now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Label selector of the pods, in the form of a query.
    pub selector: String,
    pub target_port: u16,
    /// The Service from inside the cluster, by its address, which needs no name server.
    pub cluster_url: Option<String>,
    /// A node's address and the Service's NodePort, where it has one.
    pub node_port: Option<(String, i32)>,
    pub min_replicas: i32,
    pub max_replicas: i32,
    pub target_percent: Option<i32>,
    /// CPU that one pod asks for: what the percentage is of.
    pub request_milli: Option<i64>,
}

impl Facts {
    pub(crate) async fn read(client: &Client, workload: &Workload) -> Result<Facts> {
        let namespace = workload.namespace.as_str();
        let deployment: Deployment = Api::namespaced(client.clone(), namespace).get(&workload.deployment).await?;
        let service: Service = Api::namespaced(client.clone(), namespace).get(&workload.service).await?;
        let hpa: HorizontalPodAutoscaler = Api::namespaced(client.clone(), namespace).get(&workload.hpa).await?;
        let node_port = match node_port(&service) {
            Some(port) => node_address(client).await?.map(|address| (address, port)),
            None => None,
        };
        let spec = hpa.spec;
        Ok(Facts {
            selector: selector(&deployment),
            target_port: target_port(&service, &deployment),
            cluster_url: cluster_url(&service),
            node_port,
            min_replicas: spec.min_replicas.unwrap_or(1),
            max_replicas: spec.max_replicas,
            target_percent: spec
                .metrics
                .iter()
                .flatten()
                .find_map(|metric| metric.resource.as_ref()?.target.average_utilization),
            request_milli: request_milli(&deployment),
        })
    }
}

/// CPU in thousandths of a core, rounded up as Kubernetes rounds: `250m`, `1`, `0.5`, `123456789n`, `100u`.
pub(crate) fn milli_cpu(quantity: &str) -> Option<i64> {
    let digits = quantity.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(quantity.len());
    let (number, unit) = quantity.split_at(digits);
    let per_unit = match unit {
        "n" => 1e-6,
        "u" => 1e-3,
        "m" => 1.0,
        "" => 1e3,
        "k" => 1e6,
        _ => return None,
    };
    let milli = number.parse::<f64>().ok()? * per_unit;
    (milli.is_finite() && milli < 1e12).then(|| (milli - 1e-9).ceil() as i64)
}

fn request_milli(deployment: &Deployment) -> Option<i64> {
    let pod = deployment.spec.as_ref()?.template.spec.as_ref()?;
    let mut sum = 0;
    for container in &pod.containers {
        sum += milli_cpu(&container.resources.as_ref()?.requests.as_ref()?.get("cpu")?.0)?;
    }
    Some(sum)
}

/// The pods' labels and expressions: `app=web,tier in (front,back),!canary`.
fn selector(deployment: &Deployment) -> String {
    let Some(selector) = deployment.spec.as_ref().map(|spec| &spec.selector) else { return String::new() };
    let labels = selector.match_labels.iter().flatten().map(|(key, value)| format!("{key}={value}"));
    let expressions = selector.match_expressions.iter().flatten().map(|expression| {
        let key = &expression.key;
        let values = expression.values.clone().unwrap_or_default().join(",");
        match expression.operator.as_str() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.clone(),
        }
    });
    labels.chain(expressions).collect::<Vec<_>>().join(",")
}

fn cluster_url(service: &Service) -> Option<String> {
    let spec = service.spec.as_ref()?;
    let port = spec.ports.as_ref()?.first()?.port;
    let name = service.metadata.name.as_deref()?;
    let namespace = service.metadata.namespace.as_deref().unwrap_or("default");
    Some(match spec.cluster_ip.as_deref() {
        None | Some("" | "None") => format!("http://{name}.{namespace}.svc:{port}"),
        Some(v6) if v6.contains(':') => format!("http://[{v6}]:{port}"),
        Some(address) => format!("http://{address}:{port}"),
    })
}

fn node_port(service: &Service) -> Option<i32> {
    service.spec.as_ref()?.ports.as_ref()?.first()?.node_port
}

/// The number behind the Service's first port; a named target is looked up among the containers' ports.
fn target_port(service: &Service, deployment: &Deployment) -> u16 {
    use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
    let port = service.spec.as_ref().and_then(|spec| spec.ports.as_ref()?.first().cloned()).unwrap_or_default();
    let number = match port.target_port {
        Some(IntOrString::Int(number)) => number,
        Some(IntOrString::String(name)) => named_port(deployment, &name).unwrap_or(port.port),
        None => port.port,
    };
    u16::try_from(number).unwrap_or(80)
}

fn named_port(deployment: &Deployment, name: &str) -> Option<i32> {
    let pod = deployment.spec.as_ref()?.template.spec.as_ref()?;
    let mut ports = pod.containers.iter().flat_map(|container| container.ports.iter().flatten());
    ports.find(|port| port.name.as_deref() == Some(name)).map(|port| port.container_port)
}

async fn node_address(client: &Client) -> Result<Option<String>> {
    let nodes: Api<Node> = Api::all(client.clone());
    let listed = match nodes.list(&ListParams::default()).await {
        Ok(listed) => listed.items,
        // Whoever has rights in one namespace only may not list nodes; the service is then reached by forwarding.
        Err(kube::Error::Api(status)) if status.code == 403 => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut addresses = listed.iter().flat_map(|node| node.status.iter().flat_map(|s| s.addresses.iter().flatten()));
    Ok(addresses.find(|address| address.type_ == "InternalIP").map(|address| address.address.clone()))
}

fn text(object: &Value, pointer: &str) -> String {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn selects(selector: &Value, labels: &Value) -> bool {
    let Some(selector) = selector.as_object().filter(|selector| !selector.is_empty()) else { return false };
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn manifests() -> Vec<Value> {
        vec![
            json!({"kind": "Service", "metadata": {"name": "other"}, "spec": {"selector": {"app": "db"}}}),
            json!({"kind": "Service", "metadata": {"name": "svc"}, "spec": {"selector": {"app": "web"}}}),
            json!({"kind": "Deployment", "metadata": {"name": "web", "namespace": "ns"}, "spec": {"template": {
                "metadata": {"labels": {"app": "web", "tier": "front"}},
                "spec": {"containers": [{"image": "localhost/web:dev"}]}}}}),
            json!({"kind": "HorizontalPodAutoscaler", "metadata": {"name": "scaler"},
                "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}}}),
        ]
    }

    #[test]
    fn the_service_is_the_one_that_selects_what_the_autoscaler_scales() {
        let workload = Workload::find(&manifests()).unwrap();
        let expected = ("ns", "web", "svc", "scaler");
        let found = (&*workload.namespace, &*workload.deployment, &*workload.service, &*workload.hpa);
        assert_eq!(found, expected);
        assert_eq!(workload.images, ["localhost/web:dev"]);
    }

    #[test]
    fn manifests_without_one_of_the_three_are_refused_by_its_name() {
        for kind in ["HorizontalPodAutoscaler", "Deployment"] {
            let rest: Vec<Value> = manifests().into_iter().filter(|object| object["kind"] != kind).collect();
            let error = Workload::find(&rest).unwrap_err().to_string();
            assert!(error.contains(kind), "{error}");
        }
        let error = Workload::find(&manifests()[2..]).unwrap_err().to_string();
        assert!(error.contains("Service that selects"), "{error}");
    }

    #[test]
    fn expressions_of_a_selector_count_as_its_labels_do() {
        let deployment = serde_json::from_value(json!({"metadata": {}, "spec": {"template": {}, "selector": {
            "matchLabels": {"app": "web"}, "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["front", "back"]},
                {"key": "canary", "operator": "DoesNotExist"}, {"key": "team", "operator": "Exists"}]}}}));
        assert_eq!(selector(&deployment.unwrap()), "app=web,tier in (front,back),!canary,team");
    }

    #[test]
    fn cpu_quantities_round_up_to_thousandths() {
        let cases =
            [("250m", 250), ("1", 1000), ("0.5", 500), ("123456789n", 124), ("1500000n", 2), ("100u", 1), ("0", 0)];
        for (text, milli) in cases {
            assert_eq!(milli_cpu(text), Some(milli), "{text}");
        }
        for bad in ["", "m", "1Gi", "-1", "1 m"] {
            assert_eq!(milli_cpu(bad), None, "{bad:?}");
        }
    }
}
