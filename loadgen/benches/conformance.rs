//! Coordinated omission: what each generator reports of a server whose behaviour is known by arithmetic.
//!
//! `cargo bench -p loadgen --bench conformance` runs loadgen and the peers that are installed (oha, hey, wrk) against
//! scripted servers, 200 requests a second for 10 seconds over 20 connections, and prints their percentiles beside
//! the true ones in two minutes; with `-- --write` the README's table becomes that. Freeze: nothing is answered from second 4 to second 6, so
//! a fifth of the planned requests wait for 0 to 2 s, evenly spread. Slow share: every fifth request takes 300 ms.
//! Refuse and black hole: every request must be counted, with its class and its time. wrk has no rate; it is shown for
//! what a closed loop makes of the same server.

mod machine;

use std::fmt::Write as _;
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
    let mut page = String::new();
    // Writing to a String cannot fail.
    let _ = write_page(&mut page);
    machine::publish("conformance", &page)
}

fn write_page(page: &mut String) -> std::fmt::Result {
    let freeze_s = FREEZE_S.1 - FREEZE_S.0;
    let waited = |share_above: f64| (freeze_s - share_above * SECONDS).max(0.0);
    let slow_s = SLOW.as_secs_f64();
    writeln!(page, "{}\n", machine::line())?;
    writeln!(page, "| script | generator | p50 | p90 | p99 | off by at most |\n|---|---|---|---|---|---|")?;
    run_tools(page, "freeze", Script::Freeze, [waited(0.5), waited(0.1), waited(0.01)])?;
    run_tools(page, "slow share", Script::SlowShare, [0.0, slow_s, slow_s])?;
    writeln!(page, "\n| script | planned | ok | refused | timeout | p99 |\n|---|---|---|---|---|---|")?;
    if let (Ok(gone), Ok(silent)) = (TcpListener::bind("127.0.0.1:0"), TcpListener::bind("127.0.0.1:0")) {
        let url = |listener: &TcpListener| listener.local_addr().map(|address| format!("http://{address}/"));
        let (gone_url, silent_url) = (url(&gone).unwrap_or_default(), url(&silent).unwrap_or_default());
        drop(gone);
        write_classes(page, "refuse", &gone_url)?;
        write_classes(page, "black hole, timeout 1 s", &silent_url)?;
    }
    Ok(())
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

fn run_tools(page: &mut String, name: &str, script: Script, truth: Percentiles) -> std::fmt::Result {
    write_row(page, name, "by arithmetic", Some(truth), truth)?;
    for tool in tools() {
        let Some(url) = serve(script) else { continue };
        match (tool.command)(&url).output() {
            Ok(output) => {
                let told = (tool.read)(&String::from_utf8_lossy(&output.stdout));
                write_row(page, name, tool.name, told, truth)?;
            }
            Err(_) => writeln!(page, "| {name} | {} | not installed | | | |", tool.name)?,
        }
    }
    Ok(())
}

fn write_row(
    page: &mut String,
    script: &str,
    tool: &str,
    percentiles: Option<Percentiles>,
    truth: Percentiles,
) -> std::fmt::Result {
    let Some(told) = percentiles else {
        return writeln!(page, "| {script} | {tool} | no figures | | | |");
    };
    // Of percentiles whose truth is 0 no share can be told; they must be 0 to the eye.
    let shares =
        told.iter().zip(truth).filter(|(_, truth)| *truth > 0.0).map(|(told, truth)| (told / truth - 1.0).abs());
    let most = shares.fold(0.0, f64::max) * 100.0;
    let [p50, p90, p99] = told;
    writeln!(page, "| {script} | {tool} | {p50:.3} s | {p90:.3} s | {p99:.3} s | {most:.1} % |")
}

fn write_classes(page: &mut String, script: &str, url: &str) -> std::fmt::Result {
    let args = format!("{url} -r 200 -d 2s -t 1s -q --summary json");
    let output = command(env!("CARGO_BIN_EXE_loadgen"), &args).output().map(|output| output.stdout).unwrap_or_default();
    let text = String::from_utf8_lossy(&output).into_owned();
    let summary: serde_json::Value =
        text.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
    let (requests, p99) = (&summary["requests"], summary["latency_us"]["p99"].as_f64().unwrap_or(f64::NAN) / 1e6);
    writeln!(
        page,
        "| {script} | {} | {} | {} | {} | {p99:.3} s |",
        requests["planned"], requests["ok"], requests["errors"]["refused"], requests["errors"]["timeout"]
    )
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
