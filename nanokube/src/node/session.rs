//! The daemon's hold on one running container: the socket to its supervisor.
//!
//! When the last clone of a session is dropped the socket closes and the supervisor kills the container: nothing can be
//! forgotten. Execs travel over the same socket, with the files that are to be their standard streams.

use super::cgroup::Usage;
use super::supervisor::VERB;
use super::supervisor::protocol::{Command, ExitStatus, Launch, Reply, Request};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{oneshot, watch};

/// A supervisor that does not answer within this is taken for broken.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Exit {
    pub(super) status: ExitStatus,
    pub(super) out_of_memory: bool,
}

/// One running container. Clones share it.
#[derive(Clone)]
pub(super) struct Session {
    link: Arc<Link>,
    notes: Arc<[String]>,
}

/// A program that runs beside the container's own.
pub(super) struct Exec {
    id: u64,
    link: Arc<Link>,
    exit: oneshot::Receiver<ExitStatus>,
}

struct Link {
    socket: Arc<UnixStream>,
    writing: tokio::sync::Mutex<()>,
    next_exec: AtomicU64,
    waiting: Mutex<Waiting>,
    exit: watch::Receiver<Option<Exit>>,
}

#[derive(Default)]
struct Waiting {
    usages: Vec<oneshot::Sender<Usage>>,
    started: HashMap<u64, oneshot::Sender<Result<(), String>>>,
    ended: HashMap<u64, oneshot::Sender<ExitStatus>>,
}

impl Session {
    /// Starts a supervisor with the container it is to run; `title` is what `ps` shows.
    pub(super) async fn start(program: &Path, title: &str, launch: &Launch) -> Result<Session, String> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(words("make a socket pair"))?;
        ours.set_nonblocking(true).map_err(words("prepare a socket"))?;
        let ours = Arc::new(UnixStream::from_std(ours).map_err(words("register a socket"))?);
        let mut supervisor = tokio::process::Command::new(program)
            .args([VERB, title])
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot start the supervisor {}: {error}", program.display()))?;
        tokio::spawn(async move { supervisor.wait().await });
        let (exit_sender, exit) = watch::channel(None);
        let link = Arc::new(Link {
            socket: ours.clone(),
            writing: tokio::sync::Mutex::new(()),
            next_exec: AtomicU64::new(1),
            waiting: Mutex::default(),
            exit,
        });
        link.send(launch, &[]).await.map_err(words("reach the supervisor"))?;
        let (first_sender, first) = oneshot::channel();
        tokio::spawn(listen(ours, Arc::downgrade(&link), first_sender, exit_sender));
        let notes =
            first.await.unwrap_or_else(|_| Err("the supervisor ended before the container started".to_owned()))?;
        Ok(Session { link, notes: notes.into() })
    }

    /// What had to be done in another way than asked.
    pub(super) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Waits for the container's end.
    pub(super) async fn wait(&self) -> Exit {
        let mut exit = self.link.exit.clone();
        let ended = exit.wait_for(Option::is_some).await.map(|exit| *exit);
        // A supervisor that vanished took the container with it.
        ended.ok().flatten().unwrap_or(Exit { status: ExitStatus::Signal(libc::SIGKILL), out_of_memory: false })
    }

    pub(super) async fn signal(&self, signal: i32) {
        self.tell(&Request::Signal(signal)).await;
    }

    /// Kills everything in the container.
    pub(super) async fn kill(&self) {
        self.tell(&Request::Kill).await;
    }

    /// CPU and memory as the supervisor measures them.
    pub(super) async fn usage(&self) -> Option<Usage> {
        let (sender, answer) = oneshot::channel();
        self.link.waiting().usages.push(sender);
        self.tell(&Request::Usage).await;
        tokio::time::timeout(ANSWER_PATIENCE, answer).await.ok()?.ok()
    }

    /// Runs a program in the container: with three files as its streams, or one that is its terminal.
    pub(super) async fn exec(&self, command: Command, files: &[OwnedFd]) -> Result<Exec, String> {
        let id = self.link.next_exec.fetch_add(1, Ordering::Relaxed);
        let (ended_sender, exit) = oneshot::channel();
        self.link.waiting().ended.insert(id, ended_sender);
        self.request(id, &Request::Exec { id, command, terminal: files.len() == 1 }, files).await?;
        Ok(Exec { id, link: self.link.clone(), exit })
    }

    /// Carries the container's own streams over three files as well.
    pub(super) async fn attach(&self, files: &[OwnedFd]) -> Result<(), String> {
        let id = self.link.next_exec.fetch_add(1, Ordering::Relaxed);
        self.request(id, &Request::Attach { id }, files).await
    }

    /// Sets the size of the container's terminal.
    pub(super) async fn resize(&self, columns: u16, rows: u16) {
        self.tell(&Request::Resize { columns, rows }).await;
    }

    /// Sends a request with files and waits until the supervisor says that it was done.
    async fn request(&self, id: u64, request: &Request, files: &[OwnedFd]) -> Result<(), String> {
        let (started_sender, started) = oneshot::channel();
        self.link.waiting().started.insert(id, started_sender);
        let gone = || "the container has ended".to_owned();
        self.link.send(request, files).await.map_err(|_| gone())?;
        let answer = tokio::time::timeout(ANSWER_PATIENCE, started).await;
        answer.map_err(|_| "the supervisor does not answer".to_owned())?.map_err(|_| gone())?
    }

    /// A supervisor that is gone needs to be told nothing: `wait` reports the end.
    async fn tell(&self, request: &Request) {
        let _ = self.link.send(request, &[]).await;
    }
}

