//! The columns of every built-in kind, one line each.
//!
//! A line lists column names; `*` marks a wide column (priority 1), `:type` a type other than string, `^` the column
//! that holds the name. Order and names are those of the printers of Kubernetes v1.36.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::{Cells, autoscaling, batch, cell, cluster_wide, event, network, pod, workload};

/// One entry of `columnDefinitions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Column {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) format: String,
    pub(super) description: String,
    pub(super) priority: i64,
}

/// What kinds without an entry below show.
pub(super) const PLAIN: (&str, &str, Cells) = ("", "Name^, Created At:date", plain);

const REPLICATED: &str = "Name^, Desired:integer, Current:integer, Ready:integer, Age, Containers*, Images*, Selector*";
const BINDING: &str = "Name^, Role, Age, Users*, Groups*, ServiceAccounts*";

/// Resource, columns, cells.
pub(super) const KINDS: &[(&str, &str, Cells)] = &[
    ("pods", "Name^, Ready, Status, Restarts, Age, IP*, Node*, Nominated Node*, Readiness Gates*", pod::cells),
    ("podtemplates", "Name^, Containers, Images, Pod Labels", workload::pod_template),
    (
        "deployments.apps",
        "Name^, Ready, Up-to-date, Available, Age, Containers*, Images*, Selector*",
        workload::deployment,
    ),
    ("replicasets.apps", REPLICATED, workload::replica_set),
    ("replicationcontrollers", REPLICATED, workload::replication_controller),
    ("statefulsets.apps", "Name^, Ready, Age, Containers*, Images*", workload::stateful_set),
    (
        "daemonsets.apps",
        "Name^, Desired:integer, Current:integer, Ready:integer, Up-to-date:integer, Available:integer, \
         Node Selector, Age, Containers*, Images*, Selector*",
        workload::daemon_set,
    ),
    ("controllerrevisions.apps", "Name^, Controller, Revision, Age", workload::controller_revision),
    ("scale.autoscaling", "Name, Desired:integer, Available:integer, Age", autoscaling::scale),
    (
        "horizontalpodautoscalers.autoscaling",
        "Name^, Reference, Targets, MinPods, MaxPods, Replicas, Age",
        autoscaling::horizontal_pod_autoscaler,
    ),
    ("jobs.batch", "Name^, Status, Completions, Duration, Age, Containers*, Images*, Selector*", batch::job),
    (
        "cronjobs.batch",
        "Name^, Schedule, Timezone, Suspend:boolean, Active:integer, Last Schedule, Age, Containers*, Images*, \
         Selector*",
        batch::cron_job,
    ),
    ("services", "Name^, Type, Cluster-IP, External-IP, Port(s), Age, Selector*", network::service),
    ("endpoints", "Name^, Endpoints, Age", network::endpoints),
    ("endpointslices.discovery.k8s.io", "Name^, AddressType, Ports, Endpoints, Age", network::endpoint_slice),
    ("ingresses.networking.k8s.io", "Name^, Class, Hosts, Address, Ports, Age", network::ingress),
    ("ingressclasses.networking.k8s.io", "Name^, Controller, Parameters, Age", network::ingress_class),
    ("networkpolicies.networking.k8s.io", "Name^, Pod-Selector, Age", network::network_policy),
    ("namespaces", "Name^, Status, Age", cluster_wide::namespace),
    (
        "nodes",
        "Name^, Status, Roles, Age, Version, Internal-IP*, External-IP*, OS-Image*, Kernel-Version*, \
         Container-Runtime*",
        cluster_wide::node,
    ),
    ("configmaps", "Name^, Data, Age", cluster_wide::config_map),
    ("secrets", "Name^, Type, Data, Age", cluster_wide::secret),
    ("serviceaccounts", "Name^, Age", cluster_wide::name_and_age),
    ("resourcequotas", "Name^, Request, Limit, Age", cluster_wide::resource_quota),
    (
        "events",
        "Last Seen, Type, Reason, Object, Subobject*, Source*, Message, First Seen*, Count*, Name^*",
        event::cells,
    ),
    ("leases.coordination.k8s.io", "Name^, Holder, Age", cluster_wide::lease),
    (
        "poddisruptionbudgets.policy",
        "Name^, Min Available, Max Unavailable, Allowed Disruptions:integer, Age",
        cluster_wide::pod_disruption_budget,
    ),
    ("rolebindings.rbac.authorization.k8s.io", BINDING, cluster_wide::role_binding),
    ("clusterrolebindings.rbac.authorization.k8s.io", BINDING, cluster_wide::role_binding),
    ("apiservices.apiregistration.k8s.io", "Name^, Service, Available, Age", cluster_wide::api_service),
    (
        "priorityclasses.scheduling.k8s.io",
        "Name^, Value:integer, Global-Default:boolean, Age, PreemptionPolicy",
        cluster_wide::priority_class,
    ),
    (
        "persistentvolumes",
        "Name^, Capacity, Access Modes, Reclaim Policy, Status, Claim, StorageClass, VolumeAttributesClass, Reason, \
         Age, VolumeMode*",
        cluster_wide::persistent_volume,
    ),
    (
        "persistentvolumeclaims",
        "Name^, Status, Volume, Capacity, Access Modes, StorageClass, VolumeAttributesClass, Age, VolumeMode*",
        cluster_wide::persistent_volume_claim,
    ),
    (
        "storageclasses.storage.k8s.io",
        "Name^, Provisioner, ReclaimPolicy, VolumeBindingMode, AllowVolumeExpansion, Age",
        cluster_wide::storage_class,
    ),
];

/// The columns of one line.
pub(super) fn parse(line: &str) -> Vec<Column> {
    line.split(", ").map(column).collect()
}

fn column(text: &str) -> Column {
    let (text, priority) = text.strip_suffix('*').map_or((text, 0), |text| (text, 1));
    let (text, format) = text.strip_suffix('^').map_or((text, ""), |text| (text, "name"));
    let (name, kind) = text.split_once(':').unwrap_or((text, "string"));
    Column { name: name.into(), kind: kind.into(), format: format.into(), description: String::new(), priority }
}

fn plain(object: &Value, _now: Timestamp, out: &mut Vec<Value>) {
    out.push(cell::name(object));
    out.push(cell::text(&object["metadata"]["creationTimestamp"]).into());
}
