//! The embedded cluster: `nanokube`, spawned and spoken to through its command line, then through the Kubernetes API.
//!
//! One directory per profile (`.swell/clusters/<profile>`) holds all of it, kubeconfig included, so the user's own
//! kubeconfig is never touched and removing the directory removes everything.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::Value;
use xshell::{Cmd, Shell};

use super::{Access, Controller, texts};
use crate::archive::{Archived, Listed};
use crate::problem;
use crate::session::Pace;
use crate::terminal::Step;
use crate::workspace::Workspace;

/// Exit code of `nanokube status` when no daemon runs.
const NOT_RUNNING: i32 = 3;

pub(crate) struct Embedded {
    binary: PathBuf,
    dir: PathBuf,
    profile: String,
}

impl Embedded {
    pub(crate) fn new(workspace: &Workspace, profile: &str) -> Embedded {
        Embedded {
            binary: workspace.binary("nanokube"),
            dir: workspace.state_dir().join("clusters").join(profile),
            profile: profile.to_owned(),
        }
    }

    pub(crate) fn start(&self, step: &Step<'_>, pace: Pace, last_pace: Option<Pace>) -> Result<Access> {
        let running = self.instance()?;
        let same_pace = last_pace.is_none_or(|last| last == pace);
        let mut acted = false;
        if running.is_some() && !same_pace {
            step.update("stopping: the pace is a setting of the controllers");
            self.run(&["stop"])?;
        }
        if running.is_none() || !same_pace {
            step.update("starting");
            let flags = pace_flags(pace);
            let args: Vec<&str> = ["start", "--wait"].into_iter().chain(flags.iter().map(String::as_str)).collect();
            self.run(&args)?;
            acted = true;
        }
        let instance = self.instance()?.unwrap_or_default();
        Ok(Access {
            kubeconfig: self.dir.join("kubeconfig"),
            context: format!("nanokube-{}", self.profile),
            created: true,
            acted,
            summary: summary(&instance),
        })
    }

    pub(crate) fn has_image(&self, image: &Archived) -> Result<bool> {
        let listed: Value = serde_json::from_str(&self.run(&["image", "ls", "-o", "json"])?)?;
        let entries = listed.as_array().into_iter().flatten();
        let entries = entries.map(|entry| (entry["id"].as_str().unwrap_or_default(), texts(&entry["names"])));
        Ok(image.among(entries) == Listed::Yes)
    }

    pub(crate) fn load_image(&self, image: &Archived) -> Result<()> {
        self.run(&["image", "load", &image.file.to_string_lossy()])?;
        if self.has_image(image)? {
            return Ok(());
        }
        let remedy = "cargo xtask teardown && cargo xtask setup";
        Err(problem::image_not_loaded(&image.reference, "nanokube", "", remedy).into())
    }

    pub(crate) fn exists(&self) -> bool {
        self.dir.exists()
    }

    pub(crate) fn delete(&self) -> Result<()> {
        if !self.dir.exists() {
            return Ok(());
        }
        if self.binary.exists() {
            self.run(&["delete"])?;
        }
        match std::fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| problem::unwritable(&self.dir))
            }
            _ => Ok(()),
        }
    }

    /// Every process whose command line, working directory or executable lies in the cluster's directory.
    pub(crate) fn survivors(&self) -> Vec<i32> {
        let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
        let dir = self.dir.to_string_lossy().into_owned();
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
            .filter(|pid| *pid != std::process::id().cast_signed() && belongs(*pid, &dir))
            .collect()
    }

    pub(crate) fn is_running(&self) -> Result<bool> {
        Ok(self.instance()?.is_some())
    }

    /// With the controllers' constants as the instance remembers them.
    pub(crate) fn restart(&self) -> Result<String> {
        self.run(&["start", "--wait"])?;
        Ok(format!("nanokube --dir {} start", self.dir.display()))
    }

    pub(crate) fn condition(&self) -> String {
        match self.instance() {
            Ok(Some(instance)) => summary(&instance),
            Ok(None) => "not running".to_owned(),
            Err(error) => format!("{error:#}"),
        }
    }

    /// What `nanokube status` says of a running daemon; `None` where none runs.
    fn instance(&self) -> Result<Option<Value>> {
        if !self.binary.exists() {
            return Err(problem::tool_missing("nanokube", "cargo build -p nanokube").into());
        }
        let shell = Shell::new()?;
        let output = self.command(&shell).args(["status", "-o", "json"]).ignore_status().output()?;
        match output.status.code() {
            Some(0) => Ok(Some(serde_json::from_slice(&output.stdout).unwrap_or_default())),
            Some(NOT_RUNNING) => Ok(None),
            _ => Err(failure("nanokube status", &output.stderr).into()),
        }
    }

    fn run(&self, args: &[&str]) -> Result<String> {
        let shell = Shell::new()?;
        let output = self.command(&shell).args(args).ignore_status().output()?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(failure(&format!("nanokube {}", args[0]), &output.stderr).into())
    }

    fn command<'s>(&self, shell: &'s Shell) -> Cmd<'s> {
        shell.cmd(&self.binary).arg("--dir").arg(&self.dir).quiet()
    }
}

/// Fast: the same controllers with short constants, as the manifests' component `fast` shortens the windows.
pub(super) fn controller(pace: Pace) -> Controller {
    match pace {
        Pace::Real => Controller::default(),
        Pace::Fast => Controller {
            sync_period_s: 2,
            downscale_stabilization_s: 15,
            cpu_initialization_period_s: 10,
            initial_readiness_delay_s: 5,
        },
    }
}

fn pace_flags(pace: Pace) -> Vec<String> {
    if pace == Pace::Real {
        return Vec::new();
    }
    let controller = controller(pace);
    vec![
        format!("--hpa-sync-period={}s", controller.sync_period_s),
        format!("--hpa-downscale-stabilization={}s", controller.downscale_stabilization_s),
        format!("--hpa-cpu-initialization-period={}s", controller.cpu_initialization_period_s),
        format!("--hpa-initial-readiness-delay={}s", controller.initial_readiness_delay_s),
        "--metrics-resolution=2s".to_owned(),
    ]
}

fn summary(instance: &Value) -> String {
    let text = |key: &str| instance.get(key).and_then(Value::as_str).unwrap_or_default();
    let url = [text("apiServer"), text("server")].into_iter().find(|url| !url.is_empty()).unwrap_or("running");
    let version = text("version");
    let limiter = text("limiter");
    let mut line = url.to_owned();
    if !version.is_empty() {
        line.push_str(&format!(" {version}"));
    }
    if !limiter.is_empty() {
        line.push_str(&format!(" limits by {limiter}"));
    }
    line
}

fn failure(what: &str, stderr: &[u8]) -> problem::Problem {
    let stderr = String::from_utf8_lossy(stderr);
    let last: Vec<&str> = stderr.lines().rev().take(5).collect::<Vec<_>>().into_iter().rev().collect();
    problem::child_failed(what, &last.join("\n"), "cargo xtask doctor")
}

fn belongs(pid: i32, dir: &str) -> bool {
    let proc = PathBuf::from(format!("/proc/{pid}"));
    let command_line = std::fs::read(proc.join("cmdline")).unwrap_or_default();
    let link = |name: &str| std::fs::read_link(proc.join(name)).is_ok_and(|path| path.starts_with(dir));
    command_line.split(|byte| *byte == 0).any(|arg| arg.starts_with(dir.as_bytes())) || link("exe") || link("cwd")
}
