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
use crate::cluster::{ChangeKind, Cluster, Watch};
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
            events: Mutex::new(EventRecorder::on(NODE_NAME)),
            stopping: AtomicBool::new(false),
        });
        kubelet.remember_addresses();
        kubelet.remove_old_directories();
        volumes::remove_old_claims(&kubelet.cluster, &kubelet.config);
        // Before anyone can ask: what ran under an earlier daemon does not run now.
        let watch = look(&kubelet);
        kubelet.workers().values().for_each(|worker| pod::tell(&worker.pod));
        tokio::spawn(follow(kubelet.clone(), watch));
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

/// Keeps one worker for each unfinished pod of this node, and tells it what has become of the pod. Looks at the pods that
/// changed only: others may be many, and are written often.
async fn follow(kubelet: Arc<Kubelet>, mut watch: Watch) {
    loop {
        match watch.next().await {
            Ok(changes) => {
                let newest = changes.iter().map(|change| {
                    let pod = (change.kind != ChangeKind::Deleted).then_some(&change.object);
                    (object::uid(&change.object), pod)
                });
                let newest: BTreeMap<&str, Option<&Object>> = newest.collect();
                tell_workers(&kubelet, newest.into_iter());
            }
            // Too far behind: from the start again.
            Err(_) => watch = look(&kubelet),
        }
        if kubelet.stopping.load(Ordering::SeqCst) {
            return;
        }
        tokio::time::sleep(DEBOUNCE).await;
    }
}

/// Looks at all pods, and returns what tells the changes from there on.
fn look(kubelet: &Arc<Kubelet>) -> Watch {
    loop {
        let listing = kubelet.cluster.list(PODS, None);
        let present = listing.items.iter().map(|pod| (object::uid(pod), Some(pod)));
        let known: Vec<String> = kubelet.workers().keys().cloned().collect();
        let gone = known.iter().map(|uid| (uid.as_str(), None));
        let pods: BTreeMap<&str, Option<&Object>> = gone.chain(present).collect();
        tell_workers(kubelet, pods.into_iter());
        if let Ok(watch) = kubelet.cluster.watch(PODS, None, listing.resource_version) {
            return watch;
        }
    }
}

/// Passes on what has become of pods (None: it is gone), and starts workers for those of this node that have none.
fn tell_workers<'a>(kubelet: &Arc<Kubelet>, pods: impl Iterator<Item = (&'a str, Option<&'a Object>)>) {
    let mut workers = kubelet.workers();
    // Asked under the lock: a shutdown that has drained the workers is seen here.
    if kubelet.stopping.load(Ordering::SeqCst) {
        return;
    }
    for (uid, pod) in pods {
        match (workers.get(uid), pod) {
            (Some(worker), Some(pod)) => worker.tell(pod),
            (Some(worker), None) => worker.wish(Wish::Vanished),
            (None, Some(pod)) if is_mine(pod) && !is_finished(pod) => {
                workers.insert(uid.to_owned(), Worker::start(kubelet, pod));
            }
            (None, _) => {}
        }
    }
    // One that ended before its pod did could do nothing then (no address was free, the disk was full): tried again.
    let ended: Vec<(String, Worker)> = workers.extract_if(|_, worker| worker.task.is_finished()).collect();
    for (uid, worker) in ended {
        let last = worker.pod.object();
        let pod = kubelet.cluster.get(PODS, object::namespace(&last), object::name(&last));
        if let Some(pod) = pod.filter(|pod| object::uid(pod) == uid && !is_finished(pod)) {
            workers.insert(uid, Worker::start(kubelet, &pod));
        }
    }
}

impl Worker {
    fn start(kubelet: &Arc<Kubelet>, pod: &Object) -> Worker {
        let (pod, wish, task) = pod::start(kubelet.clone(), pod);
        Worker { pod, wish, task }
    }

    fn tell(&self, pod: &Object) {
        self.pod.update(pod);
        if object::is_deleting(pod) {
            let grace_s = object::i64_at(pod, "/metadata/deletionGracePeriodSeconds").unwrap_or(30);
            self.wish(Wish::Terminate { grace_s: grace_s.max(0).unsigned_abs() });
        }
    }

    /// Nothing takes back that the pod has vanished.
    fn wish(&self, wanted: Wish) {
        self.wish.send_if_modified(|wish| {
            let changes = *wish != wanted && *wish != Wish::Vanished;
            if changes {
                *wish = wanted;
            }
            changes
        });
    }
}
