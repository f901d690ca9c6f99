//! Waiting by epoll: `epoll_pwait2` where the kernel has it (5.11), else `epoll_wait` with milliseconds rounded up.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::event::epoll;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use tokio::io::unix::AsyncFd;

use super::{EVENTS_MAX, Ready};

pub struct Poll {
    epoll: OwnedFd,
    events: Vec<libc::epoll_event>,
    has_pwait2: bool,
}

impl Poll {
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            events: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX],
            has_pwait2: true,
        })
    }

    pub fn add(&self, socket: BorrowedFd, token: u64) -> std::io::Result<()> {
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
        Ok(epoll::add(&self.epoll, socket, epoll::EventData::new_u64(token), flags)?)
    }

    /// Waits; how many sockets are ready (none after a signal).
    pub fn wait(&mut self, timeout_ns: u64) -> usize {
        let fd = self.epoll.as_raw_fd();
        let mut count = -1;
        if self.has_pwait2 {
            count = self.wait_exactly(fd, timeout_ns);
            if count < 0 && std::io::Error::last_os_error().raw_os_error() == Some(libc::ENOSYS) {
                self.has_pwait2 = false;
            }
        }
        if !self.has_pwait2 {
            let millis = timeout_ns.div_ceil(1_000_000).min(60_000) as i32;
            // SAFETY: `events` holds EVENTS_MAX entries for the kernel to write.
            count = unsafe { libc::epoll_wait(fd, self.events.as_mut_ptr(), EVENTS_MAX as i32, millis) } as i64;
        }
        count.max(0) as usize
    }

    fn wait_exactly(&mut self, fd: RawFd, timeout_ns: u64) -> i64 {
        let timeout = libc::timespec {
            tv_sec: (timeout_ns / 1_000_000_000) as libc::time_t,
            tv_nsec: (timeout_ns % 1_000_000_000) as libc::c_long,
        };
        // SAFETY: `events` holds EVENTS_MAX entries for the kernel to write, `timeout` lives through the call, and no
        // signal mask is given.
        unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                fd,
                self.events.as_mut_ptr(),
                EVENTS_MAX as libc::c_int,
                &timeout as *const libc::timespec,
                std::ptr::null::<libc::sigset_t>(),
                0usize,
            )
        }
    }

    pub fn ready(&self, index: usize) -> Ready {
        let event = self.events[index];
        let flags = event.events;
        let has = |flag: i32| flags & flag as u32 != 0;
        Ready {
            token: event.u64,
            writable: has(libc::EPOLLOUT),
            closed: has(libc::EPOLLRDHUP) || has(libc::EPOLLHUP) || has(libc::EPOLLERR),
        }
    }
}

/// A timer with nanoseconds for tasks.
pub struct Timer {
    fd: AsyncFd<OwnedFd>,
}

impl Timer {
    pub fn new() -> std::io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?;
        // SAFETY: an OwnedFd keeps its descriptor open, and the same, for as long as it lives.
        let fd = unsafe { AsyncFd::register(fd) }.map_err(std::io::Error::from)?;
        Ok(Self { fd })
    }

    pub async fn sleep_until(&self, at_ns: u64) -> std::io::Result<()> {
        let at = Timespec { tv_sec: (at_ns / 1_000_000_000) as i64, tv_nsec: (at_ns % 1_000_000_000) as i64 };
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let setting = Itimerspec { it_interval: zero, it_value: at };
        rustix::time::timerfd_settime(self.fd.get_ref(), TimerfdTimerFlags::ABSTIME, &setting)?;
        self.fd.readable().await?.clear_ready();
        let _ = rustix::io::read(self.fd.get_ref(), &mut [0u8; 8]);
        Ok(())
    }
}

/// Lets the kernel wake this thread when it was asked to, not up to 50 microseconds later.
pub fn exact_timers() {
    // SAFETY: PR_SET_TIMERSLACK takes a plain number and changes only this thread.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong) };
}
