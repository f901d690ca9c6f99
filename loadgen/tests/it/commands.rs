//! `compare`, `capacity`, `--plan` and the files of a run, as a user types them, against a server on loopback.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::Ordering;
use std::time::Duration;

use loadgen::stream::exit;
use serde_json::Value;

use crate::run::loadgen;
use crate::server::{Server, ok_from, read_head};

/// A server that takes so long for each answer.
fn slow(service: Duration) -> Server {
    Server::start(move |mut stream, served| {
        while read_head(&mut stream, served).is_some() {
            served.requests.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(service);
            if stream.write_all(&ok_from("a")).is_err() {
                return;
            }
        }
    })
}

fn record(server: &Server, file: &Path) {
    let file = std::fs::File::create(file).unwrap();
    let args = [&server.url(), "-r", "40", "-d", "12s", "--slo", "p99 < 9s", "--intervals"];
    assert!(loadgen(&args).stdout(file).stderr(Stdio::null()).status().unwrap().code().is_some());
}

#[test]
fn compare_tells_a_slower_server_from_an_equal_one() {
    let folder = tempfile::tempdir().unwrap();
    let fast = slow(Duration::from_millis(20));
    let slower = slow(Duration::from_millis(80));
    let runs = [(&fast, "a"), (&fast, "b"), (&slower, "c")];
    std::thread::scope(|scope| {
        for (server, name) in runs {
            let file = folder.path().join(name);
            scope.spawn(move || record(server, &file));
        }
    });
    let compare = |args: &[&str]| loadgen(&["compare"]).current_dir(&folder).args(args).output().unwrap();
    let json = |args: &[&str]| -> Value { serde_json::from_slice(&compare(args).stdout).unwrap() };
    // A short series may by chance look as if it had a memory, which widens what counts as chance.
    let at_ease = ["--alpha", "0.4"];
    let worse = json(&[&["a", "c", "--summary", "json"], &at_ease[..]].concat());
    assert!(worse["worse"] == true && worse["metrics"]["p50"]["effect"].as_f64() > Some(0.9), "{worse}");
    assert!(worse["metrics"]["p50"]["detectable"].as_f64().unwrap() > 0.0);
    // At the default level one comparison of equals in twenty would differ by chance.
    assert_eq!(json(&["a", "b", "--alpha", "0.0005", "--summary", "json"])["metrics"]["p50"]["differs"], false);
    assert_eq!(
        compare(&[&["a", "c", "--fail-on-regression"], &at_ease[..]].concat()).status.code(),
        Some(exit::THRESHOLD_FAILED as i32)
    );
    let text = String::from_utf8(compare(&[&["a", "c"], &at_ease[..]].concat()).stdout).unwrap();
    assert!(text.contains("WORSE") && text.contains("detectable"), "{text}");
    let missing = compare(&["a", "no-such-file"]);
    assert_eq!(missing.status.code(), Some(exit::COULD_NOT_RUN as i32));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("no-such-file"));
}

#[test]
fn capacity_finds_what_the_connections_can_carry() {
    // 4 connections of 20 ms carry 200 requests a second; beyond that the backlog grows through the whole trial. The
    // objective is wide, so that a busy machine's lateness (its bound is a share of the objective) stays valid.
    let server = slow(Duration::from_millis(20));
    let url = server.url();
    let trial = ["--connections", "4", "-d", "1s", "--from", "50", "--precision", "0.3", "--summary", "json"];
    let args = [&["capacity", url.as_str(), "--slo", "p90 < 1s"], &trial[..]].concat();
    let output = loadgen(&args).output().unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rate = found["capacity_per_s"].as_f64().unwrap();
    let late = found["limited_by"] == "generator";
    assert!((50.0..=260.0).contains(&rate) || late, "{found}");
    assert!(found["trials"].as_array().unwrap().iter().any(|trial| trial["good"] == false), "{found}");
    let without = loadgen(&["capacity", &url]).output().unwrap();
    assert_eq!(without.status.code(), Some(exit::USAGE as i32));
    assert!(String::from_utf8_lossy(&without.stderr).contains("--slo"));
    let useless = loadgen(&["capacity", &url, "--slo", "p90 < 1s", "--metrics", "127.0.0.1:0"]).output().unwrap();
    assert_eq!(useless.status.code(), Some(exit::USAGE as i32));
    assert!(String::from_utf8_lossy(&useless.stderr).contains("--metrics"));
}

