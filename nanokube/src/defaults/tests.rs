use super::*;

fn check(resource: &str, sent: Value, pointer: &str, wanted: Value) {
    let mut object = sent;
    apply(resource, &mut object);
    assert_eq!(object.pointer(pointer).cloned().unwrap_or(Value::Null), wanted, "{resource} {pointer} in {object:#}");
}

#[test]
fn a_deployment_rolls_by_quarters_unless_it_says_otherwise() {
    let sent = json!({ "spec": {} });
    check("deployments.apps", sent, "/spec/strategy/rollingUpdate/maxSurge", json!("25%"));
    let sent = json!({ "spec": { "strategy": { "rollingUpdate": { "maxSurge": 1 } } } });
    check("deployments.apps", sent.clone(), "/spec/strategy/rollingUpdate/maxSurge", json!(1));
    check("deployments.apps", sent, "/spec/strategy/rollingUpdate/maxUnavailable", json!("25%"));
    let sent = json!({ "spec": { "strategy": { "type": "Recreate" } } });
    check("deployments.apps", sent, "/spec/strategy/rollingUpdate", Value::Null);
}

#[test]
fn only_pods_copy_limits_to_requests() {
    let spec = json!({ "containers": [{ "name": "c", "image": "i", "resources": { "limits": { "cpu": 0.5 } } }] });
    let at = "/spec/containers/0/resources/requests/cpu";
    check("pods", json!({ "spec": spec }), at, json!("500m"));
    let template = json!({ "spec": { "template": { "spec": spec } } });
    check("deployments.apps", template, "/spec/template/spec/containers/0/resources/requests", Value::Null);
}

#[test]
fn images_without_a_tag_are_always_pulled() {
    for (image, policy) in [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1", "IfNotPresent"),
        ("localhost:5000/nginx", "Always"),
        ("nginx@sha256:00", "IfNotPresent"),
    ] {
        let sent = json!({ "spec": { "containers": [{ "image": image }] } });
        check("pods", sent, "/spec/containers/0/imagePullPolicy", json!(policy));
    }
}

#[test]
fn a_secret_keeps_its_string_data_encoded() {
    check("secrets", json!({ "stringData": { "a": "b" } }), "/data/a", json!("Yg=="));
    check("secrets", json!({ "stringData": { "a": "b" } }), "/stringData", Value::Null);
}

/// Every recorded creation, defaulted here and compared with what the real server answered.
#[test]
fn recorded_creations_get_the_defaults_of_the_real_server() {
    let mut compared = 0;
    for (name, exchanges) in crate::recorded::all("", "writes-workloads") {
        for exchange in exchanges.as_array().unwrap() {
            let label = exchange["label"].as_str().unwrap_or_default();
            if exchange["method"] != "POST" || exchange["status"] != 201 || !label.starts_with("DEFAULTS") {
                continue;
            }
            let answer = &exchange["response"];
            let mut object = exchange["body"].clone();
            for field in ["uid", "namespace", "creationTimestamp", "generation"] {
                let value = answer["metadata"][field].clone();
                if !value.is_null() {
                    object["metadata"][field] = value;
                }
            }
            let path = exchange["path"].as_str().unwrap();
            let plural = path.split('?').next().unwrap().rsplit('/').next().unwrap();
            let group = answer["apiVersion"].as_str().unwrap().rsplit_once('/').map(|(group, _)| group);
            let resource = group.map_or(plural.to_string(), |group| format!("{plural}.{group}"));
            if matches!(resource.as_str(), "pods" | "services" | "namespaces") {
                continue;
            }
            apply(&resource, &mut object);
            let mut wanted = answer.clone();
            object::remove(&mut wanted, &["metadata", "managedFields"]);
            assert_eq!(object, wanted, "{name}: {label}");
            compared += 1;
        }
    }
    assert!(compared > 5 || crate::recorded::folder().is_none(), "only {compared} recordings were compared");
}
