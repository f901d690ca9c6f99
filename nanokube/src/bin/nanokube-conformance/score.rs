//! N of M by area: what passed, what failed and why, the gaps that are known by name, and what this cluster has no part for.

use std::collections::BTreeMap;

use super::gaps;
use super::lacks::Lacks;

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Failed(String),
}

#[derive(Default)]
struct Area {
    passed: usize,
    total: usize,
    /// How many cases were not tried, by what the cluster lacks.
    lacking: BTreeMap<&'static str, usize>,
    failures: Vec<(String, String)>,
}

pub(crate) struct Score {
    areas: BTreeMap<String, Area>,
    tried: Vec<String>,
    missing: Vec<(String, String)>,
    lacks: Lacks,
    verbose: bool,
}

impl Score {
    pub(crate) fn new(lacks: Lacks, verbose: bool) -> Score {
        Score { areas: BTreeMap::new(), tried: Vec::new(), missing: Vec::new(), lacks, verbose }
    }

    pub(crate) fn lacks(&self) -> &Lacks {
        &self.lacks
    }

    /// Counts a case that cannot pass in this cluster, and says so.
    pub(crate) fn cannot(&mut self, area: &str, case: &str) -> bool {
        let Some(what) = self.lacks.of_case(area, case) else { return false };
        let entry = self.areas.entry(area.to_string()).or_default();
        entry.total += 1;
        *entry.lacking.entry(what).or_default() += 1;
        true
    }

    pub(crate) fn add(&mut self, area: &str, case: &str, outcome: Outcome) {
        let entry = self.areas.entry(area.to_string()).or_default();
        entry.total += 1;
        match outcome {
            Outcome::Passed => entry.passed += 1,
            Outcome::Failed(why) => entry.failures.push((case.to_string(), why)),
        }
    }

    /// Notes that a client was tried, or why it was not.
    pub(crate) fn tried(&mut self, client: &str, missing: Option<String>) {
        match missing {
            None => self.tried.push(client.to_string()),
            Some(why) => self.missing.push((client.to_string(), why)),
        }
    }

    /// The share of the cases that can pass here which did; gaps count as not passed.
    pub(crate) fn share(&self) -> f64 {
        let (passed, total) = self.totals();
        let total = total - self.lacking().values().sum::<usize>();
        if total == 0 { 0.0 } else { passed as f64 / total as f64 }
    }

    fn lacking(&self) -> BTreeMap<&'static str, usize> {
        let mut lacking = BTreeMap::new();
        for (what, count) in self.areas.values().flat_map(|area| &area.lacking) {
            *lacking.entry(*what).or_default() += count;
        }
        lacking
    }

    fn totals(&self) -> (usize, usize) {
        self.areas.values().fold((0, 0), |(passed, total), area| (passed + area.passed, total + area.total))
    }

    pub(crate) fn print(&self) {
        println!();
        for (name, area) in &self.areas {
            println!("{name:<18} {:>4} of {:>4}", area.passed, area.total);
        }
        let (passed, total) = self.totals();
        let lacking = self.lacking();
        let of = if lacking.is_empty() { "" } else { " of what can be tried here" };
        println!("{:<18} {passed:>4} of {total:>4}  ({:.1} %{of})", "all", self.share() * 100.0);
        for (what, count) in lacking {
            println!("not tried: {count} cases that need {what}, which this cluster lacks");
        }
        let tried = if self.tried.is_empty() { "none".to_string() } else { self.tried.join(", ") };
        println!("clients tried: {tried}");
        for (client, why) in &self.missing {
            println!("not tried: {client}: {why}");
        }
        for (name, area) in &self.areas {
            for (case, why) in &area.failures {
                let gap = gaps::of(name, case);
                let mark = gap.map_or("failed", |_| "gap");
                let reason = gap.unwrap_or(why);
                let reason = if self.verbose { why } else { reason.lines().next().unwrap_or("") };
                let shown: String = if self.verbose { reason.into() } else { reason.chars().take(220).collect() };
                println!("{mark}: {name}: {case}: {shown}");
            }
        }
    }
}
