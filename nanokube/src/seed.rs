//! The objects that every cluster has before anyone asks: the four namespaces and the service default/kubernetes.
//!
//! Each start looks first and writes only what is missing, or what a new network has made wrong.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::cluster::{Cluster, Part, Patch, Writer};
use crate::instance::Network;
use crate::object;
use crate::status::ApiError;

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
    keep(cluster, "services", service, &writer)?;
    keep(cluster, "endpoints", endpoints, &writer)?;
    keep(cluster, "endpointslices.discovery.k8s.io", slice, &writer)
}

/// Creates an object in the namespace default, or brings it to this state.
fn keep(cluster: &Cluster, resource: &str, object: Value, writer: &Writer) -> Result<(), ApiError> {
    let name = object::name(&object).to_string();
    if cluster.get(resource, "default", &name).is_some() {
        cluster.patch(resource, "default", &name, Patch::Merge(object), Part::Object, writer)?;
    } else {
        cluster.create(resource, "default", object, writer)?;
    }
    Ok(())
}
