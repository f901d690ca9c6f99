//! Minikube, through its command line. Its exit codes are not to be trusted alone: `image load` and `image build` exit 0
//! when they failed, and an addon failure is only a warning, so every step is verified by asking afterwards.
//!
//! Progress comes as CloudEvents from `start -o json`. The user's flags pass through; a profile that exists with another
//! driver is reported, never deleted. Contract: Minikube v1.30 to v1.39.

mod images;
mod metrics;
mod said;
mod start;
mod state;

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use serde_json::Value;
use xshell::{Cmd, Shell};

pub(crate) use self::metrics::Measured;
use self::said::said;
use self::state::{State, remedy};
use super::{Access, Controller, Mend, Reach};
use crate::cli::SetupArgs;
use crate::problem::{self, Problem};
use crate::session::Pace;
use crate::terminal::{Step, Terminal};

const PROGRAM: &str = "minikube";
const INSTALL: &str = "see https://minikube.sigs.k8s.io/docs/start/   (or: cargo xtask setup --cluster embedded)";

/// The exit code for wrong usage; `profile list` has it where no profile is.
const NO_PROFILE: i32 = 14;
/// A node is on this machine.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
const CONTROLLER_MANAGER: &str = "controller-manager";

/// What a cluster is made with where the flags do not say.
const CONTAINER_RUNTIME: &str = "containerd";
const CPUS: &str = "2";
const MEMORY: &str = "4g";

pub(crate) struct Minikube {
    /// Minikube's own profile, which is also the context's name.
    pub profile: String,
    driver: Option<String>,
    container_runtime: Option<String>,
    cpus: Option<String>,
    memory: Option<String>,
    nodes: Option<u32>,
}

/// What `profile list` knows of a profile that exists. One whose machine is lost may be known by its name alone.
#[derive(Debug, Default, PartialEq, Eq)]
struct Existing {
    driver: String,
    runtime: String,
    cpus: u64,
    memory_mib: u64,
    nodes: usize,
    /// Settings of components, as `--extra-config` takes them.
    extra_config: Vec<String>,
}

impl Minikube {
    pub(crate) fn new(profile: &str, args: &SetupArgs) -> Result<Minikube> {
        require_installed()?;
        Ok(Minikube {
            profile: minikube_profile(profile),
            driver: args.driver.clone(),
            container_runtime: args.container_runtime.clone(),
            cpus: args.cpus.clone(),
            memory: args.memory.clone(),
            nodes: args.nodes,
        })
    }

    pub(crate) fn existing(profile: &str) -> Result<Minikube> {
        require_installed()?;
        Ok(Minikube {
            profile: minikube_profile(profile),
            driver: None,
            container_runtime: None,
            cpus: None,
            memory: None,
            nodes: None,
        })
    }

    pub(crate) fn start(
        &self,
        terminal: &Terminal,
        step: &Step<'_>,
        pace: Pace,
        last_pace: Option<Pace>,
    ) -> Result<Access> {
        let existing = self.look()?;
        if let (Some(existing), Some(asked)) = (&existing, &self.driver)
            && !existing.driver.is_empty()
            && canonical(&existing.driver) != canonical(asked)
        {
            return Err(self.driver_mismatch(existing, asked).into());
        }
        for words in existing.iter().flat_map(|existing| self.not_applied(existing)) {
            terminal.warn(&words);
        }
        let keeps_pace = last_pace == Some(pace) || existing.as_ref().is_none_or(|existing| existing.keeps(pace));
        let acted = match self.state()? {
            State::Running if keeps_pace => false,
            State::Stale if keeps_pace => self.follow_port(step)?,
            // Where it cannot be unpaused, a start may help.
            State::Paused if keeps_pace && self.unpause(step) => true,
            _ => {
                self.run_start(terminal, step, pace, existing.as_ref())?;
                true
            }
        };
        let mut after = self.state()?;
        if after == State::Stale {
            self.follow_port(step)?;
            after = self.state()?;
        }
        if let Some(problem) = after.problem_after_start(&self.profile) {
            return Err(problem.into());
        }
        Ok(Access {
            kubeconfig: kubeconfig(),
            context: self.profile.clone(),
            created: existing.is_none(),
            acted,
            summary: format!("profile {}", self.profile),
        })
    }

