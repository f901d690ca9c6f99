//! A bound on what was measured: `p99 < 200ms`, `errors < 0.1%`, `p99 over any 10s < 200ms`.
//!
//! The metric is judged over the whole run, or with `over any SPAN` over each window of that many whole seconds. A
//! latency is the response time, from the planned moment, unless `service` stands before it.

use std::fmt;
use std::str::FromStr;

use hdrhistogram::Histogram;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::span::Span;
use crate::stream::Requests;
use crate::text::{Cursor, TextError, plain};

/// Longest window, in seconds: each second of it keeps a histogram.
pub const WINDOW_MAX_S: u64 = 60;

#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {
    pub metric: Metric,
    pub window: Option<Span>,
    pub bound: Bound,
    pub limit: Limit,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Metric {
    /// Response time at a quantile between 0 and 1.
    Response(f64),
    Service(f64),
    ResponseMean,
    /// Planned requests without a good answer: failed in any class, shed or unsent.
    Errors,
    /// Failed requests except answers 503.
    Lost,
    Shed,
    /// Good answers per second.
    Rate,
    /// Seconds in which the SLO of the run did not hold.
    SloViolationSeconds,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    Below,
    AtMost,
    Above,
    AtLeast,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    Time(Span),
    /// A share of the planned requests, 0.01 being 1 %.
    Share(f64),
    Number(f64),
}

/// What a threshold looks at: a whole run or a window of it.
pub struct Measured<'a> {
    pub response_us: &'a Histogram<u64>,
    pub service_us: &'a Histogram<u64>,
    pub requests: &'a Requests,
    pub seconds: f64,
    pub slo_violation_seconds: u64,
}

impl Threshold {
    /// The measured figure: microseconds, a share or a number, as the limit has it.
    pub fn value(&self, measured: &Measured) -> f64 {
        let requests = measured.requests;
        let count = |count: u64| match self.limit {
            Limit::Share(_) => count as f64 / requests.planned.max(1) as f64,
            _ => count as f64,
        };
        match self.metric {
            Metric::Response(quantile) => measured.response_us.value_at_quantile(quantile) as f64,
            Metric::Service(quantile) => measured.service_us.value_at_quantile(quantile) as f64,
            Metric::ResponseMean => measured.response_us.mean(),
            Metric::Errors => count(requests.without_good_answer()),
            Metric::Lost => count(requests.lost()),
            Metric::Shed => count(requests.shed),
            Metric::Rate => requests.ok as f64 / measured.seconds.max(1e-9),
            Metric::SloViolationSeconds => measured.slo_violation_seconds as f64,
        }
    }

    /// Whether a measured figure keeps the bound.
    pub fn holds(&self, value: f64) -> bool {
        let limit = self.limit_value();
        match self.bound {
            Bound::Below => value < limit,
            Bound::AtMost => value <= limit,
            Bound::Above => value > limit,
            Bound::AtLeast => value >= limit,
        }
    }

    /// The limit in the unit of `value`.
    pub fn limit_value(&self) -> f64 {
        match self.limit {
            Limit::Time(span) => span.as_ns() as f64 / 1e3,
            Limit::Share(share) => share,
            Limit::Number(number) => number,
        }
    }

    /// A measured figure as people read it.
    pub fn show(&self, value: f64) -> String {
        match self.limit {
            Limit::Time(_) => format!("{:.2}ms", value / 1e3),
            Limit::Share(_) => format!("{:.3}%", value * 100.0),
            Limit::Number(_) => format!("{}", (value * 100.0).round() / 100.0),
        }
    }
}

impl FromStr for Threshold {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let mut cursor = Cursor::new(text);
        let metric = metric(&mut cursor)?;
        let window = window(&mut cursor)?;
        let bound = bound(&mut cursor)?;
        let limit = limit(&mut cursor, metric)?;
        if !cursor.at_end() {
            return Err(cursor.error("expected the end"));
        }
        Ok(Self { metric, window, bound, limit })
    }
}

fn metric(cursor: &mut Cursor) -> Result<Metric, TextError> {
    let service = cursor.eat_word("service");
    let place = cursor.place();
    let name = cursor.word();
    let quantile = match name {
        "max" => Some(1.0),
        _ => name.strip_prefix('p').and_then(|digits| digits.parse::<f64>().ok()).map(|percent| percent / 100.0),
    };
    match (name, quantile) {
        (_, Some(quantile)) if (0.0..=1.0).contains(&quantile) => {
            Ok(if service { Metric::Service(quantile) } else { Metric::Response(quantile) })
        }
        _ if service => Err(cursor.error_at(place, "expected a percentile such as p99, or max")),
        ("mean", _) => Ok(Metric::ResponseMean),
        ("errors", _) => Ok(Metric::Errors),
        ("lost", _) => Ok(Metric::Lost),
        ("shed", _) => Ok(Metric::Shed),
        ("rate", _) => Ok(Metric::Rate),
        ("slo_violation_seconds", _) => Ok(Metric::SloViolationSeconds),
        _ => Err(cursor
            .error_at(place, "expected p50 to p99.99, max, mean, errors, lost, shed, rate or slo_violation_seconds")),
    }
}

