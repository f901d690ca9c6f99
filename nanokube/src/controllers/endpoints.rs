//! Endpoints and EndpointSlices: who stands behind a Service. For each Service with a selector the pods it selects
//! become endpoints, `ready` when traffic may go there, `serving` when they would answer, `terminating` while they
//! are being deleted. A named target port is resolved pod by pod; pods that resolve to different numbers go into
//! different slices. Endpoints (the older form) list the same addresses, without those that are terminating.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::action::Outcome;
use super::memo::{Memo, Versions};
use super::ownership;
use super::pod::{self, PODS};
use crate::cluster::Snapshot;
use crate::object::{self, Object};
use crate::selector::LabelSelector;

pub const SERVICES: &str = "services";
pub const ENDPOINTS: &str = "endpoints";
pub const ENDPOINT_SLICES: &str = "endpointslices.discovery.k8s.io";
pub const INPUTS: &[&str] = &[SERVICES, PODS, ENDPOINTS, ENDPOINT_SLICES];

const SERVICE_NAME: &str = "kubernetes.io/service-name";
const SLICE_MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const SLICE_CONTROLLER: &str = "endpointslice-controller.k8s.io";
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const CONTROLLER: &str = "endpoint-controller";
const HEADLESS: &str = "service.kubernetes.io/headless";
const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";
/// Endpoints in one slice; more go into another.
const SLICE_MAX: usize = 100;

/// Addresses that share their ports: a subset of Endpoints in the making.
#[derive(Default)]
struct Subset {
    ports: Vec<Value>,
    ready: Vec<Value>,
    unready: Vec<Value>,
}

/// The controller with its memory of what needs nothing.
#[derive(Debug, Default)]
pub struct Endpoints {
    memo: Memo,
}

impl Endpoints {
    pub fn reconcile(&mut self, snapshot: &Snapshot, now: Timestamp) -> Outcome {
        let mut outcome = Outcome::default();
        let pods = pods_with_addresses(snapshot);
        let mut slices = managed_slices(snapshot);
        let mut live: HashSet<(&str, &str)> = HashSet::new();
        for service in snapshot.list(SERVICES) {
            let key = (object::namespace(service), object::name(service));
            live.insert(key);
            let selects = object::map_at(service, "/spec/selector").is_some_and(|selector| !selector.is_empty());
            if !selects || object::str_at(service, "/spec/type") == "ExternalName" || object::is_deleting(service) {
                continue;
            }
            let selector = LabelSelector::from_value(&json!({ "matchLabels": service["spec"]["selector"] }));
            let candidates = pods.get(key.0).map(Vec::as_slice).unwrap_or(&[]);
            let selected =
                candidates.iter().filter(|(labels, _)| selector.matches(*labels)).map(|(_, pod)| *pod).collect();
            let slices = slices.remove(&key).unwrap_or_default();
            self.sync(snapshot, service, selected, slices, now, &mut outcome);
        }
        self.memo.prune(live.len());
        for orphans in slices.iter().filter(|(key, _)| !live.contains(*key)).map(|(_, orphans)| orphans) {
            orphans.iter().for_each(|slice| outcome.delete(ENDPOINT_SLICES, slice, None));
        }
        for endpoints in snapshot.list(ENDPOINTS) {
            let managed = object::label(endpoints, MANAGED_BY) == Some(CONTROLLER);
            if managed && !live.contains(&(object::namespace(endpoints), object::name(endpoints))) {
                outcome.delete(ENDPOINTS, endpoints, None);
            }
        }
        outcome
    }

    fn sync(
        &mut self,
        snapshot: &Snapshot,
        service: &Value,
        selected: Vec<&Value>,
        slices: Vec<&Object>,
        now: Timestamp,
        outcome: &mut Outcome,
    ) {
        let endpoints = snapshot.get(ENDPOINTS, object::namespace(service), object::name(service));
        let stored = slices.iter().copied().chain(endpoints).map(|object| &**object);
        let versions = Versions::of(selected.iter().copied().chain(stored).chain([service]));
        if self.memo.is_settled(service, versions) {
            return;
        }
        let mut wanted = Outcome::default();
        sync_slices(service, &selected, slices, now, &mut wanted);
        sync_endpoints(endpoints, service, &selected, now, &mut wanted);
        self.memo.note(service, versions, wanted.actions.is_empty());
        outcome.actions.append(&mut wanted.actions);
    }
}

