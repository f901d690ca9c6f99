//! `loadgen capacity URL --slo ...`: the highest rate at which the SLO holds.
//!
//! Doubles the rate until a trial fails, then halves the distance between the highest good and the lowest bad rate. A
//! trial is an open loop, so a server that falls behind cannot slow down the question. It is good when the SLO holds over
//! it, at least 99 % of the planned requests were answered well, and sending them took hardly longer than planned: a
//! server that falls behind would break any SLO if the trial only were long enough. A trial whose figures are not valid
//! says nothing about the server, so it is repeated; where it stays so, the report says that the generator was the limit.

use anyhow::Result;
use serde::Serialize;

use crate::cli::flags::{CapacityFlags, RunFlags, SummaryForm};
use crate::cli::{Failure, job, say};
use crate::engine::{Job, is_stopping, run as run_engine, signal};
use crate::output::plot::time;
use crate::pattern::Pattern;
use crate::span::Span;
use crate::stream::{Summary, exit};
use crate::threshold::Threshold;

const TRIAL: Span = Span::from_secs(5);
const GOOD_SHARE: f64 = 0.99;
/// How much longer than planned a trial may send: a share of it, and what a busy machine may take to wake up.
const BEHIND_SHARE_MAX: f64 = 0.05;
const BEHIND_S_MAX: f64 = 0.1;
const TRIALS_MAX: usize = 60;
/// How often a trial is made whose figures are not valid.
const ATTEMPTS: usize = 3;

/// One trial at one rate.
#[derive(Debug, Serialize)]
struct Trial {
    rate_per_s: f64,
    good: bool,
    /// False when the generator could not keep its plan: then a trial that is not good says nothing about the server.
    valid: bool,
    p50_us: u64,
    p99_us: u64,
    good_per_s: f64,
    why: String,
}

pub(super) fn run(flags: &CapacityFlags) -> Result<u8, Failure> {
    let mut run_flags = flags.run.clone();
    if flags.run.slo.is_none() {
        return Err(Failure::Usage("capacity: say what must hold, such as --slo \"p99 < 100ms\"".to_owned()));
    }
    if flags.run.rate.is_some() || flags.run.pattern.is_some() || flags.run.concurrency.is_some() {
        return Err(Failure::Usage(
            "capacity: finds the rate itself; leave out --rate, --pattern, --concurrency".to_owned(),
        ));
    }
    if let Some(flag) = of_one_run(&flags.run) {
        return Err(Failure::Usage(format!("capacity: {flag} is for one run, and this makes many; leave it out")));
    }
    let in_order = 0.0 < flags.from && flags.from <= flags.to && (0.001..=1.0).contains(&flags.precision);
    if !in_order {
        return Err(Failure::Usage("capacity: needs 0 < --from <= --to and a --precision of 0.001 to 1".to_owned()));
    }
    run_flags.rate = Some(flags.from.to_string());
    run_flags.duration.get_or_insert_with(|| TRIAL.to_string());
    let mut job = job::job(&run_flags)?;
    job.load.thresholds.extend(job.load.slo.clone());
    signal::watch();
    let trials = search(&mut job, flags)?;
    report(&trials, flags)?;
    if is_stopping() {
        return Ok(exit::INTERRUPTED);
    }
    Ok(match (trials.iter().any(|trial| trial.good), limited_by(&trials)) {
        (true, _) => exit::PASS,
        (false, "generator") => exit::INVALID,
        (false, _) => exit::THRESHOLD_FAILED,
    })
}

/// A flag that shows or writes the figures of one run.
fn of_one_run(flags: &RunFlags) -> Option<&'static str> {
    let output = &flags.output;
    let given = [
        ("--metrics", flags.metrics.is_some()),
        ("--plan", flags.plan),
        ("--live", flags.live),
        ("--intervals", output.intervals),
        ("--csv", output.csv.is_some()),
        ("--hgrm", output.hgrm.is_some()),
        ("--prometheus", output.prometheus.is_some()),
        ("--html", output.html.is_some()),
        ("--start-at", flags.start_at.is_some()),
        ("--part", flags.part.is_some()),
    ];
    given.into_iter().find(|(_, is_given)| *is_given).map(|(flag, _)| flag)
}

fn search(job: &mut Job, flags: &CapacityFlags) -> Result<Vec<Trial>, Failure> {
    let mut trials = Vec::new();
    let (mut good, mut bad) = (0.0f64, f64::INFINITY);
    let mut rate = flags.from;
    while trials.len() < TRIALS_MAX && !is_stopping() {
        let trial = try_rate(job, rate)?;
        if flags.run.output.summary == SummaryForm::Text {
            show(&trial)?;
        }
        if trial.good {
            good = rate
        } else {
            bad = rate
        }
        trials.push(trial);
        if good >= flags.to || bad <= good * (1.0 + flags.precision) || bad < flags.from / 16.0 {
            break;
        }
        rate = match (good > 0.0, bad.is_finite()) {
            (true, true) => (good + bad) / 2.0,
            (_, false) => (rate * 2.0).min(flags.to),
            (false, true) => rate / 2.0,
        };
    }
    Ok(trials)
}

