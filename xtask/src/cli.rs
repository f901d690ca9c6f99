//! What was typed, and nothing that acts. Verbs resolve and check it; no clap type goes further than `cmd/`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::session::{DEFAULT_PROFILE, Pace};
use crate::terminal::Verbosity;

const EXAMPLES: &str = "\
Examples:
  cargo xtask demo                              a cluster, load, up, down, a report: two minutes
  cargo xtask setup --env dev --pace fast       the same by hand, step by step
  cargo xtask load spike                        a scenario of scenarios/
  cargo xtask load --rate 200 --duration 60s    load without a scenario
  cargo xtask watch                             pods, CPU and the autoscaler as they change
  cargo xtask teardown                          removes what setup made

Exit codes: 0 done, 1 failed, 2 an expectation was not met, 3 the generator was the limit, 64 wrong usage,
130 interrupted.";

const SETUP_EXAMPLES: &str = "\
Examples:
  cargo xtask setup --pace fast                                    windows of seconds, not minutes
  cargo xtask setup --env prod --profile second                    another lab beside the first
  cargo xtask setup --cluster minikube --driver docker --memory 4g
  cargo xtask setup --cluster context=kind-lab --push registry.example.com/lab
  cargo xtask setup --manifests my/k8s --image my-image.tar        your own workload, see docs/own-workload.md";

const LOAD_EXAMPLES: &str = "\
Examples:
  cargo xtask load                                  the scenario `demo`
  cargo xtask load spike --junit scaling.xml        exit code 0 only if its expectations hold
  cargo xtask load --rate 200 --duration 60s
  cargo xtask load --concurrency 50 --duration 2m   clients that each wait for their answer
  cargo xtask load --pattern 'ramp 10..200 60s, hold 30s'
  cargo xtask load --in-cluster --generators 3      from pods, when one machine is not enough
  cargo xtask load --url https://staging.example.com --rate 20";

const WATCH_EXAMPLES: &str = "\
Examples:
  cargo xtask watch                        a table at a terminal, lines into a pipe
  cargo xtask watch -o json | jq .type     one JSON object a line";

const LOGS_EXAMPLES: &str = "\
Examples:
  cargo xtask logs -f              pods that come later included
  cargo xtask logs --previous      why a container ended";

const FORWARD_EXAMPLES: &str = "\
Examples:
  cargo xtask forward              http://127.0.0.1:8080
  cargo xtask forward --port 0     a free port";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  cargo xtask explain --run        why the latest run scaled, with the arithmetic
  cargo xtask explain              what it decides now, and why
  cargo xtask explain --follow     one line a decision
  cargo xtask explain --context prod --hpa shop/web     of any cluster, as it is
  cargo xtask explain -f k8s/base/horizontal-pod-autoscaler.yaml --usage 180m --replicas 3";

const IMAGE_EXAMPLES: &str = "\
Examples:
  cargo xtask image                                     static, for any node
  cargo xtask image --push registry.example.com/lab     with skopeo, crane or docker";

const RELEASE_EXAMPLES: &str = "\
Examples:
  cargo xtask release 1.2.3                                            into target/releases/1.2.3, nothing leaves the machine
  cargo xtask release 1.2.3 --push registry.example.com/lab --sign     after `skopeo login`, `helm registry login`, `cosign login`";

const DOCTOR_EXAMPLES: &str = "\
Examples:
  cargo xtask doctor --fix      mends what can harm nothing
  cargo xtask doctor --env prod    whether its pods would fit here
  cargo xtask doctor -o json";

const OBSERVE_EXAMPLES: &str = "\
Examples:
  cargo xtask observe             http://127.0.0.1:9090
  cargo xtask observe --port 0    a free port";

const STATUS_EXAMPLES: &str = "\
Examples:
  cargo xtask status
  cargo xtask status -o json | jq .url";

const REPORT_EXAMPLES: &str = "\
Examples:
  cargo xtask report                        the latest run
  cargo xtask report -o json | jq .verdict
  cargo xtask report --junit scaling.xml";

const RUNS_EXAMPLES: &str = "\
Examples:
  cargo xtask runs
  cargo xtask runs --keep 5    removes all but the last five";

const COMPARE_EXAMPLES: &str = "\
Examples:
  cargo xtask compare 20261124-004847-demo 20261124-010203-demo";

