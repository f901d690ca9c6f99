//! The node: pods as real processes.

pub mod cgroup;
pub mod log;
pub mod process_tree;
pub mod supervisor;
