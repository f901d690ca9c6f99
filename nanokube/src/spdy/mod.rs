//! SPDY/3.1 framing without I/O: bytes in, events out, and back. kubectl port-forward speaks nothing else.
//!
//! The byte stream comes out of WebSocket messages (subprotocol `SPDY/3.1+portforward.k8s.io`) or of an upgraded
//! connection; this module does not care. Header blocks are compressed with zlib and SPDY's dictionary over the life
//! of a session. Sizes of frames and headers and the number of streams are limited.

use std::fmt;

/// Why a session must end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtocolError(pub String);

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ProtocolError {}

/// What the peer said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A new stream with its headers (`streamType`, `port`, `requestID`).
    Opened { stream: u32, headers: Vec<(String, String)>, last: bool },
    /// Bytes of a stream; `last` when the peer will send no more.
    Data { stream: u32, bytes: Vec<u8>, last: bool },
    /// The peer gave up a stream.
    Reset { stream: u32 },
    /// The peer takes this many more bytes on a stream (0 = every stream).
    Window { stream: u32 },
    /// The peer opens no more streams.
    GoAway,
}

/// The server's end of one session.
#[derive(Default)]
pub struct Session {}

impl Session {
    pub fn new() -> Session {
        Session::default()
    }

    /// Takes bytes from the peer; pings and windows are answered into the output by itself.
    pub fn receive(&mut self, _bytes: &[u8]) -> Result<Vec<Event>, ProtocolError> {
        Ok(Vec::new())
    }

    /// Accepts a stream (SYN_REPLY).
    pub fn accept(&mut self, _stream: u32) {}

    /// Queues data; what the peer's window does not take now waits inside the session.
    pub fn send(&mut self, _stream: u32, _bytes: &[u8], _last: bool) {}

    /// Bytes of this stream that wait for the peer's window: the caller stops reading its source meanwhile.
    pub fn waiting(&self, _stream: u32) -> usize {
        0
    }

    /// Gives a stream up (RST_STREAM, CANCEL).
    pub fn reset(&mut self, _stream: u32) {}

    /// Bytes for the peer.
    pub fn take_output(&mut self) -> Vec<u8> {
        Vec::new()
    }
}