type Labelled<'a> = (Option<&'a Map<String, Value>>, &'a Value);

/// Pods that can be endpoints at all, with their labels, by namespace.
fn pods_with_addresses(snapshot: &Snapshot) -> HashMap<&str, Vec<Labelled<'_>>> {
    let mut pods: HashMap<&str, Vec<Labelled>> = HashMap::new();
    for candidate in snapshot.list(PODS) {
        let has_address = !object::str_at(candidate, "/status/podIP").is_empty();
        if has_address && !pod::is_finished(candidate) {
            let labelled = (object::labels(candidate), &**candidate);
            pods.entry(object::namespace(candidate)).or_default().push(labelled);
        }
    }
    pods
}

/// The slices that this controller looks after, by namespace and service.
fn managed_slices(snapshot: &Snapshot) -> HashMap<(&str, &str), Vec<&Object>> {
    let mut slices: HashMap<(&str, &str), Vec<&Object>> = HashMap::new();
    for slice in snapshot.list(ENDPOINT_SLICES) {
        if object::label(slice, SLICE_MANAGED_BY) == Some(SLICE_CONTROLLER) && !object::is_deleting(slice) {
            let service = object::label(slice, SERVICE_NAME).unwrap_or_default();
            slices.entry((object::namespace(slice), service)).or_default().push(slice);
        }
    }
    slices
}

/// The ports of a Service as one pod serves them, in the Service's order. A port whose name the pod lacks is left out.
fn resolve_ports(service: &Value, pod: &Value) -> Vec<Value> {
    let ports = object::array_at(service, "/spec/ports").iter();
    let resolved = ports.filter_map(|port| {
        let protocol = match object::str_at(port, "/protocol") {
            "" => "TCP",
            protocol => protocol,
        };
        let number = match port.get("targetPort") {
            Some(Value::String(name)) => named_port(pod, name, protocol)?,
            Some(Value::Number(number)) if number.as_i64() != Some(0) => number.as_i64()?,
            _ => object::i64_at(port, "/port")?,
        };
        let mut resolved = json!({ "name": object::str_at(port, "/name"), "protocol": protocol, "port": number });
        if let Some(application) = port.get("appProtocol").filter(|application| !application.is_null()) {
            resolved["appProtocol"] = application.clone();
        }
        Some(resolved)
    });
    resolved.collect()
}

fn named_port(pod: &Value, name: &str, protocol: &str) -> Option<i64> {
    let sidecars = object::array_at(pod, "/spec/initContainers").iter().filter(|it| it["restartPolicy"] == "Always");
    let containers = object::array_at(pod, "/spec/containers").iter().chain(sidecars);
    let mut ports = containers.flat_map(|container| object::array_at(container, "/ports"));
    let found = ports.find(|port| {
        let spoken = match object::str_at(port, "/protocol") {
            "" => "TCP",
            spoken => spoken,
        };
        port["name"] == name && spoken == protocol
    })?;
    object::i64_at(found, "/containerPort")
}

fn sync_slices(service: &Value, pods: &[&Value], existing: Vec<&Object>, now: Timestamp, outcome: &mut Outcome) {
    let mut groups: BTreeMap<String, (Vec<Value>, Vec<&Value>)> = BTreeMap::new();
    for candidate in pods {
        let ports = resolve_ports(service, candidate);
        let group = groups.entry(json!(ports).to_string()).or_insert_with(|| (ports, Vec::new()));
        group.1.push(candidate);
    }
    let headless_without_ports = object::array_at(service, "/spec/ports").is_empty();
    let mut spare = existing;
    let mut wanted: Vec<(Option<&Object>, Vec<Value>, Vec<Value>)> = Vec::new();
    for (ports, pods) in groups.into_values() {
        if ports.is_empty() && !headless_without_ports {
            continue;
        }
        let (same, other): (Vec<_>, Vec<_>) = spare.into_iter().partition(|slice| slice["ports"] == json!(ports));
        spare = other;
        let filled = fill(service, &pods, &same);
        spare.extend(same.iter().skip(filled.len()));
        let homes = same.iter().copied().map(Some).chain(std::iter::repeat(None));
        wanted.extend(filled.into_iter().zip(homes).map(|(endpoints, home)| (home, ports.clone(), endpoints)));
    }
    if wanted.is_empty() {
        wanted.push((spare.pop(), Vec::new(), Vec::new()));
    }
    for (home, ports, endpoints) in wanted {
        let home = home.or_else(|| spare.pop());
        write_slice(service, home, ports, endpoints, now, outcome);
    }
    spare.iter().for_each(|slice| outcome.delete(ENDPOINT_SLICES, slice, None));
}

