//! Reading HTTP/1.1 responses: status, pod, and where the answer ends.
//!
//! Bytes come in pieces of any size. The head is parsed in place when it arrives whole, as it nearly always does; a
//! torn head is kept until it is complete, at most 64 KiB. Bodies are skipped, never stored. Whatever a server sends
//! ends in an answer or an error: nothing grows, nothing panics.

/// Largest head.
pub const HEAD_MAX: usize = 64 * 1024;
/// Room for a torn head that a connection keeps between answers.
const TORN_KEPT: usize = 1024;
/// Longest head that a connection remembers, to know it again.
const KNOWN_MAX: usize = 1024;
/// Most header lines, as many as hyper takes.
const HEADERS_MAX: usize = 100;
/// Longest chunk-size line or trailer section.
const CHUNK_LINE_MAX: usize = 16 * 1024;

/// What is known about an answer once its head was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub status: u16,
    /// Whether the connection may carry another request.
    pub keep_alive: bool,
    framing: Framing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

/// A server's answer that is not HTTP/1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProtocolError(pub &'static str);

/// Where the reading of one answer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Head,
    Body(u64),
    UntilClose,
    ChunkSize {
        size: u64,
        digits: u8,
        in_extension: bool,
        line: u16,
    },
    ChunkData(u64),
    ChunkEnd,
    Trailer {
        line: u16,
        total: u16,
    },
    Done,
}

/// Reads one answer after the other on a connection.
#[derive(Debug, Default)]
pub struct Reader {
    state: State,
    head: Option<Head>,
    torn_head: Vec<u8>,
    received: bool,
    /// The last whole head of this connection, and what it said. Most answers of a server begin with the very bytes of the
    /// one before (until their date changes), and then need no second reading.
    known: Vec<u8>,
    known_head: Option<Head>,
}

/// What a piece of bytes brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// More bytes are needed.
    Partial,
    /// The answer is complete; so many bytes of the piece belong to it.
    Complete { used: usize },
}

impl Reader {
    /// Makes ready for the next answer.
    pub fn reset(&mut self) {
        self.state = State::Head;
        self.head = None;
        self.torn_head.clear();
        self.torn_head.shrink_to(TORN_KEPT);
        self.received = false;
    }

    /// Makes ready for a new connection.
    pub fn forget(&mut self) {
        self.reset();
        self.known_head = None;
    }

    /// Whether any byte of the answer has come.
    pub fn has_begun(&self) -> bool {
        self.received
    }

    pub fn head(&self) -> Option<Head> {
        self.head
    }

    /// Takes the next piece. `no_body`: the request was a HEAD. `pod_header`: lower-case name of a header whose value
    /// is handed to `on_pod`, unless the head is the same as that of the answer before.
    pub fn feed(
        &mut self,
        piece: &[u8],
        no_body: bool,
        pod_header: &[u8],
        on_pod: &mut dyn FnMut(&[u8]),
    ) -> Result<Progress, ProtocolError> {
        self.received |= !piece.is_empty();
        let mut used = 0;
        loop {
            if self.state == State::Head {
                match self.feed_head(&piece[used..], no_body, pod_header, on_pod)? {
                    Some(head_used) => used += head_used,
                    None => return Ok(Progress::Partial),
                }
            }
            used += self.feed_body(&piece[used..])?;
            match self.state {
                State::Done => return Ok(Progress::Complete { used }),
                // An interim answer: the next head follows.
                State::Head => {}
                _ => return Ok(Progress::Partial),
            }
        }
    }

    /// The connection was closed; true when that is how this answer ends.
    pub fn feed_end(&mut self) -> bool {
        self.state == State::UntilClose
    }

    /// Takes bytes of the head; how many of them it used, or nothing while the head is torn.
    fn feed_head(
        &mut self,
        piece: &[u8],
        no_body: bool,
        pod_header: &[u8],
        on_pod: &mut dyn FnMut(&[u8]),
    ) -> Result<Option<usize>, ProtocolError> {
        let (head, used) = if self.torn_head.is_empty() {
            if let Some(head) = self.known_head.filter(|_| piece.starts_with(&self.known)) {
                self.begin_body(head, no_body);
                return Ok(Some(self.known.len()));
            }
            match end_of_head(piece, 0) {
                Some(end) => {
                    let head = parse_head(&piece[..end], pod_header, on_pod)?;
                    self.remember(&piece[..end], head);
                    (head, end)
                }
                None => {
                    self.keep_torn(piece)?;
                    return Ok(None);
                }
            }
        } else {
            let before = self.torn_head.len();
            self.keep_torn(piece)?;
            match end_of_head(&self.torn_head, before.saturating_sub(3)) {
                Some(end) => {
                    let head = parse_head(&self.torn_head[..end], pod_header, on_pod)?;
                    self.torn_head.clear();
                    self.known_head = None;
                    (head, end - before)
                }
                None => return Ok(None),
            }
        };
        if head.status == 101 {
            return Err(ProtocolError("switches protocols unasked"));
        }
        if head.status >= 200 {
            self.begin_body(head, no_body);
        }
        Ok(Some(used))
    }

