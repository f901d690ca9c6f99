//! `nanokube start`: become the daemon, or start one and wait until it says that it is ready.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;

use super::say;
use crate::cli::Start;
use crate::client::Client;
use crate::daemon;
use crate::instance::Directory;
use crate::object;

/// How much of the daemon's log a failed start shows.
const LOG_TAIL_LINES: usize = 10;
const PODS_PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub(super) fn run(directory: &Directory, start: &Start) -> anyhow::Result<ExitCode> {
    if start.daemon {
        // A session of its own: the terminal that started it may close.
        rustix::process::setsid().context("cannot become a daemon")?;
    }
    if start.daemon || start.foreground {
        daemon::run(directory, start)?;
        return Ok(ExitCode::SUCCESS);
    }
    if directory.is_running() {
        say(format_args!("already running: {}", server(directory)));
        return wait(directory, start).map(|()| ExitCode::SUCCESS);
    }
    let began = Instant::now();
    spawn_daemon(directory)?;
    say(format_args!("started in {:.1} s: {}", began.elapsed().as_secs_f64(), server(directory)));
    say(format_args!("export KUBECONFIG={}", directory.kubeconfig().display()));
    wait(directory, start).map(|()| ExitCode::SUCCESS)
}

/// Waits for the pods that there are, where that is wanted.
fn wait(directory: &Directory, start: &Start) -> anyhow::Result<()> {
    if !start.wait {
        return Ok(());
    }
    let client = Client::from_kubeconfig(&directory.kubeconfig())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start the runtime")?.block_on(async {
        let began = Instant::now();
        loop {
            let pods = client.get("/api/v1/pods").await?.json();
            let unready = unready(&pods);
            if unready.is_empty() {
                return Ok(());
            }
            if began.elapsed() > PODS_PATIENCE {
                bail!(
                    "not ready after {} s: {}: see `kubectl describe pods -A`",
                    PODS_PATIENCE.as_secs(),
                    unready.join(", ")
                );
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    })
}

/// `namespace/name` of pods that should run and do not.
fn unready(pods: &Value) -> Vec<String> {
    let wanted = |pod: &&Value| {
        let finished = matches!(object::str_at(pod, "/status/phase"), "Succeeded" | "Failed");
        !finished && !object::is_deleting(pod) && object::condition_status(pod, "Ready") != Some("True")
    };
    let unready = object::array_at(pods, "/items").iter().filter(wanted);
    unready.map(|pod| format!("{}/{}", object::namespace(pod), object::name(pod))).collect()
}

fn server(directory: &Directory) -> String {
    directory.facts_of_last_run().map(|facts| facts.api_server).unwrap_or_default()
}

/// Runs this program again as the daemon, with the same arguments, and waits for its one line.
fn spawn_daemon(directory: &Directory) -> anyhow::Result<()> {
    directory.create()?;
    let log_path = directory.log();
    let log = OpenOptions::new().create(true).append(true).mode(0o600).open(&log_path);
    let mut log = log.with_context(|| format!("cannot write the log {}", log_path.display()))?;
    let before = log.seek(SeekFrom::End(0)).unwrap_or(0);
    let program = std::env::current_exe().context("cannot find this program")?;
    let mut child = Command::new(program)
        .args(std::env::args_os().skip(1))
        .arg("--daemon")
        .arg("--dir")
        .arg(directory.path())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .context("cannot start the daemon")?;
    let stdout = child.stdout.take().context("the daemon has no output")?;
    let mut line = String::new();
    let read = BufReader::new(stdout).read_line(&mut line);
    if read.is_ok() && line.trim() == daemon::READY {
        return Ok(());
    }
    // It ended before it was ready; the status only adds to the words in its log.
    let status = child.wait().context("cannot wait for the daemon")?;
    bail!("the daemon did not start ({status}):\n{}\nsee `nanokube logs`", tail(&log_path, before));
}

fn tail(log: &Path, from: u64) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = std::fs::File::open(log)?;
        file.seek(SeekFrom::Start(from))?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        Ok(text)
    };
    let text = read().unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
}
