//! A cluster in memory and in virtual time for the controllers' tests: the real store, write path and runner, and a
//! kubelet that starts pods after a second and lets deleted ones go after another.

use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::pod::{self, PODS};
use super::runner::{Config, Runner};
use super::time::plus_s;
use crate::cluster::{Clock, Cluster, DeleteOptions, Part, Patch, Settings, Writer};
use crate::object::{self, Object};
use crate::store::Store;

pub(crate) struct Lab {
    pub(crate) cluster: Cluster,
    pub(crate) runner: Runner,
    /// What becomes of a pod once it runs; by default it becomes and stays ready.
    pub(crate) fate: fn(&Value) -> Fate,
    now: Arc<Mutex<Timestamp>>,
    addresses: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Ready,
    NeverReady,
    Succeeds,
    Fails,
}

impl Lab {
    pub(crate) fn new() -> Lab {
        let now = Arc::new(Mutex::new("2026-01-01T00:00:00Z".parse().unwrap()));
        let cluster = Cluster::new(Store::in_memory(), Settings::default(), Clock::Manual(now.clone()));
        let config = Config { root_ca: "CA".to_owned(), without: Vec::new() };
        let runner = Runner::new(cluster.clone(), config);
        let mut lab = Lab { cluster, runner, fate: |_| Fate::Ready, now, addresses: 0 };
        lab.create(
            "namespaces",
            json!({ "metadata": { "name": "default" }, "spec": { "finalizers": ["kubernetes"] } }),
        );
        let capacity = json!({ "cpu": "8", "memory": "16Gi", "pods": "110" });
        lab.create("nodes", json!({ "metadata": { "name": "node", "labels": { "kubernetes.io/hostname": "node" } } }));
        lab.status(
            "nodes",
            "",
            "node",
            json!({ "capacity": capacity, "allocatable": capacity, "conditions": [
            { "type": "Ready", "status": "True" },
        ] }),
        );
        lab
    }

    pub(crate) fn now(&self) -> Timestamp {
        *self.now.lock().unwrap()
    }

    pub(crate) fn set_now(&mut self, now: Timestamp) {
        *self.now.lock().unwrap() = now;
    }

    pub(crate) fn create(&mut self, resource: &str, object: Value) -> Object {
        let namespaced = self.cluster.kinds().resource(resource).unwrap().namespaced;
        let namespace = match object::namespace(&object) {
            "" if namespaced => "default".to_owned(),
            namespace => namespace.to_owned(),
        };
        self.cluster.create(resource, &namespace, object, &Writer::controller("test")).unwrap()
    }

    pub(crate) fn patch(&mut self, resource: &str, name: &str, patch: Value) -> Object {
        let writer = Writer::controller("test");
        self.cluster.patch(resource, "default", name, Patch::Merge(patch), Part::Object, &writer).unwrap()
    }

    pub(crate) fn patch_node(&mut self, patch: Value) {
        let writer = Writer::controller("test");
        self.cluster.patch("nodes", "", "node", Patch::Merge(patch), Part::Object, &writer).unwrap();
    }

    pub(crate) fn status(&mut self, resource: &str, namespace: &str, name: &str, status: Value) {
        let patch = Patch::Merge(json!({ "status": status }));
        self.cluster.patch(resource, namespace, name, patch, Part::Status, &Writer::controller("kubelet")).unwrap();
    }

    pub(crate) fn delete(&mut self, resource: &str, namespace: &str, name: &str, options: DeleteOptions) {
        self.cluster.delete(resource, namespace, name, &options, &Writer::controller("test")).unwrap();
    }

    pub(crate) fn get(&self, resource: &str, name: &str) -> Object {
        self.find(resource, name).unwrap_or_else(|| panic!("no {resource} {name}"))
    }

    pub(crate) fn find(&self, resource: &str, name: &str) -> Option<Object> {
        let namespaced = self.cluster.kinds().resource(resource).unwrap().namespaced;
        self.cluster.get(resource, if namespaced { "default" } else { "" }, name)
    }

    pub(crate) fn list(&self, resource: &str) -> Vec<Object> {
        self.cluster.list(resource, None).items
    }

