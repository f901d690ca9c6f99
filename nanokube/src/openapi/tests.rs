//! Documents have what clients look for, and refer to nothing that is not in them.

use serde_json::Value;

use super::*;

fn document(api_version: &str) -> Value {
    let group_version = GroupVersion::parse(api_version);
    let document = OpenApi::default().document(&Registry::built_in(), &group_version).unwrap();
    serde_json::from_slice(&document.body).unwrap()
}

/// Every `$ref` in a value.
fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get("$ref").and_then(Value::as_str));
            map.values().for_each(|inner| references(inner, found));
        }
        Value::Array(list) => list.iter().for_each(|inner| references(inner, found)),
        _ => {}
    }
}

#[test]
fn every_document_of_the_index_is_complete_in_itself() {
    let (registry, openapi) = (Registry::built_in(), OpenApi::default());
    let mut total = 0;
    for (path, entry) in openapi.index(&registry)["paths"].as_object().unwrap() {
        let version = GroupVersion::parse(path.trim_start_matches("apis/").trim_start_matches("api/"));
        let document = openapi.document(&registry, &version).unwrap();
        total += document.body.len();
        assert!(entry["serverRelativeURL"].as_str().unwrap().ends_with(&format!("{path}?hash={}", document.hash)));
        let body: Value = serde_json::from_slice(&document.body).unwrap();
        let mut found = Vec::new();
        references(&body, &mut found);
        for reference in found {
            let pointer = reference.trim_start_matches('#').to_string();
            assert!(body.pointer(&pointer).is_some_and(Value::is_object), "{path}: {reference}");
        }
    }
    assert!(total < 1 << 20, "{total} bytes of documents");
    assert!(openapi.document(&registry, &GroupVersion::new("apps", "v9")).is_none());
}

#[test]
fn a_kind_has_a_patch_that_validates_fields() {
    let apps = document("apps/v1");
    let item = &apps["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"];
    let of_kind = json!({ "group": "apps", "version": "v1", "kind": "Deployment" });
    assert_eq!(item["patch"]["x-kubernetes-group-version-kind"], of_kind);
    let parameters = item["patch"]["parameters"].as_array().unwrap();
    assert!(parameters.iter().any(|parameter| parameter["name"] == "fieldValidation"));
    let schema = &apps["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"];
    assert_eq!(schema["x-kubernetes-group-version-kind"], json!([of_kind]));
    let strategy = &apps["components"]["schemas"]["io.k8s.api.apps.v1.DeploymentStrategy"]["properties"]["type"];
    assert_eq!(strategy["enum"], json!(["Recreate", "RollingUpdate"]));
}

#[test]
fn a_definition_becomes_a_document_and_changes_its_hash() {
    let registry = |kind: &str| {
        let schema = json!({ "type": "object", "properties": { "spec": { "type": kind } } });
        let version = json!({ "name": "v1", "schema": { "openAPIV3Schema": schema } });
        let definition = json!({ "spec": { "versions": [version] } });
        let mut registry = Registry::default();
        let mut widget = (**Registry::built_in().resource("configmaps").unwrap()).clone();
        widget.resource = "widgets.example.com".into();
        widget.plural = "widgets".into();
        widget.kind = "Widget".into();
        widget.served = vec![GroupVersion::new("example.com", "v1")];
        widget.definition = Some(Arc::new(definition));
        registry.insert(widget);
        registry
    };
    let (openapi, version) = (OpenApi::default(), GroupVersion::new("example.com", "v1"));
    let first = openapi.document(&registry("object"), &version).unwrap();
    let body: Value = serde_json::from_slice(&first.body).unwrap();
    let schema = &body["components"]["schemas"]["com.example.v1.Widget"];
    assert_eq!(schema["properties"]["spec"]["type"], "object");
    assert!(schema["properties"]["metadata"]["$ref"].is_string());
    assert_eq!(openapi.document(&registry("object"), &version).unwrap().hash, first.hash);
    assert_ne!(openapi.document(&registry("string"), &version).unwrap().hash, first.hash);
}

/// The inner bytes of each field of this number in a message of length-delimited fields.
fn fields(message: &[u8], wanted: u64) -> Vec<&[u8]> {
    let (mut rest, mut found) = (message, Vec::new());
    let number = |rest: &mut &[u8]| {
        let (mut value, mut shift) = (0u64, 0);
        loop {
            let (byte, after) = rest.split_first().unwrap();
            *rest = after;
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return value;
            }
        }
    };
    while !rest.is_empty() {
        let tag = number(&mut rest);
        assert_eq!(tag & 7, 2);
        let length = usize::try_from(number(&mut rest)).unwrap();
        let (inner, after) = rest.split_at(length);
        if tag >> 3 == wanted {
            found.push(inner);
        }
        rest = after;
    }
    found
}

#[test]
fn version_2_defines_every_kind_and_its_patch() {
    let document = OpenApi::default().version2(&Registry::built_in());
    assert_eq!(fields(&document.body, 1), [b"2.0"]);
    let definitions = fields(fields(&document.body, 9)[0], 1);
    let names: Vec<&[u8]> = definitions.iter().map(|definition| fields(definition, 1)[0]).collect();
    assert!(names.contains(&&b"io.k8s.api.apps.v1.Deployment"[..]));
    let deployment = definitions.iter().find(|definition| fields(definition, 1)[0].ends_with(b".apps.v1.Deployment"));
    let extensions = fields(fields(deployment.unwrap(), 2)[0], 31);
    let of_kind = br#"[{"group":"apps","kind":"Deployment","version":"v1"}]"#;
    assert!(extensions.iter().any(|extension| extension.trim_ascii_end().ends_with(of_kind)));
    assert!(fields(fields(&document.body, 8)[0], 2).len() > 20);
}
