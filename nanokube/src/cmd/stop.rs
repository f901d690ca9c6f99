//! `nanokube stop`: ask the daemon to end and wait until it has.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::say;
use crate::instance::Directory;

/// Pods get their grace period; past this the daemon is killed, and its pods with it.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub(super) fn run(directory: &Directory) -> anyhow::Result<ExitCode> {
    match stop(directory)? {
        true => say("stopped"),
        false => say("not running"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether there was a daemon to stop.
pub(super) fn stop(directory: &Directory) -> anyhow::Result<bool> {
    let Some(raw) = directory.daemon_pid() else { return Ok(false) };
    let pid = Pid::from_raw(raw).context("the pid file is broken")?;
    signal(pid, Signal::TERM)?;
    let asked = Instant::now();
    let mut killed = false;
    while directory.is_running() {
        if asked.elapsed() > PATIENCE && !killed {
            eprintln!("the daemon (pid {raw}) does not end: killing it");
            signal(pid, Signal::KILL)?;
            killed = true;
        }
        if asked.elapsed() > PATIENCE * 2 {
            bail!("the daemon (pid {raw}) cannot be ended");
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(true)
}

fn signal(pid: Pid, signal: Signal) -> anyhow::Result<()> {
    match kill_process(pid, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot signal the daemon (pid {})", pid.as_raw_nonzero())),
    }
}
