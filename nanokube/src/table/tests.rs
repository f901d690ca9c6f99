//! Cells by hand-made cases, and columns and rows beside those of a real API server.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::recorded;

fn now() -> Timestamp {
    "2026-11-23T20:00:00Z".parse().unwrap()
}

fn cells(resource: &str, object: Value) -> Vec<Value> {
    let table = Printer::built_in(resource).table(&[Arc::new(object)], IncludeObject::None, now(), &json!({}));
    table["rows"][0]["cells"].as_array().unwrap().clone()
}

fn pod(status: Value) -> Value {
    json!({
        "metadata": { "name": "p", "creationTimestamp": "2026-11-23T19:59:00Z" },
        "spec": { "containers": [{ "name": "a" }, { "name": "b" }], "initContainers": [{ "name": "i" }] },
        "status": status
    })
}

/// READY, STATUS and RESTARTS.
fn check_pod(pod: Value, expected: [&str; 3]) {
    let shown = format!("{pod}");
    assert_eq!(cells("pods", pod)[1..4], expected.map(Value::from), "{shown}");
}

#[test]
fn durations_get_coarser_with_their_length() {
    let cases = [
        (-2, "<invalid>"),
        (-1, "0s"),
        (119, "119s"),
        (120, "2m"),
        (121, "2m1s"),
        (600, "10m"),
        (10_800, "3h"),
        (10_860, "3h1m"),
        (28_860, "8h"),
        (172_800, "2d"),
        (176_400, "2d1h"),
        (691_200, "8d"),
        (2 * 365 * 86_400, "2y"),
        (3 * 365 * 86_400 + 86_400, "3y1d"),
        (9 * 365 * 86_400, "9y"),
    ];
    for (seconds, text) in cases {
        assert_eq!(human_duration(seconds), text, "{seconds} s");
    }
}

#[test]
fn the_state_of_a_pod_is_one_word() {
    let ran = |exit: i64, reason: &str| json!({ "terminated": { "exitCode": exit, "reason": reason } });
    let running = || json!({ "running": {} });
    let both = |a: Value, b: Value| {
        pod(json!({ "phase": "Running", "containerStatuses": [
            { "name": "a", "state": a, "ready": true, "restartCount": 2,
              "lastState": { "terminated": { "finishedAt": "2026-11-23T19:55:00Z" } } },
            { "name": "b", "state": b, "ready": true, "restartCount": 1 }] }))
    };
    check_pod(pod(json!({ "phase": "Pending" })), ["0/2", "Pending", "0"]);
    check_pod(pod(json!({ "phase": "Failed", "reason": "Evicted" })), ["0/2", "Evicted", "0"]);
    check_pod(both(running(), running()), ["2/2", "Running", "3 (5m ago)"]);
    check_pod(
        both(json!({ "waiting": { "reason": "CrashLoopBackOff" } }), running()),
        ["1/2", "CrashLoopBackOff", "3 (5m ago)"],
    );
    check_pod(both(ran(0, "Completed"), running()), ["1/2", "NotReady", "3 (5m ago)"]);
    check_pod(both(ran(3, "Error"), running()), ["1/2", "Error", "3 (5m ago)"]);
    check_pod(both(ran(0, "Completed"), ran(3, "Error")), ["0/2", "Error", "3 (5m ago)"]);
    check_pod(both(ran(7, ""), running()), ["1/2", "ExitCode:7", "3 (5m ago)"]);
    check_pod(
        both(json!({ "terminated": { "exitCode": 137, "signal": 9 } }), running()),
        ["1/2", "Signal:9", "3 (5m ago)"],
    );
    let mut deleting = both(running(), running());
    deleting["metadata"]["deletionTimestamp"] = json!("2026-11-23T20:00:30Z");
    check_pod(deleting, ["2/2", "Terminating", "3 (5m ago)"]);
}

#[test]
fn a_pod_whose_init_containers_are_not_done_says_so() {
    let init = |state: Value| {
        pod(json!({ "phase": "Pending",
            "initContainerStatuses": [{ "name": "i", "state": state, "restartCount": 4 }],
            "containerStatuses": [{ "name": "a", "state": { "waiting": { "reason": "PodInitializing" } } }] }))
    };
    check_pod(init(json!({ "running": {} })), ["0/2", "Init:0/1", "4"]);
    check_pod(init(json!({ "waiting": { "reason": "CrashLoopBackOff" } })), ["0/2", "Init:CrashLoopBackOff", "4"]);
    check_pod(init(json!({ "terminated": { "exitCode": 2 } })), ["0/2", "Init:ExitCode:2", "4"]);
    check_pod(init(json!({ "terminated": { "exitCode": 0 } })), ["0/2", "PodInitializing", "0"]);
}

