//! The Node object: this machine, as a kubelet would register it.
//!
//! Allocatable CPU leaves half a core to the API, the proxy and the load generator, so that a cluster full of busy pods
//! still measures honestly. There are no pressure conditions to report truthfully, so they are reported as absent.

use std::time::Duration;

use serde_json::{Value, json};

use super::{NODE_NAME, NodeConfig};
use crate::api::KUBERNETES_VERSION;
use crate::cluster::{Cluster, Part, Patch, Writer};
use crate::image::host_architecture;
use crate::object;
use crate::status::ApiError;

/// What the lab keeps for itself.
const RESERVED_CPU_MILLI: u64 = 500;
const RESERVED_MEMORY_KIB: u64 = 256 << 10;
const PODS_MAX: u32 = 110;

/// How often the lease is renewed, and after how many renewals the status is written again, as a real kubelet does.
const LEASE_PERIOD: Duration = Duration::from_secs(10);
const LEASE_DURATION_S: u64 = 40;
const LEASES_PER_STATUS: u32 = 30;
const LEASES: &str = "leases.coordination.k8s.io";
const LEASE_NAMESPACE: &str = "kube-node-lease";

/// Creates the Node, or brings it up to date.
pub(super) fn register(cluster: &Cluster, config: &NodeConfig) -> Result<(), ApiError> {
    let writer = Writer::controller("kubelet");
    if cluster.get("nodes", "", NODE_NAME).is_none() {
        cluster.create("nodes", "", node(), &writer)?;
    }
    let now = object::time(cluster.now());
    let mut status = status(config, &now);
    // A condition that holds on keeps its time.
    if let Some(current) = cluster.get("nodes", "", NODE_NAME) {
        for condition in status["conditions"].as_array_mut().into_iter().flatten() {
            let before = object::condition(&current, object::str_at(condition, "/type"));
            if let Some(before) = before.filter(|before| before["status"] == condition["status"]) {
                condition["lastTransitionTime"] = before["lastTransitionTime"].clone();
            }
        }
    }
    let status = Patch::Merge(json!({ "status": status }));
    cluster.patch("nodes", "", NODE_NAME, status, Part::Status, &writer)?;
    Ok(())
}

/// Shows that the node lives, for as long as it does.
pub(super) async fn beat(cluster: Cluster, config: NodeConfig) {
    let mut beats: u32 = 0;
    loop {
        let written = if beats.is_multiple_of(LEASES_PER_STATUS) { register(&cluster, &config) } else { Ok(()) };
        if let Err(error) = written.and_then(|()| renew_lease(&cluster)) {
            eprintln!("node: heartbeat: {}", error.message);
        }
        tokio::time::sleep(LEASE_PERIOD).await;
        beats = beats.wrapping_add(1);
    }
}

fn renew_lease(cluster: &Cluster) -> Result<(), ApiError> {
    let writer = Writer::controller("kubelet");
    let spec = json!({
        "holderIdentity": NODE_NAME,
        "leaseDurationSeconds": LEASE_DURATION_S,
        "renewTime": object::micro_time(cluster.now()),
    });
    if cluster.get(LEASES, LEASE_NAMESPACE, NODE_NAME).is_some() {
        let renewed = Patch::Merge(json!({ "spec": spec }));
        return cluster.patch(LEASES, LEASE_NAMESPACE, NODE_NAME, renewed, Part::Object, &writer).map(drop);
    }
    // A cluster in a test may lack the namespace; it does without.
    if cluster.get("namespaces", "", LEASE_NAMESPACE).is_none() {
        return Ok(());
    }
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": { "name": NODE_NAME, "namespace": LEASE_NAMESPACE },
        "spec": spec,
    });
    cluster.create(LEASES, LEASE_NAMESPACE, lease, &writer).map(drop)
}

fn node() -> Value {
    let architecture = host_architecture();
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": NODE_NAME,
            "labels": {
                "beta.kubernetes.io/arch": architecture,
                "beta.kubernetes.io/os": "linux",
                "kubernetes.io/arch": architecture,
                "kubernetes.io/hostname": NODE_NAME,
                "kubernetes.io/os": "linux",
                "node-role.kubernetes.io/control-plane": "",
            },
        },
        "spec": {},
    })
}

fn status(config: &NodeConfig, now: &str) -> Value {
    let cores_milli = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64) * 1_000;
    let free_milli = match config.cpus {
        Some(cpus) => (cpus * 1_000.0) as u64,
        None => cores_milli.saturating_sub(RESERVED_CPU_MILLI).max(RESERVED_CPU_MILLI),
    };
    let memory_kib = memory_kib();
    let cores = |milli: u64| match milli % 1_000 {
        0 => (milli / 1_000).to_string(),
        _ => format!("{milli}m"),
    };
    let amounts = |cpu_milli: u64, memory_kib: u64| {
        json!({
            "cpu": cores(cpu_milli),
            "memory": format!("{memory_kib}Ki"),
            "ephemeral-storage": "0",
            "pods": PODS_MAX.to_string(),
        })
    };
    let release = |key: &str| std::fs::read_to_string(format!("/proc/sys/kernel/{key}")).unwrap_or_default();
    let machine_id = std::fs::read_to_string("/etc/machine-id").unwrap_or_default().trim().to_owned();
    json!({
        "capacity": amounts(cores_milli.max(free_milli), memory_kib),
        "allocatable": amounts(free_milli, memory_kib.saturating_sub(RESERVED_MEMORY_KIB)),
        "conditions": conditions(now),
        "addresses": [
            { "type": "InternalIP", "address": config.address.to_string() },
            { "type": "Hostname", "address": NODE_NAME },
        ],
        "daemonEndpoints": { "kubeletEndpoint": { "Port": 0 } },
        "nodeInfo": {
            "machineID": machine_id,
            "systemUUID": machine_id,
            "bootID": release("random/boot_id").trim(),
            "kernelVersion": release("osrelease").trim(),
            "osImage": os_image(),
            "containerRuntimeVersion": format!("nanokube://{}", env!("CARGO_PKG_VERSION")),
            "kubeletVersion": KUBERNETES_VERSION,
            "kubeProxyVersion": "",
            "operatingSystem": "linux",
            "architecture": host_architecture(),
        },
    })
}

fn conditions(now: &str) -> Value {
    let rows = [
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ];
    let condition = |(kind, status, reason, message): (&str, &str, &str, &str)| {
        json!({
            "type": kind,
            "status": status,
            "lastHeartbeatTime": now,
            "lastTransitionTime": now,
            "reason": reason,
            "message": message,
        })
    };
    Value::Array(rows.into_iter().map(condition).collect())
}

fn memory_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    total.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse().ok()).unwrap_or(0)
}

fn os_image() -> String {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| "Linux".to_owned(), |name| name.trim_matches('"').to_owned())
}
