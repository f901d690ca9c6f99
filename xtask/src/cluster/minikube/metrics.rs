//! metrics-server, Minikube's addon: enabled, shortened at pace fast, and waited for in the order in which it comes up.
//!
//! `addons enable` ends well as soon as the objects are applied. Whether the pod gets its image, becomes ready and is reached by
//! the API server shows only afterwards, and each of these fails in its own way.

use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};

use super::super::Mend;
use super::Minikube;
use crate::observer;
use crate::pods;
use crate::problem::{self, Problem};
use crate::session::Pace;
use crate::terminal::Step;
use crate::wait;

const METRICS_API: &str = "v1beta1.metrics.k8s.io";
const NAMESPACE: &str = "kube-system";
const SERVER: &str = "metrics-server";
const SELECTOR: &str = "k8s-app=metrics-server";
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A first pull may fail and the next succeed; the back-off says that several did.
const HOPELESS: [&str; 3] = ["ImagePullBackOff", "CrashLoopBackOff", "ErrImageNeverPull"];

impl Minikube {
    /// The addon, then its APIService Available, without which there are no metrics at all; then those of the nodes, then those
    /// of the pods, each of which comes after a scrape more.
    pub(in crate::cluster) async fn ensure_metrics(
        &self,
        client: &kube::Client,
        measured: &Measured<'_>,
        step: &Step<'_>,
        pace: Pace,
        limit: Duration,
    ) -> Result<()> {
        let services: Api<APIService> = Api::all(client.clone());
        if services.get_opt(METRICS_API).await?.is_none() {
            step.update("minikube addons enable metrics-server");
            self.read(&["addons", "enable", SERVER])?;
        }
        if pace == Pace::Fast {
            shorten_resolution(client, step).await?;
        }
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            let service = services.get_opt(METRICS_API).await?;
            let (reason, message) = match &service {
                Some(service) if available(service) => break,
                Some(service) => unavailable(service),
                None => ("APIServiceNotFound".to_owned(), String::new()),
            };
            step.update(&format!("metrics API: {reason}"));
            let server = Server::look(client).await;
            let late = tokio::time::Instant::now() > deadline;
            if let Some(server) = server.filter(|server| late || server.is_hopeless()) {
                return Err(server.problem(&self.profile).into());
            }
            if late {
                return Err(self.never_available(&reason, &message, limit).into());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        while let Some(missing) = unmeasured(client, measured).await? {
            step.update(&missing);
            if tokio::time::Instant::now() > deadline {
                return Err(problem::metrics_unavailable(&self.profile, limit.as_secs(), &missing).into());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// A look without waiting.
    pub(in crate::cluster) async fn metrics_trouble(&self, client: &kube::Client) -> Option<(Problem, Option<Mend>)> {
        let services: Api<APIService> = Api::all(client.clone());
        let Some(service) = services.get_opt(METRICS_API).await.ok()? else {
            return Some((problem::metrics_addon_absent(&self.profile), Some(Mend::EnableMetrics)));
        };
        if available(&service) {
            return None;
        }
        let (reason, message) = unavailable(&service);
        Some(match Server::look(client).await {
            Some(server) => (server.problem(&self.profile), None),
            None => (self.never_available(&reason, &message, Duration::ZERO), None),
        })
    }

    fn never_available(&self, reason: &str, message: &str, limit: Duration) -> Problem {
        match reason {
            "APIServiceNotFound" => problem::metrics_addon_absent(&self.profile),
            "FailedDiscoveryCheck" => problem::metrics_unreachable(&self.profile, message),
            _ => problem::metrics_unavailable(&self.profile, limit.as_secs(), &format!("{reason}: {message}")),
        }
    }
}

/// Whose metrics are waited for.
pub(crate) struct Measured<'m> {
    pub(crate) namespace: &'m str,
    pub(crate) selector: &'m str,
}

/// What has no metrics yet, nodes before pods. Who may not look has to take it as there.
async fn unmeasured(client: &kube::Client, of: &Measured<'_>) -> Result<Option<String>> {
    let nodes: Api<Node> = Api::all(client.clone());
    let ready = nodes.list(&ListParams::default()).await.map_or(1, |nodes| nodes.items.len());
    let request = http::Request::get("/apis/metrics.k8s.io/v1beta1/nodes").body(Vec::new())?;
    let measured = client.request::<Value>(request).await.map(|listed| listed["items"].as_array().map_or(0, Vec::len));
    match measured {
        Ok(count) if count < ready => return Ok(Some(format!("metrics of {count} of {ready} nodes"))),
        Err(kube::Error::Api(status)) if status.code == 503 => return Ok(Some(status.message.clone())),
        _ => {}
    }
    let pods: Api<Pod> = Api::namespaced(client.clone(), of.namespace);
    let pods = pods.list(&ListParams::default().labels(of.selector)).await?.items;
    let ready: Vec<String> = pods.iter().filter(|pod| pods::is_ready(pod)).map(pods::name).collect();
    let measured = observer::pod_usage(client, of.namespace, of.selector).await.unwrap_or_default();
    let count = ready.iter().filter(|name| measured.contains_key(*name)).count();
    Ok((count < ready.len()).then(|| format!("metrics of {count} of {} pods", ready.len())))
}

/// A pod of metrics-server that is not ready.
struct Server {
    image: String,
    reason: String,
    detail: String,
}

impl Server {
    async fn look(client: &kube::Client) -> Option<Server> {
        let api: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
        // Why it waits is worth asking, not worth failing for.
        let listed = api.list(&ListParams::default().labels(SELECTOR)).await.ok()?;
        let pod = listed.items.iter().find(|pod| !pods::is_ready(pod))?;
        let image = pod.spec.as_ref().and_then(|spec| spec.containers.first()?.image.clone()).unwrap_or_default();
        let (reason, mut detail) = pods::trouble(pod).unwrap_or_else(|| (pods::status_word(pod), String::new()));
        if let Some(log) = wait::last_lines(&api, &pods::name(pod), 1).await {
            detail = [detail, log].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
        }
        Some(Server { image, reason, detail })
    }

    fn is_hopeless(&self) -> bool {
        HOPELESS.contains(&self.reason.as_str())
    }

    fn problem(&self, profile: &str) -> Problem {
        if self.reason.contains("Image") {
            problem::metrics_image(profile, &self.image, &self.reason, &self.detail)
        } else {
            problem::metrics_not_ready(profile, &self.reason, &self.detail)
        }
    }
}

fn available(service: &APIService) -> bool {
    conditions(service).any(|(kind, status, ..)| kind == "Available" && status == "True")
}

fn unavailable(service: &APIService) -> (String, String) {
    let found = conditions(service).find(|(kind, ..)| *kind == "Available");
    found.map_or(("not checked yet".to_owned(), String::new()), |(_, _, reason, message)| {
        (reason.to_owned(), message.to_owned())
    })
}

fn conditions(service: &APIService) -> impl Iterator<Item = (&str, &str, &str, &str)> {
    let listed = service.status.as_ref().and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    listed.map(|c| {
        let (reason, message) = (c.reason.as_deref().unwrap_or_default(), c.message.as_deref().unwrap_or_default());
        (c.type_.as_str(), c.status.as_str(), reason, message)
    })
}

/// The addon scrapes once a minute; 15 s is the shortest that metrics-server and the kubelet bear.
async fn shorten_resolution(client: &kube::Client, step: &Step<'_>) -> Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
    let Some(deployment) = deployments.get_opt(SERVER).await? else { return Ok(()) };
    let spec = serde_json::to_value(&deployment.spec)?;
    let mut args =
        spec.pointer("/template/spec/containers/0/args").and_then(Value::as_array).cloned().unwrap_or_default();
    let Some(index) = args.iter().position(|arg| arg.as_str() == Some("--metric-resolution=60s")) else {
        return Ok(());
    };
    step.update("metrics every 15 s");
    args[index] = Value::from("--metric-resolution=15s");
    let container = spec.pointer("/template/spec/containers/0/name").cloned().unwrap_or_default();
    let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": container, "args": args}]}}}});
    deployments.patch(SERVER, &kube::api::PatchParams::default(), &kube::api::Patch::Strategic(patch)).await?;
    Ok(())
}
