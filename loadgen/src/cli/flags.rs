//! The flags, exactly as typed. Nothing here touches the world.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Sends HTTP load in an open loop (planned arrivals, whatever the server does) or in a closed loop, and measures from
/// the planned moment.
///
/// Exit codes: 0 pass, 1 could not run, 2 a threshold failed, 3 invalid (the generator was the limit), 64 wrong usage,
/// 130 interrupted with a full report.
#[derive(Debug, Parser)]
#[command(name = "loadgen", version, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Flags {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub run: RunFlags,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Say whether two result streams (of --intervals) differ by more than chance
    Compare(CompareFlags),
    /// Make one stream, or its report, of the streams of several generators
    Merge(MergeFlags),
    /// Find the highest rate at which the SLO holds
    Capacity(Box<CapacityFlags>),
}

#[derive(Debug, Args)]
pub(crate) struct CompareFlags {
    /// Result stream of the one run
    pub before: PathBuf,
    /// Result stream of the other run
    pub after: PathBuf,
    /// Most chance of calling equal runs different, over all metrics together
    #[arg(long, default_value_t = 0.05)]
    pub alpha: f64,
    /// Seconds at the start of each run to leave out
    #[arg(long, default_value_t = 0)]
    pub skip: usize,
    /// Exit with code 2 when the second run is worse
    #[arg(long)]
    pub fail_on_regression: bool,
    #[arg(long, default_value = "text")]
    pub summary: SummaryForm,
}

#[derive(Debug, Args)]
pub(crate) struct MergeFlags {
    /// Result streams (of --intervals) of generators that ran at the same time
    #[arg(required = true)]
    pub streams: Vec<PathBuf>,
    #[command(flatten)]
    pub output: OutputFlags,
}

#[derive(Debug, Args)]
pub(crate) struct CapacityFlags {
    #[command(flatten)]
    pub run: RunFlags,
    /// The first rate to try
    #[arg(long, default_value_t = 10.0)]
    pub from: f64,
    /// The highest rate to try
    #[arg(long, default_value_t = 1_000_000.0)]
    pub to: f64,
    /// How close to come, as a share of the rate
    #[arg(long, default_value_t = 0.05)]
    pub precision: f64,
}

#[derive(Debug, Clone, Args)]
pub struct RunFlags {
    /// Where to send the load, such as http://127.0.0.1:8080/work
    #[arg(required = true)]
    pub url: Option<String>,

    /// Requests per second (open loop)
    #[arg(short, long, help_heading = "Load")]
    pub rate: Option<String>,
    /// How long [default: 10s]
    #[arg(short, long, help_heading = "Load")]
    pub duration: Option<String>,
    /// Connections that each wait for their answer (closed loop)
    #[arg(short, long, help_heading = "Load", conflicts_with_all = ["rate", "pattern"])]
    pub concurrency: Option<u32>,
    /// Shape of the rate: constant, ramp, step, spike, sine or diurnal with --rate as its peak, or a text such as
    /// "ramp 10..500 60s, hold 2m, spike 1500 10s"
    #[arg(short, long, help_heading = "Load")]
    pub pattern: Option<String>,
    /// Take the load from a scenario file (`-`: standard input; `{…}`: the scenario itself, as JSON); flags override it
    #[arg(short, long, help_heading = "Load")]
    pub scenario: Option<PathBuf>,
    /// Iterations of work that cost the service a millisecond, for `{iterations}` in a scenario
    #[arg(long, help_heading = "Load")]
    pub iterations_per_ms: Option<f64>,
    /// How arrivals spread around the rate: even, poisson, "bursts FACTOR"
    #[arg(short, long, help_heading = "Load")]
    pub arrivals: Option<String>,
    /// Seed of everything random
    #[arg(long, help_heading = "Load")]
    pub seed: Option<u64>,
    /// Arrivals are sessions of so many requests, such as 1..5
    #[arg(long, help_heading = "Load", value_name = "MIN..MAX")]
    pub session_requests: Option<String>,
    /// Mean pause between the requests of a session
    #[arg(long, help_heading = "Load", requires = "session_requests")]
    pub think: Option<String>,
    /// Serve what was counted so far to Prometheus while the load runs; port 0 takes a free one
    #[arg(long, help_heading = "Output", value_name = "ADDRESS:PORT")]
    pub metrics: Option<String>,
    /// Show the planned rate as a chart and do nothing
    #[arg(long, help_heading = "Load")]
    pub plan: bool,

