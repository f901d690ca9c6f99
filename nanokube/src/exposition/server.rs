//! What the API server tells of itself: its version, its store, its process.

use rustix::time::{ClockId, clock_gettime};

use super::Page;
use crate::api::KUBERNETES_VERSION;
use crate::store::Snapshot;

pub fn write(page: &mut Page, snapshot: &Snapshot) {
    let mut build = page.gauge("kubernetes_build_info", "The version whose API is served.");
    build.sample(&[("git_version", KUBERNETES_VERSION), ("platform", "linux/amd64")], 1);
    let mut objects = page.gauge("apiserver_storage_objects", "Objects by resource.");
    for resource in snapshot.resources() {
        objects.sample(&[("resource", resource)], snapshot.list(resource).count());
    }
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    let mut family = page.counter("process_cpu_seconds_total", "CPU time that the process used.");
    family.sample(&[], format_args!("{}.{:09}", cpu.tv_sec, cpu.tv_nsec));
    if let Some(bytes) = resident_bytes() {
        page.gauge("process_resident_memory_bytes", "Memory in use.").sample(&[], bytes);
    }
}

fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}
