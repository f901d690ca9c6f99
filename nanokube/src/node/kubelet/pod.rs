//! One pod: init containers in order, then the others at once; its status follows its containers; termination within
//! the grace period; removal from the store when nothing of it runs any more.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::state::{ContainerState, Phase, Role, States};
use super::{COMPONENT, Kubelet, container, status, volumes};
use crate::cluster::{DeleteOptions, Part, Patch, Writer};
use crate::controllers::action::EventKind;
use crate::object::{self, Object};

/// A status that could not be written (a conflict, a full disk) is written again after this.
const RETRY: Duration = Duration::from_millis(200);
/// Volumes whose sources are missing are looked for again after this.
const VOLUME_RETRY: Duration = Duration::from_secs(1);

/// What is to become of the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Run,
    /// It was deleted: end it within the grace period and remove it.
    Terminate {
        grace_s: u64,
    },
    /// It is gone from the store: end it at once.
    Vanished,
    /// The daemon ends: end it, but leave the object.
    Shutdown,
}

/// What the tasks of one pod share.
pub(in crate::node) struct PodContext {
    pub(super) kubelet: Arc<Kubelet>,
    pub(super) uid: String,
    pub(super) address: Ipv4Addr,
    pub(super) dir: PathBuf,
    // Both held for single operations only.
    object: Mutex<Object>,
    states: Mutex<States>,
    /// Told at every change of a container's state.
    changed: Notify,
}

