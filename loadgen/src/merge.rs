//! Several generators' streams as one: the records that a single generator of the whole load would have printed.
//!
//! Records are taken as they come, from any source in turn; a merged second goes out once every source that still runs
//! has told its own. Counts and histograms are added, so percentiles are exactly those of one generator; thresholds are
//! judged anew on the sums. One part that was invalid, or that ended without its summary, makes the whole invalid.

use std::collections::BTreeMap;

use crate::histogram::decode;
use crate::judge::Judge;
use crate::part::Part;
use crate::stream::{Errors, Generator, Interval, Plan, Record, Summary, Validity};
use crate::totals::{Facts, Second, Totals};

/// Starts that lie further apart are said: their seconds are not the same seconds.
const START_SPREAD_MAX_NS: u64 = 50_000_000;

/// Takes the records of so many streams.
pub struct Merger {
    sources: Vec<Source>,
    plan: Option<Plan>,
    judge: Option<Judge>,
    /// By their number, until all sources have told them.
    waiting: BTreeMap<u64, Second>,
    next: u64,
    totals: Totals,
}

#[derive(Default)]
struct Source {
    plan: Option<Plan>,
    /// How many seconds it has told.
    told: u64,
    summary: Option<Summary>,
    ended: bool,
}

impl Merger {
    pub fn new(sources: usize) -> Self {
        Self {
            sources: (0..sources).map(|_| Source::default()).collect(),
            plan: None,
            judge: None,
            waiting: BTreeMap::new(),
            next: 0,
            totals: Totals::default(),
        }
    }

    /// Takes the next record of a source; the merged records that it completes.
    pub fn take(&mut self, source: usize, record: Record) -> Result<Vec<Record>, String> {
        let from = &mut self.sources[source];
        match record {
            Record::Plan(plan) => from.plan = Some(*plan),
            Record::Interval(interval) => {
                if from.plan.is_none() {
                    return Err(format!("stream {}: a second comes before the plan", source + 1));
                }
                let index = second_number(&interval);
                from.told = index + 1;
                let sum = self.waiting.entry(index).or_default();
                sum.add_interval(&interval).map_err(|error| format!("stream {}: {error}", source + 1))?;
            }
            Record::Summary(summary) => from.summary = Some(*summary),
        }
        self.advance()
    }

    /// A source says no more. After the last one the merged summary comes.
    pub fn end(&mut self, source: usize) -> Result<Vec<Record>, String> {
        if self.sources[source].plan.is_none() {
            return Err(format!("stream {} has no plan; record one with --intervals", source + 1));
        }
        self.sources[source].ended = true;
        let mut records = self.advance()?;
        if self.sources.iter().all(|source| source.ended) {
            records.push(Record::Summary(Box::new(self.summary()?)));
        }
        Ok(records)
    }

    fn advance(&mut self) -> Result<Vec<Record>, String> {
        let mut records = Vec::new();
        if self.plan.is_none() {
            let plans: Vec<&Plan> = self.sources.iter().filter_map(|source| source.plan.as_ref()).collect();
            if plans.len() < self.sources.len() {
                return Ok(records);
            }
            let plan = merge_plans(&plans)?;
            self.judge = Some(Judge::new(&plan.load));
            records.push(Record::Plan(Box::new(plan.clone())));
            self.plan = Some(plan);
        }
        let (Some(plan), Some(judge)) = (&self.plan, &mut self.judge) else { return Ok(records) };
        let is_over = |source: &Source| source.ended || source.summary.is_some();
        while self.sources.iter().all(|source| is_over(source) || source.told > self.next) && !self.waiting.is_empty() {
            let second = self.waiting.remove(&self.next).unwrap_or_default();
            self.totals.add(&second);
            judge.take(&second.measured(), self.next);
            records.push(Record::Interval(Box::new(second.interval(plan.t_start_unix_ns, self.next))));
            self.next += 1;
        }
        Ok(records)
    }

    fn summary(&mut self) -> Result<Summary, String> {
        let (Some(plan), Some(judge)) = (&self.plan, &self.judge) else { return Err("no stream to merge".to_owned()) };
        let mut reasons = Vec::new();
        for (number, source) in self.sources.iter().enumerate() {
            let Some(summary) = &source.summary else {
                reasons.push(format!("generator {} ended without its summary", number + 1));
                continue;
            };
            let of_generator = |reason: &String| format!("generator {}: {reason}", number + 1);
            reasons.extend(summary.validity.reasons.iter().map(of_generator));
            for (class, name) in Errors::CLASSES.iter().enumerate() {
                if let Some(text) = summary.classes_us.get(*name) {
                    self.totals.add_failed(class, &decode(text)?);
                }
            }
            summary.first_errors.iter().for_each(|(class, why)| self.totals.explain(class, why));
        }
        let summaries: Vec<&Summary> = self.sources.iter().filter_map(|source| source.summary.as_ref()).collect();
        let facts = Facts {
            t_start_unix_ns: plan.t_start_unix_ns,
            url: plan.url.clone(),
            is_open_loop: plan.load.pattern.is_some(),
            interrupted: summaries.iter().any(|summary| summary.interrupted),
            sending_s: self.sending_s(plan, &summaries),
            duration_s: summaries.iter().map(|summary| summary.duration_s).fold(0.0, f64::max),
            validity: Validity::for_reasons(reasons),
            generator: merge_generators(&summaries),
        };
        Ok(self.totals.summary(facts, judge))
    }

