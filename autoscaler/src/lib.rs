//! The decision of a HorizontalPodAutoscaler, and nothing else.
//!
//! Decides what the controller of Kubernetes 1.36 decides, on the same input: every metric kind, readiness and start-up
//! rules, tolerance, stabilisation, policies, bounds, scale to zero; conditions, events and status to the letter. And
//! it says why, which that controller does not.
//!
//! ```
//! use autoscaler::spec::{Metric, Spec, Target};
//! use autoscaler::whatif::{Question, ask};
//!
//! let spec = Spec { max_replicas: 10, metrics: vec![Metric::resource("cpu", Target::utilization(90))], ..Spec::default() };
//! let question = Question {
//!     usage: vec![("cpu".into(), "180m".parse()?)],
//!     requests: vec![("cpu".into(), "100m".parse()?)],
//!     ..Question::new(spec, 3)
//! };
//! let decided = ask(&question);
//! assert_eq!(decided.outcome.explanation.line(), "3 -> 6: cpu at 180% of 90% asks for 6");
//! # Ok::<(), autoscaler::quantity::ParseQuantityError>(())
//! ```
//!
//! In a cluster, [`pass`] is the conversation: what was seen goes in, what to write comes out, and how the writes went
//! goes in again. [`explain`] is the reasoning as data, and in words.
//!
//! What the crate refuses: clocks, files, sockets, environment, randomness, logging, threads. Time comes in as a value
//! and no input makes it panic. It has no dependencies; the feature `json` adds Kubernetes' JSON in and out (`json`)
//! and the replay of recorded decisions (`conformance`).

// What the user asked for.
pub mod defaults;
pub mod field;
pub mod quantity;
pub mod spec;
pub mod validate;

// What was seen.
pub mod config;
pub mod pod;
pub mod registry;
pub mod sample;
pub mod selector;
pub mod time;

// What is decided, remembered, reported and explained.
pub mod explain;
pub mod history;
pub mod pass;
pub mod replicas;
pub mod status;
pub mod whatif;

mod classify;
mod metric;
mod normalize;
mod number;
mod requests;

#[cfg(feature = "json")]
pub mod conformance;
#[cfg(feature = "json")]
pub mod json;
