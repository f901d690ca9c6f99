//! Addresses of services: cluster IPs out of the instance's range, node ports out of theirs, none given twice.
//!
//! An address stays with its service for life; a service that stops being a NodePort gives its ports back.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::{Settings, same_text};
use crate::cluster::identity;
use crate::object;
use crate::status::{ApiError, FieldError};
use crate::store::Writing;

pub(super) fn allocate(
    writing: &Writing<'_>,
    service: &mut Value,
    current: Option<&Value>,
    settings: &Settings,
) -> Result<(), ApiError> {
    if !service["spec"].is_object() {
        return Ok(());
    }
    if let Some(current) = current {
        keep(service, current);
    }
    let taken = Taken::by_others(writing, service);
    let mut errors = Vec::new();
    if object::str_at(service, "/spec/type") == "ExternalName" {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"] {
            object::remove(service, &["spec", field]);
        }
    } else {
        cluster_ip(service, current, &taken, settings, &mut errors);
    }
    node_ports(service, current, &taken, settings, &mut errors);
    if errors.is_empty() {
        return Ok(());
    }
    Err(ApiError::invalid("", "Service", object::name(service), &errors))
}

/// What the other services hold.
struct Taken {
    addresses: BTreeSet<Ipv4Addr>,
    ports: BTreeSet<(u64, String)>,
}

impl Taken {
    fn by_others(writing: &Writing<'_>, service: &Value) -> Taken {
        let mut taken = Taken { addresses: BTreeSet::new(), ports: BTreeSet::new() };
        for other in writing.list_all("services").iter() {
            if same_text(other, service, "/metadata/name") && same_text(other, service, "/metadata/namespace") {
                continue;
            }
            taken.addresses.extend(object::str_at(other, "/spec/clusterIP").parse::<Ipv4Addr>());
            for port in object::array_at(other, "/spec/ports") {
                if let Some(number) = port["nodePort"].as_u64() {
                    taken.ports.insert((number, protocol(port)));
                }
            }
        }
        taken
    }
}

fn protocol(port: &Value) -> String {
    match object::str_at(port, "/protocol") {
        "" => "TCP".to_string(),
        protocol => protocol.to_string(),
    }
}

/// A client that writes a whole service need not know what was allocated to it.
fn keep(service: &mut Value, current: &Value) {
    let was_external = object::str_at(current, "/spec/type") == "ExternalName";
    if object::str_at(service, "/spec/type") == "ExternalName" || was_external {
        return;
    }
    for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        if service["spec"].get(field).is_none_or(|value| value.is_null() || *value == "")
            && let Some(value) = current["spec"].get(field)
        {
            service["spec"][field] = value.clone();
        }
    }
    if !has_node_ports(service) {
        return;
    }
    let before = object::array_at(current, "/spec/ports");
    for port in service.pointer_mut("/spec/ports").and_then(Value::as_array_mut).into_iter().flatten() {
        let same = |old: &&Value| old["port"] == port["port"] && protocol(old) == protocol(port);
        if port["nodePort"].as_u64().unwrap_or(0) == 0
            && let Some(number) = before.iter().find(same).and_then(|old| old["nodePort"].as_u64())
        {
            port["nodePort"] = number.into();
        }
    }
}

fn has_node_ports(service: &Value) -> bool {
    match object::str_at(service, "/spec/type") {
        "NodePort" => true,
        "LoadBalancer" => service["spec"]["allocateLoadBalancerNodePorts"] != json!(false),
        _ => false,
    }
}

