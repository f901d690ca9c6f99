//! Minikube, through its command line. Its exit codes are not to be trusted alone: `image load` and `image build` exit 0
//! when they failed, and an addon failure is only a warning, so every step is verified by asking afterwards.
//!
//! Progress comes as CloudEvents from `start -o json`. The user's flags pass through; a profile that exists with another
//! driver is reported, never deleted. Contract: Minikube v1.30 to v1.39.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::Api;
use serde_json::Value;
use xshell::{Cmd, Shell};

use super::{Access, Controller, Reach};
use crate::cli::SetupArgs;
use crate::problem::{self, Problem};
use crate::session::Pace;
use crate::terminal::{Step, Terminal};

const PROGRAM: &str = "minikube";
const INSTALL: &str = "see https://minikube.sigs.k8s.io/docs/start/   (or: cargo xtask setup --cluster embedded)";
const METRICS_API: &str = "v1beta1.metrics.k8s.io";

/// Bits of `minikube status`: host, cluster, kubeconfig. All three: stopped.
const STATUS_KUBECONFIG_STALE: i32 = 4;
const STATUS_UNKNOWN_PROFILE: i32 = 85;

pub(crate) struct Minikube {
    /// Minikube's own profile, which is also the context's name.
    pub profile: String,
    driver: Option<String>,
    container_runtime: String,
    cpus: String,
    memory: String,
    nodes: u32,
}

