//! Waiting for the cluster, by watch: a rollout, an autoscaler that sees its metric. Each wait has a limit, says meanwhile
//! what is missing, and ends early when waiting cannot help (a pod that crashes, an image that is not there).

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::api::LogParams;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};

use crate::pods;
use crate::problem;
use crate::terminal::Step;
use crate::workload::Workload;

/// What was waited for, and whether it was so already when we came to look.
pub(crate) struct Reached {
    pub(crate) words: String,
    pub(crate) at_once: bool,
}

pub(crate) const ROLLOUT_LIMIT: Duration = Duration::from_secs(180);
/// Two scrapes, then one sync; with the addon of Minikube a scrape takes a minute.
pub(crate) const METRICS_LIMIT: Duration = Duration::from_secs(300);
pub(crate) const NO_SYNC: &str = "no sync yet";
/// Pods may crash while what they need comes up; the third crash is no accident.
const CRASHES_BORNE: i32 = 2;

/// Until every replica runs the new template and is available.
pub(crate) async fn rollout(
    client: &Client,
    workload: &Workload,
    selector: &str,
    step: &Step<'_>,
    limit: Duration,
) -> Result<Reached> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &workload.namespace);
    let pods: Api<Pod> = Api::namespaced(client.clone(), &workload.namespace);
    let named = watcher::Config::default().fields(&format!("metadata.name={}", workload.deployment));
    let selected = watcher::Config::default().labels(selector);
    let template =
        deployments.get(&workload.deployment).await?.spec.and_then(|spec| spec.template.spec).unwrap_or_default();
    let mut deployment_watch = watcher(deployments, named).default_backoff().touched_objects().boxed();
    let mut pod_watch = watcher(pods.clone(), selected).default_backoff().touched_objects().boxed();
    let deadline = tokio::time::sleep(limit);
    tokio::pin!(deadline);
    let mut last = String::new();
    let mut at_once = true;
    let mut unfit: Option<String> = None;
    loop {
        tokio::select! {
            () = &mut deadline => {
                let name = &workload.deployment;
                return Err(match &unfit {
                    Some(message) => problem::does_not_fit(name, message),
                    None => problem::waited_too_long(&format!("the rollout of {name}"), limit.as_secs(), &last),
                }.into());
            }
            seen = deployment_watch.try_next() => if let Ok(Some(deployment)) = seen {
                let state = RolloutState::of(&deployment);
                last = state.words();
                step.update(&last);
                if state.complete() {
                    return Ok(Reached { words: last, at_once });
                }
                at_once = false;
            },
            seen = pod_watch.try_next() => if let Ok(Some(pod)) = seen && is_made_from(&template, &pod) {
                unfit = unfit_words(&pod).or(unfit);
                hopeless(&pods, &pod).await?;
            },
        }
    }
}

/// Until the HPA has computed a proposal from a metric (condition ScalingActive).
pub(crate) async fn scaling_active(
    client: &Client,
    workload: &Workload,
    step: &Step<'_>,
    limit: Duration,
) -> Result<Reached> {
    let api: Api<HorizontalPodAutoscaler> = Api::namespaced(client.clone(), &workload.namespace);
    let named = watcher::Config::default().fields(&format!("metadata.name={}", workload.hpa));
    let mut watch = watcher(api, named).default_backoff().touched_objects().boxed();
    let mut last = NO_SYNC.to_owned();
    let mut at_once = true;
    let waiting = async {
        while let Some(seen) = watch.next().await {
            let Ok(hpa) = seen else { continue };
            let (active, words) = scaling_state(&hpa);
            step.update(&words);
            last = words;
            if active {
                return;
            }
            at_once = false;
        }
    };
    let ended = tokio::time::timeout(limit, waiting).await;
    match ended {
        Ok(()) => Ok(Reached { words: last, at_once }),
        Err(_) => Err(problem::waited_too_long("the autoscaler to see its metric", limit.as_secs(), &last).into()),
    }
}

/// Whether the HPA acts on a metric, and the words of the condition that says so.
pub(crate) fn scaling_state(hpa: &HorizontalPodAutoscaler) -> (bool, String) {
    let conditions = hpa.status.as_ref().and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    let Some(active) = conditions.into_iter().find(|condition| condition.type_ == "ScalingActive") else {
        return (false, NO_SYNC.to_owned());
    };
    let reason = active.reason.clone().unwrap_or_default();
    if active.status == "True" {
        return (true, reason);
    }
    (false, format!("{reason}: {}", active.message.clone().unwrap_or_default()))
}

struct RolloutState {
    wanted: i32,
    updated: i32,
    available: i32,
    total: i32,
    observed: bool,
}

