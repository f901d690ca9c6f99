//! The seconds of a run as plain numbers, for charts and tables.
//!
//! At most 3 600 rows: a longer run is kept in rows of 2, 4, 8 ... seconds. Joined rows add their counts and keep the
//! worst latency; percentiles are never averaged.

use std::collections::BTreeMap;

use crate::histogram::{Percentiles, decode};
use crate::stream::{Plan, Record, Requests};

pub const ROWS_MAX: usize = 3600;

#[derive(Debug, Default)]
pub struct History {
    pub plan: Option<Plan>,
    pub rows: Vec<Row>,
    /// Seconds that one row covers.
    pub row_s: u64,
    /// Requests by pod over the whole run so far.
    pub pods: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, Default)]
pub struct Row {
    pub t_s: f64,
    pub requests: Requests,
    /// The worst second of the row.
    pub response: Percentiles,
    pub service_p99_us: u64,
    pub pacing_p99_us: u64,
    pub pods: BTreeMap<String, u64>,
    pub connections_open: u64,
    pub backlog: u64,
    seconds: u64,
}

impl History {
    pub fn take(&mut self, record: &Record) {
        match record {
            Record::Plan(plan) => self.plan = Some((**plan).clone()),
            Record::Interval(interval) => {
                let percentiles = |text: &str| decode(text).map(|h| Percentiles::of(&h)).unwrap_or_default();
                let pods: BTreeMap<String, u64> =
                    interval.pods.iter().map(|(name, pod)| (name.clone(), pod.requests)).collect();
                for (name, count) in &pods {
                    *self.pods.entry(name.clone()).or_default() += count;
                }
                self.push(Row {
                    t_s: interval.t_s,
                    requests: interval.requests.clone(),
                    response: percentiles(&interval.response_us),
                    service_p99_us: percentiles(&interval.service_us).p99,
                    pacing_p99_us: percentiles(&interval.pacing_us).p99,
                    pods,
                    connections_open: interval.connections.open,
                    backlog: interval.backlog,
                    seconds: 1,
                });
            }
            Record::Summary(_) => {}
        }
    }

    fn push(&mut self, row: Row) {
        self.row_s = self.row_s.max(1);
        match self.rows.last_mut() {
            Some(last) if last.seconds < self.row_s => last.join(&row),
            _ => self.rows.push(row),
        }
        if self.rows.len() > ROWS_MAX {
            self.row_s *= 2;
            let joined = self.rows.chunks(2).map(|pair| {
                let mut row = pair[0].clone();
                pair.get(1).into_iter().for_each(|next| row.join(next));
                row
            });
            self.rows = joined.collect();
        }
    }
}

impl Row {
    fn join(&mut self, next: &Row) {
        self.requests.add(&next.requests);
        if next.response.p99 > self.response.p99 {
            self.response = next.response;
        }
        self.service_p99_us = self.service_p99_us.max(next.service_p99_us);
        self.pacing_p99_us = self.pacing_p99_us.max(next.pacing_p99_us);
        for (name, count) in &next.pods {
            *self.pods.entry(name.clone()).or_default() += count;
        }
        (self.connections_open, self.backlog) = (next.connections_open, next.backlog);
        self.seconds += next.seconds;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::Interval;

    #[test]
    fn a_long_run_is_kept_in_longer_rows_without_losing_a_request() {
        let mut history = History::default();
        for second in 0..10_000 {
            let mut interval = Interval { t_s: second as f64, ..Interval::default() };
            interval.requests.ok = 3;
            history.take(&Record::Interval(Box::new(interval)));
        }
        assert!(history.rows.len() <= ROWS_MAX && history.row_s == 4, "{} {}", history.rows.len(), history.row_s);
        assert_eq!(history.rows.iter().map(|row| row.requests.ok).sum::<u64>(), 30_000);
    }
}
