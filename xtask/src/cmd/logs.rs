//! `logs`: the logs of all pods of the service, each line with its pod; `-f` also of pods that come later.

use std::collections::HashSet;

use anyhow::Result;
use futures::{AsyncBufReadExt, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, LogParams};
use kube::runtime::{WatchStreamExt, watcher};
use tokio::sync::mpsc;

use crate::cli::LogsArgs;
use crate::cluster;
use crate::lab::Lab;
use crate::pods;
use crate::problem;
use crate::terminal::{Ink, Terminal};
use crate::workload::Facts;

pub(crate) async fn run(lab: &Lab<'_>, args: &LogsArgs) -> Result<u8> {
    let session = lab.session()?;
    let workload = session.workload()?;
    let client = cluster::connect_session(&session).await?;
    let facts = Facts::read(&client, workload).await?;
    let api: Api<Pod> = Api::namespaced(client, &workload.namespace);
    if args.follow {
        return follow(lab.terminal, api, &facts.selector, args).await;
    }
    let listed = api.list(&ListParams::default().labels(&facts.selector)).await?;
    if listed.items.is_empty() {
        return Err(problem::no_ready_pod(&workload.namespace).into());
    }
    for pod in listed {
        let name = pods::name(&pod);
        match api.logs(&name, &params(args)).await {
            Ok(log) => log.lines().for_each(|line| print_line(lab.terminal, &name, line)),
            Err(kube::Error::Api(status)) => lab.terminal.warn(&format!("{name}: {}", status.message)),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(0)
}

async fn follow(terminal: &Terminal, api: Api<Pod>, selector: &str, args: &LogsArgs) -> Result<u8> {
    let (lines, mut received) = mpsc::channel::<(String, String)>(1024);
    let mut following: HashSet<String> = HashSet::new();
    let mut watch = watcher(api.clone(), watcher::Config::default().labels(selector)).default_backoff().boxed();
    loop {
        tokio::select! {
            event = watch.next() => match event {
                Some(Ok(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod))) if pods::has_started(&pod) => {
                    // A restarted container is a new log.
                    if following.insert(format!("{}/{}", pods::name(&pod), pods::restarts(&pod))) {
                        tokio::spawn(pump(api.clone(), pods::name(&pod), params(args), lines.clone()));
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => terminal.detail(&format!("watch of pods: {error}")),
                None => return Ok(0),
            },
            Some((pod, line)) = received.recv() => print_line(terminal, &pod, &line),
            _ = tokio::signal::ctrl_c() => return Ok(0),
        }
    }
}

async fn pump(api: Api<Pod>, pod: String, params: LogParams, lines: mpsc::Sender<(String, String)>) {
    let Ok(stream) = api.log_stream(&pod, &params).await else { return };
    let mut read = stream.lines();
    while let Ok(Some(line)) = read.try_next().await {
        if lines.send((pod.clone(), line)).await.is_err() {
            return;
        }
    }
}

fn params(args: &LogsArgs) -> LogParams {
    LogParams {
        follow: args.follow,
        previous: args.previous,
        tail_lines: Some(args.tail.max(0)),
        ..LogParams::default()
    }
}

fn print_line(terminal: &Terminal, pod: &str, line: &str) {
    terminal.line(&format!("{} {line}", terminal.paint(Ink::Dim, pod)));
}
