//! The way out. SIGTERM (or SIGINT) starts it; the process has ended, with 0, `DRAIN_MS` later at the latest.
//!
//! 1. `/readyz` says 503 and every answer carries `Connection: close`, but everything is still served: endpoints and
//!    proxies learn of the change later than the pod does.
//! 2. After `LINGER_MS`, as soon as no connection is open or nobody used one for a while, the listener closes, idle
//!    connections are closed and running requests are finished.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use salvo::async_trait;
use salvo::conn::ConnCtrl;
use salvo::fuse::{ArcConnObserver, ConnObserver, FuseAction, FuseConfig, FuseInfo, FusePolicy};
use salvo::server::ServerHandle;
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::log;
use crate::routes::Pod;

/// So long without a request, open connections count as forgotten by their clients.
const QUIET: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub(crate) struct Signals {
    term: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(crate) fn listen() -> std::io::Result<Signals> {
        Ok(Signals { term: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }
}

pub(crate) async fn drain_on_signal(
    mut signals: Signals,
    drain: Duration,
    linger: Duration,
    pod: Arc<Pod>,
    connections: Connections,
    server: ServerHandle,
) {
    tokio::select! {
        _ = signals.term.recv() => {}
        _ = signals.interrupt.recv() => {}
    }
    let started = Instant::now();
    pod.draining.store(true, Relaxed);
    log::info("draining", json!({ "in_flight": pod.metrics.in_flight(), "connections": connections.open() }));
    // The last quarter is for the requests that still run when connections are closed.
    let closing_at = started + drain.mul_f32(0.75).max(linger);
    tokio::time::sleep(linger).await;

    let (mut answered, mut last_heard) = (pod.metrics.finished_total(), Instant::now());
    while Instant::now() < closing_at && connections.open() > 0 {
        let now_answered = pod.metrics.finished_total();
        if now_answered != answered || pod.metrics.in_flight() > 0 {
            (answered, last_heard) = (now_answered, Instant::now());
        } else if last_heard.elapsed() >= QUIET {
            break;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    server.stop_graceful(None);
    // The process ends before this when everything is answered.
    tokio::time::sleep(drain.saturating_sub(started.elapsed())).await;
    log::warn("requests are cut off; raise DRAIN_MS", json!({ "cut_off": pod.metrics.in_flight() }));
    server.stop_forceful();
}

/// How many connections are open, counted by an observer on each that lives as long as the connection.
#[derive(Clone)]
pub(crate) struct Connections {
    open: Arc<AtomicUsize>,
    timeouts: FuseConfig,
}

impl Connections {
    pub(crate) fn new(timeouts: FuseConfig) -> Connections {
        Connections { open: Arc::default(), timeouts }
    }

    fn open(&self) -> usize {
        self.open.load(Relaxed)
    }
}

#[async_trait]
impl FusePolicy for Connections {
    async fn decide(&self, _: &FuseInfo) -> FuseAction {
        FuseAction::Accept(self.timeouts)
    }

    fn observe(&self, _: &FuseInfo, _: &ConnCtrl) -> Option<ArcConnObserver> {
        self.open.fetch_add(1, Relaxed);
        Some(Arc::new(OpenConnection(self.open.clone())))
    }
}

struct OpenConnection(Arc<AtomicUsize>);

impl ConnObserver for OpenConnection {}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