/// The endpoints slice by slice. A pod keeps its slice and its place there; newcomers go to the end.
fn fill(service: &Value, pods: &[&Value], slices: &[&Object]) -> Vec<Vec<Value>> {
    let mut fresh: BTreeMap<&str, Value> = BTreeMap::new();
    let mut order: Vec<&str> = Vec::new();
    for candidate in pods {
        fresh.insert(object::uid(candidate), endpoint(service, candidate));
        order.push(object::uid(candidate));
    }
    let mut filled: Vec<Vec<Value>> = Vec::new();
    for slice in slices {
        let present = object::array_at(slice, "/endpoints").iter();
        filled.push(present.filter_map(|old| fresh.remove(object::str_at(old, "/targetRef/uid"))).collect());
    }
    for uid in order {
        let Some(endpoint) = fresh.remove(uid) else { continue };
        match filled.iter_mut().find(|slice| slice.len() < SLICE_MAX) {
            Some(slice) => slice.push(endpoint),
            None => filled.push(vec![endpoint]),
        }
    }
    filled.retain(|slice| !slice.is_empty());
    filled
}

fn endpoint(service: &Value, pod: &Value) -> Value {
    let publishes = object::bool_at(service, "/spec/publishNotReadyAddresses");
    let (serving, terminating) = (pod::is_ready(pod), object::is_deleting(pod));
    let mut endpoint = json!({
        "addresses": [object::str_at(pod, "/status/podIP")],
        "conditions": {
            "ready": publishes || (serving && !terminating),
            "serving": serving,
            "terminating": terminating,
        },
        "targetRef": target(pod),
    });
    if !pod::node(pod).is_empty() {
        endpoint["nodeName"] = json!(pod::node(pod));
    }
    if let Some(hostname) = hostname(service, pod) {
        endpoint["hostname"] = json!(hostname);
    }
    endpoint
}

fn target(pod: &Value) -> Value {
    json!({ "kind": "Pod", "namespace": object::namespace(pod), "name": object::name(pod), "uid": object::uid(pod) })
}

fn hostname<'a>(service: &Value, pod: &'a Value) -> Option<&'a str> {
    let hostname = object::str_at(pod, "/spec/hostname");
    (!hostname.is_empty() && object::str_at(pod, "/spec/subdomain") == object::name(service)).then_some(hostname)
}

fn is_headless(service: &Value) -> bool {
    object::str_at(service, "/spec/clusterIP") == "None"
}

fn write_slice(
    service: &Value,
    home: Option<&Object>,
    ports: Vec<Value>,
    endpoints: Vec<Value>,
    now: Timestamp,
    outcome: &mut Outcome,
) {
    let mut labels = object::labels(service).cloned().unwrap_or_default();
    labels.insert(SERVICE_NAME.to_owned(), json!(object::name(service)));
    labels.insert(SLICE_MANAGED_BY.to_owned(), json!(SLICE_CONTROLLER));
    labels.remove(HEADLESS);
    if is_headless(service) {
        labels.insert(HEADLESS.to_owned(), json!(""));
    }
    let (ports, endpoints) = (Value::Array(ports), Value::Array(endpoints));
    let Some(home) = home else {
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "generateName": format!("{}-", object::name(service)),
                "namespace": object::namespace(service),
                "labels": labels,
                "annotations": { TRIGGER_TIME: object::time(now) },
                "ownerReferences": [ownership::controller_reference(service)],
            },
            "addressType": "IPv4",
            "endpoints": endpoints,
            "ports": ports,
        });
        outcome.create(ENDPOINT_SLICES, object::namespace(service), slice, None);
        return;
    };
    let list = |field: &str| Value::Array(object::array_at(home, &format!("/{field}")).to_vec());
    let same_labels = object::labels(home) == Some(&labels);
    if list("ports") == ports && list("endpoints") == endpoints && same_labels {
        return;
    }
    let mut draft = Value::clone(home);
    draft["ports"] = ports;
    draft["endpoints"] = endpoints;
    object::set(&mut draft, &["metadata", "labels"], Value::Object(labels));
    object::set(&mut draft, &["metadata", "annotations", TRIGGER_TIME], json!(object::time(now)));
    outcome.update(ENDPOINT_SLICES, draft);
}

