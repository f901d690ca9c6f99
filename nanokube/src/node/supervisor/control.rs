//! The supervisor's end of the socket to the daemon: lines in, lines out, and open files that came beside a line.

use super::protocol::{Launch, Reply, Request};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::collections::VecDeque;
use std::io::{self, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// A launch holds a whole environment; nothing that the daemon sends is near this.
const LINE_LENGTH_MAX: usize = 64 << 20;

pub(super) struct Control {
    socket: UnixStream,
    buffer: Vec<u8>,
    files: VecDeque<OwnedFd>,
}

impl Control {
    /// Takes standard input, which the daemon made one end of a socket pair, and puts `/dev/null` in its place.
    pub(super) fn on_stdin() -> io::Result<Control> {
        let socket = io::stdin().as_fd().try_clone_to_owned()?;
        let null = std::fs::File::open("/dev/null")?;
        // SAFETY: file 0 is open and stays so; it is only replaced, and never closed when `stdin` is forgotten.
        let mut stdin = std::mem::ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(0) });
        rustix::io::dup2(&null, &mut stdin)?;
        Ok(Control { socket: UnixStream::from(socket), buffer: Vec::new(), files: VecDeque::new() })
    }

    pub(super) fn file(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Waits for the first line; `None` if the daemon went away before.
    pub(super) fn launch(&mut self) -> io::Result<Option<Launch>> {
        loop {
            if let Some(line) = self.next_line() {
                return Ok(Some(serde_json::from_slice(&line)?));
            }
            if !self.fill(RecvFlags::empty())? {
                return Ok(None);
            }
        }
    }

    /// The requests that have arrived; `None` when the daemon is gone.
    pub(super) fn receive(&mut self) -> Option<Vec<Request>> {
        let open = match self.fill(RecvFlags::DONTWAIT) {
            Ok(open) => open,
            Err(error) => matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
        };
        if !open {
            return None;
        }
        let mut requests = Vec::new();
        while let Some(line) = self.next_line() {
            match serde_json::from_slice(&line) {
                Ok(request) => requests.push(request),
                Err(error) => eprintln!("supervisor: cannot understand a request: {error}"),
            }
        }
        Some(requests)
    }

    /// The first `count` files that came and were not taken yet.
    pub(super) fn take_files(&mut self, count: usize) -> Vec<OwnedFd> {
        self.files.drain(..count.min(self.files.len())).collect()
    }

    /// Tells the daemon. If it is gone, the next `receive` says so.
    pub(super) fn send(&mut self, reply: &Reply) {
        let mut line = serde_json::to_vec(reply).unwrap_or_default(); // plain data always serialises
        line.push(b'\n');
        let _ = self.socket.write_all(&line);
    }

    /// Tells that the container could not be started, after which there is nothing to supervise.
    pub(super) fn fail<T>(&mut self, message: &str) -> io::Result<Option<T>> {
        self.send(&Reply::Failed { message: message.to_owned() });
        Ok(None)
    }

    /// Reads once; false at the end of the stream.
    fn fill(&mut self, flags: RecvFlags) -> io::Result<bool> {
        let mut bytes = [0; 32 << 10];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(&mut bytes)];
        let received = recvmsg(&self.socket, &mut slices, &mut ancillary, flags | RecvFlags::CMSG_CLOEXEC)?;
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(files) = message {
                self.files.extend(files);
            }
        }
        if self.buffer.len() > LINE_LENGTH_MAX {
            return Err(io::Error::other("a line of the daemon is too long"));
        }
        self.buffer.extend_from_slice(&bytes[..received.bytes]);
        Ok(received.bytes > 0)
    }

    fn next_line(&mut self) -> Option<Vec<u8>> {
        let end = self.buffer.iter().position(|byte| *byte == b'\n')?;
        let mut line: Vec<_> = self.buffer.drain(..=end).collect();
        line.pop();
        Some(line)
    }
}
