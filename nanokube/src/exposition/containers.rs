//! What containers use, under cAdvisor's names: CPU time, memory, and how often and long they were held back.
//!
//! Counters are read at the moment of the scrape, not at the metrics resolution. The `cfs` series exist for containers
//! with a CPU limit only, whatever enforces it.

use serde_json::Value;

use super::{Label, Page, quantity};
use crate::metrics::ContainerKey;
use crate::node::cgroup::{CPU_PERIOD_US, Usage};
use crate::object;

/// One running container at the moment of a scrape, with its pod.
pub struct Measured<'a> {
    pub key: &'a ContainerKey,
    pub pod: &'a Value,
    pub started: jiff::Timestamp,
    pub usage: Usage,
}

const NS_PER_S: f64 = 1e9;

pub fn write(page: &mut Page, containers: &[Measured<'_>]) {
    let mut cpu = page.counter("container_cpu_usage_seconds_total", "CPU time used.");
    for container in containers {
        let id = container.id();
        let mut labels = container.labels(&id).to_vec();
        labels.push(("cpu", "total"));
        cpu.sample(&labels, container.usage.cpu_ns as f64 / NS_PER_S);
    }
    for (name, help, value) in GAUGES {
        let mut family = page.gauge(name, help);
        for container in containers {
            if let Some(value) = value(container) {
                family.sample(&container.labels(&container.id()), value);
            }
        }
    }
    for (name, help, value) in CFS_COUNTERS {
        let mut family = page.counter(name, help);
        for container in containers.iter().filter(|container| container.limit("cpu").is_some()) {
            family.sample(&container.labels(&container.id()), value(&container.usage));
        }
    }
}

type Gauge = fn(&Measured<'_>) -> Option<f64>;

const GAUGES: [(&str, &str, Gauge); 5] = [
    ("container_memory_working_set_bytes", "Memory that cannot be dropped.", |it| Some(it.usage.memory_bytes as f64)),
    ("container_spec_cpu_period", "Microseconds for which a quota is granted.", |it| {
        it.limit("cpu").map(|_| CPU_PERIOD_US as f64)
    }),
    ("container_spec_cpu_quota", "Microseconds of CPU time in each period.", |it| {
        it.limit("cpu").map(|cores| cores * CPU_PERIOD_US as f64)
    }),
    ("container_spec_memory_limit_bytes", "Memory limit, 0 for none.", |it| Some(it.limit("memory").unwrap_or(0.0))),
    ("container_start_time_seconds", "Unix time of the start.", |it| Some(it.started.as_second() as f64)),
];

type Counter = fn(&Usage) -> f64;

const CFS_COUNTERS: [(&str, &str, Counter); 3] = [
    ("container_cpu_cfs_periods_total", "Periods in which the container ran.", |it| it.throttling.periods as f64),
    ("container_cpu_cfs_throttled_periods_total", "Periods in which it was held back.", |it| {
        it.throttling.throttled_periods as f64
    }),
    ("container_cpu_cfs_throttled_seconds_total", "Time for which it was held back.", |it| {
        it.throttling.throttled_ns as f64 / NS_PER_S
    }),
];

impl Measured<'_> {
    fn id(&self) -> String {
        format!("/kubepods/pod{}/{}", object::uid(self.pod), self.key.container)
    }

    fn labels<'a>(&'a self, id: &'a str) -> [Label<'a>; 6] {
        let statuses = object::array_at(self.pod, "/status/containerStatuses");
        let status = statuses.iter().find(|status| status["name"] == self.key.container.as_str());
        let at = |pointer| status.map_or("", |status| object::str_at(status, pointer));
        let container_id = at("/containerID");
        [
            ("container", &self.key.container),
            ("id", id),
            ("image", at("/image")),
            ("name", container_id.split_once("://").map_or(container_id, |(_, id)| id)),
            ("namespace", &self.key.namespace),
            ("pod", &self.key.pod),
        ]
    }

    fn limit(&self, resource: &str) -> Option<f64> {
        let containers = object::array_at(self.pod, "/spec/containers");
        let container = containers.iter().find(|container| container["name"] == self.key.container.as_str())?;
        quantity(container.pointer("/resources/limits")?.get(resource)?)
    }
}