impl Exec {
    /// Waits for the end of the program; a container that ends kills it.
    pub(super) async fn wait(&mut self) -> ExitStatus {
        (&mut self.exit).await.unwrap_or(ExitStatus::Signal(libc::SIGKILL))
    }

    pub(super) async fn kill(&self) {
        let _ = self.link.send(&Request::KillExec { id: self.id }, &[]).await; // gone already is what is wanted
    }
}

/// The last one to hold the session lets go: the supervisor sees the end of its socket and kills the container.
impl Drop for Link {
    fn drop(&mut self) {
        let _ = rustix::net::shutdown(&*self.socket, rustix::net::Shutdown::Both); // ended already is what is wanted
    }
}

impl Link {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes one line, the files beside its first byte.
    async fn send(&self, message: &impl serde::Serialize, files: &[OwnedFd]) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        let _turn = self.writing.lock().await;
        let mut rest = line.as_slice();
        let mut files = files;
        while !rest.is_empty() {
            let sent = self.socket.async_io(Interest::WRITABLE, || send_some(&self.socket, rest, files)).await?;
            rest = &rest[sent..];
            files = &[];
        }
        Ok(())
    }
}

fn send_some(socket: &UnixStream, bytes: &[u8], files: &[OwnedFd]) -> io::Result<usize> {
    let borrowed: Vec<_> = files.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !borrowed.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(&borrowed)) {
        return Err(io::Error::other("too many files for one exec"));
    }
    Ok(sendmsg(socket, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?)
}

/// Reads what the supervisor says until its socket ends, and gives each answer to whom it belongs.
async fn listen(
    socket: Arc<UnixStream>,
    link: std::sync::Weak<Link>,
    first: oneshot::Sender<Result<Vec<String>, String>>,
    exit: watch::Sender<Option<Exit>>,
) {
    let mut first = Some(first);
    let mut buffer = Vec::new();
    let mut chunk = vec![0; 16 << 10];
    loop {
        let read = socket.async_io(Interest::READABLE, || socket.try_read(&mut chunk)).await;
        let Ok(read @ 1..) = read else { break };
        buffer.extend_from_slice(&chunk[..read]);
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<_> = buffer.drain(..=end).collect();
            let Ok(reply) = serde_json::from_slice::<Reply>(&line) else { continue };
            let told = match reply {
                Reply::Started { notes } => Some(Ok(notes)),
                Reply::Failed { message } => Some(Err(message)),
                Reply::Exited { status, out_of_memory } => {
                    exit.send_replace(Some(Exit { status, out_of_memory }));
                    None
                }
                other => {
                    if let Some(link) = link.upgrade() {
                        dispatch(&link, other);
                    }
                    None
                }
            };
            if let Some(told) = told
                && let Some(first) = first.take()
            {
                let _ = first.send(told); // the starter may have been cancelled
            }
        }
    }
    if exit.borrow().is_none() {
        exit.send_replace(Some(Exit { status: ExitStatus::Signal(libc::SIGKILL), out_of_memory: false }));
    }
    if let Some(link) = link.upgrade() {
        *link.waiting() = Waiting::default();
    }
}

/// A waiter may have given up; then its answer is dropped.
fn dispatch(link: &Link, reply: Reply) {
    let mut waiting = link.waiting();
    match reply {
        Reply::Usage(usage) => drop(waiting.usages.drain(..).map(|waiter| waiter.send(usage)).collect::<Vec<_>>()),
        Reply::ExecStarted { id } => drop(waiting.started.remove(&id).map(|waiter| waiter.send(Ok(())))),
        Reply::ExecFailed { id, message } => {
            waiting.ended.remove(&id);
            drop(waiting.started.remove(&id).map(|waiter| waiter.send(Err(message))));
        }
        Reply::ExecExited { id, status } => drop(waiting.ended.remove(&id).map(|waiter| waiter.send(status))),
        Reply::Started { .. } | Reply::Failed { .. } | Reply::Exited { .. } => {}
    }
}

fn words(what: &'static str) -> impl FnOnce(io::Error) -> String {
    move |error| format!("cannot {what}: {error}")
}