    fn begin_body(&mut self, head: Head, no_body: bool) {
        self.state = state_after(head, no_body);
        let keep_alive = head.keep_alive && self.state != State::UntilClose;
        self.head = Some(Head { keep_alive, ..head });
    }

    fn remember(&mut self, bytes: &[u8], head: Head) {
        let is_worth_it = bytes.len() <= KNOWN_MAX && head.status >= 200;
        self.known_head = is_worth_it.then_some(head);
        if is_worth_it {
            self.known.clear();
            self.known.extend_from_slice(bytes);
        }
    }

    fn keep_torn(&mut self, piece: &[u8]) -> Result<(), ProtocolError> {
        // The head may end inside this piece: what lies behind it is dropped again by the caller's count.
        let room = HEAD_MAX.saturating_sub(self.torn_head.len());
        self.torn_head.extend_from_slice(&piece[..piece.len().min(room)]);
        match self.torn_head.len() >= HEAD_MAX && end_of_head(&self.torn_head, 0).is_none() {
            true => Err(ProtocolError("head larger than 64 KiB")),
            false => Ok(()),
        }
    }

    /// Skips body bytes; how many of them belong to this answer.
    fn feed_body(&mut self, piece: &[u8]) -> Result<usize, ProtocolError> {
        let mut used = 0;
        while used < piece.len() {
            let rest = &piece[used..];
            match &mut self.state {
                State::Head | State::Done => break,
                State::UntilClose => return Ok(piece.len()),
                State::Body(left) => {
                    let taken = rest.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= taken as u64;
                    used += taken;
                    if *left == 0 {
                        self.state = State::Done;
                    }
                }
                State::ChunkData(left) => {
                    let taken = rest.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= taken as u64;
                    used += taken;
                    if *left == 0 {
                        self.state = State::ChunkEnd;
                    }
                }
                State::ChunkEnd | State::ChunkSize { .. } | State::Trailer { .. } => {
                    self.state = chunk_byte(self.state, rest[0])?;
                    used += 1;
                }
            }
        }
        Ok(used)
    }
}

fn state_after(head: Head, no_body: bool) -> State {
    if no_body || head.status == 204 || head.status == 304 {
        return State::Done;
    }
    match head.framing {
        Framing::Length(0) => State::Done,
        Framing::Length(length) => State::Body(length),
        Framing::Chunked => CHUNK_START,
        Framing::UntilClose => State::UntilClose,
    }
}

const CHUNK_START: State = State::ChunkSize { size: 0, digits: 0, in_extension: false, line: 0 };

/// One byte of a chunk's frame. A carriage return is only allowed right before a line feed, which `line` remembers in
/// its highest bit.
fn chunk_byte(state: State, byte: u8) -> Result<State, ProtocolError> {
    const AFTER_RETURN: u16 = 0x8000;
    match state {
        State::ChunkEnd => match byte {
            b'\r' => Ok(State::ChunkEnd),
            b'\n' => Ok(CHUNK_START),
            _ => Err(ProtocolError("chunk longer than its size")),
        },
        State::ChunkSize { size, digits, in_extension, line } => {
            let after_return = line & AFTER_RETURN != 0;
            match byte {
                b'\n' if digits == 0 => Err(ProtocolError("chunk without a size")),
                b'\n' if size == 0 => Ok(State::Trailer { line: 0, total: 0 }),
                b'\n' => Ok(State::ChunkData(size)),
                _ if after_return => Err(ProtocolError("carriage return inside a chunk size")),
                b'\r' => Ok(State::ChunkSize { size, digits, in_extension, line: AFTER_RETURN }),
                _ if line as usize >= CHUNK_LINE_MAX => Err(ProtocolError("endless chunk extension")),
                _ if in_extension => Ok(State::ChunkSize { size, digits, in_extension, line: line + 1 }),
                b';' | b' ' | b'\t' if digits > 0 => {
                    Ok(State::ChunkSize { size, digits, in_extension: true, line: line + 1 })
                }
                _ => {
                    let digit = (byte as char).to_digit(16).ok_or(ProtocolError("chunk size is not a number"))?;
                    if digits == 16 {
                        return Err(ProtocolError("chunk size is too long"));
                    }
                    Ok(State::ChunkSize {
                        size: size << 4 | digit as u64,
                        digits: digits + 1,
                        in_extension,
                        line: line + 1,
                    })
                }
            }
        }
        State::Trailer { line, total } => match byte {
            b'\n' if line == 0 => Ok(State::Done),
            b'\n' => Ok(State::Trailer { line: 0, total }),
            b'\r' => Ok(State::Trailer { line, total }),
            _ if total as usize >= CHUNK_LINE_MAX => Err(ProtocolError("endless trailers")),
            _ => Ok(State::Trailer { line: line.saturating_add(1), total: total + 1 }),
        },
        other => Ok(other),
    }
}