    pub(crate) fn active_pods(&self) -> Vec<Object> {
        self.list(PODS).into_iter().filter(|candidate| pod::is_active(candidate)).collect()
    }

    /// `reason message` of all events about objects of a kind, in order.
    pub(crate) fn events(&self, kind: &str) -> Vec<String> {
        let mut events = self.list("events");
        events.sort_by_key(|event| object::resource_version(event));
        let about = events.iter().filter(|event| object::str_at(event, "/involvedObject/kind") == kind);
        about.map(|it| format!("{} {}", object::str_at(it, "/reason"), object::str_at(it, "/message"))).collect()
    }

    /// Rounds until nothing changes any more at this instant.
    pub(crate) fn settle(&mut self) {
        for _ in 0..200 {
            let before = self.cluster.revision();
            self.runner.round();
            if self.cluster.revision() == before {
                return;
            }
        }
        panic!("the controllers do not come to rest");
    }

    /// Lets `seconds` pass, one by one; `check` sees every state that the controllers came to rest in.
    pub(crate) fn run(&mut self, seconds: u32, mut check: impl FnMut(&Lab)) {
        for _ in 0..seconds {
            self.settle();
            check(self);
            let next = plus_s(self.now(), 1);
            *self.now.lock().unwrap() = next;
            self.run_kubelet();
            self.settle();
            check(self);
        }
    }

    /// Jumps ahead without a kubelet, as when nothing runs.
    pub(crate) fn skip(&mut self, seconds: i64) {
        let next = plus_s(self.now(), seconds);
        *self.now.lock().unwrap() = next;
        self.settle();
    }

    fn run_kubelet(&mut self) {
        for candidate in self.list(PODS) {
            let (namespace, name) = (object::namespace(&candidate).to_owned(), object::name(&candidate).to_owned());
            let fate = (self.fate)(&candidate);
            if pod::node(&candidate).is_empty() {
                continue;
            } else if object::is_deleting(&candidate) {
                let gone = DeleteOptions { grace_period_s: Some(0), ..DeleteOptions::default() };
                if !pod::is_finished(&candidate) {
                    self.status(
                        PODS,
                        &namespace,
                        &name,
                        json!({ "phase": "Succeeded", "conditions": [ready("False", self.now())] }),
                    );
                }
                self.delete(PODS, &namespace, &name, gone);
            } else if pod::phase(&candidate) == "Pending" {
                self.addresses += 1;
                let status = if fate == Fate::Ready { "True" } else { "False" };
                self.status(
                    PODS,
                    &namespace,
                    &name,
                    json!({
                        "phase": "Running",
                        "podIP": format!("127.16.{}.{}", self.addresses / 250, self.addresses % 250),
                        "startTime": object::time(self.now()),
                        "conditions": [ready(status, self.now())],
                    }),
                );
            } else if pod::phase(&candidate) == "Running" && matches!(fate, Fate::Succeeds | Fate::Fails) {
                let (phase, code) = if fate == Fate::Succeeds { ("Succeeded", 0) } else { ("Failed", 1) };
                let ended = json!({ "exitCode": code, "finishedAt": object::time(self.now()) });
                self.status(
                    PODS,
                    &namespace,
                    &name,
                    json!({
                        "phase": phase,
                        "conditions": [ready("False", self.now())],
                        "containerStatuses": [{ "name": "c", "state": { "terminated": ended } }],
                    }),
                );
            }
        }
    }
}

fn ready(status: &str, now: Timestamp) -> Value {
    json!({ "type": "Ready", "status": status, "lastTransitionTime": object::time(now) })
}

/// A Deployment `web` of pods labelled `app: web`.
pub(crate) fn deployment(replicas: i64) -> Value {
    json!({
        "metadata": { "name": "web" },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": "web" } },
            "revisionHistoryLimit": 10,
            "progressDeadlineSeconds": 600,
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": "25%", "maxUnavailable": "25%" } },
            "template": template("web", "image:1"),
        },
    })
}

pub(crate) fn template(app: &str, image: &str) -> Value {
    json!({
        "metadata": { "labels": { "app": app } },
        "spec": { "containers": [{ "name": "c", "image": image }], "terminationGracePeriodSeconds": 1 },
    })
}
