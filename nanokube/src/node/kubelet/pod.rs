//! One pod: init containers in order, then the others at once; its status follows its containers; termination within
//! the grace period; removal from the store when nothing of it runs any more.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::state::{ContainerState, Role, States};
use super::{COMPONENT, Kubelet, container, launch, lost, status, volumes};
use crate::cluster::{DeleteOptions, Part, Patch, Writer};
use crate::controllers::action::EventKind;
use crate::object::{self, Object};

/// A status that could not be written (a conflict, a full disk) is written again after this.
const RETRY: Duration = Duration::from_millis(200);
/// Volumes whose sources are missing are looked for again after this.
const VOLUME_RETRY: Duration = Duration::from_secs(1);
/// How often the files of volumes are compared with their sources.
const VOLUME_REFRESH: Duration = Duration::from_secs(5);

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
    /// Why the node gave up on the pod, if it did: reason and message.
    failure: Mutex<Option<(&'static str, String)>>,
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

    /// The node gives up on the pod.
    fn fail(&self, reason: &'static str, message: &str) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some((reason, message.to_owned()));
        self.changed.notify_one();
    }

    fn failure(&self) -> Option<(&'static str, String)> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// `name_namespace(uid)`, as messages name a pod.
    pub(super) fn title(&self) -> String {
        let pod = self.object();
        format!("{}_{}({})", object::name(&pod), object::namespace(&pod), self.uid)
    }
}

pub(super) fn start(kubelet: Arc<Kubelet>, pod: &Object) -> (Arc<PodContext>, watch::Sender<Wish>, JoinHandle<()>) {
    let uid = object::uid(pod).to_owned();
    let on_host = object::bool_at(pod, "/spec/hostNetwork");
    let address = if on_host { Some(kubelet.config.address) } else { kubelet.take_address(pod) };
    let context = Arc::new(PodContext {
        dir: kubelet.config.pods_dir.join(&uid),
        uid,
        address: address.unwrap_or(Ipv4Addr::UNSPECIFIED),
        object: Mutex::new(pod.clone()),
        states: Mutex::new(lost::initial_states(pod, kubelet.cluster.now())),
        failure: Mutex::default(),
        changed: Notify::new(),
        kubelet,
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
    // What an earlier daemon left of this pod, but for its logs.
    for leftover in ["containers", "volumes"] {
        let _ = crate::removal::remove_tree(&pod.dir.join(leftover)); // most pods have none
    }
    let writer = tokio::spawn(write_statuses(pod.clone()));
    let (stop, stops) = watch::channel(None);
    let mut work = tokio::spawn(live(pod.clone(), stops));
    let mut begun = false;
    let mut deadline = Deadline::of(&pod);
    let last = loop {
        let wish = *wishes.borrow_and_update();
        let grace_s = match wish {
            Wish::Run if pod.failure().is_some() => Some(grace_of(&pod)),
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
            () = deadline.passed() => {
                let message = "Pod was active on the node longer than the specified deadline";
                pod.event(None, EventKind::Normal, "DeadlineExceeded", message);
                pod.fail("DeadlineExceeded", message);
            }
        }
    };
    writer.abort();
    finish(&pod, last, &mut wishes).await;
}

/// When a pod with `activeDeadlineSeconds` has been active for long enough.
struct Deadline(Option<tokio::time::Instant>);

impl Deadline {
    fn of(pod: &PodContext) -> Deadline {
        let object = pod.object();
        let now = pod.kubelet.cluster.now();
        let started = object::time_at(&object, "/status/startTime").unwrap_or(now);
        let age_s = now.duration_since(started).as_secs();
        let left_s = object::i64_at(&object, "/spec/activeDeadlineSeconds").map(|limit_s| (limit_s - age_s).max(0));
        Deadline(left_s.map(|left_s| tokio::time::Instant::now() + Duration::from_secs(left_s.unsigned_abs())))
    }

    /// Returns once, when it has passed.
    async fn passed(&mut self) {
        match self.0 {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
        self.0 = None;
    }
}

fn grace_of(pod: &PodContext) -> u64 {
    object::i64_at(&pod.object(), "/spec/terminationGracePeriodSeconds").unwrap_or(30).max(0).unsigned_abs()
}

/// The last status, then removal, when that is wished; a pod that ended by itself waits for nothing.
async fn finish(pod: &Arc<PodContext>, wish: Wish, wishes: &mut watch::Receiver<Wish>) {
    let mut wish = if wish == Wish::Run { *wishes.borrow() } else { wish };
    if wish != Wish::Shutdown && wish != Wish::Vanished {
        while write_status(pod).is_err() {
            tokio::time::sleep(RETRY).await;
        }
    }
    if wish != Wish::Shutdown {
        pod.kubelet.free_address(pod.address);
    }
    // A pod that ended by itself keeps its log until it is deleted.
    while wish == Wish::Run {
        if wishes.changed().await.is_err() {
            return;
        }
        wish = *wishes.borrow_and_update();
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
    if matches!(wish, Wish::Terminate { .. } | Wish::Vanished)
        && let Err(error) = crate::removal::remove_tree(&pod.dir)
    {
        eprintln!("node: cannot remove {}: {error}", pod.dir.display());
    }
}

/// Runs all containers; returns when none runs and none will start again.
async fn live(pod: Arc<PodContext>, mut stops: watch::Receiver<Option<container::Stop>>) {
    if !prepare(&pod, &mut stops).await {
        return;
    }
    let refreshing = tokio::spawn(refresh_volumes(pod.clone()));
    run_containers(&pod, stops).await;
    refreshing.abort();
}

/// ConfigMaps, Secrets and labels may change while the pod runs.
async fn refresh_volumes(pod: Arc<PodContext>) {
    loop {
        tokio::time::sleep(VOLUME_REFRESH).await;
        // A source that has gone leaves the files as they were, as on a real node.
        let _ = volumes::make(&pod);
        let _ = launch::write_hosts(&pod, &pod.object());
    }
}

async fn run_containers(pod: &Arc<PodContext>, mut stops: watch::Receiver<Option<container::Stop>>) {
    let object = pod.object();
    let mut sidecars = JoinSet::new();
    let (sidecar_stop, sidecar_stops) = watch::channel(None);
    for (spec, role) in containers(&object).filter(|(_, role)| *role != Role::Main) {
        if stops.borrow().is_some() {
            return end_sidecars(pod, sidecars, &sidecar_stop, &stops).await;
        }
        if role == Role::Sidecar {
            let (name, started) = (object::str_at(&spec, "/name").to_owned(), pod.clone());
            sidecars.spawn(container::run(pod.clone(), spec, role, sidecar_stops.clone()));
            if !wait_until_started(&started, &name, &mut stops).await {
                return end_sidecars(pod, sidecars, &sidecar_stop, &stops).await;
            }
        } else if !container::run(pod.clone(), spec, role, stops.clone()).await {
            return end_sidecars(pod, sidecars, &sidecar_stop, &stops).await;
        }
    }
    let mut main = JoinSet::new();
    for (spec, role) in containers(&object).filter(|(_, role)| *role == Role::Main) {
        main.spawn(container::run(pod.clone(), spec, role, stops.clone()));
    }
    while main.join_next().await.is_some() {}
    end_sidecars(pod, sidecars, &sidecar_stop, &stops).await;
}

/// Sidecars never keep a pod alive: they are told to end when the others have, within what is left of the grace period.
async fn end_sidecars(
    pod: &PodContext,
    mut sidecars: JoinSet<bool>,
    tell: &watch::Sender<Option<container::Stop>>,
    stops: &watch::Receiver<Option<container::Stop>>,
) {
    let ordered = stops.borrow().map(|stop| stop.grace);
    let grace = ordered.unwrap_or_else(|| Duration::from_secs(grace_of(pod)));
    tell.send_replace(Some(container::Stop { grace, again: false }));
    while sidecars.join_next().await.is_some() {}
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
    let mut attempt = 0u64;
    loop {
        attempt += 1;
        let made = std::fs::create_dir_all(pod.dir.join("logs"))
            .map_err(|error| format!("cannot create {}: {error}", pod.dir.display()))
            .and_then(|()| volumes::make(pod));
        match made {
            Ok(()) => return true,
            // Told as often as upstream's back-off, which doubles up to two minutes, would try.
            Err(message) if attempt.is_power_of_two() || attempt.is_multiple_of(128) => {
                pod.event(None, EventKind::Warning, "FailedMount", message);
            }
            Err(_) => {}
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

/// Writes the status once, as it is now; the pod's worker goes on with that.
pub(super) fn tell(pod: &Arc<PodContext>) {
    let _ = write_status(pod); // the worker tries again
}

/// Err when it should be tried again.
fn write_status(pod: &Arc<PodContext>) -> Result<(), ()> {
    let cluster = &pod.kubelet.cluster;
    let seen = pod.object();
    let (namespace, name) = (object::namespace(&seen), object::name(&seen));
    let Some(current) = cluster.get(super::PODS, namespace, name).filter(|it| object::uid(it) == pod.uid) else {
        return Ok(());
    };
    let addresses = (pod.address, pod.kubelet.config.address);
    let status = status::of(&current, &pod.states(), pod.failure(), addresses, cluster.now());
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
