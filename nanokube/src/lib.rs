//! nanokube: an embedded Kubernetes. A real API over HTTPS on loopback, its controllers, and pods as real processes.
//!
//! Reading order: `object` (what is stored), `kind` (which kinds there are), `store` (where they live), `cluster` (the
//! one write path), `api` (the HTTP face), `controllers` (pure reconcilers), `node` (pods as processes), `daemon` (all
//! of it wired together), `cmd` (the verbs of the command line).

mod any_certificate;
pub mod api;
pub mod cli;
pub mod client;
pub mod cluster;
pub mod cmd;
pub mod controllers;
pub mod credentials;
pub mod daemon;
pub mod defaults;
pub mod exposition;
pub mod golden;
pub mod image;
pub mod instance;
pub mod kind;
mod kubeconfig;
pub mod managed;
pub mod metrics;
pub mod node;
pub mod normal;
pub mod object;
pub mod openapi;
pub mod patch;
pub mod protobuf;
pub mod proxy;
#[cfg(test)]
mod recorded;
pub mod removal;
pub mod schema;
pub mod seed;
pub mod selector;
pub mod spdy;
pub mod status;
pub mod store;
pub mod table;
pub mod validation;
