//! Server-side apply of rendered manifests, and the removal of what is ours and no longer rendered.
//!
//! The field manager is `swell`. An object that exists without the lab's label is somebody else's: its fields are never
//! taken over. Whether an apply changed anything is read from the resourceVersion, so a second `setup` can say "same".

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PropagationPolicy};
use kube::core::GroupVersionKind;
use kube::{Api, Client, ResourceExt, discovery};
use serde_json::Value;

use crate::problem;
use crate::workload::{MANAGED_BY, MANAGER};

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Applied {
    pub changed: Vec<String>,
    pub unchanged: usize,
    pub pruned: Vec<String>,
    pub created_namespace: bool,
}

/// The one kind without a namespace that is ours, where it points into our namespace. It goes with the rest: left behind,
/// it would fail the discovery of the whole cluster, and keep namespaces from ending.
pub(crate) const API_SERVICE: &str = "APIService";

/// Applies all, then removes what of `kinds` is labelled as ours and not rendered (any more).
pub(crate) async fn apply(
    client: &Client,
    objects: &[Value],
    namespace: &str,
    kinds_applied: &BTreeSet<String>,
) -> Result<Applied> {
    let mut applied = Applied::default();
    let mut kinds = Kinds::new(client);
    let mut ordered: Vec<&Value> = objects.iter().collect();
    ordered.sort_by_key(|object| order(object["kind"].as_str().unwrap_or_default()));
    for object in ordered {
        let name = describe(object);
        if object["kind"] == "Namespace" {
            let Some(absent) = namespace_absent(client, object["metadata"]["name"].as_str()).await? else {
                // Whoever has rights in one namespace only may not see it as an object, and need not.
                applied.unchanged += 1;
                continue;
            };
            applied.created_namespace |= absent;
        }
        let api = kinds.api(object, namespace).await?;
        let changed = apply_one(&api, object).await?;
        if changed {
            applied.changed.push(name);
        } else {
            applied.unchanged += 1;
        }
    }
    applied.pruned = prune(client, objects, namespace, kinds_applied).await?;
    Ok(applied)
}

/// Deletes all that carries the lab's label in the namespace; what is gone already is fine.
pub(crate) async fn remove_labelled(client: &Client, namespace: &str, kinds: &BTreeSet<String>) -> Result<Vec<String>> {
    prune(client, &[], namespace, kinds).await
}

/// `apps/v1 Deployment`: how the session remembers which kinds were applied.
pub(crate) fn kind_of(object: &Value) -> String {
    let text = |key: &str| object[key].as_str().unwrap_or_default();
    format!("{} {}", text("apiVersion"), text("kind"))
}

/// Deletes a namespace and waits until it is gone. A namespace that hangs is named with what holds it.
pub(crate) async fn remove_namespace(client: &Client, name: &str) -> Result<bool> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    if namespaces.get_opt(name).await?.is_none() {
        return Ok(false);
    }
    match namespaces.delete(name, &DeleteParams::default()).await {
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(true),
        Err(error) => return Err(error).context(problem::apply_refused(&format!("the removal of namespace {name}"))),
        Ok(_) => {}
    }
    await_terminating(client, Some(name)).await?;
    Ok(true)
}

async fn apply_one(api: &Api<DynamicObject>, object: &Value) -> Result<bool> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let described = describe(object);
    let before = api.get_opt(name).await.with_context(|| problem::apply_refused(&described))?;
    let ours = before.as_ref().is_none_or(is_ours);
    let params = PatchParams { force: ours, ..PatchParams::apply(MANAGER) }.validation_strict();
    match api.patch(name, &params, &Patch::Apply(object)).await {
        Ok(after) => Ok(before.is_none_or(|before| before.resource_version() != after.resource_version())),
        Err(kube::Error::Api(status)) if status.code == 409 => {
            Err(kube::Error::Api(status)).context(problem::apply_conflict(&described))
        }
        Err(error) => Err(error).context(problem::apply_refused(&described)),
    }
}

async fn prune(client: &Client, rendered: &[Value], namespace: &str, kinds: &BTreeSet<String>) -> Result<Vec<String>> {
    let keep: BTreeSet<String> = rendered.iter().map(describe).collect();
    let ours = ListParams::default().labels(&format!("{MANAGED_BY}={MANAGER}"));
    let mut pruned = Vec::new();
    for (api_version, kind) in kinds.iter().filter_map(|kind| kind.split_once(' ')) {
        if kind == "Namespace" {
            continue;
        }
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        let is_api_service = kind == API_SERVICE;
        let api: Api<DynamicObject> = if is_api_service {
            Api::all_with(client.clone(), &resource)
        } else {
            Api::namespaced_with(client.clone(), namespace, &resource)
        };
        let listed = match api.list(&ours).await {
            Ok(listed) => listed,
            // A cluster without the kind, or a user who may not see it, has nothing of it for us to remove.
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 403 => continue,
            Err(error) => return Err(error.into()),
        };
        for object in listed {
            let described = format!("{kind} {}", object.name_any());
            let is_elsewhere = is_api_service && !points_into(&object.data["spec"], namespace);
            if keep.contains(&described) || object.metadata.deletion_timestamp.is_some() || is_elsewhere {
                continue;
            }
            let background =
                DeleteParams { propagation_policy: Some(PropagationPolicy::Background), ..DeleteParams::default() };
            match api.delete(&object.name_any(), &background).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => {
                    return Err(error).context(problem::apply_refused(&format!("the removal of {described}")));
                }
                Ok(_) => pruned.push(described),
            }
        }
    }
    Ok(pruned)
}

