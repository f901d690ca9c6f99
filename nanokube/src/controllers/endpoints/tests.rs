use serde_json::{Value, json};

use super::*;
use crate::cluster::DeleteOptions;
use crate::controllers::deployment::DEPLOYMENTS;
use crate::controllers::lab::{Lab, deployment};

fn service(changes: Value) -> Value {
    let mut service = json!({
        "metadata": { "name": "web", "labels": { "team": "a" } },
        "spec": {
            "clusterIP": "127.16.128.9",
            "selector": { "app": "web" },
            "ports": [{ "port": 80, "targetPort": 8080, "protocol": "TCP" }],
        },
    });
    for (field, value) in changes.as_object().unwrap() {
        service["spec"][field] = value.clone();
    }
    service
}

/// `ready serving terminating` of each endpoint, in order.
fn conditions(lab: &Lab) -> Vec<[bool; 3]> {
    let slices = lab.list(ENDPOINT_SLICES);
    let endpoints = slices.iter().flat_map(|slice| object::array_at(slice, "/endpoints"));
    endpoints
        .map(|it| ["ready", "serving", "terminating"].map(|key| object::bool_at(it, &format!("/conditions/{key}"))))
        .collect()
}

fn lab_with(replicas: i64, changes: Value) -> Lab {
    let mut lab = Lab::new();
    lab.create(SERVICES, service(changes));
    lab.create(DEPLOYMENTS, deployment(replicas));
    lab.run(4, |_| {});
    lab
}

#[test]
fn ready_pods_become_endpoints_of_a_slice_and_of_the_older_form() {
    let lab = lab_with(2, json!({}));
    let slice = &lab.list(ENDPOINT_SLICES)[0];
    assert_eq!(object::label(slice, SERVICE_NAME), Some("web"));
    assert_eq!(object::label(slice, "team"), Some("a"));
    assert_eq!(slice["ports"], json!([{ "name": "", "port": 8080, "protocol": "TCP" }]));
    assert_eq!(conditions(&lab), [[true, true, false]; 2]);
    assert_eq!(slice["metadata"]["ownerReferences"][0]["kind"], "Service");
    assert_eq!(slice["endpoints"][0]["nodeName"], "node");

    let endpoints = lab.get(ENDPOINTS, "web");
    assert_eq!(object::array_at(&endpoints, "/subsets/0/addresses").len(), 2);
    assert_eq!(endpoints["subsets"][0]["ports"], json!([{ "port": 8080, "protocol": "TCP" }]));
}

#[test]
fn a_service_without_pods_has_an_empty_slice() {
    let lab = lab_with(0, json!({}));
    assert!(object::array_at(&lab.list(ENDPOINT_SLICES)[0], "/endpoints").is_empty());
    assert!(object::array_at(&lab.get(ENDPOINTS, "web"), "/subsets").is_empty());
}

#[test]
fn a_pod_being_deleted_serves_but_is_not_ready_and_keeps_its_place() {
    let mut lab = lab_with(3, json!({}));
    let first = object::str_at(&lab.list(ENDPOINT_SLICES)[0], "/endpoints/0/targetRef/name").to_owned();
    lab.delete(PODS, "default", &first, DeleteOptions::default());
    lab.settle();
    assert_eq!(conditions(&lab), [[false, true, true], [true, true, false], [true, true, false]]);
    assert_eq!(object::array_at(&lab.get(ENDPOINTS, "web"), "/subsets/0/addresses").len(), 2);
    lab.run(4, |_| {});
    assert_eq!(conditions(&lab), [[true, true, false]; 3]);
}

#[test]
fn not_ready_pods_are_published_only_where_asked() {
    for (publishes, ready) in [(false, false), (true, true)] {
        let mut lab = Lab::new();
        lab.fate = |_| crate::controllers::lab::Fate::NeverReady;
        lab.create(SERVICES, service(json!({ "publishNotReadyAddresses": publishes })));
        lab.create(DEPLOYMENTS, deployment(1));
        lab.run(4, |_| {});
        assert_eq!(conditions(&lab), [[ready, false, false]]);
        let field = if ready { "addresses" } else { "notReadyAddresses" };
        assert_eq!(object::array_at(&lab.get(ENDPOINTS, "web"), &format!("/subsets/0/{field}")).len(), 1);
    }
}

#[test]
fn named_target_ports_are_resolved_pod_by_pod() {
    let mut lab = Lab::new();
    lab.create(SERVICES, service(json!({ "ports": [{ "name": "web", "port": 80, "targetPort": "http" }] })));
    for (name, port) in [("a", json!(8080)), ("b", json!(9090)), ("c", Value::Null)] {
        let ports = if port.is_null() { json!([]) } else { json!([{ "name": "http", "containerPort": port }]) };
        let containers = json!([{ "name": "c", "image": "i", "ports": ports }]);
        lab.create(
            PODS,
            json!({ "metadata": { "name": name, "labels": { "app": "web" } }, "spec": { "containers": containers } }),
        );
    }
    lab.run(3, |_| {});
    let slices = lab.list(ENDPOINT_SLICES);
    let mut ports: Vec<i64> = slices.iter().filter_map(|slice| object::i64_at(slice, "/ports/0/port")).collect();
    ports.sort_unstable();
    assert_eq!(ports, [8080, 9090]);
}

#[test]
fn more_than_a_hundred_endpoints_take_more_slices() {
    let mut lab = Lab::new();
    lab.status("nodes", "", "node", json!({ "allocatable": { "pods": "500" } }));
    lab.create(SERVICES, service(json!({})));
    lab.create(DEPLOYMENTS, deployment(230));
    lab.run(5, |_| {});
    let sizes = |lab: &Lab| {
        let mut sizes: Vec<usize> =
            lab.list(ENDPOINT_SLICES).iter().map(|slice| object::array_at(slice, "/endpoints").len()).collect();
        sizes.sort_unstable();
        sizes
    };
    assert_eq!(sizes(&lab), [30, 100, 100]);
    lab.patch(DEPLOYMENTS, "web", json!({ "spec": { "replicas": 3 } }));
    lab.run(5, |_| {});
    assert_eq!(sizes(&lab).iter().sum::<usize>(), 3);
}

#[test]
fn endpoints_go_with_their_service() {
    let mut lab = lab_with(1, json!({}));
    lab.delete(SERVICES, "default", "web", DeleteOptions::default());
    lab.settle();
    assert!(lab.list(ENDPOINT_SLICES).is_empty());
    assert!(lab.find(ENDPOINTS, "web").is_none());
}
