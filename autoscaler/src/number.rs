//! Go's numeric conversions on amd64, where they differ from Rust's.
//!
//! Out-of-range floats (and NaN) become the smallest integer instead of saturating; integers are cut to their low bits.
//! Recorded decisions depend on it, and a decision must never panic.

pub(crate) fn f64_to_i32(x: f64) -> i32 {
    let whole = x.trunc();
    if (-2_147_483_648.0..=2_147_483_647.0).contains(&whole) { whole as i32 } else { i32::MIN }
}

pub(crate) fn f64_to_i64(x: f64) -> i64 {
    // 2^63 itself is the first float that does not fit.
    if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&x) { x as i64 } else { i64::MIN }
}

pub(crate) fn ceil_to_i32(x: f64) -> i32 {
    f64_to_i32(x.ceil())
}

/// Integer division toward zero; 0 where Go would panic, which no caller can reach.
pub(crate) fn divide(a: i64, b: i64) -> i64 {
    if b == 0 { 0 } else { a.wrapping_div(b) }
}
