//! The routes, and the envelope around each: pod header, counting, and `Connection: close` while draining.
//!
//! `/healthz`, `/readyz` and `/metrics` never wait for a worker. `/work` and `/load` wait in the bounded queue; when it
//! is full they answer 503 with `Retry-After`.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use anyhow::{Context, Result};
use salvo::http::header::{CONNECTION, CONTENT_TYPE, HeaderName, RETRY_AFTER};
use salvo::http::{HeaderValue, Method};
use salvo::{Depot, FlowCtrl, Handler, Request, Response, Router, async_trait, http::StatusCode};
use serde_json::json;

use crate::log::{self, Level};
use crate::metrics::Metrics;
use crate::pool::{Full, Pool};
use crate::settings::Settings;
use crate::work::{MAX_ITERATIONS, MAX_MILLIS, Work};

const POD_HEADER: HeaderName = HeaderName::from_static("x-pod-name");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROMETHEUS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("1");
const NO_SUCH_ROUTE: &str =
    "there are / and /work?iterations=N and /load?millis=N and /healthz and /readyz and /metrics\n";
/// The client is gone; nobody reads this code but the metrics (nginx's number for it).
const CLIENT_GONE: u16 = 499;

/// What every route knows.
pub(crate) struct Pod {
    pub(crate) metrics: Metrics,
    pub(crate) draining: AtomicBool,
    pool: Pool,
    name: HeaderValue,
    version: String,
    about: String,
}

impl Pod {
    pub(crate) fn new(settings: &Settings, pool: Pool, metrics: Metrics) -> Result<Pod> {
        let name = HeaderValue::from_str(&settings.pod_name)
            .with_context(|| format!("POD_NAME is {:?}, which cannot be a header's value", settings.pod_name))?;
        let about = json!({ "pod": settings.pod_name, "version": settings.version, "workers": pool.workers() });
        let version = settings.version.clone();
        Ok(Pod { metrics, draining: AtomicBool::new(false), pool, name, version, about: format!("{about}\n") })
    }
}

pub(crate) fn router(pod: &Arc<Pod>) -> Router {
    let route = |path: &str, answer: Answer| Router::with_path(path).get(Route { pod: pod.clone(), answer });
    Router::new()
        .get(Route { pod: pod.clone(), answer: Answer::About })
        .push(route("work", Answer::Work))
        .push(route("load", Answer::Load))
        .push(route("healthz", Answer::Health))
        .push(route("readyz", Answer::Ready))
        .push(route("metrics", Answer::Metrics))
}

struct Route {
    pod: Arc<Pod>,
    answer: Answer,
}

#[derive(Clone, Copy)]
enum Answer {
    About,
    Work,
    Load,
    Health,
    Ready,
    Metrics,
}

#[async_trait]
impl Handler for Route {
    async fn handle(&self, req: &mut Request, _: &mut Depot, res: &mut Response, _: &mut FlowCtrl) {
        let pod = &*self.pod;
        let query = req.uri().query();
        match self.answer {
            Answer::About => put(res, StatusCode::OK, JSON, pod.about.clone()),
            Answer::Health => put(res, StatusCode::OK, TEXT, "ok\n"),
            Answer::Ready if pod.draining.load(Relaxed) => {
                put(res, StatusCode::SERVICE_UNAVAILABLE, TEXT, "draining\n");
            }
            Answer::Ready => put(res, StatusCode::OK, TEXT, "ready\n"),
            Answer::Metrics => put(res, StatusCode::OK, PROMETHEUS, pod.metrics.render(&pod.pool, &pod.version)),
            Answer::Work => {
                let iterations = whole_number(query, "iterations", 1..=MAX_ITERATIONS);
                do_work(pod, iterations.map(|iterations| Work::Hash { iterations }), res).await;
            }
            Answer::Load => {
                let millis = whole_number(query, "millis", 1..=MAX_MILLIS);
                do_work(pod, millis.map(|millis| Work::Burn { millis }), res).await;
            }
        }
    }
}

async fn do_work(pod: &Pod, work: Result<Work, String>, res: &mut Response) {
    let work = match work {
        Ok(work) => work,
        Err(message) => return put(res, StatusCode::BAD_REQUEST, TEXT, message),
    };
    match pod.pool.submit(work) {
        Ok(pending) => match pending.answer().await {
            Some(answer) => put(res, StatusCode::OK, TEXT, answer),
            None => put(res, StatusCode::INTERNAL_SERVER_ERROR, TEXT, "the worker thread died\n"),
        },
        Err(Full) => {
            res.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_S);
            put(res, StatusCode::SERVICE_UNAVAILABLE, TEXT, "the queue is full\n");
        }
    }
}

