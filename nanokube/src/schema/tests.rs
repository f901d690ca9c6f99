//! The table beside the facts of the types it came from.

use super::*;
use crate::recorded;

fn field(type_name: &str, json_name: &str) -> &'static Field {
    schema().named(type_name).unwrap().field(json_name).unwrap()
}

#[test]
fn kinds_are_found_by_api_version_and_kind() {
    for (api_version, kind) in [
        ("v1", "Pod"),
        ("apps/v1", "Deployment"),
        ("autoscaling/v1", "HorizontalPodAutoscaler"),
        ("autoscaling/v2", "HorizontalPodAutoscaler"),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
        ("apiregistration.k8s.io/v1", "APIService"),
    ] {
        let found = schema().kind(api_version, kind).unwrap();
        assert_eq!(found.short_name(), kind);
        assert!(found.field("metadata").is_some() && found.field("apiVersion").is_some());
    }
    assert!(schema().kind("v1", "Deployment").is_none());
}

#[test]
fn inlined_fields_are_found_by_their_json_name() {
    assert!(matches!(field("core/v1.Volume", "emptyDir").shape, Shape::Struct(_)));
    assert!(matches!(field("core/v1.Probe", "httpGet").shape, Shape::Struct(_)));
    assert_eq!(schema().named("core/v1.Volume").unwrap().numbered(2).unwrap().name, "");
}

#[test]
fn lists_know_how_they_are_merged() {
    let ports = field("core/v1.Container", "ports");
    assert_eq!((ports.patch_merge, ports.patch_key.as_str(), ports.list), (true, "containerPort", ListKind::Map));
    assert_eq!(ports.list_keys, ["containerPort", "protocol"]);
    assert_eq!(field("core/v1.ContainerPort", "protocol").default, "\"TCP\"");
    let finalizers = field("meta/v1.ObjectMeta", "finalizers");
    assert_eq!((finalizers.patch_merge, finalizers.patch_key.as_str(), finalizers.list), (true, "", ListKind::Set));
    assert_eq!(field("core/v1.PodSpec", "tolerations").list, ListKind::Atomic);
    assert!(field("apps/v1.DeploymentSpec", "strategy").patch_retain_keys);
    assert!(schema().named("meta/v1.LabelSelector").unwrap().atomic);
}

#[test]
fn every_type_that_a_field_names_is_in_the_table() {
    for kind in schema().types() {
        for field in kind.fields() {
            let any = matches!(field.shape, Shape::Scalar(Scalar::Json)) && field.name != "cells";
            assert!(!any || kind.name == "apiextensions/v1.JSONSchemaProps", "{}.{}", kind.name, field.name);
        }
    }
}

#[test]
fn numbers_and_pointers_are_those_of_the_recorded_facts() {
    let Some((_, facts)) = recorded::all("", "protobuf-schema").pop() else { return };
    let mut compared = 0;
    for (name, fields) in facts["messages"].as_object().unwrap() {
        let Some(ours) = schema().named(name) else { continue };
        for (number, fact) in fields.as_object().unwrap() {
            let field = ours.numbered(number.parse().unwrap()).unwrap_or_else(|| panic!("{name} has no {number}"));
            let flags = fact[2].as_str().unwrap();
            assert!(field.inline || field.name == fact[0].as_str().unwrap(), "{name} {number}");
            assert_eq!(field.pointer, flags.contains('p'), "{name}.{}", field.name);
            assert_eq!(field.omit_empty, flags.contains('o'), "{name}.{}", field.name);
            compared += 1;
        }
    }
    assert!(compared > 1200, "only {compared} fields compared");
}

#[test]
fn merge_markers_are_those_of_the_recorded_facts() {
    let Some((_, facts)) = recorded::all("", "merge-markers").pop() else { return };
    let mut compared = 0;
    for kind in schema().types() {
        let Some(fact) = facts.get(kind.short_name()) else { continue };
        for (name, markers) in fact.as_object().unwrap().iter().filter(|(name, _)| *name != "<self>") {
            let Some(field) = kind.field(name) else { continue };
            let text = |key: &str| markers[key].as_str().unwrap_or_default();
            assert_eq!(field.patch_key, text("patch-merge-key"), "{}.{name}", kind.name);
            let list = match text("list-type") {
                "set" => ListKind::Set,
                "map" => ListKind::Map,
                _ => ListKind::Atomic,
            };
            assert_eq!(field.list, list, "{}.{name}", kind.name);
            compared += 1;
        }
    }
    assert!(compared > 150, "only {compared} fields compared");
}
