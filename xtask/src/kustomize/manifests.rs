//! The manifests of `k8s/` against their own rules: sizes, security, drains, and the tables of `k8s/README.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::render;

/// What a two-core machine has for pods once the cluster and the load generator have their half core.
const ALLOCATABLE_MILLI: u64 = 1500;
/// Closed-loop clients of the scenario `thousand`: with each of them waiting, one pod must still refuse nobody.
const CLIENTS_MAX: u64 = 1000;

pub(super) fn k8s() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").join("k8s")
}

pub(super) const ENVIRONMENTS: [&str; 3] = ["dev", "staging", "prod"];

pub(super) fn environment(name: &str, is_fast: bool) -> Vec<Value> {
    let fast = if is_fast { vec![k8s().join("components/fast")] } else { Vec::new() };
    render(&k8s().join("overlays").join(name), &fast, &[]).expect("it renders")
}

/// Every environment at every pace, with a name for messages.
fn all() -> Vec<(String, Vec<Value>)> {
    let paces = [(false, "real"), (true, "fast")];
    let both = |name: &&str| paces.map(|(is_fast, pace)| (format!("{name} at {pace}"), environment(name, is_fast)));
    ENVIRONMENTS.iter().flat_map(both).collect()
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let mut found = objects.iter().filter(|object| object["kind"] == kind);
    let first = found.next().unwrap_or_else(|| panic!("no {kind}"));
    assert!(found.next().is_none(), "more than one {kind}");
    first
}

fn container(objects: &[Value]) -> &Value {
    &of_kind(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]
}

fn variable(objects: &[Value], name: &str) -> u64 {
    let entries = container(objects)["env"].as_array().expect("env");
    let entry = entries.iter().find(|entry| entry["name"] == name).unwrap_or_else(|| panic!("no {name}"));
    entry["value"].as_str().and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{entry}"))
}

fn milli(quantity: &Value) -> u64 {
    let text = quantity.as_str().unwrap_or_else(|| panic!("{quantity} is no text"));
    text.strip_suffix('m').and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{text} is not in milli"))
}

#[test]
fn ten_pods_at_their_limit_leave_the_lab_its_half_core() {
    for (name, objects) in all() {
        let pods_max = of_kind(&objects, "HorizontalPodAutoscaler")["spec"]["maxReplicas"].as_u64().expect("a number");
        let resources = &container(&objects)["resources"];
        assert!(milli(&resources["requests"]["cpu"]) * pods_max <= ALLOCATABLE_MILLI, "{name}: requests do not fit");
        assert!(milli(&resources["limits"]["cpu"]) * pods_max <= ALLOCATABLE_MILLI, "{name}: limits do not fit");
    }
}

#[test]
fn one_pod_holds_the_queue_of_a_thousand_clients() {
    for (name, objects) in all() {
        assert!(variable(&objects, "QUEUE") >= CLIENTS_MAX, "{name}");
    }
}

#[test]
fn the_autoscaler_owns_the_number_of_replicas_and_aims_at_half_the_request() {
    for (name, objects) in all() {
        let deployment = of_kind(&objects, "Deployment");
        assert!(deployment["spec"].get("replicas").is_none(), "{name}: an apply would reset the autoscaler's number");
        let autoscaler = &of_kind(&objects, "HorizontalPodAutoscaler")["spec"];
        assert_eq!(autoscaler["scaleTargetRef"]["name"], deployment["metadata"]["name"], "{name}");
        assert_eq!(autoscaler["metrics"][0]["resource"]["target"]["averageUtilization"], 50, "{name}");
    }
}

#[test]
fn a_pod_has_time_to_drain_before_it_is_killed() {
    for (name, objects) in all() {
        let pod = &of_kind(&objects, "Deployment")["spec"]["template"]["spec"];
        let grace_ms = pod["terminationGracePeriodSeconds"].as_u64().expect("a number") * 1000;
        let (drain_ms, linger_ms) = (variable(&objects, "DRAIN_MS"), variable(&objects, "LINGER_MS"));
        assert!(linger_ms < drain_ms && drain_ms < grace_ms, "{name}: {linger_ms} < {drain_ms} < {grace_ms}");
    }
}

