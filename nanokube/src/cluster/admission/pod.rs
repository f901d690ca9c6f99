//! What a new pod gets: account, tolerations, priority, limit-range defaults, quality of service.
//!
//! What an in-cluster client looks for is mounted into every container, unless the pod or its account asks not to.

use serde_json::{Value, json};

use super::{limit_range, toleration};
use crate::cluster::identity::generated_name;
use crate::object;
use crate::status::ApiError;
use crate::store::Writing;

/// Where service account tokens are mounted, and how the volumes that hold them are called.
pub(crate) const TOKEN_DIR: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const TOKEN_VOLUME: &str = "kube-api-access-";
/// What the token asks for that nobody asked for: an hour, and a little more by which it is known.
pub(crate) const TOKEN_LIFETIME_S: i64 = 3_607;
const EVICTION_TAINTS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

pub(super) fn admit(writing: &Writing<'_>, pod: &mut Value) -> Result<(), ApiError> {
    if !pod["spec"].is_object() {
        return Ok(());
    }
    limit_range::give(writing, pod);
    account(writing, pod)?;
    let spec = &mut pod["spec"];
    let mut tolerations = object::array_at(spec, "/tolerations").to_vec();
    for key in EVICTION_TAINTS {
        let tolerated = |toleration: &Value| {
            let named = object::str_at(toleration, "/key");
            (named == key || named.is_empty() && toleration["operator"] == "Exists")
                && matches!(object::str_at(toleration, "/effect"), "" | "NoExecute")
        };
        if !tolerations.iter().any(tolerated) {
            tolerations.push(toleration(key));
        }
    }
    spec["tolerations"] = tolerations.into();
    priority(writing, pod)?;
    let class = quality_of_service(pod);
    object::set(pod, &["status", "qosClass"], class.into());
    Ok(())
}

/// The token, the authority's certificate and the namespace, where in-cluster clients look for them.
fn mount_token(account: Option<&Value>, pod: &mut Value) {
    let wish = |object: &Value, pointer: &str| object.pointer(pointer).and_then(Value::as_bool);
    let of_account = account.and_then(|account| wish(account, "/automountServiceAccountToken"));
    let wanted = wish(pod, "/spec/automountServiceAccountToken").or(of_account).unwrap_or(true);
    let named = |volume: &&Value| object::str_at(volume, "/name").starts_with(TOKEN_VOLUME);
    let present = object::array_at(pod, "/spec/volumes").iter().find(named).map(|volume| volume["name"].clone());
    let name = present.clone().unwrap_or_else(|| generated_name(TOKEN_VOLUME).into());
    let mount = json!({ "name": name, "readOnly": true, "mountPath": TOKEN_DIR });
    let mut used = false;
    for list in ["containers", "initContainers"].into_iter().filter(|_| wanted) {
        let containers = pod["spec"].get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten().filter(|container| container.is_object()) {
            let mut mounts = object::array_at(container, "/volumeMounts").to_vec();
            if mounts.iter().all(|mount| mount["mountPath"] != TOKEN_DIR) {
                mounts.push(mount.clone());
                container["volumeMounts"] = mounts.into();
                used = true;
            }
        }
    }
    if used && present.is_none() {
        let mut volumes = object::array_at(pod, "/spec/volumes").to_vec();
        let namespace = json!({ "apiVersion": "v1", "fieldPath": "metadata.namespace" });
        let sources = json!([
            { "serviceAccountToken": { "expirationSeconds": TOKEN_LIFETIME_S, "path": "token" } },
            { "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
            { "downwardAPI": { "items": [{ "path": "namespace", "fieldRef": namespace }] } },
        ]);
        volumes.push(json!({ "name": name, "projected": { "sources": sources, "defaultMode": 420 } }));
        pod["spec"]["volumes"] = volumes.into();
    }
}

fn account(writing: &Writing<'_>, pod: &mut Value) -> Result<(), ApiError> {
    let name = match object::str_at(pod, "/spec/serviceAccountName") {
        "" => "default".to_string(),
        name => name.to_string(),
    };
    let namespace = object::namespace(pod);
    // The account "default" comes with the namespace, a moment after it.
    let found = writing.get("serviceaccounts", namespace, &name);
    if name != "default" && found.is_none() {
        let why = format!("error looking up service account {namespace}/{name}: serviceaccount {name:?} not found");
        return Err(ApiError::forbidden("pods", object::name(pod), why));
    }
    object::set(pod, &["spec", "serviceAccountName"], name.clone().into());
    object::set(pod, &["spec", "serviceAccount"], name.into());
    mount_token(found.as_deref(), pod);
    Ok(())
}

fn priority(writing: &Writing<'_>, pod: &mut Value) -> Result<(), ApiError> {
    let class = object::str_at(pod, "/spec/priorityClassName").to_string();
    let (mut value, mut policy) = (0, "PreemptLowerPriority".to_string());
    if !class.is_empty() {
        match (writing.get("priorityclasses.scheduling.k8s.io", "", &class), class.as_str()) {
            (Some(found), _) => {
                value = object::i64_at(&found, "/value").unwrap_or(0);
                policy = object::str_at(&found, "/preemptionPolicy").to_string();
            }
            (None, "system-cluster-critical") => value = 2_000_000_000,
            (None, "system-node-critical") => value = 2_000_001_000,
            (None, _) => {
                let why = format!("no PriorityClass with name {class} was found");
                return Err(ApiError::forbidden("pods", object::name(pod), why));
            }
        }
    }
    object::set(pod, &["spec", "priority"], value.into());
    if object::str_at(pod, "/spec/preemptionPolicy").is_empty() {
        object::set(pod, &["spec", "preemptionPolicy"], policy.into());
    }
    Ok(())
}

/// Guaranteed: every container has CPU and memory limits equal to its requests. BestEffort: no container has any.
fn quality_of_service(pod: &Value) -> &'static str {
    let containers =
        || object::array_at(pod, "/spec/containers").iter().chain(object::array_at(pod, "/spec/initContainers"));
    let amount = |container: &Value, list: &str, resource: &str| container["resources"][list][resource].clone();
    let zero = |quantity: &Value| quantity.is_null() || *quantity == json!("0");
    let mut any = false;
    let mut guaranteed = true;
    for container in containers() {
        for resource in ["cpu", "memory"] {
            let (limit, request) = (amount(container, "limits", resource), amount(container, "requests", resource));
            any |= !zero(&limit) || !zero(&request);
            guaranteed &= !zero(&limit) && limit == request;
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}