#[test]
fn autoscaler_targets_pair_metrics_with_statuses() {
    let hpa = |metrics: Value, current: Value| {
        let spec = json!({ "scaleTargetRef": { "kind": "Deployment", "name": "w" }, "maxReplicas": 5,
            "metrics": metrics });
        let object = json!({ "metadata": { "name": "h" }, "spec": spec, "status": { "currentMetrics": current } });
        cells("horizontalpodautoscalers.autoscaling", object)[2].as_str().unwrap().to_string()
    };
    let cpu = json!({ "type": "Resource", "resource": { "name": "cpu", "target": { "averageUtilization": 50 } } });
    let rps = json!({ "type": "Pods", "pods": { "target": { "averageValue": "1" } } });
    let queue = json!({ "type": "External", "external": { "target": { "averageValue": "30" } } });
    let cpu_now = json!({ "type": "Resource", "resource": { "current": { "averageUtilization": 37 } } });
    assert_eq!(hpa(json!([]), Value::Null), "<none>");
    assert_eq!(hpa(json!([cpu]), Value::Null), "cpu: <unknown>/50%");
    assert_eq!(hpa(json!([cpu]), json!([cpu_now])), "cpu: 37%/50%");
    assert_eq!(hpa(json!([queue]), Value::Null), "<unknown>/30 (avg)");
    let rps_now = json!({ "pods": { "current": { "averageValue": "500m" } } });
    assert_eq!(hpa(json!([rps, rps, cpu]), json!([rps_now, rps_now])), "500m/1, 500m/1 + 1 more...");
}

#[test]
fn services_show_addresses_and_ports() {
    let service = |spec: Value| cells("services", json!({ "metadata": { "name": "s" }, "spec": spec }))[1..5].to_vec();
    let ports = json!([{ "port": 80, "protocol": "TCP", "nodePort": 30_080 }, { "port": 53, "protocol": "UDP" }]);
    assert_eq!(
        service(json!({ "type": "NodePort", "clusterIPs": ["127.1.2.3"], "ports": ports })),
        ["NodePort", "127.1.2.3", "<none>", "80:30080/TCP,53/UDP"].map(Value::from)
    );
    assert_eq!(
        service(json!({ "type": "LoadBalancer", "ports": [] })),
        ["LoadBalancer", "<none>", "<pending>", "<none>"].map(Value::from)
    );
    assert_eq!(
        service(json!({ "type": "ExternalName", "externalName": "example.com" })),
        ["ExternalName", "<none>", "example.com", "<none>"].map(Value::from)
    );
}

#[test]
fn a_watch_sends_column_definitions_once() {
    let printer = Printer::built_in("configmaps");
    let object = json!({ "metadata": { "name": "c", "resourceVersion": "7" }, "data": { "a": "b" } });
    let first = printer.event(&object, IncludeObject::Metadata, now(), true);
    assert_eq!(first["columnDefinitions"][1]["name"], "Data");
    assert_eq!(first["metadata"], json!({ "resourceVersion": "7" }));
    assert_eq!(first["rows"][0]["object"]["metadata"]["name"], "c");
    let second = printer.event(&object, IncludeObject::Object, now(), false);
    assert_eq!(second["columnDefinitions"], Value::Null);
    assert_eq!(second["rows"][0], json!({ "cells": ["c", 1, "<unknown>"], "object": object }));
}

#[test]
fn a_bookmark_is_a_row_of_nothing() {
    let bookmark = json!({ "kind": "ConfigMap", "metadata": { "resourceVersion": "489" } });
    let event = Printer::built_in("configmaps").event(&bookmark, IncludeObject::Metadata, now(), false);
    assert_eq!(event["rows"][0]["cells"], json!(["", 0, "<unknown>"]));
    assert_eq!(event["rows"][0]["object"]["metadata"], json!({ "resourceVersion": "489" }));
}

