//! Time and the process's own use of the machine.
//!
//! Everything is measured on the monotonic clock; the wall clock is read once, to stamp the records.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds on the monotonic clock.
#[inline]
pub fn now_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Nanoseconds since 1970.
pub fn unix_ns() -> u64 {
    let time = clock_gettime(ClockId::Realtime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// CPU time of the whole process, user and system, in nanoseconds.
pub fn process_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Most memory that this process had. Not getrusage: its figure survives exec, so that a child of a large program begins
/// with the size of that.
#[cfg(target_os = "linux")]
pub fn rss_max_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Most memory that this process had, as systems without /proc tell it.
#[cfg(not(target_os = "linux"))]
pub fn rss_max_bytes() -> u64 {
    // SAFETY: all zeroes are a valid rusage, and getrusage writes to nothing else.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let unit_bytes = if cfg!(target_vendor = "apple") { 1 } else { 1024 };
    usage.ru_maxrss as u64 * unit_bytes
}
