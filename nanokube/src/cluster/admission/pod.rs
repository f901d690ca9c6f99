//! What a new pod gets: account, tolerations, priority, limit-range defaults, quality of service.
//!
//! Unlike upstream no token volume is mounted by itself: processes find the API by their KUBECONFIG, and a mount at an
//! absolute path is not to be had everywhere.

use serde_json::{Value, json};

use super::{limit_range, toleration};
use crate::object;
use crate::status::ApiError;
use crate::store::Writing;

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

fn account(writing: &Writing<'_>, pod: &mut Value) -> Result<(), ApiError> {
    let name = match object::str_at(pod, "/spec/serviceAccountName") {
        "" => "default".to_string(),
        name => name.to_string(),
    };
    let namespace = object::namespace(pod);
    // The account "default" comes with the namespace, a moment after it.
    if name != "default" && writing.get("serviceaccounts", namespace, &name).is_none() {
        let why = format!("error looking up service account {namespace}/{name}: serviceaccount {name:?} not found");
        return Err(ApiError::forbidden("pods", object::name(pod), why));
    }
    object::set(pod, &["spec", "serviceAccountName"], name.clone().into());
    object::set(pod, &["spec", "serviceAccount"], name.into());
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
