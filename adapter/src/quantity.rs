//! Numbers and times as the Kubernetes API writes them: quantities in thousandths, times in whole seconds.

use jiff::Timestamp;

/// `12`, `1500m`. Finer than a thousandth is rounded, as the API has no use for it.
pub(crate) fn of(value: f64) -> String {
    let milli = (value * 1000.0).round();
    if milli % 1000.0 == 0.0 {
        // Adding zero turns -0 into 0.
        format!("{:.0}", milli / 1000.0 + 0.0)
    } else {
        format!("{milli:.0}m")
    }
}

pub(crate) fn time(unix_ms: i64) -> String {
    Timestamp::from_second(unix_ms.div_euclid(1000)).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_whole_or_in_thousandths() {
        for (value, text) in [
            (0.0, "0"),
            (12.0, "12"),
            (1.5, "1500m"),
            (0.0004, "0"),
            (-0.0001, "0"),
            (-2.25, "-2250m"),
            (1e12, "1000000000000"),
        ] {
            assert_eq!(of(value), text, "{value}");
        }
        assert_eq!(time(1_700_000_000_999), "2023-11-14T22:13:20Z");
    }
}
