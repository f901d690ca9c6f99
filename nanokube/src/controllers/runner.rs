//! The runner: wakes controllers and performs what they ask for.
//!
//! It follows every kind, and looks with a controller only when a kind that it reads has changed or its `wake_at` has
//! come; each look gets a fresh snapshot, let go before the first write. A write that fails is tried again by looking
//! again, with a back-off of its own that doubles from 5 ms to a minute; conflicts and objects that came or went
//! meanwhile are ordinary. Rounds are at least 2 ms apart and take at most a third of one core. Nothing changes,
//! nothing runs.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::sync::watch;

use super::action::{Action, Announce, Event, EventKind, How};
pub use super::controller::Config;
use super::controller::{self, Controller, View};
use super::event_recorder::EventRecorder;
use super::failures::Failures;
use super::namespace;
use super::time::plus_s;
use crate::cluster::{Cluster, DeleteOptions, Part, Patch, Propagation, Watch, Writer};
use crate::object;
use crate::status::ApiError;

const DEBOUNCE: Duration = Duration::from_millis(2);
const BACK_OFF_MS: i64 = 5;
const BACK_OFF_MAX_MS: i64 = 60_000;
/// When a controller that failed looks again, should nothing change.
const FAILED_PAUSE_S: i64 = 60;
/// Failing writes remembered; past it, those that are due again are forgotten.
const BACK_OFFS_MAX: usize = 1_000;

/// How often and how long a controller has looked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Looks {
    pub count: u64,
    pub actions: u64,
    pub failures: u64,
    pub total: Duration,
    pub longest: Duration,
}

/// The looks of each controller by name; shared with whoever shows metrics.
pub type Stats = Arc<Mutex<BTreeMap<&'static str, Looks>>>;

pub struct Runner {
    cluster: Cluster,
    controllers: Vec<Controller>,
    watches: HashMap<String, Watch>,
    failures: Failures,
    back_offs: HashMap<String, BackOff>,
    recorder: EventRecorder,
    stats: Stats,
}

struct BackOff {
    attempts: u32,
    until: Timestamp,
}

/// The runner on its own thread; dropping the handle lets it run on, `stop` ends it.
pub struct Running {
    stop: watch::Sender<bool>,
    thread: std::thread::JoinHandle<()>,
    stats: Stats,
}

impl Running {
    pub fn stats(&self) -> Stats {
        self.stats.clone()
    }

    /// Ends the runner after the round it is in.
    pub fn stop(self) {
        self.stop.send_replace(true);
        if self.thread.join().is_err() {
            eprintln!("controllers: the runner had panicked");
        }
    }
}

/// Starts the controllers on a thread of their own. Must be called inside a tokio runtime.
pub fn start(cluster: Cluster, config: Config) -> std::io::Result<Running> {
    let mut runner = Runner::new(cluster, config);
    let (stop, stopped) = watch::channel(false);
    let stats = runner.stats.clone();
    let runtime = tokio::runtime::Handle::current();
    let thread = std::thread::Builder::new()
        .name("controllers".to_owned())
        .spawn(move || runtime.block_on(runner.run(stopped)))?;
    Ok(Running { stop, thread, stats })
}

impl Runner {
    pub fn new(cluster: Cluster, config: Config) -> Runner {
        let mut controllers = controller::table(&config);
        controllers.retain(|controller| !config.without.contains(&controller.manager));
        Runner {
            cluster,
            controllers,
            watches: HashMap::new(),
            failures: Failures::default(),
            back_offs: HashMap::new(),
            recorder: EventRecorder::default(),
            stats: Stats::default(),
        }
    }

    pub fn stats(&self) -> Stats {
        self.stats.clone()
    }

