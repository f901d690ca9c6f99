//! An explanation in words: one line for a log of decisions, a paragraph for someone who asks why.
//!
//! Only says what the data says; nothing is looked up, nothing printed.

use std::fmt::Write;

use super::{
    BoundKind, Course, Explanation, Held, LimitingPolicy, Measure, MetricExplanation, Proposed, RateLimit, Rule,
    Stabilization, Unready, Verdict, Without, Write as ScaleWrite,
};
use crate::quantity::{Format, Quantity};
use crate::replicas::ErrorClass;
use crate::spec::PERCENT_POLICY;
use crate::time::{NS_PER_S, Time};

/// Pod names that a paragraph spells out before it only counts.
const NAMES_MAX: usize = 5;

/// Pods that are not counted as they are, and why.
const LEFT_OUT: [(Verdict, &str); 6] = [
    (Verdict::Ignored, "ignored"),
    (Verdict::Unready(Unready::Pending), "pending"),
    (Verdict::Unready(Unready::Starting), "not ready and still starting"),
    (Verdict::Unready(Unready::MeasuredEarly), "not measured since ready"),
    (Verdict::Unready(Unready::NeverReady), "never ready since the start"),
    (Verdict::Missing, "without a sample"),
];

impl Explanation {
    /// `3 -> 6: cpu at 180% of 90% asks for 6`
    pub fn line(&self) -> String {
        let mut line = self.headline();
        line.push_str(": ");
        line.push_str(&self.cause());
        if let ScaleWrite::Failed(e) = &self.write {
            let _infallible = write!(line, "; writing the scale failed: {e}");
        }
        match (self.course, &self.error) {
            (Course::NoScale | Course::NotComputed, _) | (_, None) => {}
            (_, Some(e)) => line.push_str(&format!("; {e}")),
        }
        line
    }

    /// Several lines, each ending in a newline: what every metric asked for, then what became of it.
    pub fn paragraph(&self) -> String {
        let mut text = format!("{} (min {}, max {}).\n", self.headline(), self.min, self.max);
        if self.metrics.is_empty() || !matches!(self.course, Course::Computed | Course::NotComputed) {
            let _infallible = writeln!(text, "  Why: {}.", self.cause());
        }
        for (i, metric) in self.metrics.iter().enumerate() {
            text.push_str(&self.metric_lines(metric));
            if self.metrics.len() > 1 && self.winner == Some(i) {
                text.push_str("    Taken: no other metric asks for more.\n");
            }
        }
        if self.course == Course::NotComputed && self.metrics.iter().any(|m| m.outcome.is_ok()) {
            text.push_str("  While a metric fails, the others may raise the count and not lower it.\n");
        }
        self.stage_lines(&mut text);
        if let Some(without) = &self.without {
            text.push_str(&self.without_line(without));
        }
        if let (Course::Computed, Some(e)) = (self.course, &self.error) {
            let _infallible = writeln!(text, "  Error: {e}");
        }
        text
    }

    fn headline(&self) -> String {
        match self.current {
            None => "no decision".into(),
            Some(current) if current == self.applied => format!("stay at {current}"),
            Some(current) => format!("{current} -> {}", self.applied),
        }
    }

    fn cause(&self) -> String {
        match self.course {
            Course::NoScale | Course::NotComputed => self.failure(),
            Course::Disabled => "scaling is disabled while the target has 0 replicas".into(),
            Course::AboveMax => format!("above maxReplicas {}", self.max),
            Course::BelowMin => format!("below minReplicas {}", self.min),
            Course::Computed => {
                let mut clauses = vec![self.demand()];
                clauses.extend(self.stabilization.as_ref().map(|s| self.stabilization_clause(s)));
                clauses.extend(self.rate.as_ref().map(rate_clause));
                clauses.extend(self.bound.as_ref().map(|b| bound_clause(b.kind, b.to)));
                let failed = self.metrics.iter().filter(|m| m.outcome.is_err());
                clauses.extend(failed.map(|m| format!("{} could not be computed", m.label)));
                clauses.join("; ")
            }
        }
    }

    /// The innermost reason that is worth a line.
    fn failure(&self) -> String {
        let first = self.metrics.iter().find_map(|m| m.outcome.as_ref().err().map(|e| (m, e)));
        match (first, &self.error) {
            (Some((metric, e)), _) if self.course == Course::NotComputed => {
                let others = self.metrics.iter().any(|m| m.outcome.is_ok());
                let held = if others { "; until it answers, the others may not lower the count" } else { "" };
                format!("{}: {}{held}", metric.label, e.message)
            }
            (_, Some(e)) => e.clone(),
            (_, None) => "nothing could be computed".into(),
        }
    }