/// Where the head ends (behind its empty line), looking from `from` on.
fn end_of_head(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(offset) = bytes[at..].iter().position(|byte| *byte == b'\n') {
        let feed = at + offset;
        if bytes[feed + 1..].starts_with(b"\r\n") {
            return Some(feed + 3);
        }
        if bytes[feed + 1..].starts_with(b"\n") {
            return Some(feed + 2);
        }
        at = feed + 1;
    }
    None
}

/// Parses a complete head.
fn parse_head(bytes: &[u8], pod_header: &[u8], on_pod: &mut dyn FnMut(&[u8])) -> Result<Head, ProtocolError> {
    let mut lines = bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let (status, version_1_1) = parse_status_line(lines.next().unwrap_or_default())?;
    let mut seen = HeadersSeen::default();
    for (count, line) in lines.take_while(|line| !line.is_empty()).enumerate() {
        if count == HEADERS_MAX {
            return Err(ProtocolError("more than 100 headers"));
        }
        let colon = line.iter().position(|byte| *byte == b':').ok_or(ProtocolError("header without a colon"))?;
        let (name, value) = (&line[..colon], trim(&line[colon + 1..]));
        if name.is_empty() || !name.iter().all(|byte| is_name_byte(*byte)) {
            return Err(ProtocolError("bad header name"));
        }
        if !value.iter().all(|byte| *byte >= 0x20 && *byte != 0x7f || *byte == b'\t') {
            return Err(ProtocolError("control character in a header"));
        }
        if name.eq_ignore_ascii_case(pod_header) {
            on_pod(value);
        } else {
            seen.take(name, value)?;
        }
    }
    let framing = match (seen.transfer_encoding, seen.length) {
        (Some(true), _) => Framing::Chunked,
        (Some(false), _) => Framing::UntilClose,
        (None, Some(length)) => Framing::Length(length),
        (None, None) => Framing::UntilClose,
    };
    let keep_alive = if version_1_1 { !seen.close } else { seen.keep_alive && !seen.close };
    Ok(Head { status, keep_alive, framing })
}

/// The headers that decide where an answer ends.
#[derive(Default)]
struct HeadersSeen {
    length: Option<u64>,
    /// Present, and whether its last coding is `chunked`.
    transfer_encoding: Option<bool>,
    close: bool,
    keep_alive: bool,
}

impl HeadersSeen {
    fn take(&mut self, name: &[u8], value: &[u8]) -> Result<(), ProtocolError> {
        match name.len() {
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let length = parse_length(value).ok_or(ProtocolError("bad content-length"))?;
                if self.length.is_some_and(|known| known != length) {
                    return Err(ProtocolError("two different content-lengths"));
                }
                self.length = Some(length);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                let last = value.rsplit(|byte| *byte == b',').next().unwrap_or_default();
                self.transfer_encoding = Some(trim(last).eq_ignore_ascii_case(b"chunked"));
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                for token in value.split(|byte| *byte == b',').map(trim) {
                    self.close |= token.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// `HTTP/1.1 200 OK`: the status, and whether the version is 1.1.
fn parse_status_line(line: &[u8]) -> Result<(u16, bool), ProtocolError> {
    let (version, rest) = line.split_at_checked(9).ok_or(ProtocolError("no HTTP status line"))?;
    let version_1_1 = match version {
        b"HTTP/1.1 " => true,
        b"HTTP/1.0 " => false,
        _ => return Err(ProtocolError("not HTTP/1")),
    };
    let digits = rest.get(..3).ok_or(ProtocolError("no status code"))?;
    if !digits.iter().all(u8::is_ascii_digit) || digits[0] == b'0' || rest.get(3).is_some_and(|byte| *byte != b' ') {
        return Err(ProtocolError("bad status code"));
    }
    let reason = rest.get(4..).unwrap_or_default();
    if !reason.iter().all(|byte| *byte >= 0x20 && *byte != 0x7f || *byte == b'\t') {
        return Err(ProtocolError("control character in the reason"));
    }
    Ok((digits.iter().fold(0, |status, digit| status * 10 + (digit - b'0') as u16), version_1_1))
}

fn parse_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 19 {
        return None;
    }
    value.iter().try_fold(0u64, |length, byte| byte.is_ascii_digit().then(|| length * 10 + (byte - b'0') as u64))
}

fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests;
