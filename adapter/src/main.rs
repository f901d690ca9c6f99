//! Custom and external metrics for HorizontalPodAutoscalers, without Prometheus: scrapes the pods' own `/metrics`, works
//! out rates, latest values and quantiles, and serves custom.metrics.k8s.io and external.metrics.k8s.io over HTTPS.
//!
//! An aggregated API server: an APIService points at it. It keeps the last minutes in memory and writes nothing. On
//! SIGTERM it turns unready, answers what still comes, and exits with 0.

mod board;
mod discovery;
mod exposition;
mod history;
mod log;
mod metrics;
mod path;
mod quantity;
mod query;
mod refusal;
mod routes;
mod rules;
mod scraper;
mod selector;
mod settings;
mod target;
mod tls;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context, Result};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::reflector::{self, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use salvo::conn::tcp::TcpAcceptor;
use salvo::fuse::FuseConfig;
use salvo::server::ServerHandle;
use salvo::{Server, Service};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::board::Board;
use crate::metrics::Metrics;
use crate::query::Queries;
use crate::scraper::Scraper;
use crate::settings::{Scope, Settings};
use crate::tls::TlsAcceptor;

/// Group and version of the two APIs.
const CUSTOM: (&str, &str) = ("custom.metrics.k8s.io", "v1beta2");
const EXTERNAL: (&str, &str) = ("external.metrics.k8s.io", "v1beta1");

/// Requests are answered from memory; what takes longer than this at the end is cut off.
const DRAIN: Duration = Duration::from_secs(5);
/// How long a connection may sit idle, or take for its handshake.
const IDLE_CONNECTION: Duration = Duration::from_secs(300);

fn main() -> ExitCode {
    let result = Settings::from_environment().and_then(|settings| {
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(serve(settings))
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error("cannot serve", json!({ "error": format!("{error:#}") }));
            ExitCode::FAILURE
        }
    }
}

async fn serve(settings: Settings) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // Two crates of the tree bring rustls; it must not have to guess.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config =
        kube::Config::infer().await.context("no cluster: there is neither a kubeconfig nor a service account")?;
    let own_namespace = config.default_namespace.clone();
    let client = Client::try_from(config).context("the cluster's configuration cannot be used")?;
    let namespace = match &settings.scope {
        Scope::Own => Some(own_namespace),
        Scope::Namespace(name) => Some(name.clone()),
        Scope::All => None,
    };
    let files = settings.tls_files.as_ref().map(|(certificate, key)| (certificate.as_path(), key.as_path()));
    let tls = tls::config(files, &settings.pod_name)?;
    let address = SocketAddr::new(settings.bind, settings.port);
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}; PORT names another port"))?;
    let bound = listener.local_addr()?;
    let acceptor = TlsAcceptor::new(TcpAcceptor::try_from(listener)?, tls);

    let served = json!({ "address": bound.to_string(), "namespace": namespace.as_deref().unwrap_or("*") });
    let timeouts = FuseConfig::default().with_http1_header_timeout(IDLE_CONNECTION);
    let linger = settings.linger;
    let api = Arc::new(start(settings, client, namespace));
    let server = Server::new(acceptor).fuse_policy(timeouts);
    let handle = server.handle();
    log::info("listening", served);
    tokio::spawn(mark_synced(api.clone()));
    let ending = api.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        drain(&ending.is_draining, linger, handle).await;
    });
    server.try_serve(Service::new(routes::router(&api))).await?;
    log::info("stopped", json!({}));
    Ok(())
}

/// Starts the watch of the pods and the scraper.
fn start(settings: Settings, client: Client, namespace: Option<String>) -> routes::Server {
    let pods = watch(client.clone(), namespace.as_deref());
    let board = Arc::new(Board::new(settings.rules.longest_window_ms(), settings.fresh_ms()));
    let (metrics, rules) = (Arc::new(Metrics::default()), Arc::new(settings.rules));
    let scraper = Scraper {
        board: board.clone(),
        metrics: metrics.clone(),
        rules: rules.clone(),
        interval: settings.scrape_interval,
        timeout: settings.scrape_timeout,
    };
    tokio::spawn(scraper.run(pods.clone()));
    let queries = Queries { rules, board, pods, client, namespace };
    routes::Server { queries, metrics, is_synced: AtomicBool::new(false), is_draining: AtomicBool::new(false) }
}

fn watch(client: Client, namespace: Option<&str>) -> Store<Pod> {
    let api: Api<Pod> = match namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let (pods, writer) = reflector::store();
    let changes = reflector::reflector(writer, watcher(api, watcher::Config::default()).default_backoff());
    tokio::spawn(changes.for_each(|change| async {
        if let Err(error) = change {
            log::warn("the watch of the pods broke off, and is begun again", json!({ "error": error.to_string() }));
        }
    }));
    pods
}

async fn mark_synced(api: Arc<routes::Server>) {
    // It fails only when the watch is gone, which lives as long as the process.
    if api.queries.pods.wait_until_ready().await.is_ok() {
        api.is_synced.store(true, Relaxed);
        log::info("the pods are known", json!({ "pods": api.queries.pods.len() }));
    }
}

/// Endpoints learn later than the pod that it is going, so it goes on answering for a while.
async fn drain(is_draining: &AtomicBool, linger: Duration, server: ServerHandle) {
    is_draining.store(true, Relaxed);
    log::info("draining", json!({}));
    tokio::time::sleep(linger).await;
    server.stop_graceful(Some(DRAIN));
}