    fn follow_port(&self, step: &Step<'_>) -> Result<bool> {
        step.update("the kubeconfig points to an old port: update-context");
        self.mend(Mend::UpdateContext)?;
        Ok(true)
    }

    fn unpause(&self, step: &Step<'_>) -> bool {
        step.update("paused: unpause");
        self.mend(Mend::Unpause).is_ok()
    }

    pub(crate) fn reach(&self, namespace: &str, service: &str, node_port: Option<i32>) -> Result<Reach> {
        let listed = self.read(&["service", "list", "-n", namespace, "-o", "json"]);
        // Whatever keeps Minikube from saying a URL, the API server still leads to the pods.
        Ok(match listed.ok().and_then(|listed| service_url(&listed, service, node_port)) {
            Some(url) if is_reached(&url) => Reach::Direct(url),
            _ => Reach::Forward,
        })
    }

    pub(crate) fn exists(&self) -> Result<bool> {
        Ok(self.look()?.is_some())
    }

    /// A start that failed early made no profile.
    pub(crate) fn delete(&self) -> Result<()> {
        if !self.exists()? {
            return Ok(());
        }
        self.read(&["delete"]).map(drop)
    }

    pub(crate) fn condition(&self) -> String {
        self.state().map_or_else(|error| format!("{error:#}"), |state| state.words())
    }

    pub(crate) fn is_running(&self) -> Result<bool> {
        Ok(self.state()? == State::Running)
    }

    pub(crate) fn mend(&self, mend: Mend) -> Result<String> {
        let args: &[&str] = match mend {
            Mend::Start => &["start", "--interactive=false", "--keep-context"],
            Mend::Unpause => &["unpause"],
            // Minikube makes the context current by this, which it says.
            Mend::UpdateContext => &["update-context"],
            Mend::EnableMetrics => &["addons", "enable", "metrics-server"],
        };
        self.read(args)?;
        Ok(format!("minikube {} -p {}", args.join(" "), self.profile))
    }

    /// What the running controller manager was told otherwise than the pace has it: an older Minikube stores settings for an
    /// existing cluster, and its control plane stays as it is. Where its pod is not to be seen, nothing is said.
    pub(in crate::cluster) async fn deviations(&self, client: &kube::Client, pace: Pace) -> Vec<String> {
        let pods: Api<Pod> = Api::namespaced(client.clone(), "kube-system");
        let selector = format!("component=kube-{CONTROLLER_MANAGER}");
        let listed = pods.list(&ListParams::default().labels(&selector)).await.map(|list| list.items);
        let command =
            listed.unwrap_or_default().into_iter().find_map(|pod| pod.spec?.containers.into_iter().next()?.command);
        let Some(command) = command else { return Vec::new() };
        deviating(&command, pace).into_iter().map(|(knob, has)| problem::knob_not_applied(&knob, &has)).collect()
    }

    /// What was asked for and an existing cluster will not become.
    fn not_applied(&self, existing: &Existing) -> Vec<String> {
        if existing.driver.is_empty() {
            return Vec::new();
        }
        let asked = [
            ("--cpus", &self.cpus, existing.cpus.to_string()),
            ("--memory", &self.memory.as_deref().map(with_unit), format!("{}m", existing.memory_mib)),
            ("--nodes", &self.nodes.map(|nodes| nodes.to_string()), existing.nodes.to_string()),
            ("--container-runtime", &self.container_runtime, existing.runtime.clone()),
        ];
        let same = |asked: &str, has: &str| {
            canonical(asked) == canonical(has) || mebibytes(asked).is_some_and(|mib| mebibytes(has) == Some(mib))
        };
        let differs = asked.into_iter().filter_map(|(flag, asked, has)| Some((flag, asked.as_deref()?, has)));
        differs
            .filter(|(_, asked, has)| !same(asked, has))
            .map(|(flag, asked, has)| problem::not_applied(&self.profile, flag, asked, &has))
            .collect()
    }

