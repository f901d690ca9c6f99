//! What clients see of a running container: its log, programs run beside it, connections to its ports.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::Kubelet;
use super::launch;
use super::pod::{self, PodContext};
use super::state::Phase;
use crate::node::log::{LogOptions, LogReader};
use crate::node::session::{Exec, Session};
use crate::object::{self, Object};
use crate::status::ApiError;

/// How often a followed log is looked at.
const FOLLOW_PAUSE: Duration = Duration::from_millis(100);
const EXEC_OUTPUT_MAX: u64 = 10 << 10;

/// The files of a program that runs beside a container.
pub enum ExecStreams {
    /// Our ends: its input, output and errors.
    Pipes { input: OwnedFd, output: OwnedFd, errors: OwnedFd },
    /// Our end of its terminal.
    Terminal(OwnedFd),
}

/// A client's hold on a program: one that was started beside a container for it, or the container's own.
pub struct ExecSession {
    /// Taken by whoever carries the bytes: an end that stays here would keep the program's input open.
    pub streams: Option<ExecStreams>,
    program: Program,
}

enum Program {
    Beside(Exec),
    Own(Session),
}

impl ExecSession {
    /// Waits for its end; the exit code as a shell would give it.
    pub async fn wait(&mut self) -> i32 {
        match &mut self.program {
            Program::Beside(exec) => exec.wait().await.exit_code(),
            Program::Own(session) => session.wait().await.status.exit_code(),
        }
    }

    /// The client is gone: a program that ran for it ends, a container goes on.
    pub async fn leave(&self) {
        if let Program::Beside(exec) = &self.program {
            exec.kill().await;
        }
    }

    /// Sets the size of a container's own terminal; that of another program is set on its file.
    pub async fn resize(&self, columns: u16, rows: u16) {
        if let Program::Own(session) = &self.program {
            session.resize(columns, rows).await;
        }
    }

    /// Whether how the program ends is the client's business.
    pub fn is_attached(&self) -> bool {
        matches!(self.program, Program::Own(_))
    }
}

impl Kubelet {
    /// The log of a container as a stream of text. `container` must be one of the pod's.
    pub fn logs(
        &self,
        pod: &Object,
        container: &str,
        options: &LogOptions,
    ) -> Result<impl Stream<Item = Result<Bytes, io::Error>> + Send + 'static, ApiError> {
        let context = self.pod(object::uid(pod));
        let name = object::name(pod).to_owned();
        let logs = self.config.pods_dir.join(object::uid(pod)).join("logs");
        let file = if options.previous { "previous.log" } else { "log" };
        let path = logs.join(format!("{container}.{file}"));
        if !path.exists() {
            return Err(no_log(context.as_deref(), &name, container, options.previous));
        }
        let options = LogOptions { previous: false, ..options.clone() };
        Ok(read_log(path, options, context, container.to_owned()))
    }

    /// Runs a program in a container.
    pub async fn exec(
        &self,
        pod: &Object,
        container: &str,
        argv: Vec<String>,
        tty: bool,
    ) -> Result<ExecSession, ApiError> {
        let context = self.pod(object::uid(pod)).ok_or_else(|| not_running(pod, container))?;
        let session = running(&context, container).ok_or_else(|| not_running(pod, container))?;
        let internal = |error: String| ApiError::internal(error);
        let spec = pod::containers(pod).find(|(spec, _)| spec["name"] == container).map(|(spec, _)| spec);
        let spec = spec.ok_or_else(|| not_running(pod, container))?;
        let image = self.images.resolve(object::str_at(&spec, "/image")).ok().flatten();
        let image = image.ok_or_else(|| internal("the container's image is gone".to_owned()))?;
        let mut command = launch::command(&context, pod, &spec, &image, &mut Vec::new()).map_err(internal)?;
        command.argv = argv;
        let (streams, theirs) = streams(tty).map_err(|error| internal(format!("cannot open streams: {error}")))?;
        let exec = session.exec(command, &theirs).await.map_err(internal)?;
        Ok(ExecSession { streams: Some(streams), program: Program::Beside(exec) })
    }

    /// Joins the streams of a container's own program.
    pub async fn attach(&self, pod: &Object, container: &str) -> Result<ExecSession, ApiError> {
        let context = self.pod(object::uid(pod)).ok_or_else(|| not_running(pod, container))?;
        let session = running(&context, container).ok_or_else(|| not_running(pod, container))?;
        let opened = streams(false);
        let (streams, theirs) = opened.map_err(|error| ApiError::internal(format!("cannot open streams: {error}")))?;
        session.attach(&theirs).await.map_err(ApiError::internal)?;
        Ok(ExecSession { streams: Some(streams), program: Program::Own(session) })
    }

    /// Connects to a port of a pod: at its own address, or at the machine's loopback for programs bound there.
    pub async fn dial(&self, pod: &Object, port: u16) -> io::Result<TcpStream> {
        let ip: Ipv4Addr = object::str_at(pod, "/status/podIP").parse().unwrap_or(Ipv4Addr::LOCALHOST);
        match TcpStream::connect(SocketAddr::from((ip, port))).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await
            }
            outcome => outcome,
        }
    }
}

