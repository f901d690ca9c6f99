//! What was expected, what was measured, and what follows: pass, fail, invalid or interrupted.
//!
//! INVALID stands above every figure: where the generator was the limit, neither a pass nor a failure is known.

use loadgen::scenario::{Expect, Replicas};
use loadgen::stream::ThresholdResult;
use loadgen::threshold::{Measured, Threshold};
use serde::Serialize;

use super::{Report, words};
use crate::problem::{EXIT_EXPECTATION, EXIT_INTERRUPTED, EXIT_INVALID};
use crate::run_dir::Recording;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Pass,
    Fail,
    /// The generator was the limit; the figures say nothing about the service.
    Invalid,
    Interrupted,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Expectation {
    pub name: String,
    pub expected: String,
    pub measured: String,
    pub passed: bool,
}

impl Verdict {
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Verdict::Pass => 0,
            Verdict::Fail => EXIT_EXPECTATION,
            Verdict::Invalid => EXIT_INVALID,
            Verdict::Interrupted => EXIT_INTERRUPTED,
        }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Verdict::Pass => "PASS",
            Verdict::Fail => "FAIL",
            Verdict::Invalid => "INVALID",
            Verdict::Interrupted => "INTERRUPTED",
        }
    }
}

pub(super) fn judge(recording: &Recording, report: &Report) -> Verdict {
    if recording.summary.as_ref().is_none_or(|summary| summary.interrupted) {
        return Verdict::Interrupted;
    }
    if report.generator.verdict != "VALID" {
        return Verdict::Invalid;
    }
    if report.expectations.iter().all(|expectation| expectation.passed) { Verdict::Pass } else { Verdict::Fail }
}

pub(super) fn expectations(recording: &Recording, report: &Report) -> Vec<Expectation> {
    let expect = &recording.plan.scenario.expect;
    let mut all = Vec::new();
    if report.cluster.is_some() {
        all.extend(of_cluster(expect, report));
    }
    all.extend(expect.slo.as_ref().and_then(|slo| of_slo(slo, recording, report)));
    all.extend(expect.lost_max.map(|most| {
        let lost = report.requests.lost;
        expectation("lost requests", format!("at most {most}"), lost.to_string(), lost <= most)
    }));
    let thresholds = recording.summary.iter().flat_map(|summary| &summary.thresholds);
    all.extend(thresholds.map(of_threshold));
    let counts = &report.requests.counts;
    if recording.summary.is_some() && !counts.add_up() {
        let sum = format!("{} = {} + {} + {}", counts.planned, counts.sent, counts.shed, counts.unsent);
        all.push(expectation("every request is accounted for", "planned = sent + shed + unsent".into(), sum, false));
    }
    all
}

fn of_cluster(expect: &Expect, report: &Report) -> Vec<Expectation> {
    let mut all = Vec::new();
    let replicas = report.replicas;
    if let Some(Replicas { min, max }) = expect.peak_replicas {
        let peak = u32::try_from(replicas.peak).unwrap_or(0);
        let passed = (min..=max).contains(&peak);
        all.push(expectation("peak replicas", format!("{min} to {max}"), peak.to_string(), passed));
    }
    if let Some(end) = expect.final_replicas {
        let passed = u32::try_from(replicas.end) == Ok(end);
        all.push(expectation("final replicas", end.to_string(), replicas.end.to_string(), passed));
    }
    let times = [
        ("first extra pod after", expect.scale_up_max, report.scale_up_s, words::first_extra_pod(report)),
        ("scaled down after", expect.scale_down_max, report.scale_down_s, words::scaled_down(report)),
    ];
    for (name, most, measured_s, measured) in times {
        let Some(most_s) = most.map(|most| most.as_secs_f64()) else { continue };
        let passed = measured_s.is_some_and(|seconds| seconds <= most_s);
        all.push(expectation(name, format!("at most {}", words::bound(most_s)), measured, passed));
    }
    if let Some(least) = expect.new_pod_share_min {
        let measured = report.newcomers_fair_share.map_or("no new pod".to_owned(), |share| format!("{share:.3}"));
        let passed = report.newcomers_fair_share.is_some_and(|share| share >= least);
        all.push(expectation("new pods' fair share", format!("at least {least}"), measured, passed));
    }
    if let Some(most) = expect.flaps_max {
        let passed = report.flaps <= most;
        all.push(expectation("flaps", format!("at most {most}"), report.flaps.to_string(), passed));
    }
    all
}

fn of_slo(slo: &Threshold, recording: &Recording, report: &Report) -> Option<Expectation> {
    let summary = recording.summary.as_ref()?;
    let response_us = loadgen::histogram::decode(&summary.response_us).ok()?;
    let service_us = loadgen::histogram::decode(&summary.service_us).ok()?;
    let measured = Measured {
        response_us: &response_us,
        service_us: &service_us,
        requests: &summary.requests,
        seconds: report.load_s,
        slo_violation_seconds: summary.slo_violation_seconds,
    };
    let value = slo.value(&measured);
    Some(expectation("SLO", slo.to_string(), spaced(&slo.show(value)), slo.holds(value)))
}

fn of_threshold(result: &ThresholdResult) -> Expectation {
    expectation("threshold", result.threshold.clone(), spaced(&result.shown), result.passed)
}

/// `51.07 ms` of `51.07ms`, as everything else that is measured.
fn spaced(shown: &str) -> String {
    let digits = shown.find(|c: char| c.is_ascii_alphabetic() || c == '%').unwrap_or(shown.len());
    let (number, unit) = shown.split_at(digits);
    format!("{number} {unit}").trim_end().to_owned()
}

fn expectation(name: &str, expected: String, measured: String, passed: bool) -> Expectation {
    Expectation { name: name.to_owned(), expected, measured, passed }
}
