//! What the API server accepts: validation of name, spec and status of an autoscaling/v2 object, after defaulting.
//!
//! Returns every error at once, each with field, kind and text as the API server words them. An update is judged less
//! strictly where the stored object already was what a new one may not be.

use crate::config::Gates;
use crate::field::{
    FieldError, dns_label_errors, dns_subdomain_errors, path_segment_errors, qualified_name_errors, quote,
};
use crate::quantity::Quantity;
use crate::spec::{
    AVERAGE_VALUE, Behavior, CONTAINER_RESOURCE, ContainerResourceMetric, EXTERNAL, ExternalMetric, Metric,
    MetricIdentifier, OBJECT, ObjectMetric, ObjectRef, PERCENT_POLICY, PODS, PODS_POLICY, PodsMetric, Policy, RESOURCE,
    ResourceMetric, SELECT_DISABLED, SELECT_MAX, SELECT_MIN, ScalingRules, Spec, Target, UTILIZATION, VALUE,
};
use crate::status::Status;

/// One hour.
pub const STABILIZATION_WINDOW_S_MAX: i32 = 3600;
/// Half an hour.
pub const POLICY_PERIOD_S_MAX: i32 = 1800;

type Errors = Vec<FieldError>;

/// `metadata.name`.
pub fn name(name: &str) -> Errors {
    dns_subdomain_errors(name).iter().map(|e| FieldError::invalid("metadata.name".into(), quote(name), e)).collect()
}

/// The spec of a new object, or with `old` of an update.
pub fn spec(spec: &Spec, old: Option<&Spec>, gates: &Gates) -> Errors {
    let mut errors = Errors::new();
    let zero_allowed = gates.scale_to_zero || old.is_some_and(|old| old.min_replicas == Some(0));
    let min_bound = if zero_allowed { 0 } else { 1 };
    if let Some(min) = spec.min_replicas.filter(|min| *min < min_bound) {
        let detail = format!("must be greater than or equal to {min_bound}");
        errors.push(FieldError::invalid("spec.minReplicas".into(), min, &detail));
    }
    let max = spec.max_replicas;
    if max == 0 {
        errors.push(FieldError::required("spec.maxReplicas".into(), "must be set and greater than 0"));
    }
    let mut max_error = |detail: &str| errors.push(FieldError::invalid("spec.maxReplicas".into(), max, detail));
    if max < 0 {
        max_error("must be greater than or equal to 1");
    }
    if spec.min_replicas.is_some_and(|min| max < min) {
        max_error("must be greater than or equal to `minReplicas`");
    }
    let target = &spec.scale_target_ref;
    let rule = match old.map(|old| &old.scale_target_ref) {
        Some(old) if old.kind == target.kind && old.api_version == target.api_version => ApiVersionRule::Anything,
        _ if target.kind == "ReplicationController" => ApiVersionRule::Parses,
        _ => ApiVersionRule::HasGroup,
    };
    object_ref(&mut errors, target, "spec.scaleTargetRef", rule);
    metrics(&mut errors, spec, old);
    if let Some(Behavior { scale_up, scale_down }) = &spec.behavior {
        rules(&mut errors, scale_up.as_ref(), "spec.behavior.scaleUp");
        rules(&mut errors, scale_down.as_ref(), "spec.behavior.scaleDown");
    }
    errors
}

/// A write of the status.
pub fn status(status: &Status) -> Errors {
    let counts =
        [("status.currentReplicas", status.current_replicas), ("status.desiredReplicas", status.desired_replicas)];
    let negative = counts.into_iter().filter(|(_, count)| *count < 0);
    negative
        .map(|(field, count)| FieldError::invalid(field.into(), count, "must be greater than or equal to 0"))
        .collect()
}