#[test]
fn every_selector_of_the_service_meets_its_pods() {
    for (name, objects) in all() {
        let labels = &of_kind(&objects, "Deployment")["spec"]["template"]["metadata"]["labels"];
        for (kind, pointer) in [
            ("Deployment", "/spec/selector/matchLabels"),
            ("Service", "/spec/selector"),
            ("PodDisruptionBudget", "/spec/selector/matchLabels"),
            ("Deployment", "/spec/template/spec/topologySpreadConstraints/0/labelSelector/matchLabels"),
        ] {
            let selector = of_kind(&objects, kind).pointer(pointer).and_then(Value::as_object).expect("a selector");
            for (key, value) in selector {
                assert_eq!(&labels[key], value, "{name}: {kind} {pointer} {key}");
            }
        }
        let port = &of_kind(&objects, "Service")["spec"]["ports"][0];
        assert_eq!(port["targetPort"], container(&objects)["ports"][0]["name"], "{name}");
        assert!(port["nodePort"].as_u64().is_some_and(|port| (30_000..=32_767).contains(&port)), "{name}: {port}");
    }
}

/// The pod templates of any objects, with a name for messages.
fn templates(objects: &[Value]) -> Vec<(String, &Value)> {
    let find = |object: &'_ Value| {
        ["/spec", "/spec/template/spec", "/spec/jobTemplate/spec/template/spec"]
            .into_iter()
            .find(|pointer| object.pointer(pointer).is_some_and(|spec| spec.get("containers").is_some()))
    };
    objects
        .iter()
        .filter_map(|object| {
            let name = format!("{} {}", object["kind"], object["metadata"]["name"]);
            Some((name, object.pointer(find(object)?)?))
        })
        .collect()
}

/// Whatever `kubectl apply -k` takes here: each overlay, `observed`, and each component on top of dev, at both paces.
/// Only `recorded` is left out: it is as it ran elsewhere.
fn everything() -> Vec<(String, Vec<Value>)> {
    let folders = |below: &str| crate::workspace::names_in(&k8s().join(below), |path| path.is_dir());
    let overlays = folders("overlays").into_iter().map(|name| (format!("overlays/{name}"), Vec::new()));
    let components = folders("components").into_iter().map(|name| ("overlays/dev".to_owned(), vec![name]));
    let all = overlays.chain(components).chain([("observed".to_owned(), Vec::new())]);
    let both = all.flat_map(|(base, components)| {
        let fast = [components.clone(), vec!["fast".to_owned()]].concat();
        [(base.clone(), components), (base, fast)]
    });
    let rendered = both.map(|(base, components)| {
        let paths: Vec<PathBuf> = components.iter().map(|name| k8s().join("components").join(name)).collect();
        (format!("{base} with {components:?}"), render(&k8s().join(base), &paths, &[]).expect("it renders"))
    });
    rendered.collect()
}

#[test]
fn every_pod_template_of_every_overlay_and_component_passes_the_restricted_standard_and_more() {
    let all = everything();
    assert!(all.len() >= 20, "{}", all.len());
    for (name, objects) in all {
        assert_ne!(check_templates(&name, &objects), 0, "{name}");
        check_neighbours(&name, &objects);
    }
}

/// Every Deployment has a budget and flows of its own, and the pods of one that scales are spread.
pub(super) fn check_neighbours(environment: &str, objects: &[Value]) {
    let of_kind = |kind| objects.iter().filter(move |object| object["kind"] == kind);
    let scaled: Vec<&Value> =
        of_kind("HorizontalPodAutoscaler").map(|it| &it["spec"]["scaleTargetRef"]["name"]).collect();
    for deployment in of_kind("Deployment") {
        let name = format!("{environment}: {}", deployment["metadata"]["name"]);
        let labels = &deployment["spec"]["template"]["metadata"]["labels"];
        let chosen = |selector: &Value| {
            let pairs = selector["matchLabels"].as_object().into_iter().flatten();
            let among = selector["matchExpressions"].as_array().into_iter().flatten();
            !selector.as_object().is_none_or(serde_json::Map::is_empty)
                && pairs.into_iter().all(|(key, value)| labels[key] == *value)
                && among.into_iter().all(|it| {
                    let key = it["key"].as_str().expect("a key");
                    it["operator"] == "In" && it["values"].as_array().is_some_and(|all| all.contains(&labels[key]))
                })
        };
        let budgets = of_kind("PodDisruptionBudget").filter(|budget| chosen(&budget["spec"]["selector"])).count();
        assert_eq!(budgets, 1, "{name}: PodDisruptionBudgets");
        let flows = of_kind("NetworkPolicy").filter(|policy| chosen(&policy["spec"]["podSelector"])).count();
        assert_eq!(flows, 1, "{name}: NetworkPolicies");
        let spread = &deployment["spec"]["template"]["spec"]["topologySpreadConstraints"];
        assert!(!scaled.contains(&&deployment["metadata"]["name"]) || spread[0].is_object(), "{name}: not spread");
    }
}

