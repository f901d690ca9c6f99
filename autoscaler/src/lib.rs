//! The decision of a HorizontalPodAutoscaler, and nothing else.
//!
//! Decides what the controller of Kubernetes 1.36 decides, on the same input: every metric kind, readiness and start-up
//! rules, tolerance, stabilisation, policies, bounds, scale to zero; conditions, events and status to the letter. And
//! it says why, which that controller does not.
//!
//! What it refuses: clocks, files, sockets, environment, randomness, logging, threads. Time comes in as a value, what
//! to do comes out as a value ([`pass`] is the conversation), and no input makes it panic. No dependencies; the feature
//! `json` adds Kubernetes' JSON in and out.

pub mod config;
#[cfg(feature = "json")]
pub mod conformance;
pub mod defaults;
pub mod explain;
pub mod field;
pub mod history;
#[cfg(feature = "json")]
pub mod json;
pub mod pass;
pub mod pod;
pub mod quantity;
pub mod registry;
pub mod replicas;
pub mod sample;
pub mod selector;
pub mod spec;
pub mod status;
pub mod time;
pub mod validate;
pub mod whatif;

mod classify;
mod metric;
mod normalize;
mod number;
mod requests;
