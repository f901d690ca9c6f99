//! N of M by area: what passed, what failed and why, and the gaps that are known by name.

use std::collections::BTreeMap;

use super::gaps;

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
    failures: Vec<(String, String)>,
}

pub(crate) struct Score {
    areas: BTreeMap<String, Area>,
    tried: Vec<String>,
    missing: Vec<(String, String)>,
    verbose: bool,
}

impl Score {
    pub(crate) fn new(verbose: bool) -> Score {
        Score { areas: BTreeMap::new(), tried: Vec::new(), missing: Vec::new(), verbose }
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

    /// The share of all cases that passed; gaps count as not passed.
    pub(crate) fn share(&self) -> f64 {
        let (passed, total) = self.totals();
        if total == 0 { 0.0 } else { passed as f64 / total as f64 }
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
        println!("{:<18} {passed:>4} of {total:>4}  ({:.1} %)", "all", self.share() * 100.0);
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
