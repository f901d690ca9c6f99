//! `addons enable` and `addons list`. Enabling says nothing about health: it returns before anything runs.
//!
//! nanokube measures by itself, so `metrics-server` is a Deployment of no replicas that carries the addon's arguments,
//! and the APIService that says that metrics are available.

use anyhow::Result;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
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
    service::with_client(profile, async |client| {
        let apply = PatchParams::apply("minikube-stand-in").force();
        let (deployment, api_service) = (metrics_server(), metrics_api());
        let deployments =
            Api::<DynamicObject>::namespaced_with(client.clone(), "kube-system", &resource("apps", "v1", "Deployment"));
        deployments.patch("metrics-server", &apply, &Patch::Apply(&deployment)).await?;
        let services = Api::<DynamicObject>::all_with(client, &resource("apiregistration.k8s.io", "v1", "APIService"));
        services.patch("v1beta1.metrics.k8s.io", &apply, &Patch::Apply(&api_service)).await?;
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let condition = json!({
            "type": "Available", "status": "True", "reason": "Passed", "message": "all checks passed",
            "lastTransitionTime": now,
        });
        let status = json!({
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "status": { "conditions": [condition] },
        });
        services.patch_status("v1beta1.metrics.k8s.io", &apply, &Patch::Apply(&status)).await?;
        Ok(())
    })
}

fn resource(group: &str, version: &str, kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

fn metrics_api() -> Value {
    json!({
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": { "name": "v1beta1.metrics.k8s.io", "labels": { "k8s-app": "metrics-server" } },
        "spec": {
            "group": "metrics.k8s.io", "version": "v1beta1", "groupPriorityMinimum": 100, "versionPriority": 100,
        },
    })
}

fn metrics_server() -> Value {
    let labels = json!({ "k8s-app": "metrics-server" });
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "metrics-server", "namespace": "kube-system", "labels": labels },
        "spec": {
            "replicas": 0,
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
