//! The environment of a container: pure.
//!
//! Later entries win: the image's own, the addresses of Services, `envFrom` in order, `env` in order. `$(NAME)` is
//! replaced by a variable that came before, `$$` is a dollar; what cannot be resolved stays as it is written.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::cluster::Cluster;
use crate::object;
use crate::seed;

/// What a container's environment is made of besides its own specification.
pub(super) struct Surroundings<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) pod: &'a Value,
    /// The pod's address, which the stored object may not have yet.
    pub(super) pod_ip: String,
    pub(super) host_ip: String,
}

/// Variables of `container`, or why one cannot be had (a missing ConfigMap, Secret or key).
pub(super) fn variables(around: &Surroundings<'_>, container: &Value) -> Result<BTreeMap<String, String>, String> {
    let mut found = services(around);
    for source in object::array_at(container, "/envFrom") {
        found.extend(from_source(around, source)?);
    }
    for entry in object::array_at(container, "/env") {
        let name = object::str_at(entry, "/name").to_owned();
        let value = match entry.get("valueFrom") {
            Some(from) => match value_from(around, container, from)? {
                Some(value) => value,
                None => continue,
            },
            None => expand(object::str_at(entry, "/value"), &found),
        };
        found.insert(name, value);
    }
    Ok(found)
}

/// Replaces `$(NAME)`.
pub(super) fn expand(text: &str, known: &BTreeMap<String, String>) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(after) = after.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some((name, after)) = after.strip_prefix('(').and_then(|it| it.split_once(')')) {
            match known.get(name) {
                Some(value) => expanded.push_str(value),
                None => expanded.push_str(&format!("$({name})")),
            }
            rest = after;
        } else {
            expanded.push('$');
            rest = after;
        }
    }
    expanded + rest
}

/// `*_SERVICE_HOST` and `*_SERVICE_PORT` of the Services of the pod's namespace and of default/kubernetes.
fn services(around: &Surroundings<'_>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let namespace = object::namespace(around.pod);
    let links = around.pod["spec"]["enableServiceLinks"] != Value::Bool(false);
    for service in around.cluster.list("services", None).items {
        let is_api = (object::namespace(&service), object::name(&service)) == seed::API_SERVICE;
        let host = object::str_at(&service, "/spec/clusterIP");
        if !(is_api || (links && object::namespace(&service) == namespace)) || matches!(host, "" | "None") {
            continue;
        }
        if is_api {
            found.extend(api_server(around).unwrap_or_default());
            continue;
        }
        let prefix = variable_name(object::name(&service));
        found.insert(format!("{prefix}_SERVICE_HOST"), host.to_owned());
        found.extend(links_of(&prefix, host, &service));
        for (number, port) in object::array_at(&service, "/spec/ports").iter().enumerate() {
            let value = object::i64_at(port, "/port").unwrap_or(0).to_string();
            let name = object::str_at(port, "/name");
            if number == 0 {
                found.insert(format!("{prefix}_SERVICE_PORT"), value.clone());
            }
            if !name.is_empty() {
                found.insert(format!("{prefix}_SERVICE_PORT_{}", variable_name(name)), value);
            }
        }
    }
    found
}

/// The API server itself, not its cluster IP: an ordinary user's proxy cannot listen at a port below 1024.
fn api_server(around: &Surroundings<'_>) -> Option<BTreeMap<String, String>> {
    let endpoints = around.cluster.get("endpoints", "default", "kubernetes")?;
    let subset = object::array_at(&endpoints, "/subsets").first()?;
    let host = object::str_at(subset, "/addresses/0/ip").to_owned();
    let port = object::i64_at(subset, "/ports/0/port")?.to_string();
    Some(BTreeMap::from([
        ("KUBERNETES_SERVICE_HOST".to_owned(), host),
        ("KUBERNETES_SERVICE_PORT".to_owned(), port.clone()),
        ("KUBERNETES_SERVICE_PORT_HTTPS".to_owned(), port),
    ]))
}

/// The variables of Docker's container links, which kubelet still sets: `X_PORT`, `X_PORT_80_TCP`, ...
fn links_of(prefix: &str, host: &str, service: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (number, port) in object::array_at(service, "/spec/ports").iter().enumerate() {
        let value = object::i64_at(port, "/port").unwrap_or(0);
        let protocol = object::str_at(port, "/protocol").to_lowercase();
        let url = format!("{protocol}://{host}:{value}");
        if number == 0 {
            found.push((format!("{prefix}_PORT"), url.clone()));
        }
        let base = format!("{prefix}_PORT_{value}_{}", protocol.to_uppercase());
        found.push((base.clone(), url));
        found.push((format!("{base}_PROTO"), protocol));
        found.push((format!("{base}_PORT"), value.to_string()));
        found.push((format!("{base}_ADDR"), host.to_owned()));
    }
    found
}

fn variable_name(name: &str) -> String {
    name.to_uppercase().replace(['-', '.'], "_")
}

