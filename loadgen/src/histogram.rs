//! Latency histograms: one microsecond to one hour with three exact digits, and their wire form.
//!
//! On the wire a histogram is base64 of HdrHistogram's compressed V2 encoding, which any HdrHistogram library reads.
//! Adding histograms is lossless: the percentiles of N merged streams are exactly those of one. Percentiles themselves
//! are never averaged.

use base64::Engine as _;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
use serde::{Deserialize, Serialize};

/// One hour; slower responses are recorded as one hour.
pub const LATENCY_MAX_US: u64 = 3_600_000_000;

/// An empty histogram for latencies in microseconds.
pub fn latency_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX_US, 3).expect("invariant: constant bounds are valid")
}

/// An empty histogram with two digits, an eighth of the size: for one histogram per pod.
pub fn coarse_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX_US, 2).expect("invariant: constant bounds are valid")
}

/// Adds histograms of equal bounds.
pub fn add(sum: &mut Histogram<u64>, part: &Histogram<u64>) {
    if !part.is_empty() {
        // Another program's histogram may have other bounds; what lies beyond ours is counted at the bound.
        let added = sum.add(part);
        if added.is_err() {
            for value in part.iter_recorded() {
                sum.saturating_record_n(value.value_iterated_to(), value.count_at_value());
            }
        }
    }
}

/// The wire form of a histogram.
pub fn encode(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(histogram, &mut bytes).expect("invariant: writing to memory cannot fail");
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Reads the wire form back.
pub fn decode(text: &str) -> Result<Histogram<u64>, String> {
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(text)
        .map_err(|error| format!("the histogram is not base64: {error}"))?;
    Deserializer::new()
        .deserialize(&mut bytes.as_slice())
        .map_err(|error| format!("the histogram is not in V2 encoding: {error:?}"))
}

/// The figures of a histogram that people read, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Percentiles {
    pub count: u64,
    pub min: u64,
    pub mean: f64,
    pub p50: u64,
    pub p75: u64,
    pub p90: u64,
    pub p95: u64,
    pub p99: u64,
    pub p99_9: u64,
    pub p99_99: u64,
    pub max: u64,
}

impl Percentiles {
    pub fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let at = |quantile: f64| histogram.value_at_quantile(quantile).min(histogram.max());
        Self {
            count: histogram.len(),
            min: histogram.min(),
            mean: (histogram.mean() * 10.0).round() / 10.0,
            p50: at(0.5),
            p75: at(0.75),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            p99_9: at(0.999),
            p99_99: at(0.9999),
            max: histogram.max(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_two_decoded_streams_gives_exactly_the_percentiles_of_one() {
        let (mut whole, mut left, mut right) = (latency_histogram(), latency_histogram(), latency_histogram());
        for i in 1..50_000u64 {
            let value = i * i % 9_000_001 + 1;
            whole.record(value).unwrap();
            if i % 3 == 0 { left.record(value).unwrap() } else { right.record(value).unwrap() }
        }
        let mut merged = decode(&encode(&left)).unwrap();
        merged.add(decode(&encode(&right)).unwrap()).unwrap();
        assert_eq!(Percentiles::of(&merged), Percentiles::of(&whole));
        assert_eq!(encode(&merged), encode(&whole));
    }

    #[test]
    fn a_damaged_histogram_is_an_error_not_a_panic() {
        assert!(decode("???").unwrap_err().contains("base64"));
        assert!(decode("AAAA").unwrap_err().contains("V2"));
    }
}
