//! An `IntOrString` that counts pods: a number, or a percentage of all of them.

use serde_json::Value;

use super::errors::{Errors, NOT_NEGATIVE};
use super::text;

/// A number that is not negative, or a percentage.
pub(super) fn check(value: &Value, path: &str, errors: &mut Errors) {
    match (value.as_i64(), value.as_str()) {
        (Some(number), _) if number < 0 => errors.invalid(path, number, NOT_NEGATIVE),
        (None, Some(percent)) => errors.invalid_text(path, percent, text::percent(percent)),
        _ => {}
    }
}

/// Not more than all of them.
pub(super) fn check_not_above_all(value: &Value, path: &str, errors: &mut Errors) {
    if percent(value).is_some_and(|percent| percent > 100) {
        errors.invalid(path, value.clone(), "must not be greater than 100%");
    }
}

/// Whether it means none.
pub(super) fn is_zero(value: &Value) -> bool {
    value.as_i64() == Some(0) || percent(value) == Some(0)
}

fn percent(value: &Value) -> Option<u64> {
    value.as_str()?.strip_suffix('%')?.parse().ok()
}
