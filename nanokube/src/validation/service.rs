//! Services. Addresses and node ports are given out, and their clashes found, by admission.

use std::collections::HashSet;

use serde_json::Value;

use super::errors::{Errors, list, text as string};
use super::{container, metadata, text};

const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
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
    self::ports(ports, kind, errors);
    metadata::labels(&spec["selector"], "spec.selector", errors);
    match string(&spec["sessionAffinity"]) {
        "" => errors.required("spec.sessionAffinity", ""),
        _ => errors.one_of("spec.sessionAffinity", &spec["sessionAffinity"], &["ClientIP", "None"]),
    }
    match kind {
        "" => errors.required("spec.type", ""),
        _ => errors.one_of("spec.type", &spec["type"], &TYPES),
    }
    for (index, address) in list(&spec["externalIPs"]).iter().enumerate() {
        let path = format!("spec.externalIPs[{index}]");
        errors.invalid_text(&path, string(address), text::ip_address(string(address)));
    }
    let ranges = list(&spec["loadBalancerSourceRanges"]);
    if !ranges.is_empty() && kind != "LoadBalancer" {
        errors.forbidden("spec.loadBalancerSourceRanges", "may only be used when `type` is 'LoadBalancer'");
    }
    policies(spec, kind, errors);
}

fn external_name(spec: &Value, errors: &mut Errors) {
    if !string(&spec["clusterIP"]).is_empty() {
        errors.forbidden("spec.clusterIPs[0]", "may not be set when `type` is 'ExternalName'");
    }
    let name = string(&spec["externalName"]);
    if name.is_empty() {
        errors.required("spec.externalName", "");
    } else {
        errors.invalid_text("spec.externalName", name, text::dns_subdomain(name.trim_end_matches('.')));
    }
}

fn ports(ports: &[Value], kind: &str, errors: &mut Errors) {
    let (mut names, mut numbers, mut node_ports) = (HashSet::new(), HashSet::new(), HashSet::new());
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
        let node_port = port["nodePort"].as_i64().unwrap_or(0);
        if node_port != 0 && !matches!(kind, "NodePort" | "LoadBalancer") {
            let words = format!("may not be used when `type` is '{kind}'");
            errors.forbidden(format!("{path}.nodePort"), words);
        }
        if !numbers.insert((protocol, number)) {
            errors.duplicate(path.as_str(), serde_json::json!({ "port": number, "protocol": protocol }));
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
