//! The CPU work itself: a chain of SHA-256, or CPU time burnt. Pure computation, called from worker threads only.
//!
//! `load` counts the CPU time of its own thread, not the wall clock: under a CPU limit a request costs the same, it
//! only takes longer. Otherwise a throttled pod would finish on time with less work done, and more pods would not help.

use rustix::time::{ClockId, Timespec, clock_gettime};
use sha2::{Digest, Sha256};

/// Upper bounds of one request: about a second and ten seconds of one core. A longer one would hold a worker past any
/// sensible time-out, so more work is more requests.
pub(crate) const MAX_ITERATIONS: u64 = 10_000_000;
pub(crate) const MAX_MILLIS: u64 = 10_000;

/// Between two looks at whether the client is still there: about half a millisecond of work.
const STRIDE: u64 = 4096;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// SHA-256 applied `iterations` times, starting from 32 zero bytes.
    Hash { iterations: u64 },
    /// `millis` of CPU time.
    Burn { millis: u64 },
}

impl Work {
    /// The body of the answer, or nothing when the client left while it was at it.
    pub(crate) fn run(self, abandoned: impl Fn() -> bool) -> Option<String> {
        match self {
            Work::Hash { iterations } => hash_chain(iterations, abandoned).map(|digest| hex(&digest) + "\n"),
            Work::Burn { millis } => burn(millis, abandoned).map(|()| format!("burnt {millis} ms of CPU time\n")),
        }
    }
}

fn hash_chain(iterations: u64, abandoned: impl Fn() -> bool) -> Option<[u8; 32]> {
    let mut digest = [0_u8; 32];
    let mut left = iterations;
    while left > 0 {
        if abandoned() {
            return None;
        }
        let stride = left.min(STRIDE);
        for _ in 0..stride {
            digest = Sha256::digest(digest).into();
        }
        left -= stride;
    }
    Some(digest)
}

fn burn(millis: u64, abandoned: impl Fn() -> bool) -> Option<()> {
    let end_ns = thread_cpu_ns() + millis * 1_000_000;
    while thread_cpu_ns() < end_ns {
        std::hint::black_box(hash_chain(STRIDE, &abandoned)?);
    }
    Some(())
}

fn thread_cpu_ns() -> u64 {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::ThreadCPUTime);
    tv_sec as u64 * 1_000_000_000 + tv_nsec as u64
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with `sha256sum` over 32 zero bytes, and again over its own binary output.
    const ONCE: &str = "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925";
    const TWICE: &str = "2b32db6c2c0a6235fb1397e8225ea85e0f0e6e8c7b126d0016ccbde0e667151e";

    #[test]
    fn the_chain_is_sha256_of_sha256() {
        assert_eq!(Work::Hash { iterations: 1 }.run(|| false), Some(format!("{ONCE}\n")));
        assert_eq!(Work::Hash { iterations: 2 }.run(|| false), Some(format!("{TWICE}\n")));
    }

    #[test]
    fn a_chain_longer_than_the_stride_counts_every_link() {
        let long = STRIDE * 2 + 3;
        let mut expected = [0_u8; 32];
        for _ in 0..long {
            expected = Sha256::digest(expected).into();
        }
        assert_eq!(hash_chain(long, || false), Some(expected));
    }

    #[test]
    fn burning_takes_the_cpu_time_it_names() {
        let before_ns = thread_cpu_ns();
        burn(20, || false);
        let spent_ms = (thread_cpu_ns() - before_ns) / 1_000_000;
        assert!((20..60).contains(&spent_ms), "asked for 20 ms of CPU time, spent {spent_ms}");
    }

    #[test]
    fn work_stops_when_the_client_is_gone() {
        assert_eq!(Work::Burn { millis: MAX_MILLIS }.run(|| true), None);
        assert_eq!(Work::Hash { iterations: MAX_ITERATIONS }.run(|| true), None);
    }
}