    /// Method of the request
    #[arg(short = 'X', long, help_heading = "Requests")]
    pub method: Option<String>,
    /// A header, "name: value"; may be repeated
    #[arg(short = 'H', long = "header", help_heading = "Requests")]
    pub headers: Vec<String>,
    /// Body of the request
    #[arg(short, long, help_heading = "Requests")]
    pub body: Option<String>,
    /// One request of a mix, "WEIGHT METHOD PATH"; may be repeated
    #[arg(long = "request", help_heading = "Requests", value_name = "REQUEST", conflicts_with_all = ["method", "body"])]
    pub requests: Vec<String>,
    /// Longest wait for an answer [default: 10s]
    #[arg(short, long, help_heading = "Requests")]
    pub timeout: Option<String>,
    /// Use HTTP/2
    #[arg(long, help_heading = "Requests")]
    pub http2: bool,
    /// Accept any certificate
    #[arg(short = 'k', long, help_heading = "Requests")]
    pub insecure: bool,
    /// Certificates to trust instead of the system's
    #[arg(long, help_heading = "Requests", value_name = "FILE", conflicts_with = "insecure")]
    pub cacert: Option<PathBuf>,

    /// Most connections of an open loop [default: 1000]
    #[arg(long, help_heading = "Connections")]
    pub connections: Option<u32>,
    /// Close each connection after so many requests, drawn from the range
    #[arg(long, help_heading = "Connections", value_name = "MIN..MAX")]
    pub max_requests: Option<String>,
    /// Close each connection after this time
    #[arg(long, help_heading = "Connections")]
    pub max_age: Option<String>,
    /// Spread of --max-age: 0.5 means 50 % to 150 % [default: 0.5]
    #[arg(long, help_heading = "Connections")]
    pub jitter: Option<f64>,
    /// Share of the connections to close each second
    #[arg(long, help_heading = "Connections")]
    pub churn: Option<f64>,
    /// Arrivals that may wait for a connection; more are shed [default: 100000]
    #[arg(long, help_heading = "Connections")]
    pub backlog: Option<u32>,
    /// Count a request as reset when its reused connection was already closed, instead of sending it again
    #[arg(long, help_heading = "Connections")]
    pub no_retry: bool,
    /// Ask for the host's addresses once instead of once a second
    #[arg(long, help_heading = "Connections")]
    pub no_resolve: bool,
    /// Dial this ADDRESS:PORT instead of the URL's host, in turn with others
    #[arg(long = "target", help_heading = "Connections")]
    pub targets: Vec<std::net::SocketAddr>,
    /// Response header that names the pod
    #[arg(long, help_heading = "Connections", default_value = "x-pod-name")]
    pub pod_header: String,

    /// What must hold, such as "p99 < 200ms", "p99 over any 10s < 1s", "errors < 0.1%"; may be repeated
    #[arg(long = "threshold", help_heading = "Verdict", value_name = "THRESHOLD")]
    pub thresholds: Vec<String>,
    /// What users were promised, such as "p99 < 500ms": counts the seconds that break it
    #[arg(long, help_heading = "Verdict")]
    pub slo: Option<String>,

    /// Event loops [default: one per core, one below 5000 requests/s]
    #[arg(long, help_heading = "Generator")]
    pub shards: Option<u32>,
    /// Be one of several generators that share the load, such as 0/3, 1/3 or 2/3
    #[arg(long, help_heading = "Generator", value_name = "I/N")]
    pub part: Option<String>,
    /// Start at this moment, milliseconds since 1970
    #[arg(long, help_heading = "Generator", value_name = "UNIX_MS")]
    pub start_at: Option<u64>,

    /// No progress on standard error
    #[arg(short, long, help_heading = "Output")]
    pub quiet: bool,
    /// Full-screen view while it runs (default on a terminal)
    #[arg(long, help_heading = "Output", overrides_with = "no_live")]
    pub live: bool,
    /// Plain progress lines even on a terminal
    #[arg(long, help_heading = "Output")]
    pub no_live: bool,
    #[command(flatten)]
    pub output: OutputFlags,
}

/// What is printed and written of a result.
#[derive(Debug, Clone, Args)]
pub struct OutputFlags {
    /// Print one JSON object a line on standard output: the plan, each second, the summary
    #[arg(long, help_heading = "Output")]
    pub intervals: bool,
    /// Form of the summary on standard output; json is one object on the last line
    #[arg(long, help_heading = "Output", default_value = "text")]
    pub summary: SummaryForm,
    /// Write each second as a row of CSV
    #[arg(long, help_heading = "Output", value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Write the response times as HdrHistogram percentile text
    #[arg(long, help_heading = "Output", value_name = "FILE")]
    pub hgrm: Option<PathBuf>,
    /// Write the result in Prometheus' text format
    #[arg(long, help_heading = "Output", value_name = "FILE")]
    pub prometheus: Option<PathBuf>,
    /// Write a self-contained HTML report
    #[arg(long, help_heading = "Output", value_name = "FILE")]
    pub html: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SummaryForm {
    Text,
    Json,
}
