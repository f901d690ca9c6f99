//! One run of the binary: exit code, accounting and error classes.

use std::io::{Read, Write};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

use loadgen::stream::{Summary, exit};

use crate::server::{Server, ok_from, read_head};

pub(crate) fn loadgen(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.args(args).stdin(Stdio::null());
    command
}

/// Runs with `--summary json`; the summary, which must add up, and the exit code.
#[track_caller]
pub(crate) fn summary(args: &[&str]) -> (Summary, u8) {
    let output = loadgen(args).args(["--summary", "json", "-q"]).output().unwrap();
    read_summary(&output)
}

#[track_caller]
pub(crate) fn read_summary(output: &Output) -> (Summary, u8) {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let last = text.lines().last().unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let summary: Summary = serde_json::from_str(last).unwrap();
    assert!(summary.requests.add_up(), "{:?}", summary.requests);
    let code = output.status.code().unwrap() as u8;
    assert_eq!(summary.exit_code, code);
    (summary, code)
}

#[test]
fn an_open_loop_sends_exactly_what_was_planned() {
    let server = Server::answering(|_| ok_from("web-1"));
    let (summary, _) = summary(&[&server.url(), "--rate", "200", "--duration", "1s", "--slo", "p99 < 1s"]);
    assert_eq!((summary.requests.planned, summary.requests.ok), (200, 200));
    assert_eq!(server.requests(), 200);
    assert_eq!(summary.latency_us.count, 200);
    assert_eq!(summary.service_latency_us.count, 200);
    assert_eq!(summary.pacing_error_us.count, 200);
    assert_eq!(summary.loop_kind, "open");
    assert_eq!(summary.pods["web-1"].requests, 200);
}

#[test]
fn shards_share_one_schedule() {
    let server = Server::answering(|_| ok_from("web-1"));
    let args = ["--pattern", "ramp 0..200 1s", "--arrivals", "poisson", "--seed", "3"];
    let url = server.url();
    let one = summary(&[&[url.as_str(), "--shards", "1"], &args[..]].concat()).0;
    let three = summary(&[&[url.as_str(), "--shards", "3"], &args[..]].concat()).0;
    assert_eq!(one.requests.planned, three.requests.planned);
    assert_eq!(three.generator.shards, 3);
    assert_eq!(three.requests.ok, three.requests.planned);
}

#[test]
fn a_closed_loop_waits_for_its_answers_and_says_so() {
    let server = Server::start(|mut stream, served| {
        while read_head(&mut stream, served).is_some() {
            served.requests.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(20));
            if stream.write_all(&ok_from("a")).is_err() {
                return;
            }
        }
    });
    let (summary, _) = summary(&[&server.url(), "--concurrency", "4", "--duration", "500ms"]);
    assert_eq!(summary.loop_kind, "closed");
    assert_eq!(summary.connections.opened, 4);
    assert!(summary.requests.ok > 0 && summary.requests.ok <= 4 * 26, "{:?}", summary.requests);
    assert_eq!(summary.requests.ok, server.requests());
}

#[test]
fn each_way_to_fail_has_its_class() {
    let status = |line: &'static str| {
        Server::answering(move |_| format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\n\r\n").into_bytes())
    };
    let raw = |bytes: &'static [u8]| Server::answering(move |_| bytes.to_vec());
    let closing = Server::start(|mut stream, served| drop(read_head(&mut stream, served)));
    let cut = Server::start(|mut stream, served| {
        read_head(&mut stream, served);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhal");
    });
    let silent = Server::start(|stream, served| {
        while !served.is_stopped() {
            std::thread::sleep(Duration::from_millis(20));
        }
        drop(stream);
    });
    let endless = Server::start(|mut stream, served| {
        read_head(&mut stream, served);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        while stream.write_all(&b"a: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n".repeat(64)).is_ok() {
        }
    });
    let servers = [
        ("4xx", "", status("404 Not Found")),
        ("5xx", "", status("503 Service Unavailable")),
        ("protocol", "not HTTP/1", raw(b"GARBAGE GARBAGE\r\n\r\n")),
        ("protocol", "64 KiB", endless),
        ("reset", "before the answer was complete", closing),
        ("reset", "before the answer was complete", cut),
        ("timeout", "no complete answer within 200ms", silent),
    ];
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let urls = servers.iter().map(|(class, why, server)| (*class, *why, server.url()));
    for (class, why, url) in urls.chain([("refused", "Connection refused", format!("http://{nobody}/"))]) {
        let (summary, _) = summary(&[&url, "--rate", "20", "--duration", "500ms", "--timeout", "200ms"]);
        let errors = serde_json::to_value(summary.requests.errors).unwrap();
        assert_eq!(errors[class], 10, "{class}: {errors}");
        assert_eq!(summary.latency_us.count, 10, "{class}: failures belong to all");
        assert_eq!(summary.requests.ok, 0);
        let told = summary.first_errors.get(class).map_or("", String::as_str);
        assert!(told.contains(why), "{class}: {told:?}");
    }
}

