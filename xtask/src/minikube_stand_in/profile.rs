//! The commands about a profile as a whole: version, list, stop, delete, context, address, logs, kubectl.

use anyhow::Result;
use serde_json::{Value, json};

use crate::backend::{self, Backend};
use crate::speech::Fatal;
use crate::{Call, EXIT_USAGE, service};

const COMMIT: &str = "c93a4cb9311efc66b90d33ea03f75f2c4120e9b0";
const VERSION: &str = "v1.38.1";

pub(crate) fn version(call: &Call) -> Result<u8> {
    match call.given.value("output") {
        Some("json") => println!("{}", json!({ "commit": COMMIT, "minikubeVersion": VERSION })),
        None if call.given.is_on("short") => println!("{VERSION}"),
        None => println!("minikube version: {VERSION}\ncommit: {COMMIT}"),
        Some(other) => {
            let message = format!("error: --output must be 'yaml' or 'json', not {other:?}");
            return Err(Fatal::new(10, "MK_OUTPUT_USAGE", message, "").into());
        }
    }
    Ok(0)
}

pub(crate) fn list(call: &Call) -> Result<u8> {
    if call.scenario.has("profile-list-fails") {
        println!("{}", json!({ "error": "open config.json: permission denied" }));
        return Ok(80);
    }
    let profiles = call.home.profiles();
    if !call.speech.is_json() {
        if profiles.is_empty() {
            let message = "No minikube profile was found.";
            let advice = "You can create one using 'minikube start'.";
            return Err(Fatal::new(EXIT_USAGE, "MK_USAGE_NO_PROFILE", message, advice).into());
        }
        profiles.iter().for_each(|(name, profile)| println!("| {name} | {} | {} |", profile.driver, profile.runtime));
        return Ok(0);
    }
    let running = if call.scenario.has("status-word-running") { "Running" } else { "OK" };
    let valid: Vec<Value> = profiles
        .iter()
        .map(|(name, profile)| {
            let status = match (call.given.is_on("light"), profile.is_running) {
                (true, _) => "Skipped",
                (false, true) => running,
                (false, false) => "Stopped",
            };
            let extra: Vec<Value> = profile
                .extra_config
                .iter()
                .filter_map(|config| {
                    let (key, value) = config.split_once('=')?;
                    let (component, key) = key.split_once('.')?;
                    Some(json!({ "Component": component, "Key": key, "Value": value }))
                })
                .collect();
            let addons: serde_json::Map<String, Value> =
                profile.addons.iter().map(|name| (name.clone(), json!(true))).collect();
            json!({
                "Name": name, "Status": status, "Active": false, "ActiveKubeContext": profile.is_running,
                "Config": {
                    "Name": name, "Driver": profile.driver, "CPUs": profile.cpus.parse::<u64>().unwrap_or(2),
                    "Memory": profile.memory_mib, "Addons": addons, "Nodes": nodes(profile.nodes),
                    "KubernetesConfig": {
                        "KubernetesVersion": profile.kubernetes_version, "ContainerRuntime": profile.runtime,
                        "ExtraOptions": extra,
                    },
                },
            })
        })
        .collect();
    print!("{}", json!({ "invalid": [], "valid": valid }));
    Ok(0)
}

/// The first node goes by the profile's name, and has none of its own.
fn nodes(count: u64) -> Vec<Value> {
    let name = |number: u64| if number == 1 { String::new() } else { format!("m{number:02}") };
    (1..=count.max(1)).map(|n| json!({ "Name": name(n), "ControlPlane": n == 1, "Worker": true })).collect()
}

pub(crate) fn stop(mut call: Call) -> Result<u8> {
    let name = call.given.profile().to_owned();
    let mut profile = call.home.require(&name)?.clone();
    profile.is_paused = false;
    if profile.is_running {
        call.speech.step(0, &format!("Stopping node {name:?}  ..."));
        if let Some(backend) = Backend::new(call.home.cluster_directory(&name))? {
            backend.stop()?;
        }
    }
    if !call.given.is_on("keep-context-active") {
        backend::remove_context(&name)?;
    }
    profile.is_running = false;
    call.home.put(&name, profile)?;
    call.speech.step(2, "1 node stopped.");
    Ok(0)
}

pub(crate) fn delete(mut call: Call) -> Result<u8> {
    if !call.given.args.is_empty() {
        let message = "Usage: minikube delete";
        return Err(Fatal::new(EXIT_USAGE, "MK_USAGE", message, "").into());
    }
    let name = call.given.profile().to_owned();
    match call.home.find(&name) {
        None => call.speech.warning(&format!("{name:?} profile does not exist, trying anyways.")),
        Some(profile) => call.speech.step(0, &format!("Deleting {name:?} in {} ...", profile.driver)),
    }
    let directory = call.home.cluster_directory(&name);
    if let (true, Some(backend)) = (directory.exists(), Backend::new(directory.clone())?) {
        backend.delete()?;
        std::fs::remove_dir_all(&directory)?;
    }
    backend::remove_context(&name)?;
    call.home.remove(&name)?;
    call.speech.step(2, &format!("Removed all traces of the {name:?} cluster."));
    Ok(0)
}

pub(crate) fn update_context(call: &Call) -> Result<u8> {
    let name = call.given.profile();
    call.home.require_running(name)?;
    if let Some(backend) = Backend::new(call.home.cluster_directory(name))? {
        backend::write_context(&backend, name, true)?;
    }
    call.speech.notice(&format!("{name:?} context has been updated"));
    call.speech.notice(&format!("Current context is {name:?}"));
    Ok(0)
}

/// A paused control plane answers nobody: the cluster behind it stands still.
pub(crate) fn pause(mut call: Call, is_paused: bool) -> Result<u8> {
    let name = call.given.profile().to_owned();
    let mut profile = call.home.require_running(&name)?.clone();
    if !is_paused && call.scenario.has("unpause-fails") {
        return Err(Fatal::new(80, "GUEST_UNPAUSE", "Pause: kubelet start: exit status 1", "").into());
    }
    if let Some(backend) = Backend::new(call.home.cluster_directory(&name))? {
        if is_paused { backend.stop()? } else { backend.start(&profile)? }
    }
    profile.is_paused = is_paused;
    call.home.put(&name, profile)?;
    call.speech.step(0, if is_paused { "Paused 9 containers" } else { "Unpaused 9 containers" });
    Ok(0)
}

pub(crate) fn ip(call: &Call) -> Result<u8> {
    let name = call.given.profile();
    call.home.require_running(name)?;
    println!("{}", service::node_address(name)?);
    Ok(0)
}

pub(crate) fn logs(call: &Call) -> Result<u8> {
    let name = call.given.profile();
    let profile = call.home.require(name)?;
    for config in &profile.extra_config {
        let key = config.strip_prefix("controller-manager.").and_then(|rest| Some(rest.split_once('=')?.0));
        if let Some(key) = key.filter(|key| !backend::is_known_controller_flag(key)) {
            println!("X Problems detected in kube-controller-manager [0123456789ab]:\n  Error: unknown flag: --{key}");
            return Ok(0);
        }
    }
    println!("==> Audit <==\n\n==> Last Start <==\n\n==> kubelet <==");
    call.home.require_running(name)?;
    Ok(0)
}

pub(crate) fn kubectl(call: &Call) -> Result<u8> {
    if call.scenario.has("kubectl-fails") {
        eprintln!("error: the server doesn't have a resource type");
        return Ok(1);
    }
    println!("{}", call.given.args.join(" "));
    Ok(0)
}
