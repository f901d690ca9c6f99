//! Flags and feature gates of the controller. The defaults are those of kube-controller-manager 1.36.

use crate::time::{NS_PER_MS, NS_PER_S};

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Config {
    /// `--horizontal-pod-autoscaler-tolerance`, in both directions.
    pub tolerance: f64,
    /// `--horizontal-pod-autoscaler-downscale-stabilization`.
    pub downscale_stabilization_ns: i64,
    /// `--horizontal-pod-autoscaler-cpu-initialization-period`.
    pub cpu_initialization_period_ns: i64,
    /// `--horizontal-pod-autoscaler-initial-readiness-delay`.
    pub initial_readiness_delay_ns: i64,
    /// Compiled into Kubernetes: without `behavior`, one pass at most multiplies the count by this ...
    pub legacy_scale_up_limit_factor: f64,
    /// ... or raises it to this, whichever is more.
    pub legacy_scale_up_limit_minimum: f64,
    pub gates: Gates,
}

/// Feature gates that change a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gates {
    /// `HPAScaleToZero` (KEP-2021): alpha, off.
    pub scale_to_zero: bool,
    /// `HPAConfigurableTolerance` (KEP-4951): beta, on.
    pub configurable_tolerance: bool,
    /// `PodLevelResources`: beta, on.
    pub pod_level_resources: bool,
}

/// Default of `--horizontal-pod-autoscaler-sync-period`; the host keeps the time, the decision only receives it.
pub const SYNC_PERIOD_NS: i64 = 15 * NS_PER_S;

/// A conflicting write of the scale is tried this often in all, about [`SCALE_RETRY_PAUSE_NS`] apart.
pub const SCALE_UPDATE_ATTEMPTS_MAX: u32 = 5;

pub const SCALE_RETRY_PAUSE_NS: i64 = 10 * NS_PER_MS;

impl Default for Config {
    fn default() -> Config {
        Config {
            tolerance: 0.1,
            downscale_stabilization_ns: 300 * NS_PER_S,
            cpu_initialization_period_ns: 300 * NS_PER_S,
            initial_readiness_delay_ns: 30 * NS_PER_S,
            legacy_scale_up_limit_factor: 2.0,
            legacy_scale_up_limit_minimum: 4.0,
            gates: Gates::default(),
        }
    }
}

impl Default for Gates {
    fn default() -> Gates {
        Gates { scale_to_zero: false, configurable_tolerance: true, pod_level_resources: true }
    }
}
