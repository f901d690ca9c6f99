use serde_json::json;

use super::*;

fn configmap(namespace: &str, name: &str, value: &str) -> Value {
    json!({ "metadata": { "namespace": namespace, "name": name }, "data": { "k": value } })
}

#[test]
fn every_write_gets_the_next_revision() {
    let store = Store::in_memory();
    let first = store.writing().put("configmaps", configmap("a", "x", "1")).unwrap();
    let second = store.writing().put("configmaps", configmap("a", "x", "2")).unwrap();
    assert_eq!(object::resource_version(&second), object::resource_version(&first) + 1);
    assert_eq!(store.revision(), object::resource_version(&second));
}

#[test]
fn a_list_is_ordered_by_namespace_and_name_and_bounded_by_the_namespace() {
    let store = Store::in_memory();
    for (namespace, name) in [("b", "1"), ("a", "2"), ("a", "1"), ("a-b", "1")] {
        store.writing().put("configmaps", configmap(namespace, name, "")).unwrap();
    }
    let names = |listing: Listing| -> Vec<String> {
        listing.items.iter().map(|o| format!("{}/{}", object::namespace(o), object::name(o))).collect()
    };
    assert_eq!(names(store.list("configmaps", Some("a"))), ["a/1", "a/2"]);
    assert_eq!(store.list("configmaps", None).items.len(), 4);
}

#[test]
fn a_watch_hands_out_each_change_once_and_in_order() {
    let store = Arc::new(Store::in_memory());
    let mut watch = store.watch("configmaps", Some("a"), 1).unwrap();
    store.writing().put("configmaps", configmap("a", "x", "1")).unwrap();
    store.writing().put("configmaps", configmap("b", "x", "1")).unwrap();
    let last = store.writing().put("configmaps", configmap("a", "x", "2")).unwrap();
    store.writing().remove("configmaps", &last).unwrap();
    let kinds: Vec<ChangeKind> = watch.pending().unwrap().iter().map(|change| change.kind).collect();
    assert_eq!(kinds, [ChangeKind::Added, ChangeKind::Modified, ChangeKind::Deleted]);
    assert!(watch.pending().unwrap().is_empty());
    assert_eq!(watch.position(), store.revision());
}

#[test]
fn a_watcher_that_falls_off_the_log_is_told_so() {
    let store = Arc::new(Store::in_memory());
    let mut watch = store.watch("configmaps", None, 1).unwrap();
    for round in 0..=LOG_LIMIT_CHANGES {
        store.writing().put("configmaps", configmap("a", "x", &round.to_string())).unwrap();
    }
    assert_eq!(watch.pending().unwrap_err().code, 410);
    assert_eq!(store.watch("configmaps", None, 1).unwrap_err().code, 410);
}

#[test]
fn a_cluster_without_space_refuses_new_objects_and_lets_those_it_has_change_and_go() {
    let store = Store::in_memory();
    let old = store.writing().put("configmaps", configmap("a", "x", "1")).unwrap();
    let empty = store.read().bytes;
    store.write().bytes = SPACE_LIMIT_BYTES;
    let refused = store.writing().put("configmaps", configmap("a", "y", "1")).unwrap_err();
    assert_eq!((refused.code, refused.reason), (507, "InsufficientStorage"));
    store.writing().put("configmaps", configmap("a", "x", "longer")).unwrap();
    store.writing().remove("configmaps", &old).unwrap();
    assert_eq!(store.read().bytes, SPACE_LIMIT_BYTES - empty, "what is gone takes nothing");
}

#[test]
fn an_earlier_list_is_rebuilt_from_the_log() {
    let store = Store::in_memory();
    let x = store.writing().put("configmaps", configmap("a", "x", "1")).unwrap();
    let then = store.revision();
    store.writing().remove("configmaps", &x).unwrap();
    store.writing().put("configmaps", configmap("a", "y", "1")).unwrap();
    let earlier = store.list_at("configmaps", Some("a"), then).unwrap();
    assert_eq!(earlier.items, [x]);
    assert_eq!(earlier.resource_version, then);
}

#[test]
fn a_snapshot_does_not_see_later_writes() {
    let store = Store::in_memory();
    store.writing().put("configmaps", configmap("a", "x", "1")).unwrap();
    let snapshot = store.snapshot();
    store.writing().put("configmaps", configmap("a", "y", "1")).unwrap();
    assert_eq!(snapshot.in_namespace("configmaps", "a").count(), 1);
    assert!(snapshot.get("configmaps", "a", "y").is_none());
}

#[test]
fn a_store_finds_after_a_restart_what_it_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let x = store.writing().put("configmaps", configmap("a", "x", "1")).unwrap();
    let y = store.writing().put("configmaps", configmap("a", "y", "1")).unwrap();
    store.writing().remove("configmaps", &x).unwrap();
    let revision = store.revision();
    drop(store);
    let store = Arc::new(Store::open(dir.path()).unwrap());
    assert_eq!(store.list("configmaps", None).items, [y]);
    assert_eq!(store.revision(), revision);
    assert!(store.watch("configmaps", None, revision).is_ok());
    assert_eq!(store.watch("configmaps", None, revision - 1).unwrap_err().code, 410);
    assert_eq!(store.watch("secrets", None, revision - 1).unwrap_err().code, 410);
}

#[test]
fn a_long_history_is_rewritten_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let filler = "x".repeat(100_000);
    for round in 0..120 {
        store.writing().put("configmaps", configmap("a", "x", &format!("{round}{filler}"))).unwrap();
    }
    let last = store.get("configmaps", "a", "x").unwrap();
    drop(store);
    assert!(std::fs::metadata(dir.path().join("journal")).unwrap().len() < 9 << 20);
    assert_eq!(Store::open(dir.path()).unwrap().get("configmaps", "a", "x").unwrap(), last);
}
