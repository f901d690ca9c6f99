//! How pods are reached: services, endpoints, ingresses, network policies.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use super::{cell, labels_text};

const ENDPOINTS_SHOWN: usize = 3;

pub(super) fn service(object: &Value, now: Timestamp, out: &mut Vec<Value>) {
    let spec = &object["spec"];
    out.push(cell::name(object));
    out.push(cell::text(&spec["type"]).into());
    let cluster_ip = cell::list(&spec["clusterIPs"]).first().unwrap_or(&Value::Null);
    out.push(cell::text_or(cluster_ip, "<none>").into());
    out.push(external_ip(object).into());
    let ports: Vec<String> = cell::list(&spec["ports"]).iter().map(service_port).collect();
    out.push(if ports.is_empty() { "<none>".into() } else { ports.join(",") }.into());
    out.push(cell::age(object, now));
    out.push(labels_text(&spec["selector"]).into());
}

pub(super) fn endpoints(object: &Value, now: Timestamp, out: &mut Vec<Value>) {
    let mut texts = Vec::new();
    for subset in cell::list(&object["subsets"]) {
        let addresses = cell::list(&subset["addresses"]).iter().map(|address| cell::text(&address["ip"]));
        let ports = cell::list(&subset["ports"]);
        if ports.is_empty() {
            texts.extend(addresses.clone().map(str::to_string));
        }
        for port in ports {
            texts.extend(addresses.clone().map(|address| host_port(address, cell::int(&port["port"]))));
        }
    }
    out.push(cell::name(object));
    out.push(if texts.is_empty() { "<none>".into() } else { cell::first_few(&texts, ENDPOINTS_SHOWN, ",") }.into());
    out.push(cell::age(object, now));
}

pub(super) fn endpoint_slice(object: &Value, now: Timestamp, out: &mut Vec<Value>) {
    let port = |port: &Value| port["port"].as_i64().map_or("*".to_string(), |number| number.to_string());
    let ports: Vec<String> = cell::list(&object["ports"]).iter().map(port).collect();
    let endpoints = cell::list(&object["endpoints"]).iter();
    let addresses: Vec<String> = endpoints
        .flat_map(|endpoint| cell::list(&endpoint["addresses"]))
        .map(|address| cell::text(address).to_string())
        .collect();
    out.push(cell::name(object));
    out.push(cell::text(&object["addressType"]).into());
    for texts in [ports, addresses] {
        let shown = cell::first_few(&texts, ENDPOINTS_SHOWN, ",");
        out.push(if texts.is_empty() { "<unset>".into() } else { shown }.into());
    }
    out.push(cell::age(object, now));
}

pub(super) fn ingress(object: &Value, now: Timestamp, out: &mut Vec<Value>) {
    let spec = &object["spec"];
    out.push(cell::name(object));
    out.push(cell::text_or(&spec["ingressClassName"], "<none>").into());
    let hosts = cell::list(&spec["rules"]).iter().map(|rule| cell::text(&rule["host"]));
    let hosts: Vec<String> = hosts.filter(|host| !host.is_empty()).map(str::to_string).collect();
    out.push(if hosts.is_empty() { "*".into() } else { cell::first_few(&hosts, ENDPOINTS_SHOWN, ",") }.into());
    out.push(load_balancer(object).into());
    out.push(if cell::list(&spec["tls"]).is_empty() { "80" } else { "80, 443" }.into());
    out.push(cell::age(object, now));
}

pub(super) fn ingress_class(object: &Value, now: Timestamp, out: &mut Vec<Value>) {
    let parameters = &object["spec"]["parameters"];
    out.push(cell::name(object));
    out.push(cell::text(&object["spec"]["controller"]).into());
    let (kind, name) = (cell::text(&parameters["kind"]), cell::text(&parameters["name"]));
    out.push(match cell::text(&parameters["apiGroup"]) {
        _ if parameters.is_null() => "<none>".into(),
        "" => format!("{kind}/{name}").into(),
        group => format!("{kind}.{group}/{name}").into(),
    });
    out.push(cell::age(object, now));
}

pub(super) fn network_policy(object: &Value, now: Timestamp, out: &mut Vec<Value>) {
    out.push(cell::name(object));
    out.push(cell::selector(&object["spec"]["podSelector"]));
    out.push(cell::age(object, now));
}

fn service_port(port: &Value) -> String {
    let (number, protocol) = (cell::int(&port["port"]), cell::text_or(&port["protocol"], "TCP"));
    match cell::int(&port["nodePort"]) {
        0 => format!("{number}/{protocol}"),
        node_port => format!("{number}:{node_port}/{protocol}"),
    }
}

fn external_ip(service: &Value) -> String {
    let spec = &service["spec"];
    let own: Vec<&str> = cell::list(&spec["externalIPs"]).iter().map(cell::text).collect();
    match cell::text(&spec["type"]) {
        "ExternalName" => cell::text(&spec["externalName"]).to_string(),
        "LoadBalancer" => {
            let balanced = load_balancer(service);
            let all: Vec<&str> = Some(balanced.as_str()).filter(|ips| !ips.is_empty()).into_iter().chain(own).collect();
            if all.is_empty() { "<pending>".into() } else { all.join(",") }
        }
        _ if own.is_empty() => "<none>".into(),
        _ => own.join(","),
    }
}

/// The addresses or host names that a load balancer gave, sorted.
fn load_balancer(object: &Value) -> String {
    let ingress = cell::list(&object["status"]["loadBalancer"]["ingress"]).iter();
    let addresses: BTreeSet<&str> =
        ingress.map(|entry| cell::text_or(&entry["ip"], cell::text(&entry["hostname"]))).collect();
    addresses.into_iter().filter(|address| !address.is_empty()).collect::<Vec<_>>().join(",")
}

fn host_port(host: &str, port: i64) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
