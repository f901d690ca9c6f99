//! Prometheus beside the embedded cluster: the component's own scrape configuration and rules, with another way in.
//!
//! Jobs, relabelling and rules are those of `k8s/components/observability`. Changed is only how things are reached: targets
//! come from a file with the labels that Kubernetes discovery would give (Debian builds Prometheus without it), and the
//! API server is reached by its kubeconfig. At pace fast every time is a thirtieth. Functions of text, no process.

mod targets;

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

pub(crate) use self::targets::Targets;
use crate::session::Pace;

/// At pace fast, of what takes minutes otherwise.
const FAST_DIVISOR: u64 = 30;
/// A rate needs some samples, whatever the pace.
const WINDOW_MIN_S: u64 = 4;

/// Files that the configuration names, relative to its own.
pub(crate) const PODS: &str = "pods.json";
pub(crate) const NODES: &str = "nodes.json";
/// The generator of a load that runs on this machine.
const GENERATORS: &str = "generators.json";
pub(crate) const TOKEN: &str = "token";
pub(crate) const AUTHORITY: &str = "ca.crt";

/// What a kubeconfig with one cluster and one user says.
pub(crate) struct Access {
    /// `host:port` of the API server.
    pub address: String,
    pub token: String,
    pub authority_pem: Vec<u8>,
}

impl Access {
    pub(crate) fn read(kubeconfig: &str) -> Result<Access> {
        use base64::Engine;
        let config: Value = serde_yaml::from_str(kubeconfig)?;
        let text = |pointer: &str| {
            let found = config.pointer(pointer).and_then(Value::as_str);
            found.with_context(|| format!("it has no {}", pointer.rsplit('/').next().unwrap_or_default()))
        };
        let address =
            text("/clusters/0/cluster/server")?.trim_start_matches("https://").trim_end_matches('/').to_owned();
        let authority = text("/clusters/0/cluster/certificate-authority-data")?;
        let authority_pem = base64::engine::general_purpose::STANDARD.decode(authority)?;
        Ok(Access { address, token: text("/users/0/user/token")?.to_owned(), authority_pem })
    }
}

/// The component's configuration for a Prometheus outside of the cluster.
pub(crate) fn config(component: &str, access: &Access, pace: Pace) -> Result<String> {
    let mut config: Value = serde_yaml::from_str(&at_pace(component, pace))?;
    let jobs = config["scrape_configs"].as_array_mut().context("it has no scrape_configs")?;
    for job in jobs.iter_mut().filter_map(Value::as_object_mut) {
        let discovery = job.remove("kubernetes_sd_configs");
        let of_nodes = discovery.as_ref().is_some_and(|found| found[0]["role"] == "node");
        if discovery.is_some() {
            let files: &[&str] = if of_nodes { &[NODES] } else { &[PODS, GENERATORS] };
            job.insert("file_sd_configs".to_owned(), json!([{ "files": files, "refresh_interval": "5s" }]));
        } else {
            // A Service's name means nothing out here. The embedded API server has kube-state-metrics' series itself.
            job.insert("static_configs".to_owned(), json!([{ "targets": [access.address] }]));
        }
        if of_nodes || discovery.is_none() {
            job.insert("scheme".to_owned(), json!("https"));
            job.insert("authorization".to_owned(), json!({ "credentials_file": TOKEN }));
            job.insert("tls_config".to_owned(), json!({ "ca_file": AUTHORITY }));
        }
    }
    Ok(serde_yaml::to_string(&config)?)
}

/// Shortens what stands behind `for:` and `..._interval:`, and the windows in brackets. Other text stays as it is.
pub(crate) fn at_pace(text: &str, pace: Pace) -> String {
    if pace == Pace::Real {
        return text.to_owned();
    }
    let mut short = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let (head, tail) = line.split_once(": ").unwrap_or((line, ""));
        let is_time = ["for", "scrape_interval", "evaluation_interval"].contains(&head.trim());
        match seconds(tail.trim()).filter(|_| is_time) {
            Some(seconds) => short.push_str(&format!("{head}: {}s\n", (seconds / FAST_DIVISOR).max(1))),
            None => short.push_str(&windows(line)),
        }
    }
    short
}

fn windows(line: &str) -> String {
    let mut parts = line.split('[');
    let mut short = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (window, rest) = part.split_once(']').unwrap_or((part, ""));
        match seconds(window) {
            Some(seconds) => short.push_str(&format!("[{}s]{rest}", (seconds / FAST_DIVISOR).max(WINDOW_MIN_S))),
            None => short.push_str(&format!("[{part}")),
        }
    }
    short
}

/// `30s`, `5m`, `6h`; nothing else is a time here.
fn seconds(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let scale = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    Some(number.parse::<u64>().ok()? * scale)
}

