//! `nanokube hpa`: the built-in autoscaler for another cluster, in the foreground until a signal ends it.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use tokio::sync::Mutex;

use crate::cli::{Hpa, HpaFlags};
use crate::client::Client;
use crate::controllers::hpa::lease::{Election, Times};
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
        let leads = hpa.leader_elect.then(|| Election::new(client.clone(), Times::default()));
        autoscale(client, &hpa.flags, leads).await
    })
}

/// Until a signal comes or the lease is lost.
async fn autoscale(client: Client, flags: &HpaFlags, leads: Option<Election>) -> anyhow::Result<ExitCode> {
    let signal = daemon::wait_for_signal();
    tokio::pin!(signal);
    let leads = match leads {
        None => None,
        Some(mut election) => {
            tokio::select! {
                ended = &mut signal => return ended.map(|()| ExitCode::SUCCESS),
                () = election.acquire() => {}
            }
            Some(Arc::new(Mutex::new(election)))
        }
    };
    eprintln!("autoscaling {} every {} s", client.server(), flags.sync_period.as_secs_f64());
    let held = leads.clone().map(|election| tokio::spawn(async move { election.lock().await.hold().await }));
    let holding = held.as_ref().map(tokio::task::JoinHandle::abort_handle);
    let lost = async {
        match held {
            Some(held) => held.await.unwrap_or(()),
            None => std::future::pending().await,
        }
    };
    let mut ended = Ok(false);
    let stopped = async {
        tokio::select! {
            signal = &mut signal => ended = signal.map(|()| false),
            () = lost => ended = Ok(true),
        }
    };
    remote::run(client, &Flags::from(flags), stopped).await;
    if ended? {
        anyhow::bail!("the lease is lost: another autoscaler acts now, or the server cannot be reached");
    }
    if let Some(holding) = holding {
        holding.abort();
    }
    if let Some(election) = leads {
        election.lock().await.release().await?;
    }
    Ok(ExitCode::SUCCESS)
}
