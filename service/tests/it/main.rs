//! The service as its clients see it: the real binary, real sockets, real signals.

mod drain;
mod overload;
mod process;
mod routes;
