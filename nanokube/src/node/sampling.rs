//! Scrapes: reads the counters of every running container and of the machine once a resolution.
//!
//! All readings of one scrape are taken within a moment of each other; the phase is that of the node's start.

use std::sync::Arc;

use jiff::Timestamp;

use super::Limits;
use super::cgroup::Usage;
use super::kubelet::Kubelet;
use crate::metrics::{ContainerKey, Metrics, Reading};

/// Clock ticks are hundredths of a second on every Linux that matters (`USER_HZ`).
const NS_PER_TICK: u64 = 10_000_000;

pub(super) fn start(kubelet: Arc<Kubelet>, metrics: Metrics) {
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(metrics.resolution());
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let started = Timestamp::now();
        loop {
            ticks.tick().await;
            let readings = read(&kubelet).await.into_iter().map(|it| {
                let Usage { cpu_ns, memory_bytes, .. } = it.usage;
                (it.key, Reading { at: it.at, started: it.started, cpu_ns, memory_bytes })
            });
            metrics.scrape(readings.collect(), machine(started));
        }
    });
}

/// The counters of one running container at one moment.
pub struct ContainerReading {
    pub key: ContainerKey,
    pub at: Timestamp,
    pub started: Timestamp,
    pub usage: Usage,
}

/// Those of every running container, now.
pub(super) async fn read(kubelet: &Kubelet) -> Vec<ContainerReading> {
    let mut readings = Vec::new();
    for (key, started, container) in kubelet.running() {
        let usage = match (&container.cgroup, &kubelet.limits) {
            (Some(cgroup), Limits::Cgroups(_)) => cgroup.usage().ok(),
            _ => container.session.usage().await,
        };
        if let Some(usage) = usage {
            readings.push(ContainerReading { key, at: Timestamp::now(), started, usage });
        }
    }
    readings
}

/// The whole machine: pods, the cluster itself and whatever else runs here, as a kubelet reports its node.
fn machine(started: Timestamp) -> Option<Reading> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let fields: Vec<u64> = stat.lines().next()?.split_whitespace().skip(1).filter_map(|it| it.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal
    let busy = fields.iter().take(8).sum::<u64>().checked_sub(fields.get(3)? + fields.get(4)?)?;
    let memory = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kib = |name: &str| -> Option<u64> {
        let rest = memory.lines().find_map(|line| line.strip_prefix(name))?;
        rest.trim().trim_end_matches("kB").trim().parse().ok()
    };
    let memory_bytes = (kib("MemTotal:")?.saturating_sub(kib("MemAvailable:")?)) << 10;
    Some(Reading { at: Timestamp::now(), started, cpu_ns: busy * NS_PER_TICK, memory_bytes })
}
