//! Port-forward: connections of the client become connections to a port of the pod.
//!
//! kubectl multiplexes them as pairs of SPDY streams, one for data and one for errors; kube-rs has one connection a port
//! on numbered channels of a WebSocket, each opened by its port number.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use http::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::wire::{self, Agreed, Wire};
use crate::api::request::Address;
use crate::api::{Api, Body, Call, read};
use crate::kind::Kind;
use crate::node::Node;
use crate::object::{self, Object};
use crate::spdy::{Event, Session};
use crate::status::ApiError;

const SPDY_IN_SOCKET: &str = "SPDY/3.1+portforward.k8s.io";
const CHANNELS: [&str; 2] = ["v4.channel.k8s.io", "portforward.k8s.io"];
const SPDY_STREAMS: &str = "portforward.k8s.io";
const READ_BYTES: usize = 32 << 10;
/// Chunks on their way from pods to the client, and to each pod.
const QUEUE_CHUNKS: usize = 16;

/// A chunk from a pod for a stream; None at the end.
type FromPod = (u32, Option<Bytes>);

pub(crate) fn answer(
    api: &Arc<Api>,
    mut call: Call,
    kind: &Kind,
    address: &Address,
) -> Result<Response<Body>, ApiError> {
    let pod = read::find(api, kind, address)?;
    if object::str_at(&pod, "/status/phase") != "Running" {
        let phase = object::str_at(&pod, "/status/phase");
        let message = format!("unable to forward port because pod is not running. Current status={phase}");
        return Err(ApiError::bad_request(message));
    }
    let dialer = Dialer { node: api.node.clone(), pod };
    let ports: Vec<u16> =
        call.query.all("ports").flat_map(|list| list.split(',')).filter_map(|port| port.trim().parse().ok()).collect();
    let (response, upgrade, agreed) =
        wire::accept(&mut call, &[SPDY_IN_SOCKET, CHANNELS[0], CHANNELS[1]], &[SPDY_STREAMS])?;
    tokio::spawn(async move {
        let Some(wire) = Wire::open(upgrade, &agreed).await else { return };
        match agreed {
            Agreed::Socket(protocol) if protocol != SPDY_IN_SOCKET => channels(wire, dialer, &ports).await,
            _ => spdy(wire, dialer).await,
        }
    });
    Ok(response)
}

/// Reaches the ports of one pod.
#[derive(Clone)]
struct Dialer {
    node: Node,
    pod: Object,
}

/// The streams of one connection that kubectl forwards.
#[derive(Default)]
struct Forwarded {
    port: u16,
    error_stream: u32,
}

async fn spdy(mut wire: Wire, dialer: Dialer) {
    let mut session = Session::new();
    let (sender, mut from_pods) = mpsc::channel::<FromPod>(QUEUE_CHUNKS);
    let mut waiting: HashMap<String, Forwarded> = HashMap::new();
    let mut to_pods: HashMap<u32, mpsc::Sender<Bytes>> = HashMap::new();
    loop {
        tokio::select! {
            message = wire.read() => {
                let Some(message) = message else { break };
                let Ok(events) = session.receive(&message) else { break };
                for event in events {
                    handle(&mut session, event, &dialer, &mut waiting, &mut to_pods, &sender).await;
                }
            }
            chunk = from_pods.recv() => match chunk {
                Some((stream, Some(bytes))) => session.send(stream, &bytes),
                Some((stream, None)) => session.finish(stream),
                None => break,
            },
        }
        let output = session.take_output();
        if !output.is_empty() && wire.write(output).await.is_err() {
            break;
        }
    }
    wire.close().await;
}

