//! Two points and the rate between them.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// Counters of a container, or of the node, at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    pub at: Timestamp,
    /// When the counters began at zero.
    pub started: Timestamp,
    pub cpu_ns: u64,
    /// The working set.
    pub memory_bytes: u64,
}

/// What was used: CPU as the mean over a window, memory as last read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Billionths of a core.
    pub cpu_nano: u64,
    pub memory_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    pub(super) at: Timestamp,
    pub(super) window: SignedDuration,
    pub(super) usage: Usage,
}

/// The last point and, once there is one, the point before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Series {
    last: Reading,
    previous: Option<Reading>,
}

impl Series {
    /// Appends a reading. One of a restarted container begins anew; one that is not newer changes nothing.
    pub(super) fn follow(series: Option<Series>, reading: Reading, resolution: Duration) -> Series {
        let continued = series.filter(|it| it.last.started == reading.started && it.last.cpu_ns <= reading.cpu_ns);
        match continued {
            Some(series) if reading.at <= series.last.at => series,
            Some(series) => Series { last: reading, previous: Some(series.last) },
            None => Series { last: reading, previous: start_of(reading, resolution) },
        }
    }

    pub(super) fn rate(&self) -> Option<Rate> {
        let previous = self.previous?;
        let window = self.last.at.duration_since(previous.at);
        let window_ns = u128::try_from(window.as_nanos()).ok().filter(|it| *it > 0)?;
        let used_ns = u128::from(self.last.cpu_ns.saturating_sub(previous.cpu_ns));
        let cpu_nano = u64::try_from(used_ns * 1_000_000_000 / window_ns).unwrap_or(u64::MAX);
        Some(Rate { at: self.last.at, window, usage: Usage { cpu_nano, memory_bytes: self.last.memory_bytes } })
    }
}

/// The start of the counters as a first point, where it is neither too recent to mean anything nor a whole interval ago.
fn start_of(reading: Reading, resolution: Duration) -> Option<Reading> {
    let age = reading.at.duration_since(reading.started);
    let whole = SignedDuration::try_from(resolution).unwrap_or(SignedDuration::MAX);
    (age >= whole * 2 / 3 && age < whole).then_some(Reading { at: reading.started, cpu_ns: 0, ..reading })
}
