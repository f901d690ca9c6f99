//! Resource metrics: what metrics-server does, built in. The node reads counters at every scrape; a rate needs two
//! points, so a value is always the mean of one scrape interval and as old as the last scrape.
//!
//! Rules of metrics-server, as observed with its 15 s resolution: a container's first point pairs with its start when it
//! is at least 10 s old, else it waits for the next scrape (here: two thirds of the resolution, so that shorter
//! resolutions keep the proportion); a pod has metrics when all its containers have; its time stamp and window are those of
//! the container with the oldest point. Time stamps are whole seconds on the wire.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

pub mod body;
mod point;

use point::Series;
pub use point::{Reading, Usage};

/// The scrape interval of metrics-server's own manifests.
pub const RESOLUTION_DEFAULT: Duration = Duration::from_secs(15);

/// Whose readings these are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContainerKey {
    pub namespace: String,
    pub pod: String,
    pub container: String,
}

/// Usage of one pod over its last window.
#[derive(Clone, Debug, PartialEq)]
pub struct PodMetrics {
    pub namespace: String,
    pub name: String,
    pub timestamp: Timestamp,
    pub window: SignedDuration,
    /// By container name.
    pub containers: Vec<(String, Usage)>,
}

/// Usage of the node over its last window.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeMetrics {
    pub timestamp: Timestamp,
    pub window: SignedDuration,
    pub usage: Usage,
}

/// The last two points of everything. Cheap to clone; all clones are the same.
#[derive(Clone, Debug)]
pub struct Metrics {
    resolution: Duration,
    // Held for a few map operations, never across an await.
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    containers: BTreeMap<ContainerKey, Series>,
    node: Option<Series>,
}

impl Metrics {
    pub fn new(resolution: Duration) -> Metrics {
        Metrics { resolution, state: Arc::default() }
    }

    pub fn resolution(&self) -> Duration {
        self.resolution
    }

    /// Takes one scrape: a reading of every running container and of the node. Whatever is not read any more is forgotten.
    pub fn scrape(&self, containers: Vec<(ContainerKey, Reading)>, node: Option<Reading>) {
        let mut state = self.state();
        let mut before = std::mem::take(&mut state.containers);
        for (key, reading) in containers {
            let series = before.remove(&key);
            state.containers.insert(key, Series::follow(series, reading, self.resolution));
        }
        if let Some(reading) = node {
            let series = state.node.take();
            state.node = Some(Series::follow(series, reading, self.resolution));
        }
    }

    /// The pods that have metrics, of one namespace or of all, in order.
    pub fn pods(&self, namespace: Option<&str>) -> Vec<PodMetrics> {
        let state = self.state();
        let mut pods: BTreeMap<(&str, &str), Option<PodMetrics>> = BTreeMap::new();
        for (key, series) in &state.containers {
            if namespace.is_some_and(|namespace| namespace != key.namespace) {
                continue;
            }
            let pod = pods.entry((&key.namespace, &key.pod)).or_insert_with(|| {
                let (namespace, name) = (key.namespace.clone(), key.pod.clone());
                let (timestamp, window) = (Timestamp::MAX, SignedDuration::ZERO);
                Some(PodMetrics { namespace, name, timestamp, window, containers: Vec::new() })
            });
            match (pod.as_mut(), series.rate()) {
                (Some(pod), Some(rate)) => {
                    if rate.at < pod.timestamp {
                        (pod.timestamp, pod.window) = (rate.at, rate.window);
                    }
                    pod.containers.push((key.container.clone(), rate.usage));
                }
                _ => *pod = None,
            }
        }
        pods.into_values().flatten().collect()
    }

    /// The node's metrics, once there are two points.
    pub fn node(&self) -> Option<NodeMetrics> {
        let rate = self.state().node.as_ref()?.rate()?;
        Some(NodeMetrics { timestamp: rate.at, window: rate.window, usage: rate.usage })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
