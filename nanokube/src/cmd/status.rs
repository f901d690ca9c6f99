//! `nanokube status`: whether the daemon runs, and where. Exit code 0 running, 3 not running.

use std::process::ExitCode;

use serde_json::json;

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
            println!("{report:#}");
        }
        (Format::Json, None) => println!("{:#}", json!({ "running": false })),
        (Format::Text, Some(facts)) => {
            println!("running      pid {}", facts.pid);
            println!("api          {} (Kubernetes {})", facts.api_server, facts.kubernetes_version);
            println!("node         {}", facts.node_address);
            println!("cpu limits   {}", facts.limiter);
            println!("kubeconfig   {}", directory.kubeconfig().display());
        }
        (Format::Text, None) => println!("not running  (start it with `nanokube start`)"),
    }
    Ok(if facts.is_some() { ExitCode::SUCCESS } else { ExitCode::from(NOT_RUNNING) })
}
