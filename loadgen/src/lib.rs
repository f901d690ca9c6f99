//! The load: what to send, when, and what came back.
//!
//! Without the feature `engine` this crate is only the wire types that other programs need to speak to the `loadgen`
//! binary: the pattern algebra, the load, the scenario file and the records of the result stream. The engine itself is
//! reached through the binary's command line, never linked into another program.

pub mod arithmetic;
pub mod curve;
pub mod histogram;
pub mod judge;
pub mod load;
pub mod merge;
pub mod part;
pub mod pattern;
pub mod scenario;
pub mod span;
pub mod stream;
pub mod text;
pub mod threshold;
pub mod totals;

#[cfg(feature = "engine")]
pub mod cli;
#[cfg(feature = "engine")]
pub mod engine;
#[cfg(feature = "engine")]
pub mod output;
#[cfg(feature = "engine")]
pub mod statistics;