#[test]
fn a_running_load_shows_prometheus_what_it_counted_so_far() {
    let server = Server::answering(|_| ok_from("web-1"));
    let url = server.url();
    let args = [url.as_str(), "-r", "50", "-d", "60s", "-q", "--metrics", "127.0.0.1:0"];
    let mut child = loadgen(&args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("metrics http://").and_then(|rest| rest.strip_suffix("/metrics"));
    let address = address.unwrap_or_else(|| panic!("{line:?}"));
    let value = |series: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let found = answer.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse::<f64>().ok());
        found.unwrap_or_else(|| panic!("no {series}: {answer}"))
    };
    // Someone who asks nothing keeps nobody waiting for ever.
    let _silent = TcpStream::connect(address).unwrap();
    let ok = "loadgen_requests_total{outcome=\"ok\"}";
    let first = std::iter::repeat_with(|| value(ok)).find(|count| *count > 0.0).unwrap();
    let later = std::iter::repeat_with(|| value(ok)).find(|count| *count > first).unwrap();
    assert!(value("loadgen_pod_requests_total{answered_by=\"web-1\"}") >= later);
    assert!(value("loadgen_response_seconds_bucket{le=\"+Inf\"}") >= later && value("loadgen_backlog") >= 0.0);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn an_address_that_cannot_be_listened_on_is_named_before_anything_is_sent() {
    let server = Server::answering(|_| ok_from("web-1"));
    let output =
        loadgen(&[&server.url(), "-r", "1", "-d", "1s", "--metrics", &server.address.to_string()]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("--metrics: cannot listen on 127.0.0.1:") && server.requests() == 0, "{told}");
}

#[test]
fn every_file_of_a_run_is_written_and_stands_alone() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::answering(|_| ok_from("web-<1>"));
    let url = server.url();
    let files = ["--csv", "a.csv", "--hgrm", "a.hgrm", "--prometheus", "a.prom", "--html", "a.html"];
    let args = [&[url.as_str(), "-r", "100", "-d", "2s", "-q"], &files[..]].concat();
    loadgen(&args).current_dir(&folder).output().unwrap();
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();

    let csv = read("a.csv");
    let columns: Vec<usize> = csv.lines().map(|line| line.split(',').count()).collect();
    assert!(columns.len() >= 3 && columns.iter().all(|count| *count == columns[0]), "{csv}");
    let planned: u64 = csv.lines().skip(1).map(|line| line.split(',').nth(1).unwrap().parse::<u64>().unwrap()).sum();
    assert_eq!(planned, 200);

    let hgrm = read("a.hgrm");
    assert!(hgrm.contains("Percentile TotalCount 1/(1-Percentile)") && hgrm.contains("Total count    =          200]"));

    let prometheus = read("a.prom");
    for line in prometheus.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with("loadgen_") && value.parse::<f64>().is_ok(), "{line}");
    }
    assert!(prometheus.contains("loadgen_response_seconds_bucket{le=\"+Inf\"} 200"), "{prometheus}");

    let html = read("a.html");
    assert!(html.len() < 1_000_000 && html.contains("<svg") && html.contains("web-&lt;1&gt;"));
    for outside in ["<script", "src=", "href=", "@import", "url(", "web-<1>"] {
        assert!(!html.contains(outside), "{outside}");
    }

    let nowhere = loadgen(&[&url, "-r", "5", "--csv", "/no/such/folder/a.csv"]).output().unwrap();
    assert_eq!(nowhere.status.code(), Some(exit::COULD_NOT_RUN as i32));
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("/no/such/folder/a.csv"));
}

#[test]
#[cfg(target_os = "linux")]
fn results_that_could_not_be_written_are_no_success() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::answering(|_| ok_from("web-1"));
    for form in ["--intervals", "--summary=text", "--summary=json"] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let csv = folder.path().join(form);
        let mut command = loadgen(&[&server.url(), "-r", "20", "-d", "1s", "-q", form, "--csv", csv.to_str().unwrap()]);
        let output = command.stdout(full).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(exit::COULD_NOT_RUN as i32), "{form}");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains("cannot write to standard output: No space left"), "{form}: {told}");
        assert_eq!(std::fs::read_to_string(csv).unwrap().lines().count(), 2, "{form}: files are written all the same");
    }
}

#[test]
fn a_plan_is_drawn_without_sending_anything() {
    let server = Server::answering(|_| ok_from("a"));
    let pattern = "loop 20s (ramp 10..50 20s) * 2 + burst 100 1s every 10s + noise 5%";
    let output =
        loadgen(&[&server.url(), "--plan", "--pattern", &format!("constant 10 1m, {pattern}")]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("requests, ") && text.contains('█'), "{text}");
    assert_eq!(server.requests(), 0);
}