#[test]
fn the_adapter_passes_the_same_standard_and_may_only_read() {
    let objects = environment("dev-multi-metric", false);
    assert_eq!(check_templates("dev-multi-metric", &objects), 2, "the service and the adapter");
    let namespace = &of_kind(&objects, "Namespace")["metadata"]["name"];
    for rule in of_kind(&objects, "Role")["rules"].as_array().expect("rules") {
        for verb in rule["verbs"].as_array().expect("verbs") {
            assert!(["get", "list", "watch"].map(Value::from).contains(verb), "{rule}");
        }
    }
    for object in objects.iter().filter(|object| object["kind"] == "APIService") {
        assert_eq!(&object["spec"]["service"]["namespace"], namespace, "{object}");
    }
    assert!(objects.iter().all(|object| object["kind"] != "ClusterRole"), "no right beyond the namespace");
}

#[test]
fn the_autoscalers_custom_metrics_are_rules_of_the_adapter() {
    let objects = environment("dev-multi-metric", false);
    let rules = of_kind(&objects, "ConfigMap")["data"]["rules.yaml"].as_str().expect("rules");
    let rules: Value = serde_yaml::from_str(rules).expect("YAML");
    let names: Vec<&Value> = rules["rules"].as_array().expect("rules").iter().map(|rule| &rule["name"]).collect();
    let metrics = of_kind(&objects, "HorizontalPodAutoscaler")["spec"]["metrics"].as_array().expect("metrics").iter();
    let custom: Vec<&Value> = metrics.filter_map(|metric| metric.pointer("/pods/metric/name")).collect();
    assert_eq!(custom.len(), 2);
    for name in custom {
        assert!(names.contains(&name), "the adapter has no rule {name}");
    }
}

/// How many pod templates were checked.
pub(super) fn check_templates(environment: &str, objects: &[Value]) -> usize {
    let found = templates(objects);
    for (name, pod) in &found {
        let name = format!("{environment}: {name}");
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{name}");
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault", "{name}");
        // Who calls the API has an account of its own, and may still take its token another way.
        let mounts = pod["automountServiceAccountToken"].as_bool().unwrap_or(true);
        assert!(!mounts || pod["serviceAccountName"].is_string(), "{name}: no token where none is used");
        for field in ["hostNetwork", "hostPID", "hostIPC"] {
            assert!(pod.get(field).is_none(), "{name}: {field}");
        }
        for field in ["sysctls", "seLinuxOptions", "windowsOptions"] {
            assert!(pod["securityContext"].get(field).is_none(), "{name}: {field}");
        }
        assert_ne!(pod["securityContext"]["runAsUser"], 0, "{name}");
        for volume in pod["volumes"].as_array().into_iter().flatten() {
            let kinds = volume.as_object().expect("a volume").keys().filter(|key| *key != "name");
            assert!(kinds.into_iter().all(|kind| VOLUMES.contains(&kind.as_str())), "{name}: {volume}");
        }
        let containers = ["containers", "initContainers"].map(|list| pod[list].as_array());
        for container in containers.into_iter().flatten().flatten() {
            check_container(&format!("{name} {}", container["name"]), container);
        }
    }
    found.len()
}

/// What the restricted standard lets a pod mount.
const VOLUMES: [&str; 8] =
    ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"];

fn check_container(name: &str, container: &Value) {
    let security = &container["securityContext"];
    for field in ["runAsUser", "runAsNonRoot", "seccompProfile", "seLinuxOptions", "procMount", "windowsOptions"] {
        assert!(security.get(field).is_none(), "{name}: {field} is the pod's to say");
    }
    for port in container["ports"].as_array().into_iter().flatten() {
        assert!(port.get("hostPort").is_none(), "{name}: {port}");
    }
    assert_eq!(security["allowPrivilegeEscalation"], false, "{name}");
    assert_eq!(security["readOnlyRootFilesystem"], true, "{name}");
    assert_eq!(security["capabilities"]["drop"], serde_json::json!(["ALL"]), "{name}");
    assert!(security["capabilities"].get("add").is_none() && security.get("privileged").is_none(), "{name}");
    for list in ["requests", "limits"] {
        for resource in ["cpu", "memory"] {
            assert!(container["resources"][list][resource].is_string(), "{name}: no {resource} {list}");
        }
    }
    let image = container["image"].as_str().expect("an image");
    assert!(!image.ends_with(":latest") && image.contains(':'), "{name}: {image} may change under its name");
    assert!(container["imagePullPolicy"].is_string(), "{name}: the default pull policy depends on the tag");
}

