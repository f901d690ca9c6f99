//! Clients that are attached to the container's own streams: what it prints goes to them too, what they type goes to it.
//!
//! Input waits until the container reads it; while some is pending no more is taken from anybody. A client that does not
//! read is let go after a moment, so that it cannot hold up the container or its log.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, poll};

use super::super::log::Stream;
use super::READ_SIZE;

/// How long a client may take to read what its pipe cannot hold.
const CLIENT_PATIENCE: rustix::time::Timespec = rustix::time::Timespec { tv_sec: 1, tv_nsec: 0 };

/// Everybody who is attached now.
#[derive(Default)]
pub(super) struct Attached {
    clients: Vec<Client>,
    /// Taken from a client, not yet by the container.
    pending: Vec<u8>,
}

struct Client {
    input: Option<File>,
    output: File,
    errors: File,
}

impl Attached {
    /// Takes the three files of a new client: what it types, and where it wants output and errors.
    pub(super) fn add(&mut self, files: Vec<OwnedFd>) -> Result<(), String> {
        for file in &files {
            let prepared = rustix::fs::fcntl_setfl(file, rustix::fs::OFlags::NONBLOCK);
            prepared.map_err(|error| format!("cannot prepare a stream: {error}"))?;
        }
        let Ok([input, output, errors]) = <[OwnedFd; 3]>::try_from(files) else {
            return Err("the attach came without its files".to_owned());
        };
        self.clients.push(Client { input: Some(input.into()), output: output.into(), errors: errors.into() });
        Ok(())
    }

    /// Passes on what the container printed.
    pub(super) fn print(&mut self, stream: Stream, bytes: &[u8]) {
        self.clients.retain_mut(|client| {
            let file = if stream == Stream::Stdout { &mut client.output } else { &mut client.errors };
            write_within_patience(file, bytes)
        });
    }

    /// What to wait for: typed bytes, or room for those that are pending.
    pub(super) fn awaited<'a>(&'a self, container: Option<&'a File>) -> Vec<PollFd<'a>> {
        if self.pending.is_empty() {
            let inputs = self.clients.iter().filter_map(|client| client.input.as_ref());
            return inputs.map(|input| PollFd::new(input, PollFlags::IN)).collect();
        }
        container.map(|file| PollFd::new(file, PollFlags::OUT)).into_iter().collect()
    }

    /// Moves what was typed to the container, as far as it reads; true when a client's input has ended.
    pub(super) fn feed(&mut self, container: Option<&mut File>) -> bool {
        let mut ended = false;
        if self.pending.is_empty() {
            let mut buffer = [0; READ_SIZE];
            for client in &mut self.clients {
                let Some(input) = &mut client.input else { continue };
                match input.read(&mut buffer) {
                    Ok(0) => (client.input, ended) = (None, true),
                    Ok(read) => self.pending.extend_from_slice(&buffer[..read]),
                    Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                    Err(_) => client.input = None,
                }
            }
        }
        match container.map(|file| file.write(&self.pending)) {
            Some(Ok(written)) => drop(self.pending.drain(..written)),
            Some(Err(error)) if error.kind() == ErrorKind::WouldBlock => {}
            // Nobody will ever read it.
            Some(Err(_)) | None => self.pending.clear(),
        }
        ended
    }

    pub(super) fn is_drained(&self) -> bool {
        self.pending.is_empty()
    }
}

/// False when the client is gone or does not read.
fn write_within_patience(file: &mut File, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let mut files = [PollFd::new(file, PollFlags::OUT)];
                if !poll(&mut files, Some(&CLIENT_PATIENCE)).is_ok_and(|ready| ready > 0) {
                    return false;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
    true
}
