//! Requests per CPU-second and per second of loadgen and its peers (wrk, oha, hey: those that are installed).
//!
//! `cargo bench -p loadgen --bench peers`. One server on one core, each generator in turn on the other, in rounds
//! whose order is drawn anew: same server, same connections, same duration. The server is nginx where it is
//! installed, else the small one below. Printed are medians over the rounds and, for each peer, the median of
//! loadgen's ratio to it in the same round with a 95 % interval from order statistics. Among them runs a loop of the
//! same system calls and nothing else (`bare`): the kernel's share of the cost. `ROUNDS`, `SECONDS` and `CONNECTIONS`
//! (several by commas) change the defaults; with `-- --write` the README's table becomes this one.

mod bare;
mod machine;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use loadgen::arithmetic::Random;

const SERVER_CORE: usize = 0;
const CLIENT_CORE: usize = 1;
/// What oha and hey have by themselves, and what `scenarios/thousand.yaml` has.
const CONNECTIONS: &str = "50,1000";

/// What one run of a generator gave.
#[derive(Clone, Copy)]
struct Measure {
    requests: f64,
    seconds: f64,
    cpu_s: f64,
}

struct Peer {
    name: &'static str,
    command: fn(&Settings, &str) -> Command,
    requests: fn(&str, f64) -> Option<f64>,
}

struct Settings {
    rounds: usize,
    seconds: u64,
    connections: u64,
    rate: f64,
}

fn main() -> std::process::ExitCode {
    let number = |name: &str, default: u64| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    // `cargo test --benches` only wants to know that this builds and starts; so does the search for peers.
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|arg| arg == "--test" || arg == "--help") {
        return std::process::ExitCode::SUCCESS;
    }
    if args.first().is_some_and(|arg| arg == "--bare") {
        return bare::main(&args[1..]).map_or(std::process::ExitCode::FAILURE, |()| std::process::ExitCode::SUCCESS);
    }
    let Some(server) = Server::start() else {
        eprintln!("cannot start a server");
        return std::process::ExitCode::FAILURE;
    };
    let peers: Vec<Peer> = peers().into_iter().filter(Peer::is_installed).collect();
    let counts = std::env::var("CONNECTIONS").unwrap_or_else(|_| CONNECTIONS.to_owned());
    let mut page = format!(
        "{}\n\n{} on core {SERVER_CORE}, generators in turn on core {CLIENT_CORE}; medians, intervals are of 95 %:\n",
        machine::line(),
        server.name,
    );
    for connections in counts.split(',').filter_map(|count| count.trim().parse().ok()) {
        let (rounds, seconds) = (number("ROUNDS", 21) as usize, number("SECONDS", 2));
        let mut settings = Settings { rounds, seconds, connections, rate: 0.0 };
        // The open loop is offered more than the closed loop reached: how much it can send is the question.
        let Some(closed) = peers[0].run(&settings, &server.url) else {
            eprintln!("loadgen itself failed");
            return std::process::ExitCode::FAILURE;
        };
        settings.rate = (closed.requests / closed.seconds * 1.2).round();
        let rounds = play(&settings, &peers, &server.url);
        // Writing to a String cannot fail.
        let _ = write_table(&mut page, &settings, &peers, &rounds);
    }
    machine::publish("peers", &page)
}

/// All generators once a round, in an order that is drawn anew.
fn play<'a>(settings: &Settings, peers: &'a [Peer], url: &str) -> Vec<BTreeMap<&'a str, Measure>> {
    let mut random = Random::new(1, 0);
    let mut round = || {
        let mut order: Vec<&Peer> = peers.iter().collect();
        for place in (1..order.len()).rev() {
            order.swap(place, random.between(0, place as u64) as usize);
        }
        order.into_iter().filter_map(|peer| Some((peer.name, peer.run(settings, url)?))).collect()
    };
    (0..settings.rounds).map(|_| round()).collect()
}

fn peers() -> Vec<Peer> {
    vec![
        Peer { name: "loadgen", command: loadgen_closed, requests: loadgen_requests },
        Peer { name: "loadgen open", command: loadgen_open, requests: loadgen_requests },
        Peer { name: "bare", command: bare_loop, requests: |text, _| after(text, "", " answers") },
        Peer {
            name: "wrk",
            command: |s, url| command("wrk", &format!("-t1 -c{} -d{}s {url}", s.connections, s.seconds)),
            requests: |text, _| after(text, "", " requests in"),
        },
        Peer {
            name: "oha",
            command: |s, url| {
                let args = format!("--no-tui --output-format json -c {} -z {}s {url}", s.connections, s.seconds);
                command("oha", &args)
            },
            requests: |text, seconds| Some(after(text, "\"requestsPerSec\":", ",")? * seconds),
        },
        Peer {
            name: "hey",
            command: |s, url| command("hey", &format!("-cpus 1 -c {} -z {}s {url}", s.connections, s.seconds)),
            requests: |text, seconds| Some(after(text, "Requests/sec:", "\n")? * seconds),
        },
    ]
}