#[test]
fn thresholds_decide_the_exit_code() {
    let server = Server::answering(|_| b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n".to_vec());
    let slo = ["--slo", "p99 < 20s"];
    let run = |threshold: &str| {
        let url = server.url();
        let args = [&[url.as_str(), "-r", "20", "-d", "500ms", "--threshold", threshold], &slo[..]].concat();
        summary(&args)
    };
    assert_eq!(run("errors < 1%").1, exit::THRESHOLD_FAILED);
    assert_eq!(run("p99 over any 10s < 20s").1, exit::PASS);
    let (summary, code) = run("lost <= 0");
    assert_eq!((code, summary.lost, summary.requests.statuses["503"]), (exit::PASS, 0, 10));
}

#[test]
fn wrong_usage_is_told_and_costs_nothing() {
    for args in [&["http://127.0.0.1:1"][..], &["nonsense", "-r", "5"], &["http://a", "--no-such-flag"], &[]] {
        let output = loadgen(args).output().unwrap();
        assert_eq!(output.status.code(), Some(exit::USAGE as i32), "{args:?}");
        assert!(!output.stderr.is_empty() && output.stdout.is_empty());
    }
    let output = loadgen(&["http://no-such-host.invalid", "-r", "5"]).output().unwrap();
    assert_eq!(output.status.code(), Some(exit::COULD_NOT_RUN as i32));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no-such-host.invalid"));
}

#[test]
fn what_cannot_be_sent_is_shed_or_unsent_and_the_plan_adds_up() {
    let silent = Server::start(|stream, served| {
        while !served.is_stopped() {
            std::thread::sleep(Duration::from_millis(20));
        }
        drop(stream);
    });
    let (summary, _) = summary(&[
        &silent.url(),
        "--rate",
        "100",
        "--duration",
        "500ms",
        "--timeout",
        "300ms",
        "--connections",
        "2",
        "--backlog",
        "5",
    ]);
    let r = &summary.requests;
    assert_eq!(r.planned, 50);
    assert!(r.shed > 0 && r.unsent > 0 && r.errors.timeout >= 2, "{r:?}");
    assert_eq!(r.errors.timeout, r.sent);
}

#[test]
fn what_was_never_sent_counts_against_the_errors_and_the_rate() {
    // Two connections of 50 ms carry 40 requests a second of 100; most of the rest is still waiting when all is over.
    let server = Server::start(|mut stream, served| {
        while read_head(&mut stream, served).is_some() {
            std::thread::sleep(Duration::from_millis(50));
            if stream.write_all(&ok_from("a")).is_err() {
                return;
            }
        }
    });
    let url = server.url();
    let load = ["-r", "100", "-d", "1s", "-t", "1s", "--connections", "2", "--slo", "p99 < 20s"];
    let (summary, code) = summary(&[&[url.as_str()], &load[..], &["--threshold", "errors < 1%"]].concat());
    let r = &summary.requests;
    assert!(r.errors.total() == 0 && r.unsent > 0, "{r:?}");
    assert_eq!(code, exit::THRESHOLD_FAILED);
    assert!(summary.sending_s > 1.0 && summary.rate_per_s < 50.0, "{} in {} s", summary.rate_per_s, summary.sending_s);
}

#[test]
fn an_answer_that_overtakes_its_request_counts_and_ends_its_connection() {
    // Refuses after the head of each request, and reads none of the body.
    let server = Server::start(|mut stream, served| {
        if stream.read(&mut [0; 64]).is_ok() {
            served.requests.fetch_add(1, Ordering::Relaxed);
            let _ = stream.write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n");
            while !served.is_stopped() {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let scenario = folder.path().join("large.yaml");
    let body = "x".repeat(8 << 20);
    let load = format!("{{pattern: constant 20 500ms, requests: [{{method: POST, body: {body}}}]}}");
    std::fs::write(&scenario, format!("name: large\ndescription: large\nload: {load}\n")).unwrap();
    let (summary, _) = summary(&[&server.url(), "--scenario", scenario.to_str().unwrap(), "-t", "5s"]);
    assert_eq!(summary.requests.errors.status_4xx, 10, "{:?}", summary.requests);
    assert_eq!((server.requests(), summary.connections.opened), (10, 10));
}

#[test]
fn connections_turn_over_by_requests_and_by_age() {
    let server = Server::answering(|_| ok_from("a"));
    let (one, _) = summary(&[&server.url(), "-r", "100", "-d", "500ms", "--max-requests", "1"]);
    assert_eq!(one.connections.opened, 50);
    assert_eq!(server.connections(), 50);
    let (aged, _) = summary(&[&server.url(), "-r", "100", "-d", "1s", "--max-age", "100ms"]);
    assert!((6..=60).contains(&aged.connections.opened), "{}", aged.connections.opened);
    let (kept, _) = summary(&[&server.url(), "-r", "100", "-d", "500ms"]);
    assert!(kept.connections.opened < 25, "{}", kept.connections.opened);
}

#[test]
fn a_request_on_a_connection_that_was_just_closed_is_sent_again() {
    // Answers one request, then closes when the next one arrives: the client cannot have known.
    let server = Server::start(|mut stream, served| {
        if read_head(&mut stream, served).is_some() {
            served.requests.fetch_add(1, Ordering::Relaxed);
            let _ = stream.write_all(&ok_from("a"));
            let _ = read_head(&mut stream, served);
        }
    });
    let (again, _) = summary(&[&server.url(), "-r", "50", "-d", "400ms"]);
    assert_eq!((again.requests.ok, again.requests.planned), (20, 20));
    assert!(again.requests.retried > 0);
    let (counted, _) = summary(&[&server.url(), "-r", "50", "-d", "400ms", "--no-retry"]);
    assert!(counted.requests.errors.reset > 0 && counted.requests.retried == 0, "{:?}", counted.requests);
}

#[test]
fn targets_are_dialed_in_turn_and_pods_are_told_apart() {
    let (a, b) = (Server::answering(|_| ok_from("a")), Server::answering(|_| ok_from("b")));
    let (a_address, b_address) = (a.address.to_string(), b.address.to_string());
    let targets = ["--target", &a_address, "--target", &b_address];
    let args = ["http://some.name/", "-r", "100", "-d", "400ms", "--max-requests", "1", "--no-resolve"];
    let (summary, _) = summary(&[&args[..], &targets[..]].concat());
    assert_eq!((summary.pods["a"].requests, summary.pods["b"].requests), (20, 20));
    assert_eq!(summary.jain_index, Some(1.0));
}

#[test]
fn a_session_sends_its_requests_one_after_the_other() {
    let server = Server::answering(|_| ok_from("a"));
    let session = ["--session-requests", "3", "--think", "10ms"];
    let (summary, _) = summary(&[&[server.url().as_str(), "-r", "20", "-d", "500ms"], &session[..]].concat());
    assert_eq!((summary.requests.planned, summary.requests.ok), (30, 30));
    assert_eq!(summary.pacing_error_us.count, 30);
}

#[test]
fn a_mix_is_sent_by_weight_with_its_methods_headers_and_bodies() {
    let server = Server::answering(|head| ok_from(&head.split_whitespace().take(2).collect::<Vec<_>>().join(" ")));
    let args = ["-r", "200", "-d", "500ms", "--request", "3 GET /a", "--request", "1 DELETE /b", "-H", "x-y: z"];
    let (summary, _) = summary(&[&[server.url().as_str()], &args[..]].concat());
    let gets = summary.pods["GET /a"].requests;
    assert!((60..=90).contains(&gets), "{:?}", summary.pods);
    assert_eq!(gets + summary.pods["DELETE /b"].requests, 100);
}

#[test]
fn an_interrupted_run_reports_in_full() {
    let server = Server::answering(|_| ok_from("a"));
    let child = loadgen(&[&server.url(), "-r", "100", "-d", "60s", "--summary", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while server.requests() < 50 {
        std::thread::sleep(Duration::from_millis(10));
    }
    // SAFETY: sends a signal to the child that this test started and still owns.
    unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
    let (summary, code) = read_summary(&child.wait_with_output().unwrap());
    assert_eq!(code, exit::INTERRUPTED);
    assert!(summary.interrupted && summary.requests.ok >= 50);
}
