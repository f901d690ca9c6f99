//! `teardown`: removes all that setup made and nothing else. Twice is fine; so is a setup that was interrupted.

use anyhow::Result;

use crate::apply;
use crate::cli::TeardownArgs;
use crate::cluster::{self, Cluster};
use crate::interruption;
use crate::lab::Lab;
use crate::lock::Lock;
use crate::problem;
use crate::session::{ProviderKind, Session};

pub(crate) async fn run(lab: &Lab<'_>, args: &TeardownArgs) -> Result<u8> {
    let _lock = Lock::take(&lab.workspace, &lab.profile, "teardown")?;
    let guard = interruption::guard(lab, problem::teardown_interrupted)?;
    guard.after(perform(lab, args).await)
}

pub(crate) async fn perform(lab: &Lab<'_>, args: &TeardownArgs) -> Result<u8> {
    let Some(mut session) = Session::load(&lab.workspace, &lab.profile)? else {
        return remove_strays(lab);
    };
    let cluster = Cluster::of_session(&lab.workspace, &session)?;
    let delete_cluster = session.created.cluster && !args.keep_cluster;
    if delete_cluster {
        delete(lab, &cluster).await?;
    } else {
        remove_objects(lab, &cluster, &session).await?;
    }
    if delete_cluster || !session.created.cluster {
        Session::remove(&lab.workspace, &lab.profile)?;
    } else {
        session.created.namespace = false;
        session.complete = false;
        session.workload = None;
        session.save(&lab.workspace)?;
    }
    lab.terminal.say(&format!("profile `{}` is torn down; recorded runs are kept", lab.profile));
    Ok(0)
}

async fn delete(lab: &Lab<'_>, cluster: &Cluster) -> Result<()> {
    let step = lab.terminal.step("delete cluster");
    cluster.delete()?;
    let left = await_end(cluster).await;
    if !left.is_empty() {
        return Err(problem::processes_left(&left).into());
    }
    step.done(&format!("{} is gone, no process left", cluster.describe()));
    Ok(())
}

/// Processes take a moment to be reaped; what is still there after that outlived its cluster.
async fn await_end(cluster: &Cluster) -> Vec<i32> {
    for _ in 0..50 {
        if cluster.survivors().is_empty() {
            return Vec::new();
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    cluster.survivors()
}

/// In a cluster that we did not make: what carries our label, and the namespace only if we made that.
async fn remove_objects(lab: &Lab<'_>, cluster: &Cluster, session: &Session) -> Result<()> {
    let step = lab.terminal.step("remove objects");
    if session.namespace.is_empty() {
        step.same("nothing was deployed");
        return Ok(());
    }
    if !cluster.exists()? {
        step.same(&format!("{} is gone, and with it what was in it", cluster.describe()));
        return Ok(());
    }
    let client = cluster::connect_session(session).await?;
    let removed = apply::remove_labelled(&client, &session.namespace, &session.kinds).await?;
    if session.created.namespace {
        apply::remove_namespace(&client, &session.namespace).await?;
        step.done(&format!("{} objects and namespace {}", removed.len(), session.namespace));
    } else if removed.is_empty() {
        step.same("nothing was left");
    } else {
        step.done(&removed.join(", "));
    }
    Ok(())
}

/// Without a session only the embedded cluster's own directory can be ours.
fn remove_strays(lab: &Lab<'_>) -> Result<u8> {
    let session = Session::new(&lab.profile, ProviderKind::Embedded, "", crate::session::Pace::Real);
    let cluster = Cluster::of_session(&lab.workspace, &session)?;
    cluster.delete()?;
    Session::remove(&lab.workspace, &lab.profile)?;
    lab.terminal.say(&format!("profile `{}`: nothing is set up", lab.profile));
    Ok(0)
}