/// Whether a namespace has to be made; nothing where this user may not ask.
async fn namespace_absent(client: &Client, name: Option<&str>) -> Result<Option<bool>> {
    match await_terminating(client, name).await {
        Ok(absent) => Ok(Some(absent)),
        Err(error) => match error.downcast_ref::<kube::Error>() {
            Some(kube::Error::Api(status)) if status.code == 403 => Ok(None),
            _ => Err(error),
        },
    }
}

/// Waits for a namespace that is on its way out; true when it is not there (any more).
async fn await_terminating(client: &Client, name: Option<&str>) -> Result<bool> {
    const LIMIT_S: u64 = 120;
    let name = name.unwrap_or_default();
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let mut last = String::new();
    for _ in 0..LIMIT_S * 5 {
        match namespaces.get_opt(name).await? {
            None => return Ok(true),
            Some(found) if found.metadata.deletion_timestamp.is_none() => return Ok(false),
            Some(found) => last = terminating_reason(&found),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Err(problem::waited_too_long(&format!("namespace {name} to go away"), LIMIT_S, &last).into())
}

fn terminating_reason(namespace: &Namespace) -> String {
    let conditions = namespace.status.as_ref().and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    let holding = conditions.filter(|c| c.status == "True").filter_map(|c| c.message.clone());
    holding.collect::<Vec<_>>().join("; ")
}

/// Whether the specification of an APIService names a Service of the namespace.
fn points_into(spec: &Value, namespace: &str) -> bool {
    spec["service"]["namespace"] == namespace
}

fn is_ours(object: &DynamicObject) -> bool {
    object.labels().get(MANAGED_BY).is_some_and(|value| value == MANAGER)
}

pub(crate) fn describe(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"]))
}

/// What others refer to comes first: the namespace, then what pods mount, then the pods, then what scales them.
fn order(kind: &str) -> usize {
    let ranks = ["Namespace", "ServiceAccount", "ConfigMap", "Secret", "Service", "Deployment"];
    ranks.iter().position(|ranked| *ranked == kind).unwrap_or(ranks.len())
}

/// The plural and the scope of each kind, asked of the cluster once.
struct Kinds<'c> {
    client: &'c Client,
    known: BTreeMap<String, (ApiResource, bool)>,
}

impl<'c> Kinds<'c> {
    fn new(client: &'c Client) -> Kinds<'c> {
        Kinds { client, known: BTreeMap::new() }
    }

    async fn api(&mut self, object: &Value, namespace: &str) -> Result<Api<DynamicObject>> {
        let kind = object["kind"].as_str().unwrap_or_default();
        let api_version = object["apiVersion"].as_str().unwrap_or_default();
        let key = format!("{api_version}/{kind}");
        if !self.known.contains_key(&key) {
            let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
            let gvk = GroupVersionKind::gvk(group, version, kind);
            let (resource, capabilities) = discovery::pinned_kind(self.client, &gvk)
                .await
                .with_context(|| problem::apply_refused(&describe(object)))?;
            self.known.insert(key.clone(), (resource, capabilities.scope == discovery::Scope::Namespaced));
        }
        let (resource, namespaced) = &self.known[&key];
        let is_of_namespace = kind == "Namespace" || kind == API_SERVICE && points_into(&object["spec"], namespace);
        if !namespaced && !is_of_namespace {
            return Err(problem::cluster_scoped(&describe(object)).into());
        }
        Ok(if *namespaced {
            Api::namespaced_with(self.client.clone(), namespace, resource)
        } else {
            Api::all_with(self.client.clone(), resource)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_a_namespace_is_told_in_the_clusters_words() {
        let held = serde_json::from_value(serde_json::json!({"metadata": {"name": "lab"}, "status": {"conditions": [
            {"type": "NamespaceDeletionDiscoveryFailure", "status": "True", "reason": "DiscoveryFailed",
                "message": "unable to retrieve the complete list of server APIs: metrics.k8s.io/v1beta1"},
            {"type": "NamespaceContentRemaining", "status": "False", "message": "all content was removed"}]}}));
        let why = terminating_reason(&held.unwrap());
        assert_eq!(why, "unable to retrieve the complete list of server APIs: metrics.k8s.io/v1beta1");
    }

    #[test]
    fn namespaces_come_first_and_autoscalers_last() {
        let mut kinds = ["HorizontalPodAutoscaler", "Deployment", "Namespace", "Service", "ConfigMap"];
        kinds.sort_by_key(|kind| order(kind));
        assert_eq!(kinds, ["Namespace", "ConfigMap", "Service", "Deployment", "HorizontalPodAutoscaler"]);
    }
}
