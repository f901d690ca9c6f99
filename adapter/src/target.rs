//! Where a pod shows its metrics: its address and the annotations `prometheus.io/scrape`, `port` and `path`, which
//! Prometheus' usual configuration reads as well.

use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::core::v1::Pod;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Target {
    pub(crate) uid: String,
    pub(crate) address: SocketAddr,
    pub(crate) path: String,
}

impl Target {
    /// Or why the pod cannot be asked.
    pub(crate) fn of(pod: &Pod) -> Result<Target, String> {
        let annotation =
            |name: &str| Some(pod.metadata.annotations.as_ref()?.get(&format!("prometheus.io/{name}"))?.as_str());
        if annotation("scrape") != Some("true") {
            return Err("it has no annotation prometheus.io/scrape: \"true\"".to_owned());
        }
        if let Some(scheme) = annotation("scheme").filter(|scheme| *scheme != "http") {
            return Err(format!("its annotation prometheus.io/scheme is {scheme:?}; only http is scraped"));
        }
        let ip = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref()).unwrap_or_default();
        let ip: IpAddr = ip.parse().map_err(|_| "it has no address yet".to_owned())?;
        let port = match annotation("port") {
            Some(text) => {
                text.parse().map_err(|_| format!("its annotation prometheus.io/port is {text:?}, which is no port"))?
            }
            None => first_port(pod).ok_or("it names no port")?,
        };
        let path = annotation("path").unwrap_or("/metrics");
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Target { uid: uid(pod).to_owned(), address: SocketAddr::new(ip, port), path })
    }
}

pub(crate) fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

pub(crate) fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

pub(crate) fn namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or_default()
}

pub(crate) fn label<'p>(pod: &'p Pod, key: &str) -> Option<&'p str> {
    Some(pod.metadata.labels.as_ref()?.get(key)?.as_str())
}

/// Runs, and is not on its way out: a pod that drains is no source that the autoscaler counts.
pub(crate) fn is_running(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    phase == Some("Running") && pod.metadata.deletion_timestamp.is_none()
}

pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn first_port(pod: &Pod) -> Option<u16> {
    let containers = &pod.spec.as_ref()?.containers;
    let port = containers.iter().flat_map(|container| container.ports.iter().flatten()).next()?;
    u16::try_from(port.container_port).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn target(annotations: Value, status: Value) -> Result<Target, String> {
        let pod = json!({
            "metadata": { "name": "web-1", "uid": "u", "annotations": annotations },
            "spec": { "containers": [{ "name": "c", "ports": [{ "containerPort": 8080 }] }] },
            "status": status,
        });
        Target::of(&serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn annotations_say_where_and_defaults_fill_in() {
        let status = json!({ "podIP": "127.3.0.17" });
        let plain = target(json!({ "prometheus.io/scrape": "true" }), status.clone()).unwrap();
        assert_eq!((plain.address.to_string().as_str(), plain.path.as_str()), ("127.3.0.17:8080", "/metrics"));
        let told =
            json!({ "prometheus.io/scrape": "true", "prometheus.io/port": "9090", "prometheus.io/path": "stats" });
        let told = target(told, status).unwrap();
        assert_eq!((told.address.port(), told.path.as_str()), (9090, "/stats"));
    }

    #[test]
    fn a_pod_that_cannot_be_asked_says_why() {
        let up = json!({ "podIP": "10.0.0.1" });
        for (annotations, status, reason) in [
            (json!({}), up.clone(), "no annotation prometheus.io/scrape"),
            (json!({ "prometheus.io/scrape": "true", "prometheus.io/port": "http" }), up.clone(), "is no port"),
            (json!({ "prometheus.io/scrape": "true", "prometheus.io/scheme": "https" }), up, "only http is scraped"),
            (json!({ "prometheus.io/scrape": "true" }), json!({}), "no address yet"),
        ] {
            let error = target(annotations, status).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
