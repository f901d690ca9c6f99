//! The built-in kinds, one row each, in the order in which discovery lists their groups.
//!
//! Adding a kind is adding a row here (and, when `kubectl get` shall show more than name and age, columns in
//! `api::table`). Names, short names, categories and subresources follow the discovery documents of v1.36.

use super::{GroupVersion, Habits, Kind, Subresource};

const ALL: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const NO_COLLECTION: &[&str] = &["create", "delete", "get", "list", "patch", "update", "watch"];
const CREATE: &[&str] = &["create"];
const GET: &[&str] = &["get"];
const GET_LIST: &[&str] = &["get", "list"];
const UPDATE: &[&str] = &["update"];
const GET_PATCH_UPDATE: &[&str] = &["get", "patch", "update"];
const CREATE_GET: &[&str] = &["create", "get"];
const PROXY: &[&str] = &["create", "delete", "get", "patch", "update"];

const PLAIN: Habits = Habits { generation: false, create_on_put: false, returns_deleted: false, transient: false };
const GENERATION: Habits = Habits { generation: true, ..PLAIN };
const CREATE_ON_PUT: Habits = Habits { create_on_put: true, ..PLAIN };
const RETURNED: Habits = Habits { returns_deleted: true, ..PLAIN };
const RETURNED_GENERATION: Habits = Habits { generation: true, ..RETURNED };
const TRANSIENT: Habits = Habits { transient: true, ..PLAIN };

/// A built-in kind as it is written down below.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// (group, version) in order of preference, the storage version first.
    served: &'static [(&'static str, &'static str)],
    plural: &'static str,
    singular: &'static str,
    kind: &'static str,
    namespaced: bool,
    short_names: &'static [&'static str],
    all: bool,
    verbs: &'static [&'static str],
    subresources: &'static [Subresource],
    habits: Habits,
}

impl Row {
    /// The kind this row describes.
    pub fn to_kind(self) -> Kind {
        let group = self.served[0].0;
        let strings = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<String>>();
        let mut categories = if self.all { vec!["all".to_string()] } else { Vec::new() };
        let extends =
            matches!(group, "apiregistration.k8s.io" | "apiextensions.k8s.io" | "admissionregistration.k8s.io");
        if extends {
            categories.push("api-extensions".to_string());
        }
        Kind {
            resource: if group.is_empty() { self.plural.to_string() } else { format!("{}.{group}", self.plural) },
            plural: self.plural.to_string(),
            singular: self.singular.to_string(),
            kind: self.kind.to_string(),
            list_kind: format!("{}List", self.kind),
            namespaced: self.namespaced,
            served: self.served.iter().map(|(group, version)| GroupVersion::new(group, version)).collect(),
            short_names: strings(self.short_names),
            categories,
            verbs: self.verbs.to_vec(),
            subresources: self.subresources.to_vec(),
            habits: self.habits,
            definition: None,
        }
    }
}

const ROW: Row = Row {
    served: &[("", "v1")],
    plural: "",
    singular: "",
    kind: "",
    namespaced: true,
    short_names: &[],
    all: false,
    verbs: ALL,
    subresources: &[],
    habits: PLAIN,
};
const APPS: Row = Row { served: &[("apps", "v1")], all: true, habits: GENERATION, ..ROW };
const BATCH: Row = Row { served: &[("batch", "v1")], all: true, habits: GENERATION, ..ROW };
const NETWORKING: Row = Row { served: &[("networking.k8s.io", "v1")], habits: GENERATION, ..ROW };
const NETWORKING_FLAT: Row = Row { habits: PLAIN, ..NETWORKING };
const RBAC: Row = Row { served: &[("rbac.authorization.k8s.io", "v1")], habits: CREATE_ON_PUT, ..ROW };
const STORAGE: Row = Row { served: &[("storage.k8s.io", "v1")], namespaced: false, habits: RETURNED, ..ROW };
const ADMISSION: Row =
    Row { served: &[("admissionregistration.k8s.io", "v1")], namespaced: false, habits: GENERATION, ..ROW };