fn from_source(around: &Surroundings<'_>, source: &Value) -> Result<Vec<(String, String)>, String> {
    let prefix = object::str_at(source, "/prefix");
    for (field, resource) in [("configMapRef", "configmaps"), ("secretRef", "secrets")] {
        let Some(reference) = source.get(field) else { continue };
        let data = match keys(around, resource, reference)? {
            Some(data) => data,
            None => return Ok(Vec::new()),
        };
        return Ok(data.into_iter().map(|(key, value)| (format!("{prefix}{key}"), value)).collect());
    }
    Ok(Vec::new())
}

/// All keys of a ConfigMap or Secret; None when it is optional and missing.
fn keys(
    around: &Surroundings<'_>,
    resource: &str,
    reference: &Value,
) -> Result<Option<BTreeMap<String, String>>, String> {
    let name = object::str_at(reference, "/name");
    match around.cluster.get(resource, object::namespace(around.pod), name) {
        Some(object) => Ok(Some(text_of(resource, &object))),
        None if object::bool_at(reference, "/optional") => Ok(None),
        None => Err(format!("{} \"{name}\" not found", resource.trim_end_matches('s'))),
    }
}

/// The values of a ConfigMap as they are, those of a Secret decoded.
pub(super) fn text_of(resource: &str, object: &Value) -> BTreeMap<String, String> {
    bytes_of(resource, object)
        .into_iter()
        .filter_map(|(key, value)| Some((key, String::from_utf8(value).ok()?)))
        .collect()
}

pub(super) fn bytes_of(resource: &str, object: &Value) -> BTreeMap<String, Vec<u8>> {
    use base64::Engine;
    let decode = |value: &Value| base64::engine::general_purpose::STANDARD.decode(value.as_str()?).ok();
    let map = |field: &str| object.get(field).and_then(Value::as_object).cloned().unwrap_or_default();
    let decoded = |map: Map<String, Value>| {
        map.into_iter().filter_map(|(key, value)| Some((key, decode(&value)?))).collect::<BTreeMap<_, _>>()
    };
    if resource == "secrets" {
        return decoded(map("data"));
    }
    let mut all = decoded(map("binaryData"));
    let plain = map("data").into_iter().filter_map(|(key, value)| Some((key, value.as_str()?.as_bytes().to_vec())));
    all.extend(plain);
    all
}

fn value_from(around: &Surroundings<'_>, container: &Value, from: &Value) -> Result<Option<String>, String> {
    if let Some(field) = from.get("fieldRef") {
        return field_value(around, object::str_at(field, "/fieldPath")).map(Some);
    }
    if let Some(field) = from.get("resourceFieldRef") {
        return resource_value(around, container, field).map(Some);
    }
    for (field, resource) in [("configMapKeyRef", "configmaps"), ("secretKeyRef", "secrets")] {
        let Some(reference) = from.get(field) else { continue };
        let Some(data) = keys(around, resource, reference)? else { return Ok(None) };
        let key = object::str_at(reference, "/key");
        return match data.get(key) {
            Some(value) => Ok(Some(value.clone())),
            None if object::bool_at(reference, "/optional") => Ok(None),
            None => {
                let kind = if resource == "secrets" { "Secret" } else { "ConfigMap" };
                let owner = format!("{}/{}", object::namespace(around.pod), object::str_at(reference, "/name"));
                Err(format!("couldn't find key {key} in {kind} {owner}"))
            }
        };
    }
    Ok(None)
}

/// A field of the pod, as the downward API names it.
pub(super) fn field_value(around: &Surroundings<'_>, path: &str) -> Result<String, String> {
    let pod = around.pod;
    let entry = |map: &str| path.strip_prefix(map)?.strip_prefix("['")?.strip_suffix("']");
    if let Some(key) = entry("metadata.labels") {
        return Ok(object::label(pod, key).unwrap_or("").to_owned());
    }
    if let Some(key) = entry("metadata.annotations") {
        return Ok(object::annotation(pod, key).unwrap_or("").to_owned());
    }
    Ok(match path {
        "metadata.name" => object::name(pod).to_owned(),
        "metadata.namespace" => object::namespace(pod).to_owned(),
        "metadata.uid" => object::uid(pod).to_owned(),
        "metadata.labels" => lines(pod, "/metadata/labels"),
        "metadata.annotations" => lines(pod, "/metadata/annotations"),
        "spec.nodeName" => object::str_at(pod, "/spec/nodeName").to_owned(),
        "spec.serviceAccountName" => object::str_at(pod, "/spec/serviceAccountName").to_owned(),
        "status.hostIP" | "status.hostIPs" => around.host_ip.clone(),
        "status.podIP" | "status.podIPs" => around.pod_ip.clone(),
        unknown => return Err(format!("unsupported fieldPath: {unknown}")),
    })
}

fn lines(pod: &Value, pointer: &str) -> String {
    let map = object::map_at(pod, pointer).cloned().unwrap_or_default();
    let lines = map.iter().map(|(key, value)| format!("{key}={:?}", value.as_str().unwrap_or("")));
    lines.collect::<Vec<_>>().join("\n")
}

