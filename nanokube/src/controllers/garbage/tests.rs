use serde_json::json;

use crate::cluster::{DeleteOptions, Propagation};
use crate::controllers::deployment::{DEPLOYMENTS, REPLICA_SETS};
use crate::controllers::lab::{Lab, deployment};
use crate::object;

fn lab_with_deployment() -> Lab {
    let mut lab = Lab::new();
    lab.create(DEPLOYMENTS, deployment(2));
    lab.run(4, |_| {});
    lab
}

fn by(propagation: Propagation) -> DeleteOptions {
    DeleteOptions { propagation: Some(propagation), ..DeleteOptions::default() }
}

#[test]
fn background_deletion_takes_all_dependents_with_it() {
    let mut lab = lab_with_deployment();
    lab.delete(DEPLOYMENTS, "default", "web", by(Propagation::Background));
    assert!(lab.find(DEPLOYMENTS, "web").is_none());
    lab.run(3, |_| {});
    assert!(lab.list(REPLICA_SETS).is_empty());
    assert!(lab.list("pods").is_empty());
}

#[test]
fn foreground_deletion_keeps_the_owner_until_its_dependents_are_gone() {
    let mut lab = lab_with_deployment();
    lab.delete(DEPLOYMENTS, "default", "web", by(Propagation::Foreground));
    lab.run(4, |lab| {
        let (owner, sets) = (lab.find(DEPLOYMENTS, "web"), lab.list(REPLICA_SETS));
        assert!(owner.is_some() || sets.is_empty(), "the owner went first");
        assert!(!sets.is_empty() || lab.list("pods").is_empty(), "the replica set went before its pods");
    });
    assert!(lab.find(DEPLOYMENTS, "web").is_none());
    assert!(lab.list("pods").is_empty());
}

#[test]
fn orphaning_leaves_the_dependents_and_cuts_them_loose() {
    let mut lab = lab_with_deployment();
    lab.delete(DEPLOYMENTS, "default", "web", by(Propagation::Orphan));
    lab.run(3, |_| {});
    assert!(lab.find(DEPLOYMENTS, "web").is_none());
    let sets = lab.list(REPLICA_SETS);
    assert_eq!(sets.len(), 1);
    assert!(object::array_at(&sets[0], "/metadata/ownerReferences").is_empty());
    assert_eq!(lab.active_pods().len(), 2);

    lab.create(DEPLOYMENTS, deployment(2));
    lab.run(3, |_| {});
    assert_eq!(lab.list(REPLICA_SETS).len(), 1, "the orphan is adopted again");
}

#[test]
fn an_object_lives_while_one_of_its_owners_does() {
    let mut lab = Lab::new();
    let owners: Vec<_> = ["one", "two"]
        .map(|name| lab.create("configmaps", json!({ "metadata": { "name": name } })))
        .iter()
        .map(|owner| {
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "name": object::name(owner), "uid": object::uid(owner) })
        })
        .collect();
    lab.create("secrets", json!({ "metadata": { "name": "s", "ownerReferences": owners } }));
    lab.settle();
    lab.delete("configmaps", "default", "one", DeleteOptions::default());
    lab.settle();
    assert_eq!(object::array_at(&lab.get("secrets", "s"), "/metadata/ownerReferences").len(), 1);
    lab.delete("configmaps", "default", "two", DeleteOptions::default());
    lab.settle();
    assert!(lab.find("secrets", "s").is_none());
}

#[test]
fn owners_that_never_were_are_gone_but_those_of_unknown_kinds_are_not() {
    let mut lab = Lab::new();
    for (name, api_version, kind) in [("gone", "v1", "ConfigMap"), ("unknown", "example.com/v1", "Widget")] {
        let owner = json!({ "apiVersion": api_version, "kind": kind, "name": "x", "uid": "no-such-uid" });
        lab.create("secrets", json!({ "metadata": { "name": name, "ownerReferences": [owner] } }));
    }
    lab.settle();
    assert!(lab.find("secrets", "gone").is_none());
    assert!(lab.find("secrets", "unknown").is_some());
}
