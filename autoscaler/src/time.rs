//! An instant as a value.
//!
//! The decision never asks what time it is: every instant comes in. The origin is the host's choice (the Unix epoch in
//! a cluster, zero in a recorded trace); only differences matter. Arithmetic saturates, so no input can overflow it.

use std::ops::{Add, Sub};

pub const NS_PER_MS: i64 = 1_000_000;
pub const NS_PER_S: i64 = 1_000_000_000;

/// Nanoseconds since an origin that the host chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub i64);

impl Time {
    pub fn from_ms(ms: i64) -> Time {
        Time(ms.saturating_mul(NS_PER_MS))
    }

    pub fn from_s(s: i64) -> Time {
        Time(s.saturating_mul(NS_PER_S))
    }

    /// Whole milliseconds, rounded down.
    pub fn ms(self) -> i64 {
        self.0.div_euclid(NS_PER_MS)
    }

    /// This instant less a number of seconds: the far end of a window or period.
    pub fn minus_s(self, s: i32) -> Time {
        self - i64::from(s).saturating_mul(NS_PER_S)
    }
}

impl Add<i64> for Time {
    type Output = Time;
    fn add(self, ns: i64) -> Time {
        Time(self.0.saturating_add(ns))
    }
}

impl Sub<i64> for Time {
    type Output = Time;
    fn sub(self, ns: i64) -> Time {
        Time(self.0.saturating_sub(ns))
    }
}