    /// What the winning metric asks for.
    fn demand(&self) -> String {
        let Some(metric) = self.winner.and_then(|i| self.metrics.get(i)) else {
            return "no metric asks for anything".into();
        };
        let Ok(proposed) = &metric.outcome else { return format!("{} failed", metric.label) };
        let (usage, target) = (metric.measure(proposed.usage), metric.measure(proposed.target));
        let mut level = format!("{} at {usage} of {target}", metric.label);
        if let (Some(adjusted), Some(filled_in)) = (proposed.adjusted_ratio, metric.filled_in(proposed)) {
            let _infallible = write!(level, ", ratio {adjusted:.2} with {filled_in},");
        }
        match proposed.rule {
            Rule::Tolerated => format!("{level} is within tolerance"),
            Rule::Scaled => format!("{level} asks for {}", proposed.replicas),
            Rule::Reversed => format!("{level} points the other way: waits for them"),
            Rule::Contradicted => format!("{level} contradicts what it comes to in pods: waits"),
        }
    }

    fn stabilization_clause(&self, s: &Stabilization) -> String {
        let window = duration(s.window_ns);
        let verb = match s.direction {
            Held::Up => "held up",
            Held::Down => "held down",
        };
        match s.since {
            Some(at) if at < self.at => {
                format!("{verb} to {} by the {window} window (asked for {} ago)", s.to, age(self.at, at))
            }
            _ => format!("{verb} at {} by the {window} window", s.to),
        }
    }

    fn metric_lines(&self, metric: &MetricExplanation) -> String {
        let mut text = String::new();
        match &metric.outcome {
            Err(e) => {
                let _infallible = writeln!(text, "  {}: failed: {}", metric.label, e.message);
                if e.class == ErrorClass::MissingContainerRequest {
                    text.push_str(
                        "    A utilization is a share of the request: every container needs one, side-cars too.\n",
                    );
                }
            }
            Ok(p) => {
                let (usage, target) = (metric.measure(p.usage), metric.measure(p.target));
                let behind = match p.usage {
                    Measure::Percent { average_milli: Some(milli), .. } => {
                        format!(" of request ({} per pod)", metric.amount(milli))
                    }
                    _ => String::new(),
                };
                let label = &metric.label;
                let _infallible =
                    writeln!(text, "  {label}: {usage}{behind} against a target of {target}: ratio {:.3}.", p.ratio);
                text.push_str(&proposal_line(p));
            }
        }
        text.push_str(&self.pods_line(metric));
        if let Some(at) = metric.sampled_at.filter(|at| self.at.0.saturating_sub(at.0) >= NS_PER_S) {
            let _infallible = writeln!(text, "    Sampled {} ago.", age(self.at, at));
        }
        text
    }

    fn pods_line(&self, metric: &MetricExplanation) -> String {
        if metric.verdicts.is_empty() {
            return String::new();
        }
        let mut parts = vec![format!("{} counted", metric.count(Verdict::Counted))];
        for (verdict, word) in LEFT_OUT {
            let names: Vec<&str> = self.pods_judged(metric, verdict).collect();
            if !names.is_empty() {
                parts.push(format!("{} {word} ({})", names.len(), list(&names)));
            }
        }
        format!("    Pods: {}.\n", parts.join(", "))
    }

    fn stage_lines(&self, text: &mut String) {
        let mut line = |stage: &str, clause: String| {
            let _infallible = writeln!(text, "  {stage}: {clause}.");
        };
        if let Some(s) = &self.stabilization {
            line("Stabilization", format!("{} becomes {}: {}", s.from, s.to, self.stabilization_clause(s)));
        }
        if let Some(rate) = &self.rate {
            line("Rate limit", format!("{} becomes {}: {}", rate.from, rate.to, rate_clause(rate)));
        }
        if let Some(bound) = &self.bound {
            line("Bounds", format!("{} becomes {}: {}", bound.from, bound.to, bound_clause(bound.kind, bound.to)));
        }
        if let ScaleWrite::Failed(e) = &self.write {
            line("Write", format!("failed, so the target stays as it is: {e}"));
        }
    }

    fn without_line(&self, without: &Without) -> String {
        let decided = self.bound.map(|b| b.to).or(self.rate.as_ref().map(|r| r.to));
        let decided = decided.or(self.stabilization.map(|s| s.to)).or(self.recommended);
        let stages = [
            ("tolerance", without.tolerance),
            ("stabilization", without.stabilization),
            ("rate limits", without.policies),
            ("bounds", without.bounds),
        ];
        let differ: Vec<String> = stages
            .into_iter()
            .filter(|(_, replicas)| Some(*replicas) != decided)
            .map(|(stage, replicas)| format!("{replicas} without {stage}"))
            .collect();
        if differ.is_empty() { String::new() } else { format!("  It would have been {}.\n", differ.join(", ")) }
    }
}

