//! The kubelet: every pod bound to this node gets a worker, which lives until the pod's processes are gone.
//!
//! A pod that is deleted is terminated and then removed from the store; one that vanishes from the store is killed.
//! Pods that the store remembers from an earlier daemon start again: their processes died with it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::cgroup::Cgroup;
use super::session::Session;
use super::supervisor::check::Isolation;
use super::{Limits, NODE_NAME, NodeConfig};
use crate::cluster::Cluster;
use crate::controllers::action::{Event, EventKind};
use crate::controllers::event_recorder::EventRecorder;
use crate::image::ImageStore;
use crate::metrics::ContainerKey;
use crate::object::{self, Object, ObjectReference};

mod container;
mod environment;
mod grpc;
mod launch;
mod lost;
mod pod;
mod probe;
mod state;
mod status;
mod streams;
pub(crate) mod tls;
mod volumes;

pub use streams::{ExecSession, ExecStreams};

use pod::{PodContext, Wish};

pub(super) const PODS: &str = "pods";
pub(super) const COMPONENT: &str = "kubelet";
/// Changes that come closer together than this are looked at once.
const DEBOUNCE: Duration = Duration::from_millis(1);
/// How long pods may take to end when the daemon stops.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(10);

pub struct Kubelet {
    pub(super) cluster: Cluster,
    pub(super) images: ImageStore,
    pub(super) config: NodeConfig,
    pub(super) limits: Limits,
    pub(super) isolation: Isolation,
    // Held for single map operations only.
    workers: Mutex<HashMap<String, Worker>>,
    addresses: Mutex<BTreeSet<Ipv4Addr>>,
    events: Mutex<EventRecorder>,
    /// Set when the daemon ends: nothing is started any more.
    stopping: AtomicBool,
}

struct Worker {
    pod: Arc<PodContext>,
    wish: watch::Sender<Wish>,
    task: JoinHandle<()>,
}

/// A container that runs at this moment.
#[derive(Clone)]
pub(super) struct RunningContainer {
    pub(super) session: Session,
    pub(super) cgroup: Option<Arc<Cgroup>>,
}

impl Kubelet {
    pub(super) fn start(
        cluster: Cluster,
        images: ImageStore,
        config: NodeConfig,
        limits: Limits,
        isolation: Isolation,
    ) -> Arc<Kubelet> {
        if let Limits::Cgroups(root) = &limits {
            root.remove_all();
        }
        let kubelet = Arc::new(Kubelet {
            cluster,
            images,
            config,
            limits,
            isolation,
            workers: Mutex::default(),
            addresses: Mutex::default(),
            events: Mutex::default(),
            stopping: AtomicBool::new(false),
        });
        kubelet.remember_addresses();
        kubelet.remove_old_directories();
        // Before anyone can ask: what ran under an earlier daemon does not run now.
        look(&kubelet);
        kubelet.workers().values().for_each(|worker| pod::tell(&worker.pod));
        tokio::spawn(follow(kubelet.clone()));
        kubelet
    }

    fn workers(&self) -> MutexGuard<'_, HashMap<String, Worker>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pod as this node knows it, if it runs here.
    pub(super) fn pod(&self, uid: &str) -> Option<Arc<PodContext>> {
        self.workers().get(uid).map(|worker| worker.pod.clone())
    }

    /// Every running container with the instant its counters began.
    pub(super) fn running(&self) -> Vec<(ContainerKey, Timestamp, RunningContainer)> {
        let workers = self.workers();
        let mut running = Vec::new();
        for worker in workers.values() {
            let pod = worker.pod.object();
            for (container, since, handle) in worker.pod.states().running() {
                let (namespace, pod) = (object::namespace(&pod).to_owned(), object::name(&pod).to_owned());
                running.push((ContainerKey { namespace, pod, container }, since, handle));
            }
        }
        running
    }

    pub(super) fn event(
        &self,
        pod: &Object,
        container: Option<&str>,
        kind: EventKind,
        reason: &'static str,
        message: String,
    ) {
        let mut regarding = ObjectReference::of(pod);
        if let Some(container) = container {
            let of = |list| object::array_at(pod, list).iter().any(|it| it["name"] == container);
            let list = if of("/spec/initContainers") { "initContainers" } else { "containers" };
            regarding.field_path = format!("spec.{list}{{{container}}}");
        }
        let event = Event { regarding, kind, reason: reason.into(), message, component: COMPONENT, action: None };
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.record(&self.cluster, event, self.cluster.now());
    }

