//! Keeps count of the CPU time of everything below this supervisor, living and ended, without ever going back.

use super::sys;
use crate::node::process_tree;

/// The process list is read again after this, or as soon as a process of it is gone.
const LIST_AGE_MAX_NS: u64 = 500_000_000;

#[derive(Debug, Default)]
pub(super) struct Accountant {
    processes: Vec<i32>,
    /// What children cost that the living have waited for.
    waited_ns: u64,
    listed_at_ns: Option<u64>,
    highest_ns: u64,
}

impl Accountant {
    /// CPU nanoseconds of the whole tree so far.
    pub(super) fn cpu_ns(&mut self, now_ns: u64) -> u64 {
        let is_old = self.listed_at_ns.is_none_or(|at| now_ns.saturating_sub(at) > LIST_AGE_MAX_NS);
        if is_old {
            self.refresh(now_ns);
        }
        let living = self.clocks().unwrap_or_else(|| {
            self.refresh(now_ns);
            self.processes.iter().filter_map(|pid| process_tree::cpu_clock_ns(*pid)).sum()
        });
        self.highest_ns = self.highest_ns.max(living + self.waited_ns + sys::waited_cpu_ns());
        self.highest_ns
    }

    /// The processes below this one, as last listed.
    pub(super) fn processes(&self) -> &[i32] {
        &self.processes
    }

    pub(super) fn refresh(&mut self, now_ns: u64) {
        self.processes = process_tree::descendants(std::process::id() as i32);
        self.waited_ns = self.processes.iter().filter_map(|pid| process_tree::waited_children_ns(*pid)).sum();
        self.listed_at_ns = Some(now_ns);
    }

    /// `None` when a listed process is gone.
    fn clocks(&self) -> Option<u64> {
        self.processes.iter().map(|pid| process_tree::cpu_clock_ns(*pid)).sum()
    }
}
