//! The command line as it is typed; nothing here acts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

/// An embedded Kubernetes: a real API, pods as real processes, no Docker, no root.
#[derive(Debug, Parser)]
#[command(name = "nanokube", version, disable_help_subcommand = true)]
pub struct Cli {
    /// Where the instance lives [default: $NANOKUBE_DIR, else nanokube/default in the user's data directory]
    #[arg(long, global = true, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Start the cluster and return when it is ready; does nothing when it runs
    Start(Start),
    /// Stop the cluster and all its pods; what is stored stays
    Stop,
    /// Say whether the cluster runs; exit code 0 if it does, 3 if not
    Status {
        #[arg(short, long, value_enum, default_value_t = Format::Text)]
        output: Format,
    },
    /// Stop the cluster and remove its directory
    Delete,
    /// Load and list images
    Image {
        #[command(subcommand)]
        verb: ImageVerb,
    },
    /// Print the path of the kubeconfig
    Kubeconfig {
        /// Print the content instead
        #[arg(long)]
        raw: bool,
    },
    /// Run the horizontal pod autoscaler for another cluster, whose own must be switched off
    Hpa(Hpa),
    /// Print the log of the daemon
    Logs {
        /// Go on as the log grows
        #[arg(short, long)]
        follow: bool,
    },
}

#[derive(Clone, Debug, Args)]
pub struct Start {
    /// Stay in the foreground and log to the terminal
    #[arg(long)]
    pub foreground: bool,
    /// Also wait (up to a minute) until the pods that were there before are ready again
    #[arg(long)]
    pub wait: bool,
    #[command(flatten)]
    pub hpa: HpaFlags,
    /// How often CPU and memory of pods are measured
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = duration)]
    pub metrics_resolution: Duration,
    /// What enforces CPU limits
    #[arg(long, value_enum, default_value_t = Limiter::Auto)]
    pub cpu_limiter: Limiter,
    /// Leave a part out, for the real one to do its work (repeatable)
    #[arg(long, value_enum, value_name = "PART")]
    pub without: Vec<ControlPlanePart>,
    /// Cores that the node has for pods [default: what the machine has, less half a core]
    #[arg(long, value_name = "N", value_parser = cores)]
    pub cpus: Option<f64>,
    /// Where the API listens [default: port 6443 of the instance's own address 127.N.0.1]
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<SocketAddr>,
    /// Set by `start` for the daemon that it starts
    #[arg(long, hide = true)]
    pub daemon: bool,
}

/// The horizontal pod autoscaler's constants, under kube-controller-manager's names too.
#[derive(Clone, Debug, Args)]
pub struct HpaFlags {
    /// How often the horizontal pod autoscaler decides
    #[arg(
        long = "hpa-sync-period", visible_alias = "horizontal-pod-autoscaler-sync-period",
        value_name = "DURATION", default_value = "15s", value_parser = duration
    )]
    pub sync_period: Duration,
    /// How long scale-down recommendations are remembered, unless the autoscaler says otherwise
    #[arg(
        long = "hpa-downscale-stabilization", visible_alias = "horizontal-pod-autoscaler-downscale-stabilization",
        value_name = "DURATION", default_value = "5m", value_parser = duration
    )]
    pub downscale_stabilization: Duration,
    /// How long after its start a pod's CPU usage may be ignored
    #[arg(
        long = "hpa-cpu-initialization-period", visible_alias = "horizontal-pod-autoscaler-cpu-initialization-period",
        value_name = "DURATION", default_value = "5m", value_parser = duration
    )]
    pub cpu_initialization_period: Duration,
    /// How long after its start a pod's readiness changes count as part of its start
    #[arg(
        long = "hpa-initial-readiness-delay", visible_alias = "horizontal-pod-autoscaler-initial-readiness-delay",
        value_name = "DURATION", default_value = "30s", value_parser = duration
    )]
    pub initial_readiness_delay: Duration,
    /// How far the ratio of usage to target may be from 1 without scaling
    #[arg(
        long = "hpa-tolerance", visible_alias = "horizontal-pod-autoscaler-tolerance",
        value_name = "RATIO", default_value = "0.1", value_parser = ratio
    )]
    pub tolerance: f64,
}

/// The autoscaler controller alone, over any cluster.
#[derive(Clone, Debug, Args)]
pub struct Hpa {
    /// The kubeconfig of the cluster
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    pub kubeconfig: PathBuf,
    /// The context to use [default: the current one]
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// Act only while holding the Lease kube-system/horizontal-pod-autoscaler, so that several may run
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    #[arg(num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub leader_elect: bool,
    #[command(flatten)]
    pub flags: HpaFlags,
}

#[derive(Clone, Debug, Subcommand)]
pub enum ImageVerb {
    /// Load images from archives made by `docker save` or its like
    Load {
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// List the images
    Ls {
        #[arg(short, long, value_enum, default_value_t = Format::Text)]
        output: Format,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Limiter {
    Auto,
    Cgroup2,
    Cgroup1,
    Signals,
}

/// What of the control plane another program can do in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ControlPlanePart {
    /// The horizontal pod autoscaler
    Hpa,
    /// All controllers, the horizontal pod autoscaler among them
    KubeControllerManager,
    /// The scheduler
    KubeScheduler,
}

/// "15s", "5m", "1h30m", "250ms", as Go writes durations.
pub fn duration(text: &str) -> Result<Duration, String> {
    let refused = || format!("{text:?} is not a duration such as 15s, 5m or 1h30m");
    let mut total = Duration::ZERO;
    let mut rest = text;
    if rest.is_empty() {
        return Err(refused());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(refused)?;
        let value: f64 = rest[..digits].parse().map_err(|_| refused())?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let seconds = match &rest[..unit] {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(refused()),
        };
        rest = &rest[unit..];
        total += Duration::try_from_secs_f64(value * seconds).map_err(|_| refused())?;
    }
    Ok(total)
}

fn ratio(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| format!("{text:?} is not a number"))?;
    if (0.0..1.0).contains(&value) { Ok(value) } else { Err(format!("{text} is not between 0 and 1")) }
}

fn cores(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| format!("{text:?} is not a number of cores"))?;
    if (0.1..=1024.0).contains(&value) { Ok(value) } else { Err(format!("{text} is not between 0.1 and 1024")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_go_writes_them() {
        for (text, wanted_ms) in
            [("15s", 15_000), ("5m", 300_000), ("1h30m", 5_400_000), ("250ms", 250), ("1.5s", 1_500)]
        {
            assert_eq!(duration(text).unwrap().as_millis(), wanted_ms, "{text}");
        }
        for text in ["", "15", "s", "5 m", "-1s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