    /// How long requests were sent: as planned unless all were stopped before; of one that was killed only its seconds tell.
    fn sending_s(&self, plan: &Plan, summaries: &[&Summary]) -> f64 {
        let longest_s = summaries.iter().map(|summary| summary.sending_s).fold(0.0, f64::max);
        if summaries.iter().any(|summary| !summary.interrupted) {
            return longest_s.max(plan.duration_s);
        }
        match summaries.len() < self.sources.len() {
            true => longest_s.max(self.next as f64),
            false => longest_s,
        }
    }
}

fn second_number(interval: &Interval) -> u64 {
    interval.t_s.max(0.0) as u64
}

fn merge_plans(plans: &[&Plan]) -> Result<Plan, String> {
    let Some(first) = plans.first() else { return Err("no stream to merge".to_owned()) };
    if let Some(place) = plans.iter().position(|plan| plan.load != first.load) {
        return Err(format!("streams 1 and {} are of different loads", place + 1));
    }
    check_parts(plans)?;
    let mut merged = (*first).clone();
    merged.part = Part::default();
    for plan in &plans[1..] {
        merged.shards += plan.shards;
        merged.t_start_unix_ns = merged.t_start_unix_ns.min(plan.t_start_unix_ns);
        for (sum, point) in merged.rate_per_s.iter_mut().zip(&plan.rate_per_s) {
            sum.1 = ((sum.1 + point.1) * 100.0).round() / 100.0;
        }
        let new = plan.notes.iter().filter(|note| !first.notes.contains(note));
        merged.notes.extend(new.cloned());
    }
    let last_ns = plans.iter().map(|plan| plan.t_start_unix_ns).max().unwrap_or_default();
    let spread_ns = last_ns - merged.t_start_unix_ns;
    if spread_ns > START_SPREAD_MAX_NS {
        let spread_ms = spread_ns / 1_000_000;
        merged.notes.push(format!("the generators started {spread_ms} ms apart; start them in step with --start-at"));
    }
    Ok(merged)
}

/// Either every stream is a whole load, or they are the parts of one, each once.
fn check_parts(plans: &[&Plan]) -> Result<(), String> {
    let mut parts: Vec<Part> = plans.iter().map(|plan| plan.part).collect();
    parts.sort_unstable();
    if parts.iter().all(Part::is_whole) {
        return Ok(());
    }
    let of = parts[0].of;
    let missing = (0..of).find(|index| !parts.contains(&Part { index: *index, of }));
    match missing {
        Some(index) => Err(format!("the streams are not the parts of one load: {index}/{of} is missing")),
        None if parts.len() > of as usize => {
            Err(format!("the streams are not the {of} part(s) of one load, each once"))
        }
        None => Ok(()),
    }
}

