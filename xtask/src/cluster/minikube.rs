//! Minikube, through its command line. Its exit codes are not to be trusted alone: `image load` and `image build` exit 0
//! when they failed, and an addon failure is only a warning, so every step is verified by asking afterwards.
//!
//! Progress comes as CloudEvents from `start -o json`. The user's flags pass through; a profile that exists with another
//! driver is reported, never deleted. Contract: Minikube v1.30 to v1.39.

mod images;
mod metrics;
mod start;
mod state;

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::Value;
use xshell::{Cmd, Shell};

use self::state::State;
use super::{Access, Controller, Mend, Reach};
use crate::cli::SetupArgs;
use crate::problem::{self, Problem};
use crate::session::Pace;
use crate::terminal::{Step, Terminal};

const PROGRAM: &str = "minikube";
const INSTALL: &str = "see https://minikube.sigs.k8s.io/docs/start/   (or: cargo xtask setup --cluster embedded)";

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

/// What `profile list` knows of a profile that exists.
#[derive(Debug, PartialEq, Eq)]
struct Existing {
    driver: String,
    runtime: String,
    cpus: u64,
    memory_mib: u64,
    nodes: usize,
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

    pub(crate) fn start(&self, terminal: &Terminal, step: &Step<'_>, pace: Pace) -> Result<Access> {
        let existing = self.look()?;
        if let (Some(existing), Some(asked)) = (&existing, &self.driver)
            && existing.driver != *asked
        {
            return Err(self.driver_mismatch(existing, asked).into());
        }
        let mut acted = false;
        for words in existing.iter().flat_map(|existing| self.not_applied(existing)) {
            terminal.warn(&words);
        }
        match self.state()? {
            State::Running => {}
            State::Stale => {
                step.update("the kubeconfig points to an old port: update-context");
                self.mend(Mend::UpdateContext)?;
                acted = true;
            }
            State::Paused => {
                step.update("paused: unpause");
                self.mend(Mend::Unpause)?;
                acted = true;
            }
            _ => {
                self.run_start(terminal, step, pace, existing.as_ref())?;
                acted = true;
            }
        }
        let after = self.state()?;
        if after != State::Running {
            let remedy = format!("minikube logs -p {} --problems", self.profile);
            return Err(problem::minikube_state(&self.profile, &after.words(), &remedy).into());
        }
        Ok(Access {
            kubeconfig: kubeconfig(),
            context: self.profile.clone(),
            created: existing.is_none(),
            acted,
            summary: format!("profile {}", self.profile),
        })
    }

    pub(crate) fn reach(&self, namespace: &str, service: &str) -> Result<Reach> {
        let listed = self.read(&["service", "list", "-n", namespace, "-o", "json"]);
        // Whatever keeps Minikube from saying a URL, the API server still leads to the pods.
        Ok(match listed.ok().and_then(|listed| service_url(&listed, service)) {
            Some(url) => Reach::Direct(url),
            None => Reach::Forward,
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

    /// What was asked for and an existing cluster will not become.
    fn not_applied(&self, existing: &Existing) -> Vec<String> {
        let asked = [
            ("--cpus", &self.cpus, existing.cpus.to_string()),
            ("--memory", &self.memory, format!("{}m", existing.memory_mib)),
            ("--nodes", &self.nodes.map(|nodes| nodes.to_string()), existing.nodes.to_string()),
            ("--container-runtime", &self.container_runtime, existing.runtime.clone()),
        ];
        let same =
            |asked: &str, has: &str| asked == has || mebibytes(asked).is_some_and(|mib| mebibytes(has) == Some(mib));
        let differs = asked.into_iter().filter_map(|(flag, asked, has)| Some((flag, asked.as_deref()?, has)));
        differs
            .filter(|(_, asked, has)| !same(asked, has))
            .map(|(flag, asked, has)| problem::not_applied(&self.profile, flag, asked, &has))
            .collect()
    }

    fn look(&self) -> Result<Option<Existing>> {
        let shell = Shell::new()?;
        let output = shell.cmd(PROGRAM).args(["profile", "list", "--light", "-o", "json"]).quiet();
        let output =
            environment(output).ignore_status().output().with_context(|| problem::tool_missing(PROGRAM, INSTALL))?;
        Ok(find_profile(&String::from_utf8_lossy(&output.stdout), &self.profile))
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
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let reason = state::said(&text(&output.stdout), &text(&output.stderr));
        let remedy = state::remedy(output.status.code().unwrap_or(-1), &reason, &self.profile);
        Err(problem::child_failed(&format!("minikube {}", args.join(" ")), &reason, &remedy).into())
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

fn find_profile(listed: &str, profile: &str) -> Option<Existing> {
    let listed: Value = serde_json::from_str(listed).ok()?;
    let all = listed["valid"].as_array().into_iter().chain(listed["invalid"].as_array()).flatten();
    let found = all.into_iter().find(|entry| entry["Name"] == profile)?;
    let text = |pointer: &str| found.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let number = |pointer: &str| found.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
    Some(Existing {
        driver: text("/Config/Driver"),
        runtime: text("/Config/KubernetesConfig/ContainerRuntime"),
        cpus: number("/Config/CPUs"),
        memory_mib: number("/Config/Memory"),
        nodes: found.pointer("/Config/Nodes").and_then(Value::as_array).map_or(1, Vec::len),
    })
}

fn service_url(listed: &str, service: &str) -> Option<String> {
    let listed: Value = serde_json::from_str(listed).ok()?;
    let found = listed.as_array()?.iter().find(|entry| entry["Name"] == service)?;
    found["URLs"].as_array()?.iter().filter_map(Value::as_str).find(|url| url.starts_with("http")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_existing_cluster_will_not_become_is_told_and_the_same_in_other_words_is_not() {
        let existing =
            Existing { driver: "docker".into(), runtime: "containerd".into(), cpus: 2, memory_mib: 4096, nodes: 1 };
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
        assert_eq!(asked("4", "8g", 2).not_applied(&existing).len(), 3);
    }

    #[test]
    fn a_service_without_a_url_is_reached_by_forwarding() {
        let with = r#"[{"Namespace":"swell","Name":"swell-service","URLs":["http://192.168.49.2:30080"]}]"#;
        let without = r#"[{"Namespace":"swell","Name":"swell-service","URLs":[],"PortNames":["http/80"]}]"#;
        assert_eq!(service_url(with, "swell-service").as_deref(), Some("http://192.168.49.2:30080"));
        assert_eq!(service_url(without, "swell-service"), None);
    }
}
