//! Pods and pod templates.
//!
//! A stored pod is nearly immutable: images, the deadline, added tolerations and the node that binding writes may
//! change, nothing else of the specification.

use std::collections::HashSet;

use serde_json::Value;

use super::errors::{Errors, list, text as string};
use super::{affinity, container, metadata, text, volume};

const ALWAYS_ONLY: [&str; 1] = ["Always"];

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

/// In the order in which the real server looks at the fields, which is that of its messages.
fn spec(spec: &Value, path: &str, errors: &mut Errors) {
    let volumes = volume::volumes(&spec["volumes"], &format!("{path}.volumes"), errors);
    containers(spec, path, &volumes, errors);
    let restart = ["Always", "OnFailure", "Never"];
    required_one_of(&spec["restartPolicy"], &format!("{path}.restartPolicy"), &restart, errors);
    let dns = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    required_one_of(&spec["dnsPolicy"], &format!("{path}.dnsPolicy"), &dns, errors);
    metadata::labels(&spec["nodeSelector"], &format!("{path}.nodeSelector"), errors);
    security(spec, path, errors);
    affinity::affinity(&spec["affinity"], &format!("{path}.affinity"), errors);
    dns_config(spec, &format!("{path}.dnsConfig"), errors);
    for (index, gate) in list(&spec["readinessGates"]).iter().enumerate() {
        let kind = string(&gate["conditionType"]);
        let path = format!("{path}.readinessGates[{index}].conditionType");
        errors.invalid_text(&path, kind, text::qualified_name(kind));
    }
    let mut gates = HashSet::new();
    for (index, gate) in list(&spec["schedulingGates"]).iter().enumerate() {
        let (name, path) = (string(&gate["name"]), format!("{path}.schedulingGates[{index}]"));
        errors.invalid_text(&path, name, text::qualified_name(name));
        if !gates.insert(name) {
            errors.duplicate(path, name);
        }
    }
    affinity::spreading(&spec["topologySpreadConstraints"], &format!("{path}.topologySpreadConstraints"), errors);
    let name = |field: &str, rule: fn(&str) -> Vec<String>, errors: &mut Errors| {
        let name = string(&spec[field]);
        if !name.is_empty() {
            errors.invalid_text(&format!("{path}.{field}"), name, rule(name));
        }
    };
    name("serviceAccountName", text::dns_subdomain, errors);
    name("nodeName", text::dns_subdomain, errors);
    let deadline = spec["activeDeadlineSeconds"].as_i64();
    if let Some(deadline) = deadline.filter(|deadline| !(1..=i64::from(i32::MAX)).contains(deadline)) {
        let words = format!("must be between 1 and {}, inclusive", i32::MAX);
        errors.invalid(format!("{path}.activeDeadlineSeconds"), deadline, words);
    }
    name("hostname", text::dns_label, errors);
    name("subdomain", text::dns_label, errors);
    tolerations(&spec["tolerations"], &format!("{path}.tolerations"), errors);
    host_aliases(&spec["hostAliases"], &format!("{path}.hostAliases"), errors);
    name("priorityClassName", text::dns_subdomain, errors);
    name("runtimeClassName", text::dns_subdomain, errors);
    errors.one_of(&format!("{path}.preemptionPolicy"), &spec["preemptionPolicy"], &["PreemptLowerPriority", "Never"]);
    if !spec["os"].is_null() {
        required_one_of(&spec["os"]["name"], &format!("{path}.os.name"), &["linux", "windows"], errors);
    }
}

fn security(spec: &Value, path: &str, errors: &mut Errors) {
    if spec["hostNetwork"] == true {
        for (index, container) in list(&spec["containers"]).iter().enumerate() {
            for (at, port) in list(&container["ports"]).iter().enumerate() {
                if port["hostPort"].as_i64().unwrap_or(0) != port["containerPort"].as_i64().unwrap_or(0) {
                    let path = format!("{path}.containers[{index}].ports[{at}].containerPort");
                    let words = "must match `hostPort` when `hostNetwork` is true";
                    errors.invalid(path, port["containerPort"].clone(), words);
                }
            }
        }
    }
    let (context, path) = (&spec["securityContext"], format!("{path}.securityContext"));
    for field in ["fsGroup", "runAsUser", "runAsGroup"] {
        container::identity(&context[field], &format!("{path}.{field}"), errors);
    }
    for group in list(&context["supplementalGroups"]) {
        container::identity(group, &format!("{path}.supplementalGroups"), errors);
    }
    if spec["hostPID"] == true && spec["shareProcessNamespace"] == true {
        let words = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.invalid(format!("{path}.shareProcessNamespace"), true, words);
    }
    let policies = ["Always", "OnRootMismatch"];
    errors.one_of(&format!("{path}.fsGroupChangePolicy"), &context["fsGroupChangePolicy"], &policies);
    container::seccomp(&context["seccompProfile"], &format!("{path}.seccompProfile"), errors);
}

fn dns_config(spec: &Value, path: &str, errors: &mut Errors) {
    let (config, servers) = (&spec["dnsConfig"], list(&spec["dnsConfig"]["nameservers"]));
    if string(&spec["dnsPolicy"]) == "None" {
        if config.is_null() {
            errors.required(path, "must provide `dnsConfig` when `dnsPolicy` is None");
        } else if servers.is_empty() {
            let words = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            errors.required(format!("{path}.nameservers"), words);
        }
    }
    if servers.len() > 3 {
        errors.invalid(format!("{path}.nameservers"), servers.to_vec(), "must not have more than 3 nameservers");
    }
    for (index, server) in servers.iter().map(string).enumerate() {
        errors.invalid_text(&format!("{path}.nameservers[{index}]"), server, text::ip_address(server));
    }
    for (index, option) in list(&config["options"]).iter().enumerate() {
        if string(&option["name"]).is_empty() {
            errors.required(format!("{path}.options[{index}]"), "must not be empty");
        }
    }
}

fn host_aliases(aliases: &Value, path: &str, errors: &mut Errors) {
    for (index, alias) in list(aliases).iter().enumerate() {
        let (address, path) = (string(&alias["ip"]), format!("{path}[{index}]"));
        errors.invalid_text(&format!("{path}.ip"), address, text::ip_address(address));
        for (at, name) in list(&alias["hostnames"]).iter().map(string).enumerate() {
            errors.invalid_text(&format!("{path}.hostnames[{at}]"), name, text::dns_subdomain(name));
        }
    }
}

fn containers(spec: &Value, path: &str, volumes: &HashSet<&str>, errors: &mut Errors) {
    let containers = list(&spec["containers"]);
    if containers.is_empty() {
        errors.required(format!("{path}.containers"), "");
    }
    let (mut names, mut host_ports) = (HashSet::new(), HashSet::new());
    let lists = [("containers", containers), ("initContainers", list(&spec["initContainers"]))];
    for (field, containers) in lists {
        for (index, container) in containers.iter().enumerate() {
            let path = format!("{path}.{field}[{index}]");
            container::common(container, &path, volumes, errors);
            let name = string(&container["name"]);
            if !names.insert(name) {
                errors.duplicate(format!("{path}.name"), name);
            }
            for (at, port) in list(&container["ports"]).iter().enumerate().filter(|(_, port)| port["hostPort"] != 0) {
                let host_port =
                    format!("{}/{}/{}", string(&port["protocol"]), string(&port["hostIP"]), port["hostPort"]);
                if port["hostPort"].is_number() && !host_ports.insert(host_port.clone()) {
                    errors.duplicate(format!("{path}.ports[{at}].hostPort"), host_port);
                }
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
