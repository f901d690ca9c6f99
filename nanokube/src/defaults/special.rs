//! Defaults that depend on other fields, and forms that are stored in another way than they are written.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::{canonical, canonical_quantities, default_at};
use crate::object;

/// What has to happen before the table is applied.
pub(super) fn before(resource: &str, object: &mut Value) {
    match resource {
        "secrets" => encode_string_data(object),
        "jobs.batch" => job(object),
        "horizontalpodautoscalers.autoscaling" => autoscaler(object),
        "namespaces" => {
            let name = object::name(object).to_string();
            object::set(object, &["metadata", "labels", "kubernetes.io/metadata.name"], name.into());
        }
        "customresourcedefinitions.apiextensions.k8s.io" => definition(object),
        _ => {}
    }
}

/// What refers to defaulted values.
pub(super) fn after(resource: &str, object: &mut Value) {
    match resource {
        "deployments.apps" => rolling_update(object, "strategy", json!({ "maxUnavailable": "25%", "maxSurge": "25%" })),
        "daemonsets.apps" => rolling_update(object, "updateStrategy", json!({ "maxUnavailable": 1, "maxSurge": 0 })),
        "statefulsets.apps" => rolling_update(object, "updateStrategy", json!({ "partition": 0 })),
        "services" => service(object),
        "networkpolicies.networking.k8s.io" => policy_types(object),
        "rolebindings.rbac.authorization.k8s.io" | "clusterrolebindings.rbac.authorization.k8s.io" => subjects(object),
        "resourcequotas" => canonical_quantities(object.pointer_mut("/spec/hard")),
        "persistentvolumeclaims" => canonical_quantities(object.pointer_mut("/spec/resources/requests")),
        "persistentvolumes" => canonical_quantities(object.pointer_mut("/spec/capacity")),
        "limitranges" => limit_range(object),
        "pods" => pod(object),
        _ => {}
    }
}

fn encode_string_data(secret: &mut Value) {
    let Some(Value::Object(texts)) = object::remove(secret, &["stringData"]) else { return };
    for (key, text) in texts {
        let encoded = STANDARD.encode(text.as_str().unwrap_or_default());
        object::set(secret, &["data", &key], encoded.into());
    }
}

/// A job that is not work-queue like runs once, and selects its pods by its own uid.
fn job(job: &mut Value) {
    let both_absent = ["/spec/completions", "/spec/parallelism"].iter().all(|at| absent(job, at));
    if both_absent {
        default_at(job, &["spec", "completions"], 1.into());
    }
    default_at(job, &["spec", "parallelism"], 1.into());
    if !absent(job, "/spec/backoffLimitPerIndex") {
        default_at(job, &["spec", "backoffLimit"], i32::MAX.into());
    }
    if !absent(job, "/spec/podFailurePolicy") {
        default_at(job, &["spec", "podReplacementPolicy"], "Failed".into());
    }
    let uid = object::uid(job).to_string();
    if object::bool_at(job, "/spec/manualSelector") || uid.is_empty() || !absent(job, "/spec/selector") {
        return;
    }
    let name = object::name(job).to_string();
    let labels = [
        ("batch.kubernetes.io/controller-uid", &uid),
        ("batch.kubernetes.io/job-name", &name),
        ("controller-uid", &uid),
        ("job-name", &name),
    ];
    for (key, value) in labels {
        object::set(job, &["spec", "template", "metadata", "labels", key], value.as_str().into());
        default_at_label(job, key, value);
    }
    let selector = json!({ "matchLabels": { "batch.kubernetes.io/controller-uid": uid } });
    object::set(job, &["spec", "selector"], selector);
}

fn default_at_label(object: &mut Value, key: &str, value: &str) {
    if object::label(object, key).is_none() {
        object::set(object, &["metadata", "labels", key], value.into());
    }
}

fn absent(object: &Value, pointer: &str) -> bool {
    object.pointer(pointer).is_none_or(Value::is_null)
}

