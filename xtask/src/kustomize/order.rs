//! The order in which to apply: what others need comes first, as Kustomize sorts by default.

use super::resource::Resource;

const FIRST: [&str; 22] = [
    "Namespace",
    "ResourceQuota",
    "StorageClass",
    "CustomResourceDefinition",
    "ServiceAccount",
    "PodSecurityPolicy",
    "Role",
    "ClusterRole",
    "RoleBinding",
    "ClusterRoleBinding",
    "ConfigMap",
    "Secret",
    "Endpoints",
    "Service",
    "LimitRange",
    "PriorityClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Deployment",
    "StatefulSet",
    "CronJob",
    "PodDisruptionBudget",
];
const LAST: [&str; 2] = ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"];

pub(super) fn for_apply(resources: &mut [Resource]) {
    resources.sort_by_cached_key(|resource| {
        let kind = resource.kind();
        let rank = match (position(&FIRST, kind), position(&LAST, kind)) {
            (Some(at), _) => at,
            (None, None) => FIRST.len(),
            (None, Some(at)) => FIRST.len() + 1 + at,
        };
        // Kustomize writes absent parts as `~G` and `~X`, which sort behind every letter.
        let (group, version) = resource.group_version();
        let namespace = resource.namespace();
        let group = if group.is_empty() { "~G" } else { group };
        let namespace = if namespace.is_empty() { "~X" } else { namespace };
        (rank, format!("{group}_{version}_{kind}"), format!("{namespace}|{}", resource.name()))
    });
}

fn position(kinds: &[&str], kind: &str) -> Option<usize> {
    kinds.iter().position(|known| *known == kind)
}
