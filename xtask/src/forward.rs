//! A port-forward that balances: each new connection goes to the next ready pod, and a pod that goes away takes only its
//! own connections with it. (kubectl's pins one pod and ends with it.)

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use futures::future::FusedFuture;
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use crate::pods;
use crate::problem;

/// How long a connection waits for a ready pod that takes it.
const PATIENCE: Duration = Duration::from_secs(10);
/// Before the next pod is tried.
const PAUSE: Duration = Duration::from_millis(100);
/// What a client may say before the first answer and still be passed to another pod.
const KEPT: usize = 64 * 1024;
const CHUNK: usize = 8 * 1024;

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
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut asked = Vec::new();
    let mut last = anyhow!("no pod is ready");
    // Pods go, and so may the API server for a while: until patience ends, the next pod may do.
    while tokio::time::Instant::now() < deadline {
        let some_ready = ready.wait_for(|pods| !pods.is_empty());
        let Ok(known) = tokio::time::timeout_at(deadline, some_ready).await else { break };
        let known = known?.clone();
        let pod = &known[next.fetch_add(1, Ordering::Relaxed) % known.len()];
        let mut forwarder = match pods.portforward(pod, &[port]).await {
            Ok(forwarder) => forwarder,
            Err(error) => {
                last = anyhow!(error).context(format!("pod {pod}"));
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let refusal = forwarder.take_error(port).context("the cluster opened no stream")?;
        let upstream = forwarder.take_stream(port).context("the cluster opened no stream")?;
        let begun = begin(&mut stream, &mut asked, upstream, refusal).await;
        match begun {
            Begun::Refused(why) => {
                last = anyhow!(why).context(format!("pod {pod}"));
                tokio::time::sleep(PAUSE).await;
            }
            Begun::Ended => {
                let _ = told.send(Dialed::Pod { peer, pod: pod.clone() });
                return Ok(());
            }
            Begun::Serving(mut upstream) => {
                let _ = told.send(Dialed::Pod { peer, pod: pod.clone() });
                // Either side may hang up at any moment; that is how connections end.
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut upstream).await;
                drop(upstream);
                forwarder.abort();
                return Ok(());
            }
        }
    }
    Err(last)
}

enum Begun {
    /// The pod has answered: from now on it is this pod or none.
    Serving(DuplexStream),
    /// Nothing listens in the pod, and nobody has seen what the client said.
    Refused(String),
    /// One side hung up.
    Ended,
}

/// The connection up to the pod's first byte. What the client asks is kept until then, for another pod where nothing listens in
/// this one; a pod that heard it and died is not asked for twice.
async fn begin(
    client: &mut TcpStream,
    asked: &mut Vec<u8>,
    mut upstream: DuplexStream,
    refusal: impl Future<Output = Option<String>>,
) -> Begun {
    let refused = |words: Option<String>| words.filter(|words| words.contains("failed to connect"));
    let refusal = refusal.fuse();
    tokio::pin!(refusal);
    if upstream.write_all(asked).await.is_err() {
        return refused(refusal.await).map_or(Begun::Ended, Begun::Refused);
    }
    let (mut said, mut answer) = ([0; CHUNK], [0; CHUNK]);
    loop {
        tokio::select! {
            words = &mut refusal, if !refusal.is_terminated() => if let Some(why) = refused(words) {
                return Begun::Refused(why);
            },
            read = client.read(&mut said), if asked.len() < KEPT => match read {
                // Whoever said all may still wait for the answer.
                Ok(0) => return Begun::Serving(upstream),
                Ok(length) => {
                    asked.extend_from_slice(&said[..length]);
                    // That it is gone shows when the answer is read.
                    let _ = upstream.write_all(&said[..length]).await;
                }
                Err(_) => return Begun::Ended,
            },
            read = upstream.read(&mut answer) => match read {
                Ok(length) if length > 0 => {
                    let passed = client.write_all(&answer[..length]).await;
                    return if passed.is_ok() { Begun::Serving(upstream) } else { Begun::Ended };
                }
                _ => {
                    let words = if refusal.is_terminated() { None } else { refusal.await };
                    return refused(words).map_or(Begun::Ended, Begun::Refused);
                }
            },
        }
        if asked.len() >= KEPT {
            return Begun::Serving(upstream);
        }
    }
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
