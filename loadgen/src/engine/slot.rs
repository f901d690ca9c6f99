//! One connection of a shard: its socket and the request on it.
//!
//! A slot is reused after its connection closed; its generation tells events of the old connection from those of the
//! new.

use std::net::SocketAddr;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use tokio::net::TcpSocket;

use crate::engine::response::Reader;
use crate::engine::tally::Class;

/// A request that was planned, until it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    pub planned_ns: u64,
    /// Place of its arrival in the schedule; of its client in a closed loop.
    pub index: u64,
    /// Which request of the session this is, and how many follow.
    pub step: u32,
    pub follow_ups: u32,
    pub request: u16,
    pub retried: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Free,
    Dialing,
    Busy,
    Idle,
}

pub struct Slot {
    pub socket: Option<TcpSocket>,
    pub state: State,
    pub generation: u32,
    pub work: Work,
    pub sent_ns: u64,
    /// Bytes of the request that are written.
    pub written: usize,
    pub answered: u32,
    pub answers_max: u32,
    pub expires_ns: u64,
    pub reader: Reader,
    /// Place of the pod that answered last.
    pub pod: Option<usize>,
}

impl Default for Slot {
    fn default() -> Self {
        let work = Work { planned_ns: 0, index: 0, step: 0, follow_ups: 0, request: 0, retried: false };
        Self {
            socket: None,
            state: State::Free,
            generation: 0,
            work,
            sent_ns: 0,
            written: 0,
            answered: 0,
            answers_max: u32::MAX,
            expires_ns: u64::MAX,
            reader: Reader::default(),
            pod: None,
        }
    }
}

impl Slot {
    /// Drops the connection.
    pub fn close(&mut self) {
        self.socket = None;
        self.state = State::Free;
        self.generation = self.generation.wrapping_add(1);
    }

    /// Writes what is left of the request; true when all is written. A broken pipe is an error and no signal: Rust's
    /// start of a program sees to that.
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) -> Result<bool, Errno> {
        let Some(socket) = &self.socket else { return Err(Errno::BADF) };
        while self.written < bytes.len() {
            match rustix::net::send(socket, &bytes[self.written..], SendFlags::empty()) {
                Ok(count) => self.written += count,
                // A socket that is still being connected is not connected, says macOS.
                Err(Errno::AGAIN | Errno::NOTCONN) => return Ok(false),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Reads into the buffer: nothing when there is nothing yet, zero at the end of the connection.
    #[inline]
    pub fn read(&self, buffer: &mut [u8]) -> Result<Option<usize>, Errno> {
        let Some(socket) = &self.socket else { return Err(Errno::BADF) };
        loop {
            return match rustix::net::recv(socket, &mut *buffer, RecvFlags::empty()) {
                Ok((count, _)) => Ok(Some(count)),
                Err(Errno::AGAIN) => Ok(None),
                Err(Errno::INTR) => continue,
                Err(error) => Err(error),
            };
        }
    }
}

/// A socket that is being connected; what differs between systems in making one, the runtime's type knows.
pub fn dial(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_nodelay(true)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}

/// The class of a failed system call; `dialing`: no byte was ever exchanged.
pub fn class_of(error: Errno, dialing: bool) -> Class {
    match error {
        Errno::MFILE | Errno::NFILE | Errno::ADDRNOTAVAIL | Errno::NOBUFS | Errno::NOMEM | Errno::ADDRINUSE => {
            Class::Local
        }
        Errno::TIMEDOUT => Class::Timeout,
        Errno::CONNREFUSED | Errno::HOSTUNREACH | Errno::NETUNREACH => Class::Refused,
        _ if dialing && error == Errno::PIPE => Class::Refused,
        _ => Class::Reset,
    }
}

pub fn class_of_io(error: &std::io::Error, dialing: bool) -> Class {
    match error.raw_os_error() {
        Some(code) => class_of(Errno::from_raw_os_error(code), dialing),
        None => Class::Reset,
    }
}
