//! Types to JSON: optional fields that are absent are left out.

use serde_json::{Map, Value, json};

use super::rfc3339;
use crate::quantity::Quantity;
use crate::spec::{Behavior, LabelSelector, Metric, MetricIdentifier, ObjectRef, Policy, ScalingRules, Spec, Target};
use crate::status::{Condition, MetricSource, MetricStatus, Status};

/// An object under construction.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn with(mut self, key: &str, value: impl Into<Value>) -> Fields {
        self.0.insert(key.into(), value.into());
        self
    }

    fn maybe(self, key: &str, value: Option<impl Into<Value>>) -> Fields {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    fn quantity(self, key: &str, value: Option<&Quantity>) -> Fields {
        self.maybe(key, value.map(ToString::to_string))
    }

    fn done(self) -> Value {
        Value::Object(self.0)
    }
}

pub(super) fn spec(spec: &Spec) -> Value {
    let metrics: Vec<Value> = spec.metrics.iter().map(metric).collect();
    Fields::default()
        .with("scaleTargetRef", object_ref(&spec.scale_target_ref))
        .maybe("minReplicas", spec.min_replicas)
        .with("maxReplicas", spec.max_replicas)
        .maybe("metrics", Some(metrics).filter(|m| !m.is_empty()))
        .maybe("behavior", spec.behavior.as_ref().map(behavior))
        .done()
}

pub(super) fn status(status: &Status) -> Value {
    let metrics: Vec<Value> = status.current_metrics.iter().map(metric_status).collect();
    let conditions: Vec<Value> = status.conditions.iter().map(condition).collect();
    Fields::default()
        .maybe("observedGeneration", status.observed_generation)
        .maybe("lastScaleTime", status.last_scale_time.map(rfc3339::format))
        .maybe("currentReplicas", Some(status.current_replicas).filter(|n| *n != 0))
        .with("desiredReplicas", status.desired_replicas)
        .with("currentMetrics", Some(metrics).filter(|m| !m.is_empty()))
        .maybe("conditions", Some(conditions).filter(|c| !c.is_empty()))
        .done()
}

pub(super) fn behavior(behavior: &Behavior) -> Value {
    Fields::default()
        .maybe("scaleUp", behavior.scale_up.as_ref().map(rules))
        .maybe("scaleDown", behavior.scale_down.as_ref().map(rules))
        .done()
}

fn rules(rules: &ScalingRules) -> Value {
    let policy = |p: &Policy| json!({ "type": p.r#type, "value": p.value, "periodSeconds": p.period_s });
    let policies = rules.policies.as_ref().filter(|list| !list.is_empty());
    Fields::default()
        .maybe("stabilizationWindowSeconds", rules.stabilization_window_s)
        .maybe("selectPolicy", rules.select_policy.as_deref())
        .maybe("policies", policies.map(|list| list.iter().map(policy).collect::<Vec<_>>()))
        .quantity("tolerance", rules.tolerance.as_ref())
        .done()
}

fn object_ref(r: &ObjectRef) -> Value {
    let api_version = Some(r.api_version.as_str()).filter(|v| !v.is_empty());
    Fields::default()
        .with("kind", r.kind.as_str())
        .with("name", r.name.as_str())
        .maybe("apiVersion", api_version)
        .done()
}

fn metric(metric: &Metric) -> Value {
    let Metric { r#type, object, pods, resource, container_resource, external } = metric;
    let object = object.as_ref().map(|m| {
        Fields::default()
            .with("describedObject", object_ref(&m.described_object))
            .with("target", target(&m.target))
            .with("metric", identifier(&m.metric))
            .done()
    });
    let pods = pods.as_ref().map(|m| json!({ "metric": identifier(&m.metric), "target": target(&m.target) }));
    let resource = resource.as_ref().map(|m| json!({ "name": m.name, "target": target(&m.target) }));
    let container_resource = container_resource
        .as_ref()
        .map(|m| json!({ "name": m.name, "target": target(&m.target), "container": m.container }));
    let external = external.as_ref().map(|m| json!({ "metric": identifier(&m.metric), "target": target(&m.target) }));
    Fields::default()
        .with("type", r#type.as_str())
        .maybe("object", object)
        .maybe("pods", pods)
        .maybe("resource", resource)
        .maybe("containerResource", container_resource)
        .maybe("external", external)
        .done()
}

fn identifier(metric: &MetricIdentifier) -> Value {
    Fields::default()
        .with("name", metric.name.as_str())
        .maybe("selector", metric.selector.as_ref().map(label_selector))
        .done()
}

pub(super) fn label_selector(selector: &LabelSelector) -> Value {
    let expressions: Vec<Value> = selector
        .match_expressions
        .iter()
        .map(|e| {
            Fields::default()
                .with("key", e.key.as_str())
                .with("operator", e.operator.as_str())
                .maybe("values", Some(e.values.clone()).filter(|v| !v.is_empty()))
                .done()
        })
        .collect();
    let labels: Map<String, Value> =
        selector.match_labels.iter().map(|(k, v)| (k.clone(), v.as_str().into())).collect();
    Fields::default()
        .maybe("matchLabels", Some(labels).filter(|l| !l.is_empty()))
        .maybe("matchExpressions", Some(expressions).filter(|e| !e.is_empty()))
        .done()
}

fn target(target: &Target) -> Value {
    Fields::default()
        .with("type", target.r#type.as_str())
        .quantity("value", target.value.as_ref())
        .quantity("averageValue", target.average_value.as_ref())
        .maybe("averageUtilization", target.average_utilization)
        .done()
}

fn condition(c: &Condition) -> Value {
    Fields::default()
        .with("type", c.r#type.as_str())
        .with("status", c.status.as_str())
        .with("lastTransitionTime", rfc3339::format(c.last_transition_time))
        .maybe("reason", Some(c.reason.as_str()).filter(|r| !r.is_empty()))
        .maybe("message", Some(c.message.as_str()).filter(|m| !m.is_empty()))
        .done()
}

fn metric_status(metric: &MetricStatus) -> Value {
    let current = Fields::default()
        .quantity("value", metric.current.value.as_ref())
        .quantity("averageValue", metric.current.average_value.as_ref())
        .maybe("averageUtilization", metric.current.average_utilization)
        .done();
    let (block, source) = match &metric.source {
        None => return json!({ "type": metric.r#type }),
        Some(MetricSource::Resource { name }) => ("resource", json!({ "name": name, "current": current })),
        Some(MetricSource::ContainerResource { name, container }) => {
            ("containerResource", json!({ "name": name, "current": current, "container": container }))
        }
        Some(MetricSource::Pods { metric }) => ("pods", json!({ "metric": identifier(metric), "current": current })),
        Some(MetricSource::Object { metric, described_object }) => {
            let described_object = object_ref(described_object);
            let metric = identifier(metric);
            ("object", json!({ "metric": metric, "current": current, "describedObject": described_object }))
        }
        Some(MetricSource::External { metric }) => {
            ("external", json!({ "metric": identifier(metric), "current": current }))
        }
    };
    Fields::default().with("type", metric.r#type.as_str()).with(block, source).done()
}