const DEVICES: Row = Row { served: &[("resource.k8s.io", "v1")], namespaced: false, habits: RETURNED, ..ROW };
const FLOW: Row =
    Row { served: &[("flowcontrol.apiserver.k8s.io", "v1")], namespaced: false, habits: GENERATION, ..ROW };
const ACCESS: Row =
    Row { served: &[("authorization.k8s.io", "v1")], namespaced: false, verbs: CREATE, habits: TRANSIENT, ..ROW };
const AUTHENTICATION: Row = Row { served: &[("authentication.k8s.io", "v1")], ..ACCESS };

const METRICS: Row = Row { served: &[("metrics.k8s.io", "v1beta1")], verbs: GET_LIST, ..ROW };

const fn sub(name: &'static str, kind: &'static str, verbs: &'static [&'static str]) -> Subresource {
    Subresource { name, group: "", version: "", kind, verbs }
}

const fn status(kind: &'static str) -> Subresource {
    sub("status", kind, GET_PATCH_UPDATE)
}

const SCALE: Subresource =
    Subresource { name: "scale", group: "autoscaling", version: "v1", kind: "Scale", verbs: GET_PATCH_UPDATE };
const EVICTION: Subresource =
    Subresource { name: "eviction", group: "policy", version: "v1", kind: "Eviction", verbs: CREATE };
const TOKEN: Subresource =
    Subresource { name: "token", group: "authentication.k8s.io", version: "v1", kind: "TokenRequest", verbs: CREATE };

