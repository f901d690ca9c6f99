//! The cluster and its workload: what keeps an autoscaler from scaling, found before the load does.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

use anyhow::Result;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

use super::capacity::{Supply, mebibytes};
use super::{Finding, Fix};
use crate::observer;
use crate::pods;
use crate::session::{ProviderKind, Session};
use crate::wait;
use crate::workload::{Facts, Workload, milli_cpu};

/// Two scrapes of the addon, a minute apart, and one sync.
const FIRST_SAMPLES_S: i64 = 135;

pub(crate) async fn check(client: &Client, session: &Session, workload: &Workload) -> Result<Vec<Finding>> {
    let namespace = workload.namespace.as_str();
    let mut all = vec![kubeconfig_mode(session), api_version(client).await];
    all.extend(nodes(client).await);
    let deployments: Vec<Deployment> =
        Api::namespaced(client.clone(), namespace).list(&ListParams::default()).await?.items;
    let hpas: Vec<HorizontalPodAutoscaler> =
        Api::namespaced(client.clone(), namespace).list(&ListParams::default()).await?.items;
    let Some(deployment) = deployments.iter().find(|found| found.name_any() == workload.deployment) else {
        let remedy = "cargo xtask setup".to_owned();
        all.push(Finding::wrong("workload", format!("Deployment {} is gone", workload.deployment), remedy));
        return Ok(all);
    };
    all.push(requests(deployment));
    all.push(pull_policy(deployment));
    all.push(overlap(deployment, &deployments));
    all.push(single_autoscaler(&hpas, &workload.deployment));
    let facts = Facts::read(client, workload).await?;
    let listed: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let listed = listed.list(&ListParams::default().labels(&facts.selector)).await?.items;
    let oldest_s = listed.iter().filter_map(|pod| pods::age_s(pod, jiff::Timestamp::now())).max();
    let own = hpas.iter().filter(|hpa| hpa.name_any() == workload.hpa);
    all.extend(own.map(|hpa| autoscaler(hpa, oldest_s.unwrap_or(i64::MAX))));
    all.push(metrics(client, namespace, &facts.selector).await);
    all.extend(pod_states(&listed));
    Ok(all)
}

fn kubeconfig_mode(session: &Session) -> Finding {
    let path = &session.kubeconfig;
    match std::fs::metadata(path) {
        Err(error) => Finding::wrong("kubeconfig", format!("{}: {error}", path.display()), "cargo xtask setup"),
        Ok(found) if found.permissions().mode() & 0o077 != 0 && session.provider == ProviderKind::Embedded => Finding {
            fix: Some(Fix::OwnerOnly(path.clone())),
            ..Finding::wrong(
                "kubeconfig",
                format!("{} can be read by others, and it holds the key to the cluster", path.display()),
                format!("chmod 600 {}", path.display()),
            )
        },
        Ok(_) => Finding::fine("kubeconfig", path.display().to_string()),
    }
}

async fn api_version(client: &Client) -> Finding {
    match client.apiserver_version().await {
        Ok(version) => Finding::fine("API", version.git_version),
        Err(error) => Finding::wrong("API", error.to_string(), "cargo xtask setup"),
    }
}

