//! More work than workers: what waits, what is refused, what is given up, and that health does not notice.

use crate::process::{Connection, Service};

const BUSY: &str = "GET /load?millis=10000 HTTP/1.1\r\nHost: it\r\n\r\n";

/// One worker at work and one request waiting: a queue of one is then full.
fn full_service() -> (Service, Connection, Connection) {
    let service = Service::start(&[("WORKERS", "1"), ("QUEUE", "1")]);
    let mut running = service.connect();
    running.send(BUSY);
    service.wait_for_metric("work_workers_busy", 1.0);
    let mut waiting = service.connect();
    waiting.send(BUSY);
    service.wait_for_metric("work_queue_depth", 1.0);
    (service, running, waiting)
}

#[test]
fn a_full_queue_answers_503_with_retry_after_and_the_pod_name() {
    let (service, _running, _waiting) = full_service();
    let refused = service.get("/work?iterations=1");
    assert_eq!((refused.status, refused.body.as_str()), (503, "the queue is full\n"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refused.header("x-pod-name"), Some("pod-under-test"));
    assert_eq!(refused.header("connection"), None, "an overloaded pod keeps its connections");
}

#[test]
fn health_readiness_and_metrics_answer_while_every_worker_is_busy() {
    let (service, _running, _waiting) = full_service();
    assert_eq!(service.metric("http_requests_in_flight"), 2.0, "one at work and one that waits");
    for target in ["/healthz", "/readyz", "/metrics", "/"] {
        assert_eq!(service.get(target).status, 200, "{target}");
    }
}

#[test]
fn bad_input_is_refused_before_it_takes_a_place_in_the_queue() {
    let (service, _running, _waiting) = full_service();
    assert_eq!(service.get("/work?iterations=0").status, 400);
}

#[test]
fn a_client_that_disconnects_frees_its_place_and_its_worker() {
    let (service, running, waiting) = full_service();
    drop(waiting);
    service.wait_for_metric("work_queue_depth", 0.0);
    drop(running);
    service.wait_for_metric("work_workers_busy", 0.0);
    assert_eq!(service.get("/work?iterations=1").status, 200);
    assert_eq!(service.metric(r#"http_requests_total{method="GET",path="/load",code="499"}"#), 2.0);
}
