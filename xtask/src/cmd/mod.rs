//! One verb, one file: each takes what was typed and the lab, and returns the exit code.

pub mod completions;
pub mod demo;
pub mod forward;
pub mod image;
pub mod load;
pub mod logs;
pub mod report;
pub mod runs;
pub mod setup;
pub mod status;
pub mod teardown;
pub mod watch;