/// Whoever has rights in one namespace only may not see nodes, which is no fault.
async fn nodes(client: &Client) -> Option<Finding> {
    let nodes: Api<Node> = Api::all(client.clone());
    let listed = nodes.list(&ListParams::default()).await.ok()?;
    let ready = |node: &&Node| {
        let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    let (all, up) = (listed.items.len(), listed.items.iter().filter(ready).count());
    Some(if up == all && all > 0 {
        Finding::fine("nodes", format!("{all} ready"))
    } else {
        Finding::wrong("nodes", format!("{up} of {all} ready"), "cargo xtask setup   (or: kubectl describe nodes)")
    })
}

/// What its nodes have for pods; none where this user may not see nodes.
pub(crate) async fn supply(client: &Client) -> Option<Supply> {
    let nodes: Api<Node> = Api::all(client.clone());
    let listed = nodes.list(&ListParams::default()).await.ok()?.items;
    let allocatable = |resource: &str| -> Vec<String> {
        let of = |node: &Node| Some(node.status.as_ref()?.allocatable.as_ref()?.get(resource)?.0.clone());
        listed.iter().filter_map(of).collect()
    };
    let milli = allocatable("cpu").iter().filter_map(|quantity| milli_cpu(quantity)).sum();
    let mebibytes = allocatable("memory").iter().filter_map(|quantity| mebibytes(quantity)).sum();
    let of = if listed.len() == 1 { "its node".to_owned() } else { format!("its {} nodes together", listed.len()) };
    (milli > 0).then_some(Supply { of, milli, mebibytes })
}

/// Utilization is a share of the request: one container without it, and the autoscaler computes nothing.
pub(super) fn requests(deployment: &Deployment) -> Finding {
    let template = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let without: Vec<String> = template
        .iter()
        .flat_map(|pod| &pod.containers)
        .filter(|container| {
            let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
            requests.is_none_or(|requests| !requests.contains_key("cpu"))
        })
        .map(|container| container.name.clone())
        .collect();
    if without.is_empty() {
        return Finding::fine("CPU requests", "every container states one");
    }
    Finding::wrong(
        "CPU requests",
        format!("container {} of {} states none", without.join(", "), deployment.name_any()),
        format!("kubectl set resources deployment {} --requests=cpu=100m", deployment.name_any()),
    )
}

/// An image that only the node has is not to be found in any registry.
pub(super) fn pull_policy(deployment: &Deployment) -> Finding {
    let template = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    for container in template.iter().flat_map(|pod| &pod.containers) {
        let image = container.image.as_deref().unwrap_or_default();
        let local = image.starts_with("localhost/");
        let always = container.image_pull_policy.as_deref() == Some("Always");
        if local && always {
            return Finding::wrong(
                "image pull policy",
                format!("{image} was loaded into the node, and Always would look for it in a registry"),
                "imagePullPolicy: IfNotPresent   (in the manifest), then: cargo xtask setup",
            );
        }
    }
    Finding::fine("image pull policy", "as the image came to the node")
}

pub(super) fn overlap(deployment: &Deployment, all: &[Deployment]) -> Finding {
    let selector = deployment.spec.as_ref().and_then(|spec| spec.selector.match_labels.clone()).unwrap_or_default();
    let caught = all.iter().filter(|other| other.name_any() != deployment.name_any()).find(|other| {
        let metadata = other.spec.as_ref().and_then(|spec| spec.template.metadata.as_ref());
        let labels = metadata.and_then(|metadata| metadata.labels.clone()).unwrap_or_default();
        !selector.is_empty() && is_subset(&selector, &labels)
    });
    match caught {
        None => Finding::fine("selector", "matches the service's own pods only"),
        Some(other) => Finding::wrong(
            "selector",
            format!("it also matches the pods of {}, whose CPU the autoscaler would count", other.name_any()),
            format!("give the pods of {} a label of their own", other.name_any()),
        ),
    }
}

pub(super) fn single_autoscaler(hpas: &[HorizontalPodAutoscaler], target: &str) -> Finding {
    let on_target = |hpa: &&HorizontalPodAutoscaler| hpa.spec.scale_target_ref.name == target;
    let names: Vec<String> = hpas.iter().filter(on_target).map(ResourceExt::name_any).collect();
    match names.as_slice() {
        [] => Finding::wrong("autoscaler", format!("none targets {target}"), "cargo xtask setup"),
        [one] => Finding::fine("autoscaler", format!("{one} alone targets {target}")),
        several => Finding::wrong(
            "autoscaler",
            format!("{} all target {target}: neither will act (AmbiguousSelector)", several.join(", ")),
            format!("kubectl delete hpa {}", several[1..].join(" ")),
        ),
    }
}

/// `oldest_s`: how long the first of its pods has run.
pub(super) fn autoscaler(hpa: &HorizontalPodAutoscaler, oldest_s: i64) -> Finding {
    let (active, words) = wait::scaling_state(hpa);
    if active {
        return Finding::fine("scaling", words);
    }
    let waits = words.contains("metrics") || words == wait::NO_SYNC;
    if waits && oldest_s < FIRST_SAMPLES_S {
        let what = format!(
            "{words}   (normal: metrics-server needs two samples of a pod, up to {} s more)",
            FIRST_SAMPLES_S - oldest_s
        );
        return Finding::note("scaling", what, "cargo xtask watch   (shows when it begins)");
    }
    let remedy = if words.contains("missing request") {
        "state resources.requests.cpu for every container, side-cars too"
    } else if words.contains("ScalingDisabled") {
        "kubectl scale deployment --replicas=1   (an autoscaler leaves 0 replicas alone)"
    } else {
        "wait for two metric samples, then: cargo xtask explain"
    };
    Finding::wrong("scaling", words, remedy)
}

async fn metrics(client: &Client, namespace: &str, selector: &str) -> Finding {
    match observer::pod_usage(client, namespace, selector).await {
        Ok(pods) if pods.is_empty() => Finding::note(
            "metrics",
            "the API answers, no pod is measured yet",
            "two samples are needed: try again soon",
        ),
        Ok(pods) => Finding::fine("metrics", format!("{} pods measured", pods.len())),
        Err(kube::Error::Api(status)) if status.code == 404 => Finding::wrong(
            "metrics",
            "the cluster has no metrics API",
            "minikube addons enable metrics-server -p PROFILE   (or install metrics-server)",
        ),
        Err(kube::Error::Api(status)) if status.code == 403 => {
            Finding::wrong("metrics", status.message.clone(), "ask for `list` on pods.metrics.k8s.io in the namespace")
        }
        Err(error) => Finding::wrong("metrics", error.to_string(), "kubectl get apiservice v1beta1.metrics.k8s.io"),
    }
}

pub(super) fn pod_states(listed: &[Pod]) -> Vec<Finding> {
    let mut all: Vec<Finding> = listed
        .iter()
        .filter_map(|pod| Some((pod, pods::trouble(pod)?)))
        .map(|(pod, (reason, message))| {
            let name = pods::name(pod);
            Finding::wrong("pod", format!("{name}: {reason}: {message}"), "cargo xtask status")
        })
        .collect();
    if all.is_empty() {
        let ready = listed.iter().filter(|pod| pods::is_ready(pod)).count();
        all.push(Finding::fine("pods", format!("{ready} of {} ready", listed.len())));
    }
    all
}

fn is_subset(selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}
