//! The connection after the upgrade: messages of a WebSocket, or raw bytes.

use std::io;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http::header::{CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{Response, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};

use crate::api::{Body, Call, reply};
use crate::status::ApiError;

const PROTOCOLS: &str = "sec-websocket-protocol";
const SPDY: &str = "SPDY/3.1";
const STREAM_PROTOCOL: &str = "x-stream-protocol-version";
/// Larger messages end the connection.
const MESSAGE_LIMIT: usize = 4 << 20;
const READ_BYTES: usize = 64 << 10;

/// A connection that has been upgraded.
pub(crate) enum Wire {
    Socket(Box<WebSocketStream<TokioIo<Upgraded>>>),
    Raw(TokioIo<Upgraded>),
}

/// What was agreed on with the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Agreed {
    /// WebSocket with this subprotocol ("" when the client named none).
    Socket(String),
    /// SPDY with this stream protocol.
    Spdy(String),
}

/// Agrees on a protocol: the first of `wanted` that the client offers. Returns the answer and what comes after it.
pub(crate) fn accept(
    call: &mut Call,
    wanted: &[&str],
    spdy_wanted: &[&str],
) -> Result<(Response<Body>, OnUpgrade, Agreed), ApiError> {
    let upgrade = call.header(UPGRADE).to_string();
    let Some(on_upgrade) = call.upgrade.take() else {
        return Err(ApiError::bad_request("Upgrade request required"));
    };
    let mut response = reply::text(101, "");
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.clear();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    if upgrade.eq_ignore_ascii_case("websocket") {
        let key = call.header(SEC_WEBSOCKET_KEY);
        let accepted = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
        let offered = offers(call, PROTOCOLS);
        let chosen = wanted.iter().find(|protocol| offered.iter().any(|offer| offer == *protocol));
        if chosen.is_none() && !offered.is_empty() {
            let message = format!("unable to upgrade: no supported subprotocol among {}", offered.join(", "));
            return Err(ApiError::bad_request(message));
        }
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        insert(headers, SEC_WEBSOCKET_ACCEPT, &accepted);
        if let Some(chosen) = chosen {
            insert(headers, HeaderName::from_static(PROTOCOLS), chosen);
        }
        return Ok((response, on_upgrade, Agreed::Socket(chosen.map(ToString::to_string).unwrap_or_default())));
    }
    if !upgrade.eq_ignore_ascii_case(SPDY) {
        return Err(ApiError::bad_request(format!(
            "unable to upgrade to {upgrade:?}: only websocket and {SPDY} are known"
        )));
    }
    let offered = offers(call, STREAM_PROTOCOL);
    let Some(chosen) = spdy_wanted.iter().find(|protocol| offered.iter().any(|offer| offer == *protocol)) else {
        let message = format!("unable to negotiate a stream protocol: client offers {}", offered.join(", "));
        return Err(ApiError { code: 403, reason: "Forbidden", ..ApiError::bad_request(message) });
    };
    headers.insert(UPGRADE, HeaderValue::from_static(SPDY));
    insert(headers, HeaderName::from_static(STREAM_PROTOCOL), chosen);
    Ok((response, on_upgrade, Agreed::Spdy((*chosen).to_string())))
}

fn offers(call: &Call, header: &'static str) -> Vec<String> {
    let values = call.headers.get_all(header).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|offer| offer.trim().to_string()).filter(|o| !o.is_empty()).collect()
}

fn insert(headers: &mut http::HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

impl Wire {
    /// Waits for the upgrade to be carried out.
    pub(crate) async fn open(on_upgrade: OnUpgrade, agreed: &Agreed) -> Option<Wire> {
        let upgraded = TokioIo::new(on_upgrade.await.ok()?);
        Some(match agreed {
            Agreed::Spdy(_) => Wire::Raw(upgraded),
            Agreed::Socket(_) => {
                let config = WebSocketConfig::default()
                    .max_message_size(Some(MESSAGE_LIMIT))
                    .max_frame_size(Some(MESSAGE_LIMIT));
                let socket = WebSocketStream::from_raw_socket(upgraded, Role::Server, Some(config)).await;
                Wire::Socket(Box::new(socket))
            }
        })
    }

    /// The next message, or whatever bytes there are; None when the client has ended.
    pub(crate) async fn read(&mut self) -> Option<Bytes> {
        match self {
            Wire::Socket(socket) => loop {
                match socket.next().await? {
                    Ok(Message::Binary(bytes)) => return Some(bytes),
                    Ok(Message::Text(text)) => return Some(Bytes::copy_from_slice(text.as_bytes())),
                    Ok(Message::Close(_)) | Err(_) => return None,
                    Ok(_) => {}
                }
            },
            Wire::Raw(raw) => {
                let mut buffer = vec![0; READ_BYTES];
                match raw.read(&mut buffer).await {
                    Ok(0) | Err(_) => None,
                    Ok(count) => {
                        buffer.truncate(count);
                        Some(buffer.into())
                    }
                }
            }
        }
    }

    pub(crate) async fn write(&mut self, bytes: impl Into<Bytes>) -> io::Result<()> {
        match self {
            Wire::Socket(socket) => socket.send(Message::Binary(bytes.into())).await.map_err(io::Error::other),
            Wire::Raw(raw) => {
                raw.write_all(&bytes.into()).await?;
                raw.flush().await
            }
        }
    }

    /// Says goodbye in the manner of the protocol; the client may be gone already.
    pub(crate) async fn close(mut self) {
        match &mut self {
            Wire::Socket(socket) => {
                let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
                let _ = socket.send(Message::Close(Some(frame))).await;
                // The client's own close frame ends the exchange.
                let drained = async { while let Some(Ok(_)) = socket.next().await {} };
                let _ = tokio::time::timeout(std::time::Duration::from_secs(1), drained).await;
            }
            Wire::Raw(raw) => {
                let _ = raw.shutdown().await;
            }
        }
    }
}