#[test]
fn the_namespace_enforces_the_restricted_standard_and_denies_all_traffic_by_default() {
    for (name, objects) in all() {
        let labels = &of_kind(&objects, "Namespace")["metadata"]["labels"];
        assert_eq!(labels["pod-security.kubernetes.io/enforce"], "restricted", "{name}");
        let policies: Vec<&Value> = objects.iter().filter(|object| object["kind"] == "NetworkPolicy").collect();
        let everyone = serde_json::json!({});
        let deny = policies.iter().find(|policy| policy["spec"]["podSelector"] == everyone).expect("a policy for all");
        assert_eq!(deny["spec"]["policyTypes"], serde_json::json!(["Ingress", "Egress"]), "{name}");
        assert!(deny["spec"].get("ingress").is_none() && deny["spec"].get("egress").is_none(), "{name}");
    }
}

/// Every leaf as `Kind name` -> dotted path -> text. Elements of lists go by their `name`, else by their number.
fn leaves(objects: &[Value]) -> BTreeMap<(String, String), String> {
    let mut found = BTreeMap::new();
    for object in objects {
        let kind = object["kind"].as_str().expect("a kind").to_owned();
        // Names that differ by environment must not make two objects of one.
        let name = if kind == "Namespace" { "" } else { object["metadata"]["name"].as_str().expect("a name") };
        collect(object, "", &mut |path, value| {
            found.insert((format!("{kind} {name}"), path.to_owned()), value);
        });
    }
    found
}

fn collect(value: &Value, path: &str, found: &mut impl FnMut(&str, String)) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| collect(value, &below(key), found)),
        Value::Array(list) => {
            for (at, value) in list.iter().enumerate() {
                let key = value["name"].as_str().map_or_else(|| at.to_string(), str::to_owned);
                collect(value, &below(&key), found);
            }
        }
        Value::String(text) => found(path, text.clone()),
        other => found(path, other.to_string()),
    }
}

/// What differs: `Kind path` (or `* path` where every object with that field differs alike) -> a value per column.
fn differences(columns: &[Vec<Value>]) -> BTreeSet<(String, Vec<String>)> {
    let leaves: Vec<_> = columns.iter().map(|objects| leaves(objects)).collect();
    let fields: BTreeSet<_> = leaves.iter().flat_map(BTreeMap::keys).collect();
    let mut found = BTreeSet::new();
    for field in fields {
        let values: Vec<String> =
            leaves.iter().map(|column| column.get(field).cloned().unwrap_or_else(|| "-".to_owned())).collect();
        if values.iter().any(|value| *value != values[0]) {
            let common = ["metadata.namespace", "metadata.labels.app.kubernetes.io/instance"];
            let kind = if common.contains(&field.1.as_str()) { "*" } else { field.0.split(' ').next().unwrap_or("") };
            found.insert((format!("{kind} {}", field.1), values));
        }
    }
    found
}

/// The rows of the README's table under `heading`: the field and one value per column, the reason left out.
fn table(heading: &str, columns: usize) -> BTreeSet<(String, Vec<String>)> {
    let text = std::fs::read_to_string(k8s().join("README.md")).expect("k8s/README.md");
    let (_, section) = text.split_once(&format!("## {heading}\n")).unwrap_or_else(|| panic!("no section {heading}"));
    let section = section.split("\n## ").next().expect("a section");
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), columns + 2, "{row}");
        assert!(!cells[columns + 1].is_empty(), "no reason: {row}");
        (cells[0].trim_matches('`').to_owned(), cells[1..=columns].iter().map(|cell| (*cell).to_owned()).collect())
    })
    .collect()
}

#[track_caller]
fn assert_table(heading: &str, columns: &[Vec<Value>]) {
    let (written, real) = (table(heading, columns.len()), differences(columns));
    let missing: Vec<_> = real.difference(&written).collect();
    let wrong: Vec<_> = written.difference(&real).collect();
    assert!(missing.is_empty() && wrong.is_empty(), "{heading}\nmissing: {missing:#?}\nnot so: {wrong:#?}");
}

#[test]
fn the_readme_tells_exactly_what_differs_between_environments() {
    assert_table("What differs between environments", &ENVIRONMENTS.map(|name| environment(name, false)));
}

#[test]
fn the_readme_tells_exactly_what_the_pace_changes() {
    assert_table("What the pace changes", &[environment("dev", false), environment("dev", true)]);
}
