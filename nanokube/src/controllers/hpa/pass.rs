//! Passes: what is due is observed, decided and carried out, one HPA after the other.

use std::collections::BTreeMap;

use autoscaler::config::Config;
use autoscaler::history::History;
use autoscaler::json::metrics_api::Fetched;
use autoscaler::json::observed;
use autoscaler::pass::{Hpa, NextWrite, Observation, Outcome, Scale, ScaleAnswer, ScaleWrite, decide};
use autoscaler::pod::Pod;
use autoscaler::registry::Registry;
use autoscaler::status::{EventKind as DecidedKind, Status};
use autoscaler::{defaults, json};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::answer::Refusal;
use super::queue::{Key, Queue};
use super::{COMPONENT, Flags, World, observe};
use crate::controllers::action::{Event, EventKind};
use crate::object::{self, Object, ObjectReference};

/// The controller with its memory, over the cluster it serves.
pub struct Hpas<W: World> {
    pub world: W,
    config: Config,
    queue: Queue,
    registry: Registry,
    histories: BTreeMap<Key, History>,
    /// The last error of each HPA, so that one that persists is logged once.
    errors: BTreeMap<Key, String>,
}

impl<W: World> Hpas<W> {
    pub fn new(world: W, flags: &Flags) -> Hpas<W> {
        let period = SignedDuration::try_from(flags.sync_period).unwrap_or(SignedDuration::MAX);
        let queue = Queue::new(period, world.now());
        Hpas {
            config: flags.config(),
            queue,
            registry: Registry::default(),
            histories: BTreeMap::new(),
            errors: BTreeMap::new(),
            world,
        }
    }

    /// Takes note of new and gone HPAs and gives those their pass whose time has come. Returns when the next one is
    /// due.
    pub fn round(&mut self) -> Option<Timestamp> {
        match self.world.hpas() {
            Ok(present) => self.note(&present),
            Err(error) => eprintln!("hpa: cannot list the autoscalers: {error}"),
        }
        loop {
            let began = self.world.now();
            let Some(key) = self.queue.pop(began) else { return self.queue.next() };
            if self.pass(&key, began) {
                self.queue.finish(key, began, self.world.now());
            } else {
                self.histories.remove(&key);
                self.errors.remove(&key);
            }
        }
    }

    fn note(&mut self, present: &[Object]) {
        let keys = present.iter().map(|hpa| (object::namespace(hpa).to_owned(), object::name(hpa).to_owned()));
        let (new, gone) = self.queue.see(keys, self.world.now());
        new.iter().for_each(|(namespace, name)| self.registry.enqueue(namespace, name));
        gone.iter().for_each(|(namespace, name)| self.registry.remove(namespace, name));
    }

    /// One pass; false if the HPA is gone.
    fn pass(&mut self, key: &Key, now: Timestamp) -> bool {
        let stored = match self.world.hpa(&key.0, &key.1) {
            Ok(Some(stored)) => stored,
            Ok(None) => return false,
            Err(error) => {
                self.log(key, Some(error));
                return true;
            }
        };
        match self.run(&stored, now) {
            Ok(outcome) => {
                for event in outcome.events {
                    self.record(&stored, event);
                }
                self.histories.insert(key.clone(), outcome.history);
                self.log(key, outcome.error);
            }
            Err(error) => self.log(key, Some(format!("the autoscaler cannot be read: {error}"))),
        }
        true
    }

    fn log(&mut self, key: &Key, error: Option<String>) {
        let Some(error) = error else {
            self.errors.remove(key);
            return;
        };
        if self.errors.get(key) != Some(&error) {
            eprintln!("hpa: {}/{}: {error}", key.0, key.1);
            self.errors.insert(key.clone(), error);
        }
    }

