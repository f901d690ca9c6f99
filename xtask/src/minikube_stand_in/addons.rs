//! `addons enable` and `addons list`. Enabling says nothing about health: it returns before anything runs.
//!
//! nanokube measures by itself, so `metrics-server` is a Deployment of no replicas that carries the addon's arguments,
//! and an APIService that nanokube calls available. Where the addon is to fail, it fails there in earnest.

use anyhow::Result;
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Map, Value, json};

use crate::speech::Fatal;
use crate::{Call, EXIT_USAGE, service};

pub(crate) const NAMES: [&str; 6] =
    ["metrics-server", "ingress", "dashboard", "storage-provisioner", "default-storageclass", "registry"];

pub(crate) fn enable(mut call: Call) -> Result<u8> {
    let [addon] = &call.given.args[..] else {
        let message = "usage: minikube addons enable ADDON_NAME";
        return Err(Fatal::new(EXIT_USAGE, "MK_USAGE", message, "").into());
    };
    let addon = addon.clone();
    let name = call.given.profile().to_owned();
    let mut profile = call.home.require(&name)?.clone();
    if !NAMES.contains(&addon.as_str()) {
        let message = format!("enable failed: check addon: {addon} is not a valid addon");
        return Err(Fatal::new(10, "MK_ADDON_ENABLE", message, "").into());
    }
    call.speech
        .notice(&format!("{addon} is an addon maintained by Kubernetes. For any concerns contact minikube on GitHub."));
    println!(
        "You can view the list of minikube maintainers at: https://github.com/kubernetes/minikube/blob/master/OWNERS"
    );
    if profile.is_paused {
        let message = format!("enabled failed: is the profile {name:?} paused?");
        return Err(Fatal::new(11, "MK_ADDON_ENABLE_PAUSED", message, "").into());
    }
    if call.scenario.has("addon-refused") {
        let message =
            "enable failed: run callbacks: running callbacks: [sudo kubectl apply: Process exited with status 1]";
        return Err(Fatal::new(10, "MK_ADDON_ENABLE", message, "").into());
    }
    if profile.is_running {
        apply(&call, &name, &addon)?;
    }
    if !profile.addons.contains(&addon) {
        profile.addons.push(addon.clone());
    }
    call.home.put(&name, profile)?;
    call.speech.notice(&format!("The '{addon}' addon is enabled"));
    Ok(0)
}

pub(crate) fn list(call: &Call) -> Result<u8> {
    let name = call.given.profile();
    let profile = call.home.find(name);
    let status = |addon: &str| match profile {
        // Exit 0 all the same: the traps of this command are its values.
        None => json!({}),
        Some(profile) if profile.addons.iter().any(|enabled| enabled == addon) => {
            json!({ "Profile": name, "Status": "enabled" })
        }
        Some(_) => json!({ "Profile": name, "Status": "disabled" }),
    };
    let all: Map<String, Value> = NAMES.iter().map(|addon| ((*addon).to_owned(), status(addon))).collect();
    match call.speech.is_json() {
        true => println!("{}", Value::Object(all)),
        false => all.iter().for_each(|(addon, status)| println!("| {addon} | {} |", status["Status"])),
    }
    Ok(0)
}

/// Puts the addon's objects into the cluster, where there is one.
pub(crate) fn apply(call: &Call, profile: &str, addon: &str) -> Result<()> {
    if addon != "metrics-server" || call.scenario.has("addon-disabled") || !service::has_cluster() {
        return Ok(());
    }
    let scenario = &call.scenario;
    let is_pulled = !scenario.has("metrics-not-pulled");
    let is_ready = !scenario.has("metrics-not-ready");
    let is_served = is_pulled && is_ready && !scenario.has("metrics-unreachable");
    service::with_client(profile, async |client| {
        put(&client, "kube-system", &metrics_server(u64::from(!is_pulled))).await?;
        put(&client, "kube-system", &metrics_service()).await?;
        if !is_ready {
            put(&client, "kube-system", &unready_pod()).await?;
        }
        // Anew: an API becomes local again only without a trace of its service.
        let services: Api<DynamicObject> = Api::all_with(client.clone(), &resource(&metrics_api(true)));
        if services.get_opt("v1beta1.metrics.k8s.io").await?.is_some() {
            services.delete("v1beta1.metrics.k8s.io", &DeleteParams::default()).await?;
        }
        put(&client, "", &metrics_api(is_served)).await
    })
}

/// Applies an object, and its status where it has one.
async fn put(client: &Client, namespace: &str, object: &Value) -> Result<()> {
    let (name, resource) = (word(object, "/metadata/name"), resource(object));
    let api: Api<DynamicObject> = match namespace {
        "" => Api::all_with(client.clone(), &resource),
        namespace => Api::namespaced_with(client.clone(), namespace, &resource),
    };
    let apply = PatchParams::apply("minikube-stand-in").force();
    api.patch(name, &apply, &Patch::Apply(object)).await?;
    if object["status"].is_object() {
        api.patch_status(name, &apply, &Patch::Apply(object)).await?;
    }
    Ok(())
}

fn resource(object: &Value) -> ApiResource {
    let version = word(object, "/apiVersion");
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, word(object, "/kind")))
}

fn word<'o>(object: &'o Value, pointer: &str) -> &'o str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A metrics-server that runs and never gets two samples: `/readyz` says that there are no metrics to serve. No scheduler
/// takes it, so its status stays as it is written here.
fn unready_pod() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "metrics-server-0", "namespace": "kube-system", "labels": { "k8s-app": "metrics-server" } },
        "spec": {
            "schedulerName": "nobody",
            "containers": [{ "name": "metrics-server", "image": "registry.k8s.io/metrics-server/metrics-server:v0.8.1" }],
        },
        "status": {
            "phase": "Running",
            "conditions": [{
                "type": "Ready", "status": "False", "reason": "ContainersNotReady",
                "message": "containers with unready status: [metrics-server]",
            }],
        },
    })
}

/// nanokube serves the metrics itself; an API that names a service is asked there, where nobody answers.
fn metrics_api(is_served: bool) -> Value {
    let mut api = json!({
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": { "name": "v1beta1.metrics.k8s.io", "labels": { "k8s-app": "metrics-server" } },
        "spec": {
            "group": "metrics.k8s.io", "version": "v1beta1", "groupPriorityMinimum": 100, "versionPriority": 100,
        },
    });
    if !is_served {
        api["spec"]["service"] = json!({ "namespace": "kube-system", "name": "metrics-server", "port": 443 });
        api["spec"]["insecureSkipTLSVerify"] = json!(true);
    }
    api
}

fn metrics_service() -> Value {
    let labels = json!({ "k8s-app": "metrics-server" });
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": "metrics-server", "namespace": "kube-system", "labels": labels },
        "spec": { "selector": labels, "ports": [{ "name": "https", "port": 443, "targetPort": 4443 }] },
    })
}

fn metrics_server(replicas: u64) -> Value {
    let labels = json!({ "k8s-app": "metrics-server" });
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "metrics-server", "namespace": "kube-system", "labels": labels },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [{
                    "name": "metrics-server",
                    "image": "registry.k8s.io/metrics-server/metrics-server:v0.8.1",
                    "imagePullPolicy": "IfNotPresent",
                    "args": [
                        "--cert-dir=/tmp", "--secure-port=4443",
                        "--kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname",
                        "--kubelet-use-node-status-port", "--metric-resolution=60s", "--kubelet-insecure-tls",
                    ],
                }] },
            },
        },
    })
}
