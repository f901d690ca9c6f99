//! What clusters left behind: directories that no session knows of, of daemons that were killed and never torn down.

use crate::cluster::Cluster;
use crate::run_dir::shown;
use crate::session::{Pace, ProviderKind, Session};
use crate::workspace::{self, Workspace};

use super::{Finding, Fix};

pub(crate) fn check(workspace: &Workspace) -> Vec<Finding> {
    let dir = workspace.state_dir().join("clusters");
    let names = workspace::names_in(&dir, |path| path.is_dir());
    let unknown = names.into_iter().filter(|name| matches!(Session::load(workspace, name), Ok(None)));
    let dead = unknown.filter(|name| is_dead(workspace, name));
    dead.map(|name| {
        let dir = dir.join(&name);
        Finding {
            fix: Some(Fix::RemoveLeft(dir.clone())),
            ..Finding::note(
                "left behind",
                format!("{}: a cluster that no profile is set up on, and that does not run", shown(&dir)),
                format!("cargo xtask teardown --profile {name}"),
            )
        }
    })
    .collect()
}

/// Neither a daemon nor a process of a pod.
fn is_dead(workspace: &Workspace, name: &str) -> bool {
    let session = Session::new(name, ProviderKind::Embedded, "", Pace::Real);
    Cluster::of_session(workspace, &session)
        .is_ok_and(|cluster| cluster.survivors().is_empty() && cluster.is_running().is_ok_and(|running| !running))
}
