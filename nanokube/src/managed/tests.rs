use super::*;
use crate::kind::Registry;

fn writer(manager: &str) -> Writer {
    Writer::controller(manager)
}

fn at() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn deployment(image: &str, replicas: i64) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "web" },
        "spec": {
            "replicas": replicas,
            "template": { "spec": { "containers": [{ "name": "c", "image": image, "ports": [{ "containerPort": 80 }] }] } },
        },
    })
}

fn applied(manager: &str, live: Option<&Value>, config: &Value, force: bool) -> Result<Value, ApiError> {
    let registry = Registry::built_in();
    let kind = registry.resource("deployments.apps").unwrap();
    let writer = writer(manager);
    apply(&Write { kind, writer: &writer, part: Part::Object, now: at() }, live, config, force)
}

fn updated(manager: &str, live: &Value, mut new: Value) -> Value {
    let registry = Registry::built_in();
    let kind = registry.resource("deployments.apps").unwrap();
    let writer = writer(manager);
    track_update(&Write { kind, writer: &writer, part: Part::Object, now: at() }, Some(live), &mut new);
    new
}

fn owned_by(object: &Value, manager: &str) -> Value {
    let entries = object::array_at(object, "/metadata/managedFields");
    entries.iter().find(|entry| entry["manager"] == manager).map_or(Value::Null, |entry| entry["fieldsV1"].clone())
}

#[test]
fn an_applier_owns_what_it_names_with_defaulted_keys() {
    let live = applied("alice", None, &deployment("a", 1), false).unwrap();
    let container = json!({
        ".": {}, "f:image": {}, "f:name": {},
        "f:ports": { "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": { ".": {}, "f:containerPort": {} } },
    });
    let wanted = json!({ "f:spec": {
        "f:replicas": {},
        "f:template": { "f:spec": { "f:containers": { "k:{\"name\":\"c\"}": container } } },
    } });
    assert_eq!(owned_by(&live, "alice"), wanted);
}

#[test]
fn another_applier_conflicts_unless_it_forces() {
    let live = applied("alice", None, &deployment("a", 1), false).unwrap();
    let error = applied("bob", Some(&live), &deployment("b", 3), false).unwrap_err();
    assert_eq!(
        error.message,
        "Apply failed with 2 conflicts: conflicts with \"alice\":\n- .spec.replicas\n- \
         .spec.template.spec.containers[name=\"c\"].image"
    );
    let forced = applied("bob", Some(&live), &deployment("b", 1), true).unwrap();
    assert_eq!(forced["spec"]["template"]["spec"]["containers"][0]["image"], "b");
    assert!(owned_by(&forced, "alice").pointer("/f:spec/f:replicas").is_some(), "the same value is shared");
}

#[test]
fn a_field_that_its_only_owner_drops_is_removed() {
    let mut config = deployment("a", 1);
    config["spec"]["template"]["spec"]["containers"][0]["env"] = json!([{ "name": "A", "value": "1" }]);
    let live = applied("alice", None, &config, false).unwrap();
    let after = applied("alice", Some(&live), &deployment("a", 1), false).unwrap();
    assert!(after["spec"]["template"]["spec"]["containers"][0].get("env").is_none(), "{after:#}");
}

#[test]
fn an_update_takes_ownership_of_what_it_changes() {
    let live = applied("alice", None, &deployment("a", 1), false).unwrap();
    let mut new = live.clone();
    new["spec"]["replicas"] = 2.into();
    let live = updated("dave", &live, new);
    assert_eq!(owned_by(&live, "dave"), json!({ "f:spec": { "f:replicas": {} } }));
    let error = applied("alice", Some(&live), &deployment("a", 1), false).unwrap_err();
    assert_eq!(error.message, "Apply failed with 1 conflict: conflict with \"dave\" using apps/v1: .spec.replicas");
}

#[test]
fn the_same_apply_again_changes_nothing() {
    let live = applied("alice", None, &deployment("a", 1), false).unwrap();
    let again = applied("alice", Some(&live), &deployment("a", 1), false).unwrap();
    assert!(is_same(&live, &again));
}

#[test]
fn unknown_fields_are_refused_with_their_path() {
    let config = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" }, "dta": {} });
    let error = applied("alice", None, &config, false).unwrap_err();
    assert!(error.message.ends_with(".dta: field not declared in schema"), "{}", error.message);
}

#[test]
fn an_empty_list_of_managed_fields_clears_the_owners() {
    let live = applied("alice", None, &deployment("a", 1), false).unwrap();
    let mut new = live.clone();
    new["metadata"]["managedFields"] = json!([{}]);
    assert!(updated("bob", &live, new)["metadata"].get("managedFields").is_none());
}
