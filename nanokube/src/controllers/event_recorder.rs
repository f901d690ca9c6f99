//! Recording events as client-go's recorder does: an event that was seen before only counts up; more than ten that
//! differ in their message alone are combined; and one source may tell at most 25 at once about one object, then one
//! every five minutes.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::action::Event;
use super::events::EVENTS;
use super::time::plus_s;
use crate::cluster::{Cluster, Part, Patch, Writer};
use crate::object;
use crate::status::ApiError;

/// Objects, groups and events remembered, each; past it everything is forgotten and counting starts anew.
const MEMORY_MAX: usize = 4096;
const NAME_ATTEMPTS: usize = 8;
const SIMILAR_MAX: usize = 10;
const SIMILAR_WINDOW_S: i64 = 600;
const BURST: f64 = 25.0;
const REFILL_S: f64 = 300.0;

/// Where events are stored: the cluster we live in, or another one.
pub trait EventSink {
    fn create(&self, namespace: &str, event: Value, writer: &Writer) -> Result<(), ApiError>;
    fn merge(&self, namespace: &str, name: &str, changes: Value, writer: &Writer) -> Result<(), ApiError>;
}

impl EventSink for Cluster {
    fn create(&self, namespace: &str, event: Value, writer: &Writer) -> Result<(), ApiError> {
        self.create(EVENTS, namespace, event, writer).map(drop)
    }

    fn merge(&self, namespace: &str, name: &str, changes: Value, writer: &Writer) -> Result<(), ApiError> {
        self.patch(EVENTS, namespace, name, Patch::Merge(changes), Part::Object, writer).map(drop)
    }
}

#[derive(Debug, Default)]
pub struct EventRecorder {
    /// Stored events by all that identifies them.
    seen: HashMap<String, Seen>,
    /// Messages of events that differ in nothing else.
    similar: HashMap<String, Similar>,
    /// Tokens left to tell about an object.
    tokens: HashMap<String, (f64, Timestamp)>,
    last_name: i64,
    /// Where the source is, if it is at one place only: a node's kubelet.
    host: &'static str,
}

#[derive(Debug)]
struct Seen {
    name: String,
    count: i64,
}

#[derive(Debug)]
struct Similar {
    messages: HashSet<String>,
    last: Timestamp,
}

impl EventRecorder {
    /// Of a source that is on a node.
    pub fn on(host: &'static str) -> EventRecorder {
        EventRecorder { host, ..EventRecorder::default() }
    }

    /// Records an event; a failure is not worth more than a line in the log.
    pub fn record(&mut self, sink: &impl EventSink, mut event: Event, now: Timestamp) {
        if self.seen.len() > MEMORY_MAX || self.similar.len() > MEMORY_MAX || self.tokens.len() > MEMORY_MAX {
            *self = EventRecorder { last_name: self.last_name, ..EventRecorder::on(self.host) };
        }
        let subject = subject(&event);
        let group = format!("{subject}|{}|{}", event.kind.as_str(), event.reason);
        if self.is_similar(&group, &event.message, now) {
            event.message = format!("(combined from similar events): {}", event.message);
        }
        if !self.may_tell(&subject, now) {
            return;
        }
        let key = if event.message.starts_with("(combined") { group } else { format!("{group}|{}", event.message) };
        let writer = Writer::controller(manager(event.component));
        if event.action.is_none() && self.count_up(sink, &key, &event, now, &writer) {
            return;
        }
        if let Some(name) = self.create(sink, &event, now, &writer) {
            self.seen.insert(key, Seen { name, count: 1 });
        }
    }

    /// Stores a new event and returns its name. Another recorder may have taken the name at the very same instant.
    fn create(&mut self, sink: &impl EventSink, event: &Event, now: Timestamp, writer: &Writer) -> Option<String> {
        for _ in 0..NAME_ATTEMPTS {
            let name = self.name(event, now);
            match sink.create(namespace_of(event), body(event, &name, self.host, now), writer) {
                Ok(()) => return Some(name),
                Err(error) if error.is_already_exists() => {}
                Err(error) => {
                    if !error.message.contains("is being terminated") && !error.is_not_found() {
                        eprintln!(
                            "controllers: event {} about {}: {}",
                            event.reason, event.regarding.name, error.message
                        );
                    }
                    return None;
                }
            }
        }
        None
    }

