//! The table of defaults that depend on nothing but their own absence.

/// At `path`, if its parent is there and it is not: `value` (JSON).
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    pub path: &'static str,
    pub value: &'static str,
}

const fn rule(path: &'static str, value: &'static str) -> Rule {
    Rule { path, value }
}

const TCP: &str = "\"TCP\"";
const RBAC_GROUP: &str = "\"rbac.authorization.k8s.io\"";

const DEPLOYMENT: &[Rule] = &[
    rule("spec.replicas", "1"),
    rule("spec.strategy", "{}"),
    rule("spec.strategy.type", "\"RollingUpdate\""),
    rule("spec.revisionHistoryLimit", "10"),
    rule("spec.progressDeadlineSeconds", "600"),
    rule("status", "{}"),
];
const REPLICA_SET: &[Rule] = &[rule("spec.replicas", "1"), rule("status", "{}"), rule("status.replicas", "0")];
const REPLICATION_CONTROLLER: &[Rule] =
    &[rule("spec.replicas", "1"), rule("status", "{}"), rule("status.replicas", "0")];
const STATEFUL_SET: &[Rule] = &[
    rule("spec.replicas", "1"),
    rule("spec.podManagementPolicy", "\"OrderedReady\""),
    rule("spec.updateStrategy", "{}"),
    rule("spec.updateStrategy.type", "\"RollingUpdate\""),
    rule("spec.revisionHistoryLimit", "10"),
    rule("spec.persistentVolumeClaimRetentionPolicy", "{}"),
    rule("spec.persistentVolumeClaimRetentionPolicy.whenDeleted", "\"Retain\""),
    rule("spec.persistentVolumeClaimRetentionPolicy.whenScaled", "\"Retain\""),
    rule("spec.volumeClaimTemplates[].spec.volumeMode", "\"Filesystem\""),
    rule("status", "{}"),
    rule("status.replicas", "0"),
    rule("status.availableReplicas", "0"),
];
const DAEMON_SET: &[Rule] = &[
    rule("spec.updateStrategy", "{}"),
    rule("spec.updateStrategy.type", "\"RollingUpdate\""),
    rule("spec.revisionHistoryLimit", "10"),
    rule("status", "{}"),
    rule("status.currentNumberScheduled", "0"),
    rule("status.desiredNumberScheduled", "0"),
    rule("status.numberMisscheduled", "0"),
    rule("status.numberReady", "0"),
];
const JOB: &[Rule] = &[
    rule("spec.backoffLimit", "6"),
    rule("spec.completionMode", "\"NonIndexed\""),
    rule("spec.suspend", "false"),
    rule("spec.podReplacementPolicy", "\"TerminatingOrFailed\""),
    rule("spec.manualSelector", "false"),
    rule("status", "{}"),
];
const CRON_JOB: &[Rule] = &[
    rule("spec.concurrencyPolicy", "\"Allow\""),
    rule("spec.suspend", "false"),
    rule("spec.successfulJobsHistoryLimit", "3"),
    rule("spec.failedJobsHistoryLimit", "1"),
    rule("status", "{}"),
];
const SERVICE: &[Rule] = &[
    rule("spec.type", "\"ClusterIP\""),
    rule("spec.sessionAffinity", "\"None\""),
    rule("spec.ports[].protocol", TCP),
    rule("status", "{}"),
    rule("status.loadBalancer", "{}"),
];
const AUTOSCALER: &[Rule] = &[
    rule("spec.minReplicas", "1"),
    rule("spec.behavior.scaleUp", "{}"),
    rule("spec.behavior.scaleUp.stabilizationWindowSeconds", "0"),
    rule("spec.behavior.scaleUp.selectPolicy", "\"Max\""),
    rule(
        "spec.behavior.scaleUp.policies",
        r#"[{"type":"Pods","value":4,"periodSeconds":15},{"type":"Percent","value":100,"periodSeconds":15}]"#,
    ),
    rule("spec.behavior.scaleDown", "{}"),
    rule("spec.behavior.scaleDown.selectPolicy", "\"Max\""),
    rule("spec.behavior.scaleDown.policies", r#"[{"type":"Percent","value":100,"periodSeconds":15}]"#),
    rule("status", "{}"),
    rule("status.desiredReplicas", "0"),
    rule("status.currentMetrics", "null"),
];
const NETWORK_POLICY: &[Rule] =
    &[rule("spec.ingress[].ports[].protocol", TCP), rule("spec.egress[].ports[].protocol", TCP)];
const NAMESPACE: &[Rule] = &[rule("spec", "{}"), rule("status", "{}"), rule("status.phase", "\"Active\"")];
const DISRUPTION_BUDGET: &[Rule] = &[
    rule("status", "{}"),
    rule("status.disruptionsAllowed", "0"),
    rule("status.currentHealthy", "0"),
    rule("status.desiredHealthy", "0"),
    rule("status.expectedPods", "0"),
];
const EVENT: &[Rule] = &[
    rule("source", "{}"),
    rule("firstTimestamp", "null"),
    rule("lastTimestamp", "null"),
    rule("eventTime", "null"),
    rule("reportingComponent", "\"\""),
    rule("reportingInstance", "\"\""),
];
const ENDPOINTS: &[Rule] = &[rule("subsets[].ports[].protocol", TCP)];
const ENDPOINT_SLICE: &[Rule] = &[rule("ports[].name", "\"\""), rule("ports[].protocol", TCP)];
const CLAIM: &[Rule] =
    &[rule("spec.volumeMode", "\"Filesystem\""), rule("status", "{}"), rule("status.phase", "\"Pending\"")];
const VOLUME: &[Rule] = &[
    rule("spec.volumeMode", "\"Filesystem\""),
    rule("spec.persistentVolumeReclaimPolicy", "\"Retain\""),
    rule("status", "{}"),
    rule("status.phase", "\"Pending\""),
];
const STORAGE_CLASS: &[Rule] = &[rule("reclaimPolicy", "\"Delete\""), rule("volumeBindingMode", "\"Immediate\"")];
const CSI_DRIVER: &[Rule] = &[
    rule("spec.attachRequired", "true"),
    rule("spec.podInfoOnMount", "false"),
    rule("spec.storageCapacity", "false"),
    rule("spec.fsGroupPolicy", "\"ReadWriteOnceWithFSType\""),
    rule("spec.volumeLifecycleModes", "[\"Persistent\"]"),
    rule("spec.requiresRepublish", "false"),
    rule("spec.seLinuxMount", "false"),
];
const WEBHOOKS: &[Rule] = &[
    rule("webhooks[].failurePolicy", "\"Fail\""),
    rule("webhooks[].matchPolicy", "\"Equivalent\""),
    rule("webhooks[].namespaceSelector", "{}"),
    rule("webhooks[].objectSelector", "{}"),
    rule("webhooks[].timeoutSeconds", "10"),
    rule("webhooks[].rules[].scope", "\"*\""),
    rule("webhooks[].clientConfig.service.port", "443"),
];
const MUTATING_WEBHOOKS: &[Rule] = &[rule("webhooks[].reinvocationPolicy", "\"Never\"")];
const ADMISSION_POLICY: &[Rule] = &[
    rule("spec.failurePolicy", "\"Fail\""),
    rule("spec.matchConstraints.matchPolicy", "\"Equivalent\""),
    rule("spec.matchConstraints.namespaceSelector", "{}"),
    rule("spec.matchConstraints.objectSelector", "{}"),
    rule("spec.matchConstraints.resourceRules[].scope", "\"*\""),
    rule("spec.matchConstraints.excludeResourceRules[].scope", "\"*\""),
];
const ROLE_BINDING: &[Rule] = &[rule("roleRef.apiGroup", RBAC_GROUP)];
const ROLE: &[Rule] = &[rule("rules", "null")];
const INGRESS: &[Rule] = &[rule("status", "{}"), rule("status.loadBalancer", "{}")];
const PRIORITY_CLASS: &[Rule] = &[rule("preemptionPolicy", "\"PreemptLowerPriority\"")];
const NODE: &[Rule] = &[rule("spec", "{}"), rule("status", "{}")];
const QUOTA: &[Rule] = &[rule("spec", "{}"), rule("status", "{}")];
const SECRET: &[Rule] = &[rule("type", "\"Opaque\"")];
const API_SERVICE: &[Rule] = &[rule("spec.service.port", "443"), rule("status", "{}")];
const DEFINITION: &[Rule] = &[
    rule("spec.conversion", "{}"),
    rule("spec.conversion.strategy", "\"None\""),
    rule("status", "{}"),
    rule("status.conditions", "null"),
    rule("status.acceptedNames", "{\"plural\":\"\",\"kind\":\"\"}"),
    rule("status.storedVersions", "null"),
];
const POD: &[Rule] =
    &[rule("spec.enableServiceLinks", "true"), rule("status", "{}"), rule("status.phase", "\"Pending\"")];

/// The tables of a resource.
pub(super) fn of(resource: &str) -> &'static [&'static [Rule]] {
    match resource {
        "deployments.apps" => &[DEPLOYMENT],
        "replicasets.apps" => &[REPLICA_SET],
        "replicationcontrollers" => &[REPLICATION_CONTROLLER],
        "statefulsets.apps" => &[STATEFUL_SET],
        "daemonsets.apps" => &[DAEMON_SET],
        "jobs.batch" => &[JOB],
        "cronjobs.batch" => &[CRON_JOB],
        "services" => &[SERVICE],
        "horizontalpodautoscalers.autoscaling" => &[AUTOSCALER],
        "networkpolicies.networking.k8s.io" => &[NETWORK_POLICY],
        "namespaces" => &[NAMESPACE],
        "poddisruptionbudgets.policy" => &[DISRUPTION_BUDGET],
        "events" => &[EVENT],
        "endpoints" => &[ENDPOINTS],
        "endpointslices.discovery.k8s.io" => &[ENDPOINT_SLICE],
        "persistentvolumeclaims" => &[CLAIM],
        "persistentvolumes" => &[VOLUME],
        "storageclasses.storage.k8s.io" => &[STORAGE_CLASS],
        "csidrivers.storage.k8s.io" => &[CSI_DRIVER],
        "validatingwebhookconfigurations.admissionregistration.k8s.io" => &[WEBHOOKS],
        "mutatingwebhookconfigurations.admissionregistration.k8s.io" => &[WEBHOOKS, MUTATING_WEBHOOKS],
        "validatingadmissionpolicies.admissionregistration.k8s.io"
        | "mutatingadmissionpolicies.admissionregistration.k8s.io" => &[ADMISSION_POLICY],
        "rolebindings.rbac.authorization.k8s.io" | "clusterrolebindings.rbac.authorization.k8s.io" => &[ROLE_BINDING],
        "roles.rbac.authorization.k8s.io" | "clusterroles.rbac.authorization.k8s.io" => &[ROLE],
        "ingresses.networking.k8s.io" => &[INGRESS],
        "priorityclasses.scheduling.k8s.io" => &[PRIORITY_CLASS],
        "nodes" => &[NODE],
        "resourcequotas" => &[QUOTA],
        "secrets" => &[SECRET],
        "apiservices.apiregistration.k8s.io" => &[API_SERVICE],
        "customresourcedefinitions.apiextensions.k8s.io" => &[DEFINITION],
        "pods" => &[POD],
        _ => &[],
    }
}

