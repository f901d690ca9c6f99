//! The engine: runs a load and reports it second by second.
//!
//! One event loop per shard, started by rayon, and one reporter that merges what the shards hand over each second. The
//! shards share nothing while they run but a flag that stops them.

pub mod clock;
pub mod layered;
pub mod ledger;
pub mod limits;
pub mod mix;
pub mod poll;
pub mod reporter;
pub mod response;
pub mod schedule;
pub mod shard;
pub mod signal;
pub mod slot;
pub mod tally;
pub mod target;
pub mod wire;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use anyhow::{Context, Result, anyhow, bail};
use hdrhistogram::Histogram;
use rustls::ClientConfig;

use crate::curve::Curve;
use crate::engine::ledger::FirstErrors;
use crate::engine::mix::Mix;
use crate::engine::reporter::Reporter;
use crate::engine::shard::Shard;
use crate::engine::tally::Tally;
use crate::engine::target::{Addresses, Target};
use crate::load::Load;
use crate::part::Part;
use crate::pattern::Pattern;
use crate::span::Span;
use crate::stream::{Plan, Record, STREAM_VERSION, Summary};

/// Below this planned rate one shard is enough.
const ONE_SHARD_RATE: f64 = 5_000.0;
/// From the end of preparation to the first planned moment.
const LEAD_NS: u64 = 20_000_000;

/// A load and where to send it.
#[derive(Debug, Clone)]
pub struct Job {
    pub url: String,
    pub load: Load,
    /// Addresses to dial instead of the URL's.
    pub addresses: Vec<SocketAddr>,
    pub pod_header: String,
    pub shards: Option<u32>,
    /// Of several generators that share the load.
    pub part: Part,
    /// Milliseconds since 1970 at which the load starts, to start several generators in step.
    pub start_at_unix_ms: Option<u64>,
    pub http2: bool,
    /// Accept any certificate.
    pub insecure: bool,
    /// Certificates to trust instead of the system's.
    pub cacert: Option<PathBuf>,
}

/// What all shards of a run read.
pub struct Setup {
    pub load: Load,
    pub curve: Arc<Curve>,
    pub mix: Mix,
    pub target: Target,
    pub addresses: Arc<Addresses>,
    /// In lower case.
    pub pod_header: String,
    pub shards: u32,
    pub part: Part,
    /// Of this generator.
    pub connections_max: u32,
    pub start_ns: u64,
    pub end_ns: u64,
    pub stop: &'static AtomicBool,
    pub http2: bool,
    /// For https.
    pub tls: Option<Arc<ClientConfig>>,
}

impl Setup {
    /// Until when requests that wait for a connection are kept.
    pub fn drain_end_ns(&self) -> u64 {
        self.end_ns + self.load.timeout.as_ns()
    }

    /// What a shard has of something that is shared among the shards of this generator.
    pub fn share_of_shard(&self, shard: u32, total: u32) -> u32 {
        Part { index: shard, of: self.shards }.share(total)
    }

    /// A number that no other shard has, of this generator or of another part.
    pub fn number_of_all(&self, shard: u32) -> u64 {
        (self.part.index as u64) << 32 | shard as u64
    }

    /// The place of a shard's client among all clients of a closed loop.
    pub fn client(&self, shard: u32, client: u64) -> u64 {
        (client * self.shards as u64 + shard as u64) * self.part.of as u64 + self.part.index as u64
    }
}

/// What a shard tells the reporter.
pub enum FromShard {
    /// `is_rest`: what is left of a second that did not end.
    Interval {
        shard: u32,
        index: u64,
        tally: Box<Tally>,
        is_rest: bool,
    },
    Done {
        shard: u32,
        classes: Vec<Histogram<u64>>,
        first_errors: FirstErrors,
        last_sent_ns: u64,
        last_answer_ns: u64,
    },
    Failed {
        shard: u32,
        error: String,
    },
}

/// Runs a load to its end; `on_record` sees the plan, each second and the summary as they come.
pub fn run(job: &Job, on_record: &mut dyn FnMut(&Record)) -> Result<Summary> {
    let (setup, plan) = prepare(job)?;
    let setup = Arc::new(setup);
    on_record(&Record::Plan(Box::new(plan)));
    let (to_report, from_shards) = channel();
    let mut reporter = Reporter::new(&setup, job)?;
    let summary = std::thread::scope(|scope| {
        let setup = &setup;
        let (recycle, emptied): (Vec<_>, Vec<_>) = (0..setup.shards).map(|_| channel::<Box<Tally>>()).unzip();
        scope.spawn(move || run_shards(setup, to_report, emptied));
        reporter.follow(from_shards, &recycle, on_record)
    });
    setup.addresses.stop();
    let summary = summary.map_err(|error| anyhow!(error))?;
    on_record(&Record::Summary(Box::new(summary.clone())));
    Ok(summary)
}