    /// A list that cannot be read is not an empty one: what it does not show would count as made by us, and be deleted.
    fn look(&self) -> Result<Option<Existing>> {
        let shell = Shell::new()?;
        let args = ["profile", "list", "--light", "-o", "json"];
        let output = environment(shell.cmd(PROGRAM).args(args).quiet()).ignore_status().output();
        let output = output.with_context(|| problem::tool_missing(PROGRAM, INSTALL))?;
        let listed = String::from_utf8_lossy(&output.stdout);
        match serde_json::from_str::<Value>(&listed) {
            Ok(listed) if listed["valid"].is_array() || listed["invalid"].is_array() => {
                Ok(find_profile(&listed, &self.profile))
            }
            // As some versions put it that there is no profile at all.
            _ if output.status.code() == Some(NO_PROFILE) => Ok(None),
            Ok(listed) if listed["error"].is_string() => {
                let said = listed["error"].as_str().unwrap_or_default();
                Err(problem::child_failed("minikube profile list", said, "minikube profile list").into())
            }
            _ => Err(self.failure(&args, &output).into()),
        }
    }

    fn driver_mismatch(&self, existing: &Existing, asked: &str) -> Problem {
        problem::minikube_state(
            &self.profile,
            &format!("it exists with driver {}, and {asked} was asked for", existing.driver),
            &format!("cargo xtask setup --cluster minikube --driver {}   (or another --profile)", existing.driver),
        )
    }

    fn read(&self, args: &[&str]) -> Result<String> {
        let shell = Shell::new()?;
        let output = self.command(&shell).args(args).ignore_status().output()?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(self.failure(args, &output).into())
    }

    fn failure(&self, args: &[&str], output: &Output) -> Problem {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let reason = said(&text(&output.stdout), &text(&output.stderr)).in_words();
        let remedy = remedy(output.status.code().unwrap_or(-1), &reason, &self.profile);
        problem::child_failed(&format!("minikube {}", args.join(" ")), &reason, &remedy)
    }

    fn command<'s>(&self, shell: &'s Shell) -> Cmd<'s> {
        environment(shell.cmd(PROGRAM).args(["-p", &self.profile]).quiet())
    }
}

/// Only what cannot be set in the HorizontalPodAutoscaler itself is set for the controller manager.
pub(super) fn controller(pace: Pace) -> Controller {
    match pace {
        Pace::Real => Controller::default(),
        Pace::Fast => Controller {
            sync_period_s: 5,
            cpu_initialization_period_s: 10,
            initial_readiness_delay_s: 5,
            ..Controller::default()
        },
    }
}

pub(super) fn is_installed() -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(PROGRAM).is_file()))
}

fn require_installed() -> Result<()> {
    if is_installed() { Ok(()) } else { Err(problem::tool_missing(PROGRAM, INSTALL).into()) }
}

/// The controller manager's flags of a pace, as `--extra-config` takes them. All exist in every version that is supported;
/// one that does not is fatal to the controller manager.
fn knobs(pace: Pace) -> [String; 3] {
    let controller = controller(pace);
    [
        ("sync-period", controller.sync_period_s),
        ("cpu-initialization-period", controller.cpu_initialization_period_s),
        ("initial-readiness-delay", controller.initial_readiness_delay_s),
    ]
    .map(|(knob, seconds)| format!("{CONTROLLER_MANAGER}.horizontal-pod-autoscaler-{knob}={seconds}s"))
}

/// The flags of a pace that a controller manager runs without, each with what it runs with.
fn deviating(command: &[String], pace: Pace) -> Vec<(String, String)> {
    let defaults = knobs(Pace::Real);
    let flag = |knob: &str| knob.replacen(&format!("{CONTROLLER_MANAGER}."), "--", 1);
    let running = |of: &str| command.iter().find(|arg| key(arg) == key(&flag(of))).cloned();
    let pairs = knobs(pace).into_iter().zip(&defaults);
    pairs
        .filter_map(|(knob, default)| {
            let has = running(&knob).unwrap_or_else(|| flag(default));
            (has != flag(&knob)).then(|| (flag(&knob), has))
        })
        .collect()
}