fn cluster_ip(
    service: &mut Value,
    current: Option<&Value>,
    taken: &Taken,
    settings: &Settings,
    errors: &mut Vec<FieldError>,
) {
    let mut address = object::str_at(service, "/spec/clusterIP").to_string();
    let listed = object::str_at(service, "/spec/clusterIPs/0").to_string();
    let before = current.map(|current| object::str_at(current, "/spec/clusterIP")).unwrap_or("");
    // An address of a network that the instance has left does not bind any more.
    let before = if before.parse().is_ok_and(|ip| !in_range(ip, settings)) { "" } else { before };
    // A patch of one of the two fields means both.
    if !listed.is_empty() && (address.is_empty() || address == before && listed != before) {
        address = listed;
    }
    if !before.is_empty() && address != before {
        let why = "may not change once set";
        errors.push(FieldError::invalid("spec.clusterIPs[0]", json!([address]), why));
        return;
    }
    if address.is_empty() {
        match free_address(taken, settings) {
            Some(free) => address = free.to_string(),
            None => {
                let why = "failed to allocate a serviceIP: range is full";
                errors.push(FieldError::invalid("spec.clusterIPs", json!([]), why));
                return;
            }
        }
    } else if address != "None" && before.is_empty() {
        let refused = |why: String| FieldError::invalid("spec.clusterIPs", json!([address]), why);
        match address.parse::<Ipv4Addr>() {
            Ok(ip) if !in_range(ip, settings) => errors.push(refused(format!(
                "failed to allocate IP {address}: the provided network does not match the current range"
            ))),
            Ok(ip) if taken.addresses.contains(&ip) => {
                errors.push(refused(format!("failed to allocate IP {address}: provided IP is already allocated")));
            }
            _ => {}
        }
    }
    let spec = &mut service["spec"];
    spec["clusterIPs"] = json!([address]);
    spec["clusterIP"] = address.into();
    for (field, value) in [("ipFamilies", json!(["IPv4"])), ("ipFamilyPolicy", json!("SingleStack"))] {
        if spec.get(field).is_none_or(Value::is_null) {
            spec[field] = value;
        }
    }
}

fn in_range(ip: Ipv4Addr, settings: &Settings) -> bool {
    let (base, prefix) = settings.service_network;
    let shift = 32 - u32::from(prefix);
    u32::from(ip) >> shift == u32::from(base) >> shift
}

/// A free address, found from a random place so that one that was just given back is not the next to be given.
fn free_address(taken: &Taken, settings: &Settings) -> Option<Ipv4Addr> {
    let (base, prefix) = settings.service_network;
    let size = 1u32 << (32 - u32::from(prefix));
    // The first is the network's, the second the API server's, the last the broadcast address.
    let usable = size - 3;
    let start = identity::random_below(usable);
    (0..usable)
        .map(|step| Ipv4Addr::from(u32::from(base) + 2 + (start + step) % usable))
        .find(|address| !taken.addresses.contains(address))
}

fn node_ports(
    service: &mut Value,
    current: Option<&Value>,
    taken: &Taken,
    settings: &Settings,
    errors: &mut Vec<FieldError>,
) {
    if !has_node_ports(service) {
        let had = current.is_some_and(has_node_ports);
        for port in service.pointer_mut("/spec/ports").and_then(Value::as_array_mut).into_iter().flatten() {
            if had || port["nodePort"] == json!(0) {
                object::remove(port, &["nodePort"]);
            }
        }
        if had && object::str_at(service, "/spec/type") != "LoadBalancer" {
            for field in ["externalTrafficPolicy", "allocateLoadBalancerNodePorts", "healthCheckNodePort"] {
                object::remove(service, &["spec", field]);
            }
        }
        return;
    }
    let (first, last) = settings.node_ports;
    let mut taken_ports = taken.ports.clone();
    let ports = service.pointer_mut("/spec/ports").and_then(Value::as_array_mut);
    for (index, port) in ports.into_iter().flatten().enumerate() {
        let field = || format!("spec.ports[{index}].nodePort");
        let protocol = protocol(port);
        let asked = port["nodePort"].as_u64().unwrap_or(0);
        let number = if asked == 0 { free_port(&taken_ports, &protocol, settings) } else { Some(asked) };
        let Some(number) = number else {
            errors.push(FieldError::invalid(field(), 0, "failed to allocate a nodePort: range is full"));
            continue;
        };
        if !(u64::from(first)..=u64::from(last)).contains(&number) {
            let why = format!("provided port is not in the valid range. The range of valid ports is {first}-{last}");
            errors.push(FieldError::invalid(field(), number, why));
        } else if !taken_ports.insert((number, protocol)) {
            errors.push(FieldError::invalid(field(), number, "provided port is already allocated"));
        }
        port["nodePort"] = number.into();
    }
}

fn free_port(taken: &BTreeSet<(u64, String)>, protocol: &str, settings: &Settings) -> Option<u64> {
    let (first, last) = settings.node_ports;
    let size = u32::from(last - first) + 1;
    let start = identity::random_below(size);
    (0..size)
        .map(|step| u64::from(first) + u64::from((start + step) % size))
        .find(|port| !taken.contains(&(*port, protocol.to_string())))
}
