//! Which listeners a snapshot asks for, and where each leads: pure.
//!
//! As kube-proxy: endpoints that are ready; if there is none, those that still serve while they terminate.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use serde_json::Value;

use crate::cluster::Snapshot;
use crate::object;

const SERVICES: &str = "services";
const ENDPOINT_SLICES: &str = "endpointslices.discovery.k8s.io";
/// The kinds that routes are made of.
pub const INPUTS: [&str; 2] = [SERVICES, ENDPOINT_SLICES];
/// The label by which a slice names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
const AFFINITY_TIMEOUT_DEFAULT_S: u64 = 10_800;

pub type Routes = BTreeMap<SocketAddr, Route>;

/// Where the connections of one listener go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub namespace: String,
    pub service: String,
    pub port_name: String,
    pub endpoints: Vec<SocketAddr>,
    /// With `sessionAffinity: ClientIP`: how long a client stays with its endpoint.
    pub affinity_s: Option<u64>,
}

/// All listeners that the Services of a snapshot ask for; node ports are opened at `node`.
pub fn of(snapshot: &Snapshot, node: Ipv4Addr) -> Routes {
    let mut routes = Routes::new();
    for service in snapshot.list(SERVICES) {
        let slices: Vec<&Value> = snapshot
            .in_namespace(ENDPOINT_SLICES, object::namespace(service))
            .map(|slice| &**slice)
            .filter(|slice| object::label(slice, SERVICE_NAME) == Some(object::name(service)))
            .collect();
        for port in object::array_at(service, "/spec/ports") {
            if !matches!(object::str_at(port, "/protocol"), "TCP" | "") {
                continue;
            }
            let route = route(service, port, &slices);
            for address in addresses(service, port, node) {
                routes.entry(address).or_insert_with(|| route.clone());
            }
        }
    }
    routes
}

fn addresses(service: &Value, port: &Value, node: Ipv4Addr) -> impl Iterator<Item = SocketAddr> {
    let number = |pointer| object::i64_at(port, pointer).and_then(|it| u16::try_from(it).ok()).filter(|it| *it > 0);
    let cluster_ip = object::str_at(service, "/spec/clusterIP").parse::<Ipv4Addr>().ok();
    let at_cluster_ip = cluster_ip.zip(number("/port"));
    let at_node = number("/nodePort").map(|node_port| (node, node_port));
    at_cluster_ip.into_iter().chain(at_node).map(|(ip, port)| SocketAddr::V4(SocketAddrV4::new(ip, port)))
}

fn route(service: &Value, port: &Value, slices: &[&Value]) -> Route {
    let port_name = object::str_at(port, "/name");
    let reachable = |wanted: fn(&Value) -> bool| {
        let mut found: Vec<SocketAddr> = slices.iter().flat_map(|slice| endpoints(slice, port_name, wanted)).collect();
        found.sort_unstable();
        found.dedup();
        found
    };
    let mut endpoints = reachable(is_ready);
    if endpoints.is_empty() {
        endpoints = reachable(is_serving);
    }
    let sticky = object::str_at(service, "/spec/sessionAffinity") == "ClientIP";
    let timeout_s = object::i64_at(service, "/spec/sessionAffinityConfig/clientIP/timeoutSeconds");
    let timeout_s = timeout_s.and_then(|it| u64::try_from(it).ok()).unwrap_or(AFFINITY_TIMEOUT_DEFAULT_S);
    Route {
        namespace: object::namespace(service).to_owned(),
        service: object::name(service).to_owned(),
        port_name: port_name.to_owned(),
        endpoints,
        affinity_s: sticky.then_some(timeout_s),
    }
}

fn endpoints(slice: &Value, port_name: &str, wanted: fn(&Value) -> bool) -> Vec<SocketAddr> {
    let ports = object::array_at(slice, "/ports").iter();
    let port = ports.filter(|port| object::str_at(port, "/name") == port_name).find_map(|port| {
        let number = object::i64_at(port, "/port")?;
        u16::try_from(number).ok()
    });
    let Some(port) = port else { return Vec::new() };
    let endpoints = object::array_at(slice, "/endpoints").iter().filter(|endpoint| wanted(endpoint));
    let addresses = endpoints.flat_map(|endpoint| object::array_at(endpoint, "/addresses"));
    addresses.filter_map(|ip| Some(SocketAddr::new(ip.as_str()?.parse().ok()?, port))).collect()
}

/// An absent condition means ready.
fn is_ready(endpoint: &Value) -> bool {
    endpoint["conditions"]["ready"] != Value::Bool(false)
}

fn is_serving(endpoint: &Value) -> bool {
    object::bool_at(endpoint, "/conditions/serving") && object::bool_at(endpoint, "/conditions/terminating")
}
