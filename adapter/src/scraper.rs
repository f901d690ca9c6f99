//! Asks every pod for its metrics, again and again: each answer is bounded in time and size, and so is how many are
//! asked at once. A slow pod keeps no other waiting, and is not asked again before it has answered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, HOST};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::reflector::Store;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;

use crate::board::Board;
use crate::exposition::{self, Series};
use crate::log;
use crate::metrics::Metrics;
use crate::rules::Rules;
use crate::target::{Target, is_running};

const BODY_MAX: usize = 4 << 20;
/// Series of one pod that are kept. More are no metric that somebody scales on, but a label gone wild.
const SERIES_MAX: usize = 5000;
const AT_ONCE: usize = 32;

pub(crate) struct Scraper {
    pub(crate) board: Arc<Board>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) rules: Arc<Rules>,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
}

impl Scraper {
    /// Never returns.
    pub(crate) async fn run(self, pods: Store<Pod>) {
        let this = Arc::new(self);
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        let mut ticks = tokio::time::interval(this.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let running = pods.state().into_iter().filter(|pod| is_running(pod));
            let targets: Vec<Target> = running.filter_map(|pod| Target::of(&pod).ok()).collect();
            this.board.keep(&targets);
            this.metrics.set_targets(targets.len());
            for target in targets.into_iter().filter(|target| this.board.begin(target)) {
                let (this, turns) = (this.clone(), turns.clone());
                tokio::spawn(async move {
                    // The semaphore is never closed.
                    let _turn = turns.acquire().await;
                    this.scrape(&target).await;
                });
            }
        }
    }

    async fn scrape(&self, target: &Target) {
        let started = Instant::now();
        let result = match tokio::time::timeout(self.timeout, fetch(target, &self.rules)).await {
            Ok(result) => result.map_err(|error| format!("{error:#}")),
            Err(_) => Err(format!("http://{}{} did not answer within {:?}", target.address, target.path, self.timeout)),
        };
        self.metrics.scraped(result.is_ok(), started.elapsed());
        let failure = result.as_ref().err().cloned();
        if self.board.end(target, result) {
            match failure {
                Some(why) => log::warn("a source fails", json!({ "address": target.address.to_string(), "why": why })),
                None => log::info("a source is back", json!({ "address": target.address.to_string() })),
            }
        }
    }
}

async fn fetch(target: &Target, rules: &Rules) -> Result<Vec<(Series, f64)>> {
    let place = format!("http://{}{}", target.address, target.path);
    let stream = TcpStream::connect(target.address).await.with_context(|| format!("cannot connect to {place}"))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the answer; what it has to say of errors comes with that as well.
    let connection = tokio::spawn(connection);
    let request = http::Request::get(&target.path)
        .header(HOST, target.address.to_string())
        .header(ACCEPT, "text/plain;version=0.0.4")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .with_context(|| format!("{place} is no address"))?;
    let response = sender.send_request(request).await.with_context(|| format!("no answer from {place}"))?;
    let status = response.status();
    if !status.is_success() {
        bail!("{place} answers {status}");
    }
    let body = Limited::new(response.into_body(), BODY_MAX).collect().await;
    let body =
        body.map_err(|error| anyhow::anyhow!("{place} breaks off or is longer than {BODY_MAX} bytes: {error}"))?;
    connection.abort();
    let bytes = body.to_bytes();
    let text = std::str::from_utf8(&bytes).with_context(|| format!("{place} is no text"))?;
    let samples = exposition::parse(text, |name| rules.want(name)).with_context(|| place.clone())?;
    if samples.len() > SERIES_MAX {
        bail!("{place} shows {} series of the rules; at most {SERIES_MAX} are kept", samples.len());
    }
    Ok(samples)
}
