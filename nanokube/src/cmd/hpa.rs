//! `nanokube hpa`: the built-in autoscaler for another cluster, in the foreground until a signal ends it.

use std::process::ExitCode;

use anyhow::Context;

use crate::cli::Hpa;
use crate::client::Client;
use crate::controllers::hpa::{Flags, remote};
use crate::daemon;

pub(super) fn run(hpa: &Hpa) -> anyhow::Result<ExitCode> {
    let client = Client::of_context(&hpa.kubeconfig, hpa.context.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    runtime.block_on(async {
        let hint = || format!("cannot use {}: see `kubectl --kubeconfig FILE get hpa`", client.server());
        let answer = client.get("/apis/autoscaling/v2/horizontalpodautoscalers?limit=1").await.with_context(hint)?;
        if answer.status != 200 {
            let words = answer.json()["message"].as_str().unwrap_or_default().to_owned();
            return Err(anyhow::anyhow!("the server answers {} {words}", answer.status)).with_context(hint);
        }
        eprintln!("autoscaling {} every {} s", client.server(), hpa.flags.sync_period.as_secs_f64());
        let stopped = async {
            if let Err(error) = daemon::wait_for_signal().await {
                eprintln!("{error:#}");
            }
        };
        remote::run(client, &Flags::from(&hpa.flags), stopped).await;
        Ok(ExitCode::SUCCESS)
    })
}