impl PodContext {
    /// The pod as last seen in the store.
    pub(in crate::node) fn object(&self) -> Object {
        self.object.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn update(&self, pod: &Object) {
        *self.object.lock().unwrap_or_else(PoisonError::into_inner) = pod.clone();
    }

    pub(in crate::node) fn states(&self) -> MutexGuard<'_, States> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes one container's state and has the status written.
    pub(super) fn set(&self, container: &str, change: impl FnOnce(&mut ContainerState)) {
        if let Some(state) = self.states().0.get_mut(container) {
            change(state);
        }
        self.changed.notify_one();
    }

    pub(super) fn event(
        &self,
        container: Option<&str>,
        kind: EventKind,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        self.kubelet.event(&self.object(), container, kind, reason, message.into());
    }

    /// `name_namespace(uid)`, as messages name a pod.
    pub(super) fn title(&self) -> String {
        let pod = self.object();
        format!("{}_{}({})", object::name(&pod), object::namespace(&pod), self.uid)
    }
}

pub(super) fn start(kubelet: Arc<Kubelet>, pod: &Object) -> (Arc<PodContext>, watch::Sender<Wish>, JoinHandle<()>) {
    let uid = object::uid(pod).to_owned();
    let address = kubelet.take_address(pod);
    let context = Arc::new(PodContext {
        dir: kubelet.config.pods_dir.join(&uid),
        kubelet,
        uid,
        address: address.unwrap_or(Ipv4Addr::UNSPECIFIED),
        object: Mutex::new(pod.clone()),
        states: Mutex::new(initial_states(pod)),
        changed: Notify::new(),
    });
    let (wish, wishes) = watch::channel(Wish::Run);
    let worker = context.clone();
    let task = tokio::spawn(async move {
        if address.is_some() {
            run(worker, wishes).await;
        } else {
            let message = "no address is left for another pod on this node";
            worker.event(None, EventKind::Warning, "FailedCreatePodSandBox", message);
        }
    });
    (context, wish, task)
}

/// Every container as it is before it starts; restart counts go on from what the store remembers.
fn initial_states(pod: &Object) -> States {
    let mut states = States::default();
    let old = |name: &str| {
        let lists = ["/status/containerStatuses", "/status/initContainerStatuses"];
        let found = lists.iter().flat_map(|list| object::array_at(pod, list)).find(|status| status["name"] == name);
        found.cloned()
    };
    for (spec, role) in containers(pod) {
        let name = object::str_at(&spec, "/name");
        let mut state = ContainerState::new(role);
        let waiting = if role == Role::Main && has_init(pod) { "PodInitializing" } else { "ContainerCreating" };
        state.phase = Phase::Waiting { reason: waiting.to_owned(), message: String::new() };
        if let Some(old) = old(name).filter(|old| !object::str_at(old, "/containerID").is_empty()) {
            // It ran under an earlier daemon: this is another start of the same container.
            let count = object::i64_at(&old, "/restartCount").unwrap_or(0);
            state.restarts = u32::try_from(count).unwrap_or(0).saturating_add(1);
        }
        states.0.insert(name.to_owned(), state);
    }
    states
}

fn has_init(pod: &Value) -> bool {
    !object::array_at(pod, "/spec/initContainers").is_empty()
}

/// The containers of a pod with their roles, init containers first.
pub(super) fn containers(pod: &Value) -> impl Iterator<Item = (Value, Role)> {
    let init = object::array_at(pod, "/spec/initContainers").iter().map(|spec| {
        let restarts = object::str_at(spec, "/restartPolicy") == "Always";
        (spec.clone(), if restarts { Role::Sidecar } else { Role::Init })
    });
    let main = object::array_at(pod, "/spec/containers").iter().map(|spec| (spec.clone(), Role::Main));
    init.chain(main)
}

async fn run(pod: Arc<PodContext>, mut wishes: watch::Receiver<Wish>) {
    // What an earlier daemon left of this pod.
    let _ = std::fs::remove_dir_all(&pod.dir);
    let writer = tokio::spawn(write_statuses(pod.clone()));
    let (stop, stops) = watch::channel(None);
    let mut work = tokio::spawn(live(pod.clone(), stops));
    let mut begun = false;
    let last = loop {
        let wish = *wishes.borrow_and_update();
        let grace_s = match wish {
            Wish::Run => None,
            Wish::Terminate { grace_s } => Some(grace_s),
            Wish::Vanished => Some(0),
            Wish::Shutdown => Some(grace_of(&pod).min(5)),
        };
        if let Some(grace_s) = grace_s {
            stop.send_replace(Some(container::Stop { grace: Duration::from_secs(grace_s), again: begun }));
            begun = true;
        }
        tokio::select! {
            ended = &mut work => {
                if let Err(error) = ended {
                    eprintln!("node: the worker of pod {} failed: {error}", pod.title());
                }
                break wish;
            }
            changed = wishes.changed() => if changed.is_err() { break Wish::Shutdown },
        }
    };
    writer.abort();
    finish(&pod, last, &mut wishes).await;
}

fn grace_of(pod: &PodContext) -> u64 {
    object::i64_at(&pod.object(), "/spec/terminationGracePeriodSeconds").unwrap_or(30).max(0).unsigned_abs()
}

/// The last status, then removal, when that is wished; a pod that ended by itself waits for nothing.
async fn finish(pod: &Arc<PodContext>, wish: Wish, wishes: &mut watch::Receiver<Wish>) {
    let wish = if wish == Wish::Run { *wishes.borrow() } else { wish };
    if wish != Wish::Shutdown && wish != Wish::Vanished {
        while write_status(pod).is_err() {
            tokio::time::sleep(RETRY).await;
        }
    }
    if wish != Wish::Shutdown {
        pod.kubelet.free_address(pod.address);
    }
    if matches!(wish, Wish::Terminate { .. }) {
        let pod_object = pod.object();
        let options = DeleteOptions { grace_period_s: Some(0), uid: Some(pod.uid.clone()), ..DeleteOptions::default() };
        let writer = Writer::controller(COMPONENT);
        let (namespace, name) = (object::namespace(&pod_object), object::name(&pod_object));
        match pod.kubelet.cluster.delete(super::PODS, namespace, name, &options, &writer) {
            Ok(_) => {}
            Err(error) if error.is_not_found() || error.is_conflict() => {}
            Err(error) => eprintln!("node: cannot remove pod {}: {}", pod.title(), error.message),
        }
    }
    if matches!(wish, Wish::Terminate { .. } | Wish::Vanished) {
        if let Err(error) = std::fs::remove_dir_all(&pod.dir) {
            eprintln!("node: cannot remove {}: {error}", pod.dir.display());
        }
    }
}

/// Runs all containers; returns when none runs and none will start again.
async fn live(pod: Arc<PodContext>, mut stops: watch::Receiver<Option<container::Stop>>) {
    if !prepare(&pod, &mut stops).await {
        return;
    }
    let object = pod.object();
    let mut sidecars = JoinSet::new();
    for (spec, role) in containers(&object).filter(|(_, role)| *role != Role::Main) {
        if stops.borrow().is_some() {
            return;
        }
        if role == Role::Sidecar {
            let (name, started) = (object::str_at(&spec, "/name").to_owned(), pod.clone());
            sidecars.spawn(container::run(pod.clone(), spec, role, stops.clone()));
            if !wait_until_started(&started, &name, &mut stops).await {
                return join(sidecars).await;
            }
        } else if !container::run(pod.clone(), spec, role, stops.clone()).await {
            stop_sidecars(&mut sidecars);
            return;
        }
    }
    let (sidecar_stop, main) = (stops.clone(), JoinSet::new());
    let mut main = main;
    for (spec, role) in containers(&object).filter(|(_, role)| *role == Role::Main) {
        main.spawn(container::run(pod.clone(), spec, role, sidecar_stop.clone()));
    }
    while main.join_next().await.is_some() {}
    // Sidecars never keep a pod alive.
    stop_sidecars(&mut sidecars);
    join(sidecars).await;
}

/// Dropping a container's task drops its session, and with it the container.
fn stop_sidecars(sidecars: &mut JoinSet<bool>) {
    sidecars.abort_all();
}

async fn join(mut tasks: JoinSet<bool>) {
    while tasks.join_next().await.is_some() {}
}

async fn wait_until_started(
    pod: &PodContext,
    name: &str,
    stops: &mut watch::Receiver<Option<container::Stop>>,
) -> bool {
    loop {
        if pod.states().0.get(name).is_some_and(|state| state.started) {
            return true;
        }
        tokio::select! {
            _ = stops.changed() => return false,
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
        }
    }
}

/// Directories and volumes; volumes whose sources are missing are waited for. False when the pod is to end first.
async fn prepare(pod: &Arc<PodContext>, stops: &mut watch::Receiver<Option<container::Stop>>) -> bool {
    loop {
        let made = std::fs::create_dir_all(pod.dir.join("logs"))
            .map_err(|error| format!("cannot create {}: {error}", pod.dir.display()))
            .and_then(|()| volumes::make(pod));
        match made {
            Ok(()) => return true,
            Err(message) => pod.event(None, EventKind::Warning, "FailedMount", message),
        }
        tokio::select! {
            _ = stops.changed() => return false,
            () = tokio::time::sleep(VOLUME_RETRY) => {}
        }
    }
}

/// Writes the status whenever a container's state has changed.
async fn write_statuses(pod: Arc<PodContext>) {
    loop {
        if write_status(&pod).is_err() {
            tokio::time::sleep(RETRY).await;
            continue;
        }
        pod.changed.notified().await;
    }
}

/// Err when it should be tried again.
fn write_status(pod: &Arc<PodContext>) -> Result<(), ()> {
    let cluster = &pod.kubelet.cluster;
    let seen = pod.object();
    let (namespace, name) = (object::namespace(&seen), object::name(&seen));
    let Some(current) = cluster.get(super::PODS, namespace, name).filter(|it| object::uid(it) == pod.uid) else {
        return Ok(());
    };
    let status = status::of(&current, &pod.states(), pod.address, pod.kubelet.config.address, cluster.now());
    let patch = Patch::Merge(json!({ "metadata": { "uid": pod.uid }, "status": status }));
    match cluster.patch(super::PODS, namespace, name, patch, Part::Status, &Writer::controller(COMPONENT)) {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
        Err(error) => {
            eprintln!("node: cannot write the status of pod {}: {}", pod.title(), error.message);
            Err(())
        }
    }
}