fn run_shards(setup: &Arc<Setup>, to_report: Sender<FromShard>, emptied: Vec<Receiver<Box<Tally>>>) {
    let emptied: Vec<_> = emptied.into_iter().map(|receiver| std::sync::Mutex::new(Some(receiver))).collect();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(setup.shards as usize).build();
    let pool = match pool {
        Ok(pool) => pool,
        Err(error) => {
            let _ = to_report.send(FromShard::Failed { shard: 0, error: format!("cannot start the shards: {error}") });
            return;
        }
    };
    pool.broadcast(|context| {
        let number = context.index() as u32;
        let receiver = emptied[number as usize].lock().ok().and_then(|mut place| place.take());
        let receiver = receiver.expect("invariant: each shard takes its own receiver once");
        let outcome = match setup.http2 || setup.target.https {
            true => layered::run(setup, number, to_report.clone(), receiver),
            false => Shard::new(setup, number, to_report.clone(), receiver).map(Shard::run),
        };
        match outcome {
            Ok(()) => {}
            Err(error) => {
                let error = format!("cannot start shard {number}: {error}");
                let _ = to_report.send(FromShard::Failed { shard: number, error });
            }
        }
    });
}

fn prepare(job: &Job) -> Result<(Setup, Plan)> {
    let mut notes = Vec::new();
    job.load.validate().map_err(|error| anyhow!(error))?;
    let target = Target::parse(&job.url).map_err(|error| anyhow!(error))?;
    let tls = target.https.then(|| wire::client_config(job.insecure, job.cacert.as_deref(), job.http2)).transpose();
    let tls = tls.map_err(|error| anyhow!(error))?.map(Arc::new);
    let length = job.load.length().context("the load has no length")?;
    let pattern = job.load.pattern.clone().unwrap_or(Pattern::constant(0.0, Span::from_ns(length.as_ns().max(1))));
    let curve = Arc::new(Curve::new(&pattern, job.load.seed).map_err(|error| anyhow!("bad pattern: {error}"))?);
    let addresses = Addresses::new(&target, &job.addresses, job.load.connections.resolve_on_dial);
    let addresses = addresses.map_err(|error| anyhow!(error))?;
    let all_wanted = job.load.concurrency.unwrap_or(job.load.connections.max);
    let wanted = job.part.share(all_wanted);
    if wanted == 0 {
        bail!("part {} of {all_wanted} connection(s) has none; use fewer generators", job.part);
    }
    let connections_max = limits::allow_connections(wanted, &mut notes);
    limits::forecast_ports(&job.load, &curve, addresses.count(), &mut notes);
    let shards = shards(job, &curve).min(connections_max);
    let (start_ns, start_unix_ns) = start(job, &mut notes);
    let setup = Setup {
        mix: Mix::new(&job.load, &target),
        load: job.load.clone(),
        target,
        addresses,
        pod_header: job.pod_header.to_ascii_lowercase(),
        shards,
        part: job.part,
        connections_max,
        start_ns,
        end_ns: start_ns + length.as_ns(),
        stop: signal::stop_flag(),
        http2: job.http2,
        tls,
        curve,
    };
    let plan = Plan {
        version: STREAM_VERSION,
        t_start_unix_ns: start_unix_ns,
        url: job.url.clone(),
        load: job.load.clone(),
        duration_s: length.as_secs_f64(),
        shards,
        part: job.part,
        rate_per_s: if job.load.pattern.is_some() { planned_points(&setup.curve, job.part) } else { Vec::new() },
        notes,
    };
    Ok((setup, plan))
}

/// One shard per core for loads that need it, or as many as were asked for.
fn shards(job: &Job, curve: &Curve) -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, |count| count.get() as u32);
    let one_is_enough = job.load.pattern.is_some() && curve.peak_rate() / (job.part.of as f64) < ONE_SHARD_RATE;
    job.shards.unwrap_or(if one_is_enough { 1 } else { cores }).max(1)
}

fn start(job: &Job, notes: &mut Vec<String>) -> (u64, u64) {
    let (now_ns, now_unix_ns) = (clock::now_ns(), clock::unix_ns());
    let mut lead_ns = LEAD_NS;
    if let Some(at_ms) = job.start_at_unix_ms {
        match (at_ms * 1_000_000).checked_sub(now_unix_ns) {
            Some(wait_ns) => lead_ns = wait_ns,
            None => notes.push(format!("the start time {at_ms} has passed; starting now")),
        }
    }
    (now_ns + lead_ns, now_unix_ns + lead_ns)
}

fn planned_points(curve: &Curve, part: Part) -> Vec<(f64, f64)> {
    let length_s = curve.length().as_secs_f64();
    let points = 600.0f64.min((length_s * 10.0).ceil()).max(1.0);
    (0..=points as usize)
        .map(|point| length_s * point as f64 / points)
        .map(|at_s| (at_s, curve.rate_at(at_s.min(length_s - 1e-6)) / part.of as f64))
        .map(|(at_s, rate_per_s)| (at_s, (rate_per_s * 100.0).round() / 100.0))
        .collect()
}

/// Whether the run is being stopped from outside.
pub fn is_stopping() -> bool {
    signal::stop_flag().load(Ordering::Relaxed)
}