const TEARDOWN_EXAMPLES: &str = "\
Examples:
  cargo xtask teardown
  cargo xtask teardown --keep-cluster    for the next setup";

const DEMO_EXAMPLES: &str = "\
Examples:
  cargo xtask demo                         on the embedded cluster: nothing to install
  cargo xtask demo --cluster minikube
  cargo xtask demo --scenario spike --keep";

const CONFORMANCE_EXAMPLES: &str = "\
Examples:
  cargo xtask conformance hpa         decisions of the real controller
  cargo xtask conformance api         exchanges with a real API server
  cargo xtask conformance timeline    the path of a recorded cluster, ten minutes";

const TEST_EXAMPLES: &str = "\
Examples:
  cargo xtask test
  cargo xtask test --only clippy
  cargo xtask test --long --retries 1";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  source <(cargo xtask completions bash)    in ~/.bashrc; zsh the same, in ~/.zshrc
  cargo xtask completions fish | source     in ~/.config/fish/config.fish";

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, about = "Swell: an autoscaling lab for Kubernetes")]
#[command(after_help = EXAMPLES, disable_help_subcommand = true, subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub global: GlobalArgs,
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Args)]
pub(crate) struct GlobalArgs {
    /// Which session: several can live side by side
    #[arg(long, global = true, value_name = "NAME", env = "SWELL_PROFILE", default_value = DEFAULT_PROFILE)]
    pub profile: String,
    /// Say more
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    verbose: bool,
    /// Say only results and problems
    #[arg(short, long, global = true)]
    quiet: bool,
}

impl GlobalArgs {
    pub(crate) fn verbosity(&self) -> Verbosity {
        match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (_, true) => Verbosity::Verbose,
            _ => Verbosity::Normal,
        }
    }
}

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Cluster, image, manifests, and wait until the autoscaler sees the service; again: does nothing
    #[command(after_help = SETUP_EXAMPLES)]
    Setup(SetupArgs),
    /// Put a scenario's load on the service, record what happens, report
    #[command(after_help = LOAD_EXAMPLES)]
    Load(LoadArgs),
    /// Pods, CPU, autoscaler and events as they change
    #[command(after_help = WATCH_EXAMPLES)]
    Watch(WatchArgs),
    /// Prometheus of this machine against the embedded cluster, with the rules of k8s, until Ctrl-C
    #[command(after_help = OBSERVE_EXAMPLES)]
    Observe(ObserveArgs),
    /// Forward a local port to the service, each connection to another ready pod
    #[command(after_help = FORWARD_EXAMPLES)]
    Forward(ForwardArgs),
    /// The logs of all pods of the service, each line with its pod
    #[command(after_help = LOGS_EXAMPLES)]
    Logs(LogsArgs),
    /// What is set up, and how it is
    #[command(after_help = STATUS_EXAMPLES)]
    Status(OutputArgs),
    /// Write the report of a recorded run again; needs no cluster
    #[command(after_help = REPORT_EXAMPLES)]
    Report(ReportArgs),
    /// List the recorded runs, or remove old ones
    #[command(after_help = RUNS_EXAMPLES)]
    Runs(RunsArgs),
    /// Two recorded runs side by side: scaling and latencies
    #[command(after_help = COMPARE_EXAMPLES)]
    Compare(CompareArgs),
    /// Remove what setup made, and nothing else
    #[command(after_help = TEARDOWN_EXAMPLES)]
    Teardown(TeardownArgs),
    /// Everything in one go at pace fast: set up, load, up, down, report, tear down
    #[command(after_help = DEMO_EXAMPLES)]
    Demo(DemoArgs),
    /// Look for what is missing or wrong, and say how to mend it
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor(DoctorArgs),
    /// Why the autoscaler did (not) scale: live, or without a cluster with -f
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(ExplainArgs),
    /// Compare this lab with what was recorded of Kubernetes
    #[command(subcommand, after_help = CONFORMANCE_EXAMPLES)]
    Conformance(ConformanceVerb),
    /// Pack the lab's container images, without a container engine
    #[command(after_help = IMAGE_EXAMPLES)]
    Image(ImageArgs),
    /// A version's images, bills of materials, chart and checksums; pushed and signed if asked to
    #[command(after_help = RELEASE_EXAMPLES)]
    Release(ReleaseArgs),
    /// Everything that checks this project
    #[command(after_help = TEST_EXAMPLES)]
    Test(TestArgs),
    /// Shell completions on stdout
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions(CompletionsArgs),
}

