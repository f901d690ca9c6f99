//! Pods and pod templates.
//!
//! A stored pod is nearly immutable: images, the deadline, added tolerations and the node that binding writes may
//! change, nothing else of the specification.

use std::collections::HashSet;

use serde_json::Value;

use super::errors::{Errors, list, text as string};
use super::{NameRule, container, metadata, text, volume};

const ALWAYS_ONLY: [&str; 1] = ["Always"];

/// Fields of a pod specification that hold a name, when they hold anything.
const NAMES: &[(&str, NameRule)] = &[
    ("serviceAccountName", text::dns_subdomain),
    ("nodeName", text::dns_subdomain),
    ("hostname", text::dns_label),
    ("subdomain", text::dns_label),
    ("priorityClassName", text::dns_subdomain),
];

pub(super) fn pod(pod: &Value, old: Option<&Value>, errors: &mut Errors) {
    spec(&pod["spec"], "spec", errors);
    if let Some(old) = old {
        update(&pod["spec"], &old["spec"], errors);
    }
}

pub(super) fn pod_template_object(object: &Value, _old: Option<&Value>, errors: &mut Errors) {
    template(&object["template"], "template", errors);
}

/// Metadata and specification of a template.
pub(super) fn template(template: &Value, path: &str, errors: &mut Errors) {
    metadata::labels(&template["metadata"]["labels"], &format!("{path}.metadata.labels"), errors);
    metadata::annotations(&template["metadata"]["annotations"], &format!("{path}.metadata.annotations"), errors);
    spec(&template["spec"], &format!("{path}.spec"), errors);
}

/// A template whose pods must run for ever.
pub(super) fn lasting_template(template: &Value, path: &str, kind: &str, errors: &mut Errors) {
    self::template(template, path, errors);
    let spec = &template["spec"];
    if string(&spec["restartPolicy"]) != "Always" {
        errors.not_supported(format!("{path}.spec.restartPolicy"), &spec["restartPolicy"], &ALWAYS_ONLY);
    }
    if !spec["activeDeadlineSeconds"].is_null() {
        let words = format!("activeDeadlineSeconds in {kind} is not Supported");
        errors.forbidden(format!("{path}.spec.activeDeadlineSeconds"), words);
    }
}

fn spec(spec: &Value, path: &str, errors: &mut Errors) {
    let volumes = volume::volumes(&spec["volumes"], &format!("{path}.volumes"), errors);
    containers(spec, path, &volumes, errors);
    let restart = ["Always", "OnFailure", "Never"];
    required_one_of(&spec["restartPolicy"], &format!("{path}.restartPolicy"), &restart, errors);
    let dns = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    required_one_of(&spec["dnsPolicy"], &format!("{path}.dnsPolicy"), &dns, errors);
    for (field, rule) in NAMES {
        let name = string(&spec[*field]);
        if !name.is_empty() {
            errors.invalid_text(&format!("{path}.{field}"), name, rule(name));
        }
    }
    metadata::labels(&spec["nodeSelector"], &format!("{path}.nodeSelector"), errors);
    tolerations(&spec["tolerations"], &format!("{path}.tolerations"), errors);
    errors.not_negative(&format!("{path}.terminationGracePeriodSeconds"), &spec["terminationGracePeriodSeconds"]);
    let deadline = spec["activeDeadlineSeconds"].as_i64();
    if let Some(deadline) = deadline.filter(|deadline| !(1..=i64::from(i32::MAX)).contains(deadline)) {
        let words = format!("must be between 1 and {}, inclusive", i32::MAX);
        errors.invalid(format!("{path}.activeDeadlineSeconds"), deadline, words);
    }
    errors.one_of(&format!("{path}.preemptionPolicy"), &spec["preemptionPolicy"], &["PreemptLowerPriority", "Never"]);
}

fn containers(spec: &Value, path: &str, volumes: &HashSet<&str>, errors: &mut Errors) {
    let containers = list(&spec["containers"]);
    if containers.is_empty() {
        errors.required(format!("{path}.containers"), "");
    }
    let mut names = HashSet::new();
    let lists = [("containers", containers), ("initContainers", list(&spec["initContainers"]))];
    for (field, containers) in lists {
        for (index, container) in containers.iter().enumerate() {
            let path = format!("{path}.{field}[{index}]");
            container::common(container, &path, volumes, errors);
            let name = string(&container["name"]);
            if !names.insert(name) {
                errors.duplicate(format!("{path}.name"), name);
            }
            let sidecar = string(&container["restartPolicy"]) == "Always";
            if field == "containers" || sidecar {
                container::hooks(container, &path, errors);
            } else {
                container::no_hooks(container, &path, errors);
            }
        }
    }
}

fn required_one_of(value: &Value, path: &str, supported: &[&str], errors: &mut Errors) {
    if string(value).is_empty() {
        errors.required(path, "");
    } else {
        errors.one_of(path, value, supported);
    }
}

fn tolerations(tolerations: &Value, path: &str, errors: &mut Errors) {
    for (index, toleration) in list(tolerations).iter().enumerate() {
        let path = format!("{path}[{index}]");
        let (key, operator) = (string(&toleration["key"]), string(&toleration["operator"]));
        if !key.is_empty() {
            errors.invalid_text(&format!("{path}.key"), key, text::qualified_name(key));
        } else if operator != "Exists" {
            let words = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.invalid(format!("{path}.operator"), operator, words);
        }
        if operator == "Exists" && !string(&toleration["value"]).is_empty() {
            let words = "value must be empty when `operator` is 'Exists'";
            errors.invalid(format!("{path}.operator"), toleration.clone(), words);
        }
        let seconds = &toleration["tolerationSeconds"];
        if !seconds.is_null() && string(&toleration["effect"]) != "NoExecute" {
            let words = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.invalid(format!("{path}.effect"), string(&toleration["effect"]), words);
        }
        errors.one_of(&format!("{path}.operator"), &toleration["operator"], &["Equal", "Exists"]);
        errors.one_of(
            &format!("{path}.effect"),
            &toleration["effect"],
            &["NoSchedule", "PreferNoSchedule", "NoExecute"],
        );
    }
}

fn update(new: &Value, old: &Value, errors: &mut Errors) {
    for (field, containers) in [("containers", &new["containers"]), ("initContainers", &new["initContainers"])] {
        let (after, before) = (list(containers).len(), list(&old[field]).len());
        if after != before {
            return errors.forbidden(format!("spec.{field}"), "pod updates may not add or remove containers");
        }
    }
    if masked(new, old) != masked(old, old) {
        let words = "pod updates may not change fields other than `spec.containers[*].image`,\
                     `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to \
                     existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was \
                     previously negative)";
        errors.forbidden("spec", words);
    }
}

/// The specification without what may change.
fn masked(spec: &Value, old: &Value) -> Value {
    let mut spec = spec.clone();
    for field in ["containers", "initContainers"] {
        for container in spec[field].as_array_mut().into_iter().flatten() {
            container["image"] = Value::Null;
        }
    }
    let kept = list(&old["tolerations"]).iter().all(|toleration| list(&spec["tolerations"]).contains(toleration));
    let unbound = string(&old["nodeName"]).is_empty();
    if let Some(map) = spec.as_object_mut() {
        for field in ["activeDeadlineSeconds", "ephemeralContainers", "schedulingGates"] {
            map.remove(field);
        }
        if kept {
            map.remove("tolerations");
        }
        if unbound {
            map.remove("nodeName");
        }
        map.retain(|_, value| !value.is_null());
    }
    spec
}
