//! Exec and attach: a program beside a container or the container itself, its streams on numbered channels of a WebSocket,
//! or on SPDY streams of older clients.
//!
//! Channels: 0 input, 1 output, 2 errors, 3 how it ended, 4 the size of the terminal; version 5 adds 255, the end of one
//! direction. The end is a Status on channel 3; an exit code other than 0 is a failure with reason NonZeroExitCode.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::Response;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

use super::wire::{self, Agreed, Wire};
use crate::api::request::Address;
use crate::api::{Api, Body, Call, pod_log, read};
use crate::kind::Kind;
use crate::node::{ExecSession, ExecStreams};
use crate::object;
use crate::spdy::{Event, Session};
use crate::status::ApiError;

const SOCKET_PROTOCOLS: [&str; 3] = ["v5.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io"];
const SPDY_PROTOCOLS: [&str; 1] = ["v4.channel.k8s.io"];
const INPUT: u8 = 0;
const OUTPUT: u8 = 1;
const ERRORS: u8 = 2;
const END: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;
const READ_BYTES: usize = 32 << 10;
const QUEUE_CHUNKS: usize = 16;
/// How long a client may take to open its streams.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// Output of the program on a channel; None is the end of that channel.
type Output = (u8, Option<Bytes>);

pub(crate) async fn answer(
    api: &Arc<Api>,
    mut call: Call,
    kind: &Kind,
    address: &Address,
) -> Result<Response<Body>, ApiError> {
    let pod = read::find(api, kind, address)?;
    let container = pod_log::container(&pod, call.query.get("container"))?;
    let wanted = Wanted {
        input: call.query.flag("stdin"),
        output: call.query.flag("stdout"),
        errors: call.query.flag("stderr"),
        tty: call.query.flag("tty"),
    };
    let session = if address.subresource.as_deref() == Some("attach") {
        api.node.kubelet().attach(&pod, &container).await?
    } else {
        let command: Vec<String> = call.query.all("command").map(str::to_string).collect();
        if command.is_empty() {
            return Err(ApiError::bad_request("you must specify at least one command for the container"));
        }
        api.node.kubelet().exec(&pod, &container, command, wanted.tty).await?
    };
    let (response, upgrade, agreed) = wire::accept(&mut call, &SOCKET_PROTOCOLS, &SPDY_PROTOCOLS)?;
    tokio::spawn(async move {
        let Some(wire) = Wire::open(upgrade, &agreed).await else {
            session.leave().await;
            return;
        };
        let client = match agreed {
            Agreed::Socket(_) => Client { wire, spdy: None },
            Agreed::Spdy(_) => Client { wire, spdy: Some(Spdy::default()) },
        };
        run(client, session, wanted).await;
    });
    Ok(response)
}

/// Which streams the client asked for.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    input: bool,
    output: bool,
    errors: bool,
    tty: bool,
}

/// The other end, by channels whatever it speaks.
struct Client {
    wire: Wire,
    spdy: Option<Spdy>,
}

/// Which SPDY stream is which channel.
#[derive(Default)]
struct Spdy {
    session: Session,
    channels: HashMap<u32, u8>,
}

/// What the client said.
enum Said {
    Bytes(u8, Bytes),
    Finished(u8),
}

impl Spdy {
    fn stream(&self, channel: u8) -> Option<u32> {
        self.channels.iter().find(|(_, known)| **known == channel).map(|(stream, _)| *stream)
    }

    fn take(&mut self, event: Event) -> Option<Said> {
        match event {
            Event::Opened { stream, headers } => {
                self.session.accept(stream);
                let kind = headers.iter().find(|(name, _)| name == "streamtype").map(|(_, value)| value.as_str());
                let channel = match kind? {
                    "stdin" => INPUT,
                    "stdout" => OUTPUT,
                    "stderr" => ERRORS,
                    "resize" => RESIZE,
                    _ => END,
                };
                self.channels.insert(stream, channel);
                None
            }
            Event::Data { stream, bytes } => Some(Said::Bytes(*self.channels.get(&stream)?, bytes.into())),
            Event::Finished { stream } | Event::Reset { stream } => Some(Said::Finished(*self.channels.get(&stream)?)),
            Event::GoAway => None,
        }
    }
}

