//! `nanokube status`: whether the daemon runs, and where. Exit code 0 running, 3 not running.

use std::process::ExitCode;

use serde_json::json;

use super::say;
use crate::cli::Format;
use crate::instance::Directory;

const NOT_RUNNING: u8 = 3;

pub(super) fn run(directory: &Directory, output: Format) -> anyhow::Result<ExitCode> {
    let facts = directory.facts_of_last_run().filter(|_| directory.is_running());
    match (output, &facts) {
        (Format::Json, Some(facts)) => {
            let mut report = serde_json::to_value(facts)?;
            report["running"] = true.into();
            report["kubeconfig"] = directory.kubeconfig().to_string_lossy().into();
            say(format_args!("{report:#}"));
        }
        (Format::Json, None) => say(format_args!("{:#}", json!({ "running": false }))),
        (Format::Text, Some(facts)) => {
            say(format_args!("running      pid {}", facts.pid));
            say(format_args!("api          {} (Kubernetes {})", facts.api_server, facts.kubernetes_version));
            say(format_args!("node         {}", facts.node_address));
            say(format_args!("cpu limits   {}", facts.limiter));
            say(format_args!("kubeconfig   {}", directory.kubeconfig().display()));
        }
        (Format::Text, None) => say("not running  (start it with `nanokube start`)"),
    }
    Ok(if facts.is_some() { ExitCode::SUCCESS } else { ExitCode::from(NOT_RUNNING) })
}
