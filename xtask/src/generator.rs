//! Who sends the load: pods of the cluster (see `fleet.rs`), or the load generator as a child process.
//!
//! A child's stream is read line by line, its complaints are kept, its end is forwarded. A Ctrl-C at the terminal reaches it
//! once, from here, and its full report still comes.

use std::collections::VecDeque;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::child::bound_to_us;
use crate::fleet::Fleet;
use crate::problem;
use crate::prometheus::Targets;

/// `host:port` of the line in which a generator says where its metrics are.
pub(crate) fn shown_at(line: &str) -> Option<&str> {
    line.strip_prefix("metrics http://")?.strip_suffix("/metrics")
}

/// Who sends the load.
pub(crate) enum Sender {
    /// A child process of ours.
    Child(Box<Generator>),
    /// Pods of the cluster.
    Pods(Box<Fleet>),
}

impl Sender {
    pub(crate) async fn next_line(&mut self) -> Result<Option<String>> {
        match self {
            Sender::Child(generator) => generator.next_line().await,
            Sender::Pods(fleet) => fleet.next_line().await,
        }
    }

    pub(crate) async fn interrupt(&mut self) {
        match self {
            Sender::Child(generator) => generator.interrupt(),
            Sender::Pods(fleet) => fleet.interrupt().await,
        }
    }

    /// The exit code of a child; pods have told all in their stream.
    pub(crate) async fn wait(&mut self) -> Result<Option<i32>> {
        match self {
            Sender::Child(generator) => generator.wait().await,
            Sender::Pods(_) => Ok(None),
        }
    }

    pub(crate) fn complaints(&self) -> String {
        match self {
            Sender::Child(generator) => generator.complaints(),
            Sender::Pods(fleet) => fleet.complaints(),
        }
    }

    /// Leaves nothing behind, however the run ended.
    pub(crate) async fn remove(&mut self) {
        match self {
            // Killed when it is dropped.
            Sender::Child(_) => {}
            Sender::Pods(fleet) => fleet.remove().await,
        }
    }
}

const COMPLAINTS_MAX: usize = 20;

pub(crate) struct Generator {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    complaints: Arc<Mutex<VecDeque<String>>>,
}

impl Generator {
    /// Runs the load of a scenario file against a URL. It shows its metrics to whoever follows `targets`.
    pub(crate) fn spawn(binary: &Path, scenario: &Path, url: &str, targets: Option<Targets>) -> Result<Generator> {
        let mut command = Command::new(binary);
        command.arg(url).arg("--scenario").arg(scenario).arg("--intervals");
        if targets.is_some() {
            command.args(["--metrics", "127.0.0.1:0"]);
        }
        let mut child = bound_to_us(&mut command)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| problem::tool_missing("loadgen", "cargo build -p loadgen"))?;
        let stdout = child.stdout.take().expect("invariant: stdout is piped");
        let stderr = child.stderr.take().expect("invariant: stderr is piped");
        let complaints = Arc::new(Mutex::new(VecDeque::new()));
        let kept = complaints.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                if let (Some(targets), Some(address)) = (&targets, shown_at(&line)) {
                    targets.set(Some(address));
                    continue;
                }
                let mut kept = kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                kept.push_back(line);
                if kept.len() > COMPLAINTS_MAX {
                    kept.pop_front();
                }
            }
        });
        Ok(Generator { child, lines: BufReader::new(stdout).lines(), complaints })
    }

    /// The next line of the stream; `None` when the generator has said everything.
    pub(crate) async fn next_line(&mut self) -> Result<Option<String>> {
        self.lines.next_line().await.context("reading from loadgen")
    }

    /// Asks it to end: it prints its summary and exits.
    pub(crate) fn interrupt(&self) {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended by itself just now.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        }
    }

    pub(crate) async fn wait(&mut self) -> Result<Option<i32>> {
        Ok(self.child.wait().await?.code())
    }

    pub(crate) fn complaints(&self) -> String {
        let kept = self.complaints.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        kept.iter().cloned().collect::<Vec<_>>().join("\n")
    }
}
