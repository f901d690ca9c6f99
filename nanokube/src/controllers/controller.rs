//! The controllers as values: a name, what is a reason to look, and the function that does. Adding a controller is
//! adding an entry to the table.

use jiff::Timestamp;

use super::action::Outcome;
use super::endpoints::{self, Endpoints};
use super::failures::Failures;
use super::pod_gc::{self, PodGc};
use super::replica_set::{self, ReplicaSets};
use super::{
    cron_job, daemon_set, definition, deployment, disruption, events, garbage, job, namespace, node_taints, quota,
    scheduler, stateful_set,
    taint_eviction::{self, TaintEviction},
};
use crate::cluster::{Change, Snapshot};
use crate::kind::Registry;

pub const CONTROLLER_MANAGER: &str = "kube-controller-manager";
pub const SCHEDULER: &str = "kube-scheduler";
const API_SERVER: &str = "kube-apiserver";

/// What the controllers need to know about the instance.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The certificate (PEM) of the API's authority, for `kube-root-ca.crt`.
    pub root_ca: String,
    /// Components whose controllers are left out.
    pub without: Vec<&'static str>,
}

pub struct Controller {
    pub name: &'static str,
    /// The component that it is a part of, and the field manager of its writes.
    pub manager: &'static str,
    inputs: Inputs,
    pub look: Look,
    pub is_dirty: bool,
    pub wake_at: Option<Timestamp>,
}

type Look = Box<dyn FnMut(&View) -> Outcome + Send>;

/// What a look is taken at.
pub struct View<'a> {
    pub snapshot: &'a Snapshot,
    pub kinds: &'a Registry,
    pub failures: &'a Failures,
    pub now: Timestamp,
}

enum Inputs {
    Kinds(&'static [&'static str]),
    /// Every kind, but only changes that pass.
    All(fn(&Change) -> bool),
}

impl Controller {
    fn of_kinds(
        name: &'static str,
        kinds: &'static [&'static str],
        look: impl FnMut(&View) -> Outcome + Send + 'static,
    ) -> Controller {
        let (inputs, look) = (Inputs::Kinds(kinds), Box::new(look));
        Controller { name, manager: CONTROLLER_MANAGER, inputs, look, is_dirty: true, wake_at: None }
    }

    fn of_all(
        name: &'static str,
        passes: fn(&Change) -> bool,
        look: impl FnMut(&View) -> Outcome + Send + 'static,
    ) -> Controller {
        let (inputs, look) = (Inputs::All(passes), Box::new(look));
        Controller { name, manager: CONTROLLER_MANAGER, inputs, look, is_dirty: true, wake_at: None }
    }

    fn of_component(self, manager: &'static str) -> Controller {
        Controller { manager, ..self }
    }

    /// Whether a change (None: the first sight of a kind) concerns this controller.
    pub fn reads(&self, resource: &str, change: Option<&Change>) -> bool {
        match &self.inputs {
            Inputs::Kinds(kinds) => kinds.contains(&resource),
            Inputs::All(passes) => change.is_none_or(passes),
        }
    }
}

/// The controllers in the order of a round: who makes work comes before who does it.
pub fn table(config: &Config) -> Vec<Controller> {
    let root_ca = config.root_ca.clone();
    let furniture = &[namespace::NAMESPACES, namespace::SERVICE_ACCOUNTS, namespace::CONFIG_MAPS];
    let mut table = vec![Controller::of_kinds("serviceaccount", furniture, move |view| {
        namespace::furnish(view.snapshot, &root_ca)
    })];
    table.extend(workloads());
    table.extend(services_and_nodes());
    table.extend(keepers_of_order());
    table
}

fn workloads() -> [Controller; 6] {
    let mut replica_sets = ReplicaSets::default();
    [
        Controller::of_kinds("cronjob", cron_job::INPUTS, |view| cron_job::reconcile(view.snapshot, view.now)),
        Controller::of_kinds("job", job::INPUTS, |view| job::reconcile(view.snapshot, view.now)),
        Controller::of_kinds("deployment", deployment::INPUTS, |view| deployment::reconcile(view.snapshot, view.now)),
        Controller::of_kinds("replicaset", replica_set::INPUTS, move |view| {
            replica_sets.reconcile(view.snapshot, view.now, view.failures)
        }),
        Controller::of_kinds("statefulset", stateful_set::INPUTS, |view| {
            stateful_set::reconcile(view.snapshot, view.now)
        }),
        Controller::of_kinds("daemonset", daemon_set::INPUTS, |view| daemon_set::reconcile(view.snapshot, view.now)),
    ]
}

fn services_and_nodes() -> [Controller; 5] {
    let (mut slices, mut evictions) = (Endpoints::default(), TaintEviction::default());
    [
        Controller::of_kinds("node-taints", node_taints::INPUTS, |view| {
            node_taints::reconcile(view.snapshot, view.now)
        }),
        Controller::of_kinds("taint-eviction", taint_eviction::INPUTS, move |view| {
            evictions.reconcile(view.snapshot, view.now)
        }),
        Controller::of_kinds("scheduler", scheduler::INPUTS, |view| scheduler::reconcile(view.snapshot, view.now))
            .of_component(SCHEDULER),
        Controller::of_kinds("endpoints", endpoints::INPUTS, move |view| slices.reconcile(view.snapshot, view.now)),
        Controller::of_kinds("disruption", disruption::INPUTS, |view| disruption::reconcile(view.snapshot, view.now)),
    ]
}

fn keepers_of_order() -> [Controller; 6] {
    let mut pod_gc = PodGc::default();
    [
        Controller::of_kinds("podgc", pod_gc::INPUTS, move |view| pod_gc.reconcile(view.snapshot, view.now)),
        Controller::of_all("resourcequota", quota::matters, |view| quota::reconcile(view.snapshot, view.kinds)),
        Controller::of_all("garbagecollector", garbage::matters, |view| garbage::reconcile(view.snapshot, view.kinds)),
        Controller::of_all("namespace", namespace::matters, |view| {
            namespace::finalize(view.snapshot, view.kinds, view.now)
        }),
        Controller::of_all("crd", namespace::matters, |view| definition::finalize(view.snapshot, view.now))
            .of_component(API_SERVER),
        Controller::of_kinds("event-ttl", &[], |view| events::reconcile(view.snapshot, view.now))
            .of_component(API_SERVER),
    ]
}
