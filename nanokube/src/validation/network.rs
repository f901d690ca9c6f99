//! Network policies, ingresses and endpoint slices: stored and shown, so their structure is checked.

use serde_json::Value;

use super::errors::{Errors, list, text as string};
use super::{container, selector, text};

pub(super) fn network_policy(object: &Value, _old: Option<&Value>, errors: &mut Errors) {
    let spec = &object["spec"];
    selector::check(&spec["podSelector"], "spec.podSelector", errors);
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        for (index, rule) in list(&spec[direction]).iter().enumerate() {
            let path = format!("spec.{direction}[{index}]");
            for (at, port) in list(&rule["ports"]).iter().enumerate() {
                let path = format!("{path}.ports[{at}]");
                errors.one_of(&format!("{path}.protocol"), &port["protocol"], &["SCTP", "TCP", "UDP"]);
                if !port["port"].is_null() {
                    container::port(&port["port"], &format!("{path}.port"), errors);
                }
            }
            for (at, peer) in list(&rule[peers]).iter().enumerate() {
                policy_peer(peer, &format!("{path}.{peers}[{at}]"), errors);
            }
        }
    }
    let types = list(&spec["policyTypes"]);
    if types.len() > 2 {
        errors.invalid("spec.policyTypes", spec["policyTypes"].clone(), "may not specify more than two policyTypes");
    }
    for (index, kind) in types.iter().enumerate() {
        errors.one_of(&format!("spec.policyTypes[{index}]"), kind, &["Egress", "Ingress"]);
    }
}

pub(super) fn ingress(object: &Value, _old: Option<&Value>, errors: &mut Errors) {
    let spec = &object["spec"];
    let rules = list(&spec["rules"]);
    if rules.is_empty() && spec["defaultBackend"].is_null() {
        errors.invalid("spec", spec.clone(), "either `defaultBackend` or `rules` must be specified");
    }
    if !spec["defaultBackend"].is_null() {
        backend(&spec["defaultBackend"], "spec.defaultBackend", errors);
    }
    for (index, rule) in rules.iter().enumerate() {
        let path = format!("spec.rules[{index}]");
        let host = string(&rule["host"]);
        if host.parse::<std::net::IpAddr>().is_ok() {
            errors.invalid(format!("{path}.host"), host, "must be a DNS name, not an IP address");
        } else if !host.is_empty() {
            let wrong = text::dns_subdomain(host.strip_prefix("*.").unwrap_or(host));
            errors.invalid_text(&format!("{path}.host"), host, wrong);
        }
        if rule["http"].is_null() {
            continue;
        }
        let paths = list(&rule["http"]["paths"]);
        if paths.is_empty() {
            errors.required(format!("{path}.http.paths"), "");
        }
        for (at, entry) in paths.iter().enumerate() {
            http_path(entry, &format!("{path}.http.paths[{at}]"), errors);
        }
    }
}

pub(super) fn endpoint_slice(object: &Value, old: Option<&Value>, errors: &mut Errors) {
    let kinds = ["FQDN", "IPv4", "IPv6"];
    if string(&object["addressType"]).is_empty() {
        errors.required("addressType", "");
    } else {
        errors.one_of("addressType", &object["addressType"], &kinds);
    }
    for (index, endpoint) in list(&object["endpoints"]).iter().enumerate() {
        let addresses = list(&endpoint["addresses"]);
        let path = format!("endpoints[{index}].addresses");
        if addresses.is_empty() {
            errors.required(path.as_str(), "must contain at least 1 address");
        }
        if string(&object["addressType"]) != "FQDN" {
            for (at, address) in addresses.iter().enumerate() {
                errors.invalid_text(&format!("{path}[{at}]"), string(address), text::ip_address(string(address)));
            }
        }
    }
    if let Some(old) = old {
        errors.immutable("addressType", &object["addressType"], &old["addressType"]);
    }
}

fn policy_peer(peer: &Value, path: &str, errors: &mut Errors) {
    let given = ["podSelector", "namespaceSelector", "ipBlock"].into_iter().filter(|kind| !peer[*kind].is_null());
    let given: Vec<&str> = given.collect();
    for kind in given.iter().filter(|kind| **kind != "ipBlock") {
        selector::check(&peer[*kind], &format!("{path}.{kind}"), errors);
    }
    if given.is_empty() {
        errors.required(path, "must specify a peer");
    } else if given.contains(&"ipBlock") {
        if given.len() > 1 {
            errors.forbidden(path, "may not specify both ipBlock and another peer");
        }
        if string(&peer["ipBlock"]["cidr"]).is_empty() {
            errors.required(format!("{path}.ipBlock.cidr"), "");
        }
    }
}

fn http_path(entry: &Value, path: &str, errors: &mut Errors) {
    let kinds = ["Exact", "ImplementationSpecific", "Prefix"];
    match string(&entry["pathType"]) {
        "" => errors.required(format!("{path}.pathType"), "pathType must be specified"),
        "Exact" | "Prefix" if !string(&entry["path"]).starts_with('/') => {
            errors.invalid(format!("{path}.path"), string(&entry["path"]), "must be an absolute path");
        }
        _ => errors.one_of(&format!("{path}.pathType"), &entry["pathType"], &kinds),
    }
    backend(&entry["backend"], &format!("{path}.backend"), errors);
}

fn backend(backend: &Value, path: &str, errors: &mut Errors) {
    let (service, resource) = (&backend["service"], &backend["resource"]);
    match (service.is_null(), resource.is_null()) {
        (true, true) => return errors.required(path, ""),
        (false, false) => return errors.invalid(path, "", "cannot set both resource and service backends"),
        (true, false) => return,
        (false, true) => {}
    }
    let name = string(&service["name"]);
    if name.is_empty() {
        errors.required(format!("{path}.service.name"), "");
    } else {
        errors.invalid_text(&format!("{path}.service.name"), name, text::dns_1035_label(name));
    }
    let (port, port_path) = (&service["port"], format!("{path}.service.port"));
    match (string(&port["name"]), port["number"].as_i64().unwrap_or(0)) {
        ("", 0) => errors.required(port_path, "port name or number is required"),
        ("", number) => {
            for detail in text::port_number(number) {
                errors.invalid(format!("{port_path}.number"), number, detail);
            }
        }
        (_, number) if number != 0 => errors.invalid(port_path, "", "cannot set both port name & port number"),
        (name, _) => errors.invalid_text(&format!("{port_path}.name"), name, text::port_name(name)),
    }
}
