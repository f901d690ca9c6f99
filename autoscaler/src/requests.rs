//! What one pod requests of a resource: the base of utilisation.
//!
//! The first pod with a problem fails the whole metric, be it ignored, unready or missing otherwise.

use crate::pod::{Amount, Pod};
use crate::replicas::{ErrorClass, MetricError};
use crate::sample::Measured;

/// The request in thousandths.
pub(crate) fn of(pod: &Pod, measured: Measured<'_>, pod_level_resources: bool) -> Result<i64, MetricError> {
    match measured {
        Measured::Container { resource, container } => of_container(pod, resource, container),
        _ if pod_level_resources && has_pod_level_requests(pod) => at_pod_level(pod, measured.resource()),
        _ => of_all_containers(pod, measured.resource()),
    }
}

fn of_container(pod: &Pod, resource: &str, container: &str) -> Result<i64, MetricError> {
    match running_containers(pod).find(|c| c.name == container) {
        Some(c) => c.requests.get(resource).map(Amount::milli).ok_or_else(|| missing(pod, resource, container)),
        None => Err(MetricError {
            class: ErrorClass::ContainerNotFound,
            message: format!("container {container} not found in Pod {}", pod.name),
        }),
    }
}

fn of_all_containers(pod: &Pod, resource: &str) -> Result<i64, MetricError> {
    running_containers(pod).try_fold(0i64, |sum, c| match c.requests.get(resource) {
        Some(request) => Ok(sum.wrapping_add(request.milli())),
        None => Err(missing(pod, resource, &c.name)),
    })
}

/// The containers and the sidecars; ordinary init containers are gone by the time it matters.
fn running_containers(pod: &Pod) -> impl Iterator<Item = &crate::pod::Container> {
    let sidecars = pod.init_containers.iter().filter(|i| i.restartable).map(|i| &i.container);
    pod.containers.iter().chain(sidecars)
}

fn missing(pod: &Pod, resource: &str, container: &str) -> MetricError {
    MetricError {
        class: ErrorClass::MissingContainerRequest,
        message: format!("missing request for {resource} in container {container} of Pod {}", pod.name),
    }
}

fn has_pod_level_requests(pod: &Pod) -> bool {
    let requests = &pod.pod_level_requests;
    requests.cpu.is_some()
        || requests.memory.is_some()
        || requests.other.iter().any(|(name, _)| name.starts_with("hugepages-"))
}

fn at_pod_level(pod: &Pod, resource: &str) -> Result<i64, MetricError> {
    let supported = matches!(resource, "cpu" | "memory") || resource.starts_with("hugepages-");
    let replaced = pod.pod_level_requests.get(resource).filter(|_| supported);
    let request = sum(replaced.or_else(|| aggregated(pod, resource)), pod.overhead.get(resource));
    request.map(Amount::milli).ok_or_else(|| MetricError {
        class: ErrorClass::MissingPodLevelRequest,
        message: format!("missing pod-level request for {resource} in Pod {}", pod.name),
    })
}

/// Containers and sidecars together, or the most that the start-up of the pod needs, whichever is more.
fn aggregated(pod: &Pod, resource: &str) -> Option<Amount> {
    let mut running = pod.containers.iter().fold(None, |total, c| sum(total, c.requests.get(resource)));
    let mut sidecars = None;
    let mut starting = None;
    for init in &pod.init_containers {
        let request = init.container.requests.get(resource);
        let phase = if init.restartable {
            running = sum(running, request);
            sidecars = sum(sidecars, request);
            sidecars
        } else {
            sum(sidecars, request)
        };
        starting = starting.max(phase);
    }
    // `None` sorts first: an absent amount never wins over a present one.
    running.max(starting)
}

fn sum(a: Option<Amount>, b: Option<Amount>) -> Option<Amount> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.plus(b)),
        (a, b) => a.or(b),
    }
}
