//! Frames: eight bytes of head, then the rest. Control frames name their type, data frames their stream.

use super::{MAX_FRAME, ProtocolError};

const VERSION: u16 = 3;
const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GO_AWAY: u16 = 7;
const HEADERS: u16 = 8;
const FIN: u8 = 1;
const HEAD: usize = 8;

pub(super) const INVALID_STREAM: u32 = 2;
pub(super) const CANCEL: u32 = 5;

#[derive(Debug)]
pub(super) enum Frame {
    SynStream {
        stream: u32,
        last: bool,
        block: Vec<u8>,
    },
    Data {
        stream: u32,
        last: bool,
        bytes: Vec<u8>,
    },
    Reset {
        stream: u32,
    },
    Headers {
        block: Vec<u8>,
    },
    Ping {
        id: u32,
    },
    GoAway,
    /// SETTINGS, WINDOW_UPDATE and whatever else changes nothing here.
    Ignored,
}

/// The frame at the start of the bytes and its length; None when it is not all there yet.
pub(super) fn read(bytes: &[u8]) -> Result<Option<(Frame, usize)>, ProtocolError> {
    let Some(head) = bytes.first_chunk::<HEAD>() else { return Ok(None) };
    let word = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
    let length = u32::from_be_bytes([0, head[5], head[6], head[7]]) as usize;
    if length > MAX_FRAME {
        return Err(ProtocolError(format!("a frame of {length} bytes is longer than {MAX_FRAME}")));
    }
    let Some(body) = bytes.get(HEAD..HEAD + length) else { return Ok(None) };
    let last = head[4] & FIN != 0;
    let frame = if word >> 31 == 0 {
        Frame::Data { stream: word, last, bytes: body.to_vec() }
    } else {
        let version = (word >> 16) as u16 & 0x7fff;
        if version != VERSION {
            return Err(ProtocolError(format!("this is SPDY/{version}, not SPDY/{VERSION}")));
        }
        control(word as u16, last, body)?
    };
    Ok(Some((frame, HEAD + length)))
}

fn control(kind: u16, last: bool, body: &[u8]) -> Result<Frame, ProtocolError> {
    let word = |at: usize| match body.get(at..at + 4).and_then(|bytes| bytes.first_chunk::<4>()) {
        Some(bytes) => Ok(u32::from_be_bytes(*bytes)),
        None => Err(ProtocolError(format!("a frame of type {kind} is too short"))),
    };
    let block = |at: usize| body.get(at..).map(<[u8]>::to_vec).unwrap_or_default();
    Ok(match kind {
        SYN_STREAM => {
            let (stream, _associated, _priority) = (word(0)? & 0x7fff_ffff, word(4)?, body.get(8..10));
            Frame::SynStream { stream, last, block: block(10) }
        }
        SYN_REPLY | HEADERS => {
            word(0)?;
            Frame::Headers { block: block(4) }
        }
        RST_STREAM => Frame::Reset { stream: word(0)? & 0x7fff_ffff },
        PING => Frame::Ping { id: word(0)? },
        GO_AWAY => Frame::GoAway,
        _ => Frame::Ignored,
    })
}

pub(super) fn write_data(output: &mut Vec<u8>, stream: u32, bytes: &[u8], last: bool) {
    output.extend(stream.to_be_bytes());
    write_flags_and_length(output, if last { FIN } else { 0 }, bytes.len());
    output.extend(bytes);
}

pub(super) fn write_syn_reply(output: &mut Vec<u8>, stream: u32, block: &[u8]) {
    write_control(output, SYN_REPLY, &[&stream.to_be_bytes(), block]);
}

pub(super) fn write_reset(output: &mut Vec<u8>, stream: u32, status: u32) {
    write_control(output, RST_STREAM, &[&stream.to_be_bytes(), &status.to_be_bytes()]);
}

pub(super) fn write_ping(output: &mut Vec<u8>, id: u32) {
    write_control(output, PING, &[&id.to_be_bytes()]);
}

pub(super) fn write_go_away(output: &mut Vec<u8>, last_stream: u32) {
    write_control(output, GO_AWAY, &[&last_stream.to_be_bytes(), &0u32.to_be_bytes()]);
}

fn write_control(output: &mut Vec<u8>, kind: u16, parts: &[&[u8]]) {
    output.extend((VERSION | 0x8000).to_be_bytes());
    output.extend(kind.to_be_bytes());
    write_flags_and_length(output, 0, parts.iter().map(|part| part.len()).sum());
    parts.iter().for_each(|part| output.extend(*part));
}

fn write_flags_and_length(output: &mut Vec<u8>, flags: u8, length: usize) {
    let [_, a, b, c] = (length as u32).to_be_bytes();
    output.extend([flags, a, b, c]);
}
