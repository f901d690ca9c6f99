//! What the user asked for: `spec` of an autoscaling/v2 HorizontalPodAutoscaler.
//!
//! The shape is that of the manifest, optional fields and all, so that one type serves defaulting, validation and the
//! decision. Strings that Kubernetes treats as open enumerations (metric type, target type, select policy) stay
//! strings: a controller meets values that validation would have refused, and must cope with them. `defaults::apply`
//! first.

use std::collections::BTreeMap;

use crate::quantity::Quantity;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spec {
    pub scale_target_ref: ObjectRef,
    /// Unset means 1.
    pub min_replicas: Option<i32>,
    pub max_replicas: i32,
    pub metrics: Vec<Metric>,
    /// Unset selects the path without `behavior`: double or 4 at most on the way up, a stabilised way down.
    pub behavior: Option<Behavior>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectRef {
    pub api_version: String,
    pub kind: String,
    pub name: String,
}

/// One metric: its type and, in a valid spec, exactly the block that the type names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metric {
    pub r#type: String,
    pub object: Option<ObjectMetric>,
    pub pods: Option<PodsMetric>,
    pub resource: Option<ResourceMetric>,
    pub container_resource: Option<ContainerResourceMetric>,
    pub external: Option<ExternalMetric>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObjectMetric {
    pub described_object: ObjectRef,
    pub metric: MetricIdentifier,
    pub target: Target,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodsMetric {
    pub metric: MetricIdentifier,
    pub target: Target,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResourceMetric {
    pub name: String,
    pub target: Target,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContainerResourceMetric {
    pub name: String,
    pub container: String,
    pub target: Target,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExternalMetric {
    pub metric: MetricIdentifier,
    pub target: Target,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetricIdentifier {
    pub name: String,
    pub selector: Option<LabelSelector>,
}

/// `type` is `Utilization`, `Value` or `AverageValue` in a valid spec; which field is set is not tied to it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Target {
    pub r#type: String,
    pub value: Option<Quantity>,
    pub average_value: Option<Quantity>,
    pub average_utilization: Option<i32>,
}

/// A label selector in its structured form. (`selector::Selector` is the form that matches.)
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    pub match_labels: BTreeMap<String, String>,
    pub match_expressions: Vec<LabelSelectorRequirement>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelectorRequirement {
    pub key: String,
    pub operator: String,
    pub values: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Behavior {
    pub scale_up: Option<ScalingRules>,
    pub scale_down: Option<ScalingRules>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScalingRules {
    pub stabilization_window_s: Option<i32>,
    pub select_policy: Option<String>,
    /// `None` is defaulted; an empty list is kept, and refused by validation.
    pub policies: Option<Vec<Policy>>,
    pub tolerance: Option<Quantity>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    pub r#type: String,
    pub value: i32,
    pub period_s: i32,
}

pub const RESOURCE: &str = "Resource";
pub const CONTAINER_RESOURCE: &str = "ContainerResource";
pub const PODS: &str = "Pods";
pub const OBJECT: &str = "Object";
pub const EXTERNAL: &str = "External";

pub const UTILIZATION: &str = "Utilization";
pub const VALUE: &str = "Value";
pub const AVERAGE_VALUE: &str = "AverageValue";

pub const PODS_POLICY: &str = "Pods";
pub const PERCENT_POLICY: &str = "Percent";

pub const SELECT_MAX: &str = "Max";
pub const SELECT_MIN: &str = "Min";
pub const SELECT_DISABLED: &str = "Disabled";

impl Metric {
    pub fn resource(name: &str, target: Target) -> Metric {
        let resource = Some(ResourceMetric { name: name.into(), target });
        Metric { r#type: RESOURCE.into(), resource, ..Metric::default() }
    }

    pub fn container_resource(container: &str, name: &str, target: Target) -> Metric {
        let block = ContainerResourceMetric { name: name.into(), container: container.into(), target };
        Metric { r#type: CONTAINER_RESOURCE.into(), container_resource: Some(block), ..Metric::default() }
    }

    pub fn pods(name: &str, target: Target) -> Metric {
        let pods = Some(PodsMetric { metric: MetricIdentifier::named(name), target });
        Metric { r#type: PODS.into(), pods, ..Metric::default() }
    }

    pub fn object(described_object: ObjectRef, name: &str, target: Target) -> Metric {
        let object = Some(ObjectMetric { described_object, metric: MetricIdentifier::named(name), target });
        Metric { r#type: OBJECT.into(), object, ..Metric::default() }
    }

    pub fn external(name: &str, target: Target) -> Metric {
        let external = Some(ExternalMetric { metric: MetricIdentifier::named(name), target });
        Metric { r#type: EXTERNAL.into(), external, ..Metric::default() }
    }
}

impl MetricIdentifier {
    pub fn named(name: &str) -> MetricIdentifier {
        MetricIdentifier { name: name.into(), selector: None }
    }
}

impl Target {
    pub fn utilization(percent: i32) -> Target {
        Target { r#type: UTILIZATION.into(), average_utilization: Some(percent), ..Target::default() }
    }

    pub fn average_value(value: Quantity) -> Target {
        Target { r#type: AVERAGE_VALUE.into(), average_value: Some(value), ..Target::default() }
    }

    pub fn value(value: Quantity) -> Target {
        Target { r#type: VALUE.into(), value: Some(value), ..Target::default() }
    }
}

impl ObjectRef {
    pub fn new(api_version: &str, kind: &str, name: &str) -> ObjectRef {
        ObjectRef { api_version: api_version.into(), kind: kind.into(), name: name.into() }
    }
}

impl Spec {
    /// `minReplicas`, or 1 where it is unset.
    pub fn min(&self) -> i32 {
        self.min_replicas.unwrap_or(1)
    }

    /// Whether some metric does not need pods to exist: the condition for scaling to and from zero.
    pub fn has_object_or_external_metric(&self) -> bool {
        self.metrics.iter().any(|m| m.r#type == OBJECT || m.r#type == EXTERNAL)
    }
}