fn put(res: &mut Response, status: StatusCode, content_type: HeaderValue, body: impl Into<String>) {
    res.status_code(status);
    res.headers_mut().insert(CONTENT_TYPE, content_type);
    res.body(body.into());
}

/// The named parameter of the query, or the message that says what it takes. There is no default: a misspelt name
/// must not silently become another load.
fn whole_number(query: Option<&str>, name: &str, range: RangeInclusive<u64>) -> Result<u64, String> {
    let wanted = format!("{name} must be a whole number from {} to {}", range.start(), range.end());
    let pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let values: Vec<&str> = pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).collect();
    match values[..] {
        [] => Err(format!("{wanted}; it is missing\n")),
        [text] => match text.parse() {
            Ok(value) if range.contains(&value) => Ok(value),
            _ => Err(format!("{wanted}, not {text:?}\n")),
        },
        _ => Err(format!("{wanted}; it is given {} times\n", values.len())),
    }
}

/// Goes around every request, those to unknown paths included.
pub(crate) struct Envelope(pub(crate) Arc<Pod>);

#[async_trait]
impl Handler for Envelope {
    async fn handle(&self, req: &mut Request, depot: &mut Depot, res: &mut Response, ctrl: &mut FlowCtrl) {
        let mut visit = Visit::start(&self.0, req);
        res.headers_mut().insert(POD_HEADER, self.0.name.clone());
        ctrl.call_next(req, depot, res).await;
        // Each client is asked to come back on a new connection, which goes to another pod; closing idle
        // connections instead could cut off a request that is already on its way.
        if self.0.draining.load(Relaxed) {
            res.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let status = res.status_code.unwrap_or(StatusCode::OK);
        match status {
            StatusCode::NOT_FOUND => put(res, status, TEXT, NO_SUCH_ROUTE),
            StatusCode::METHOD_NOT_ALLOWED => put(res, status, TEXT, "every route takes GET only\n"),
            _ => {}
        }
        visit.code = status.as_u16();
    }
}

/// One request from arrival to answer. When the connection is closed under it, the server drops it: then its code is
/// still that of a client that left.
struct Visit<'a> {
    pod: &'a Pod,
    method: Method,
    path: String,
    started: Instant,
    code: u16,
}

impl<'a> Visit<'a> {
    fn start(pod: &'a Pod, req: &Request) -> Visit<'a> {
        pod.metrics.started();
        let (method, path) = (req.method().clone(), req.uri().path().to_owned());
        Visit { pod, method, path, started: Instant::now(), code: CLIENT_GONE }
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        let took = self.started.elapsed();
        self.pod.metrics.finished(self.method.as_str(), &self.path, self.code, took);
        if log::enabled(Level::Debug) {
            let took_us = took.as_micros() as u64;
            log::debug("request", json!({ "path": self.path, "code": self.code, "took_us": took_us }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(query: &str, expected: Result<u64, &str>) {
        assert_eq!(whole_number(Some(query), "millis", 1..=50), expected.map_err(str::to_owned), "?{query}");
    }

    #[test]
    fn a_parameter_is_taken_or_the_message_names_it_and_its_range() {
        check("millis=50", Ok(50));
        check("a=b&millis=7&c", Ok(7));
        check("", Err("millis must be a whole number from 1 to 50; it is missing\n"));
        check("milis=7", Err("millis must be a whole number from 1 to 50; it is missing\n"));
        check("millis=", Err("millis must be a whole number from 1 to 50, not \"\"\n"));
        check("millis=0", Err("millis must be a whole number from 1 to 50, not \"0\"\n"));
        check("millis=51", Err("millis must be a whole number from 1 to 50, not \"51\"\n"));
        check("millis=-1", Err("millis must be a whole number from 1 to 50, not \"-1\"\n"));
        check("millis=1&millis=2", Err("millis must be a whole number from 1 to 50; it is given 2 times\n"));
        check(
            "millis=99999999999999999999",
            Err("millis must be a whole number from 1 to 50, not \"99999999999999999999\"\n"),
        );
    }
}
