//! The objects that every cluster has before anyone asks: the four namespaces, the service default/kubernetes, and what
//! other servers must know to believe this one.
//!
//! Each start looks first and writes only what is missing, or what a new network has made wrong.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::{Value, json};

use crate::cluster::{Cluster, Part, Patch, Writer};
use crate::credentials::{Credentials, FRONT_PROXY};
use crate::instance::Network;
use crate::object;
use crate::status::ApiError;

/// Namespace and name of the Service of the API itself.
pub const API_SERVICE: (&str, &str) = ("default", "kubernetes");
const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

/// Makes what is missing.
pub fn plant(cluster: &Cluster, network: Network, api: SocketAddr) -> Result<(), ApiError> {
    let writer = Writer::controller("nanokube");
    for name in NAMESPACES {
        if cluster.get("namespaces", "", name).is_none() {
            cluster.create("namespaces", "", json!({ "metadata": { "name": name } }), &writer)?;
        }
    }
    let address = network.kubernetes_service().to_string();
    let service = json!({
        "metadata": { "name": "kubernetes", "labels": { "component": "apiserver", "provider": "kubernetes" } },
        "spec": {
            "clusterIP": address,
            "clusterIPs": [address],
            "ports": [{ "name": "https", "port": 443, "protocol": "TCP", "targetPort": api.port() }],
        },
    });
    let endpoints = json!({
        "metadata": { "name": "kubernetes", "labels": { "endpointslice.kubernetes.io/skip-mirror": "true" } },
        "subsets": [{
            "addresses": [{ "ip": api.ip().to_string() }],
            "ports": [{ "name": "https", "port": api.port(), "protocol": "TCP" }],
        }],
    });
    let slice = json!({
        "metadata": { "name": "kubernetes", "labels": { "kubernetes.io/service-name": "kubernetes" } },
        "addressType": "IPv4",
        "endpoints": [{ "addresses": [api.ip().to_string()], "conditions": { "ready": true } }],
        "ports": [{ "name": "https", "port": api.port(), "protocol": "TCP" }],
    });
    let stale = cluster.get("services", "default", "kubernetes");
    if stale.is_some_and(|service| object::str_at(&service, "/spec/clusterIP") != address) {
        cluster.delete("services", "default", "kubernetes", &Default::default(), &writer)?;
    }
    move_services(cluster, network, &writer)?;
    keep(cluster, "services", "default", service, &writer)?;
    keep(cluster, "endpoints", "default", endpoints, &writer)?;
    keep(cluster, "endpointslices.discovery.k8s.io", "default", slice, &writer)
}

/// Who signs the certificates of clients and of the front proxy, for servers of APIServices and other components to read; and
/// since when tokens of service accounts are accounted for, which kube-controller-manager asks.
pub fn plant_authentication(cluster: &Cluster, credentials: &Credentials) -> Result<(), ApiError> {
    let writer = Writer::controller("kube-apiserver");
    let data = json!({
        "client-ca-file": credentials.ca.certificate_pem,
        "requestheader-allowed-names": json!([FRONT_PROXY]).to_string(),
        "requestheader-client-ca-file": credentials.front_proxy_ca.certificate_pem,
        "requestheader-extra-headers-prefix": json!(["X-Remote-Extra-"]).to_string(),
        "requestheader-group-headers": json!(["X-Remote-Group"]).to_string(),
        "requestheader-username-headers": json!(["X-Remote-User"]).to_string(),
    });
    let authentication = json!({ "metadata": { "name": "extension-apiserver-authentication" }, "data": data });
    keep(cluster, "configmaps", "kube-system", authentication, &writer)?;
    let tracking = "kube-apiserver-legacy-service-account-token-tracking";
    if cluster.get("configmaps", "kube-system", tracking).is_none() {
        let today = cluster.now().strftime("%Y-%m-%d").to_string();
        let tracking = json!({ "metadata": { "name": tracking }, "data": { "since": today } });
        cluster.create("configmaps", "kube-system", tracking, &writer)?;
    }
    Ok(())
}

/// Services of an instance that has another network now keep the low half of their addresses.
fn move_services(cluster: &Cluster, network: Network, writer: &Writer) -> Result<(), ApiError> {
    for service in cluster.list("services", None).items {
        let Ok(address) = object::str_at(&service, "/spec/clusterIP").parse::<Ipv4Addr>() else { continue };
        let [_, before, high, low] = address.octets();
        if before != network.0 {
            let moved = Ipv4Addr::new(127, network.0, high, low).to_string();
            let patch = Patch::Merge(json!({ "spec": { "clusterIP": moved, "clusterIPs": [moved] } }));
            let (namespace, name) = (object::namespace(&service), object::name(&service));
            cluster.patch("services", namespace, name, patch, Part::Object, writer)?;
        }
    }
    Ok(())
}

/// Creates an object, or brings it to this state.
fn keep(cluster: &Cluster, resource: &str, namespace: &str, object: Value, writer: &Writer) -> Result<(), ApiError> {
    let name = object::name(&object).to_string();
    if cluster.get(resource, namespace, &name).is_some() {
        cluster.patch(resource, namespace, &name, Patch::Merge(object), Part::Object, writer)?;
    } else {
        cluster.create(resource, namespace, object, writer)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Clock, Settings};
    use crate::store::Store;

    #[test]
    fn services_move_with_the_network_of_their_instance() {
        let dir = tempfile::tempdir().unwrap();
        let start = |network: Network| {
            let settings = Settings { service_network: network.services(), ..Settings::default() };
            let cluster = Cluster::new(Store::open(dir.path()).unwrap(), settings, Clock::System);
            plant(&cluster, network, SocketAddr::from((network.node(), 6443))).unwrap();
            cluster
        };
        let cluster = start(Network(20));
        for (name, address) in [("web", "127.20.129.7"), ("headless", "None")] {
            let spec = json!({ "clusterIP": address, "ports": [{ "port": 80, "protocol": "TCP" }] });
            let service = json!({ "metadata": { "name": name }, "spec": spec });
            cluster.create("services", "default", service, &Writer::controller("test")).unwrap();
        }
        drop(cluster);
        let cluster = start(Network(21));
        let addresses = ["kubernetes", "web", "headless"].map(|name| {
            let service = cluster.get("services", "default", name).unwrap();
            (service["spec"]["clusterIP"].clone(), service["spec"]["clusterIPs"][0].clone())
        });
        let expected = ["127.21.128.1", "127.21.129.7", "None"].map(|address| (json!(address), json!(address)));
        assert_eq!(addresses, expected);
    }
}
