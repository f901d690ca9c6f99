//! `forward`: a local port to the service, each connection to another ready pod.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use tokio::sync::mpsc;

use crate::cli::ForwardArgs;
use crate::cluster;
use crate::forward::{Dialed, Forward};
use crate::lab::Lab;
use crate::problem;
use crate::workload::Facts;

const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(crate) async fn run(lab: &Lab<'_>, args: &ForwardArgs) -> Result<u8> {
    let port: u16 = args.port.parse().map_err(|_| problem::bad_port(&args.port))?;
    let session = lab.session()?;
    let workload = session.workload()?;
    let client = cluster::connect_session(&session).await?;
    let facts = Facts::read(&client, workload).await?;
    let at = SocketAddr::new(args.address, port);
    let forward = Forward::bind(&client, &workload.namespace, &facts.selector, facts.target_port, at).await?;
    lab.terminal.line(&format!("http://{} -> {} (Ctrl-C ends it)", forward.address, workload.service));
    let (told, mut dialed) = mpsc::unbounded_channel();
    let serving = forward.run(told);
    tokio::pin!(serving);
    let mut served: BTreeMap<String, usize> = BTreeMap::new();
    let mut failed = 0;
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            // A teardown elsewhere ends what leads to nothing.
            _ = look.tick() => drop(lab.session()?),
            ended = &mut serving => return ended.map(|()| 0),
            Some(dialed) = dialed.recv() => match dialed {
                Dialed::Pod { peer, pod } => {
                    lab.terminal.say(&format!("  {peer} -> {pod}"));
                    *served.entry(pod).or_default() += 1;
                }
                Dialed::Failed { peer, why } => {
                    lab.terminal.warn(&format!("{peer}: {why}"));
                    failed += 1;
                }
            },
            _ = tokio::signal::ctrl_c() => {
                let connections: usize = served.values().sum();
                lab.terminal.say(&format!("{connections} connections to {} pods, {failed} to none", served.len()));
                return Ok(0);
            }
        }
    }
}
