//! The small kinds with rules of their own: disruption budgets, access rules, claims, events, registered APIs.

use serde_json::Value;

use super::errors::{Errors, list, text as string};
use super::{amount, selector};

pub(super) fn pod_disruption_budget(object: &Value, _old: Option<&Value>, errors: &mut Errors) {
    let spec = &object["spec"];
    if !spec["minAvailable"].is_null() && !spec["maxUnavailable"].is_null() {
        let shown = format!(
            "{{\"MinAvailable\":{},\"Selector\":{},\"MaxUnavailable\":{},\"UnhealthyPodEvictionPolicy\":{}}}",
            spec["minAvailable"], spec["selector"], spec["maxUnavailable"], spec["unhealthyPodEvictionPolicy"]
        );
        errors.invalid_struct("spec", shown, "minAvailable and maxUnavailable cannot be both set");
    }
    for field in ["minAvailable", "maxUnavailable"] {
        let path = format!("spec.{field}");
        amount::check(&spec[field], &path, errors);
        amount::check_not_above_all(&spec[field], &path, errors);
    }
    selector::check(&spec["selector"], "spec.selector", errors);
    let policies = ["IfHealthyBudget", "AlwaysAllow"];
    errors.one_of("spec.unhealthyPodEvictionPolicy", &spec["unhealthyPodEvictionPolicy"], &policies);
}

pub(super) fn role(object: &Value, _old: Option<&Value>, errors: &mut Errors) {
    for (index, rule) in list(&object["rules"]).iter().enumerate() {
        let path = format!("rules[{index}]");
        let (groups, resources) = (list(&rule["apiGroups"]), list(&rule["resources"]));
        if list(&rule["verbs"]).is_empty() {
            errors.required(format!("{path}.verbs"), "verbs must contain at least one value");
        }
        if !list(&rule["nonResourceURLs"]).is_empty() {
            if !groups.is_empty() || !resources.is_empty() {
                let words = "rules cannot apply to both regular resources and non-resource URLs";
                errors.invalid(format!("{path}.nonResourceURLs"), rule["nonResourceURLs"].clone(), words);
            }
            continue;
        }
        if groups.is_empty() {
            errors.required(format!("{path}.apiGroups"), "resource rules must supply at least one api group");
        }
        if resources.is_empty() {
            errors.required(format!("{path}.resources"), "resource rules must supply at least one resource");
        }
    }
}

pub(super) fn role_binding(object: &Value, old: Option<&Value>, errors: &mut Errors) {
    let role = &object["roleRef"];
    let rbac = "rbac.authorization.k8s.io";
    if string(&role["apiGroup"]) != rbac {
        errors.not_supported("roleRef.apiGroup", &role["apiGroup"], &[rbac]);
    }
    errors.one_of("roleRef.kind", &role["kind"], &["Role", "ClusterRole"]);
    if string(&role["name"]).is_empty() {
        errors.required("roleRef.name", "");
    }
    for (index, subject) in list(&object["subjects"]).iter().enumerate() {
        let path = format!("subjects[{index}]");
        if string(&subject["name"]).is_empty() {
            errors.required(format!("{path}.name"), "");
        }
        let kind = string(&subject["kind"]);
        if kind == "ServiceAccount" && string(&subject["namespace"]).is_empty() {
            errors.required(format!("{path}.namespace"), "");
        }
        if !matches!(kind, "ServiceAccount" | "User" | "Group") {
            errors.not_supported(format!("{path}.kind"), &subject["kind"], &["ServiceAccount", "User", "Group"]);
        }
    }
    if old.is_some_and(|old| old["roleRef"] != *role) {
        errors.invalid("roleRef", role.clone(), "cannot change roleRef");
    }
}

pub(super) fn persistent_volume_claim(object: &Value, old: Option<&Value>, errors: &mut Errors) {
    let spec = &object["spec"];
    let modes = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
    if list(&spec["accessModes"]).is_empty() {
        errors.required("spec.accessModes", "at least 1 access mode is required");
    }
    for mode in list(&spec["accessModes"]) {
        errors.one_of("spec.accessModes", mode, &modes);
    }
    if spec["resources"]["requests"]["storage"].is_null() {
        errors.required("spec.resources[storage]", "");
    }
    let fixed = |object: &Value| {
        let mut spec = object["spec"].clone();
        if let Some(map) = spec.as_object_mut() {
            map.retain(|key, _| !matches!(key.as_str(), "resources" | "volumeAttributesClassName" | "volumeName"));
        }
        spec
    };
    if old.is_some_and(|old| fixed(old) != fixed(object)) {
        let words = "spec is immutable after creation except resources.requests and volumeAttributesClassName for \
                     bound claims";
        errors.forbidden("spec", words);
    }
}

/// Events are about something in their own namespace.
pub(super) fn event(object: &Value, _old: Option<&Value>, errors: &mut Errors) {
    let (own, about) = (string(&object["metadata"]["namespace"]), string(&object["involvedObject"]["namespace"]));
    let matches = if about.is_empty() { matches!(own, "default" | "kube-system") } else { own == about };
    if !matches {
        errors.invalid("involvedObject.namespace", about, "does not match event.namespace");
    }
}

pub(super) fn api_service(object: &Value, _old: Option<&Value>, errors: &mut Errors) {
    let spec = &object["spec"];
    let (group, version) = (string(&spec["group"]), string(&spec["version"]));
    let name = string(&object["metadata"]["name"]);
    if name != format!("{version}.{group}") {
        errors.invalid("metadata.name", name, "must be `spec.version+\".\"+spec.group`");
    }
    if version.is_empty() {
        errors.required("spec.version", "");
    }
    for (field, limit) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1_000)] {
        let priority = spec[field].as_i64().unwrap_or(0);
        if !(1..=limit).contains(&priority) {
            errors.invalid(format!("spec.{field}"), priority, format!("must be positive and less than {limit}"));
        }
    }
    let service = &spec["service"];
    if service.is_null() {
        if !string(&spec["caBundle"]).is_empty() {
            errors.invalid("spec.caBundle", "<omitted>", "local APIServices may not have a caBundle");
        }
        if spec["insecureSkipTLSVerify"] == true {
            errors.invalid("spec.insecureSkipTLSVerify", true, "local APIServices may not have insecureSkipTLSVerify");
        }
        return;
    }
    for field in ["namespace", "name"].into_iter().filter(|field| string(&service[*field]).is_empty()) {
        errors.required(format!("spec.service.{field}"), "");
    }
    if spec["insecureSkipTLSVerify"] == true && !string(&spec["caBundle"]).is_empty() {
        let words = "may not be true if caBundle is present";
        errors.invalid("spec.insecureSkipTLSVerify", true, words);
    }
}
