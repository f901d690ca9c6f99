//! The controllers: pure functions from a snapshot of the cluster and the present instant to the writes they want.
//!
//! A controller never writes, reads no clock and keeps no cache: the snapshot is the store itself at one
//! resourceVersion, so it always sees its own last writes, and the "expectations" that upstream's controllers keep
//! against a lagging cache have no place here. `runner` wakes a controller when a kind it reads has changed or its
//! `wake_at` has come, and performs its actions through [`crate::cluster::Cluster`], the write path of API clients.
//!
//! Reading order: `action` (what can be asked for), `controller` (the table), `runner`, then the controllers, each in a
//! file of its name; the small nouns they share (`pod`, `ownership`, `condition`, `template`, `time`, ...) last.

pub mod action;
pub mod controller;
pub mod runner;

pub mod cron_job;
pub mod daemon_set;
pub mod definition;
pub mod deployment;
pub mod disruption;
pub mod endpoints;
pub mod events;
pub mod garbage;
pub mod hpa;
pub mod job;
pub mod namespace;
pub mod node_taints;
pub mod pod_gc;
pub mod quota;
pub mod replica_set;
pub mod scheduler;
pub mod stateful_set;
pub mod taint_eviction;

pub mod condition;
pub mod controller_revision;
pub mod event_recorder;
pub mod failures;
pub mod int_or_percent;
pub mod memo;
pub mod ownership;
pub mod pod;
pub mod template;
pub mod time;

#[cfg(test)]
mod lab;
