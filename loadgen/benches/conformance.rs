//! Coordinated omission: what each generator reports of a server whose behaviour is known by arithmetic.
//!
//! `cargo bench -p loadgen --bench conformance` runs loadgen and the peers that are installed (oha, hey, wrk) against
//! scripted servers, 200 requests a second for 10 seconds over 20 connections, and prints their percentiles beside
//! the true ones, as a table for the README, in two minutes. Freeze: nothing is answered from second 4 to second 6, so
//! a fifth of the planned requests wait for 0 to 2 s, evenly spread. Slow share: every fifth request takes 300 ms.
//! Refuse and black hole: every request must be counted, with its class and its time. wrk has no rate; it is shown for
//! what a closed loop makes of the same server.

mod machine;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

const SECONDS: f64 = 10.0;
const FREEZE_S: (f64, f64) = (4.0, 6.0);
const SLOW: Duration = Duration::from_millis(300);
const SLOW_EVERY: u64 = 5;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[derive(Clone, Copy)]
enum Script {
    Freeze,
    SlowShare,
}

/// Percentiles in seconds: 50, 90, 99.
type Percentiles = [f64; 3];

struct Tool {
    name: &'static str,
    command: fn(&str) -> Command,
    read: fn(&str) -> Option<Percentiles>,
}

fn main() -> ExitCode {
    // `cargo test --benches` only wants to know that this builds and starts.
    if std::env::args().any(|arg| arg == "--test") {
        return ExitCode::SUCCESS;
    }
    let freeze_s = FREEZE_S.1 - FREEZE_S.0;
    let waited = |share_above: f64| (freeze_s - share_above * SECONDS).max(0.0);
    let slow_s = SLOW.as_secs_f64();
    println!(
        "{}\n\n| script | generator | p50 | p90 | p99 | off by at most |\n|---|---|---|---|---|---|",
        machine::line()
    );
    run_tools("freeze of 2 s in 10 s", Script::Freeze, [waited(0.5), waited(0.1), waited(0.01)]);
    run_tools("every fifth takes 300 ms", Script::SlowShare, [0.0, slow_s, slow_s]);
    println!("\n| script | planned | ok | refused | timeout | p99 |\n|---|---|---|---|---|---|");
    match (TcpListener::bind("127.0.0.1:0"), TcpListener::bind("127.0.0.1:0")) {
        (Ok(gone), Ok(silent)) => {
            let url = |listener: &TcpListener| listener.local_addr().map(|address| format!("http://{address}/"));
            let (Ok(gone_url), Ok(silent_url)) = (url(&gone), url(&silent)) else { return ExitCode::FAILURE };
            drop(gone);
            print_classes("refuse", &gone_url);
            print_classes("black hole, timeout 1 s", &silent_url);
            ExitCode::SUCCESS
        }
        _ => ExitCode::FAILURE,
    }
}

fn tools() -> [Tool; 4] {
    [
        Tool {
            name: "loadgen",
            command: |url| {
                command(
                    env!("CARGO_BIN_EXE_loadgen"),
                    &format!("{url} -r 200 -d 10s --connections 20 -q --summary json"),
                )
            },
            read: |text| {
                let summary: serde_json::Value = serde_json::from_str(text.lines().last()?).ok()?;
                let at = |name: &str| Some(summary["latency_us"][name].as_f64()? / 1e6);
                Some([at("p50")?, at("p90")?, at("p99")?])
            },
        },
        Tool {
            name: "oha --latency-correction",
            command: |url| {
                command("oha", &format!("--no-tui --output-format json -c 20 -q 200 -z 10s --latency-correction {url}"))
            },
            read: |text| {
                let result: serde_json::Value = serde_json::from_str(text).ok()?;
                let at = |name: &str| result["latencyPercentiles"][name].as_f64();
                Some([at("p50")?, at("p90")?, at("p99")?])
            },
        },
        Tool {
            name: "hey",
            command: |url| command("hey", &format!("-c 20 -q 10 -z 10s {url}")),
            read: |text| {
                let at = |mark: &str| text.split(mark).nth(1)?.split_whitespace().next()?.parse().ok();
                Some([at("50% in ")?, at("90% in ")?, at("99% in ")?])
            },
        },
        Tool {
            name: "wrk (closed loop)",
            command: |url| command("wrk", &format!("-t1 -c20 -d10s --timeout 10s --latency {url}")),
            read: |text| {
                let table = text.split("Latency Distribution").nth(1)?;
                let at = |mark: &str| seconds(table.split(mark).nth(1)?.split_whitespace().next()?);
                Some([at("50%")?, at("90%")?, at("99%")?])
            },
        },
    ]
}

