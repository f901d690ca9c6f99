//! `IntOrString` figures such as maxSurge and minAvailable: a number, or a percentage of a total.

use serde_json::Value;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    Up,
    Down,
}

/// The figure for `total`; what is neither a number nor a percentage counts as 0.
pub fn resolve(value: &Value, total: i64, round: Round) -> i64 {
    if let Some(number) = value.as_i64() {
        return number;
    }
    let Some(percent) = percent_of(value) else { return 0 };
    let hundredfold = total.saturating_mul(percent);
    match round {
        Round::Up => hundredfold.saturating_add(99).div_euclid(100),
        Round::Down => hundredfold.div_euclid(100),
    }
}

/// The number before the percent sign.
pub fn percent_of(value: &Value) -> Option<i64> {
    value.as_str()?.strip_suffix('%')?.parse().ok()
}
