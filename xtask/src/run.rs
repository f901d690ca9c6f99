//! A run: load on one side, a watching recorder on the other, both into one run directory.
//!
//! Sequence: the generator runs to its end; then, where the scenario expects the pods to go again, the recorder watches on
//! until they have gone. Ctrl-C ends either phase, and what was recorded is still a run.

use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::{Stream, StreamExt};
use loadgen::scenario::Expect;
use loadgen::stream::{Record, exit};
use tokio::time::Instant;

use crate::generator::Sender;
use crate::live::Live;
use crate::observation::{Entry, Observation};
use crate::problem;
use crate::run_dir::{Lines, RunDir};
use crate::scene::Scene;
use crate::session::Pace;
use crate::terminal::Terminal;

pub(crate) type Observations = Pin<Box<dyn Stream<Item = Observation>>>;

/// How long after the load the way back is watched for, when the scenario does not say.
const SETTLE_REAL: Duration = Duration::from_secs(480);
const SETTLE_FAST: Duration = Duration::from_secs(90);
/// Beyond what the scenario bears, so that a late scale-down is measured and not only missed.
const SETTLE_MARGIN: Duration = Duration::from_secs(20);

pub(crate) struct Recorder<'t> {
    pub terminal: &'t Terminal,
    pub dir: RunDir,
    pub observations: Observations,
    /// The replica count to wait for after the load, and for how long.
    pub settle: Option<(i32, Duration)>,
}

struct Recording<'t> {
    intervals: Lines,
    timeline: Lines,
    scene: Scene,
    live: Live<'t>,
    dir: RunDir,
    summarised: bool,
}

impl Recorder<'_> {
    pub(crate) async fn run(mut self, generator: &mut Sender) -> Result<()> {
        let mut recording = Recording {
            intervals: self.dir.append_intervals()?,
            timeline: self.dir.append_timeline()?,
            scene: Scene::default(),
            live: Live::new(self.terminal),
            dir: self.dir.clone(),
            summarised: false,
        };
        let mut interrupted = Interrupts::listen()?;
        let started = Instant::now();
        let mut asked_to_end = false;
        loop {
            tokio::select! {
                line = generator.next_line() => match line? {
                    Some(line) => recording.line(&line)?,
                    None => break,
                },
                Some(seen) = self.observations.next() => recording.see(self.terminal, seen)?,
                () = interrupted.next() => {
                    generator.interrupt().await;
                    self.terminal.warn("interrupted: waiting for the generator's summary");
                    asked_to_end = true;
                }
            }
        }
        let code = generator.wait().await?;
        if !recording.summarised && asked_to_end {
            return Err(problem::interrupted().into());
        }
        if !recording.summarised {
            return Err(problem::loadgen_failed(code, &generator.complaints()).into());
        }
        if asked_to_end || code == Some(i32::from(exit::INTERRUPTED)) {
            return Ok(());
        }
        let Some((replicas, limit)) = self.settle else { return Ok(()) };
        let deadline = Instant::now() + limit;
        let mut second = tokio::time::interval(Duration::from_secs(1));
        while recording.scene.replicas != replicas || !recording.scene.has_settled() {
            tokio::select! {
                Some(seen) = self.observations.next() => recording.see(self.terminal, seen)?,
                _ = second.tick() => {
                    let t_s = started.elapsed().as_secs();
                    recording.live.settling(i64::try_from(t_s).unwrap_or(i64::MAX), &recording.scene);
                }
                () = tokio::time::sleep_until(deadline) => {
                    let state = recording.scene.line();
                    self.terminal.warn(&format!("not back at {replicas} after {} s: {state}", limit.as_secs()));
                    return Ok(());
                }
                () = interrupted.next() => return Ok(()),
            }
        }
        Ok(())
    }
}

impl Recording<'_> {
    fn line(&mut self, line: &str) -> Result<()> {
        let record: Record = serde_json::from_str(line).with_context(|| problem::stream_broken(line))?;
        match record {
            Record::Summary(summary) => {
                self.summarised = true;
                self.dir.write_summary(&summary)
            }
            Record::Interval(interval) => {
                self.live.interval(&interval, &self.scene);
                self.intervals.push(line)
            }
            Record::Plan(_) => self.intervals.push(line),
        }
    }

    fn see(&mut self, terminal: &Terminal, seen: Observation) -> Result<()> {
        self.scene.see(&seen);
        match &seen {
            Observation::Event { warning: true, reason, message, object, .. } => {
                terminal.detail(&format!("          {object} {reason}: {message}"));
            }
            Observation::Interrupted { what, why } => terminal.detail(&format!("          watch of {what}: {why}")),
            _ => {}
        }
        self.timeline.push_entry(&Entry::now(seen))
    }
}

/// What a scenario wants seen after its load.
pub(crate) fn settle(expect: &Expect, min_replicas: i32, pace: Pace) -> Option<(i32, Duration)> {
    if expect.final_replicas.is_none() && expect.scale_down_max.is_none() {
        return None;
    }
    let replicas = expect.final_replicas.and_then(|n| i32::try_from(n).ok()).unwrap_or(min_replicas);
    let default = if pace == Pace::Fast { SETTLE_FAST } else { SETTLE_REAL };
    Some((replicas, expect.scale_down_max.map_or(default, |span| span.as_duration() + SETTLE_MARGIN)))
}

/// Ctrl-C and SIGTERM: both ask for an orderly end.
struct Interrupts {
    int: tokio::signal::unix::Signal,
    term: tokio::signal::unix::Signal,
}

impl Interrupts {
    fn listen() -> Result<Interrupts> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Interrupts { int: signal(SignalKind::interrupt())?, term: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.int.recv() => {}
            _ = self.term.recv() => {}
        }
    }
}