/// What a write silently loses: tolerances while their gate is off, unless the stored object has one already.
pub fn drop_disabled_fields(spec: &mut Spec, old: Option<&Spec>, gates: &Gates) {
    let has_tolerance = |spec: &Spec| {
        let directions = spec.behavior.iter().flat_map(|b| [&b.scale_up, &b.scale_down]);
        directions.flatten().any(|rules| rules.tolerance.is_some())
    };
    if gates.configurable_tolerance || old.is_some_and(has_tolerance) {
        return;
    }
    if let Some(Behavior { scale_up, scale_down }) = &mut spec.behavior {
        for rules in [scale_up, scale_down].into_iter().flatten() {
            rules.tolerance = None;
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ApiVersionRule {
    Anything,
    Parses,
    HasGroup,
}

fn object_ref(errors: &mut Errors, reference: &ObjectRef, path: &str, rule: ApiVersionRule) {
    for (key, value) in [("kind", &reference.kind), ("name", &reference.name)] {
        let field = format!("{path}.{key}");
        if value.is_empty() {
            errors.push(FieldError::required(field, ""));
        } else {
            path_segment(errors, value, field);
        }
    }
    if let Some(detail) = api_version_error(&reference.api_version, rule) {
        errors.push(FieldError::invalid(format!("{path}.apiVersion"), quote(&reference.api_version), &detail));
    }
}

fn api_version_error(api_version: &str, rule: ApiVersionRule) -> Option<String> {
    let slashes = api_version.matches('/').count();
    let group_missing = slashes == 0 || api_version.starts_with('/');
    match rule {
        ApiVersionRule::Anything => None,
        _ if slashes > 1 => Some(format!("unexpected GroupVersion string: {api_version}")),
        ApiVersionRule::HasGroup if group_missing => Some("apiVersion must specify API group".into()),
        _ => None,
    }
}

fn path_segment(errors: &mut Errors, value: &str, field: String) {
    errors.extend(path_segment_errors(value).iter().map(|e| FieldError::invalid(field.clone(), quote(value), e)));
}

fn metrics(errors: &mut Errors, spec: &Spec, old: Option<&Spec>) {
    let was_invalid =
        |m: &ObjectMetric| api_version_error(&m.described_object.api_version, ApiVersionRule::Parses).is_some();
    let old_objects = old.into_iter().flat_map(|old| &old.metrics).filter_map(|m| m.object.as_ref());
    let rule = if old_objects.into_iter().any(was_invalid) { ApiVersionRule::Anything } else { ApiVersionRule::Parses };
    for (i, metric) in spec.metrics.iter().enumerate() {
        one_metric(errors, metric, &format!("spec.metrics[{i}]"), rule);
    }
    if spec.min_replicas == Some(0) && !spec.has_object_or_external_metric() {
        let detail = "must specify at least one Object or External metric to support scaling to zero replicas";
        errors.push(FieldError::forbidden("spec.metrics".into(), detail));
    }
}

fn one_metric(errors: &mut Errors, metric: &Metric, path: &str, object_rule: ApiVersionRule) {
    const TYPES: [&str; 5] = [CONTAINER_RESOURCE, EXTERNAL, OBJECT, PODS, RESOURCE];
    let Metric { r#type, object, pods, resource, container_resource, external } = metric;
    if r#type.is_empty() {
        errors.push(FieldError::required(format!("{path}.type"), "must specify a metric source type"));
    }
    // Only the first block in this order is looked into.
    if let Some(m) = object {
        object_metric(errors, m, &format!("{path}.object"), object_rule);
    } else if let Some(m) = external {
        external_metric(errors, m, &format!("{path}.external"));
    } else if let Some(m) = pods {
        pods_metric(errors, m, &format!("{path}.pods"));
    } else if let Some(m) = resource {
        resource_metric(errors, m, &format!("{path}.resource"));
    } else if let Some(m) = container_resource {
        container_resource_metric(errors, m, &format!("{path}.containerResource"));
    }
    let blocks = [
        ("object", OBJECT, object.is_some()),
        ("external", EXTERNAL, external.is_some()),
        ("pods", PODS, pods.is_some()),
        ("resource", RESOURCE, resource.is_some()),
        ("containerResource", CONTAINER_RESOURCE, container_resource.is_some()),
    ];
    match blocks.iter().find(|(_, of, _)| of == r#type) {
        Some((block, _, false)) => {
            let detail = "must populate information for the given metric source";
            errors.push(FieldError::required(format!("{path}.{block}"), detail));
        }
        Some(_) => {}
        None => {
            // Upstream checks this in two places.
            let error = FieldError::not_supported(format!("{path}.type"), r#type, &TYPES);
            errors.extend([error.clone(), error]);
        }
    }
    if blocks.iter().filter(|(_, _, present)| *present).count() != 1 {
        let others = blocks.iter().filter(|(_, of, present)| *present && of != r#type);
        let detail = "must populate the given metric source only";
        errors.extend(others.map(|(block, ..)| FieldError::forbidden(format!("{path}.{block}"), detail)));
    }
}

fn object_metric(errors: &mut Errors, m: &ObjectMetric, path: &str, rule: ApiVersionRule) {
    object_ref(errors, &m.described_object, &format!("{path}.describedObject"), rule);
    identifier(errors, &m.metric, path);
    target(errors, &m.target, path);
    if m.target.value.is_none() && m.target.average_value.is_none() {
        let detail = "must set either a target value or averageValue";
        errors.push(FieldError::required(format!("{path}.target.averageValue"), detail));
    }
}

fn external_metric(errors: &mut Errors, m: &ExternalMetric, path: &str) {
    identifier(errors, &m.metric, path);
    target(errors, &m.target, path);
    match (&m.target.value, &m.target.average_value) {
        (None, None) => {
            let detail = "must set either a target value for metric or a per-pod target";
            errors.push(FieldError::required(format!("{path}.target.averageValue"), detail));
        }
        (Some(_), Some(_)) => {
            let detail = "may not set both a target value for metric and a per-pod target";
            errors.push(FieldError::forbidden(format!("{path}.target.value"), detail));
        }
        _ => {}
    }
}

fn pods_metric(errors: &mut Errors, m: &PodsMetric, path: &str) {
    identifier(errors, &m.metric, path);
    target(errors, &m.target, path);
    if m.target.average_value.is_none() {
        let detail = "must specify a positive target averageValue";
        errors.push(FieldError::required(format!("{path}.target.averageValue"), detail));
    }
}

fn resource_metric(errors: &mut Errors, m: &ResourceMetric, path: &str) {
    if m.name.is_empty() {
        errors.push(FieldError::required(format!("{path}.name"), "must specify a resource name"));
    }
    resource_target(errors, &m.target, path);
}

fn container_resource_metric(errors: &mut Errors, m: &ContainerResourceMetric, path: &str) {
    let field = format!("{path}.name");
    if m.name.is_empty() {
        errors.push(FieldError::required(field, "must specify a resource name"));
    } else {
        let invalid = |e: String| FieldError::invalid(field.clone(), quote(&m.name), &e);
        errors.extend(container_resource_name_errors(&m.name).into_iter().map(invalid));
    }
    let field = format!("{path}.container");
    if m.container.is_empty() {
        errors.push(FieldError::required(field, "must specify a container"));
    } else {
        let invalid = |e: &String| FieldError::invalid(field.clone(), quote(&m.container), e);
        errors.extend(dns_label_errors(&m.container).iter().map(invalid));
    }
    resource_target(errors, &m.target, path);
}

fn resource_target(errors: &mut Errors, of: &Target, path: &str) {
    target(errors, of, path);
    match (of.average_utilization, &of.average_value) {
        (None, None) => {
            let detail = "must set either a target raw value or a target utilization";
            errors.push(FieldError::required(format!("{path}.target.averageUtilization"), detail));
        }
        (Some(_), Some(_)) => {
            let detail = "may not set both a target raw value and a target utilization";
            errors.push(FieldError::forbidden(format!("{path}.target.averageValue"), detail));
        }
        _ => {}
    }
}

fn identifier(errors: &mut Errors, metric: &MetricIdentifier, path: &str) {
    let field = format!("{path}.metric.name");
    if metric.name.is_empty() {
        errors.push(FieldError::required(field, "must specify a metric name"));
    } else {
        path_segment(errors, &metric.name, field);
    }
}

/// The type is not checked against which field is set.
fn target(errors: &mut Errors, of: &Target, path: &str) {
    let field = format!("{path}.target.type");
    if of.r#type.is_empty() {
        errors.push(FieldError::required(field.clone(), "must specify a metric target type"));
    }
    if ![UTILIZATION, VALUE, AVERAGE_VALUE].contains(&of.r#type.as_str()) {
        let detail = "must be either Utilization, Value, or AverageValue";
        errors.push(FieldError::invalid(field, quote(&of.r#type), detail));
    }
    let mut positive = |key: &str, quantity: &Option<Quantity>| {
        if let Some(quantity) = quantity.as_ref().filter(|q| q.sign() != 1) {
            let field = format!("{path}.target.{key}");
            errors.push(FieldError::invalid(field, format!("\"{quantity}\""), "must be positive"));
        }
    };
    positive("value", &of.value);
    positive("averageValue", &of.average_value);
    if let Some(percent) = of.average_utilization.filter(|percent| *percent < 1) {
        let field = format!("{path}.target.averageUtilization");
        errors.push(FieldError::invalid(field, percent, "must be greater than 0"));
    }
}

fn rules(errors: &mut Errors, rules: Option<&ScalingRules>, path: &str) {
    let Some(ScalingRules { stabilization_window_s, select_policy, policies, tolerance }) = rules else { return };
    if let Some(window_s) = *stabilization_window_s {
        let field = || format!("{path}.stabilizationWindowSeconds");
        if window_s < 0 {
            errors.push(FieldError::invalid(field(), window_s, "must be greater than or equal to zero"));
        }
        if window_s > STABILIZATION_WINDOW_S_MAX {
            let detail = format!("must be less than or equal to {STABILIZATION_WINDOW_S_MAX}");
            errors.push(FieldError::invalid(field(), window_s, &detail));
        }
    }
    if let Some(select) = select_policy {
        let supported = [SELECT_DISABLED, SELECT_MAX, SELECT_MIN];
        if !supported.contains(&select.as_str()) {
            errors.push(FieldError::not_supported(format!("{path}.selectPolicy"), select, &supported));
        }
    }
    if policies.as_ref().is_none_or(Vec::is_empty) {
        errors.push(FieldError::required(format!("{path}.policies"), "must specify at least one Policy"));
    }
    for (i, policy) in policies.iter().flatten().enumerate() {
        one_policy(errors, policy, &format!("{path}.policies[{i}]"));
    }
    if let Some(tolerance) = tolerance.as_ref().filter(|t| t.sign() < 0) {
        let detail = "must be greater than or equal to 0";
        errors.push(FieldError::invalid(format!("{path}.tolerance"), format!("\"{tolerance}\""), detail));
    }
}

fn one_policy(errors: &mut Errors, policy: &Policy, path: &str) {
    let supported = [PERCENT_POLICY, PODS_POLICY];
    if !supported.contains(&policy.r#type.as_str()) {
        errors.push(FieldError::not_supported(format!("{path}.type"), &policy.r#type, &supported));
    }
    for (key, value) in [("value", policy.value), ("periodSeconds", policy.period_s)] {
        if value <= 0 {
            errors.push(FieldError::invalid(format!("{path}.{key}"), value, "must be greater than zero"));
        }
    }
    if policy.period_s > POLICY_PERIOD_S_MAX {
        let detail = format!("must be less than or equal to {POLICY_PERIOD_S_MAX}");
        errors.push(FieldError::invalid(format!("{path}.periodSeconds"), policy.period_s, &detail));
    }
}

fn container_resource_name_errors(name: &str) -> Vec<String> {
    let mut errors = qualified_name_errors(name);
    let native = !name.contains('/') || name.contains("kubernetes.io/");
    let huge_pages = name.starts_with("hugepages-");
    if !name.contains('/') {
        if errors.is_empty() && !is_standard_resource(name) {
            errors.push("must be a standard resource type or fully qualified".into());
        }
        if !huge_pages && !["cpu", "memory", "ephemeral-storage"].contains(&name) {
            errors.push("must be a standard resource for containers".into());
        }
    } else if !native
        && (name.starts_with("requests.") || !qualified_name_errors(&format!("requests.{name}")).is_empty())
    {
        errors.push("doesn't follow extended resource name standard".into());
    }
    errors
}

/// Names without a prefix that Kubernetes knows, for quotas included.
fn is_standard_resource(name: &str) -> bool {
    const NAMES: [&str; 19] = [
        "cpu",
        "memory",
        "ephemeral-storage",
        "requests.cpu",
        "requests.memory",
        "requests.ephemeral-storage",
        "limits.cpu",
        "limits.memory",
        "limits.ephemeral-storage",
        "pods",
        "resourcequotas",
        "services",
        "replicationcontrollers",
        "secrets",
        "configmaps",
        "persistentvolumeclaims",
        "storage",
        "requests.storage",
        "services.nodeports",
    ];
    NAMES.contains(&name)
        || name == "services.loadbalancers"
        || name.starts_with("hugepages-")
        || name.starts_with("requests.hugepages-")
}
