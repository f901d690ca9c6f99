//! The service that is scaled: an HTTP server that burns CPU on request and says which pod it is.
//!
//! One thread serves HTTP; a bounded pool of worker threads does the CPU work, so that health endpoints answer
//! however busy the pod is. On SIGTERM it turns unready, drains and exits with 0: a request that reached it is answered.

mod drain;
mod log;
mod metrics;
mod pool;
mod routes;
mod settings;
mod work;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use salvo::conn::tcp::TcpAcceptor;
use salvo::fuse::FuseConfig;
use salvo::{Server, Service};
use serde_json::json;

use crate::drain::Connections;
use crate::metrics::Metrics;
use crate::pool::Pool;
use crate::routes::Pod;
use crate::settings::Settings;

/// How long a connection may sit idle or take over its request head. Long, because a server that closes an idle
/// connection may cut off the request that is already on its way; finite, so that dead peers are forgotten.
const IDLE_CONNECTION: Duration = Duration::from_secs(300);

fn main() -> ExitCode {
    let result = Settings::from_environment().and_then(|settings| {
        log::start(settings.log_level, &settings.pod_name);
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
    let signals = drain::Signals::listen().context("cannot listen for signals")?;
    let pool = Pool::start(settings.workers, settings.queue).context("cannot start the worker threads")?;
    let address = SocketAddr::new(settings.bind, settings.port);
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}; PORT names another port"))?;
    let acceptor = TcpAcceptor::try_from(listener)?;
    let bound = acceptor.local_addr()?;

    let connections = Connections::new(FuseConfig::default().with_http1_header_timeout(IDLE_CONNECTION));
    let pod = Arc::new(Pod::new(&settings, pool, Metrics::new(SystemTime::now()))?);
    let service = Service::new(routes::router(&pod)).hoop(routes::Envelope(pod.clone()));
    let server = Server::new(acceptor).fuse_policy(connections.clone());
    let handle = server.handle();
    log::info(
        "listening",
        json!({
            "address": bound.to_string(), "version": settings.version, "workers": settings.workers,
            "queue": settings.queue, "drain_ms": settings.drain.as_millis() as u64,
        }),
    );
    tokio::spawn(drain::drain_on_signal(signals, settings.drain, settings.linger, pod.clone(), connections, handle));
    server.try_serve(service).await?;
    log::info("stopped", json!({}));
    Ok(())
}