    /// Rounds for as long as nobody says stop.
    async fn run(&mut self, mut stopped: watch::Receiver<bool>) {
        let mut changed = self.cluster.subscribe();
        while !*stopped.borrow() {
            changed.mark_unchanged();
            let started = Instant::now();
            let next = self.round();
            let rest = DEBOUNCE.max(started.elapsed() * 2);
            tokio::time::sleep(rest).await;
            let wait = next.map(|at| until(at, self.cluster.now()));
            let due = async {
                match wait {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = stopped.changed() => return,
                changed = changed.changed() => if changed.is_err() { return },
                () = due => {}
            }
        }
    }

    /// Lets every controller look that has a reason to. Returns when the next one wants to, should nothing change.
    pub fn round(&mut self) -> Option<Timestamp> {
        self.note_changes();
        for at in 0..self.controllers.len() {
            let (controller, now) = (&self.controllers[at], self.cluster.now());
            if !controller.is_dirty && controller.wake_at.is_none_or(|wake_at| wake_at > now) {
                continue;
            }
            // An object that makes one controller fail must not end the others.
            if catch_unwind(AssertUnwindSafe(|| self.look(at))).is_err() {
                let controller = &mut self.controllers[at];
                eprintln!("controllers: {} failed; it looks again when something changes", controller.name);
                controller.wake_at = Some(plus_s(now, FAILED_PAUSE_S));
            }
        }
        self.controllers.iter().filter_map(|controller| controller.wake_at).min()
    }

    /// Marks the controllers whose inputs changed since the last round.
    fn note_changes(&mut self) {
        let snapshot = self.cluster.snapshot();
        for resource in snapshot.resources() {
            let Some(watch) = self.watches.get_mut(resource) else {
                if let Ok(watch) = self.cluster.watch(resource, None, snapshot.resource_version) {
                    self.watches.insert(resource.to_owned(), watch);
                }
                self.controllers
                    .iter_mut()
                    .for_each(|controller| controller.is_dirty |= controller.reads(resource, None));
                continue;
            };
            match watch.pending() {
                Ok(changes) => {
                    for change in changes {
                        let reads = |controller: &mut Controller| {
                            controller.is_dirty |= controller.reads(resource, Some(&change))
                        };
                        self.controllers.iter_mut().for_each(reads);
                    }
                }
                Err(_) => {
                    // Fell off the log: everything may have changed.
                    self.watches.remove(resource);
                    self.controllers.iter_mut().for_each(|controller| controller.is_dirty = true);
                    return;
                }
            }
        }
    }

    fn look(&mut self, at: usize) {
        let started = Instant::now();
        let now = self.cluster.now();
        let controller = &mut self.controllers[at];
        controller.is_dirty = false;
        let outcome = {
            let (snapshot, kinds) = (self.cluster.snapshot(), self.cluster.kinds());
            (controller.look)(&View { snapshot: &snapshot, kinds: &kinds, failures: &self.failures, now })
        };
        controller.wake_at = outcome.wake_at;
        let (name, manager) = (controller.name, controller.manager);
        let looked = started.elapsed();
        let (mut count, mut failed) = (0, 0);
        for action in outcome.actions {
            count += 1;
            if let Err(retry_at) = self.attempt(name, manager, action, now) {
                failed += 1;
                let controller = &mut self.controllers[at];
                controller.wake_at = Some(controller.wake_at.map_or(retry_at, |wake_at| wake_at.min(retry_at)));
            }
        }
        let mut stats = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        let looks = stats.entry(name).or_default();
        *looks = Looks {
            count: looks.count + 1,
            actions: looks.actions + count,
            failures: looks.failures + failed,
            total: looks.total + looked,
            longest: looks.longest.max(looked),
        };
    }

    /// Performs an action unless it is backing off; says when to try again if it was not done.
    fn attempt(&mut self, name: &str, manager: &'static str, action: Action, now: Timestamp) -> Result<(), Timestamp> {
        let key = key_of(&action);
        if let Some(back_off) = key.as_ref().and_then(|key| self.back_offs.get(key)).filter(|it| it.until > now) {
            return Err(back_off.until);
        }
        match self.perform(manager, action, now) {
            Ok(()) => {
                if let Some(key) = key {
                    self.back_offs.remove(&key);
                }
                Ok(())
            }
            Err(error) => {
                let key = key.unwrap_or_default();
                let ordinary = error.is_conflict() || error.is_not_found() || error.is_already_exists();
                if !ordinary {
                    eprintln!("controllers: {name}: {key}: {}", error.message);
                }
                Err(self.back_off(key, now))
            }
        }
    }

    fn back_off(&mut self, key: String, now: Timestamp) -> Timestamp {
        if self.back_offs.len() >= BACK_OFFS_MAX {
            self.back_offs.retain(|_, back_off| back_off.until > now);
        }
        let back_off = self.back_offs.entry(key).or_insert(BackOff { attempts: 0, until: now });
        let wait_ms = (BACK_OFF_MS << back_off.attempts.min(20)).min(BACK_OFF_MAX_MS);
        back_off.attempts += 1;
        back_off.until = now.checked_add(SignedDuration::from_millis(wait_ms)).unwrap_or(Timestamp::MAX);
        back_off.until
    }

    fn perform(&mut self, manager: &'static str, action: Action, now: Timestamp) -> Result<(), ApiError> {
        let writer = Writer::controller(manager);
        match action {
            Action::Create { resource, namespace, object, announce } => {
                let created = self.cluster.create(&resource, &namespace, object, &writer);
                let created = created.map(|created| object::name(&created).to_owned());
                self.announce(announce, created, now)
            }
            Action::Update { resource, object, part } => {
                let (namespace, name) = (object::namespace(&object).to_owned(), object::name(&object).to_owned());
                self.cluster.update(&resource, &namespace, &name, object, part, &writer).map(drop)
            }
            Action::Patch { resource, namespace, name, patch, part } => {
                self.cluster.patch(&resource, &namespace, &name, Patch::Merge(patch), part, &writer).map(drop)
            }
            Action::Delete { resource, namespace, name, how, announce } => {
                let deleted = self.cluster.delete(&resource, &namespace, &name, &options(how), &writer);
                let deleted = deleted.map(|_| name);
                self.announce(announce, deleted, now)
            }
            Action::Bind { namespace, name, uid, node } => self.cluster.bind(&namespace, &name, &uid, &node).map(drop),
            Action::Finalize { namespace } => self.finalize(&namespace, &writer),
            Action::Event(event) => {
                self.recorder.record(&self.cluster, event, now);
                Ok(())
            }
        }
    }

    /// Records the event that goes with a write, and remembers for its owner that it failed.
    fn announce(
        &mut self,
        announce: Option<Announce>,
        result: Result<String, ApiError>,
        now: Timestamp,
    ) -> Result<(), ApiError> {
        let Some(Announce { regarding, component, done, failed }) = announce else { return result.map(drop) };
        let (kind, (reason, wording), subject) = match &result {
            Ok(name) => (EventKind::Normal, done, name.as_str()),
            Err(error) if error.is_conflict() || error.is_not_found() || is_terminating(error) => {
                return result.map(drop);
            }
            Err(error) => (EventKind::Warning, failed, error.message.as_str()),
        };
        match &result {
            Ok(_) => self.failures.clear(&regarding.uid),
            Err(error) => self.failures.note(&regarding.uid, reason, &error.message),
        };
        let message = wording.replace("{}", subject);
        let event = Event { regarding, kind, reason: reason.into(), message, component, action: None };
        self.recorder.record(&self.cluster, event, now);
        result.map(drop)
    }

    fn finalize(&self, namespace: &str, writer: &Writer) -> Result<(), ApiError> {
        let Some(current) = self.cluster.get(namespace::NAMESPACES, "", namespace) else { return Ok(()) };
        let mut draft = Value::clone(&current);
        object::set(&mut draft, &["spec", "finalizers"], Value::Array(Vec::new()));
        self.cluster.update(namespace::NAMESPACES, "", namespace, draft, Part::Finalize, writer).map(drop)
    }
}

fn is_terminating(error: &ApiError) -> bool {
    error.details.pointer("/causes/0/reason").is_some_and(|reason| reason == "NamespaceTerminating")
}

/// What a repeated failure is recognised by. Events are never retried.
fn key_of(action: &Action) -> Option<String> {
    Some(match action {
        Action::Create { resource, namespace, object, .. } => {
            let name = match object::name(object) {
                "" => object::str_at(object, "/metadata/generateName"),
                name => name,
            };
            format!("create {resource} {namespace}/{name}")
        }
        Action::Update { resource, object, part } => {
            format!("update {resource} {}/{} ({part:?})", object::namespace(object), object::name(object))
        }
        Action::Patch { resource, namespace, name, .. } => format!("patch {resource} {namespace}/{name}"),
        Action::Delete { resource, namespace, name, .. } => format!("delete {resource} {namespace}/{name}"),
        Action::Bind { namespace, name, .. } => format!("bind {namespace}/{name}"),
        Action::Finalize { namespace } => format!("finalize {namespace}"),
        Action::Event(_) => return None,
    })
}

fn options(how: How) -> DeleteOptions {
    let propagation = how.propagation.map(|propagation| match propagation {
        "Foreground" => Propagation::Foreground,
        "Orphan" => Propagation::Orphan,
        _ => Propagation::Background,
    });
    DeleteOptions { grace_period_s: how.grace_s, propagation, uid: how.uid, resource_version: how.resource_version }
}

/// The time from now to `at`, at most an hour, so that a clock that was set is noticed.
fn until(at: Timestamp, now: Timestamp) -> Duration {
    let at = at.min(plus_s(now, 3600));
    Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Clock, Settings};
    use crate::store::Store;

    #[test]
    fn a_controller_that_fails_does_not_end_the_others() {
        let cluster = Cluster::new(Store::in_memory(), Settings::default(), Clock::System);
        let mut runner = Runner::new(cluster, Config::default());
        let (all, failing) = (runner.controllers.len(), runner.controllers[0].name);
        runner.controllers[0].look = Box::new(|_| panic!("on purpose"));
        let next = runner.round();
        let stats = runner.stats.lock().unwrap();
        assert_eq!(stats.len(), all - 1);
        assert!(!stats.contains_key(failing));
        assert!(next.is_some(), "it looks again");
    }
}
