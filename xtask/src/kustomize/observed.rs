//! The manifests of `k8s/observed`: the same as kubectl's, restricted like the base, with the least rights and flows.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use super::manifests::k8s;
use super::{render, resource};

fn observed() -> Vec<Value> {
    render(&k8s().join("observed"), &[], &[]).expect("it renders")
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> impl Iterator<Item = &'a Value> {
    objects.iter().filter(move |object| object["kind"] == kind)
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().expect("a name")
}

#[test]
fn kubectl_renders_the_same_hashes_of_generated_names_included() {
    let Ok(output) = Command::new("kubectl").arg("kustomize").arg(k8s().join("observed")).output() else {
        eprintln!("kubectl is not installed: its rendering is not compared");
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let theirs = resource::documents(&String::from_utf8(output.stdout).expect("text")).expect("YAML");
    let key = |object: &Value| format!("{} {}", object["kind"], name(object));
    let sorted = |mut objects: Vec<Value>| {
        objects.sort_by_key(key);
        objects
    };
    let (ours, theirs) = (sorted(observed()), sorted(theirs));
    assert_eq!(ours.iter().map(key).collect::<Vec<_>>(), theirs.iter().map(key).collect::<Vec<_>>());
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs, "{}", key(ours));
    }
}

#[test]
fn images_of_others_are_pinned_by_version_and_digest() {
    let mut foreign = 0;
    for deployment in of_kind(&observed(), "Deployment") {
        let image = deployment["spec"]["template"]["spec"]["containers"][0]["image"].as_str().expect("an image");
        if image.starts_with("localhost/swell-") {
            continue;
        }
        foreign += 1;
        let (named, digest) = image.split_once("@sha256:").unwrap_or_else(|| panic!("{image} has no digest"));
        assert!(digest.len() == 64 && digest.chars().all(|c| c.is_ascii_hexdigit()), "{image}");
        let (_, tag) = named.rsplit_once(':').expect("a tag");
        let is_version = tag.trim_start_matches('v').split('.').all(|part| part.parse::<u32>().is_ok());
        assert!(is_version, "{image} is not pinned by its version");
    }
    assert_eq!(foreign, 3, "Prometheus, kube-state-metrics, Grafana");
}

#[test]
fn each_account_is_bound_to_rights_that_change_nothing() {
    let objects = observed();
    let accounts: BTreeSet<&str> = of_kind(&objects, "ServiceAccount").map(name).collect();
    let mut bound = BTreeSet::new();
    for kind in ["RoleBinding", "ClusterRoleBinding"] {
        for subject in of_kind(&objects, kind).flat_map(|it| it["subjects"].as_array().expect("subjects")) {
            assert_eq!(subject["namespace"], "swell-dev", "{subject}");
            bound.insert(subject["name"].as_str().expect("a name"));
        }
    }
    assert_eq!(accounts, bound);
    for kind in ["Role", "ClusterRole"] {
        for rule in of_kind(&objects, kind).flat_map(|role| role["rules"].as_array().expect("rules")) {
            let words = |field: &str| rule[field].as_array().into_iter().flatten().filter_map(Value::as_str);
            assert!(words("verbs").all(|verb| ["get", "list", "watch"].contains(&verb)), "{rule}");
            let closed = ["secrets", "nodes/proxy", "pods/exec", "*"];
            assert!(words("resources").all(|resource| !closed.contains(&resource)), "{rule}");
        }
    }
}

#[test]
fn dashboards_are_found_by_grafana_and_use_the_provisioned_data_source() {
    let objects = observed();
    let map = |prefix: &str| of_kind(&objects, "ConfigMap").find(|map| name(map).starts_with(prefix)).expect(prefix);
    let sources = map("swell-grafana-datasources")["data"]["datasources.yaml"].as_str().expect("text");
    let sources: Value = serde_yaml::from_str(sources).expect("YAML");
    let boards = map("swell-grafana-dashboards")["data"].as_object().expect("files");
    assert_eq!(boards.keys().collect::<Vec<_>>(), ["autoscaling.json", "load-run.json", "service.json"]);
    for (file, text) in boards {
        let board: Value = serde_json::from_str(text.as_str().expect("text")).expect(file);
        let mut ids = BTreeSet::new();
        for panel in board["panels"].as_array().expect("panels") {
            assert!(ids.insert(panel["id"].to_string()), "{file}: two panels {}", panel["id"]);
            assert_eq!(panel["datasource"]["uid"], sources["datasources"][0]["uid"], "{file}: {}", panel["title"]);
            assert!(panel["targets"].as_array().is_some_and(|it| !it.is_empty()), "{file}: {}", panel["title"]);
        }
    }
    // What a pod mounts exists under the name with its hash.
    let names: BTreeSet<&str> = of_kind(&objects, "ConfigMap").map(name).collect();
    for volume in of_kind(&objects, "Deployment")
        .flat_map(|it| it["spec"]["template"]["spec"]["volumes"].as_array().into_iter().flatten())
    {
        if let Some(mounted) = volume["configMap"]["name"].as_str() {
            assert!(names.contains(mounted), "{mounted} is not there");
        }
    }
}