fn loadgen_closed(s: &Settings, url: &str) -> Command {
    let args = format!("{url} --shards 1 -c {} -d {}s -q --summary json", s.connections, s.seconds);
    command(env!("CARGO_BIN_EXE_loadgen"), &args)
}

fn loadgen_open(s: &Settings, url: &str) -> Command {
    // The same number of connections; what waits for one when the load ends is given up after the timeout.
    let (rate, connections, seconds) = (s.rate, s.connections, s.seconds);
    let args =
        format!("{url} --shards 1 -r {rate} -d {seconds}s --connections {connections} -t 200ms -q --summary json");
    command(env!("CARGO_BIN_EXE_loadgen"), &args)
}

fn bare_loop(s: &Settings, url: &str) -> Command {
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    let program = std::env::current_exe().unwrap_or_default();
    command(&program.to_string_lossy(), &format!("--bare {address} {} {}", s.connections, s.seconds))
}

fn loadgen_requests(text: &str, _: f64) -> Option<f64> {
    let summary: serde_json::Value = serde_json::from_str(text.lines().last()?).ok()?;
    summary["requests"]["ok"].as_f64()
}

fn command(program: &str, args: &str) -> Command {
    let mut command = Command::new(program);
    command.args(args.split_whitespace());
    command
}

/// The number that stands before `end`, behind `begin`.
fn after(text: &str, begin: &str, end: &str) -> Option<f64> {
    let from = text.find(begin)? + begin.len();
    let number = if begin.is_empty() { &text[..text.find(end)?] } else { text[from..].split(end).next()? };
    number.split_whitespace().last()?.parse().ok()
}

impl Peer {
    fn is_installed(&self) -> bool {
        let program = (self.command)(&Settings { rounds: 0, seconds: 1, connections: 1, rate: 1.0 }, "x");
        let found =
            Command::new(program.get_program()).arg("--help").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if found.is_err() {
            println!("{} is not installed and left out", self.name);
        }
        found.is_ok()
    }

    fn run(&self, settings: &Settings, url: &str) -> Option<Measure> {
        let mut command = (self.command)(settings, url);
        pin(&mut command, CLIENT_CORE);
        let started = Instant::now();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
        let mut text = String::new();
        child.stdout.take()?.read_to_string(&mut text).ok()?;
        let cpu_s = wait_for_cpu(&child)?;
        let seconds = started.elapsed().as_secs_f64();
        let requests = (self.requests)(&text, settings.seconds as f64)?;
        Some(Measure { requests, seconds, cpu_s })
    }
}

/// Lets a command run on one core.
fn pin(command: &mut Command, core: usize) {
    // SAFETY: between fork and exec only sched_setaffinity is called, which is a plain system call; the set is zeroed,
    // which is a valid empty set.
    unsafe {
        command.pre_exec(move || {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(core, &mut set);
            libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set);
            Ok(())
        });
    }
}

/// Waits for a child; the CPU time that it used.
fn wait_for_cpu(child: &Child) -> Option<f64> {
    // SAFETY: `usage` and `status` are valid places to write to, and the child is ours and not yet waited for.
    let (pid, usage) = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        let mut status = 0;
        (libc::wait4(child.id() as i32, &mut status, 0, &mut usage), usage)
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    (pid > 0).then(|| seconds(usage.ru_utime) + seconds(usage.ru_stime))
}