/// Every built-in kind.
pub const BUILT_IN: &[Row] = &[
    Row { plural: "bindings", singular: "binding", kind: "Binding", verbs: CREATE, ..ROW },
    Row {
        plural: "componentstatuses",
        singular: "componentstatus",
        kind: "ComponentStatus",
        namespaced: false,
        short_names: &["cs"],
        verbs: GET_LIST,
        ..ROW
    },
    Row { plural: "configmaps", singular: "configmap", kind: "ConfigMap", short_names: &["cm"], ..ROW },
    Row {
        plural: "endpoints",
        singular: "endpoints",
        kind: "Endpoints",
        short_names: &["ep"],
        habits: CREATE_ON_PUT,
        ..ROW
    },
    Row {
        served: &[("", "v1"), ("events.k8s.io", "v1")],
        plural: "events",
        singular: "event",
        kind: "Event",
        short_names: &["ev"],
        habits: CREATE_ON_PUT,
        ..ROW
    },
    Row { plural: "limitranges", singular: "limitrange", kind: "LimitRange", short_names: &["limits"], ..ROW },
    Row {
        plural: "namespaces",
        singular: "namespace",
        kind: "Namespace",
        namespaced: false,
        short_names: &["ns"],
        verbs: NO_COLLECTION,
        subresources: &[sub("finalize", "Namespace", UPDATE), status("Namespace")],
        habits: RETURNED,
        ..ROW
    },
    Row {
        plural: "nodes",
        singular: "node",
        kind: "Node",
        namespaced: false,
        short_names: &["no"],
        subresources: &[sub("proxy", "NodeProxyOptions", PROXY), status("Node")],
        ..ROW
    },
    Row {
        plural: "persistentvolumeclaims",
        singular: "persistentvolumeclaim",
        kind: "PersistentVolumeClaim",
        short_names: &["pvc"],
        subresources: &[status("PersistentVolumeClaim")],
        habits: RETURNED,
        ..ROW
    },
    Row {
        plural: "persistentvolumes",
        singular: "persistentvolume",
        kind: "PersistentVolume",
        namespaced: false,
        short_names: &["pv"],
        subresources: &[status("PersistentVolume")],
        habits: RETURNED,
        ..ROW
    },
    Row {
        plural: "pods",
        singular: "pod",
        kind: "Pod",
        short_names: &["po"],
        all: true,
        subresources: &[
            sub("attach", "PodAttachOptions", CREATE_GET),
            sub("binding", "Binding", CREATE),
            sub("ephemeralcontainers", "Pod", GET_PATCH_UPDATE),
            EVICTION,
            sub("exec", "PodExecOptions", CREATE_GET),
            sub("log", "Pod", GET),
            sub("portforward", "PodPortForwardOptions", CREATE_GET),
            sub("proxy", "PodProxyOptions", PROXY),
            sub("resize", "Pod", GET_PATCH_UPDATE),
            status("Pod"),
        ],
        habits: RETURNED_GENERATION,
        ..ROW
    },
    Row { plural: "podtemplates", singular: "podtemplate", kind: "PodTemplate", habits: RETURNED, ..ROW },
    Row {
        plural: "replicationcontrollers",
        singular: "replicationcontroller",
        kind: "ReplicationController",
        short_names: &["rc"],
        all: true,
        subresources: &[SCALE, status("ReplicationController")],
        habits: GENERATION,
        ..ROW
    },
    Row {
        plural: "resourcequotas",
        singular: "resourcequota",
        kind: "ResourceQuota",
        short_names: &["quota"],
        subresources: &[status("ResourceQuota")],
        habits: RETURNED,
        ..ROW
    },
    Row { plural: "secrets", singular: "secret", kind: "Secret", ..ROW },
    Row {
        plural: "serviceaccounts",
        singular: "serviceaccount",
        kind: "ServiceAccount",
        short_names: &["sa"],
        subresources: &[TOKEN],
        habits: RETURNED,
        ..ROW
    },
    Row {
        plural: "services",
        singular: "service",
        kind: "Service",
        short_names: &["svc"],
        all: true,
        subresources: &[sub("proxy", "ServiceProxyOptions", PROXY), status("Service")],
        habits: Habits { create_on_put: true, returns_deleted: true, ..PLAIN },
        ..ROW
    },
    Row {
        served: &[("apiregistration.k8s.io", "v1")],
        plural: "apiservices",
        singular: "apiservice",
        kind: "APIService",
        namespaced: false,
        subresources: &[status("APIService")],
        ..ROW
    },
    Row {
        plural: "controllerrevisions",
        singular: "controllerrevision",
        kind: "ControllerRevision",
        all: false,
        habits: PLAIN,
        ..APPS
    },
    Row {
        plural: "daemonsets",
        singular: "daemonset",
        kind: "DaemonSet",
        short_names: &["ds"],
        subresources: &[status("DaemonSet")],
        ..APPS
    },
    Row {
        plural: "deployments",
        singular: "deployment",
        kind: "Deployment",
        short_names: &["deploy"],
        subresources: &[SCALE, status("Deployment")],
        ..APPS
    },
    Row {
        plural: "replicasets",
        singular: "replicaset",
        kind: "ReplicaSet",
        short_names: &["rs"],
        subresources: &[SCALE, status("ReplicaSet")],
        ..APPS
    },
    Row {
        plural: "statefulsets",
        singular: "statefulset",
        kind: "StatefulSet",
        short_names: &["sts"],
        subresources: &[SCALE, status("StatefulSet")],
        ..APPS
    },
    Row { plural: "selfsubjectreviews", singular: "selfsubjectreview", kind: "SelfSubjectReview", ..AUTHENTICATION },
    Row { plural: "tokenreviews", singular: "tokenreview", kind: "TokenReview", ..AUTHENTICATION },
    Row {
        plural: "localsubjectaccessreviews",
        singular: "localsubjectaccessreview",
        kind: "LocalSubjectAccessReview",
        namespaced: true,
        ..ACCESS
    },
    Row {
        plural: "selfsubjectaccessreviews",
        singular: "selfsubjectaccessreview",
        kind: "SelfSubjectAccessReview",
        ..ACCESS
    },
    Row {
        plural: "selfsubjectrulesreviews",
        singular: "selfsubjectrulesreview",
        kind: "SelfSubjectRulesReview",
        ..ACCESS
    },
    Row { plural: "subjectaccessreviews", singular: "subjectaccessreview", kind: "SubjectAccessReview", ..ACCESS },
    Row {
        served: &[("autoscaling", "v2"), ("autoscaling", "v1")],
        plural: "horizontalpodautoscalers",
        singular: "horizontalpodautoscaler",
        kind: "HorizontalPodAutoscaler",
        short_names: &["hpa"],
        all: true,
        subresources: &[status("HorizontalPodAutoscaler")],
        ..ROW
    },
    Row {
        plural: "cronjobs",
        singular: "cronjob",
        kind: "CronJob",
        short_names: &["cj"],
        subresources: &[status("CronJob")],
        ..BATCH
    },
    Row { plural: "jobs", singular: "job", kind: "Job", subresources: &[status("Job")], ..BATCH },
    Row {
        plural: "certificatesigningrequests",
        singular: "certificatesigningrequest",
        kind: "CertificateSigningRequest",
        served: &[("certificates.k8s.io", "v1")],
        namespaced: false,
        short_names: &["csr"],
        subresources: &[
            sub("approval", "CertificateSigningRequest", GET_PATCH_UPDATE),
            status("CertificateSigningRequest"),
        ],
        ..ROW
    },
    Row { plural: "ingressclasses", singular: "ingressclass", kind: "IngressClass", namespaced: false, ..NETWORKING },
    Row {
        plural: "ingresses",
        singular: "ingress",
        kind: "Ingress",
        short_names: &["ing"],
        subresources: &[status("Ingress")],
        ..NETWORKING
    },
    Row {
        plural: "ipaddresses",
        singular: "ipaddress",
        kind: "IPAddress",
        namespaced: false,
        short_names: &["ip"],
        ..NETWORKING_FLAT
    },
    Row {
        plural: "networkpolicies",
        singular: "networkpolicy",
        kind: "NetworkPolicy",
        short_names: &["netpol"],
        ..NETWORKING
    },
    Row {
        plural: "servicecidrs",
        singular: "servicecidr",
        kind: "ServiceCIDR",
        namespaced: false,
        subresources: &[status("ServiceCIDR")],
        ..NETWORKING_FLAT
    },
    Row {
        served: &[("policy", "v1")],
        plural: "poddisruptionbudgets",
        singular: "poddisruptionbudget",
        kind: "PodDisruptionBudget",
        short_names: &["pdb"],
        subresources: &[status("PodDisruptionBudget")],
        habits: GENERATION,
        ..ROW
    },
    Row {
        plural: "clusterrolebindings",
        singular: "clusterrolebinding",
        kind: "ClusterRoleBinding",
        namespaced: false,
        ..RBAC
    },
    Row { plural: "clusterroles", singular: "clusterrole", kind: "ClusterRole", namespaced: false, ..RBAC },
    Row { plural: "rolebindings", singular: "rolebinding", kind: "RoleBinding", ..RBAC },
    Row { plural: "roles", singular: "role", kind: "Role", ..RBAC },
    Row { plural: "csidrivers", singular: "csidriver", kind: "CSIDriver", ..STORAGE },
    Row { plural: "csinodes", singular: "csinode", kind: "CSINode", ..STORAGE },
    Row {
        plural: "csistoragecapacities",
        singular: "csistoragecapacity",
        kind: "CSIStorageCapacity",
        namespaced: true,
        habits: PLAIN,
        ..STORAGE
    },
    Row { plural: "storageclasses", singular: "storageclass", kind: "StorageClass", short_names: &["sc"], ..STORAGE },
    Row {
        plural: "volumeattachments",
        singular: "volumeattachment",
        kind: "VolumeAttachment",
        subresources: &[status("VolumeAttachment")],
        ..STORAGE
    },
    Row {
        plural: "volumeattributesclasses",
        singular: "volumeattributesclass",
        kind: "VolumeAttributesClass",
        short_names: &["vac"],
        ..STORAGE
    },
    Row {
        plural: "mutatingadmissionpolicies",
        singular: "mutatingadmissionpolicy",
        kind: "MutatingAdmissionPolicy",
        ..ADMISSION
    },
    Row {
        plural: "mutatingadmissionpolicybindings",
        singular: "mutatingadmissionpolicybinding",
        kind: "MutatingAdmissionPolicyBinding",
        ..ADMISSION
    },
    Row {
        plural: "mutatingwebhookconfigurations",
        singular: "mutatingwebhookconfiguration",
        kind: "MutatingWebhookConfiguration",
        ..ADMISSION
    },
    Row {
        plural: "validatingadmissionpolicies",
        singular: "validatingadmissionpolicy",
        kind: "ValidatingAdmissionPolicy",
        subresources: &[status("ValidatingAdmissionPolicy")],
        ..ADMISSION
    },
    Row {
        plural: "validatingadmissionpolicybindings",
        singular: "validatingadmissionpolicybinding",
        kind: "ValidatingAdmissionPolicyBinding",
        ..ADMISSION
    },
    Row {
        plural: "validatingwebhookconfigurations",
        singular: "validatingwebhookconfiguration",
        kind: "ValidatingWebhookConfiguration",
        ..ADMISSION
    },
    Row {
        served: &[("apiextensions.k8s.io", "v1")],
        plural: "customresourcedefinitions",
        singular: "customresourcedefinition",
        kind: "CustomResourceDefinition",
        namespaced: false,
        short_names: &["crd", "crds"],
        subresources: &[status("CustomResourceDefinition")],
        habits: GENERATION,
        ..ROW
    },
    Row {
        served: &[("scheduling.k8s.io", "v1")],
        plural: "priorityclasses",
        singular: "priorityclass",
        kind: "PriorityClass",
        namespaced: false,
        short_names: &["pc"],
        ..ROW
    },
    Row {
        served: &[("coordination.k8s.io", "v1")],
        plural: "leases",
        singular: "lease",
        kind: "Lease",
        habits: CREATE_ON_PUT,
        ..ROW
    },
    Row {
        plural: "runtimeclasses",
        singular: "runtimeclass",
        kind: "RuntimeClass",
        served: &[("node.k8s.io", "v1")],
        namespaced: false,
        habits: CREATE_ON_PUT,
        ..ROW
    },
    Row {
        served: &[("discovery.k8s.io", "v1")],
        plural: "endpointslices",
        singular: "endpointslice",
        kind: "EndpointSlice",
        habits: GENERATION,
        ..ROW
    },
    Row {
        plural: "deviceclasses",
        singular: "deviceclass",
        kind: "DeviceClass",
        habits: RETURNED_GENERATION,
        ..DEVICES
    },
    Row {
        plural: "resourceclaims",
        singular: "resourceclaim",
        kind: "ResourceClaim",
        namespaced: true,
        subresources: &[status("ResourceClaim")],
        ..DEVICES
    },
    Row {
        plural: "resourceclaimtemplates",
        singular: "resourceclaimtemplate",
        kind: "ResourceClaimTemplate",
        namespaced: true,
        ..DEVICES
    },
    Row {
        plural: "resourceslices",
        singular: "resourceslice",
        kind: "ResourceSlice",
        habits: RETURNED_GENERATION,
        ..DEVICES
    },
    Row {
        plural: "flowschemas",
        singular: "flowschema",
        kind: "FlowSchema",
        subresources: &[status("FlowSchema")],
        ..FLOW
    },
    Row {
        plural: "prioritylevelconfigurations",
        singular: "prioritylevelconfiguration",
        kind: "PriorityLevelConfiguration",
        subresources: &[status("PriorityLevelConfiguration")],
        ..FLOW
    },
    Row { plural: "nodes", kind: "NodeMetrics", namespaced: false, ..METRICS },
    Row { plural: "pods", kind: "PodMetrics", ..METRICS },
];
