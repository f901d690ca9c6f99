//! HTTP: one handler for every path, since the paths are the API's own grammar (`path.rs`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use salvo::http::HeaderValue;
use salvo::http::header::CONTENT_TYPE;
use salvo::{Depot, FlowCtrl, Handler, Request, Response, Router, async_trait, http::Method, http::StatusCode};
use serde_json::Value;

use crate::discovery;
use crate::metrics::Metrics;
use crate::path::Asked;
use crate::query::Queries;
use crate::refusal::Refusal;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(crate) struct Server {
    pub(crate) queries: Queries,
    pub(crate) metrics: Arc<Metrics>,
    /// Which pods there are is known.
    pub(crate) is_synced: AtomicBool,
    pub(crate) is_draining: AtomicBool,
}

pub(crate) fn router(server: &Arc<Server>) -> Router {
    Router::with_path("{**path}").goal(Every(server.clone()))
}

struct Every(Arc<Server>);

#[async_trait]
impl Handler for Every {
    async fn handle(&self, req: &mut Request, _: &mut Depot, res: &mut Response, _: &mut FlowCtrl) {
        let asked = Asked::of(req.uri().path());
        let (code, content_type, body) = if req.method() == Method::GET {
            self.0.answer(&asked, req.uri().query().unwrap_or_default()).await
        } else {
            refused(&Refusal::only_get())
        };
        self.0.metrics.answered(asked.label(), code);
        res.status_code(StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
        res.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        res.body(body);
    }
}

type Answer = (u16, &'static str, String);

impl Server {
    async fn answer(&self, asked: &Asked, query: &str) -> Answer {
        match asked {
            Asked::Health => (200, TEXT, "ok\n".to_owned()),
            Asked::Ready if self.is_draining.load(Relaxed) => (503, TEXT, "draining\n".to_owned()),
            Asked::Ready if !self.is_synced.load(Relaxed) => (503, TEXT, "the pods are not known yet\n".to_owned()),
            Asked::Ready => (200, TEXT, "ready\n".to_owned()),
            Asked::Metrics => (200, PROMETHEUS, self.metrics.render()),
            Asked::Groups => found(&discovery::groups()),
            Asked::Group(group) => found(&discovery::group(group)),
            Asked::Resources(group) => found(&discovery::resources(group, &self.queries.rules)),
            _ if !self.is_synced.load(Relaxed) => {
                refused(&Refusal::unavailable("the pods are not known yet".to_owned()))
            }
            _ => match self.queries.answer(asked, query).await {
                Ok(list) => found(&list),
                Err(refusal) => refused(&refusal),
            },
        }
    }
}

fn found(value: &Value) -> Answer {
    (200, JSON, format!("{value}\n"))
}

fn refused(refusal: &Refusal) -> Answer {
    (refusal.code, JSON, format!("{}\n", refusal.status()))
}
