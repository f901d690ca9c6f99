//! Waiting by kqueue, as on macOS. The compiler checks this file for that target; the tests, which need Linux, do not run it.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use libc::{EV_ADD, EV_CLEAR, EV_EOF, EV_ONESHOT, EVFILT_READ, EVFILT_TIMER, EVFILT_WRITE, NOTE_NSECONDS, kevent};
use rustix::event::kqueue::kqueue;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::{EVENTS_MAX, Ready};
use crate::engine::clock::now_ns;

pub struct Poll {
    queue: OwnedFd,
    events: Vec<kevent>,
}

impl Poll {
    pub fn new() -> io::Result<Self> {
        Ok(Self { queue: kqueue()?, events: vec![event(0, 0); EVENTS_MAX] })
    }

    pub fn add(&self, socket: BorrowedFd, token: u64) -> io::Result<()> {
        let changes = [EVFILT_READ, EVFILT_WRITE].map(|filter| kevent {
            ident: socket.as_raw_fd() as usize,
            udata: token as *mut libc::c_void,
            ..event(filter, EV_ADD | EV_CLEAR)
        });
        exchange(&self.queue, &changes, &mut [], 0).map(drop)
    }

    /// Waits; how many events there are (none after a signal). Reading and writing are two events of a socket.
    pub fn wait(&mut self, timeout_ns: u64) -> usize {
        exchange(&self.queue, &[], &mut self.events, timeout_ns).unwrap_or(0)
    }

    pub fn ready(&self, index: usize) -> Ready {
        let event = &self.events[index];
        Ready { token: event.udata as u64, writable: event.filter == EVFILT_WRITE, closed: event.flags & EV_EOF != 0 }
    }
}

/// A timer with nanoseconds for tasks: a queue of its own, on which the runtime waits.
pub struct Timer {
    queue: AsyncFd<OwnedFd>,
}

impl Timer {
    pub fn new() -> io::Result<Self> {
        // SAFETY: an OwnedFd keeps its descriptor open, and the same, for as long as it lives.
        let queue = unsafe { AsyncFd::register_with_interest(kqueue()?, Interest::READABLE) }?;
        Ok(Self { queue })
    }

    pub async fn sleep_until(&self, at_ns: u64) -> io::Result<()> {
        let data = at_ns.saturating_sub(now_ns()).max(1) as isize;
        let mut timer = kevent { fflags: NOTE_NSECONDS, data, ..event(EVFILT_TIMER, EV_ADD | EV_ONESHOT) };
        exchange(self.queue.get_ref(), &[timer], &mut [], 0)?;
        self.queue.readable().await?.clear_ready();
        exchange(self.queue.get_ref(), &[], std::slice::from_mut(&mut timer), 0).map(drop)
    }
}

/// Nothing to ask of the kernel here.
pub fn exact_timers() {}

fn event(filter: i16, flags: u16) -> kevent {
    kevent { ident: 0, filter, flags, fflags: 0, data: 0, udata: std::ptr::null_mut() }
}

/// Gives the queue changes and takes events from it; how many.
fn exchange(queue: &OwnedFd, changes: &[kevent], events: &mut [kevent], timeout_ns: u64) -> io::Result<usize> {
    let timeout = libc::timespec {
        tv_sec: (timeout_ns / 1_000_000_000) as libc::time_t,
        tv_nsec: (timeout_ns % 1_000_000_000) as libc::c_long,
    };
    let (given, room) = (changes.len() as libc::c_int, events.len() as libc::c_int);
    // SAFETY: the two counts are those of the slices, and these and `timeout` live through the call.
    let count =
        unsafe { libc::kevent(queue.as_raw_fd(), changes.as_ptr(), given, events.as_mut_ptr(), room, &timeout) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}