    fn run(&mut self, stored: &Object, now: Timestamp) -> Result<Outcome, json::DecodeError> {
        let (namespace, name) = (object::namespace(stored), object::name(stored));
        let mut spec = json::spec_from_json(stored)?;
        defaults::apply(&mut spec);
        let status = json::status_from_json(stored)?;

        let found = self.world.scale(namespace, &spec.scale_target_ref);
        let scale = found.as_ref().map(|(_, scale)| scale_of(scale)).map_err(Clone::clone);
        let selector = scale.as_ref().map(|scale| scale.selector.clone()).unwrap_or_default();
        let pods = self.world.pods(namespace, &selector);
        let pods: Result<Vec<Pod>, String> = pods.map(|pods| pods.iter().map(|pod| observed::pod(pod)).collect());
        let fetched = if selector.is_empty() || is_idle(&scale, &spec) {
            Vec::new()
        } else {
            observe::fetch_all(&self.world, namespace, &spec, &selector)
        };
        let answers: Vec<_> = fetched.iter().map(|fetched| fetched.as_ref().map(Fetched::answer)).collect();

        let key = (namespace.to_owned(), name.to_owned());
        let history = self.histories.get(&key).cloned().unwrap_or_default();
        let hpa = Hpa { namespace, name, spec: &spec, status: &status };
        let pods = pods.as_deref().map_err(String::as_str);
        let observation =
            Observation { now: observe::time_of(now), scale, pods, answers: &answers, registry: &self.registry };
        let pass = decide(&hpa, &history, &observation, &self.config);
        if let Some(selector) = &pass.selector {
            self.registry.set(namespace, name, selector.clone());
        }
        let written = match (pass.scale_write(), found) {
            (Some(replicas), Ok((resource, scale))) => {
                self.write_scale(namespace, &spec.scale_target_ref, resource, scale, replicas)
            }
            _ => Ok(()),
        };
        let conclusion = pass.conclude(written);
        let status_written = match &conclusion.status {
            Some(status) => self.write_status(stored, status),
            None => Ok(()),
        };
        Ok(conclusion.finish(status_written))
    }

    fn write_scale(
        &self,
        namespace: &str,
        target: &autoscaler::spec::ObjectRef,
        mut resource: String,
        mut scale: Value,
        replicas: i32,
    ) -> Result<(), String> {
        let mut writing = ScaleWrite::default();
        loop {
            object::set(&mut scale, &["spec", "replicas"], replicas.into());
            let answer = match self.world.write_scale(&resource, scale) {
                Ok(()) => ScaleAnswer::Written,
                Err(refusal) if refusal.is_conflict() => ScaleAnswer::Conflict(refusal.message),
                Err(Refusal { message, .. }) => ScaleAnswer::Failed(message),
            };
            match writing.answered(answer) {
                NextWrite::Done(result) => return result,
                NextWrite::Retry => self.world.pause(),
            }
            (resource, scale) = match self.world.scale(namespace, target) {
                Ok(found) => found,
                Err(
                    autoscaler::pass::ScaleError::UnknownKind(error) | autoscaler::pass::ScaleError::Unreadable(error),
                ) => {
                    return Err(error);
                }
            };
        }
    }

    fn write_status(&self, stored: &Object, status: &Status) -> Result<(), String> {
        let mut draft = Value::clone(stored);
        object::set(&mut draft, &["status"], json::status_to_json(status));
        self.world.write_status(draft).map_err(|refusal| refusal.message)
    }

    fn record(&mut self, about: &Object, event: autoscaler::status::Event) {
        let kind = match event.kind {
            DecidedKind::Normal => EventKind::Normal,
            DecidedKind::Warning => EventKind::Warning,
        };
        self.world.record(Event {
            regarding: ObjectReference::of(about),
            kind,
            reason: event.reason.into(),
            message: event.message,
            component: COMPONENT,
            action: None,
        });
    }
}

/// Whether the pass will not look at metrics: at zero, or out of bounds.
fn is_idle(scale: &Result<Scale, autoscaler::pass::ScaleError>, spec: &autoscaler::spec::Spec) -> bool {
    scale.as_ref().is_ok_and(|scale| {
        scale.spec_replicas == 0 || scale.spec_replicas > spec.max_replicas || scale.spec_replicas < spec.min()
    })
}

fn scale_of(scale: &Value) -> Scale {
    let count = |pointer: &str| i32::try_from(object::i64_at(scale, pointer).unwrap_or(0)).unwrap_or(i32::MAX);
    Scale {
        spec_replicas: count("/spec/replicas"),
        status_replicas: count("/status/replicas"),
        selector: object::str_at(scale, "/status/selector").to_owned(),
    }
}