#[derive(Args, Clone)]
pub(crate) struct SetupArgs {
    /// auto | embedded | minikube | context[=NAME]; auto: Minikube if installed, else embedded
    #[arg(long, default_value = "auto", value_name = "WHERE")]
    pub cluster: String,
    /// An overlay of k8s/overlays [default: as the profile is set up, else dev]
    #[arg(long, value_name = "NAME")]
    pub env: Option<String>,
    /// Real constants (minutes) or short windows (seconds) [default: as the profile is set up, else real]
    #[arg(long, value_enum)]
    pub pace: Option<Pace>,
    /// Your own manifests (Deployment, Service, HorizontalPodAutoscaler) instead of k8s/overlays
    #[arg(long, value_name = "DIR")]
    pub manifests: Option<PathBuf>,
    /// Your own image: a docker-archive to load, or a reference that the cluster can pull
    #[arg(long, value_name = "ARCHIVE-OR-REF")]
    pub image: Option<String>,
    /// Push the image (this project's, or that of an archive) to that registry first, with skopeo, crane or docker, for
    /// clusters that pull
    #[arg(long, value_name = "REGISTRY/PATH")]
    pub push: Option<String>,
    /// How long to wait for the rollout, and again for metrics, like 90s or 10m [default: 3m and 5m]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub timeout: Option<Duration>,
    /// Go on though the context does not look local
    #[arg(long)]
    pub yes: bool,
    /// Passed on to minikube start
    #[arg(long, value_name = "NAME", help_heading = "Minikube")]
    pub driver: Option<String>,
    /// docker | containerd | cri-o [default: containerd]
    #[arg(long, value_name = "NAME", help_heading = "Minikube")]
    pub container_runtime: Option<String>,
    /// [default: 2]
    #[arg(long, value_name = "N", help_heading = "Minikube")]
    pub cpus: Option<String>,
    /// [default: 4g]
    #[arg(long, value_name = "SIZE", help_heading = "Minikube")]
    pub memory: Option<String>,
    /// [default: 1]
    #[arg(long, value_name = "N", help_heading = "Minikube")]
    pub nodes: Option<u32>,
}

