//! `minikube start`: its flags, its progress as CloudEvents, and why it ended.
//!
//! One JSON object a line; the step shows the latest. A fatal one carries Minikube's own code and advice.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use serde_json::Value;

use super::said::{Said, said};
use super::state::remedy;
use super::{CONTAINER_RUNTIME, CPUS, Existing, INSTALL, MEMORY, Minikube, PROGRAM, key, knobs};
use crate::problem::{self, Problem};
use crate::session::Pace;
use crate::terminal::{Step, Terminal};

impl Minikube {
    /// `start -o json`: one CloudEvent a line; the step shows the latest.
    pub(super) fn run_start(
        &self,
        terminal: &Terminal,
        step: &Step<'_>,
        pace: Pace,
        existing: Option<&Existing>,
    ) -> Result<()> {
        let args = self.start_args(pace, existing);
        terminal.detail(&format!("$ minikube {}", args.join(" ")));
        let mut child = Command::new(PROGRAM)
            .args(&args)
            .env("MINIKUBE_IN_STYLE", "false")
            .env("MINIKUBE_WANTUPDATENOTIFICATION", "false")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| problem::tool_missing(PROGRAM, INSTALL))?;
        let stderr = child.stderr.take();
        let errors = std::thread::spawn(move || stderr.map(|mut pipe| std::io::read_to_string(&mut pipe)));
        let (mut fatal, mut last) = (None, String::new());
        if let Some(stdout) = child.stdout.take() {
            for line in BufReader::new(stdout).lines().map_while(std::result::Result::ok) {
                match StartEvent::parse(&line) {
                    Some(StartEvent::Step { number, total, message }) => {
                        step.update(&format!("{number}/{total} {message}"));
                    }
                    Some(StartEvent::Warning(message)) => {
                        terminal.detail(&message);
                        last = message;
                    }
                    Some(StartEvent::Fatal(error)) => fatal = Some(error),
                    None => {}
                }
            }
        }
        let code = child.wait()?.code();
        if code == Some(0) {
            return Ok(());
        }
        let stderr = errors.join().ok().flatten().and_then(std::result::Result::ok).unwrap_or_default();
        Err(self.start_failure(code.unwrap_or(-1), fatal.unwrap_or_else(|| said(&last, &stderr))).into())
    }

    fn start_args(&self, pace: Pace, existing: Option<&Existing>) -> Vec<String> {
        let mut args: Vec<String> = vec!["start".into(), "-p".into(), self.profile.clone()];
        match (&self.driver, existing) {
            (Some(driver), _) => args.push(format!("--driver={driver}")),
            (None, Some(existing)) if !existing.driver.is_empty() => args.push(format!("--driver={}", existing.driver)),
            (None, _) => {}
        }
        let runtime = existing.map(|e| e.runtime.clone()).filter(|r| !r.is_empty());
        let runtime = runtime.or_else(|| self.container_runtime.clone());
        args.push(format!("--container-runtime={}", runtime.as_deref().unwrap_or(CONTAINER_RUNTIME)));
        if existing.is_none() {
            args.push(format!("--cpus={}", self.cpus.as_deref().unwrap_or(CPUS)));
            args.push(format!("--memory={}", self.memory.as_deref().unwrap_or(MEMORY)));
            args.push(format!("--nodes={}", self.nodes.unwrap_or(1)));
        }
        args.push("--addons=metrics-server".into());
        args.push("--wait=apiserver,system_pods,default_sa,kubelet,node_ready".into());
        args.push("--interactive=false".into());
        args.push("--keep-context".into());
        args.extend(extra_config(pace, existing).iter().map(|config| format!("--extra-config={config}")));
        args.extend(["-o".into(), "json".into()]);
        args
    }

    fn start_failure(&self, code: i32, said: Said) -> Problem {
        if said.name == "GUEST_START"
            && let Some(refused) = self.refused_flag()
        {
            return problem::minikube_extra_config(&self.profile, &refused);
        }
        let remedy = remedy(code, &said.in_words(), &self.profile);
        let name = if said.name.is_empty() { format!("exit code {code}") } else { said.name };
        problem::minikube_start(&name, &said.message, &said.advice, &remedy)
    }

    /// A flag that a component of the control plane does not know, which ends it again and again: the start waits in vain.
    fn refused_flag(&self) -> Option<String> {
        let logs = self.read(&["logs", "--problems"]).ok()?;
        let (_, rest) = logs.split_once("unknown flag: --")?;
        let flag: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        (!flag.is_empty()).then_some(flag)
    }
}

