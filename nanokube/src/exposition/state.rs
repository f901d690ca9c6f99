//! What objects say, under kube-state-metrics' names: autoscalers, Deployments, ReplicaSets, budgets, nodes, namespaces.
//!
//! A pure function of a snapshot. Series are a subset of kube-state-metrics' stable ones; labels are all there.

use serde_json::Value;

use super::{Field, Label, Page, conditions, quantity, resource_labels};
use crate::object::{self, Object};
use crate::store::Snapshot;

pub fn write(page: &mut Page, snapshot: &Snapshot) {
    autoscalers(page, &all(snapshot, "horizontalpodautoscalers.autoscaling"));
    deployments(page, &all(snapshot, "deployments.apps"));
    replica_sets(page, &all(snapshot, "replicasets.apps"));
    page.fields(&BUDGET, &all(snapshot, "poddisruptionbudgets.policy"), |it| named("poddisruptionbudget", it));
    nodes(page, &all(snapshot, "nodes"));
    let mut phases = page.gauge("kube_namespace_status_phase", "Whether a namespace is in a phase.");
    for namespace in all(snapshot, "namespaces") {
        let labels = [("namespace", object::name(namespace))];
        phases.one_of(&labels, "phase", &["Active", "Terminating"], object::str_at(namespace, "/status/phase"));
    }
}

pub(super) fn all<'a>(snapshot: &'a Snapshot, resource: &str) -> Vec<&'a Object> {
    snapshot.list(resource).collect()
}

/// Namespace and name, the name under the kind's own label.
fn named<'a>(label: &'static str, object: &'a Value) -> Vec<Label<'a>> {
    vec![("namespace", object::namespace(object)), (label, object::name(object))]
}

const fn field(name: &'static str, pointer: &'static str, absent: Option<f64>, help: &'static str) -> Field {
    Field { name, help, pointer, absent }
}

const ZERO: Option<f64> = Some(0.0);

const AUTOSCALER: [Field; 5] = [
    field("kube_horizontalpodautoscaler_metadata_generation", "/metadata/generation", None, "Generation of the spec."),
    field("kube_horizontalpodautoscaler_spec_max_replicas", "/spec/maxReplicas", None, "Most replicas."),
    field("kube_horizontalpodautoscaler_spec_min_replicas", "/spec/minReplicas", Some(1.0), "Fewest replicas."),
    field(
        "kube_horizontalpodautoscaler_status_current_replicas",
        "/status/currentReplicas",
        ZERO,
        "Replicas there are.",
    ),
    field("kube_horizontalpodautoscaler_status_desired_replicas", "/status/desiredReplicas", ZERO, "Replicas wanted."),
];

const DEPLOYMENT: [Field; 11] = [
    field("kube_deployment_created", "/metadata/creationTimestamp", None, "Unix time of creation."),
    field("kube_deployment_metadata_generation", "/metadata/generation", None, "Generation of the spec."),
    field("kube_deployment_status_observed_generation", "/status/observedGeneration", ZERO, "Generation seen."),
    field("kube_deployment_spec_replicas", "/spec/replicas", None, "Replicas asked for."),
    field("kube_deployment_spec_paused", "/spec/paused", ZERO, "Whether the roll-out is paused."),
    field("kube_deployment_status_replicas", "/status/replicas", ZERO, "Replicas there are."),
    field("kube_deployment_status_replicas_ready", "/status/readyReplicas", ZERO, "Replicas that are ready."),
    field("kube_deployment_status_replicas_available", "/status/availableReplicas", ZERO, "Replicas ready for long."),
    field(
        "kube_deployment_status_replicas_unavailable",
        "/status/unavailableReplicas",
        ZERO,
        "Replicas not available.",
    ),
    field(
        "kube_deployment_status_replicas_updated",
        "/status/updatedReplicas",
        ZERO,
        "Replicas of the newest template.",
    ),
    field(
        "kube_deployment_status_terminating_replicas",
        "/status/terminatingReplicas",
        None,
        "Replicas on their way out.",
    ),
];

const REPLICA_SET: [Field; 3] = [
    field("kube_replicaset_spec_replicas", "/spec/replicas", None, "Replicas asked for."),
    field("kube_replicaset_status_replicas", "/status/replicas", ZERO, "Replicas there are."),
    field("kube_replicaset_status_ready_replicas", "/status/readyReplicas", ZERO, "Replicas that are ready."),
];

const BUDGET: [Field; 4] = [
    field("kube_poddisruptionbudget_status_current_healthy", "/status/currentHealthy", ZERO, "Healthy pods."),
    field("kube_poddisruptionbudget_status_desired_healthy", "/status/desiredHealthy", ZERO, "Healthy pods wanted."),
    field("kube_poddisruptionbudget_status_pod_disruptions_allowed", "/status/disruptionsAllowed", ZERO, "May go now."),
    field("kube_poddisruptionbudget_status_expected_pods", "/status/expectedPods", ZERO, "Pods counted."),
];

