//! The hot path allocates nothing: a closed loop and an open loop of many requests, under a counting allocator.
//!
//! All of the process are counted. A run has a fixed number of them (its histograms, threads, connections), so a
//! short run is subtracted from a long one: what is left would grow with the requests.

// Only tests and what serves them.
#![allow(clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use loadgen::engine::clock::rss_max_bytes;
use loadgen::engine::{Job, run};
use loadgen::load::{ConnectionPolicy, Load};
use loadgen::part::Part;
use loadgen::pattern::Pattern;
use loadgen::span::Span;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
/// One test at a time: the counter is the process's.
static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

// SAFETY: passes every call on to the system's allocator unchanged; counting touches only an atomic.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the allocator's contract, which is passed on as it is.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Answers on one connection at a time without allocating.
fn server() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut buffer = [0; 1024];
                while stream.read(&mut buffer).is_ok_and(|count| count > 0) {
                    if stream.write_all(b"HTTP/1.1 200 OK\r\nx-pod-name: a\r\ncontent-length: 2\r\n\r\nok").is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}

/// Allocations and requests of a run.
fn measure(load: Load, url: &str) -> (u64, u64) {
    let job = Job {
        url: url.to_owned(),
        load,
        addresses: Vec::new(),
        pod_header: "x-pod-name".to_owned(),
        shards: Some(1),
        part: Part::default(),
        start_at_unix_ms: None,
        http2: false,
        insecure: false,
        cacert: None,
    };
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    let summary = run(&job, &mut |_| {}).unwrap();
    (ALLOCATIONS.load(Ordering::Relaxed) - before, summary.requests.ok)
}

#[test]
fn a_request_allocates_nothing() {
    let _alone = ALONE.lock();
    let url = server();
    let closed = |ms| Load { concurrency: Some(4), duration: Some(Span::from_ms(ms)), ..Load::default() };
    // Few connections: on a busy machine an open loop would else open more of them, each with a thread of the server.
    let connections = ConnectionPolicy { max: 4, ..ConnectionPolicy::default() };
    let open = |ms| Load {
        pattern: Some(Pattern::constant(3000.0, Span::from_ms(ms))),
        connections: connections.clone(),
        ..Load::default()
    };
    // Both within one second, so that neither hands over more seconds than the other.
    for (name, short, long) in [("closed", closed(100), closed(900)), ("open", open(100), open(900))] {
        let (short_allocations, short_requests) = measure(short, &url);
        let (long_allocations, long_requests) = measure(long, &url);
        let requests = long_requests - short_requests;
        let allocations = long_allocations.saturating_sub(short_allocations);
        assert!(requests > 500, "{name}: only {requests} requests more");
        assert!(allocations * 20 < requests, "{name}: {allocations} allocations for {requests} requests");
    }
}

#[test]
fn memory_does_not_grow_with_the_number_of_requests() {
    let _alone = ALONE.lock();
    let url = server();
    let load = Load { concurrency: Some(8), duration: Some(Span::from_ms(1500)), ..Load::default() };
    measure(load.clone(), &url);
    let before = rss_max_bytes();
    let (_, requests) = measure(load, &url);
    let grown = rss_max_bytes() - before;
    assert!(requests > 1000 && grown < 4 << 20, "{grown} bytes more after {requests} requests");
}
