//! Forks a child that becomes a program, and follows it until it has: what it says comes over a pipe that `execve`
//! closes.
//!
//! The child waits until it is in its control groups. Then it may tell that another process takes its place (a fork
//! into a joined process namespace), hand over the listener of its `bind` filter, leave a note, or say why it failed.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use super::bind::{self, Binder};
use super::sys;
use crate::node::process_tree;

/// A program that runs.
pub(super) struct Spawned {
    pub(super) pid: i32,
    pub(super) binder: Option<Binder>,
    /// What had to be done in another way than asked.
    pub(super) notes: Vec<String>,
}

/// The child's side of the pipes.
pub(super) struct News {
    news: File,
    go: File,
}

impl News {
    /// This process is not the one that becomes the program: `pid` is.
    pub(super) fn moved_to(&self, pid: i32) {
        self.say(&format!("P{pid}\n"));
    }

    /// Lets the supervisor answer this process's `bind` calls from now on, if the machine allows it.
    pub(super) fn hand_over_binds(&self) -> Result<(), String> {
        let listener = match bind::install() {
            Err(error) if error.raw_os_error() == Some(libc::EACCES) => {
                // Without privileges a filter may only be set by who gives up gaining any.
                sys::set_no_new_privileges().and_then(|()| bind::install())
            }
            other => other,
        };
        let listener = match listener {
            Ok(listener) => listener,
            Err(error) => {
                self.say(&format!("Nports are shared with the whole machine: no filter for bind: {error}\n"));
                return Ok(());
            }
        };
        self.say(&format!("L{}\n", listener.as_raw_fd()));
        let mut answer = [0];
        match (&self.go).read_exact(&mut answer) {
            Ok(()) if answer == *b"g" => Ok(()),
            _ => Err("the supervisor could not take over bind".to_owned()),
        }
    }

    fn say(&self, line: &str) {
        let _ = (&self.news).write_all(line.as_bytes()); // without a reader the supervisor is gone, and so are we
    }
}

/// Runs `become_program` in a child; it returns only its failure.
pub(super) fn spawn(
    clone_flags: i32,
    cgroup_procs: &[PathBuf],
    bind_address: Option<Ipv4Addr>,
    become_program: impl FnOnce(&News) -> String,
) -> Result<Spawned, String> {
    let ((go_read, go_write), (news_read, news_write)) = (pipe()?, pipe()?);
    let child = sys::fork(clone_flags).map_err(|error| format!("cannot start a process: {error}"))?;
    if child == 0 {
        drop((go_write, news_read));
        let news = News { news: File::from(news_write), go: File::from(go_read) };
        if (&news.go).read_exact(&mut [0]).is_err() {
            sys::exit(127);
        }
        let run = std::panic::AssertUnwindSafe(|| become_program(&news));
        let message = std::panic::catch_unwind(run).unwrap_or_else(|_| "the supervisor failed".to_owned());
        news.say(&format!("E{message}"));
        sys::exit(127);
    }
    drop((go_read, news_write));
    for file in cgroup_procs {
        if let Err(error) = std::fs::write(file, child.to_string()) {
            process_tree::send_signal(child, libc::SIGKILL);
            return Err(format!("cannot join the control group {}: {error}", file.display()));
        }
    }
    follow(child, File::from(go_write), File::from(news_read), bind_address)
}

/// Reads what the child says until it has become the program.
fn follow(child: i32, mut go: File, news: File, bind_address: Option<Ipv4Addr>) -> Result<Spawned, String> {
    let silent = |error: std::io::Error| format!("the new process does not answer: {error}");
    let mut spawned = Spawned { pid: child, binder: None, notes: Vec::new() };
    let mut news = BufReader::new(news);
    go.write_all(b"g").map_err(silent)?;
    loop {
        let mut line = String::new();
        if news.read_line(&mut line).map_err(silent)? == 0 {
            return Ok(spawned);
        }
        let (kind, rest) = line.split_at(1);
        match kind {
            "P" => spawned.pid = rest.trim().parse().unwrap_or(child),
            "N" => spawned.notes.push(rest.trim().to_owned()),
            "L" => {
                let listener = rest.trim().parse().unwrap_or(-1);
                spawned.binder = bind_address.and_then(|address| Binder::take(child, listener, address).ok());
                let answer = if spawned.binder.is_some() { b"g" } else { b"n" };
                go.write_all(answer).map_err(silent)?;
            }
            _ => {
                let mut message = rest.to_owned();
                news.read_to_string(&mut message).map_err(silent)?;
                return Err(message);
            }
        }
    }
}

fn pipe() -> Result<(OwnedFd, OwnedFd), String> {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(|error| format!("cannot open a pipe: {error}"))
}
