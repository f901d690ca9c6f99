//! The HorizontalPodAutoscaler controller: the host of the decision in the crate `autoscaler`. It gathers what a pass
//! needs to know, keeps the time and the memory between passes, and carries out what was decided.
//!
//! It differs from its siblings in that it remembers, keeps its own time (`queue`) and never looks early, and in that
//! it sees a cluster only through [`World`]: the one it lives in (`local`), or another (`remote`, where `lease` says which of
//! several acts).
//!
//! Reading order: `queue` (when), `world` (what it needs of a cluster), `answer` (what a metrics API said), `observe`
//! (JSON to the decision's types), `pass`.

pub mod answer;
pub mod lease;
pub mod local;
pub mod observe;
pub mod pass;
pub mod queue;
pub mod remote;
pub mod world;

#[cfg(test)]
mod tests;

use std::time::Duration;

use autoscaler::config::{Config, SYNC_PERIOD_NS};

pub use self::world::World;

pub const HPAS: &str = "horizontalpodautoscalers.autoscaling";
pub const COMPONENT: &str = "horizontal-pod-autoscaler";

/// The controller's flags, with upstream's defaults.
#[derive(Debug, Clone, PartialEq)]
pub struct Flags {
    pub sync_period: Duration,
    pub downscale_stabilization: Duration,
    pub cpu_initialization_period: Duration,
    pub initial_readiness_delay: Duration,
    pub tolerance: f64,
}

impl Default for Flags {
    fn default() -> Flags {
        let config = Config::default();
        let of_ns = |ns: i64| Duration::from_nanos(ns.unsigned_abs());
        Flags {
            sync_period: of_ns(SYNC_PERIOD_NS),
            downscale_stabilization: of_ns(config.downscale_stabilization_ns),
            cpu_initialization_period: of_ns(config.cpu_initialization_period_ns),
            initial_readiness_delay: of_ns(config.initial_readiness_delay_ns),
            tolerance: config.tolerance,
        }
    }
}

impl From<&crate::cli::HpaFlags> for Flags {
    fn from(typed: &crate::cli::HpaFlags) -> Flags {
        Flags {
            sync_period: typed.sync_period,
            downscale_stabilization: typed.downscale_stabilization,
            cpu_initialization_period: typed.cpu_initialization_period,
            initial_readiness_delay: typed.initial_readiness_delay,
            tolerance: typed.tolerance,
        }
    }
}

impl Flags {
    fn config(&self) -> Config {
        let ns = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        Config {
            tolerance: self.tolerance,
            downscale_stabilization_ns: ns(self.downscale_stabilization),
            cpu_initialization_period_ns: ns(self.cpu_initialization_period),
            initial_readiness_delay_ns: ns(self.initial_readiness_delay),
            ..Config::default()
        }
    }
}
