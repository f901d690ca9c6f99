//! Everything that needs the crate from outside: recorded decisions, readable scenarios, properties, the fuzz corpus.
//!
//! The decision itself may not touch files, environment or output; its tests have to.
#![allow(clippy::disallowed_methods, clippy::disallowed_macros)]

mod fuzz;
mod pass;
mod properties;
mod recorded;
mod scenario;
mod whatif;
