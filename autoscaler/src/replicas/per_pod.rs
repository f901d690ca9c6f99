//! Proposals of metrics that every pod has: utilisation and averages.
//!
//! Samples of ready pods make the first ratio, which is also what the status reports. Pods that were not measured, or
//! are not ready, are filled in for a second one that may only dampen the first, never turn it round.

use super::{Calculator, ErrorClass, Goal, MetricError, Proposal, Tolerance};
use crate::explain::{Measure, Rule, Verdict};
use crate::number::{ceil_to_i32, divide};
use crate::pod::Pod;
use crate::requests;
use crate::sample::{JoinedSamples, Measured};

pub(super) struct PerPod<'a> {
    pub(super) calculator: &'a Calculator<'a>,
    pub(super) pods: &'a [&'a Pod],
    pub(super) samples: &'a JoinedSamples,
    pub(super) verdicts: &'a [Verdict],
    pub(super) measured: Measured<'a>,
    pub(super) goal: Goal,
}

/// Running totals of the samples that count.
#[derive(Clone, Copy, Default)]
struct Totals {
    /// Samples in the ratio.
    usage: i64,
    request: i64,
    in_ratio: i64,
    /// All samples, strangers' included even where they are not in the ratio.
    all: usize,
}

impl PerPod<'_> {
    pub(super) fn propose(&self) -> Result<Proposal, MetricError> {
        let count = |is: fn(&Verdict) -> bool| self.verdicts.iter().filter(|v| is(v)).count();
        let (ready, unready, missing) = (count(is_counted), count(is_unready), count(is_missing));
        if ready + self.samples.strangers.len() == 0 {
            let message = "did not receive metrics for targeted pods (pods might be unready)";
            return Err(MetricError::new(ErrorClass::NoUsablePodMetrics, message));
        }
        let requests = self.requests()?;
        let totals = self.totals(&requests);
        let (ratio, usage) = self.ratio(totals)?;
        let upward_with_unready = unready > 0 && ratio > 1.0;
        let finish = |tolerance| {
            if !upward_with_unready && missing == 0 {
                return Ok(self.plain(ratio, ready, tolerance));
            }
            let mut filled = totals;
            if missing > 0 && ratio < 1.0 {
                self.fill_missing_at_target(&mut filled, &requests);
            } else if missing > 0 && ratio > 1.0 {
                self.fill_with_zero(&mut filled, &requests, is_missing);
            }
            if upward_with_unready {
                self.fill_with_zero(&mut filled, &requests, is_unready);
            }
            Ok(self.adjusted(ratio, self.ratio(filled)?.0, filled.all, tolerance))
        };
        let chosen: Chosen = finish(self.calculator.tolerance)?;
        let without_tolerance = if chosen.rule == Rule::Tolerated { finish(Tolerance::ZERO)? } else { chosen };
        Ok(Proposal {
            replicas: chosen.replicas,
            usage,
            target: self.goal.measure(),
            ratio,
            adjusted_ratio: chosen.adjusted_ratio,
            multiplied_by: Some(chosen.count),
            rule: chosen.rule,
            without_tolerance: without_tolerance.replicas,
        })
    }

    /// Per pod of the list; empty where the target is not a utilisation.
    fn requests(&self) -> Result<Vec<i64>, MetricError> {
        match self.goal {
            Goal::AverageMilli(_) => Ok(Vec::new()),
            Goal::UtilizationPercent(_) => {
                let gate = self.calculator.config.gates.pod_level_resources;
                self.pods.iter().map(|p| requests::of(p, self.measured, gate)).collect()
            }
        }
    }

    fn totals(&self, requests: &[i64]) -> Totals {
        let mut totals = Totals { all: self.samples.strangers.len(), ..Totals::default() };
        if let Goal::AverageMilli(_) = self.goal {
            totals.usage = self.samples.strangers.iter().fold(0, |sum, v| i64::wrapping_add(sum, *v));
            totals.in_ratio = totals.all as i64;
        }
        for (i, verdict) in self.verdicts.iter().enumerate() {
            if let (Verdict::Counted, Some(sample)) = (verdict, &self.samples.by_pod[i]) {
                totals.add(sample.value_milli, requests.get(i));
            }
        }
        totals
    }

    /// Pods that were not measured are taken to use what they should, or all of their request if that is more.
    fn fill_missing_at_target(&self, totals: &mut Totals, requests: &[i64]) {
        for (i, _) in self.verdicts.iter().enumerate().filter(|(_, v)| is_missing(v)) {
            let value = match self.goal {
                Goal::UtilizationPercent(percent) => {
                    let request = requests.get(i).copied().unwrap_or_default();
                    divide(request.wrapping_mul(i64::from(percent.max(100))), 100)
                }
                Goal::AverageMilli(target) => target,
            };
            totals.add(value, requests.get(i));
        }
    }

    fn fill_with_zero(&self, totals: &mut Totals, requests: &[i64], is_filled: fn(&Verdict) -> bool) {
        for (i, _) in self.verdicts.iter().enumerate().filter(|(_, v)| is_filled(v)) {
            totals.add(0, requests.get(i));
        }
    }

    fn ratio(&self, totals: Totals) -> Result<(f64, Measure), MetricError> {
        match self.goal {
            Goal::AverageMilli(target) => {
                let average = divide(totals.usage, totals.in_ratio);
                Ok((average as f64 / target as f64, Measure::AverageMilli(average)))
            }
            Goal::UtilizationPercent(_) if totals.request == 0 => {
                let message = "no metrics returned matched known pods";
                Err(MetricError::new(ErrorClass::ZeroTotalRequest, message))
            }
            Goal::UtilizationPercent(target) => {
                let percent = divide(totals.usage.wrapping_mul(100), totals.request) as i32;
                let average_milli = Some(divide(totals.usage, totals.in_ratio));
                Ok((f64::from(percent) / f64::from(target), Measure::Percent { percent, average_milli }))
            }
        }
    }

    /// All pods are ready and measured.
    fn plain(&self, ratio: f64, ready: usize, tolerance: Tolerance) -> Chosen {
        if tolerance.covers(ratio) {
            return self.stay(Rule::Tolerated, ready, None);
        }
        Chosen { replicas: ceil_to_i32(ratio * ready as f64), rule: Rule::Scaled, count: ready, adjusted_ratio: None }
    }

    /// Some were filled in: never further than, and never against, what was measured.
    fn adjusted(&self, ratio: f64, adjusted: f64, count: usize, tolerance: Tolerance) -> Chosen {
        if tolerance.covers(adjusted) {
            return self.stay(Rule::Tolerated, count, Some(adjusted));
        }
        if (ratio < 1.0 && adjusted > 1.0) || (ratio > 1.0 && adjusted < 1.0) {
            return self.stay(Rule::Reversed, count, Some(adjusted));
        }
        let replicas = ceil_to_i32(adjusted * count as f64);
        let current = self.calculator.current;
        if (adjusted < 1.0 && replicas > current) || (adjusted > 1.0 && replicas < current) {
            return self.stay(Rule::Contradicted, count, Some(adjusted));
        }
        Chosen { replicas, rule: Rule::Scaled, count, adjusted_ratio: Some(adjusted) }
    }

    fn stay(&self, rule: Rule, count: usize, adjusted_ratio: Option<f64>) -> Chosen {
        Chosen { replicas: self.calculator.current, rule, count, adjusted_ratio }
    }
}

fn is_counted(verdict: &Verdict) -> bool {
    *verdict == Verdict::Counted
}

fn is_unready(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Unready(_))
}

fn is_missing(verdict: &Verdict) -> bool {
    *verdict == Verdict::Missing
}

#[derive(Clone, Copy)]
struct Chosen {
    replicas: i32,
    rule: Rule,
    count: usize,
    adjusted_ratio: Option<f64>,
}

impl Totals {
    fn add(&mut self, value: i64, request: Option<&i64>) {
        self.usage = self.usage.wrapping_add(value);
        self.request = self.request.wrapping_add(request.copied().unwrap_or_default());
        self.in_ratio += 1;
        self.all += 1;
    }
}
