//! The node: pods as real processes on this machine.
//!
//! Reading order: `machine` (the Node object), `kubelet` (pods of the store become containers, and their status goes
//! back), `session` and `supervisor` (one process that owns one container), `cgroup` and `process_tree` (limits and
//! usage), `log`. The node writes through [`Cluster`] like everybody else.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use crate::api::auth::Token;
use crate::cli::Limiter;
use crate::cluster::Cluster;
use crate::image::ImageStore;
use crate::metrics::Metrics;

pub mod cgroup;
mod kubelet;
pub mod log;
mod machine;
pub mod process_tree;
mod sampling;
mod session;
pub mod supervisor;

pub use kubelet::{ExecSession, ExecStreams};

use cgroup::CgroupRoot;
use kubelet::Kubelet;
pub(crate) use kubelet::tls;
pub use sampling::ContainerReading;
pub use supervisor::check::Isolation;

/// The name of the only node there is.
pub const NODE_NAME: &str = "nanokube";

/// What the node needs to know of its instance.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Where node ports and the API are.
    pub address: Ipv4Addr,
    /// First and last address for pods.
    pub pod_addresses: (Ipv4Addr, Ipv4Addr),
    /// Names control groups; unique on the machine.
    pub instance: String,
    /// Logs, volumes and writable layers, a directory for each pod.
    pub pods_dir: PathBuf,
    /// Cores for pods; None leaves half a core of the machine to the rest.
    pub cpus: Option<f64>,
    pub limiter: Limiter,
    /// For clients inside pods.
    pub kubeconfig: PathBuf,
    /// Signs the tokens of the pods' accounts.
    pub token: Token,
    /// This program, which is its own supervisor.
    pub program: PathBuf,
}

/// How CPU limits are enforced.
#[derive(Clone, Debug)]
pub(crate) enum Limits {
    Cgroups(CgroupRoot),
    /// SIGSTOP and SIGCONT by the supervisor.
    Signals,
}

/// The running node; clones are the same.
#[derive(Clone)]
pub struct Node {
    kubelet: Arc<Kubelet>,
}

impl Node {
    /// Registers the node, starts the pods that are bound to it, and follows the store. Call inside a runtime.
    pub fn start(cluster: Cluster, images: ImageStore, metrics: Metrics, config: NodeConfig) -> anyhow::Result<Node> {
        std::fs::create_dir_all(&config.pods_dir)?;
        let isolation = isolation(&config);
        Node::start_isolated(cluster, images, metrics, config, isolation)
    }

    /// The same with pods kept apart from the machine in a given way, which must be possible.
    pub fn start_isolated(
        cluster: Cluster,
        images: ImageStore,
        metrics: Metrics,
        config: NodeConfig,
        isolation: Isolation,
    ) -> anyhow::Result<Node> {
        let limits = choose_limits(&config)?;
        std::fs::create_dir_all(&config.pods_dir)?;
        machine::register(&cluster, &config)?;
        tokio::spawn(machine::beat(cluster.clone(), config.clone()));
        let kubelet = Kubelet::start(cluster, images, config, limits, isolation);
        sampling::start(kubelet.clone(), metrics);
        Ok(Node { kubelet })
    }

    /// What enforces CPU limits here, for people.
    pub fn limiter(&self) -> &'static str {
        match &self.kubelet.limits {
            Limits::Cgroups(root) if root.version() == cgroup::Version::V2 => "cgroup2",
            Limits::Cgroups(_) => "cgroup1",
            Limits::Signals => "signals",
        }
    }

    /// What separates pods from the machine, for people.
    pub fn isolation(&self) -> &'static str {
        match self.kubelet.isolation {
            Isolation::None => "none",
            Isolation::Namespaces { user_namespace: false, .. } => "namespaces",
            Isolation::Namespaces { user_namespace: true, .. } => "user namespaces",
        }
    }

    /// The kubelet, for the API's pod subresources.
    pub fn kubelet(&self) -> &Kubelet {
        &self.kubelet
    }

    /// The counters of every running container, read now.
    pub async fn readings(&self) -> Vec<ContainerReading> {
        sampling::read(&self.kubelet).await
    }

    /// Ends all pods, each within its grace period but at most ten seconds; their objects stay.
    pub async fn shutdown(&self) {
        self.kubelet.shutdown().await;
        if let Limits::Cgroups(root) = &self.kubelet.limits {
            root.remove_all();
        }
    }
}

fn choose_limits(config: &NodeConfig) -> anyhow::Result<Limits> {
    let v2 = || CgroupRoot::find_v2(&config.instance);
    let v1 = || CgroupRoot::find_v1(&config.instance);
    let missing = |version| {
        anyhow::anyhow!(
            "no writable control group of version {version} with the cpu controller: use --cpu-limiter auto, or signals"
        )
    };
    let limits = match config.limiter {
        Limiter::Auto => v2().or_else(v1).map_or(Limits::Signals, Limits::Cgroups),
        Limiter::Cgroup2 => Limits::Cgroups(v2().ok_or_else(|| missing(2))?),
        Limiter::Cgroup1 => Limits::Cgroups(v1().ok_or_else(|| missing(1))?),
        Limiter::Signals => Limits::Signals,
    };
    Ok(limits)
}

/// Asks a child process to try; a kernel that says no to everything leaves pods in the machine's own root.
fn isolation(config: &NodeConfig) -> Isolation {
    let dir = config.pods_dir.join(".check");
    let _ = crate::removal::remove_tree(&dir); // left by a killed daemon
    if std::fs::create_dir_all(&dir).is_err() {
        return Isolation::None;
    }
    let output = std::process::Command::new(&config.program).args([supervisor::VERB, "check"]).arg(&dir).output();
    let _ = crate::removal::remove_tree(&dir); // removed at the next start otherwise
    let parsed = output.ok().and_then(|output| serde_json::from_slice::<Value>(&output.stdout).ok());
    parsed.and_then(|value| serde_json::from_value(value).ok()).unwrap_or(Isolation::None)
}
