//! Validation: what may be stored, worded as Kubernetes words it.
//!
//! Two layers. `inspect` compares a body with the generated schema: wrong types, unknown fields, duplicate keys.
//! `validate` applies the rules of a kind to a defaulted object and collects every mistake as a `FieldError`, in the
//! order in which a real API server finds them, since clients show the message as it is. What needs other objects
//! (allocated addresses, quotas) is admission and lives with the write path.

use serde_json::Value;

use crate::status::FieldError;

mod affinity;
mod amount;
mod autoscaling;
mod config;
mod container;
mod custom;
mod decode;
mod definition;
mod errors;
mod job;
mod metadata;
mod network;
mod pod;
mod policy;
mod selector;
mod service;
mod text;
mod volume;
mod warnings;
mod workload;

pub use custom::check as check_custom;
pub use decode::{Findings, inspect};
use errors::Errors;
pub use warnings::warnings;

/// The rules of one kind; the second object is the stored one on an update.
type Rules = fn(&Value, Option<&Value>, &mut Errors);

/// How names of a kind must look.
type NameRule = fn(&str) -> Vec<String>;

/// Resource, names, rules. Kinds that are not here have the rules of metadata only.
const KINDS: &[(&str, NameRule, Rules)] = &[
    ("pods", text::dns_subdomain, pod::pod),
    ("podtemplates", text::dns_subdomain, pod::pod_template_object),
    ("services", text::dns_1035_label, service::service),
    ("configmaps", text::dns_subdomain, config::config_map),
    ("secrets", text::dns_subdomain, config::secret),
    ("namespaces", text::dns_label, none),
    ("events", text::dns_subdomain, policy::event),
    ("persistentvolumeclaims", text::dns_subdomain, policy::persistent_volume_claim),
    ("replicationcontrollers", text::dns_subdomain, workload::replication_controller),
    ("deployments.apps", text::dns_subdomain, workload::deployment),
    ("replicasets.apps", text::dns_subdomain, workload::replica_set),
    ("statefulsets.apps", text::dns_subdomain, workload::stateful_set),
    ("daemonsets.apps", text::dns_subdomain, workload::daemon_set),
    ("jobs.batch", text::dns_subdomain, job::job),
    ("cronjobs.batch", text::dns_subdomain, job::cron_job),
    ("horizontalpodautoscalers.autoscaling", text::dns_subdomain, autoscaling::horizontal_pod_autoscaler),
    ("poddisruptionbudgets.policy", text::dns_subdomain, policy::pod_disruption_budget),
    ("networkpolicies.networking.k8s.io", text::dns_subdomain, network::network_policy),
    ("ingresses.networking.k8s.io", text::dns_subdomain, network::ingress),
    ("endpointslices.discovery.k8s.io", text::dns_subdomain, network::endpoint_slice),
    ("roles.rbac.authorization.k8s.io", text::path_segment, policy::role),
    ("clusterroles.rbac.authorization.k8s.io", text::path_segment, policy::role),
    ("rolebindings.rbac.authorization.k8s.io", text::path_segment, policy::role_binding),
    ("clusterrolebindings.rbac.authorization.k8s.io", text::path_segment, policy::role_binding),
    ("apiservices.apiregistration.k8s.io", text::path_segment, policy::api_service),
    ("customresourcedefinitions.apiextensions.k8s.io", text::dns_subdomain, definition::definition),
];

/// The rules of the kind for a defaulted object; with `old` also those of an update (immutable fields).
pub fn validate(resource: &str, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let known = KINDS.iter().find(|(name, ..)| *name == resource);
    let (_, name_rule, rules) = known.unwrap_or(&("", text::dns_subdomain, none));
    let mut errors = Errors::default();
    metadata::check(object, old, *name_rule, &mut errors);
    rules(object, old, &mut errors);
    errors.into_list()
}

fn none(_object: &Value, _old: Option<&Value>, _errors: &mut Errors) {}

#[cfg(test)]
mod tests;