    /// An address for a pod: the one it had, if it had one, else the next that is free.
    pub(super) fn take_address(&self, pod: &Object) -> Option<Ipv4Addr> {
        let mut taken = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let (first, last) = self.config.pod_addresses;
        let had = object::str_at(pod, "/status/podIP").parse().ok().filter(|it| (first..=last).contains(it));
        if had.is_some() {
            taken.extend(had);
            return had;
        }
        // After the highest one in use, so that an address is not given anew right after it was freed.
        let next = taken.last().map_or(u32::from(first), |it| u32::from(*it) + 1);
        let candidates = (next..=u32::from(last)).chain(u32::from(first)..next);
        let usable = |it: &Ipv4Addr| !matches!(it.octets()[3], 0 | 255) && !taken.contains(it);
        let free = candidates.map(Ipv4Addr::from).find(usable)?;
        taken.insert(free);
        Some(free)
    }

    pub(super) fn free_address(&self, address: Ipv4Addr) {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).remove(&address);
    }

    fn remember_addresses(&self) {
        let pods = self.cluster.list(PODS, None).items;
        let own = pods.iter().filter(|pod| is_mine(pod) && !is_finished(pod));
        let (first, last) = self.config.pod_addresses;
        let had = own.filter_map(|pod| object::str_at(pod, "/status/podIP").parse::<Ipv4Addr>().ok());
        // The instance may have another network now.
        let had = had.filter(|address| (first..=last).contains(address));
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).extend(had);
    }

    /// Directories of pods that are gone; those of the others keep their logs.
    fn remove_old_directories(&self) {
        let pods = self.cluster.list(PODS, None).items;
        let known: BTreeSet<&str> = pods.iter().map(|pod| object::uid(pod)).collect();
        let Ok(entries) = std::fs::read_dir(&self.config.pods_dir) else { return };
        for entry in entries.flatten().filter(|entry| !known.contains(&*entry.file_name().to_string_lossy())) {
            if let Err(error) = crate::removal::remove_tree(&entry.path()) {
                eprintln!("node: cannot remove {}: {error}", entry.path().display());
            }
        }
    }

    pub(super) async fn shutdown(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        let mut tasks = Vec::new();
        for (_, worker) in self.workers().drain() {
            let _ = worker.wish.send(Wish::Shutdown); // a worker that has ended wants no wish
            tasks.push(worker.task);
        }
        let all = async {
            for task in &mut tasks {
                let _ = task.await; // a panic of one worker must not stop the others' end
            }
        };
        if tokio::time::timeout(SHUTDOWN_PATIENCE, all).await.is_err() {
            eprintln!("node: some pods did not end in time and are killed");
        }
        tasks.iter().for_each(JoinHandle::abort);
    }
}

fn is_mine(pod: &Object) -> bool {
    object::str_at(pod, "/spec/nodeName") == NODE_NAME
}

fn is_finished(pod: &Object) -> bool {
    matches!(object::str_at(pod, "/status/phase"), "Succeeded" | "Failed")
}

/// Keeps one worker for each unfinished pod of this node, and tells it what has become of the pod.
async fn follow(kubelet: Arc<Kubelet>) {
    let mut changes = kubelet.cluster.subscribe();
    loop {
        changes.mark_unchanged();
        if kubelet.stopping.load(Ordering::SeqCst) {
            return;
        }
        look(&kubelet);
        if changes.changed().await.is_err() {
            return;
        }
        tokio::time::sleep(DEBOUNCE).await;
    }
}

fn look(kubelet: &Arc<Kubelet>) {
    let snapshot = kubelet.cluster.snapshot();
    let pods: BTreeMap<&str, &Object> =
        snapshot.list(PODS).filter(|pod| is_mine(pod)).map(|pod| (object::uid(pod), pod)).collect();
    let mut workers = kubelet.workers();
    // Asked under the lock: a shutdown that has drained the workers is seen here.
    if kubelet.stopping.load(Ordering::SeqCst) {
        return;
    }
    workers.retain(|uid, worker| {
        match pods.get(uid.as_str()) {
            None => {
                worker.wish.send_if_modified(|wish| std::mem::replace(wish, Wish::Vanished) != Wish::Vanished);
            }
            Some(pod) => {
                worker.pod.update(pod);
                if object::is_deleting(pod) {
                    let grace_s = object::i64_at(pod, "/metadata/deletionGracePeriodSeconds").unwrap_or(30);
                    let wanted = Wish::Terminate { grace_s: grace_s.max(0).unsigned_abs() };
                    worker.wish.send_if_modified(|wish| {
                        let changes = *wish != wanted && *wish != Wish::Vanished;
                        if changes {
                            *wish = wanted;
                        }
                        changes
                    });
                }
            }
        }
        !worker.task.is_finished()
    });
    for (uid, pod) in pods {
        if is_finished(pod) || workers.contains_key(uid) {
            continue;
        }
        let (context, wish, task) = pod::start(kubelet.clone(), pod);
        workers.insert(uid.to_owned(), Worker { pod: context, wish, task });
    }
}