/// Where a resource holds a pod specification.
pub(crate) fn pod_specs(resource: &str) -> &'static [&'static str] {
    match resource {
        "pods" => &["/spec"],
        "cronjobs.batch" => &["/spec/jobTemplate/spec/template/spec"],
        "podtemplates" => &["/template/spec"],
        "deployments.apps"
        | "replicasets.apps"
        | "statefulsets.apps"
        | "daemonsets.apps"
        | "jobs.batch"
        | "replicationcontrollers" => &["/spec/template/spec"],
        _ => &[],
    }
}

/// Of a pod specification, wherever it is.
pub(super) const POD_SPEC: &[Rule] = &[
    rule("restartPolicy", "\"Always\""),
    rule("terminationGracePeriodSeconds", "30"),
    rule("dnsPolicy", "\"ClusterFirst\""),
    rule("securityContext", "{}"),
    rule("schedulerName", "\"default-scheduler\""),
    rule("volumes[].configMap.defaultMode", "420"),
    rule("volumes[].secret.defaultMode", "420"),
    rule("volumes[].downwardAPI.defaultMode", "420"),
    rule("volumes[].downwardAPI.items[].fieldRef.apiVersion", "\"v1\""),
    rule("volumes[].projected.defaultMode", "420"),
    rule("volumes[].projected.sources[].downwardAPI.items[].fieldRef.apiVersion", "\"v1\""),
    rule("volumes[].projected.sources[].serviceAccountToken.expirationSeconds", "3600"),
    rule("volumes[].hostPath.type", "\"\""),
    rule("volumes[].ephemeral.volumeClaimTemplate.spec.volumeMode", "\"Filesystem\""),
];

/// Of each container of a pod specification.
pub(super) const CONTAINER: &[Rule] = &[
    rule("resources", "{}"),
    rule("terminationMessagePath", "\"/dev/termination-log\""),
    rule("terminationMessagePolicy", "\"File\""),
    rule("ports[].protocol", TCP),
    rule("env[].valueFrom.fieldRef.apiVersion", "\"v1\""),
];

/// Of each probe.
pub(super) const PROBE: &[Rule] = &[
    rule("timeoutSeconds", "1"),
    rule("periodSeconds", "10"),
    rule("successThreshold", "1"),
    rule("failureThreshold", "3"),
    rule("grpc.service", "\"\""),
];

/// Of each handler of a probe or a lifecycle hook.
pub(super) const HANDLER: &[Rule] = &[rule("httpGet.path", "\"/\""), rule("httpGet.scheme", "\"HTTP\"")];
