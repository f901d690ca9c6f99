use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::routes::{self, Routes};
use super::*;
use crate::cluster::{Part, Patch, Snapshot, Writer};

const NODE: Ipv4Addr = Ipv4Addr::new(127, 251, 0, 1);
/// Bound for waiting; reached only when something is broken.
const PATIENCE: Duration = Duration::from_secs(10);

fn service(changes: Value) -> Value {
    let mut service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": "web", "namespace": "default" },
        "spec": { "clusterIP": "127.251.128.9", "ports": [{ "name": "http", "port": 8000, "nodePort": 30080, "protocol": "TCP" }] },
    });
    for (field, value) in changes.as_object().unwrap() {
        service["spec"][field] = value.clone();
    }
    service
}

/// `endpoints`: address, ready, serving, terminating.
fn slice(port: u16, endpoints: &[(&str, bool, bool, bool)]) -> Value {
    let endpoints = endpoints.iter().map(|(ip, ready, serving, terminating)| {
        json!({ "addresses": [ip], "conditions": { "ready": ready, "serving": serving, "terminating": terminating } })
    });
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": { "name": "web-1", "namespace": "default", "labels": { "kubernetes.io/service-name": "web" } },
        "ports": [{ "name": "http", "port": port, "protocol": "TCP" }],
        "endpoints": endpoints.collect::<Vec<_>>(),
    })
}

fn routes(service: Value, slice: Value) -> Routes {
    let snapshot = Snapshot::of([("services", service), ("endpointslices.discovery.k8s.io", slice)]);
    routes::of(&snapshot, NODE)
}

fn endpoints(routes: &Routes) -> Vec<String> {
    let route = routes.values().next().unwrap();
    route.endpoints.iter().map(ToString::to_string).collect()
}

#[test]
fn a_service_is_reached_at_its_cluster_ip_and_at_the_node_port() {
    let routes = routes(service(json!({})), slice(8080, &[("127.251.1.1", true, true, false)]));
    let addresses: Vec<String> = routes.keys().map(ToString::to_string).collect();
    assert_eq!(addresses, ["127.251.0.1:30080", "127.251.128.9:8000"]);
    assert_eq!(endpoints(&routes), ["127.251.1.1:8080"]);
}

#[test]
fn ready_endpoints_serve_and_terminating_ones_only_when_there_is_no_other() {
    let (ready, leaving) = (("127.251.1.1", true, true, false), ("127.251.1.2", false, true, true));
    let starting = ("127.251.1.3", false, false, false);
    assert_eq!(endpoints(&routes(service(json!({})), slice(80, &[ready, leaving]))), ["127.251.1.1:80"]);
    assert_eq!(endpoints(&routes(service(json!({})), slice(80, &[leaving, starting]))), ["127.251.1.2:80"]);
}

#[test]
fn a_headless_service_and_udp_have_no_listener() {
    let port = json!([{ "name": "http", "port": 53, "protocol": "UDP" }]);
    assert!(routes(service(json!({ "ports": port })), slice(53, &[])).is_empty());
    let port = json!([{ "name": "http", "port": 80, "protocol": "TCP" }]);
    assert!(routes(service(json!({ "clusterIP": "None", "ports": port })), slice(80, &[])).is_empty());
}

#[test]
fn connections_spread_evenly_unless_the_client_is_to_stay() {
    let three =
        [("127.251.1.1", true, true, false), ("127.251.1.2", true, true, false), ("127.251.1.3", true, true, false)];
    for (affinity, fewest) in [("None", 200), ("ClientIP", 600)] {
        let routes = routes(service(json!({ "sessionAffinity": affinity })), slice(80, &three));
        let mut balancer = Balancer::new(routes.values().next().unwrap());
        let mut counts = HashMap::new();
        for _ in 0..900 {
            let chosen = balancer.candidates(Ipv4Addr::LOCALHOST.into());
            assert_eq!(chosen.len(), 3);
            *counts.entry(chosen[0]).or_insert(0) += 1;
        }
        assert!(counts.values().all(|count| *count >= fewest), "{affinity}: {counts:?}");
        assert_eq!(counts.len(), if affinity == "None" { 3 } else { 1 });
    }
}

/// Greets every connection with `name`, then echoes.
async fn backend(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                stream.write_all(name.as_bytes()).await.unwrap();
                let (mut read, mut write) = stream.split();
                tokio::io::copy(&mut read, &mut write).await.unwrap();
            });
        }
    });
    address
}

async fn free_port() -> u16 {
    TcpListener::bind((NODE, 0)).await.unwrap().local_addr().unwrap().port()
}

async fn connect(address: SocketAddr) -> TcpStream {
    let attempt = async {
        loop {
            match TcpStream::connect(address).await {
                Ok(stream) => return stream,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, attempt).await.expect("the proxy should listen")
}

async fn is_refused(address: SocketAddr) {
    let attempt = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, attempt).await.expect("the proxy should refuse");
}

#[tokio::test]
async fn a_connection_reaches_a_live_endpoint_and_a_service_without_endpoints_refuses() {
    let server = backend("a").await;
    let cluster = Cluster::in_memory();
    let writer = Writer::controller("test");
    cluster.create("namespaces", "", json!({ "metadata": { "name": "default" } }), &writer).unwrap();
    let port = free_port().await;
    let ports = json!([{ "name": "http", "port": port, "protocol": "TCP" }]);
    let service = service(json!({ "clusterIP": "127.251.128.9", "ports": ports }));
    // Stored as it is: admission would choose a cluster IP of another network.
    let dead = ("127.251.9.9", true, true, false);
    let alive = ("127.0.0.1", true, true, false);
    cluster
        .create("endpointslices.discovery.k8s.io", "default", slice(server.port(), &[dead, alive]), &writer)
        .unwrap();
    let created = cluster.create("services", "default", without_address(service), &writer).unwrap();
    let ip: Ipv4Addr = created["spec"]["clusterIP"].as_str().unwrap().parse().unwrap();
    let address = SocketAddr::from((ip, port));

    let proxy = Proxy::start(cluster.clone(), NODE);
    for _ in 0..8 {
        let mut stream = connect(address).await;
        stream.write_all(b"hello").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert_eq!(answer, "ahello");
    }
    let empty = Patch::Merge(json!({ "endpoints": [] }));
    cluster.patch("endpointslices.discovery.k8s.io", "default", "web-1", empty, Part::Object, &writer).unwrap();
    is_refused(address).await;
    drop(proxy);
}

fn without_address(mut service: Value) -> Value {
    service["spec"].as_object_mut().unwrap().remove("clusterIP");
    service
}