impl MetricExplanation {
    fn measure(&self, measure: Measure) -> String {
        match measure {
            Measure::Percent { percent, .. } => format!("{percent}%"),
            // No pods to divide by.
            Measure::AverageMilli(i64::MIN) => "undefined per pod".into(),
            Measure::AverageMilli(milli) => format!("{} per pod", self.amount(milli)),
            Measure::ValueMilli(milli) => self.amount(milli),
        }
    }

    /// What stands in for pods without a usable sample: idle ones against scaling up; against scaling down busy ones, but
    /// only for those that are ready.
    fn filled_in(&self, proposed: &Proposed) -> Option<String> {
        let unready = self.verdicts.iter().filter(|v| matches!(v, Verdict::Unready(_))).count();
        let missing = self.count(Verdict::Missing);
        let pods = |n: usize| if n == 1 { "1 pod".to_owned() } else { format!("{n} pods") };
        match (unready, missing) {
            _ if proposed.ratio < 1.0 => Some(format!("{} without a sample taken as busy", pods(missing))),
            _ if proposed.ratio == 1.0 => None,
            (0, _) => Some(format!("{} without a sample taken as idle", pods(missing))),
            (_, 0) => Some(format!("{} not ready taken as idle", pods(unready))),
            _ => Some(format!("{} not ready and {missing} without a sample taken as idle", pods(unready))),
        }
    }

    fn amount(&self, milli: i64) -> String {
        let binary = self.label == "memory" || self.label.ends_with("/memory");
        Quantity::from_milli(milli, if binary { Format::BinarySi } else { Format::DecimalSi }).to_string()
    }
}

fn proposal_line(p: &Proposed) -> String {
    let mut text = String::new();
    if let Some(adjusted) = p.adjusted_ratio.filter(|_| p.ratio != 1.0) {
        let _infallible = writeln!(text, "    Ratio {adjusted:.3} once pods without a usable sample are filled in.");
    }
    let (low, high) = (1.0 - p.tolerance_down, 1.0 + p.tolerance_up);
    let sentence = match (p.rule, p.multiplied_by) {
        (Rule::Tolerated, _) => format!("Within tolerance ({low:.3} to {high:.3}): stays at {}.", p.replicas),
        (Rule::Scaled, Some(count)) => {
            let ratio = p.adjusted_ratio.unwrap_or(p.ratio);
            format!("{ratio:.3} x {count} pod{}, rounded up: {}.", if count == 1 { "" } else { "s" }, p.replicas)
        }
        (Rule::Scaled, None) => format!("Rounded up: {}.", p.replicas),
        (Rule::Reversed, _) => format!("Filled in, it points the other way: stays at {}.", p.replicas),
        (Rule::Contradicted, _) => format!("The product contradicts its ratio: stays at {}.", p.replicas),
    };
    let _infallible = writeln!(text, "    {sentence}");
    text
}

fn rate_clause(rate: &RateLimit) -> String {
    let to = rate.to;
    match &rate.policy {
        LimitingPolicy::Legacy => format!("limited to {to} (at most double or 4 at a time)"),
        LimitingPolicy::Disabled => format!("limited to {to} (selectPolicy Disabled)"),
        LimitingPolicy::Policy { r#type, value, period_s, .. } => {
            let unit = match (r#type.as_str(), value) {
                (PERCENT_POLICY, _) => "%",
                (_, 1) => " pod",
                _ => " pods",
            };
            format!("limited to {to} (policy {value}{unit} per {})", duration(i64::from(*period_s) * NS_PER_S))
        }
    }
}

fn bound_clause(kind: BoundKind, to: i32) -> String {
    match kind {
        BoundKind::Min => format!("raised to minReplicas {to}"),
        BoundKind::Max => format!("capped at maxReplicas {to}"),
    }
}

fn list(names: &[&str]) -> String {
    let shown = names.iter().take(NAMES_MAX).copied().collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(NAMES_MAX) {
        Some(hidden) if hidden > 0 => format!("{shown} and {hidden} more"),
        _ => shown,
    }
}

fn age(now: Time, then: Time) -> String {
    duration(now.0.saturating_sub(then.0))
}

/// `45s`, `2m30s`, `1h0m0s`: whole seconds, as Go prints them.
fn duration(ns: i64) -> String {
    let s = ns / NS_PER_S;
    match s {
        ..60 => format!("{s}s"),
        60..3600 => format!("{}m{}s", s / 60, s % 60),
        _ => format!("{}h{}m{}s", s / 3600, s / 60 % 60, s % 60),
    }
}