impl Client {
    /// What the client says next; None when it is gone.
    async fn listen(&mut self) -> Option<Vec<Said>> {
        let message = self.wire.read().await?;
        if let Some(spdy) = &mut self.spdy {
            let events = spdy.session.receive(&message).ok()?;
            return Some(events.into_iter().filter_map(|event| spdy.take(event)).collect());
        }
        let (channel, rest) = message.split_first()?;
        Some(match (*channel, rest) {
            (CLOSE, [channel, ..]) => vec![Said::Finished(*channel)],
            (channel, _) => vec![Said::Bytes(channel, message.slice(1..))],
        })
    }

    /// Waits until the client has opened its SPDY streams: what is said on one before is lost.
    async fn open(&mut self, wanted: Wanted) -> bool {
        let Some(spdy) = &self.spdy else { return true };
        let streams = [true, wanted.input, wanted.output, wanted.errors && !wanted.tty, wanted.tty];
        let expected = streams.iter().filter(|stream| **stream).count();
        let mut opened = spdy.channels.len();
        while opened < expected {
            if self.listen().await.is_none() || !self.flush().await {
                return false;
            }
            opened = self.spdy.as_ref().map_or(expected, |spdy| spdy.channels.len());
        }
        true
    }

    /// Sends bytes on a channel; false when the client is gone.
    async fn say(&mut self, channel: u8, bytes: &[u8]) -> bool {
        if let Some(spdy) = &mut self.spdy {
            if let Some(stream) = spdy.stream(channel) {
                spdy.session.send(stream, bytes);
            }
            return self.flush().await;
        }
        let mut message = BytesMut::with_capacity(bytes.len() + 1);
        message.put_u8(channel);
        message.put_slice(bytes);
        self.wire.write(message.freeze()).await.is_ok()
    }

    async fn flush(&mut self) -> bool {
        let Some(spdy) = &mut self.spdy else { return true };
        let output = spdy.session.take_output();
        output.is_empty() || self.wire.write(output).await.is_ok()
    }

    async fn end(mut self, status: &Value) {
        self.say(END, status.to_string().as_bytes()).await;
        if let Some(spdy) = &mut self.spdy {
            let streams: Vec<u32> = spdy.channels.keys().copied().collect();
            streams.into_iter().for_each(|stream| spdy.session.finish(stream));
            self.flush().await;
        }
        self.wire.close().await;
    }
}

async fn run(mut client: Client, mut session: ExecSession, wanted: Wanted) {
    let opened = tokio::time::timeout(OPEN_TIMEOUT, client.open(wanted)).await;
    let Some(streams) = session.streams.take().filter(|_| opened == Ok(true)) else {
        session.leave().await;
        return;
    };
    let (sender, mut outputs) = mpsc::channel::<Output>(QUEUE_CHUNKS);
    let (input, input_chunks) = mpsc::channel::<Bytes>(QUEUE_CHUNKS);
    let mut input = Some(input).filter(|_| wanted.input);
    let terminal = start_copying(streams, wanted, sender, input_chunks);
    let mut code = None;
    let mut talking = true;
    loop {
        tokio::select! {
            said = client.listen(), if talking => match said {
                Some(said) => {
                    for said in said {
                        take(said, &mut input, terminal.as_ref(), &session).await;
                    }
                    talking = client.flush().await;
                }
                None => {
                    session.leave().await;
                    return;
                }
            },
            output = outputs.recv() => match output {
                Some((channel, Some(bytes))) => {
                    if !client.say(channel, &bytes).await {
                        session.leave().await;
                        return;
                    }
                }
                Some((_, None)) => {}
                None => break,
            },
            ended = session.wait(), if code.is_none() => code = Some(ended),
        }
    }
    let code = match code {
        Some(code) => code,
        None => session.wait().await,
    };
    client.end(&outcome(if session.is_attached() { 0 } else { code })).await;
}

