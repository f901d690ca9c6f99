//! A report: figures, expectations and a verdict, as a function of a run directory and of nothing else.
//!
//! No clock, no cluster, no environment: the same directory gives the same bytes. `text.rs` shows it on a terminal,
//! `html.rs` as one self-contained page, `junit.rs` to a CI server.

mod html;
mod junit;
mod newcomers;
mod series;
mod story;
mod text;
mod verdict;
mod words;

use std::collections::BTreeMap;

use anyhow::Result;
use loadgen::histogram::{self, Percentiles};
use loadgen::stream::{PodSummary, Requests};
use serde::Serialize;

use crate::observation::Observation;
use crate::problem;
use crate::run_dir::{ClusterFacts, Recording};

pub(crate) use self::html::html;
pub(crate) use self::junit::junit;
pub(crate) use self::newcomers::Newcomer;
pub(crate) use self::series::Point;
pub(crate) use self::story::story;
pub(crate) use self::text::text;
pub(crate) use self::verdict::{Expectation, Verdict};

pub(crate) const VERSION: u32 = 1;

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub version: u32,
    pub run: String,
    pub scenario: String,
    pub description: String,
    pub verdict: Verdict,
    pub expectations: Vec<Expectation>,
    pub cluster: Option<ClusterFacts>,
    pub url: String,
    pub started: String,
    pub command: String,
    pub load_s: f64,
    /// From before the load to the last that was recorded.
    pub took_s: f64,
    pub replicas: Replicas,
    /// From the start of the load to the first additional pod that is Ready.
    pub scale_up_s: Option<f64>,
    /// From the start of the load to the most pods that were Ready.
    pub peak_s: Option<f64>,
    /// From the end of the load to the last replica count; 0 where the pods had gone by then.
    pub scale_down_s: Option<f64>,
    /// Whether the way down was watched for: else it is not known.
    pub scale_down_awaited: bool,
    /// Changes of direction beyond up once and down once.
    pub flaps: u32,
    pub cpu_peak_percent: Option<i32>,
    pub requests: Figures,
    pub rate_per_s: f64,
    pub latency_us: Percentiles,
    pub service_latency_us: Percentiles,
    pub pods: BTreeMap<String, PodSummary>,
    /// Pods that became Ready during the load, and what they got of it; together 1 is fair.
    pub newcomers: Vec<Newcomer>,
    pub newcomers_fair_share: Option<f64>,
    pub generator: Generator,
    pub changes: Vec<Change>,
    pub warnings: Vec<Warning>,
    pub series: Vec<Point>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Replicas {
    pub start: i32,
    pub peak: i32,
    pub end: i32,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Figures {
    #[serde(flatten)]
    pub counts: Requests,
    pub lost: u64,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Generator {
    pub verdict: String,
    pub reasons: Vec<String>,
    pub pacing_error_us: Percentiles,
    pub cpu_s: f64,
    pub shards: u32,
    pub seed: u64,
}

/// One move of the replica count, and what the autoscaler saw when it made it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Change {
    pub t_s: f64,
    pub from: i32,
    pub to: i32,
    pub usage_percent: Option<i32>,
    pub target_percent: Option<i32>,
    /// In the autoscaler's own words, where another metric than the CPU asked for the change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// Whether usage is what the autoscaler saw at that moment, rather than the last that was known.
    #[serde(skip)]
    explained: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Warning {
    pub t_s: f64,
    pub reason: String,
    pub message: String,
    pub object: String,
}

impl Report {
    pub(crate) fn of(recording: &Recording) -> Result<Report> {
        let facts = LoadFacts::of(recording)?;
        let track = Track::of(recording, facts.start_ms, facts.end_ms);
        let newcomers = newcomers::of(recording, facts.start_ms, facts.end_ms);
        let mut report = Report {
            version: VERSION,
            run: recording.id.clone(),
            scenario: recording.plan.scenario.name.clone(),
            description: recording.plan.scenario.description.clone(),
            verdict: Verdict::Pass,
            expectations: Vec::new(),
            cluster: recording.plan.cluster.clone(),
            url: recording.plan.url.clone(),
            started: timestamp(facts.start_ms),
            command: recording.plan.command.clone(),
            load_s: (facts.end_ms - facts.start_ms) as f64 / 1e3,
            took_s: took_s(recording, facts.end_ms),
            replicas: track.replicas,
            scale_up_s: track.scale_up_s,
            peak_s: track.peak_s,
            scale_down_s: track.scale_down_s,
            scale_down_awaited: recording.plan.scenario.expect.final_replicas.is_some()
                || recording.plan.scenario.expect.scale_down_max.is_some(),
            flaps: track.flaps(),
            cpu_peak_percent: track.cpu_peak_percent,
            rate_per_s: facts.rate_per_s,
            latency_us: facts.latency_us,
            service_latency_us: facts.service_latency_us,
            pods: facts.pods,
            newcomers_fair_share: newcomers::fair_share(&newcomers),
            newcomers,
            generator: facts.generator,
            changes: track.changes,
            warnings: track.warnings,
            series: series::of(recording, facts.start_ms),
            requests: Figures { lost: facts.requests.lost(), counts: facts.requests },
        };
        report.expectations = verdict::expectations(recording, &report);
        report.verdict = verdict::judge(recording, &report);
        Ok(report)
    }

    pub(crate) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

/// What the generator says: its summary, or where it was killed, the sum of its intervals.
struct LoadFacts {
    start_ms: i64,
    end_ms: i64,
    requests: Requests,
    rate_per_s: f64,
    latency_us: Percentiles,
    service_latency_us: Percentiles,
    pods: BTreeMap<String, PodSummary>,
    generator: Generator,
}

impl LoadFacts {
    fn of(recording: &Recording) -> Result<LoadFacts> {
        let Some(load_plan) = &recording.load_plan else {
            return Err(problem::run_incomplete(std::path::Path::new(&recording.id), "load").into());
        };
        let start_ms = unix_ms(load_plan.t_start_unix_ns);
        let mut end_ms = start_ms + (load_plan.duration_s * 1e3) as i64;
        let Some(summary) = &recording.summary else {
            return LoadFacts::from_intervals(recording, start_ms);
        };
        if summary.interrupted {
            end_ms = end_ms.min(start_ms + (summary.duration_s * 1e3) as i64);
        }
        Ok(LoadFacts {
            start_ms,
            end_ms,
            requests: summary.requests.clone(),
            rate_per_s: summary.rate_per_s,
            latency_us: summary.latency_us,
            service_latency_us: summary.service_latency_us,
            pods: summary.pods.clone(),
            generator: Generator {
                verdict: summary.validity.verdict.clone(),
                reasons: summary.validity.reasons.clone(),
                pacing_error_us: summary.pacing_error_us,
                cpu_s: summary.generator.cpu_s,
                shards: summary.generator.shards,
                seed: summary.generator.seed,
            },
        })
    }

    fn from_intervals(recording: &Recording, start_ms: i64) -> Result<LoadFacts> {
        let mut requests = Requests::default();
        let [mut response, mut service, mut pacing] = std::array::from_fn(|_| histogram::latency_histogram());
        for interval in &recording.intervals {
            requests.add(&interval.requests);
            let texts = [&interval.response_us, &interval.service_us, &interval.pacing_us];
            for (sum, text) in [&mut response, &mut service, &mut pacing].into_iter().zip(texts) {
                let part = histogram::decode(text).map_err(anyhow::Error::msg)?;
                sum.add(part).map_err(|error| anyhow::anyhow!("{error:?}"))?;
            }
        }
        // What is in flight is a state, not a sum.
        requests.in_flight = recording.intervals.last().map_or(0, |interval| interval.requests.in_flight);
        let seconds = recording.intervals.len().max(1) as f64;
        Ok(LoadFacts {
            start_ms,
            end_ms: start_ms + (recording.intervals.len() as i64) * 1000,
            rate_per_s: requests.ok as f64 / seconds,
            requests,
            latency_us: Percentiles::of(&response),
            service_latency_us: Percentiles::of(&service),
            pods: BTreeMap::new(),
            generator: Generator {
                verdict: "UNKNOWN".to_owned(),
                reasons: vec!["the generator ended without a summary".to_owned()],
                pacing_error_us: Percentiles::of(&pacing),
                cpu_s: 0.0,
                shards: 0,
                seed: recording.plan.scenario.load.seed,
            },
        })
    }
}

/// What the cluster did, read off the timeline.
#[derive(Default)]
struct Track {
    replicas: Replicas,
    scale_up_s: Option<f64>,
    peak_s: Option<f64>,
    scale_down_s: Option<f64>,
    cpu_peak_percent: Option<i32>,
    changes: Vec<Change>,
    /// The count and the cause of a change that is not seen yet.
    announced: Option<(i32, String)>,
    warnings: Vec<Warning>,
}

/// The event by which an autoscaler tells a change and its reason.
const RESCALED: &str = "SuccessfulRescale";

impl Track {
    fn of(recording: &Recording, start_ms: i64, end_ms: i64) -> Track {
        let mut track = Track::default();
        let mut last: Option<i32> = None;
        let mut ready_at_start = 0;
        let mut peak_ready = 0;
        let (mut usage, mut target) = (None, None);
        for entry in &recording.timeline {
            let t_s = (entry.t_unix_ms - start_ms) as f64 / 1e3;
            match &entry.seen {
                Observation::Autoscaler { usage_percent, target_percent, .. } => {
                    (usage, target) = (*usage_percent, *target_percent);
                    track.explain_last_change(t_s, usage, target);
                    track.cpu_peak_percent = track.cpu_peak_percent.max(usage);
                }
                Observation::Deployment { replicas, ready, .. } => {
                    if t_s <= 0.0 || last.is_none() {
                        (ready_at_start, peak_ready) = (*ready, *ready);
                        track.replicas = Replicas { start: *replicas, peak: *replicas, end: *replicas };
                    }
                    if let Some(from) = last.filter(|from| from != replicas) {
                        let change = Change {
                            t_s,
                            from,
                            to: *replicas,
                            usage_percent: usage,
                            target_percent: target,
                            because: track.announced.take().filter(|(to, _)| to == replicas).map(|(_, cause)| cause),
                            explained: false,
                        };
                        track.changes.push(change);
                        track.scale_down_s = Some((entry.t_unix_ms - end_ms) as f64 / 1e3);
                    }
                    if *ready > ready_at_start && track.scale_up_s.is_none() {
                        track.scale_up_s = Some(t_s);
                    }
                    if *ready > peak_ready {
                        (peak_ready, track.peak_s) = (*ready, Some(t_s));
                    }
                    track.replicas.peak = track.replicas.peak.max(*replicas);
                    track.replicas.end = *replicas;
                    last = Some(*replicas);
                }
                Observation::Event { warning: true, reason, message, object, .. } => {
                    let (reason, message, object) = (reason.clone(), message.clone(), object.clone());
                    track.warnings.push(Warning { t_s, reason, message, object });
                }
                Observation::Event { reason, message, .. } if reason == RESCALED => track.note_cause(message),
                _ => {}
            }
        }
        let came_down = track.replicas.peak > track.replicas.start && track.replicas.end < track.replicas.peak;
        let went_last = track.changes.last().is_some_and(|change| change.to < change.from);
        // Those that went while the load was dying away already kept nobody waiting after it.
        track.scale_down_s = track.scale_down_s.filter(|_| came_down && went_last).map(|seconds| seconds.max(0.0));
        track
    }

    /// The controller writes the scale first and then the status with what it saw: that is the cause of the change.
    fn explain_last_change(&mut self, t_s: f64, usage: Option<i32>, target: Option<i32>) {
        if let Some(change) = self.changes.last_mut().filter(|change| !change.explained && t_s - change.t_s < 1.0) {
            (change.usage_percent, change.target_percent, change.explained) = (usage, target, true);
        }
    }

    /// The event comes shortly before or after the change itself is seen.
    fn note_cause(&mut self, message: &str) {
        let Some((to, cause)) = cause(message) else { return };
        match self.changes.last_mut().filter(|change| change.to == to && change.because.is_none()) {
            Some(change) => change.because = Some(cause),
            None => self.announced = Some((to, cause)),
        }
    }

    fn flaps(&self) -> u32 {
        let mut directions: Vec<bool> = self.changes.iter().map(|change| change.to > change.from).collect();
        directions.dedup();
        u32::try_from(directions.len().saturating_sub(2)).unwrap_or(u32::MAX)
    }
}

/// The count and the metric of `New size: 3; reason: ... above target`; none where that is the CPU, which is shown anyway.
fn cause(message: &str) -> Option<(i32, String)> {
    let (to, cause) = message.strip_prefix("New size: ")?.split_once("; reason: ")?;
    let is_news = cause.ends_with(" above target") && !cause.starts_with("cpu ");
    Some((to.parse().ok()?, cause.to_owned())).filter(|_| is_news)
}

fn took_s(recording: &Recording, load_end_ms: i64) -> f64 {
    let last_ms = recording.timeline.last().map_or(load_end_ms, |entry| entry.t_unix_ms.max(load_end_ms));
    (last_ms - recording.plan.started_unix_ms).max(0) as f64 / 1e3
}

fn unix_ms(unix_ns: u64) -> i64 {
    i64::try_from(unix_ns / 1_000_000).unwrap_or(i64::MAX)
}

fn timestamp(unix_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(unix_ms).map_or_else(|_| "?".to_owned(), |time| format!("{time:.0}"))
}

#[cfg(test)]
mod tests;
