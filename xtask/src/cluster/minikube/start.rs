//! `minikube start`: its flags, its progress as CloudEvents, and why it ended.
//!
//! One JSON object a line; the step shows the latest. A fatal one carries Minikube's own code and advice.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use serde_json::Value;

use super::state::remedy;
use super::{CONTAINER_RUNTIME, CPUS, Existing, INSTALL, MEMORY, Minikube, PROGRAM, controller};
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
        let mut fatal = None;
        if let Some(stdout) = child.stdout.take() {
            for line in BufReader::new(stdout).lines().map_while(std::result::Result::ok) {
                match StartEvent::parse(&line) {
                    Some(StartEvent::Step { number, total, message }) => {
                        step.update(&format!("{number}/{total} {message}"));
                    }
                    Some(StartEvent::Warning(message)) => terminal.detail(&message),
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
        Err(self.start_failure(code, fatal, &stderr).into())
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
        if pace == Pace::Fast {
            let controller = controller(pace);
            for (knob, seconds) in [
                ("sync-period", controller.sync_period_s),
                ("cpu-initialization-period", controller.cpu_initialization_period_s),
                ("initial-readiness-delay", controller.initial_readiness_delay_s),
            ] {
                args.push(format!("--extra-config=controller-manager.horizontal-pod-autoscaler-{knob}={seconds}s"));
            }
        }
        args.extend(["-o".into(), "json".into()]);
        args
    }

    fn start_failure(&self, code: Option<i32>, fatal: Option<StartError>, stderr: &str) -> Problem {
        let error = fatal.unwrap_or_else(|| StartError {
            name: format!("exit code {}", code.unwrap_or(-1)),
            message: stderr.lines().rev().take(3).collect::<Vec<_>>().join(" / "),
            advice: String::new(),
            exit_code: code.unwrap_or(1),
        });
        let remedy = remedy(error.exit_code, &format!("{}: {}", error.name, error.message), &self.profile);
        problem::minikube_start(&error.name, error.message.trim(), error.advice.trim(), &remedy)
    }
}

#[derive(Debug, PartialEq, Eq)]
enum StartEvent {
    Step { number: String, total: String, message: String },
    Warning(String),
    Fatal(StartError),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct StartError {
    name: String,
    message: String,
    advice: String,
    exit_code: i32,
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
            "error" => Some(StartEvent::Fatal(StartError {
                exit_code: data("exitcode").parse().ok()?,
                name: data("name"),
                message: data("message"),
                advice: data("advice"),
            })),
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
        let existing =
            Existing { driver: "docker".into(), runtime: "docker".into(), cpus: 2, memory_mib: 4096, nodes: 1 };
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
    fn a_fatal_event_is_one_with_an_exit_code() {
        let fatal = r#"{"type":"io.k8s.sigs.minikube.error","data":{"exitcode":"63","name":"PROVIDER_DOCKER_NOT_RUNNING","message":"m","advice":"start it"}}"#;
        let soft = r#"{"type":"io.k8s.sigs.minikube.error","data":{"message":"only a note"}}"#;
        match StartEvent::parse(fatal) {
            Some(StartEvent::Fatal(error)) => assert_eq!((error.exit_code, error.advice.as_str()), (63, "start it")),
            other => panic!("{other:?}"),
        }
        for noise in [soft, "I0223 12:00 klog line", "{}", ""] {
            assert_eq!(StartEvent::parse(noise), None, "{noise}");
        }
    }
}