/// A limit or request of a container (`own`, unless the field names one), in units of the divisor, rounded up.
/// Without a limit, it is all that the node has.
pub(super) fn resource_value(around: &Surroundings<'_>, own: &Value, field: &Value) -> Result<String, String> {
    let wanted = object::str_at(field, "/containerName");
    let container = super::pod::containers(around.pod).map(|(spec, _)| spec).find(|it| it["name"] == wanted);
    let container = container.as_ref().unwrap_or(own);
    let path = object::str_at(field, "/resource");
    let (list, resource) = path.split_once('.').ok_or_else(|| format!("unsupported container resource: {path}"))?;
    let parse = |text: &str| autoscaler::quantity::Quantity::parse(text).map(|it| it.milli()).unwrap_or(0);
    let amount = match object::str_at(container, &format!("/resources/{list}/{resource}")) {
        "" if list == "limits" => {
            let node = around.cluster.get("nodes", "", object::str_at(around.pod, "/spec/nodeName"));
            node.map_or(0, |node| parse(object::str_at(&node, &format!("/status/allocatable/{resource}"))))
        }
        amount => parse(amount),
    };
    let divisor = match object::str_at(field, "/divisor") {
        "" | "0" => 1_000,
        divisor => parse(divisor).max(1),
    };
    Ok((amount.div_euclid(divisor) + i64::from(amount.rem_euclid(divisor) > 0)).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn references_to_known_variables_are_replaced() {
        let known = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
        for (text, expanded) in
            [("x$(A)y", "x1y"), ("$(B)", "$(B)"), ("$$(A)", "$(A)"), ("$A $", "$A $"), ("$(A", "$(A")]
        {
            assert_eq!(expand(text, &known), expanded);
        }
    }

    #[test]
    fn variables_come_from_fields_resources_and_what_came_before() {
        let cluster = Cluster::in_memory();
        let pod = json!({
            "metadata": { "name": "web-1", "namespace": "lab", "labels": { "app": "web" } },
            "spec": { "containers": [] },
        });
        let around = Surroundings { cluster: &cluster, pod: &pod, pod_ip: "127.16.1.1".into(), host_ip: String::new() };
        let container = json!({
            "resources": { "limits": { "cpu": "1500m" } },
            "env": [
                { "name": "NAME", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
                { "name": "APP", "valueFrom": { "fieldRef": { "fieldPath": "metadata.labels['app']" } } },
                { "name": "IP", "valueFrom": { "fieldRef": { "fieldPath": "status.podIP" } } },
                { "name": "CORES", "valueFrom": { "resourceFieldRef": { "resource": "limits.cpu" } } },
                { "name": "BOTH", "value": "$(NAME)-$(APP)" },
            ],
        });
        let found = variables(&around, &container).unwrap();
        let get = |name: &str| found[name].as_str();
        assert_eq!((get("NAME"), get("APP"), get("IP")), ("web-1", "web", "127.16.1.1"));
        assert_eq!((get("CORES"), get("BOTH")), ("2", "web-1-web"));
    }

    #[test]
    fn a_limit_that_is_not_set_is_what_the_node_has() {
        let cluster = Cluster::in_memory();
        let node = json!({ "metadata": { "name": "n" }, "status": { "allocatable": { "memory": "3Mi" } } });
        cluster.create("nodes", "", node, &crate::cluster::Writer::controller("test")).unwrap();
        let containers = json!([{ "name": "a", "resources": { "limits": { "memory": "1Ki" } } }, { "name": "b" }]);
        let pod = json!({ "metadata": { "name": "p" }, "spec": { "nodeName": "n", "containers": containers } });
        let around = Surroundings { cluster: &cluster, pod: &pod, pod_ip: String::new(), host_ip: String::new() };
        let value = |name: &str, resource: &str| {
            resource_value(&around, &Value::Null, &json!({ "containerName": name, "resource": resource })).unwrap()
        };
        assert_eq!(value("a", "limits.memory"), "1024");
        assert_eq!(value("b", "limits.memory"), "3145728");
        assert_eq!(value("b", "requests.memory"), "0");
    }

    #[test]
    fn a_missing_config_map_is_named_unless_it_is_optional() {
        let cluster = Cluster::in_memory();
        let pod = json!({ "metadata": { "name": "p", "namespace": "lab" } });
        let around = Surroundings { cluster: &cluster, pod: &pod, pod_ip: String::new(), host_ip: String::new() };
        let missing = json!({ "envFrom": [{ "configMapRef": { "name": "settings" } }] });
        assert_eq!(variables(&around, &missing).unwrap_err(), "configmap \"settings\" not found");
        let optional = json!({ "envFrom": [{ "configMapRef": { "name": "settings", "optional": true } }] });
        assert!(variables(&around, &optional).unwrap().is_empty());
    }
}