fn key(config: &str) -> &str {
    config.split_once('=').map_or(config, |(key, _)| key)
}

impl Existing {
    /// Whether its autoscaler decides with the constants of that pace, as far as Minikube remembers.
    fn keeps(&self, pace: Pace) -> bool {
        knobs(pace).iter().all(|knob| {
            let mut set = self.extra_config.iter().filter(|config| key(config) == key(knob)).peekable();
            // What nobody set is at Kubernetes' own value.
            if set.peek().is_none() { pace == Pace::Real } else { set.all(|config| config == knob) }
        })
    }
}

/// Minikube takes several names for one driver or runtime, and remembers the first.
fn canonical(name: &str) -> &str {
    match name {
        "qemu" => "qemu2",
        "kvm" => "kvm2",
        "crio" => "cri-o",
        name => name,
    }
}

/// Minikube counts memory without a unit in MiB.
fn with_unit(memory: &str) -> String {
    let bare = !memory.is_empty() && memory.chars().all(|c| c.is_ascii_digit());
    format!("{memory}{}", if bare { "m" } else { "" })
}

/// Never the user's own default profile, so that the lab cannot remove what it did not make.
fn minikube_profile(profile: &str) -> String {
    format!("swell-{profile}")
}

fn environment(command: Cmd<'_>) -> Cmd<'_> {
    command.env("MINIKUBE_IN_STYLE", "false").env("MINIKUBE_WANTUPDATENOTIFICATION", "false")
}

fn kubeconfig() -> PathBuf {
    let listed = std::env::var_os("KUBECONFIG").filter(|paths| !paths.is_empty());
    match listed.and_then(|paths| std::env::split_paths(&paths).next()) {
        Some(first) => first,
        None => PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".kube/config"),
    }
}

/// `4g`, `4096m`, `4096mb`, as Minikube takes them; a bare number is no size but may be one of anything.
fn mebibytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let scale = match text[digits..].trim_end_matches(['b', 'B', 'i']) {
        "g" | "G" => 1024,
        "m" | "M" => 1,
        _ => return None,
    };
    Some(text[..digits].parse::<u64>().ok()? * scale)
}

fn find_profile(listed: &Value, profile: &str) -> Option<Existing> {
    let all = listed["valid"].as_array().into_iter().chain(listed["invalid"].as_array()).flatten();
    let found = all.into_iter().find(|entry| entry["Name"] == profile)?;
    let text = |pointer: &str| found.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let number = |pointer: &str| found.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
    let extra = found.pointer("/Config/KubernetesConfig/ExtraOptions").and_then(Value::as_array).into_iter().flatten();
    let written = |option: &Value| {
        Some(format!("{}.{}={}", option["Component"].as_str()?, option["Key"].as_str()?, option["Value"].as_str()?))
    };
    Some(Existing {
        driver: text("/Config/Driver"),
        runtime: text("/Config/KubernetesConfig/ContainerRuntime"),
        cpus: number("/Config/CPUs"),
        memory_mib: number("/Config/Memory"),
        nodes: found.pointer("/Config/Nodes").and_then(Value::as_array).map_or(1, Vec::len),
        extra_config: extra.filter_map(written).collect(),
    })
}

/// A node in a virtual machine that this one has no way to is listed all the same. Whoever refuses is reached.
fn is_reached(url: &str) -> bool {
    let address = url.split("://").nth(1).and_then(|rest| rest.trim_end_matches('/').parse().ok());
    let Some(address) = address else { return true };
    match TcpStream::connect_timeout(&address, CONNECT_LIMIT) {
        Ok(_) => true,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
    }
}