fn autoscalers(page: &mut Page, autoscalers: &[&Object]) {
    let labels = |autoscaler| named("horizontalpodautoscaler", autoscaler);
    let mut info = page.gauge("kube_horizontalpodautoscaler_info", "What an autoscaler scales.");
    for autoscaler in autoscalers {
        let mut labels = labels(autoscaler);
        labels.extend([
            ("scaletargetref_api_version", object::str_at(autoscaler, "/spec/scaleTargetRef/apiVersion")),
            ("scaletargetref_kind", object::str_at(autoscaler, "/spec/scaleTargetRef/kind")),
            ("scaletargetref_name", object::str_at(autoscaler, "/spec/scaleTargetRef/name")),
        ]);
        info.sample(&labels, 1);
    }
    page.fields(&AUTOSCALER, autoscalers, labels);
    for (name, help, list, side) in [
        ("kube_horizontalpodautoscaler_spec_target_metric", "Targets by metric.", "/spec/metrics", "target"),
        (
            "kube_horizontalpodautoscaler_status_target_metric",
            "Last values by metric.",
            "/status/currentMetrics",
            "current",
        ),
    ] {
        let mut family = page.gauge(name, help);
        for autoscaler in autoscalers {
            for metric in object::array_at(autoscaler, list) {
                for (kind, value) in values(metric, side) {
                    let mut labels = labels(autoscaler);
                    labels.extend([("metric_name", metric_name(metric)), ("metric_target_type", kind)]);
                    family.sample(&labels, value);
                }
            }
        }
    }
    let mut family = page.gauge("kube_horizontalpodautoscaler_status_condition", "Conditions by status.");
    autoscalers.iter().for_each(|autoscaler| conditions(&mut family, autoscaler, &labels(autoscaler)));
}

/// The part of a metric that is named after its type: `resource`, `pods`, `containerResource`, ...
fn source(metric: &Value) -> &Value {
    let kind = object::str_at(metric, "/type");
    let mut key = kind.to_owned();
    key[..kind.len().min(1)].make_ascii_lowercase();
    &metric[key]
}

fn metric_name(metric: &Value) -> &str {
    let source = source(metric);
    let name = object::str_at(source, "/name");
    if name.is_empty() { object::str_at(source, "/metric/name") } else { name }
}

fn values(metric: &Value, side: &str) -> Vec<(&'static str, f64)> {
    let numbers = &source(metric)[side];
    [("averageUtilization", "utilization"), ("averageValue", "average"), ("value", "value")]
        .into_iter()
        .filter_map(|(key, kind)| Some((kind, quantity(numbers.get(key)?)?)))
        .collect()
}

fn deployments(page: &mut Page, deployments: &[&Object]) {
    let labels = |deployment| named("deployment", deployment);
    page.fields(&DEPLOYMENT, deployments, labels);
    let mut family = page.gauge("kube_deployment_status_condition", "Conditions by status.");
    deployments.iter().for_each(|deployment| conditions(&mut family, deployment, &labels(deployment)));
}

fn replica_sets(page: &mut Page, replica_sets: &[&Object]) {
    page.fields(&REPLICA_SET, replica_sets, |replica_set| named("replicaset", replica_set));
    let mut owners = page.gauge("kube_replicaset_owner", "Who made a ReplicaSet.");
    for replica_set in replica_sets {
        let mut labels = named("replicaset", replica_set);
        labels.extend(owner(replica_set));
        owners.sample(&labels, 1);
    }
}

pub(super) fn owner(object: &Value) -> [Label<'_>; 3] {
    let owner = object::owner_of(object);
    let at = |pointer| owner.map_or("", |owner| object::str_at(owner, pointer));
    let is_controller = if owner.is_some() { "true" } else { "" };
    [("owner_kind", at("/kind")), ("owner_name", at("/name")), ("owner_is_controller", is_controller)]
}

fn nodes(page: &mut Page, nodes: &[&Object]) {
    let mut info = page.gauge("kube_node_info", "What runs a node.");
    for node in nodes {
        let at = |pointer| object::str_at(node, pointer);
        let labels = [
            ("node", object::name(node)),
            ("kernel_version", at("/status/nodeInfo/kernelVersion")),
            ("os_image", at("/status/nodeInfo/osImage")),
            ("container_runtime_version", at("/status/nodeInfo/containerRuntimeVersion")),
            ("kubelet_version", at("/status/nodeInfo/kubeletVersion")),
            ("provider_id", at("/spec/providerID")),
            ("pod_cidr", at("/spec/podCIDR")),
            ("system_uuid", at("/status/nodeInfo/systemUUID")),
        ];
        info.sample(&labels, 1);
    }
    for (name, help, pointer) in [
        ("kube_node_status_allocatable", "What pods may ask for.", "/status/allocatable"),
        ("kube_node_status_capacity", "What the machine has.", "/status/capacity"),
    ] {
        let mut family = page.gauge(name, help);
        for node in nodes {
            for (resource, amount) in object::map_at(node, pointer).into_iter().flatten() {
                let [resource, unit] = &resource_labels(resource);
                let labels = [("node", object::name(node)), (resource.0, &*resource.1), (unit.0, &*unit.1)];
                if let Some(amount) = quantity(amount) {
                    family.sample(&labels, amount);
                }
            }
        }
    }
    let mut family = page.gauge("kube_node_status_condition", "Conditions by status.");
    nodes.iter().for_each(|node| conditions(&mut family, node, &[("node", object::name(node))]));
}
