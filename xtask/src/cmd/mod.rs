//! One verb, one file: each takes what was typed and the lab, and returns the exit code.

pub(crate) mod compare;
pub(crate) mod completions;
pub(crate) mod conformance;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod explain;
pub(crate) mod forward;
pub(crate) mod image;
pub(crate) mod load;
pub(crate) mod logs;
pub(crate) mod observe;
pub(crate) mod release;
pub(crate) mod report;
pub(crate) mod runs;
pub(crate) mod setup;
pub(crate) mod status;
pub(crate) mod teardown;
pub(crate) mod test;
pub(crate) mod watch;
