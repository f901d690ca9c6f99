//! A port-forward that balances: each new connection goes to the next ready pod, and a pod that goes away takes only its
//! own connections with it. (kubectl's pins one pod and ends with it.)

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use crate::pods;
use crate::problem;

/// Pods that are tried for one connection before it is given up.
const TRIES: usize = 3;
/// How long a connection waits for the first ready pod.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Forward {
    pub address: SocketAddr,
    listener: TcpListener,
    pods: Api<Pod>,
    ready: watch::Receiver<Vec<String>>,
    port: u16,
    next: Arc<AtomicUsize>,
}

/// Which pod a connection went to, or why it went to none.
pub(crate) enum Dialed {
    Pod { peer: SocketAddr, pod: String },
    Failed { peer: SocketAddr, why: String },
}

impl Forward {
    pub(crate) async fn bind(
        client: &Client,
        namespace: &str,
        selector: &str,
        port: u16,
        at: SocketAddr,
    ) -> Result<Forward> {
        let listener = match TcpListener::bind(at).await {
            Ok(listener) => listener,
            Err(error) => {
                return Err(error).with_context(|| problem::port_occupied(&at.to_string(), &holder(at.port())));
            }
        };
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
        Ok(Forward {
            address: listener.local_addr()?,
            listener,
            ready: watch_ready(pods.clone(), selector),
            pods,
            port,
            next: Arc::new(AtomicUsize::new(0)),
        })
    }

    /// Serves until the listener fails; each connection is a task of its own.
    pub(crate) async fn run(self, told: mpsc::UnboundedSender<Dialed>) -> Result<()> {
        loop {
            let (stream, peer) = self.listener.accept().await.context("accepting a connection")?;
            let (pods, ready, next, told) = (self.pods.clone(), self.ready.clone(), self.next.clone(), told.clone());
            let port = self.port;
            tokio::spawn(async move {
                if let Err(error) = serve(stream, peer, pods, ready, port, &next, &told).await {
                    // Nobody listens for the outcome of a load's own forward.
                    let _ = told.send(Dialed::Failed { peer, why: format!("{error:#}") });
                }
            });
        }
    }
}

async fn serve(
    mut stream: TcpStream,
    peer: SocketAddr,
    pods: Api<Pod>,
    mut ready: watch::Receiver<Vec<String>>,
    port: u16,
    next: &AtomicUsize,
    told: &mpsc::UnboundedSender<Dialed>,
) -> Result<()> {
    stream.set_nodelay(true)?;
    let some_ready = ready.wait_for(|pods| !pods.is_empty());
    let known = tokio::time::timeout(PATIENCE, some_ready).await.map_err(|_| anyhow!("no pod is ready"))??.clone();
    let first = next.fetch_add(1, Ordering::Relaxed);
    let mut last = None;
    for pod in (0..TRIES.min(known.len().max(1))).map(|offset| &known[(first + offset) % known.len()]) {
        let mut forwarder = match pods.portforward(pod, &[port]).await {
            Ok(forwarder) => forwarder,
            Err(error) => {
                last = Some(anyhow!(error).context(format!("pod {pod}")));
                continue;
            }
        };
        let _ = told.send(Dialed::Pod { peer, pod: pod.clone() });
        let mut upstream = forwarder.take_stream(port).context("the cluster opened no stream")?;
        // Either side may hang up at any moment; that is how connections end.
        let _ = tokio::io::copy_bidirectional(&mut stream, &mut upstream).await;
        drop(upstream);
        forwarder.abort();
        return Ok(());
    }
    Err(last.unwrap_or_else(|| anyhow!("no pod is ready")))
}

/// The names of the ready pods, kept up to date by a watch.
fn watch_ready(pods: Api<Pod>, selector: &str) -> watch::Receiver<Vec<String>> {
    let (sender, receiver) = watch::channel(Vec::new());
    let mut events = watcher(pods, watcher::Config::default().labels(selector)).default_backoff().boxed();
    tokio::spawn(async move {
        let mut names: Vec<String> = Vec::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(watcher::Event::Init) => names.clear(),
                Ok(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod)) => {
                    let name = pods::name(&pod);
                    names.retain(|known| *known != name);
                    if pods::is_ready(&pod) {
                        names.push(name);
                    }
                }
                Ok(watcher::Event::Delete(pod)) => names.retain(|known| *known != pods::name(&pod)),
                Ok(watcher::Event::InitDone) => {}
                // The last known pods serve on while the watch is set up again.
                Err(_) => continue,
            }
            names.sort();
            if sender.send(names.clone()).is_err() {
                return;
            }
        }
    });
    receiver
}

/// The process that listens on a port, as far as /proc tells an ordinary user.
fn holder(port: u16) -> String {
    let Ok(table) = std::fs::read_to_string("/proc/net/tcp") else { return String::new() };
    const LISTEN: &str = "0A";
    let inode = table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        let listening = *state == LISTEN && local.ends_with(&format!(":{port:04X}"));
        listening.then(|| format!("socket:[{inode}]"))
    });
    let Some(inode) = inode else { return String::new() };
    let pids = std::fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| {
        let entry = entry.ok()?;
        entry.file_name().to_str()?.parse::<u32>().ok()
    });
    for pid in pids {
        let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let holds =
            fds.into_iter().any(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| to.as_os_str() == inode.as_str()));
        if holds {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            return format!("{} (pid {pid})", name.trim());
        }
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_port_is_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let named = holder(listener.local_addr().unwrap().port());
        assert!(named.contains(&std::process::id().to_string()), "{named:?}");
    }
}
