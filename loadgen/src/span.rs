//! A length of time as people write it: `500ms`, `90s`, `1m30s`, `2h`.
//!
//! Kept in whole nanoseconds. A bare number is refused because it does not say its unit.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Span {
    nanos: u64,
}

/// Ten years: longer spans are typing mistakes.
const SPAN_MAX_NS: u64 = 10 * 365 * 86_400 * 1_000_000_000;

const UNITS: [(&str, u64); 6] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

impl Span {
    pub const fn from_ns(nanos: u64) -> Self {
        Self { nanos }
    }

    pub const fn from_ms(millis: u64) -> Self {
        Self { nanos: millis * 1_000_000 }
    }

    pub const fn from_secs(secs: u64) -> Self {
        Self { nanos: secs * 1_000_000_000 }
    }

    pub fn as_ns(self) -> u64 {
        self.nanos
    }

    pub fn as_us(self) -> u64 {
        self.nanos / 1_000
    }

    pub fn as_secs_f64(self) -> f64 {
        self.nanos as f64 / 1e9
    }

    pub fn as_duration(self) -> std::time::Duration {
        std::time::Duration::from_nanos(self.nanos)
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a duration; write it like 500ms, 30s, 2m or 1m30s");
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(wrong());
        }
        let mut total = 0f64;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
            let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
            rest = &rest[digits..];
            let unit_len = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
            let unit = UNITS.iter().find(|(name, _)| *name == &rest[..unit_len]).ok_or_else(wrong)?;
            total += number * unit.1 as f64;
            rest = &rest[unit_len..];
        }
        if total > SPAN_MAX_NS as f64 {
            return Err(format!("`{text}` is longer than ten years"));
        }
        Ok(Self { nanos: total.round() as u64 })
    }
}

impl fmt::Display for Span {
    /// The shortest exact form, which parses back to the same span.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.nanos;
        for (unit, size) in UNITS {
            if rest >= size {
                write!(f, "{}{unit}", rest / size)?;
                rest %= size;
            }
        }
        Ok(())
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_parse_and_print_back_the_same() {
        for text in ["500ms", "30s", "1m30s", "2h", "1h2m3s4ms5us6ns", "0s"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        assert_eq!("1.5s".parse::<Span>().unwrap(), Span::from_ms(1500));
    }

    #[test]
    fn a_span_without_a_unit_or_with_a_strange_one_is_refused_with_an_example() {
        for text in ["", "10", "10x", "s", "1..2s", "-3s", "99999999h"] {
            let error = text.parse::<Span>().unwrap_err();
            assert!(error.contains(&format!("`{text}`")), "{error}");
        }
    }
}
