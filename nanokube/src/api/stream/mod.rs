//! Requests that leave HTTP behind: exec, attach and port-forward, over WebSocket or SPDY/3.1.
//!
//! Newer clients speak WebSocket (with SPDY inside it for port-forward), older ones upgrade to SPDY itself; `wire` makes one
//! out of the three.

pub(crate) mod exec;
pub(crate) mod port_forward;
pub(crate) mod wire;
