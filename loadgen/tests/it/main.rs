//! The binary against scripted servers: what it sends, what it counts, how it ends.

mod conformance;
mod run;
mod server;
mod streams;