fn autoscaler(autoscaler: &mut Value) {
    if object::array_at(autoscaler, "/spec/metrics").is_empty() && autoscaler["spec"].is_object() {
        let target = json!({ "type": "Utilization", "averageUtilization": 80 });
        let metric = json!({ "type": "Resource", "resource": { "name": "cpu", "target": target } });
        object::set(autoscaler, &["spec", "metrics"], json!([metric]));
    }
    let metrics = autoscaler.pointer_mut("/spec/metrics").and_then(Value::as_array_mut);
    for metric in metrics.into_iter().flatten().filter_map(Value::as_object_mut) {
        for source in metric.values_mut() {
            for field in ["value", "averageValue"] {
                if let Some(quantity) = source.pointer_mut(&format!("/target/{field}")) {
                    canonical(quantity);
                }
            }
        }
    }
}

fn rolling_update(object: &mut Value, strategy: &str, defaults: Value) {
    if object::str_at(object, &format!("/spec/{strategy}/type")) != "RollingUpdate" {
        return;
    }
    for (key, value) in defaults.as_object().into_iter().flatten() {
        default_at(object, &["spec", strategy, "rollingUpdate", key], value.clone());
    }
}

fn service(service: &mut Value) {
    for port in service.pointer_mut("/spec/ports").and_then(Value::as_array_mut).into_iter().flatten() {
        let absent = matches!(port.get("targetPort"), None | Some(Value::Null))
            || port["targetPort"] == 0
            || port["targetPort"] == "";
        if port.is_object() && absent && port["port"].is_number() {
            port["targetPort"] = port["port"].clone();
        }
    }
    let kind = object::str_at(service, "/spec/type").to_string();
    if kind == "ExternalName" {
        return;
    }
    default_at(service, &["spec", "internalTrafficPolicy"], "Cluster".into());
    if object::str_at(service, "/spec/sessionAffinity") == "ClientIP" {
        default_at(service, &["spec", "sessionAffinityConfig", "clientIP", "timeoutSeconds"], 10_800.into());
    }
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
        default_at(service, &["spec", "externalTrafficPolicy"], "Cluster".into());
    }
    if kind == "LoadBalancer" {
        default_at(service, &["spec", "allocateLoadBalancerNodePorts"], true.into());
    }
}

fn policy_types(policy: &mut Value) {
    if !absent(policy, "/spec/policyTypes") || !policy["spec"].is_object() {
        return;
    }
    let egress = policy.pointer("/spec/egress").is_some_and(|egress| !egress.is_null());
    let types = if egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
    object::set(policy, &["spec", "policyTypes"], types);
}

fn subjects(binding: &mut Value) {
    for subject in binding.get_mut("subjects").and_then(Value::as_array_mut).into_iter().flatten() {
        if matches!(object::str_at(subject, "/kind"), "User" | "Group") {
            default_at(subject, &["apiGroup"], "rbac.authorization.k8s.io".into());
        }
    }
}

fn limit_range(range: &mut Value) {
    for limit in range.pointer_mut("/spec/limits").and_then(Value::as_array_mut).into_iter().flatten() {
        for field in ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] {
            canonical_quantities(limit.get_mut(field));
        }
        if object::str_at(limit, "/type") != "Container" {
            continue;
        }
        // What a container may have at most is its default, and its default is its request.
        for (from, to) in [("max", "default"), ("default", "defaultRequest"), ("min", "defaultRequest")] {
            let source: Map<String, Value> = object::map_at(limit, &format!("/{from}")).cloned().unwrap_or_default();
            for (resource, quantity) in source {
                default_at(limit, &[to, &resource], quantity);
            }
        }
    }
}

fn definition(definition: &mut Value) {
    let kind = object::str_at(definition, "/spec/names/kind").to_string();
    if kind.is_empty() {
        return;
    }
    default_at(definition, &["spec", "names", "singular"], kind.to_lowercase().into());
    default_at(definition, &["spec", "names", "listKind"], format!("{kind}List").into());
}

/// In a Pod (not in templates) a limit without a request is its own request.
fn pod(pod: &mut Value) {
    for list in ["containers", "initContainers"] {
        let containers = pod.pointer_mut(&format!("/spec/{list}")).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            let limits = object::map_at(container, "/resources/limits").cloned().unwrap_or_default();
            for (resource, quantity) in limits {
                default_at(container, &["resources", "requests", &resource], quantity);
            }
        }
    }
}
