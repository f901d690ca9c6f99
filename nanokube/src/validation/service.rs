//! Services. Addresses and node ports are given out, and their clashes found, by admission.

use std::collections::HashSet;

use serde_json::Value;

use super::errors::{Errors, list, text as string};
use super::{container, metadata, text};

const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
/// A day.
const AFFINITY_LIMIT_S: i64 = 86_400;
const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

pub(super) fn service(object: &Value, _old: Option<&Value>, errors: &mut Errors) {
    let spec = &object["spec"];
    let kind = string(&spec["type"]);
    let headless = string(&spec["clusterIP"]) == "None";
    let ports = list(&spec["ports"]);
    if ports.is_empty() && !headless && kind != "ExternalName" {
        errors.required("spec.ports", "");
    }
    match kind {
        "LoadBalancer" | "NodePort" if headless => {
            let words = format!("may not be set to 'None' for {kind} services");
            errors.invalid("spec.clusterIPs[0]", "None", words);
        }
        "ExternalName" => external_name(spec, errors),
        _ => {}
    }
    self::ports(ports, errors);
    metadata::labels(&spec["selector"], "spec.selector", errors);
    affinity(spec, errors);
    for (index, address) in list(&spec["externalIPs"]).iter().enumerate() {
        let path = format!("spec.externalIPs[{index}]");
        errors.invalid_text(&path, string(address), text::ip_address(string(address)));
    }
    match kind {
        "" => errors.required("spec.type", ""),
        _ => errors.one_of("spec.type", &spec["type"], &TYPES),
    }
    unique_ports(ports, kind, errors);
    if kind != "LoadBalancer" {
        let ranges = list(&spec["loadBalancerSourceRanges"]);
        let given = [
            ("loadBalancerSourceRanges", !ranges.is_empty()),
            ("allocateLoadBalancerNodePorts", !spec["allocateLoadBalancerNodePorts"].is_null()),
            ("loadBalancerClass", !spec["loadBalancerClass"].is_null()),
        ];
        for (field, _) in given.into_iter().filter(|(_, given)| *given) {
            errors.forbidden(format!("spec.{field}"), "may only be used when `type` is 'LoadBalancer'");
        }
    }
    policies(spec, kind, errors);
}

fn affinity(spec: &Value, errors: &mut Errors) {
    let config = &spec["sessionAffinityConfig"];
    match string(&spec["sessionAffinity"]) {
        "" => errors.required("spec.sessionAffinity", ""),
        _ => errors.one_of("spec.sessionAffinity", &spec["sessionAffinity"], &["ClientIP", "None"]),
    }
    let path = "spec.sessionAffinityConfig";
    match string(&spec["sessionAffinity"]) {
        "ClientIP" => {
            let timeout = &config["clientIP"]["timeoutSeconds"];
            if timeout.as_i64().is_some_and(|seconds| !(1..=AFFINITY_LIMIT_S).contains(&seconds)) {
                let words = format!("must be greater than 0 and less than {AFFINITY_LIMIT_S}");
                errors.invalid(format!("{path}.clientIP.timeoutSeconds"), timeout.clone(), words);
            }
        }
        "None" if !config.is_null() => errors.forbidden(path, "must not be set when session affinity is None"),
        _ => {}
    }
}

fn external_name(spec: &Value, errors: &mut Errors) {
    if !string(&spec["clusterIP"]).is_empty() {
        errors.forbidden("spec.clusterIPs", "may not be set for ExternalName services");
    }
    let name = string(&spec["externalName"]);
    if name.is_empty() {
        errors.required("spec.externalName", "");
    } else {
        errors.invalid_text("spec.externalName", name, text::dns_subdomain(name.trim_end_matches('.')));
    }
}

fn ports(ports: &[Value], errors: &mut Errors) {
    let mut names = HashSet::new();
    for (index, port) in ports.iter().enumerate() {
        let path = format!("spec.ports[{index}]");
        let name = string(&port["name"]);
        if name.is_empty() {
            if ports.len() > 1 {
                errors.required(format!("{path}.name"), "");
            }
        } else {
            errors.invalid_text(&format!("{path}.name"), name, text::dns_label(name));
            if !names.insert(name) {
                errors.duplicate(format!("{path}.name"), name);
            }
        }
        let number = port["port"].as_i64().unwrap_or(0);
        for detail in text::port_number(number) {
            errors.invalid(format!("{path}.port"), number, detail);
        }
        let protocol = string(&port["protocol"]);
        if protocol.is_empty() {
            errors.required(format!("{path}.protocol"), "");
        } else {
            errors.one_of(&format!("{path}.protocol"), &port["protocol"], &PROTOCOLS);
        }
        container::port(&port["targetPort"], &format!("{path}.targetPort"), errors);
        let application = string(&port["appProtocol"]);
        if !application.is_empty() {
            errors.invalid_text(&format!("{path}.appProtocol"), application, text::qualified_name(application));
        }
    }
}

/// No port twice, and node ports only where a type has them.
fn unique_ports(ports: &[Value], kind: &str, errors: &mut Errors) {
    let (mut numbers, mut node_ports) = (HashSet::new(), HashSet::new());
    for (index, port) in ports.iter().enumerate() {
        let path = format!("spec.ports[{index}]");
        let (protocol, number) = (string(&port["protocol"]), port["port"].as_i64().unwrap_or(0));
        let node_port = port["nodePort"].as_i64().unwrap_or(0);
        if node_port != 0 && !matches!(kind, "NodePort" | "LoadBalancer") {
            let words = format!("may not be used when `type` is '{kind}'");
            errors.forbidden(format!("{path}.nodePort"), words);
        }
        if !numbers.insert((protocol, number)) {
            let shown = format!(
                "{{\"Name\":\"\",\"Protocol\":{protocol:?},\"AppProtocol\":null,\"Port\":{number},\"TargetPort\":0,\"NodePort\":0}}"
            );
            errors.duplicate_struct(&path, shown);
        }
        if node_port != 0 && !node_ports.insert((protocol, node_port)) {
            errors.duplicate(format!("{path}.nodePort"), node_port);
        }
    }
}

fn policies(spec: &Value, kind: &str, errors: &mut Errors) {
    let external = &spec["externalTrafficPolicy"];
    let reachable = matches!(kind, "NodePort" | "LoadBalancer") || !list(&spec["externalIPs"]).is_empty();
    if !external.is_null() && !reachable {
        let words = "may only be set for externally-accessible services";
        errors.invalid("spec.externalTrafficPolicy", external.clone(), words);
    } else {
        errors.one_of("spec.externalTrafficPolicy", external, &["Cluster", "Local"]);
    }
    errors.one_of("spec.internalTrafficPolicy", &spec["internalTrafficPolicy"], &["Cluster", "Local"]);
    let ip_policies = ["SingleStack", "PreferDualStack", "RequireDualStack"];
    errors.one_of("spec.ipFamilyPolicy", &spec["ipFamilyPolicy"], &ip_policies);
}
