//! SPDY/3.1 framing without I/O: bytes in, events out, and back. kubectl port-forward speaks nothing else.
//!
//! The byte stream comes out of WebSocket messages (subprotocol `SPDY/3.1+portforward.k8s.io`) or of an upgraded
//! connection; this module does not care. Header blocks are compressed over the life of a session. There is no flow
//! control: the peers of Kubernetes neither keep windows nor open them, so back-pressure is that of the connection
//! beneath. Sizes of frames and headers and the number of open streams are limited.

use std::collections::HashMap;
use std::fmt;

mod frame;
mod header;

use frame::Frame;

/// Streams open at a time; port-forward uses two for each connection.
pub const MAX_STREAMS: usize = 2048;

/// Bytes in one frame from the peer.
pub const MAX_FRAME: usize = 1 << 20;

/// Bytes in one data frame to the peer.
const DATA_FRAME: usize = 32 << 10;

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
    /// A new stream with its headers, names in lower case (`streamtype`, `port`, `requestid`).
    Opened { stream: u32, headers: Vec<(String, String)> },
    /// Bytes of a stream.
    Data { stream: u32, bytes: Vec<u8> },
    /// The peer sends no more on a stream.
    Finished { stream: u32 },
    /// The peer gave up a stream.
    Reset { stream: u32 },
    /// The peer opens no more streams.
    GoAway,
}

/// The server's end of one session.
#[derive(Default)]
pub struct Session {
    input: Vec<u8>,
    output: Vec<u8>,
    inflater: header::Inflater,
    deflater: header::Deflater,
    streams: HashMap<u32, Halves>,
    last_stream: u32,
}

/// Which sides of a stream still send.
#[derive(Clone, Copy, Debug)]
struct Halves {
    peer: bool,
    ours: bool,
}

impl Session {
    pub fn new() -> Session {
        Session::default()
    }

    /// Takes bytes from the peer; pings and frames for streams that are not there are answered into the output.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<Vec<Event>, ProtocolError> {
        self.input.extend_from_slice(bytes);
        let mut events = Vec::new();
        let mut at = 0;
        while let Some((frame, length)) = frame::read(&self.input[at..])? {
            at += length;
            self.handle(frame, &mut events)?;
        }
        self.input.drain(..at);
        Ok(events)
    }

    /// Accepts a stream (SYN_REPLY).
    pub fn accept(&mut self, stream: u32) {
        let block = self.deflater.compress(&[]);
        frame::write_syn_reply(&mut self.output, stream, &block);
    }

    /// Sends bytes on a stream that is still open on our side; nothing otherwise.
    pub fn send(&mut self, stream: u32, bytes: &[u8]) {
        if self.streams.get(&stream).is_some_and(|halves| halves.ours) {
            bytes.chunks(DATA_FRAME).for_each(|chunk| frame::write_data(&mut self.output, stream, chunk, false));
        }
    }

    /// Says that we send no more on a stream.
    pub fn finish(&mut self, stream: u32) {
        if self.streams.get(&stream).is_some_and(|halves| halves.ours) {
            frame::write_data(&mut self.output, stream, &[], true);
            self.close(stream, |halves| halves.ours = false);
        }
    }

    /// Gives a stream up (RST_STREAM, CANCEL).
    pub fn reset(&mut self, stream: u32) {
        if self.streams.remove(&stream).is_some() {
            frame::write_reset(&mut self.output, stream, frame::CANCEL);
        }
    }

    /// Says that the session ends.
    pub fn go_away(&mut self) {
        frame::write_go_away(&mut self.output, self.last_stream);
    }

    /// Bytes for the peer.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    fn handle(&mut self, frame: Frame, events: &mut Vec<Event>) -> Result<(), ProtocolError> {
        match frame {
            Frame::SynStream { stream, last, block } => {
                let headers = self.inflater.headers(&block)?;
                self.open(stream, last)?;
                events.push(Event::Opened { stream, headers });
                events.extend(last.then_some(Event::Finished { stream }));
            }
            Frame::Data { stream, last, bytes } => match self.streams.get(&stream).copied() {
                Some(Halves { peer: true, .. }) => {
                    if !bytes.is_empty() {
                        events.push(Event::Data { stream, bytes });
                    }
                    if last {
                        events.push(Event::Finished { stream });
                        self.close(stream, |halves| halves.peer = false);
                    }
                }
                _ => frame::write_reset(&mut self.output, stream, frame::INVALID_STREAM),
            },
            Frame::Reset { stream } => {
                if self.streams.remove(&stream).is_some() {
                    events.push(Event::Reset { stream });
                }
            }
            // Headers must be inflated even if nobody reads them: the compression has a memory.
            Frame::Headers { block } => drop(self.inflater.headers(&block)?),
            Frame::Ping { id } => frame::write_ping(&mut self.output, id),
            Frame::GoAway => events.push(Event::GoAway),
            Frame::Ignored => {}
        }
        Ok(())
    }

    fn open(&mut self, stream: u32, last: bool) -> Result<(), ProtocolError> {
        if stream.is_multiple_of(2) || stream <= self.last_stream {
            return Err(ProtocolError(format!("stream {stream} cannot be opened after stream {}", self.last_stream)));
        }
        if self.streams.len() >= MAX_STREAMS {
            return Err(ProtocolError(format!("more than {MAX_STREAMS} streams are open")));
        }
        self.last_stream = stream;
        self.streams.insert(stream, Halves { peer: !last, ours: true });
        Ok(())
    }

    fn close(&mut self, stream: u32, half: impl Fn(&mut Halves)) {
        if let Some(halves) = self.streams.get_mut(&stream) {
            half(halves);
            if !halves.peer && !halves.ours {
                self.streams.remove(&stream);
            }
        }
    }
}

#[cfg(test)]
mod tests;