async fn handle(
    session: &mut Session,
    event: Event,
    dialer: &Dialer,
    waiting: &mut HashMap<String, Forwarded>,
    to_pods: &mut HashMap<u32, mpsc::Sender<Bytes>>,
    sender: &mpsc::Sender<FromPod>,
) {
    match event {
        Event::Opened { stream, headers } => {
            let header = |name: &str| {
                let found = headers.iter().find(|(key, _)| key == name);
                found.map(|(_, value)| value.clone()).unwrap_or_default()
            };
            session.accept(stream);
            let forwarded = waiting.entry(header("requestid")).or_default();
            if header("streamtype") == "error" {
                forwarded.error_stream = stream;
                forwarded.port = header("port").parse().unwrap_or(0);
                return;
            }
            let port = header("port").parse().unwrap_or(forwarded.port);
            let error_stream = forwarded.error_stream;
            waiting.remove(&header("requestid"));
            let (to_pod, chunks) = mpsc::channel(QUEUE_CHUNKS);
            to_pods.insert(stream, to_pod);
            tokio::spawn(connect(dialer.clone(), port, stream, error_stream, chunks, sender.clone()));
        }
        Event::Data { stream, bytes } => {
            if let Some(to_pod) = to_pods.get(&stream) {
                // The pod may have hung up; its end is told on the way back.
                let _ = to_pod.send(bytes.into()).await;
            }
        }
        Event::Finished { stream } | Event::Reset { stream } => {
            to_pods.remove(&stream);
        }
        Event::GoAway => {}
    }
}

/// One connection to the pod, until both sides have ended.
async fn connect(
    dialer: Dialer,
    port: u16,
    stream: u32,
    error_stream: u32,
    mut chunks: mpsc::Receiver<Bytes>,
    sender: mpsc::Sender<FromPod>,
) {
    let connection = match dialer.node.kubelet().dial(&dialer.pod, port).await {
        Ok(connection) => connection,
        Err(error) => {
            let words = format!("failed to connect to port {port} inside the pod: {error}");
            // Without a session there is nobody to tell.
            let _ = sender.send((error_stream, Some(words.into()))).await;
            let _ = sender.send((error_stream, None)).await;
            let _ = sender.send((stream, None)).await;
            return;
        }
    };
    // Small writes must not wait for acknowledgements; failing to set it only costs time.
    let _ = connection.set_nodelay(true);
    let (mut from, mut to) = connection.into_split();
    let upward = async {
        while let Some(bytes) = chunks.recv().await {
            if to.write_all(&bytes).await.is_err() {
                break;
            }
        }
        // The pod may have closed first.
        let _ = to.shutdown().await;
    };
    let downward = async {
        let mut buffer = BytesMut::with_capacity(READ_BYTES);
        while let Ok(1..) = from.read_buf(&mut buffer).await {
            if sender.send((stream, Some(buffer.split().freeze()))).await.is_err() {
                return;
            }
            buffer.reserve(READ_BYTES);
        }
        let _ = sender.send((stream, None)).await;
        let _ = sender.send((error_stream, None)).await;
    };
    tokio::join!(upward, downward);
}

/// kube-rs: channel 2i carries the data of the i-th port, 2i+1 its errors; each begins with the port.
async fn channels(mut wire: Wire, dialer: Dialer, ports: &[u16]) {
    let (sender, mut from_pods) = mpsc::channel::<FromPod>(QUEUE_CHUNKS);
    let mut to_pods: HashMap<u32, mpsc::Sender<Bytes>> = HashMap::new();
    for (channel, port) in (0u8..).step_by(2).zip(ports) {
        for channel in [channel, channel + 1] {
            let mut greeting = BytesMut::from(&[channel][..]);
            greeting.put_u16_le(*port);
            if wire.write(greeting.freeze()).await.is_err() {
                return;
            }
        }
        let (to_pod, chunks) = mpsc::channel(QUEUE_CHUNKS);
        let channel = u32::from(channel);
        to_pods.insert(channel, to_pod);
        tokio::spawn(connect(dialer.clone(), *port, channel, channel + 1, chunks, sender.clone()));
    }
    drop(sender);
    loop {
        tokio::select! {
            message = wire.read() => {
                let Some(message) = message else { break };
                let Some((channel, _)) = message.split_first() else { continue };
                if let Some(to_pod) = to_pods.get(&u32::from(*channel)) {
                    // The pod may have hung up; its end is told on the way back.
                    let _ = to_pod.send(message.slice(1..)).await;
                }
            }
            chunk = from_pods.recv() => match chunk {
                Some((channel, Some(bytes))) => {
                    let mut message = BytesMut::with_capacity(bytes.len() + 1);
                    message.put_u8(u8::try_from(channel).unwrap_or(u8::MAX));
                    message.put_slice(&bytes);
                    if wire.write(message.freeze()).await.is_err() {
                        break;
                    }
                }
                // This protocol has no end of one channel: the connection ends when all pods have.
                Some((_, None)) => {}
                None => break,
            },
        }
    }
    wire.close().await;
}
