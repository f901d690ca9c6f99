use serde_json::json;

use super::*;
use crate::cluster::DeleteOptions;
use crate::controllers::deployment::DEPLOYMENTS;
use crate::controllers::lab::{Lab, deployment};

fn lab_with_namespace() -> Lab {
    let mut lab = Lab::new();
    lab.create(NAMESPACES, json!({ "metadata": { "name": "team" }, "spec": { "finalizers": ["kubernetes"] } }));
    lab.settle();
    lab
}

#[test]
fn a_namespace_is_furnished_and_furnished_again() {
    let mut lab = lab_with_namespace();
    let map = lab.cluster.get(CONFIG_MAPS, "team", ROOT_CA).expect("the CA of the cluster");
    assert_eq!(map["data"]["ca.crt"], "CA");
    lab.delete(CONFIG_MAPS, "team", ROOT_CA, DeleteOptions::default());
    lab.delete(SERVICE_ACCOUNTS, "team", "default", DeleteOptions::default());
    lab.settle();
    assert!(lab.cluster.get(CONFIG_MAPS, "team", ROOT_CA).is_some());
    assert!(lab.cluster.get(SERVICE_ACCOUNTS, "team", "default").is_some());
}

#[test]
fn a_deleted_namespace_goes_with_all_that_is_in_it() {
    let mut lab = lab_with_namespace();
    let mut web = deployment(2);
    web["metadata"]["namespace"] = json!("team");
    lab.create(DEPLOYMENTS, web);
    lab.run(4, |_| {});
    lab.delete(NAMESPACES, "", "team", DeleteOptions::default());
    lab.settle();
    let going = lab.cluster.get(NAMESPACES, "", "team").expect("its pods take a while");
    assert_eq!(going["status"]["phase"], "Terminating");
    let remaining = object::condition(&going, "NamespaceContentRemaining").unwrap();
    assert_eq!(remaining["message"], "Some resources are remaining: pods. has 2 resource instances");
    lab.run(3, |_| {});
    assert!(lab.cluster.get(NAMESPACES, "", "team").is_none());
    for resource in ["pods", "events", DEPLOYMENTS, CONFIG_MAPS] {
        assert!(lab.cluster.list(resource, Some("team")).items.is_empty(), "{resource}");
    }
}

#[test]
fn what_a_finalizer_holds_keeps_the_namespace_and_is_named() {
    let mut lab = lab_with_namespace();
    lab.create(CONFIG_MAPS, json!({ "metadata": { "name": "held", "namespace": "team", "finalizers": ["a.b/c"] } }));
    lab.delete(NAMESPACES, "", "team", DeleteOptions::default());
    lab.run(2, |_| {});
    let held = lab.cluster.get(NAMESPACES, "", "team").expect("something holds it");
    let reason = object::condition(&held, "NamespaceFinalizersRemaining").unwrap();
    let expected = "Some content in the namespace has finalizers remaining: a.b/c in 1 resource instances";
    assert_eq!(reason["message"], expected);
    let patch = crate::cluster::Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    let writer = crate::cluster::Writer::controller("test");
    lab.cluster.patch(CONFIG_MAPS, "team", "held", patch, crate::cluster::Part::Object, &writer).unwrap();
    lab.settle();
    assert!(lab.cluster.get(NAMESPACES, "", "team").is_none());
}
