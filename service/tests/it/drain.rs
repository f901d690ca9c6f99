//! The way out: unready at once, still serving, nothing lost, exit 0 in time.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crate::process::Service;

#[test]
fn a_draining_pod_is_unready_but_still_serves_and_asks_clients_to_leave() {
    let mut service = Service::start(&[("DRAIN_MS", "20000"), ("LINGER_MS", "10000")]);
    let mut kept_alive = service.connect();
    kept_alive.get("/");
    service.terminate();
    assert_eq!(service.next_log()["message"], "draining");
    let unready = service.get("/readyz");
    assert_eq!((unready.status, unready.body.as_str()), (503, "draining\n"));
    assert_eq!(service.get("/healthz").status, 200, "a draining pod is alive");
    let answer = kept_alive.get("/work?iterations=1");
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
}

#[test]
fn without_clients_it_exits_0_as_soon_as_it_has_lingered() {
    let mut service = Service::start(&[("DRAIN_MS", "60000"), ("LINGER_MS", "100")]);
    service.terminate();
    assert_eq!(service.wait().code(), Some(0));
    assert_eq!(service.next_log()["message"], "draining");
    assert_eq!(service.next_log()["message"], "stopped");
}

#[test]
fn running_and_waiting_work_is_answered_before_it_exits() {
    let mut service = Service::start(&[("WORKERS", "1"), ("DRAIN_MS", "20000"), ("LINGER_MS", "0")]);
    let mut clients: Vec<_> = (0..4).map(|_| service.connect()).collect();
    for client in &mut clients {
        client.send("GET /load?millis=100 HTTP/1.1\r\nHost: it\r\n\r\n");
    }
    service.wait_for_metric("work_queue_depth", 3.0);
    service.terminate();
    for client in &mut clients {
        assert_eq!(client.answer().status, 200);
    }
    assert_eq!(service.wait().code(), Some(0));
}

#[test]
fn a_silent_client_does_not_hold_the_pod_and_endless_work_is_cut_off_at_the_limit() {
    let mut service = Service::start(&[("DRAIN_MS", "1000"), ("LINGER_MS", "0"), ("WORKERS", "1")]);
    let _silent = service.connect();
    let mut endless = service.connect();
    endless.send("GET /load?millis=10000 HTTP/1.1\r\nHost: it\r\n\r\n");
    service.wait_for_metric("work_workers_busy", 1.0);
    let asked = Instant::now();
    service.terminate();
    assert_eq!(service.wait().code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(8), "it took {:?}, not about a second", asked.elapsed());
    assert_eq!(service.next_log()["message"], "draining");
    let warning = service.next_log();
    assert_eq!((&warning["level"], &warning["cut_off"]), (&"warn".into(), &1.into()), "{warning}");
    assert_eq!(service.next_log()["message"], "stopped");
}

#[test]
fn keep_alive_clients_lose_no_request_over_a_drain() {
    let mut service = Service::start(&[("DRAIN_MS", "20000"), ("LINGER_MS", "300")]);
    let told_to_leave = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut connection = service.connect();
                while !stop.load(SeqCst) {
                    // A request that is refused, reset or cut off panics here.
                    let answer = connection.get("/work?iterations=200");
                    assert_eq!(answer.status, 200);
                    if answer.header("connection") == Some("close") {
                        told_to_leave.fetch_add(1, SeqCst);
                        break;
                    }
                }
            });
        }
        crate::process::wait_until("traffic", || service.metric("http_requests_in_flight") > 1.0);
        service.terminate();
        crate::process::wait_until("every client told to leave", || told_to_leave.load(SeqCst) == 8);
        stop.store(true, SeqCst);
    });
    assert_eq!(service.wait().code(), Some(0));
}