fn write_table(
    page: &mut String,
    settings: &Settings,
    peers: &[Peer],
    rounds: &[BTreeMap<&str, Measure>],
) -> std::fmt::Result {
    let per_cpu = |m: &Measure| m.requests / m.cpu_s;
    let per_s = |m: &Measure| m.requests / m.seconds;
    let of = |name: &str, figure: &dyn Fn(&Measure) -> f64| -> Vec<f64> {
        rounds.iter().filter_map(|round| round.get(name)).map(figure).collect()
    };
    let Settings { rounds: count, seconds, connections, .. } = settings;
    writeln!(page, "\n{connections} connections, {count} interleaved rounds of {seconds} s:\n")?;
    writeln!(page, "| generator | requests/CPU-s | requests/s | loadgen is x times (per CPU-s) | (per s) |")?;
    writeln!(page, "|---|---|---|---|---|")?;
    for peer in peers {
        let ratio = |figure: &dyn Fn(&Measure) -> f64| -> String {
            let ratios: Vec<f64> = rounds
                .iter()
                .filter_map(|round| Some(figure(round.get("loadgen")?) / figure(round.get(peer.name)?)))
                .collect();
            match peer.name {
                "loadgen" => String::new(),
                _ => interval(ratios),
            }
        };
        let shown = match peer.name {
            "loadgen" => "loadgen, closed loop".to_owned(),
            "loadgen open" => "loadgen, open loop, more planned than fits".to_owned(),
            "bare" => "its system calls alone, nothing parsed or recorded".to_owned(),
            "wrk" => version("wrk", "-v"),
            name => version(name, "--version"),
        };
        writeln!(
            page,
            "| {shown} | {:.0} | {:.0} | {} | {} |",
            median(of(peer.name, &per_cpu)),
            median(of(peer.name, &per_s)),
            ratio(&per_cpu),
            ratio(&per_s)
        )?;
    }
    Ok(())
}

/// What a program says that it is; its name alone where it does not say.
fn version(program: &str, flag: &str) -> String {
    let output = Command::new(program).arg(flag).output();
    let text = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let word = text.lines().next().unwrap_or_default().split_whitespace().nth(1);
    let number = word.and_then(|word| word.rsplit('/').next());
    match number.filter(|number| number.starts_with(|c: char| c.is_ascii_digit())) {
        Some(number) => format!("{program} {number}"),
        None => program.to_owned(),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

/// The median with an interval that holds the true median in at least 95 % of all cases.
fn interval(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    // The chance that the true median lies below the k-th smallest value is the chance of fewer than k heads in n
    // tosses.
    let (mut rank, mut tail, mut term) = (0, 0.0, 0.5f64.powi(n as i32));
    while rank < n / 2 && tail + term <= 0.025 {
        tail += term;
        term *= (n - rank) as f64 / (rank + 1) as f64;
        rank += 1;
    }
    match rank {
        0 => format!("{:.2} (too few rounds for an interval)", median(values)),
        _ => format!("{:.2} ({:.2} to {:.2})", median(values.clone()), values[rank - 1], values[n - rank]),
    }
}

/// The server under all generators.
struct Server {
    name: &'static str,
    url: String,
    nginx: Option<(Child, std::path::PathBuf)>,
}

impl Server {
    fn start() -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").ok()?.local_addr().ok()?.port();
        let url = format!("http://127.0.0.1:{port}/");
        if let Some(nginx) = start_nginx(port) {
            return Some(Self { name: "nginx, one worker", url, nginx: Some(nginx) });
        }
        let listener = TcpListener::bind(("127.0.0.1", port)).ok()?;
        std::thread::spawn(move || serve(listener));
        Some(Self { name: "a small server of its own", url, nginx: None })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some((child, folder)) = &mut self.nginx {
            let _ = child.kill();
            let _ = child.wait();
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

fn start_nginx(port: u16) -> Option<(Child, std::path::PathBuf)> {
    let folder = std::env::temp_dir().join(format!("loadgen-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).ok()?;
    let place = folder.display();
    let config = format!(
        "daemon off; master_process off; pid {place}/pid; error_log {place}/log;\n\
         events {{ worker_connections 4096; }}\n\
         http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 3600;\n\
         server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ return 200 \"hello world\\n\"; }} }} }}\n"
    );
    std::fs::File::create(folder.join("conf")).ok()?.write_all(config.as_bytes()).ok()?;
    let mut command = Command::new("nginx");
    command.arg("-p").arg(&folder).arg("-c").arg(folder.join("conf")).stderr(Stdio::null());
    pin(&mut command, SERVER_CORE);
    let child = command.spawn().ok()?;
    for _ in 0..100 {
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Some((child, folder));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    None
}

/// Answers every read with one answer: one thread a connection, enough to compare generators where there is no nginx.
fn serve(listener: TcpListener) {
    for stream in listener.incoming().flatten() {
        std::thread::spawn(move || {
            let mut stream = stream;
            let mut buffer = [0; 4096];
            while stream.read(&mut buffer).is_ok_and(|count| count > 0) {
                if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\nhello world\n").is_err() {
                    return;
                }
            }
        });
    }
}