fn try_rate(job: &mut Job, rate: f64) -> Result<Trial, Failure> {
    let length = job.load.length().unwrap_or(TRIAL);
    job.load.pattern = Some(Pattern::constant(rate, length));
    let mut summary = run_engine(job, &mut |_| {})?;
    for _ in 1..ATTEMPTS {
        if summary.validity.reasons.is_empty() || is_stopping() {
            break;
        }
        summary = run_engine(job, &mut |_| {})?;
    }
    let why = why_bad(&summary, job.load.slo.as_ref(), length);
    Ok(Trial {
        valid: summary.validity.reasons.is_empty(),
        rate_per_s: (rate * 10.0).round() / 10.0,
        good: why.is_empty(),
        p50_us: summary.latency_us.p50,
        p99_us: summary.latency_us.p99,
        good_per_s: (summary.rate_per_s * 10.0).round() / 10.0,
        why,
    })
}

/// Why a trial is not good; nothing when it is.
fn why_bad(summary: &Summary, slo: Option<&Threshold>, planned: Span) -> String {
    if summary.interrupted {
        return "interrupted".to_owned();
    }
    if let Some(reason) = summary.validity.reasons.first() {
        return reason.clone();
    }
    let slo = slo.map(|slo| slo.to_string()).unwrap_or_default();
    if let Some(failed) = summary.thresholds.iter().find(|result| !result.passed && result.threshold == slo) {
        return format!("{} was {}", failed.threshold, failed.shown);
    }
    let requests = &summary.requests;
    if (requests.ok as f64) < GOOD_SHARE * requests.planned as f64 {
        return format!("{} of {} requests answered well", requests.ok, requests.planned);
    }
    let planned_s = planned.as_secs_f64();
    match summary.sending_s > planned_s * (1.0 + BEHIND_SHARE_MAX) + BEHIND_S_MAX {
        true => format!("fell behind: {planned_s:.1} s of load took {:.1} s", summary.sending_s),
        false => String::new(),
    }
}

fn show(trial: &Trial) -> Result<()> {
    say::out(&format!(
        "{:>10.1}/s  {}  p50 {:>9}  p99 {:>9}  good {:>10.1}/s  {}\n",
        trial.rate_per_s,
        match (trial.good, trial.valid) {
            (true, _) => "holds  ",
            (false, true) => "fails  ",
            (false, false) => "invalid",
        },
        time(trial.p50_us as f64),
        time(trial.p99_us as f64),
        trial.good_per_s,
        trial.why
    ))
}

fn report(trials: &[Trial], flags: &CapacityFlags) -> Result<()> {
    let best = trials.iter().filter(|trial| trial.good).map(|trial| trial.rate_per_s).fold(0.0, f64::max);
    let slo = flags.run.slo.as_deref().unwrap_or_default();
    let limit = limited_by(trials);
    if flags.run.output.summary == SummaryForm::Json {
        let json = serde_json::json!({
            "version": 1, "slo": slo, "capacity_per_s": best, "limited_by": limit, "trials": trials
        });
        return say::raw(&format!("{json}\n"));
    }
    match best > 0.0 {
        true => say::out(&format!("\nhighest rate at which {slo} holds: {best:.1}/s\n"))?,
        false => say::out(&format!("\n{slo} does not hold at any rate that was tried\n"))?,
    }
    match limit {
        "generator" => {
            say::out("the generator was the limit, not the server: give it more --shards or a machine of its own\n")
        }
        _ => Ok(()),
    }
}

/// What the lowest rate that was not good failed on: `server`, `generator`, or `range` when every trial was good.
fn limited_by(trials: &[Trial]) -> &'static str {
    let lowest = trials.iter().filter(|trial| !trial.good).min_by(|a, b| a.rate_per_s.total_cmp(&b.rate_per_s));
    match lowest {
        Some(trial) if trial.valid => "server",
        Some(_) => "generator",
        None => "range",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(rate_per_s: f64, good: bool, valid: bool) -> Trial {
        Trial { rate_per_s, good, valid, p50_us: 1, p99_us: 1, good_per_s: rate_per_s, why: String::new() }
    }

    #[test]
    fn a_server_that_falls_behind_does_not_hold_the_rate_however_wide_the_slo() {
        let requests = crate::stream::Requests { planned: 100, sent: 100, ok: 100, ..Default::default() };
        let why = |sending_s: f64| {
            let summary = Summary { requests: requests.clone(), sending_s, ..Summary::default() };
            why_bad(&summary, None, Span::from_secs(2))
        };
        assert_eq!(why(2.05), "");
        assert_eq!(why(2.4), "fell behind: 2.0 s of load took 2.4 s");
    }

    #[test]
    fn the_lowest_rate_that_fails_tells_whose_limit_it_was() {
        assert_eq!(limited_by(&[trial(50.0, true, true)]), "range");
        assert_eq!(limited_by(&[trial(50.0, true, true), trial(100.0, false, true)]), "server");
        let late = [trial(50.0, true, true), trial(100.0, false, true), trial(75.0, false, false)];
        assert_eq!(limited_by(&late), "generator");
    }
}