#[test]
fn custom_resources_show_what_their_definition_asks_for() {
    let columns = [
        (".spec.replicas", "integer"),
        (".status.conditions[?(@.type==\"Ready\")].status", "string"),
        (".metadata.labels.app\\.kubernetes\\.io/name", "string"),
        (".spec.ports[*].port", "number"),
        (".spec.list[-1]", "string"),
        (".metadata.creationTimestamp", "date"),
        (".spec.nope", "string"),
        (".spec.ports", "string"),
    ];
    let columns: Vec<Value> =
        columns.iter().map(|(path, kind)| json!({ "name": path, "type": kind, "jsonPath": path })).collect();
    let definition = json!({ "spec": { "versions": [{ "name": "v1", "additionalPrinterColumns": columns }] } });
    let object = json!({
        "metadata": { "name": "w", "creationTimestamp": "2026-11-23T19:59:00Z",
            "labels": { "app.kubernetes.io/name": "lab" } },
        "spec": { "replicas": 3, "ports": [{ "port": 80 }], "list": ["x", "y"] },
        "status": { "conditions": [{ "type": "Old", "status": "True" }, { "type": "Ready", "status": "False" }] }
    });
    let table = Printer::custom(&definition, "v1").table(&[Arc::new(object)], IncludeObject::None, now(), &json!({}));
    let expected = json!(["w", 3, "False", "lab", 80.0, "y", "60s", null, "[{\"port\":80}]"]);
    assert_eq!(table["rows"][0]["cells"], expected);
    assert_eq!(table["rows"][0]["object"], Value::Null);
}

#[test]
fn broken_paths_show_nothing() {
    for path in ["", ".", "..", "[", ".a[", ".a[?(", ".a[?(@.b=c)]", ".a[x]", "[99999999999999999999]", ".a[-9]"] {
        let columns = json!([{ "name": "x", "type": "string", "jsonPath": path }]);
        let definition = json!({ "spec": { "versions": [{ "name": "v1", "additionalPrinterColumns": columns }] } });
        let object = Arc::new(json!({ "a": ["b"] }));
        let table = Printer::custom(&definition, "v1").table(&[object], IncludeObject::None, now(), &json!({}));
        assert_eq!(table["rows"][0]["cells"][1], Value::Null, "{path}");
    }
}

#[test]
fn an_empty_list_of_a_kind_without_columns_has_null_rows() {
    assert_eq!(
        Printer::built_in("limitranges").table(&[], IncludeObject::None, now(), &json!({}))["rows"],
        Value::Null
    );
    assert_eq!(Printer::built_in("pods").table(&[], IncludeObject::None, now(), &json!({}))["rows"], json!([]));
}

/// The resource that a recording shows.
fn resource_of(recording: &str) -> Option<&'static str> {
    let short = match recording {
        "hpa-v1" | "hpa-v2" => "horizontalpodautoscalers",
        "crds" => "customresourcedefinitions",
        "events-v1" => "events",
        "scale-deploy" => "scale.autoscaling",
        "pdb" => "poddisruptionbudgets",
        "pv" => "persistentvolumes",
        "pvc" => "persistentvolumeclaims",
        other => other,
    };
    let known = column::KINDS.iter().map(|(resource, ..)| *resource);
    let plain = ["customresourcedefinitions", "clusterroles", "roles", "limitranges"];
    known.chain(plain).find(|resource| resource.split('.').next() == Some(short) || *resource == short)
}

#[test]
fn columns_are_those_of_a_real_api_server() {
    for (name, table) in recorded::all("tables", "") {
        let Some(resource) = resource_of(&name) else {
            assert!(matches!(name.as_str(), "podmetrics" | "widgets"), "{name} is compared with nothing");
            continue;
        };
        let mut expected = table["columnDefinitions"].clone();
        for column in expected.as_array_mut().unwrap() {
            column["description"] = "".into();
        }
        let ours = Printer::built_in(resource).table(&[], IncludeObject::None, now(), &json!({}));
        assert_eq!(ours["columnDefinitions"], expected, "{name}");
        if table["rows"].as_array().is_none_or(Vec::is_empty) {
            assert_eq!(ours["rows"], table["rows"], "{name}");
        }
    }
}

