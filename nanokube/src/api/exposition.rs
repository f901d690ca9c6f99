//! `/metrics` and a node's `/metrics/cadvisor`: Prometheus' text format, behind the same token as everything else.
//!
//! On a real cluster the first is three programs (API server, kube-state-metrics and their Services); here one page
//! has the series of both.

use http::Response;

use super::{Api, Body, reply};
use crate::exposition::{CONTENT_TYPE, Page, containers, pods, server, state};

/// The server's own series and what the objects say.
pub(crate) fn cluster(api: &Api) -> Response<Body> {
    let snapshot = api.cluster.snapshot();
    let mut page = Page::default();
    server::write(&mut page, &snapshot);
    state::write(&mut page, &snapshot);
    pods::write(&mut page, &snapshot);
    reply::with_type(200, CONTENT_TYPE, reply::full(page.finish()))
}

/// What containers use now.
pub(crate) async fn node(api: &Api) -> Response<Body> {
    let readings = api.node.readings().await;
    let snapshot = api.cluster.snapshot();
    let measured = readings.iter().filter_map(|reading| {
        let pod = snapshot.get("pods", &reading.key.namespace, &reading.key.pod)?;
        Some(containers::Measured { key: &reading.key, pod, started: reading.started, usage: reading.usage })
    });
    let mut page = Page::default();
    containers::write(&mut page, &measured.collect::<Vec<_>>());
    reply::with_type(200, CONTENT_TYPE, reply::full(page.finish()))
}