fn merge_generators(summaries: &[&Summary]) -> Generator {
    let mut merged = Generator::default();
    let mut sent = 0;
    for summary in summaries {
        let generator = &summary.generator;
        merged.shards += generator.shards;
        merged.cores += generator.cores;
        merged.cpu_s += generator.cpu_s;
        merged.rss_max_bytes = merged.rss_max_bytes.max(generator.rss_max_bytes);
        merged.seed = generator.seed;
        sent += summary.requests.sent;
    }
    merged.cpu_us_per_request = merged.cpu_s * 1e6 / sent.max(1) as f64;
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::{Percentiles, encode, latency_histogram};
    use crate::load::Load;
    use crate::stream::{Errors, Requests, STREAM_VERSION};

    /// The stream of part `index` of `of`, of a load of 2 s in which every third request fails.
    fn stream(index: u32, of: u32) -> Vec<Record> {
        let load = Load { pattern: Some("constant 300 2s".parse().unwrap()), ..Load::default() };
        let load = Load { thresholds: vec!["errors < 10%".parse().unwrap()], ..load };
        let plan = Plan {
            version: STREAM_VERSION,
            t_start_unix_ns: 5_000_000_000,
            url: "http://a/".to_owned(),
            load,
            duration_s: 2.0,
            shards: 1,
            part: Part { index, of },
            rate_per_s: vec![(0.0, 300.0 / of as f64), (2.0, 300.0 / of as f64)],
            notes: Vec::new(),
        };
        let mut totals = Totals::default();
        let mut failed = latency_histogram();
        let judge = Judge::new(&plan.load);
        let mut records = Vec::new();
        for t_s in 0..2 {
            let mut second = Second::default();
            for request in (0..300u64).filter(|request| request % of as u64 == index as u64) {
                let latency_us = 1 + (request * request * 7919 + t_s) % 900_001;
                second.response_us.record(latency_us).unwrap();
                second.service_us.record(latency_us).unwrap();
                let is_ok = request % 3 > 0;
                let errors = Errors { reset: !is_ok as u64, ..Errors::default() };
                let one = Requests { planned: 1, sent: 1, ok: is_ok as u64, errors, ..Requests::default() };
                second.requests.add(&one);
                if !is_ok {
                    failed.record(latency_us).unwrap();
                }
            }
            totals.add(&second);
            records.push(Record::Interval(Box::new(second.interval(plan.t_start_unix_ns, t_s))));
        }
        totals.add_failed(4, &failed);
        let facts = Facts {
            t_start_unix_ns: plan.t_start_unix_ns,
            url: plan.url.clone(),
            is_open_loop: true,
            interrupted: false,
            sending_s: 2.0,
            duration_s: 2.0,
            validity: Validity::default(),
            generator: Generator::default(),
        };
        records.push(Record::Summary(Box::new(totals.summary(facts, &judge))));
        records.insert(0, Record::Plan(Box::new(plan)));
        records
    }

    fn merged(streams: Vec<Vec<Record>>) -> Result<Vec<Record>, String> {
        let mut merger = Merger::new(streams.len());
        let mut out = Vec::new();
        for (source, records) in streams.into_iter().enumerate().rev() {
            for record in records {
                out.extend(merger.take(source, record)?);
            }
            out.extend(merger.end(source)?);
        }
        Ok(out)
    }

    #[test]
    fn the_parts_of_a_load_merge_to_exactly_what_one_generator_would_say() {
        let one = merged(vec![stream(0, 1)]).unwrap();
        for of in [2, 3, 6] {
            assert!(
                merged((0..of).map(|index| stream(index, of)).collect()).unwrap() == {
                    // The number of shards is the sum; all else is the same.
                    let mut one = one.clone();
                    let Record::Plan(plan) = &mut one[0] else { panic!() };
                    plan.shards = of;
                    one
                }
            );
        }
        let Some(Record::Summary(summary)) = one.last() else { panic!() };
        assert_eq!((summary.requests.ok, summary.requests.errors.reset), (400, 200));
        assert!(!summary.thresholds[0].passed);
        assert_eq!(summary.classes["reset"].count, 200);
    }

    #[test]
    fn a_generator_that_was_killed_makes_the_whole_invalid_but_loses_no_second() {
        let mut killed = stream(1, 2);
        killed.pop();
        let records = merged(vec![stream(0, 2), killed]).unwrap();
        let Some(Record::Summary(summary)) = records.last() else { panic!() };
        assert_eq!(summary.validity.reasons, ["generator 2 ended without its summary"]);
        assert_eq!((summary.requests.planned, summary.rate_per_s), (600, 200.0));
        assert_eq!(summary.exit_code, crate::stream::exit::INVALID);
    }

    #[test]
    fn of_a_generator_that_was_killed_alone_the_seconds_tell_the_rate() {
        let mut killed = stream(0, 1);
        killed.truncate(2);
        let records = merged(vec![killed]).unwrap();
        let Some(Record::Summary(summary)) = records.last() else { panic!() };
        assert_eq!((summary.sending_s, summary.duration_s, summary.rate_per_s), (1.0, 1.0, 200.0));
    }

    #[test]
    fn streams_that_do_not_belong_together_are_refused() {
        let error = |streams: Vec<Vec<Record>>| merged(streams).unwrap_err();
        assert!(error(vec![stream(0, 3), stream(2, 3)]).contains("1/3"));
        assert!(error(vec![stream(0, 2), stream(0, 2)]).contains("1/2"));
        assert!(error(vec![stream(0, 1), stream(0, 2)]).contains("each once"));
        assert!(error(vec![Vec::new()]).contains("no plan"));
        let mut other = stream(0, 1);
        let Record::Plan(plan) = &mut other[0] else { panic!() };
        plan.load.seed = 99;
        assert!(error(vec![stream(0, 1), other]).contains("different loads"));
    }

    #[test]
    fn percentiles_of_merged_streams_are_not_averages() {
        let mut slow = latency_histogram();
        slow.record_n(900_000, 10).unwrap();
        let mut fast = latency_histogram();
        fast.record_n(1_000, 990).unwrap();
        let mut second = Second::default();
        for part in [&slow, &fast] {
            let interval = Interval { response_us: encode(part), ..Second::default().interval(0, 0) };
            second.add_interval(&interval).unwrap();
        }
        let merged = Percentiles::of(&second.response_us);
        assert_eq!((merged.p50, merged.count), (1_000, 1000));
        assert!(merged.p99 <= 1_000 && merged.p99_9 > 890_000, "{merged:?}");
    }
}