/// What `profile list` knows of a profile that exists.
#[derive(Debug, PartialEq, Eq)]
struct Existing {
    driver: String,
    runtime: String,
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
            container_runtime: String::new(),
            cpus: String::new(),
            memory: String::new(),
            nodes: 1,
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
        match self.status()? {
            0 => {}
            STATUS_KUBECONFIG_STALE => {
                step.update("the kubeconfig points to an old port: update-context");
                self.read(&["update-context"])?;
                acted = true;
            }
            _ => {
                self.run_start(terminal, step, pace, existing.as_ref())?;
                acted = true;
            }
        }
        if let code @ 1.. = self.status()? {
            let remedy = format!("minikube logs -p {} --problems", self.profile);
            return Err(problem::minikube_state(&self.profile, &status_words(code), &remedy).into());
        }
        Ok(Access {
            kubeconfig: kubeconfig(),
            context: self.profile.clone(),
            created: existing.is_none(),
            acted,
            summary: format!("profile {}", self.profile),
        })
    }

    pub(crate) fn has_image(&self, tag: &str) -> Result<bool> {
        let listed = self.read(&["image", "ls", "--format", "json"])?;
        Ok(lists_image(&listed, tag))
    }

    /// A content-derived file name, since Minikube does not copy a file again that has the same name, size and mtime.
    pub(crate) fn load_image(&self, archive: &Path, tag: &str) -> Result<()> {
        let archive = archive.to_string_lossy();
        for _ in 0..2 {
            self.read(&["image", "load", &archive])?;
            if self.has_image(tag)? {
                return Ok(());
            }
        }
        let shell = Shell::new()?;
        let verbose = self.command(&shell).args(["image", "load", &archive, "--alsologtostderr"]);
        let output = verbose.ignore_status().output()?;
        if self.has_image(tag)? {
            return Ok(());
        }
        let detail = load_failure(&String::from_utf8_lossy(&output.stderr));
        let remedy = format!("minikube image load {archive} -p {} --alsologtostderr", self.profile);
        Err(problem::image_not_loaded(tag, "minikube", &detail, &remedy).into())
    }

    /// The addon, then its APIService Available: only then do metrics exist at all.
    pub(crate) async fn ensure_metrics(&self, client: &kube::Client, step: &Step<'_>, pace: Pace) -> Result<()> {
        let services: Api<APIService> = Api::all(client.clone());
        if services.get_opt(METRICS_API).await?.is_none() {
            step.update("minikube addons enable metrics-server");
            self.read(&["addons", "enable", "metrics-server"])?;
        }
        if pace == Pace::Fast {
            shorten_resolution(client, step).await?;
        }
        for _ in 0..600 {
            match services.get_opt(METRICS_API).await? {
                Some(service) if available(&service) => return Ok(()),
                Some(service) => step.update(&unavailable_reason(&service)),
                None => step.update("APIService not there yet"),
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Err(problem::metrics_addon_absent(&self.profile).into())
    }

    pub(crate) fn reach(&self, namespace: &str, service: &str) -> Result<Reach> {
        let listed = self.read(&["service", "list", "-n", namespace, "-o", "json"])?;
        Ok(match service_url(&listed, service) {
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
        match self.status() {
            Ok(0) => "running".to_owned(),
            Ok(code) => status_words(code),
            Err(error) => format!("{error:#}"),
        }
    }

    fn look(&self) -> Result<Option<Existing>> {
        let shell = Shell::new()?;
        let output = shell.cmd(PROGRAM).args(["profile", "list", "--light", "-o", "json"]).quiet();
        let output =
            environment(output).ignore_status().output().with_context(|| problem::tool_missing(PROGRAM, INSTALL))?;
        Ok(find_profile(&String::from_utf8_lossy(&output.stdout), &self.profile))
    }

    fn status(&self) -> Result<i32> {
        let shell = Shell::new()?;
        let output = self.command(&shell).args(["status", "-o", "json"]).ignore_status().output()?;
        Ok(output.status.code().unwrap_or(1))
    }

    /// `start -o json`: one CloudEvent a line; the step shows the latest.
    fn run_start(&self, terminal: &Terminal, step: &Step<'_>, pace: Pace, existing: Option<&Existing>) -> Result<()> {
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
        args.push(format!("--container-runtime={}", runtime.unwrap_or_else(|| self.container_runtime.clone())));
        if existing.is_none() {
            args.push(format!("--cpus={}", self.cpus));
            args.push(format!("--memory={}", self.memory));
            args.push(format!("--nodes={}", self.nodes));
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
        let remedy = start_remedy(error.exit_code, &self.profile);
        problem::minikube_start(&error.name, error.message.trim(), error.advice.trim(), &remedy)
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
        let stderr = String::from_utf8_lossy(&output.stderr);
        let head: Vec<&str> = stderr.lines().filter(|line| !line.trim().is_empty()).take(4).collect();
        let remedy = format!("minikube status -p {}", self.profile);
        Err(problem::child_failed(&format!("minikube {}", args.join(" ")), &head.join("\n"), &remedy).into())
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

/// The command that mends a failed start, by the layer that the exit code names.
fn start_remedy(exit_code: i32, profile: &str) -> String {
    match exit_code {
        23 => "cargo xtask setup --cluster minikube --memory 4g   (1800 MiB are the least)",
        10 | 14 => "cargo xtask setup --cluster minikube --memory 1900m   (or give Docker or the machine more)",
        26 => "docker system prune   (the disk is full)",
        29 => "cargo xtask setup --cluster minikube --cpus 2   (or give the virtual machine more)",
        38 => "cargo xtask setup --cluster minikube --driver docker   (or enable virtualisation in the firmware)",
        55 | 65 => {
            "cargo xtask setup --cluster embedded   (which needs none; or install one: https://docs.docker.com/engine/install/)"
        }
        56 => "cargo xtask setup --cluster minikube --driver docker",
        57 => "cargo xtask setup --cluster embedded   (or run this as an ordinary user: the docker driver refuses root)",
        63 => "sudo systemctl start docker",
        69 => "sudo usermod -aG docker $USER   (then log in again)",
        81 => return format!("minikube delete -p {profile}   (or set up with the driver that it has)"),
        80 => return format!("minikube logs -p {profile} --problems   (what cannot be saved: minikube delete -p {profile})"),
        _ => return format!("minikube logs -p {profile} --problems"),
    }
    .to_owned()
}

fn status_words(code: i32) -> String {
    if code == STATUS_UNKNOWN_PROFILE {
        return "no such profile".to_owned();
    }
    let bits = [(1, "host not running"), (2, "Kubernetes not running"), (4, "kubeconfig not up to date")];
    let words: Vec<&str> = bits.iter().filter(|(bit, _)| code & bit != 0).map(|(_, words)| *words).collect();
    if words.is_empty() { format!("status exit code {code}") } else { words.join(", ") }
}

fn find_profile(listed: &str, profile: &str) -> Option<Existing> {
    let listed: Value = serde_json::from_str(listed).ok()?;
    let all = listed["valid"].as_array().into_iter().chain(listed["invalid"].as_array()).flatten();
    let found = all.into_iter().find(|entry| entry["Name"] == profile)?;
    let text = |pointer: &str| found.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    Some(Existing { driver: text("/Config/Driver"), runtime: text("/Config/KubernetesConfig/ContainerRuntime") })
}

fn lists_image(listed: &str, tag: &str) -> bool {
    let listed: Value = serde_json::from_str(listed).unwrap_or_default();
    let tags = listed.as_array().into_iter().flatten().filter_map(|image| image["repoTags"].as_array()).flatten();
    tags.into_iter().any(|listed| listed.as_str() == Some(tag))
}

fn service_url(listed: &str, service: &str) -> Option<String> {
    let listed: Value = serde_json::from_str(listed).ok()?;
    let found = listed.as_array()?.iter().find(|entry| entry["Name"] == service)?;
    found["URLs"].as_array()?.iter().filter_map(Value::as_str).find(|url| url.starts_with("http")).map(str::to_owned)
}

/// The lines that hold the true reason: warnings of the image code and what the container runtime wrote.
fn load_failure(log: &str) -> String {
    let telling = |line: &&str| line.contains("cache_images.go") || line.contains("stderr:") || line.starts_with("! ");
    log.lines().filter(telling).take(3).map(str::trim).collect::<Vec<_>>().join(" / ")
}

fn available(service: &APIService) -> bool {
    conditions(service).any(|(kind, status, _)| kind == "Available" && status == "True")
}

fn unavailable_reason(service: &APIService) -> String {
    conditions(service)
        .find(|(kind, ..)| *kind == "Available")
        .map_or("metrics API registered".to_owned(), |(_, _, reason)| format!("metrics API: {reason}"))
}

fn conditions(service: &APIService) -> impl Iterator<Item = (&str, &str, &str)> {
    let listed = service.status.as_ref().and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    listed.map(|c| (c.type_.as_str(), c.status.as_str(), c.reason.as_deref().unwrap_or_default()))
}

/// The addon scrapes once a minute; 15 s is the shortest that metrics-server and the kubelet bear.
async fn shorten_resolution(client: &kube::Client, step: &Step<'_>) -> Result<()> {
    use k8s_openapi::api::apps::v1::Deployment;
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "kube-system");
    let Some(deployment) = deployments.get_opt("metrics-server").await? else { return Ok(()) };
    let spec = serde_json::to_value(&deployment.spec)?;
    let args = spec.pointer("/template/spec/containers/0/args").and_then(Value::as_array).cloned().unwrap_or_default();
    let Some(index) = args.iter().position(|arg| arg.as_str() == Some("--metric-resolution=60s")) else {
        return Ok(());
    };
    step.update("metrics every 15 s");
    let mut args = args;
    args[index] = Value::from("--metric-resolution=15s");
    let container = spec.pointer("/template/spec/containers/0/name").cloned().unwrap_or_default();
    let patch =
        serde_json::json!({"spec": {"template": {"spec": {"containers": [{"name": container, "args": args}]}}}});
    deployments
        .patch("metrics-server", &kube::api::PatchParams::default(), &kube::api::Patch::Strategic(patch))
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minikube() -> Minikube {
        Minikube {
            profile: "swell-lab".into(),
            driver: Some("docker".into()),
            container_runtime: "containerd".into(),
            cpus: "2".into(),
            memory: "4g".into(),
            nodes: 1,
        }
    }

    #[test]
    fn an_existing_profile_keeps_its_runtime_and_its_size() {
        let existing = Existing { driver: "docker".into(), runtime: "docker".into() };
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

    #[test]
    fn image_listings_are_matched_by_tag_not_by_substring() {
        let listed = r#"[{"id":"ab","repoTags":["localhost/swell-service:3f2a9c1b7e44"],"size":"5"}]"#;
        assert!(lists_image(listed, "localhost/swell-service:3f2a9c1b7e44"));
        assert!(!lists_image(listed, "localhost/swell-service:3f2a"));
        assert!(!lists_image("[]", "localhost/swell-service:3f2a9c1b7e44"));
    }

    #[test]
    fn a_service_without_a_url_is_reached_by_forwarding() {
        let with = r#"[{"Namespace":"swell","Name":"swell-service","URLs":["http://192.168.49.2:30080"]}]"#;
        let without = r#"[{"Namespace":"swell","Name":"swell-service","URLs":[],"PortNames":["http/80"]}]"#;
        assert_eq!(service_url(with, "swell-service").as_deref(), Some("http://192.168.49.2:30080"));
        assert_eq!(service_url(without, "swell-service"), None);
    }

    #[test]
    fn status_bits_are_put_in_words() {
        assert_eq!(status_words(7), "host not running, Kubernetes not running, kubeconfig not up to date");
        assert_eq!(status_words(85), "no such profile");
    }
}