/// A target for each port of each container, with the labels of Prometheus' own discovery of pods.
pub(crate) fn pod_targets<'p>(pods: impl IntoIterator<Item = &'p Pod>) -> Value {
    let mut targets = Vec::new();
    for pod in pods {
        let (Some(spec), Some(status)) = (&pod.spec, &pod.status) else { continue };
        let Some(ip) = &status.pod_ip else { continue };
        for container in &spec.containers {
            for port in container.ports.iter().flatten() {
                let mut labels = pod_labels(pod);
                labels.insert("__meta_kubernetes_pod_container_name".to_owned(), container.name.clone());
                let name = port.name.clone().unwrap_or_default();
                labels.insert("__meta_kubernetes_pod_container_port_name".to_owned(), name);
                targets.push(json!({ "targets": [format!("{ip}:{}", port.container_port)], "labels": labels }));
            }
        }
    }
    Value::Array(targets)
}

fn pod_labels(pod: &Pod) -> BTreeMap<String, String> {
    let metadata = &pod.metadata;
    let phase = pod.status.as_ref().and_then(|status| status.phase.clone());
    let mut labels = BTreeMap::from([
        ("__meta_kubernetes_namespace".to_owned(), metadata.namespace.clone().unwrap_or_default()),
        ("__meta_kubernetes_pod_name".to_owned(), metadata.name.clone().unwrap_or_default()),
        ("__meta_kubernetes_pod_phase".to_owned(), phase.unwrap_or_default()),
    ]);
    for (key, value) in metadata.labels.iter().flatten() {
        let key: String = key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        labels.insert(format!("__meta_kubernetes_pod_label_{key}"), value.clone());
    }
    labels
}

/// Nodes through the API server's proxy: an embedded node has no kubelet port of its own.
pub(crate) fn node_targets(nodes: &[String], access: &Access) -> Value {
    let target = |node: &String| {
        let path = format!("/api/v1/nodes/{node}/proxy/metrics/cadvisor");
        let labels = json!({ "__meta_kubernetes_node_name": node, "__metrics_path__": path });
        json!({ "targets": [access.address], "labels": labels })
    };
    Value::Array(nodes.iter().map(target).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_pace_fast_times_are_a_thirtieth_and_names_and_numbers_stay() {
        let text = "  - record: a:rate5m\n    expr: rate(x[5m]) > 30 and y[6h] or z{a=~\"[0-9]m\"}[1m]\n    for: 10m\n\
            scrape_interval: 15s\nsummary: in 5m\n";
        assert_eq!(at_pace(text, Pace::Real), text);
        assert_eq!(
            at_pace(text, Pace::Fast),
            "  - record: a:rate5m\n    expr: rate(x[10s]) > 30 and y[720s] or z{a=~\"[0-9]m\"}[4s]\n    for: 20s\n\
             scrape_interval: 1s\nsummary: in 5m\n"
        );
    }

    #[test]
    fn a_pods_ports_are_targets_with_the_labels_of_kubernetes_discovery() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": "web-1", "namespace": "lab", "labels": { "app.kubernetes.io/name": "web" } },
            "spec": { "containers": [{ "name": "app", "ports": [{ "name": "http", "containerPort": 8080 }] }] },
            "status": { "podIP": "127.9.1.1", "phase": "Running" },
        }))
        .unwrap();
        let targets = pod_targets([&pod, &Pod::default()]);
        assert_eq!(targets.as_array().map(Vec::len), Some(1), "a pod without an address is no target yet");
        assert_eq!(targets[0]["targets"], json!(["127.9.1.1:8080"]));
        let labels = &targets[0]["labels"];
        assert_eq!(labels["__meta_kubernetes_pod_label_app_kubernetes_io_name"], "web");
        assert_eq!(labels["__meta_kubernetes_pod_container_port_name"], "http");
    }

    #[test]
    fn the_components_jobs_are_kept_and_only_their_way_in_is_changed() {
        let component = std::fs::read_to_string(
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../k8s/components/observability/prometheus.yaml"),
        )
        .unwrap();
        let access = Access { address: "127.9.0.1:6443".into(), token: String::new(), authority_pem: Vec::new() };
        let before: Value = serde_yaml::from_str(&component).unwrap();
        let after: Value = serde_yaml::from_str(&config(&component, &access, Pace::Real).unwrap()).unwrap();
        let jobs = |config: &Value| config["scrape_configs"].as_array().unwrap().clone();
        assert_eq!(jobs(&before).len(), jobs(&after).len());
        for (before, after) in jobs(&before).iter().zip(jobs(&after)) {
            for kept in ["job_name", "relabel_configs", "metric_relabel_configs", "honor_labels", "metrics_path"] {
                assert_eq!(before.get(kept), after.get(kept), "{kept}");
            }
            assert!(after.get("kubernetes_sd_configs").is_none());
        }
    }
}