/// What has to be said of the components' settings. Said at all, it takes the place of all that was said before, so what was
/// set otherwise is repeated.
fn extra_config(pace: Pace, existing: Option<&Existing>) -> Vec<String> {
    let fresh = Existing::default();
    let existing = existing.unwrap_or(&fresh);
    if existing.keeps(pace) {
        return Vec::new();
    }
    let knobs = knobs(pace);
    let others = existing.extra_config.iter().filter(|config| knobs.iter().all(|knob| key(knob) != key(config)));
    others.chain(&knobs).cloned().collect()
}

#[derive(Debug, PartialEq, Eq)]
enum StartEvent {
    Step {
        number: String,
        total: String,
        message: String,
    },
    /// Of Minikube's, or an error that it goes on after.
    Warning(String),
    Fatal(Said),
}

impl StartEvent {
    /// Unknown types and lines that are not JSON are noise, as the contract has it.
    fn parse(line: &str) -> Option<StartEvent> {
        let event: Value = serde_json::from_str(line).ok()?;
        let data = |key: &str| event["data"][key].as_str().unwrap_or_default().to_owned();
        match event["type"].as_str()?.strip_prefix("io.k8s.sigs.minikube.")? {
            "step" => Some(StartEvent::Step {
                number: data("currentstep"),
                total: data("totalsteps"),
                message: data("message").trim().to_owned(),
            }),
            "warning" => Some(StartEvent::Warning(data("message"))),
            "error" if event["data"]["exitcode"].is_null() => Some(StartEvent::Warning(data("message"))),
            "error" => {
                let [name, message, advice] = ["name", "message", "advice"].map(|key| data(key).trim().to_owned());
                Some(StartEvent::Fatal(Said { name, message, advice }))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minikube() -> Minikube {
        Minikube {
            profile: "swell-lab".into(),
            driver: Some("docker".into()),
            container_runtime: None,
            cpus: None,
            memory: None,
            nodes: None,
        }
    }

    #[test]
    fn an_existing_profile_keeps_its_runtime_and_its_size() {
        let existing = Existing { driver: "docker".into(), runtime: "docker".into(), ..Existing::default() };
        let args = minikube().start_args(Pace::Real, Some(&existing));
        assert!(args.contains(&"--container-runtime=docker".to_owned()), "{args:?}");
        assert!(!args.iter().any(|arg| arg.starts_with("--cpus") || arg.starts_with("--memory")), "{args:?}");
    }

    #[test]
    fn pace_fast_sets_the_controller_and_nothing_that_newer_versions_refuse() {
        let args = minikube().start_args(Pace::Fast, None).join(" ");
        assert!(args.contains("--extra-config=controller-manager.horizontal-pod-autoscaler-sync-period=5s"), "{args}");
        assert!(!args.contains("downscale-delay") && !args.contains("use-rest-clients"), "{args}");
    }

    #[test]
    fn another_pace_is_said_together_with_what_was_set_otherwise() {
        let housekeeping = "kubelet.housekeeping-interval=10s".to_owned();
        let mut existing = Existing { extra_config: knobs(Pace::Fast).to_vec(), ..Existing::default() };
        existing.extra_config.insert(0, housekeeping.clone());
        assert_eq!(extra_config(Pace::Fast, Some(&existing)), [""; 0]);
        let real = extra_config(Pace::Real, Some(&existing));
        assert_eq!(real[0], housekeeping);
        assert_eq!(real[1..], knobs(Pace::Real));
        assert_eq!(extra_config(Pace::Real, None), [""; 0], "a new cluster has Kubernetes' own constants");
    }

    #[test]
    fn a_fatal_event_is_one_with_an_exit_code() {
        let fatal = r#"{"type":"io.k8s.sigs.minikube.error","data":{"exitcode":"63","name":"PROVIDER_DOCKER_NOT_RUNNING","message":"m","advice":"start it"}}"#;
        let soft = r#"{"type":"io.k8s.sigs.minikube.error","data":{"message":"only a note"}}"#;
        match StartEvent::parse(fatal) {
            Some(StartEvent::Fatal(said)) => {
                assert_eq!((&*said.in_words(), &*said.advice), ("PROVIDER_DOCKER_NOT_RUNNING: m", "start it"));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(StartEvent::parse(soft), Some(StartEvent::Warning("only a note".into())));
        for noise in ["I0223 12:00 klog line", "{}", ""] {
            assert_eq!(StartEvent::parse(noise), None, "{noise}");
        }
    }
}
