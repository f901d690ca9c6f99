//! The stream of JSON lines: it adds up to its summary, and streams of several generators merge to one.

use std::process::Stdio;

use loadgen::histogram::{Percentiles, decode, latency_histogram};
use loadgen::stream::{Interval, Record, Requests, Summary, read_stream};

use crate::run::loadgen;
use crate::server::{Server, ok_from};

fn parts(records: Vec<Record>) -> (Vec<Interval>, Option<Summary>) {
    let mut intervals = Vec::new();
    let mut summary = None;
    for record in records {
        match record {
            Record::Plan(plan) => assert_eq!(plan.version, 1),
            Record::Interval(interval) => intervals.push(*interval),
            Record::Summary(whole) => summary = Some(*whole),
        }
    }
    (intervals, summary)
}

#[test]
fn the_seconds_add_up_to_the_summary() {
    let server = Server::answering(|_| ok_from("a"));
    let output = loadgen(&[&server.url(), "-r", "150", "-d", "2500ms", "--intervals"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.lines().next().unwrap().starts_with(r#"{"type":"plan","version":1"#), "{text}");
    let (intervals, summary) = parts(read_stream(&text).unwrap());
    let summary = summary.unwrap();
    assert!(intervals.len() >= 3, "{}", intervals.len());
    let mut requests = Requests::default();
    let mut response = latency_histogram();
    for interval in &intervals {
        requests.add(&interval.requests);
        response.add(decode(&interval.response_us).unwrap()).unwrap();
    }
    assert_eq!(requests, summary.requests);
    assert_eq!(Percentiles::of(&response), summary.latency_us);
    assert_eq!(intervals[1].t_start_unix_ns - intervals[0].t_start_unix_ns, 1_000_000_000);
    let pods: u64 = intervals.iter().map(|interval| interval.pods["a"].requests).sum();
    assert_eq!(pods, summary.pods["a"].requests);
}

#[test]
fn a_killed_generator_leaves_all_seconds_but_the_last() {
    let server = Server::answering(|_| ok_from("a"));
    let mut child =
        loadgen(&[&server.url(), "-r", "100", "-d", "60s", "--intervals"]).stdout(Stdio::piped()).spawn().unwrap();
    while server.requests() < 250 {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    let (intervals, summary) = parts(read_stream(&String::from_utf8(output.stdout).unwrap()).unwrap());
    assert!(summary.is_none());
    let planned: u64 = intervals.iter().map(|interval| interval.requests.planned).sum();
    assert!(planned >= 200 || intervals.len() >= 2, "{planned}");
}

#[test]
fn several_generators_start_in_step() {
    let server = Server::answering(|_| ok_from("a"));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let at = (now.as_millis() + 1000).to_string();
    let run = || {
        loadgen(&[&server.url(), "-r", "50", "-d", "300ms", "--intervals", "--start-at", &at])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let starts: Vec<u64> = [run(), run()]
        .into_iter()
        .map(|child| {
            let output = child.wait_with_output().unwrap();
            let records = read_stream(&String::from_utf8(output.stdout).unwrap()).unwrap();
            parts(records).0[0].t_start_unix_ns
        })
        .collect();
    let wanted = at.parse::<u64>().unwrap() * 1_000_000;
    // A machine that is busy with other things may wake them late, but never a second early.
    assert!(starts.iter().all(|start| start.abs_diff(wanted) < 250_000_000), "{starts:?} {wanted}");
}

#[test]
fn the_streams_of_the_parts_merge_to_one_load() {
    let server = Server::answering(|_| ok_from("a"));
    let folder = tempfile::tempdir().unwrap();
    let load = ["--pattern", "ramp 50..200 2s", "--arrivals", "poisson", "--slo", "p99 < 9s", "--intervals"];
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let at = (now.as_millis() + 500).to_string();
    let url = server.url();
    let start = |part: &str| {
        let file = std::fs::File::create(folder.path().join(part.replace('/', "-"))).unwrap();
        let args = [&[url.as_str(), "--part", part, "--start-at", &at], &load[..]].concat();
        loadgen(&args).stdout(file).stderr(Stdio::null()).spawn().unwrap()
    };
    for mut child in [start("0/2"), start("1/2")] {
        child.wait().unwrap();
    }
    let alone = loadgen(&[&[url.as_str()], &load[..]].concat()).output().unwrap();
    let planned = parts(read_stream(&String::from_utf8(alone.stdout).unwrap()).unwrap()).1.unwrap().requests.planned;

    let merge = |args: &[&str]| loadgen(&["merge"]).current_dir(&folder).args(args).output().unwrap();
    let output = merge(&["0-2", "1-2", "--summary", "json"]);
    let summary: Summary = serde_json::from_slice(&output.stdout).unwrap();
    assert!(summary.requests.add_up() && summary.requests.planned == planned, "{:?}", summary.requests);
    assert_eq!((summary.latency_us.count, summary.pods["a"].requests), (planned, planned));
    let stream = String::from_utf8(merge(&["0-2", "1-2", "--intervals"]).stdout).unwrap();
    let (intervals, again) = parts(read_stream(&stream).unwrap());
    assert_eq!(intervals.iter().map(|interval| interval.requests.planned).sum::<u64>(), planned);
    assert_eq!(again.unwrap(), summary);
    let missing = merge(&["0-2"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("1/2"));
}