fn window(cursor: &mut Cursor) -> Result<Option<Span>, TextError> {
    if !cursor.eat_word("over") {
        return Ok(None);
    }
    if !cursor.eat_word("any") {
        return Err(cursor.error("expected `any` and a duration, as in `p99 over any 10s < 200ms`"));
    }
    let place = cursor.place();
    let number_with_blank = cursor.peek_word().parse::<f64>().is_ok();
    let window = if number_with_blank {
        let number = cursor.word();
        let unit = cursor.word();
        format!("{number}{unit}").parse().map_err(|message: String| cursor.error_at(place, message))?
    } else {
        cursor.span()?
    };
    let whole = window.as_ns() % 1_000_000_000 == 0;
    if !whole || !(1..=WINDOW_MAX_S).contains(&(window.as_ns() / 1_000_000_000)) {
        return Err(cursor.error_at(place, format!("a window is 1 to {WINDOW_MAX_S} whole seconds")));
    }
    Ok(Some(window))
}

fn bound(cursor: &mut Cursor) -> Result<Bound, TextError> {
    let signs = [("<=", Bound::AtMost), (">=", Bound::AtLeast), ("<", Bound::Below), (">", Bound::Above)];
    match signs.into_iter().find(|(sign, _)| cursor.eat(sign)) {
        Some((_, bound)) => Ok(bound),
        None => Err(cursor.error("expected <, <=, > or >=")),
    }
}

fn limit(cursor: &mut Cursor, metric: Metric) -> Result<Limit, TextError> {
    match metric {
        Metric::Response(_) | Metric::Service(_) | Metric::ResponseMean => Ok(Limit::Time(cursor.span()?)),
        Metric::Errors | Metric::Lost | Metric::Shed => {
            let number = cursor.number("a number such as 3, or a share such as 0.1%")?;
            Ok(if cursor.eat("%") { Limit::Share(number / 100.0) } else { Limit::Number(number) })
        }
        Metric::Rate => Ok(Limit::Number(cursor.rate()?)),
        Metric::SloViolationSeconds => Ok(Limit::Number(cursor.number("a number of seconds such as 20")?)),
    }
}

impl fmt::Display for Threshold {
    /// The text form, which parses back to the same threshold.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let percent = |quantile: f64| match quantile {
            1.0 => "max".to_owned(),
            _ => format!("p{}", plain((quantile * 1e8).round() / 1e6)),
        };
        match self.metric {
            Metric::Response(quantile) => f.write_str(&percent(quantile))?,
            Metric::Service(quantile) => write!(f, "service {}", percent(quantile))?,
            Metric::ResponseMean => f.write_str("mean")?,
            Metric::Errors => f.write_str("errors")?,
            Metric::Lost => f.write_str("lost")?,
            Metric::Shed => f.write_str("shed")?,
            Metric::Rate => f.write_str("rate")?,
            Metric::SloViolationSeconds => f.write_str("slo_violation_seconds")?,
        }
        if let Some(window) = self.window {
            write!(f, " over any {}s", window.as_ns() / 1_000_000_000)?;
        }
        let sign = match self.bound {
            Bound::Below => "<",
            Bound::AtMost => "<=",
            Bound::Above => ">",
            Bound::AtLeast => ">=",
        };
        match self.limit {
            Limit::Time(span) => write!(f, " {sign} {span}"),
            Limit::Share(share) => write!(f, " {sign} {}%", plain((share * 1e10).round() / 1e8)),
            Limit::Number(number) => write!(f, " {sign} {}", plain(number)),
        }
    }
}

impl Serialize for Threshold {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Threshold {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error: TextError| serde::de::Error::custom(format!("bad threshold \"{text}\" {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_parse_and_print_back_the_same() {
        for text in [
            "p99 < 200ms",
            "p99 over any 10s < 200ms",
            "service p99.9 <= 1s500ms",
            "max < 2s",
            "mean < 20ms",
            "errors < 0.1%",
            "lost <= 0",
            "shed < 1%",
            "rate >= 95",
            "slo_violation_seconds <= 20",
        ] {
            assert_eq!(text.parse::<Threshold>().unwrap().to_string(), text);
        }
        assert_eq!("p99 over any 10 s<200ms".parse::<Threshold>().unwrap().to_string(), "p99 over any 10s < 200ms");
    }

    #[test]
    fn a_bad_threshold_names_the_place() {
        for (text, column, word) in [
            ("p101 < 1s", 1, "p101"),
            ("p99 200ms", 5, "<, <=, > or >="),
            ("p99 < 200", 7, "200"),
            ("p99 over all 3s < 1s", 10, "any"),
            ("p99 over any 500ms < 1s", 14, "whole seconds"),
            ("errors < many", 10, "many"),
            ("p99 < 1s and", 10, "expected the end"),
            ("", 1, "slo_violation_seconds"),
        ] {
            let error = text.parse::<Threshold>().unwrap_err();
            assert_eq!(error.column, column, "{text}: {error}");
            assert!(error.to_string().contains(word), "{text}: {error}");
        }
    }
}
