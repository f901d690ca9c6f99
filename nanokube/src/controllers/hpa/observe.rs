//! What the metrics APIs of a world answer for the metrics of one specification, with the errors upstream words.

use autoscaler::json::metrics_api::{self, CUSTOM, CUSTOM_VERSIONS, EXTERNAL, Fetched};
use autoscaler::json::observed;
pub use autoscaler::json::observed::duration_ns;
use autoscaler::sample::{PodMetrics, PodValue, Value as Sample};
use autoscaler::spec::{Metric, MetricIdentifier, ObjectMetric, Spec};
use autoscaler::time::Time;
use jiff::Timestamp;
use serde_json::Value;

use super::World;

pub fn time_of(at: Timestamp) -> Time {
    Time(i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX))
}

/// Asks the metrics APIs for every metric of the spec, in its order. `selector` is the target's.
pub fn fetch_all(world: &impl World, namespace: &str, spec: &Spec, selector: &str) -> Vec<Option<Fetched>> {
    let mut resource: Option<Result<Vec<PodMetrics>, String>> = None;
    let fetch = |metric: &Metric| {
        let fetched = if metric.resource.is_some() || metric.container_resource.is_some() {
            let items = resource.get_or_insert_with(|| {
                world.pod_metrics(namespace, selector).map(|items| items.iter().map(observed::pod_metrics).collect())
            });
            Fetched::PodMetrics(items.clone())
        } else if let Some(pods) = &metric.pods {
            Fetched::PodValues(pod_values(world, namespace, selector, &pods.metric))
        } else if let Some(object) = &metric.object {
            Fetched::Object(object_value(world, namespace, object))
        } else {
            let external = metric.external.as_ref()?;
            Fetched::External(external_values(world, namespace, &external.metric))
        };
        Some(fetched)
    };
    spec.metrics.iter().map(fetch).collect()
}

fn pod_values(
    world: &impl World,
    namespace: &str,
    selector: &str,
    metric: &MetricIdentifier,
) -> Result<Vec<PodValue>, String> {
    let path = metrics_api::pods_path(namespace, selector, metric);
    Ok(metrics_api::pod_values(&get_custom(world, &path, "pods", "*")?))
}

fn object_value(world: &impl World, namespace: &str, metric: &ObjectMetric) -> Result<Sample, String> {
    let described = &metric.described_object;
    let (resource, about) = if metrics_api::is_of_namespace(metric) {
        ("metrics".to_owned(), &metric.metric.name)
    } else {
        let group = described.api_version.split_once('/').map_or("", |(group, _)| group);
        let kind = if group.is_empty() { described.kind.clone() } else { format!("{}.{group}", described.kind) };
        let unmapped = |error| format!("unable to map kind {kind} to resource: {error}");
        (world.resource_of(group, &described.kind).map_err(unmapped)?, &described.name)
    };
    let path = metrics_api::object_path(namespace, &resource, metric);
    metrics_api::object_value(&get_custom(world, &path, &resource, about)?)
}

fn external_values(world: &impl World, namespace: &str, metric: &MetricIdentifier) -> Result<Vec<Sample>, String> {
    let answer = world.get(&metrics_api::external_path(namespace, metric))?;
    let list = answer.read(&format!("get {}.{EXTERNAL}", metric.name)).map_err(|refusal| refusal.message)?;
    Ok(metrics_api::external_values(&list))
}

/// From the newest version of the custom metrics API that is served.
fn get_custom(world: &impl World, path: &str, resource: &str, name: &str) -> Result<Value, String> {
    let served = world.versions(CUSTOM)?;
    if served.is_empty() {
        return Err(format!("no custom metrics API ({CUSTOM}) registered"));
    }
    let version = CUSTOM_VERSIONS.iter().find(|version| served.iter().any(|it| it == *version));
    let version = version.ok_or("no known available metric versions found")?;
    let answer = world.get(&format!("/apis/{CUSTOM}/{version}/{path}"))?;
    answer.read(&format!("get {resource}.{CUSTOM} {name}")).map_err(|refusal| refusal.message)
}
