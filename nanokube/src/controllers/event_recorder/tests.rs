use serde_json::json;

use super::*;
use crate::controllers::action::EventKind;
use crate::controllers::lab::Lab;
use crate::object::ObjectReference;

fn event(name: &str, message: &str) -> Event {
    let about =
        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "namespace": "default", "uid": name } });
    Event {
        regarding: ObjectReference::of(&about),
        kind: EventKind::Normal,
        reason: "Tested".into(),
        message: message.to_owned(),
        component: "tester",
        action: None,
    }
}

fn counts(lab: &Lab) -> Vec<(String, i64)> {
    let mut events = lab.list("events");
    events.sort_by_key(|event| object::str_at(event, "/metadata/name").to_owned());
    events.iter().map(|it| (object::str_at(it, "/message").to_owned(), object::i64_at(it, "/count").unwrap())).collect()
}

#[test]
fn the_same_event_again_only_counts_up() {
    let mut lab = Lab::new();
    let mut recorder = EventRecorder::default();
    for seconds in 0..3 {
        recorder.record(&lab.cluster, event("p", "hello"), lab.now());
        lab.skip(seconds);
    }
    assert_eq!(counts(&lab), [("hello".to_owned(), 3)]);
    let stored = &lab.list("events")[0];
    assert_eq!(stored["firstTimestamp"], "2026-01-01T00:00:00Z");
    assert_eq!(stored["lastTimestamp"], "2026-01-01T00:00:01Z");
    assert!(object::name(stored).starts_with("p.18"), "{}", object::name(stored));
}

#[test]
fn many_that_differ_in_their_message_alone_are_combined() {
    let lab = Lab::new();
    let mut recorder = EventRecorder::default();
    for number in 0..14 {
        recorder.record(&lab.cluster, event("p", &format!("message {number}")), lab.now());
    }
    let counts = counts(&lab);
    assert_eq!(counts.len(), 10);
    assert_eq!(counts[9], ("(combined from similar events): message 13".to_owned(), 5));
}

#[test]
fn one_source_may_not_flood_one_object() {
    let mut lab = Lab::new();
    let mut recorder = EventRecorder::default();
    for _ in 0..40 {
        recorder.record(&lab.cluster, event("p", "again"), lab.now());
    }
    recorder.record(&lab.cluster, event("q", "other"), lab.now());
    assert_eq!(counts(&lab), [("again".to_owned(), 25), ("other".to_owned(), 1)]);
    lab.skip(301);
    recorder.record(&lab.cluster, event("p", "again"), lab.now());
    recorder.record(&lab.cluster, event("p", "again"), lab.now());
    assert_eq!(counts(&lab)[0].1, 26);
}

#[test]
fn events_expire_an_hour_after_they_were_last_seen() {
    let mut lab = Lab::new();
    let mut recorder = EventRecorder::default();
    recorder.record(&lab.cluster, event("p", "hello"), lab.now());
    lab.skip(1800);
    recorder.record(&lab.cluster, event("p", "hello"), lab.now());
    lab.skip(3500);
    assert_eq!(lab.list("events").len(), 1);
    lab.skip(130);
    assert_eq!(lab.list("events").len(), 0);
}
