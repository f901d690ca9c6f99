//! What one pod showed in the last minutes, and what that comes to: rates, latest values, quantiles. Pure: time comes in.
//!
//! A rate is what a counter gained between the first and the last scrape of the window, over the time between them. A
//! counter that fell was started anew at zero, and so was one that first shows up in the window. Nothing is
//! extrapolated. Without a fresh scrape, or with a single one, there is no value: not zero.

use std::collections::{BTreeMap, VecDeque};

use crate::exposition::{Labels, Series};
use crate::rules::{Kind, Rule};

#[derive(Debug, Default)]
pub(crate) struct History {
    series: BTreeMap<Series, Past>,
    scraped_ms: VecDeque<i64>,
}

#[derive(Debug)]
struct Past {
    born_ms: i64,
    /// Time and value, oldest first.
    points: VecDeque<(i64, f64)>,
}

/// What a rule comes to in one pod, or in several put together.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Measure {
    pub(crate) amount: Amount,
    pub(crate) at_ms: i64,
    /// From the first to the last sample that it is made of; none for a gauge.
    pub(crate) window_ms: Option<i64>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Amount {
    Number(f64),
    /// Upper bound and observations per second up to it, ascending.
    Buckets(Vec<(f64, f64)>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gap {
    /// The pod is measured, but for less than a window can tell.
    Young,
    /// It has no series that the rule and the selector choose.
    NoSeries,
}

impl History {
    /// Takes one scrape in, and forgets what is older than the window.
    pub(crate) fn take(&mut self, at_ms: i64, samples: Vec<(Series, f64)>, window_ms: i64) {
        if self.scraped_ms.back().is_some_and(|last| *last >= at_ms) {
            return;
        }
        self.scraped_ms.push_back(at_ms);
        for (series, value) in samples {
            let past = self.series.entry(series).or_insert_with(|| Past { born_ms: at_ms, points: VecDeque::new() });
            past.points.push_back((at_ms, value));
        }
        let oldest_ms = at_ms - window_ms;
        self.scraped_ms.retain(|at| *at >= oldest_ms);
        self.series.retain(|_, past| {
            past.points.retain(|(at, _)| *at >= oldest_ms);
            !past.points.is_empty()
        });
    }

    pub(crate) fn last_scrape_ms(&self) -> Option<i64> {
        self.scraped_ms.back().copied()
    }

    /// `wanted` chooses among the series that the rule counts.
    pub(crate) fn measure(&self, rule: &Rule, wanted: impl Fn(&Labels) -> bool) -> Result<Measure, Gap> {
        let last_ms = self.last_scrape_ms().ok_or(Gap::Young)?;
        let first_ms = self.scraped_ms.iter().copied().find(|at| *at >= last_ms - rule.window_ms()).unwrap_or(last_ms);
        let chosen =
            |series: &Series| rule.is_made_of(&series.name) && rule.counts(&series.labels) && wanted(&series.labels);
        let mut found = self.series.iter().filter(|(series, _)| chosen(series)).peekable();
        if found.peek().is_none() {
            return Err(Gap::NoSeries);
        }
        if rule.kind == Kind::Gauge {
            let latest: Vec<f64> = found.filter_map(|(_, past)| past.value_at(last_ms)).collect();
            let amount = Amount::Number(latest.iter().sum());
            return if latest.is_empty() {
                Err(Gap::NoSeries)
            } else {
                Ok(Measure { amount, at_ms: last_ms, window_ms: None })
            };
        }
        let span_ms = last_ms - first_ms;
        if span_ms <= 0 {
            return Err(Gap::Young);
        }
        let rate = |past: &Past| past.gained(first_ms) * 1000.0 / span_ms as f64;
        let amount = if rule.kind == Kind::Rate {
            Amount::Number(found.map(|(_, past)| rate(past)).sum())
        } else {
            buckets(found.map(|(series, past)| (series.labels.get("le"), rate(past))))
        };
        Ok(Measure { amount, at_ms: last_ms, window_ms: Some(span_ms) })
    }
}

impl Past {
    fn value_at(&self, at_ms: i64) -> Option<f64> {
        self.points.back().filter(|(at, _)| *at == at_ms).map(|(_, value)| *value)
    }

    /// No number where the series last said that it has none; left out of a sum it would count as zero.
    fn gained(&self, first_ms: i64) -> f64 {
        if self.points.back().is_some_and(|(_, value)| value.is_nan()) {
            return f64::NAN;
        }
        let mut before = (self.born_ms > first_ms).then_some(0.0);
        let mut gained = 0.0;
        for (_, value) in self.points.iter().filter(|(at, value)| *at >= first_ms && !value.is_nan()) {
            if let Some(before) = before {
                gained += if *value < before { *value } else { value - before };
            }
            before = Some(*value);
        }
        gained
    }
}

/// Series of one bound put together; bounds that are no numbers are left out.
fn buckets<'l>(rates: impl Iterator<Item = (Option<&'l String>, f64)>) -> Amount {
    let mut buckets: Vec<(f64, f64)> = rates
        .filter_map(|(bound, rate)| Some((bound?.parse().ok()?, rate)))
        .filter(|(bound, _): &(f64, _)| !bound.is_nan())
        .collect();
    merge(&mut buckets);
    Amount::Buckets(buckets)
}

fn merge(buckets: &mut Vec<(f64, f64)>) {
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    buckets.dedup_by(|next, kept| {
        let is_same = next.0 == kept.0;
        if is_same {
            kept.1 += next.1;
        }
        is_same
    });
}

impl Measure {
    /// Several pods as one: the sum, or the histogram of them all; as old as the oldest. None of none.
    pub(crate) fn together(measures: impl IntoIterator<Item = Measure>) -> Option<Measure> {
        measures.into_iter().reduce(|mut all, one| {
            match (&mut all.amount, one.amount) {
                (Amount::Number(sum), Amount::Number(number)) => *sum += number,
                (Amount::Buckets(buckets), Amount::Buckets(more)) => {
                    buckets.extend(more);
                    merge(buckets);
                }
                // One rule gives one kind of amount.
                _ => {}
            }
            all.at_ms = all.at_ms.min(one.at_ms);
            all.window_ms = all.window_ms.max(one.window_ms);
            all
        })
    }

    /// The number that is served; none where a quantile has nothing to be of.
    pub(crate) fn value(&self, rule: &Rule) -> Option<f64> {
        match &self.amount {
            Amount::Number(number) => Some(*number),
            Amount::Buckets(buckets) => quantile(rule.quantile(), buckets),
        }
        .filter(|value| value.is_finite())
    }
}

/// As Prometheus' `histogram_quantile`: linear within a bucket, the first one begins at zero, and beyond the last finite
/// bound nothing is known but that bound.
fn quantile(quantile: f64, buckets: &[(f64, f64)]) -> Option<f64> {
    let (last, finite) = buckets.split_last()?;
    if last.0 != f64::INFINITY || finite.is_empty() || last.1.is_nan() || last.1 <= 0.0 {
        return None;
    }
    let rank = quantile * last.1;
    // Counts of buckets that were read one after the other may fall by a little.
    let mut highest: f64 = 0.0;
    let (mut start, mut below) = (0.0, 0.0);
    for (bound, count) in finite {
        highest = highest.max(*count);
        if highest >= rank {
            if *bound <= 0.0 && below == 0.0 {
                return Some(*bound);
            }
            return Some(start + (bound - start) * ((rank - below) / (highest - below)));
        }
        (start, below) = (*bound, highest);
    }
    Some(start)
}

#[cfg(test)]
mod tests;