fn sync_endpoints(existing: Option<&Object>, service: &Value, pods: &[&Value], now: Timestamp, outcome: &mut Outcome) {
    let subsets = subsets(service, pods);
    let mut labels = object::labels(service).cloned().unwrap_or_default();
    labels.insert(MANAGED_BY.to_owned(), json!(CONTROLLER));
    labels.remove(HEADLESS);
    if is_headless(service) {
        labels.insert(HEADLESS.to_owned(), json!(""));
    }
    let Some(existing) = existing else {
        let endpoints = json!({
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": {
                "name": object::name(service),
                "namespace": object::namespace(service),
                "labels": labels,
                "annotations": { TRIGGER_TIME: object::time(now) },
            },
            "subsets": subsets,
        });
        outcome.create(ENDPOINTS, object::namespace(service), endpoints, None);
        return;
    };
    if object::array_at(existing, "/subsets") == subsets.as_slice() && object::labels(existing) == Some(&labels) {
        return;
    }
    let mut draft = Value::clone(existing);
    object::set(&mut draft, &["subsets"], Value::Array(subsets));
    object::set(&mut draft, &["metadata", "labels"], Value::Object(labels));
    object::set(&mut draft, &["metadata", "annotations", TRIGGER_TIME], json!(object::time(now)));
    outcome.update(ENDPOINTS, draft);
}

/// One subset for each set of ports, addresses in order.
fn subsets(service: &Value, pods: &[&Value]) -> Vec<Value> {
    let publishes = object::bool_at(service, "/spec/publishNotReadyAddresses");
    let mut groups: BTreeMap<String, Subset> = BTreeMap::new();
    for candidate in pods.iter().filter(|pod| publishes || !object::is_deleting(pod)) {
        let mut ports = resolve_ports(service, candidate);
        ports.iter_mut().filter(|port| port["name"] == "").for_each(|port| {
            object::remove(port, &["name"]);
        });
        let mut address = json!({ "ip": object::str_at(candidate, "/status/podIP"), "targetRef": target(candidate) });
        if !pod::node(candidate).is_empty() {
            address["nodeName"] = json!(pod::node(candidate));
        }
        if let Some(hostname) = hostname(service, candidate) {
            address["hostname"] = json!(hostname);
        }
        let subset = groups.entry(json!(ports).to_string()).or_insert_with(|| Subset { ports, ..Subset::default() });
        let ready = publishes || pod::is_ready(candidate);
        if ready { subset.ready.push(address) } else { subset.unready.push(address) }
    }
    let headless_without_ports = object::array_at(service, "/spec/ports").is_empty();
    groups.retain(|_, subset| headless_without_ports || !subset.ports.is_empty());
    groups.into_values().map(Subset::into_value).collect()
}

impl Subset {
    fn into_value(self) -> Value {
        let mut subset = json!({});
        for (field, mut addresses) in [("addresses", self.ready), ("notReadyAddresses", self.unready)] {
            addresses.sort_by_key(|address| address_key(object::str_at(address, "/ip")));
            if !addresses.is_empty() {
                subset[field] = Value::Array(addresses);
            }
        }
        if !self.ports.is_empty() {
            subset["ports"] = Value::Array(self.ports);
        }
        subset
    }
}

fn address_key(address: &str) -> (Option<std::net::Ipv4Addr>, String) {
    (address.parse().ok(), address.to_owned())
}

#[cfg(test)]
mod tests;
