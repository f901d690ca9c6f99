//! The service proxy: what kube-proxy does, in user space. Each Service has listeners at its cluster IP and, for node
//! ports, at the node's address; every new connection goes to a ready endpoint of its own choice.
//!
//! Which listeners there must be is a pure function of a snapshot ([`routes`]); this file opens and closes them. A port
//! without endpoints is not listened on, so that clients are refused as kube-proxy's REJECT rule refuses them. TCP only.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;

use crate::cluster::Cluster;
use crate::controllers::action::{Event, EventKind};
use crate::controllers::event_recorder::EventRecorder;
use crate::object::ObjectReference;
use crate::seed;

mod balance;
mod forward;
pub mod routes;

use balance::Balancer;
use routes::{Route, Routes};

/// Changes that come closer together than this are looked at once.
const DEBOUNCE: Duration = Duration::from_millis(2);
/// How often a port that could not be had is tried again.
const RETRY: Duration = Duration::from_secs(2);
/// After a failed accept (out of file descriptors, mostly).
const PAUSE: Duration = Duration::from_millis(20);
const BACKLOG: u32 = 4_096;
/// The name under which events are told.
const COMPONENT: &str = "kube-proxy";

/// A running proxy; dropping it closes the listeners, established connections go on until the runtime ends.
#[derive(Debug)]
pub struct Proxy {
    task: JoinHandle<()>,
}

struct Listening {
    task: JoinHandle<()>,
    balancer: Arc<RwLock<Balancer>>,
}

/// Listeners by address, and the addresses that could not be had.
struct Listeners {
    cluster: Cluster,
    open: HashMap<SocketAddr, Listening>,
    refused: BTreeSet<SocketAddr>,
    events: Mutex<EventRecorder>,
}

impl Proxy {
    /// Starts on the current runtime; node ports are opened at `node`.
    pub fn start(cluster: Cluster, node: Ipv4Addr) -> Proxy {
        Proxy { task: tokio::spawn(run(cluster, node)) }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(cluster: Cluster, node: Ipv4Addr) {
    let mut listeners = Listeners {
        cluster: cluster.clone(),
        open: HashMap::new(),
        refused: BTreeSet::new(),
        events: Mutex::default(),
    };
    let mut last = Routes::new();
    loop {
        // Before the look, so that no change falls between.
        let mut changes = routes::INPUTS.map(|resource| cluster.watch(resource, None, cluster.revision()));
        let wanted = routes::of(&cluster.snapshot(), node);
        if wanted != last || !listeners.refused.is_empty() {
            listeners.follow(&wanted);
            last = wanted;
        }
        let retry = async {
            if listeners.refused.is_empty() { std::future::pending().await } else { tokio::time::sleep(RETRY).await }
        };
        let changed = changes.iter_mut().flatten().map(|watch| Box::pin(watch.next()));
        tokio::select! {
            _ = futures::future::select_all(changed) => {}
            () = retry => {}
        }
        tokio::time::sleep(DEBOUNCE).await;
    }
}

impl Listeners {
    /// Opens what is missing, closes what is not wanted any more, and gives the rest its new endpoints.
    fn follow(&mut self, wanted: &BTreeMap<SocketAddr, Route>) {
        self.open.retain(|address, listening| {
            let keep = wanted.get(address).is_some_and(|route| !route.endpoints.is_empty());
            if !keep {
                listening.task.abort();
            }
            keep
        });
        self.refused.retain(|address| wanted.contains_key(address));
        for (address, route) in wanted.iter().filter(|(_, route)| !route.endpoints.is_empty()) {
            match self.open.get(address) {
                Some(listening) => {
                    listening.balancer.write().unwrap_or_else(PoisonError::into_inner).follow(route);
                }
                None => self.open(*address, route),
            }
        }
    }

    fn open(&mut self, address: SocketAddr, route: &Route) {
        match bind(address) {
            Ok(listener) => {
                let balancer = Arc::new(RwLock::new(Balancer::new(route)));
                let task = tokio::spawn(accept(listener, balancer.clone()));
                self.open.insert(address, Listening { task, balancer });
                self.refused.remove(&address);
            }
            Err(error) => {
                if self.refused.insert(address) {
                    self.tell(address, route, &error);
                }
            }
        }
    }

    /// One event for each port that cannot be had, with what mends it. For the API's own a line of the log is enough: pods are
    /// told the server's address, and every ordinary user would meet the warning in an empty cluster.
    fn tell(&self, address: SocketAddr, route: &Route, error: &std::io::Error) {
        let remedy = match error.kind() {
            std::io::ErrorKind::PermissionDenied => format!(
                "only root may listen below port 1024; use a higher port, or `sysctl net.ipv4.ip_unprivileged_port_start={}`",
                address.port()
            ),
            std::io::ErrorKind::AddrInUse => {
                format!("another program listens there; `ss -ltnp 'sport = :{}'` names it", address.port())
            }
            _ => "it is tried again every two seconds".to_owned(),
        };
        let message = format!("cannot listen at {address} for port {}: {error}: {remedy}", route.port_name);
        eprintln!("proxy: service {}/{}: {message}", route.namespace, route.service);
        if (route.namespace.as_str(), route.service.as_str()) == seed::API_SERVICE {
            return;
        }
        let service = self.cluster.get("services", &route.namespace, &route.service);
        let Some(service) = service else { return };
        let event = Event {
            regarding: ObjectReference::of(&service),
            kind: EventKind::Warning,
            reason: "PortUnavailable".into(),
            message,
            component: COMPONENT,
            action: None,
        };
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.record(&self.cluster, event, self.cluster.now());
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        self.open.values().for_each(|listening| listening.task.abort());
    }
}

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn accept(listener: TcpListener, balancer: Arc<RwLock<Balancer>>) {
    loop {
        match listener.accept().await {
            Ok((client, from)) => {
                tokio::spawn(serve(client, from, balancer.clone()));
            }
            Err(error) => {
                eprintln!("proxy: cannot accept a connection: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Connects to an endpoint and copies both ways. A refused connection goes to another endpoint: no byte was sent yet.
async fn serve(client: TcpStream, from: SocketAddr, balancer: Arc<RwLock<Balancer>>) {
    let candidates = balancer.write().unwrap_or_else(PoisonError::into_inner).candidates(from.ip());
    for endpoint in candidates {
        if let Ok(server) = TcpStream::connect(endpoint).await {
            forward::both_ways(client, server).await;
            return;
        }
    }
    // Nobody answers: the client sees a reset, as it would from a node whose endpoint is dead.
    let _ = client.set_zero_linger();
}

#[cfg(test)]
mod tests;
