//! What goes wrong: names from `MINIKUBE_STAND_IN_SCENARIO`, separated by commas.

use anyhow::{Result, bail};

const KNOWN: [&str; 37] = [
    // start
    "docker-missing",
    "docker-down",
    "docker-denied",
    "no-driver",
    "as-root",
    "memory-over-system",
    "memory-over-docker",
    "virtualization-off",
    "disk-full",
    "wait-timeout",
    "addon-fails",
    // status: the bits 1 host, 2 Kubernetes, 4 kubeconfig, and a profile whose machine is gone
    "status-1",
    "status-2",
    "status-3",
    "status-4",
    "status-5",
    "status-6",
    "status-7",
    "status-null",
    // profile list, as versions up to 1.33 print it
    "status-word-running",
    // image load
    "load-nothing",
    "load-not-found",
    "load-old-stays",
    "load-disk-full",
    "load-first-node-only",
    // addons enable: it fails; and three ways in which what it enabled never serves
    "addon-refused",
    "metrics-not-pulled",
    "metrics-not-ready",
    "metrics-unreachable",
    // service list
    "service-list-fails",
    // a driver whose node cannot be reached from here
    "no-urls",
    "addon-disabled",
    "kubectl-fails",
    // unpause
    "unpause-fails",
    // profile list
    "profile-list-fails",
    // start: a Kubernetes that is older than the cluster's; what cannot be downloaded
    "downgrade",
    "offline",
];

pub(crate) struct Scenario(Vec<String>);

impl Scenario {
    pub(crate) fn from_environment() -> Result<Scenario> {
        let text = std::env::var("MINIKUBE_STAND_IN_SCENARIO").unwrap_or_default();
        let names: Vec<String> = text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        if let Some(name) = names.iter().find(|name| !KNOWN.contains(&name.as_str())) {
            bail!("no scenario {name:?}; there are {}", KNOWN.join(", "));
        }
        Ok(Scenario(names))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        debug_assert!(KNOWN.contains(&name), "{name}");
        self.0.iter().any(|given| given == name)
    }

    /// The exit code that `status` is told to give.
    pub(crate) fn status(&self) -> Option<u8> {
        self.0.iter().find_map(|name| name.strip_prefix("status-")?.parse().ok())
    }
}