fn command(program: &str, args: &str) -> Command {
    let mut command = Command::new(program);
    command.args(args.split_whitespace()).stdin(Stdio::null()).stderr(Stdio::null());
    command
}

/// `1.50ms` as wrk writes it.
fn seconds(text: &str) -> Option<f64> {
    let units = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0)];
    units.into_iter().find_map(|(unit, size)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * size))
}

fn run_tools(name: &str, script: Script, truth: Percentiles) {
    print_row(name, "by arithmetic", Some(truth), truth);
    for tool in tools() {
        let Some(url) = serve(script) else { continue };
        match (tool.command)(&url).output() {
            Ok(output) => print_row(name, tool.name, (tool.read)(&String::from_utf8_lossy(&output.stdout)), truth),
            Err(_) => println!("| {name} | {} | not installed | | | |", tool.name),
        }
    }
}

fn print_row(script: &str, tool: &str, percentiles: Option<Percentiles>, truth: Percentiles) {
    let Some(told) = percentiles else {
        println!("| {script} | {tool} | no figures | | | |");
        return;
    };
    // Of percentiles whose truth is 0 no share can be told; they must be 0 to the eye.
    let shares =
        told.iter().zip(truth).filter(|(_, truth)| *truth > 0.0).map(|(told, truth)| (told / truth - 1.0).abs());
    let most = shares.fold(0.0, f64::max) * 100.0;
    let [p50, p90, p99] = told;
    println!("| {script} | {tool} | {p50:.3} s | {p90:.3} s | {p99:.3} s | {most:.1} % |");
}

fn print_classes(script: &str, url: &str) {
    let args = format!("{url} -r 200 -d 2s -t 1s -q --summary json");
    let output = command(env!("CARGO_BIN_EXE_loadgen"), &args).output().map(|output| output.stdout).unwrap_or_default();
    let text = String::from_utf8_lossy(&output).into_owned();
    let summary: serde_json::Value =
        text.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
    let (requests, p99) = (&summary["requests"], summary["latency_us"]["p99"].as_f64().unwrap_or(f64::NAN) / 1e6);
    println!(
        "| {script} | {} | {} | {} | {} | {p99:.3} s |",
        requests["planned"], requests["ok"], requests["errors"]["refused"], requests["errors"]["timeout"]
    );
}

/// A fresh server for each generator: its clock starts with the first request.
fn serve(script: Script) -> Option<String> {
    let listener = TcpListener::bind("127.0.0.1:0").ok()?;
    let url = format!("http://{}/", listener.local_addr().ok()?);
    let first: Arc<OnceLock<Instant>> = Arc::default();
    let count: Arc<AtomicU64> = Arc::default();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (first, count) = (first.clone(), count.clone());
            std::thread::spawn(move || answer(stream, script, &first, &count));
        }
    });
    Some(url)
}

fn answer(mut stream: TcpStream, script: Script, first: &OnceLock<Instant>, count: &AtomicU64) {
    let mut buffer = [0; 4096];
    let _ = stream.set_nodelay(true);
    while stream.read(&mut buffer).is_ok_and(|read| read > 0) {
        let since_s = first.get_or_init(Instant::now).elapsed().as_secs_f64();
        let place = count.fetch_add(1, Ordering::Relaxed);
        match script {
            Script::Freeze if (FREEZE_S.0..FREEZE_S.1).contains(&since_s) => {
                std::thread::sleep(Duration::from_secs_f64(FREEZE_S.1 - since_s));
            }
            Script::SlowShare if place.is_multiple_of(SLOW_EVERY) => std::thread::sleep(SLOW),
            _ => {}
        }
        if stream.write_all(ANSWER).is_err() {
            return;
        }
    }
}