/// The URL of the port that is meant, where the service has several.
fn service_url(listed: &str, service: &str, node_port: Option<i32>) -> Option<String> {
    let listed: Value = serde_json::from_str(listed).ok()?;
    let found = listed.as_array()?.iter().find(|entry| entry["Name"] == service)?;
    let urls = found["URLs"].as_array()?.iter().filter_map(Value::as_str).filter(|url| url.starts_with("http"));
    let urls: Vec<&str> = urls.collect();
    let meant = urls.iter().find(|url| node_port.is_some_and(|port| url.ends_with(&format!(":{port}"))));
    meant.or(urls.first()).map(|url| (*url).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_existing_cluster_will_not_become_is_told_and_the_same_in_other_words_is_not() {
        let existing = Existing {
            driver: "docker".into(),
            runtime: "containerd".into(),
            cpus: 2,
            memory_mib: 4096,
            nodes: 1,
            ..Existing::default()
        };
        let asked = |cpus: &str, memory: &str, nodes| Minikube {
            profile: "p".into(),
            driver: None,
            container_runtime: Some("containerd".into()),
            cpus: Some(cpus.into()),
            memory: Some(memory.into()),
            nodes: Some(nodes),
        };
        assert_eq!(asked("2", "4g", 1).not_applied(&existing), [""; 0]);
        assert_eq!(asked("2", "4096mb", 1).not_applied(&existing), [""; 0]);
        assert_eq!(asked("2", "4096", 1).not_applied(&existing), [""; 0]);
        let lost = Existing::default();
        assert_eq!(asked("2", "4g", 1).not_applied(&lost), [""; 0], "nothing is known of it");
        assert_eq!(asked("4", "8g", 2).not_applied(&existing).len(), 3);
    }

    #[test]
    fn a_service_without_a_url_is_reached_by_forwarding() {
        let with =
            r#"[{"Namespace":"swell","Name":"web","URLs":["http://192.168.49.2:30090","http://192.168.49.2:30080"]}]"#;
        let without = r#"[{"Namespace":"swell","Name":"web","URLs":[],"PortNames":["http/80"]}]"#;
        assert_eq!(service_url(with, "web", Some(30080)).as_deref(), Some("http://192.168.49.2:30080"));
        assert_eq!(service_url(with, "web", None).as_deref(), Some("http://192.168.49.2:30090"));
        assert_eq!(service_url(without, "web", Some(30080)), None);
    }

    #[test]
    fn a_pace_is_kept_where_its_knobs_are_set_and_real_also_where_none_is() {
        let set = |extra_config: &[String]| Existing { extra_config: extra_config.to_vec(), ..Existing::default() };
        let housekeeping = "kubelet.housekeeping-interval=10s".to_owned();
        assert!(set(&[]).keeps(Pace::Real) && !set(&[]).keeps(Pace::Fast));
        assert!(set(std::slice::from_ref(&housekeeping)).keeps(Pace::Real));
        assert!(set(&knobs(Pace::Fast)).keeps(Pace::Fast) && !set(&knobs(Pace::Fast)).keeps(Pace::Real));
        assert!(set(&knobs(Pace::Real)).keeps(Pace::Real));
    }

    #[test]
    fn a_controller_manager_that_runs_otherwise_is_found() {
        let command = |args: &[&str]| args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>();
        let plain = command(&["kube-controller-manager", "--leader-elect=false"]);
        assert_eq!(deviating(&plain, Pace::Real), []);
        let found = deviating(&plain, Pace::Fast);
        assert_eq!(found.len(), 3);
        assert_eq!(found[0].0, "--horizontal-pod-autoscaler-sync-period=5s");
        assert_eq!(found[0].1, "--horizontal-pod-autoscaler-sync-period=15s");
    }

    #[test]
    fn a_profile_that_lost_its_configuration_is_one_all_the_same() {
        let listed = serde_json::json!({"valid": [], "invalid": [{"Name": "p", "Config": null}]});
        let found = find_profile(&listed, "p").unwrap();
        assert_eq!((found.driver.as_str(), found.nodes), ("", 1));
        assert_eq!(find_profile(&listed, "q"), None);
    }
}