/// Every recorded row whose object was recorded too (same uid and resourceVersion) shows the cells that the real
/// server printed, but for ages.
#[test]
fn cells_are_those_of_a_real_api_server() {
    let recordings = recorded::all("", "");
    let (mut objects, mut rows) = (BTreeMap::new(), Vec::new());
    for (_, recording) in &recordings {
        collect(recording, "", &mut objects, &mut rows);
    }
    let registry = crate::kind::Registry::built_in();
    let mut compared = BTreeSet::new();
    for row in rows {
        let Some((kind, object)) = identity(&row["object"]).and_then(|identity| objects.get(&identity)) else {
            continue;
        };
        let Some(kind) = registry.kinds().find(|entry| entry.kind == *kind) else { continue };
        if kind.kind == "HorizontalPodAutoscaler" && object["spec"]["metrics"].is_null() {
            continue;
        }
        let names = Printer::built_in(&kind.resource).columns;
        for ((cell, expected), column) in
            cells(&kind.resource, (*object).clone()).iter().zip(row["cells"].as_array().unwrap()).zip(names)
        {
            let timed = matches!(column.name.as_str(), "Age" | "Last Seen" | "First Seen" | "Duration");
            assert!(timed || cell == expected, "{}: {cell} is not {expected} in {row}", column.name);
        }
        compared.insert((kind.resource.clone(), row["object"]["metadata"]["uid"].to_string()));
    }
    assert!(compared.len() >= 15 || recordings.is_empty(), "only {} objects compared", compared.len());
}

type Identity = (String, String);

fn identity(object: &Value) -> Option<Identity> {
    let text = |field: &str| object["metadata"][field].as_str().map(str::to_string);
    Some((text("uid")?, text("resourceVersion")?))
}

/// Finds whole objects (by identity, with their kind) and rows of Tables anywhere in a recording.
fn collect<'a>(
    value: &'a Value,
    list_kind: &'a str,
    objects: &mut BTreeMap<Identity, (&'a str, &'a Value)>,
    rows: &mut Vec<&'a Value>,
) {
    match value {
        Value::Array(elements) => elements.iter().for_each(|element| collect(element, list_kind, objects, rows)),
        Value::Object(map) => {
            if value["cells"].is_array() {
                rows.push(value);
            }
            let kind = value["kind"].as_str().unwrap_or(list_kind.trim_end_matches("List"));
            let whole = value["spec"].is_object() || matches!(kind, "ConfigMap" | "Secret" | "Event" | "Endpoints");
            if let Some(identity) = identity(value).filter(|_| whole) {
                objects.insert(identity, (kind, value));
            }
            map.values().for_each(|inner| collect(inner, kind, objects, rows));
        }
        _ => {}
    }
}

/// Prints how long 10 000 pods take; the bound is wide, for loaded machines.
#[test]
fn ten_thousand_pods_are_printed_in_a_moment() {
    let status = json!({ "phase": "Running", "podIPs": [{ "ip": "127.1.2.3" }], "containerStatuses": [
        { "name": "a", "state": { "running": {} }, "ready": true, "restartCount": 0 }] });
    let mut object = pod(status);
    object["metadata"]["labels"] = json!({ "app": "web", "pod-template-hash": "5bc89f4b99" });
    let objects: Vec<Object> = (0..10_000).map(|_| Arc::new(object.clone())).collect();
    let started = std::time::Instant::now();
    let bytes = Printer::built_in("pods").table_bytes(&objects, IncludeObject::Metadata, now(), &json!({}));
    println!("{} bytes in {:?}", bytes.len(), started.elapsed());
    assert!(started.elapsed().as_secs() < 5);
}

#[test]
fn a_long_table_is_the_same_however_many_threads_print_it() {
    let pod = |index: usize| {
        let object = json!({ "metadata": { "name": format!("p{index}"), "labels": { "a": "b" } }, "spec": {} });
        std::sync::Arc::new(object)
    };
    let pods: Vec<crate::object::Object> = (0..super::SHARED_ROWS_MIN + 7).map(pod).collect();
    let printer = Printer::built_in("pods");
    let metadata = json!({ "resourceVersion": "1" });
    let now = Timestamp::UNIX_EPOCH;
    let rows = |pods: &[crate::object::Object]| -> Vec<Value> {
        let bytes = printer.table_bytes(pods, IncludeObject::Metadata, now, &metadata);
        let table: Value = serde_json::from_slice(&bytes).unwrap();
        table["rows"].as_array().unwrap().clone()
    };
    let (first, rest) = pods.split_at(super::SHARED_ROWS_MIN / 2);
    assert!(rows(&pods) == [rows(first), rows(rest)].concat());
}