async fn take(
    said: Said,
    input: &mut Option<mpsc::Sender<Bytes>>,
    terminal: Option<&Arc<OwnedFd>>,
    session: &ExecSession,
) {
    match said {
        Said::Bytes(INPUT, bytes) => {
            if let Some(input) = input {
                // A program that has ended takes no input; its end is told elsewhere.
                let _ = input.send(bytes).await;
            }
        }
        Said::Bytes(RESIZE, bytes) => {
            let Ok(size) = serde_json::from_slice::<Value>(&bytes) else { return };
            let cells = |field: &str| object::i64_at(&size, field).and_then(|cells| u16::try_from(cells).ok());
            let (columns, rows) = (cells("/Width").unwrap_or(0), cells("/Height").unwrap_or(0));
            match terminal {
                Some(terminal) => {
                    let size = rustix::termios::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
                    // A terminal that is gone needs no size.
                    let _ = rustix::termios::tcsetwinsize(terminal, size);
                }
                None => session.resize(columns, rows).await,
            }
        }
        Said::Finished(INPUT) => *input = None,
        Said::Bytes(..) | Said::Finished(_) => {}
    }
}

/// How the program ended, as clients read it.
fn outcome(code: i32) -> Value {
    if code == 0 {
        return json!({ "metadata": {}, "status": "Success" });
    }
    json!({
        "metadata": {},
        "status": "Failure",
        "message": format!("command terminated with non-zero exit code: exit status {code}"),
        "reason": "NonZeroExitCode",
        "details": { "causes": [{ "reason": "ExitCode", "message": code.to_string() }] },
    })
}

/// Starts the tasks that carry bytes; returns the terminal where there is one. The output channel ends with the last output.
fn start_copying(
    streams: ExecStreams,
    wanted: Wanted,
    sender: mpsc::Sender<Output>,
    chunks: mpsc::Receiver<Bytes>,
) -> Option<Arc<OwnedFd>> {
    match streams {
        ExecStreams::Pipes { input, output, errors } => {
            feed_pipe(input, chunks);
            for (channel, file, asked) in [(OUTPUT, output, wanted.output), (ERRORS, errors, wanted.errors)] {
                drain_pipe(channel, file, asked, sender.clone());
            }
            None
        }
        ExecStreams::Terminal(terminal) => {
            let terminal = Arc::new(terminal);
            copy_terminal(&terminal, sender, chunks);
            Some(terminal)
        }
    }
}

fn feed_pipe(input: OwnedFd, mut chunks: mpsc::Receiver<Bytes>) {
    let Ok(mut writer) = pipe::Sender::from_owned_fd(input) else { return };
    tokio::spawn(async move {
        while let Some(bytes) = chunks.recv().await {
            if writer.write_all(&bytes).await.is_err() {
                break;
            }
        }
    });
}

fn drain_pipe(channel: u8, output: OwnedFd, asked: bool, sender: mpsc::Sender<Output>) {
    let Ok(mut reader) = pipe::Receiver::from_owned_fd(output) else { return };
    tokio::spawn(async move {
        let mut buffer = BytesMut::with_capacity(READ_BYTES);
        while let Ok(1..) = reader.read_buf(&mut buffer).await {
            let bytes = buffer.split().freeze();
            if asked && sender.send((channel, Some(bytes))).await.is_err() {
                return;
            }
            buffer.reserve(READ_BYTES);
        }
    });
}

/// A terminal has no asynchronous form of its own: two threads of the blocking pool carry its bytes.
fn copy_terminal(terminal: &Arc<OwnedFd>, sender: mpsc::Sender<Output>, mut chunks: mpsc::Receiver<Bytes>) {
    let (reading, writing) = (terminal.clone(), terminal.clone());
    tokio::task::spawn_blocking(move || {
        let mut buffer = vec![0; READ_BYTES];
        // Reading fails with EIO once the program has closed its side.
        while let Ok(count @ 1..) = rustix::io::read(&*reading, &mut buffer) {
            if sender.blocking_send((OUTPUT, Some(Bytes::copy_from_slice(&buffer[..count])))).is_err() {
                return;
            }
        }
    });
    tokio::task::spawn_blocking(move || {
        while let Some(bytes) = chunks.blocking_recv() {
            let mut rest = &bytes[..];
            while let Ok(count @ 1..) = rustix::io::write(&*writing, rest) {
                rest = &rest[count..];
            }
        }
    });
}