fn running(pod: &PodContext, container: &str) -> Option<Session> {
    match &pod.states().0.get(container)?.phase {
        Phase::Running { handle, .. } => Some(handle.session.clone()),
        _ => None,
    }
}

fn not_running(pod: &Object, container: &str) -> ApiError {
    ApiError::bad_request(format!("container {container} in pod {} is not running", object::name(pod)))
}

fn no_log(pod: Option<&PodContext>, name: &str, container: &str, previous: bool) -> ApiError {
    if previous {
        return ApiError::bad_request(format!(
            "previous terminated container \"{container}\" in pod \"{name}\" not found"
        ));
    }
    let reason = pod.and_then(|pod| match &pod.states().0.get(container)?.phase {
        Phase::Waiting { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    let reason = reason.unwrap_or_else(|| "ContainerCreating".to_owned());
    ApiError::bad_request(format!("container \"{container}\" in pod \"{name}\" is waiting to start: {reason}"))
}

/// Pieces of a log; when it is followed, until its container has ended and all was read.
fn read_log(
    path: PathBuf,
    options: LogOptions,
    pod: Option<std::sync::Arc<PodContext>>,
    container: String,
) -> impl Stream<Item = Result<Bytes, io::Error>> + Send + 'static {
    let follow = options.follow;
    let mut reader = LogReader::new(&path, &options);
    let begun = reader.start();
    let state = (reader, begun.err(), false);
    futures::stream::unfold(state, move |(mut reader, failed, over)| {
        let (pod, container) = (pod.clone(), container.clone());
        async move {
            if over {
                return None;
            }
            if let Some(error) = failed {
                return Some((Err(error), (reader, None, true)));
            }
            loop {
                // Looked at before the log: what was written until then is read below.
                let lives = pod.as_ref().is_some_and(|pod| running(pod, &container).is_some());
                match reader.read() {
                    Ok(Some(text)) => return Some((Ok(Bytes::from(text)), (reader, None, false))),
                    Ok(None) if follow && lives && !reader.is_exhausted() => tokio::time::sleep(FOLLOW_PAUSE).await,
                    Ok(None) => return None,
                    Err(error) => return Some((Err(error), (reader, None, true))),
                }
            }
        }
    })
}

fn streams(tty: bool) -> io::Result<(ExecStreams, Vec<OwnedFd>)> {
    if tty {
        let flags = rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY;
        let ours = rustix::pty::openpt(flags | rustix::pty::OpenptFlags::CLOEXEC)?;
        rustix::pty::grantpt(&ours)?;
        rustix::pty::unlockpt(&ours)?;
        let theirs = rustix::pty::ioctl_tiocgptpeer(&ours, flags | rustix::pty::OpenptFlags::CLOEXEC)?;
        return Ok((ExecStreams::Terminal(ours), vec![theirs]));
    }
    let (their_input, input) = pipe()?;
    let (output, their_output) = pipe()?;
    let (errors, their_errors) = pipe()?;
    Ok((ExecStreams::Pipes { input, output, errors }, vec![their_input, their_output, their_errors]))
}

/// A pipe: its reading end, its writing end.
pub(super) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}

/// The beginning of what comes out of a pipe, read until it ends.
pub(super) async fn read_some(output: OwnedFd) -> Vec<u8> {
    let file = tokio::fs::File::from_std(std::fs::File::from(output));
    let mut text = Vec::new();
    let _ = file.take(EXEC_OUTPUT_MAX).read_to_end(&mut text).await; // what was read so far is what there is to show
    text
}
