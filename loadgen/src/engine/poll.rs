//! Waiting for sockets and for moments, with nanoseconds: by epoll on Linux, by kqueue elsewhere.
//!
//! Sockets are registered once, edge-triggered, for everything: no system call is spent on changing interest.

#[cfg(target_os = "linux")]
mod epoll;
#[cfg(not(target_os = "linux"))]
mod kqueue;

#[cfg(target_os = "linux")]
pub use epoll::{Poll, Timer, exact_timers};
#[cfg(not(target_os = "linux"))]
pub use kqueue::{Poll, Timer, exact_timers};

/// Most events taken at once.
pub const EVENTS_MAX: usize = 128;

/// A socket that became ready.
#[derive(Clone, Copy)]
pub struct Ready {
    pub token: u64,
    pub writable: bool,
    pub closed: bool,
}