impl RolloutState {
    fn of(deployment: &Deployment) -> RolloutState {
        let status = deployment.status.clone().unwrap_or_default();
        RolloutState {
            wanted: deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1),
            updated: status.updated_replicas.unwrap_or(0),
            available: status.available_replicas.unwrap_or(0),
            total: status.replicas.unwrap_or(0),
            observed: status.observed_generation.unwrap_or(0) >= deployment.metadata.generation.unwrap_or(0),
        }
    }

    fn complete(&self) -> bool {
        self.observed
            && self.wanted > 0
            && self.updated == self.wanted
            && self.total == self.wanted
            && self.available == self.wanted
    }

    fn words(&self) -> String {
        format!("{} of {} pods available", self.available, self.wanted)
    }
}

/// Whether a pod is of this template, as far as what keeps pods from starting goes. What ails those of an earlier one is
/// being mended; and what the cluster adds makes no other template.
fn is_made_from(template: &PodSpec, pod: &Pod) -> bool {
    let made = pod.spec.iter().flat_map(|spec| &spec.containers);
    let same = |of: &Container, it: &Container| {
        let said =
            |it: &Container| (it.image.clone(), it.image_pull_policy.clone(), it.command.clone(), it.args.clone());
        it.name == of.name
            && said(it) == said(of)
            && it.env == of.env
            && asked(of).iter().all(|ask| asked(it).contains(ask))
    };
    template.containers.iter().all(|of| made.clone().any(|it| same(of, it)))
}

/// Requests and limits.
fn asked(container: &Container) -> Vec<(bool, String, Quantity)> {
    let Some(resources) = &container.resources else { return Vec::new() };
    let listed = |limit: bool, of: &Option<BTreeMap<String, Quantity>>| {
        of.iter().flatten().map(|(name, quantity)| (limit, name.clone(), quantity.clone())).collect::<Vec<_>>()
    };
    [listed(false, &resources.requests), listed(true, &resources.limits)].concat()
}

/// Why no node takes a pod; an autoscaler of nodes may still bring one.
fn unfit_words(pod: &Pod) -> Option<String> {
    pods::trouble(pod).filter(|(reason, _)| reason == "Unschedulable").map(|(_, message)| message)
}

async fn hopeless(pods: &Api<Pod>, pod: &Pod) -> Result<()> {
    let Some((reason, message)) = pods::trouble(pod) else { return Ok(()) };
    let crashing = reason == "CrashLoopBackOff";
    if reason == "Unschedulable" || (crashing && pods::restarts(pod) < CRASHES_BORNE) {
        return Ok(());
    }
    let name = pods::name(pod);
    let mut detail = message;
    if crashing && let Some(log) = last_lines(pods, &name, 5).await {
        detail.push_str(&format!("\n    {}", log.replace('\n', "\n    ")));
    }
    Err(problem::pod_does_not_start(&name, &reason, &detail).into())
}

/// The end of a pod's log; of the run before the last restart, where the present one said nothing.
pub(crate) async fn last_lines(pods: &Api<Pod>, name: &str, lines: i64) -> Option<String> {
    for previous in [true, false] {
        let params = LogParams { previous, tail_lines: Some(lines), ..LogParams::default() };
        if let Ok(log) = pods.logs(name, &params).await
            && !log.trim().is_empty()
        {
            return Some(log.trim_end().to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn state(generation: i64, observed: i64, total: i32, available: i32) -> RolloutState {
        let deployment = serde_json::from_value(json!({
            "metadata": {"generation": generation},
            "spec": {"replicas": 2, "selector": {}, "template": {}},
            "status": {"observedGeneration": observed, "replicas": total, "updatedReplicas": 2,
                "availableReplicas": available}}));
        RolloutState::of(&deployment.unwrap())
    }

    #[test]
    fn a_rollout_is_complete_when_only_new_pods_are_left_and_available() {
        assert!(state(3, 3, 2, 2).complete());
        assert!(!state(4, 3, 2, 2).complete(), "the controller has not seen the new template");
        assert!(!state(3, 3, 3, 2).complete(), "an old pod is left");
        assert!(!state(3, 3, 2, 1).complete(), "a pod is not available");
    }

    #[test]
    fn a_pod_of_an_earlier_template_is_told_from_one_that_the_cluster_added_to() {
        let container =
            |image: &str, cpu: &str| json!({"name": "c", "image": image, "resources": {"requests": {"cpu": cpu}}});
        let template: PodSpec = serde_json::from_value(json!({"containers": [container("web:2", "100m")]})).unwrap();
        let pod = |container: serde_json::Value| {
            serde_json::from_value(json!({"spec": {"containers": [{"name": "mesh"}, container]}})).unwrap()
        };
        assert!(!is_made_from(&template, &pod(container("web:1", "100m"))));
        assert!(!is_made_from(&template, &pod(container("web:2", "64"))));
        let mut defaulted = container("web:2", "100m");
        defaulted["resources"]["limits"]["memory"] = "1Gi".into();
        assert!(is_made_from(&template, &pod(defaulted)));
    }
}