    fn is_similar(&mut self, group: &str, message: &str, now: Timestamp) -> bool {
        let similar = self.similar.entry(group.to_owned()).or_insert(Similar { messages: HashSet::new(), last: now });
        if plus_s(similar.last, SIMILAR_WINDOW_S) < now {
            similar.messages.clear();
        }
        similar.last = now;
        if similar.messages.len() < SIMILAR_MAX {
            similar.messages.insert(message.to_owned());
        }
        similar.messages.len() >= SIMILAR_MAX
    }

    fn may_tell(&mut self, subject: &str, now: Timestamp) -> bool {
        let (tokens, last) = self.tokens.entry(subject.to_owned()).or_insert((BURST, now));
        let passed_s = now.duration_since(*last).as_secs_f64().max(0.0);
        *tokens = (*tokens + passed_s / REFILL_S).min(BURST);
        *last = now;
        let may = *tokens >= 1.0;
        if may {
            *tokens -= 1.0;
        }
        may
    }

    fn count_up(&mut self, sink: &impl EventSink, key: &str, event: &Event, now: Timestamp, writer: &Writer) -> bool {
        let Some(seen) = self.seen.get_mut(key) else { return false };
        seen.count += 1;
        let changes = json!({ "count": seen.count, "lastTimestamp": object::time(now), "message": event.message });
        if sink.merge(namespace_of(event), &seen.name, changes, writer).is_ok() {
            return true;
        }
        self.seen.remove(key);
        false
    }

    /// `<object>.<nanoseconds in hexadecimal>`, never the same twice.
    fn name(&mut self, event: &Event, now: Timestamp) -> String {
        let nanoseconds = i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX - 1);
        self.last_name = nanoseconds.max(self.last_name + 1);
        format!("{}.{:x}", event.regarding.name, self.last_name)
    }
}

fn subject(event: &Event) -> String {
    let regarding = &event.regarding;
    format!(
        "{}|{}|{}|{}|{}|{}",
        event.component, regarding.kind, regarding.namespace, regarding.name, regarding.uid, regarding.field_path
    )
}

fn namespace_of(event: &Event) -> &str {
    if event.regarding.namespace.is_empty() { "default" } else { &event.regarding.namespace }
}

fn manager(component: &str) -> &'static str {
    match component {
        "default-scheduler" => "kube-scheduler",
        "kubelet" => "kubelet",
        _ => "kube-controller-manager",
    }
}

fn body(event: &Event, name: &str, host: &str, now: Timestamp) -> Value {
    let mut body = json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": { "name": name, "namespace": namespace_of(event) },
        "involvedObject": event.regarding.to_value(),
        "reason": event.reason,
        "message": event.message,
        "type": event.kind.as_str(),
        "reportingComponent": event.component,
        "reportingInstance": host,
        "source": { "component": event.component },
        "firstTimestamp": object::time(now),
        "lastTimestamp": object::time(now),
        "count": 1,
        "eventTime": null,
    });
    if !host.is_empty() {
        body["source"]["host"] = host.into();
    }
    if let Some(action) = event.action {
        let map = object::map_mut(&mut body);
        map.remove("count");
        map.insert("action".to_owned(), json!(action));
        map.insert("source".to_owned(), json!({}));
        map.insert("firstTimestamp".to_owned(), Value::Null);
        map.insert("lastTimestamp".to_owned(), Value::Null);
        map.insert("eventTime".to_owned(), json!(object::micro_time(now)));
        map.insert("reportingInstance".to_owned(), json!(format!("{}-nanokube", event.component)));
    }
    body
}

#[cfg(test)]
mod tests;