#[derive(Args, Clone)]
pub(crate) struct ImageArgs {
    /// Pack the binaries as they are built for this machine, with the libraries that they load
    #[arg(long)]
    pub dynamic: bool,
    /// Also push the images to that registry, with skopeo, crane or docker
    #[arg(long, value_name = "REGISTRY/PATH")]
    pub push: Option<String>,
    /// Where the archives go instead of target/images
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct ReleaseArgs {
    /// Like 1.2.3, or v1.2.3 as tags are
    pub version: String,
    /// Push images and chart to that registry, with skopeo, crane or docker, and helm
    #[arg(long, value_name = "REGISTRY/PATH")]
    pub push: Option<String>,
    /// Sign what was pushed and attest the bills of materials, with cosign
    #[arg(long, requires = "push")]
    pub sign: bool,
    /// Pack the binaries as they are built for this machine, with the libraries that they load
    #[arg(long)]
    pub dynamic: bool,
    /// Where it all goes instead of target/releases/VERSION
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
}

#[derive(Args, Clone, Default)]
pub(crate) struct LoadArgs {
    /// A name of scenarios/, or a file; without one and without flags: demo
    pub scenario: Option<String>,
    /// Requests per second, open loop
    #[arg(long, value_name = "N", conflicts_with_all = ["concurrency", "pattern"])]
    pub rate: Option<f64>,
    /// Length of the load, like 90s or 2m
    #[arg(long, value_name = "TIME")]
    pub duration: Option<String>,
    /// Closed loop: so many clients, each waits for its answer
    #[arg(long, value_name = "N", conflicts_with = "pattern")]
    pub concurrency: Option<u32>,
    /// Open loop over time, like "ramp 10..200 60s, hold 30s"
    #[arg(long, value_name = "TEXT")]
    pub pattern: Option<String>,
    /// Send the load there instead of to the lab's service
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Send the load from pods in the cluster instead of from this machine
    #[arg(long, help_heading = "In the cluster")]
    pub in_cluster: bool,
    /// So many generators share the load, started in step
    #[arg(long, value_name = "N", requires = "in_cluster", help_heading = "In the cluster",
        value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub generators: Option<u32>,
    /// The generator's image, where the cluster pulls its images
    #[arg(long, value_name = "REF", requires = "in_cluster", help_heading = "In the cluster")]
    pub generator_image: Option<String>,
    /// Another seed of the schedule than the scenario's
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Also write the expectations as JUnit XML
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct WatchArgs {
    /// One JSON object a line, for programs
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    /// End after this time
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
    pub for_: Option<Duration>,
}

#[derive(Args)]
pub(crate) struct ObserveArgs {
    /// Local port; 0 takes a free one
    #[arg(long, default_value_t = 9090, value_name = "PORT")]
    pub port: u16,
}

#[derive(Args)]
pub(crate) struct ForwardArgs {
    /// Local port; 0 takes a free one
    #[arg(long, default_value = "8080", value_name = "PORT")]
    pub port: String,
    /// Local address
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    pub address: std::net::IpAddr,
}

#[derive(Args)]
pub(crate) struct LogsArgs {
    /// Keep following, pods that come later included
    #[arg(short, long)]
    pub follow: bool,
    /// Lines of each pod to start with
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub tail: i64,
    /// The run before the last restart
    #[arg(long, conflicts_with = "follow")]
    pub previous: bool,
}

#[derive(Args)]
pub(crate) struct OutputArgs {
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Text,
    Json,
}

#[derive(Args)]
pub(crate) struct ReportArgs {
    /// A run of `cargo xtask runs`, or its directory; without one: the latest
    pub run: Option<String>,
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    /// Also write the expectations as JUnit XML
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct RunsArgs {
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    /// Remove all runs but the last N
    #[arg(long, value_name = "N")]
    pub keep: Option<usize>,
}

#[derive(Args)]
pub(crate) struct CompareArgs {
    /// A run of `cargo xtask runs`, or its directory
    pub before: String,
    /// The other run
    pub after: String,
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

#[derive(Args)]
pub(crate) struct TeardownArgs {
    /// Keep the cluster, remove only what was deployed to it
    #[arg(long)]
    pub keep_cluster: bool,
}

#[derive(Args)]
pub(crate) struct DemoArgs {
    /// auto | embedded | minikube | context[=NAME]
    #[arg(long, default_value = "embedded", value_name = "WHERE")]
    pub cluster: String,
    /// The scenario to run
    #[arg(long, default_value = "demo", value_name = "NAME")]
    pub scenario: String,
    /// Leave it all running at the end
    #[arg(long)]
    pub keep: bool,
}

#[derive(Args)]
pub(crate) struct DoctorArgs {
    /// Mend what can be mended without asking: start what is stopped, point the kubeconfig to it, enable metrics, remove
    /// what dead clusters left
    #[arg(long)]
    pub fix: bool,
    /// Whether that overlay of k8s/overlays would fit [default: as the profile is set up, else dev]
    #[arg(long, value_name = "NAME")]
    pub env: Option<String>,
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

#[derive(Args)]
pub(crate) struct ExplainArgs {
    /// Why the pod count changed in a recorded run, for those to whom this is new; without a name: the latest run
    #[arg(long, value_name = "RUN", num_args = 0..=1, default_missing_value = "", conflicts_with_all = ["file", "follow"])]
    pub run: Option<String>,
    /// One line a decision, as they are made
    #[arg(long, conflicts_with = "file")]
    pub follow: bool,
    /// Another HorizontalPodAutoscaler than the one that was set up
    #[arg(long, value_name = "[NAMESPACE/]NAME", conflicts_with_all = ["file", "run"])]
    pub hpa: Option<String>,
    /// With --hpa: in the cluster of this context of your kubeconfig; nothing is set up or changed there
    #[arg(long, value_name = "NAME", requires = "hpa")]
    pub context: Option<String>,
    /// A HorizontalPodAutoscaler to try without a cluster
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// With -f: usage of each pod, like 180m (of CPU) or memory=64Mi
    #[arg(long, value_name = "[NAME=]QUANTITY", value_delimiter = ',', requires = "file")]
    pub(crate) usage: Vec<String>,
    /// With -f: replicas now
    #[arg(long, value_name = "N", default_value_t = 1, requires = "file", value_parser = replicas())]
    pub(crate) replicas: i32,
    /// With -f: request of each pod
    #[arg(long, value_name = "[NAME=]QUANTITY", value_delimiter = ',', default_value = "100m", requires = "file")]
    pub(crate) request: Vec<String>,
    /// With -f: values of metrics that are not resources
    #[arg(long, value_name = "NAME=QUANTITY", value_delimiter = ',', requires = "file")]
    pub(crate) value: Vec<String>,
    /// With -f: of the replicas, how many run but were never ready
    #[arg(long, value_name = "N", default_value_t = 0, requires = "file")]
    pub(crate) starting: usize,
    /// With -f: of the replicas, how many do not run yet
    #[arg(long, value_name = "N", default_value_t = 0, requires = "file")]
    pub(crate) pending: usize,
    /// With -f: of the replicas, how many have no sample
    #[arg(long, value_name = "N", default_value_t = 0, requires = "file")]
    pub(crate) unmeasured: usize,
}

/// As many pods as a dry run makes up.
fn replicas() -> clap::builder::RangedI64ValueParser<i32> {
    clap::value_parser!(i32).range(0..=autoscaler::whatif::PODS_MAX as i64)
}

#[derive(Subcommand)]
pub(crate) enum ConformanceVerb {
    /// Replay recorded decisions of the real controller
    Hpa {
        /// Files of recorded decisions, or folders of them; without one: $SWELL_VECTORS, else ../shared/hpa-vectors where
        /// that is, else the sample in autoscaler/testdata
        files: Vec<PathBuf>,
    },
    /// Play the manifests and the load of a recorded real cluster, ten minutes at real pace, and compare the replicas' path
    Timeline,
    /// Replay recorded API exchanges against the embedded cluster, or against any other
    Api {
        /// Another API server than a fresh embedded cluster
        #[arg(long, value_name = "FILE")]
        kubeconfig: Option<PathBuf>,
        /// The folder of recorded exchanges
        #[arg(long, value_name = "DIR")]
        recordings: Option<PathBuf>,
    },
}

#[derive(Args)]
pub(crate) struct TestArgs {
    /// Also what takes long: the figures that the documents state
    #[arg(long)]
    pub long: bool,
    /// Only the steps whose name contains this
    #[arg(long, value_name = "TEXT")]
    pub only: Option<String>,
    /// Run tests that failed again, up to so often; one that then passes is named as flaky
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub retries: u32,
}

#[derive(Args)]
pub(crate) struct CompletionsArgs {
    #[arg(value_enum)]
    pub shell: CompletionShell,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum CompletionShell {
    Bash,
    Zsh,
    Fish,
}

/// `90`, `90s`, `2m`, `500ms`, `1h`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().map_err(|_| format!("`{text}` is not a time like 90s or 2m"))?;
    let scale = match unit.trim() {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        other => return Err(format!("`{other}` is not a unit of time: ms, s, m or h")),
    };
    let seconds = number * scale;
    if seconds > 0.0 && seconds <= 7.0 * 86_400.0 {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(format!("`{text}` must be more than nothing and at most a week"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_shows_examples() {
        for verb in Cli::command().get_subcommands() {
            let examples = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(examples.contains(&format!("cargo xtask {}", verb.get_name())), "{} shows none", verb.get_name());
        }
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        let ok =
            [("90", 90_000), ("90s", 90_000), ("2m", 120_000), ("500ms", 500), ("1.5m", 90_000), ("1h", 3_600_000)];
        for (text, ms) in ok {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for bad in ["", "s", "-1s", "0", "5 days", "1e9h", "99999h"] {
            assert!(parse_duration(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn rate_concurrency_and_pattern_exclude_each_other() {
        let parse = |args: &[&str]| Cli::try_parse_from(["xtask", "load"].iter().chain(args)).is_ok();
        assert!(parse(&["--rate", "10", "--duration", "5s"]));
        assert!(!parse(&["--rate", "10", "--concurrency", "5"]));
        assert!(!parse(&["--pattern", "hold 5s", "--rate", "1"]));
    }
}
