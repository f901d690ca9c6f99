//! What a controller asks for. A controller returns these values and writes nothing itself; the runner performs them
//! through the write path that API clients use. An event that can only be worded once the result is known (the name
//! behind `generateName`, the error of a refused write) travels with its action as an [`Announce`].

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::Value;

use crate::cluster::Part;
use crate::object::{self, ObjectReference};

/// One write that a controller wants to happen.
#[derive(Debug, Clone)]
pub enum Action {
    Create {
        resource: Cow<'static, str>,
        namespace: String,
        object: Value,
        announce: Option<Announce>,
    },
    /// A whole object as read plus changes; its `resourceVersion` makes a concurrent write a conflict.
    Update {
        resource: Cow<'static, str>,
        object: Value,
        part: Part,
    },
    /// A JSON merge patch.
    Patch {
        resource: Cow<'static, str>,
        namespace: String,
        name: String,
        patch: Value,
        part: Part,
    },
    Delete {
        resource: Cow<'static, str>,
        namespace: String,
        name: String,
        how: How,
        announce: Option<Announce>,
    },
    /// Assigns a pod to a node, as the scheduler's binding does.
    Bind {
        namespace: String,
        name: String,
        uid: String,
        node: String,
    },
    /// Empties a namespace's `spec.finalizers`, which removes it.
    Finalize {
        namespace: String,
    },
    Event(Event),
}

/// How to delete: the uid as precondition always, grace and propagation where they matter.
#[derive(Debug, Clone, Default)]
pub struct How {
    pub uid: Option<String>,
    pub resource_version: Option<String>,
    pub grace_s: Option<i64>,
    pub propagation: Option<&'static str>,
}

/// The event to record about `regarding` when an action is done or refused; `{}` stands for the object's name or the
/// error.
#[derive(Debug, Clone)]
pub struct Announce {
    pub regarding: ObjectReference,
    pub component: &'static str,
    pub done: (&'static str, String),
    pub failed: (&'static str, String),
}

impl Announce {
    /// What controllers of pods say about creating one.
    pub fn pod_created(owner: &Value, component: &'static str) -> Announce {
        Announce {
            regarding: ObjectReference::of(owner),
            component,
            done: ("SuccessfulCreate", "Created pod: {}".to_owned()),
            failed: ("FailedCreate", "Error creating: {}".to_owned()),
        }
    }

    /// What controllers of pods say about deleting one.
    pub fn pod_deleted(owner: &Value, component: &'static str) -> Announce {
        Announce {
            regarding: ObjectReference::of(owner),
            component,
            done: ("SuccessfulDelete", "Deleted pod: {}".to_owned()),
            failed: ("FailedDelete", "Error deleting: {}".to_owned()),
        }
    }
}

/// An event to be recorded, counted together with earlier equal ones.
#[derive(Debug, Clone)]
pub struct Event {
    pub regarding: ObjectReference,
    pub kind: EventKind,
    pub reason: Cow<'static, str>,
    pub message: String,
    pub component: &'static str,
    /// Set for reporters of the newer events API (the scheduler): what was done.
    pub action: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventKind {
    Normal,
    Warning,
}

impl EventKind {
    pub fn as_str(self) -> &'static str {
        match self {
            EventKind::Normal => "Normal",
            EventKind::Warning => "Warning",
        }
    }
}

/// What one look at the cluster led to.
#[derive(Debug, Default)]
pub struct Outcome {
    pub actions: Vec<Action>,
    /// When to look again although nothing changed.
    pub wake_at: Option<Timestamp>,
}

impl Outcome {
    pub fn push(&mut self, action: Action) {
        self.actions.push(action);
    }

    pub fn create(&mut self, resource: &'static str, namespace: &str, object: Value, announce: Option<Announce>) {
        self.push(Action::Create { resource: resource.into(), namespace: namespace.to_owned(), object, announce });
    }

    pub fn update(&mut self, resource: &'static str, object: Value) {
        self.push(Action::Update { resource: resource.into(), object, part: Part::Object });
    }

    pub fn update_status(&mut self, resource: &'static str, object: Value) {
        self.push(Action::Update { resource: resource.into(), object, part: Part::Status });
    }

    /// Merge-patches the main resource of `target`.
    pub fn patch(&mut self, resource: impl Into<Cow<'static, str>>, target: &Value, patch: Value) {
        self.push(Action::Patch {
            resource: resource.into(),
            namespace: object::namespace(target).to_owned(),
            name: object::name(target).to_owned(),
            patch,
            part: Part::Object,
        });
    }

    /// Deletes exactly `target` (its uid is a precondition).
    pub fn delete(&mut self, resource: impl Into<Cow<'static, str>>, target: &Value, announce: Option<Announce>) {
        self.delete_how(resource, target, How::default(), announce);
    }

    pub fn delete_how(
        &mut self,
        resource: impl Into<Cow<'static, str>>,
        target: &Value,
        how: How,
        announce: Option<Announce>,
    ) {
        self.push(Action::Delete {
            resource: resource.into(),
            namespace: object::namespace(target).to_owned(),
            name: object::name(target).to_owned(),
            how: How { uid: Some(object::uid(target).to_owned()), ..how },
            announce,
        });
    }

    pub fn normal(&mut self, component: &'static str, regarding: &Value, reason: &'static str, message: String) {
        self.event(EventKind::Normal, component, regarding, reason, message);
    }

    pub fn warning(&mut self, component: &'static str, regarding: &Value, reason: &'static str, message: String) {
        self.event(EventKind::Warning, component, regarding, reason, message);
    }

    fn event(
        &mut self,
        kind: EventKind,
        component: &'static str,
        regarding: &Value,
        reason: &'static str,
        message: String,
    ) {
        let regarding = ObjectReference::of(regarding);
        self.push(Action::Event(Event { regarding, kind, reason: reason.into(), message, component, action: None }));
    }

    /// Takes over all that another outcome asks for.
    pub fn append(&mut self, mut other: Outcome) {
        self.actions.append(&mut other.actions);
        if let Some(at) = other.wake_at {
            self.wake(at);
        }
    }

    /// Asks for another look at `at`; the earliest wish counts.
    pub fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }
}
