//! autoscaling/v1 and back.
//!
//! The v1 view has a cpu utilisation and nothing else; the rest rides in annotations, as the API server writes them:
//! metrics and their statuses in an older shape, the behavior with Go's field names. Round-trip annotations are always
//! dropped before new ones are written, and malformed ones are ignored. One deliberate difference: where an average is
//! set, a value of zero is what v1 cannot leave out, not a target, and does not come back.

use serde_json::{Map, Value};

use super::decode::{self, At, RulesKeys};
use super::{DecodeError, encode, spec_from_json, spec_to_json, status_from_json, status_to_json};
use crate::defaults::CPU_UTILIZATION_PERCENT;
use crate::quantity::Quantity;
use crate::spec::{
    AVERAGE_VALUE, Behavior, ContainerResourceMetric, ExternalMetric, LabelSelector, Metric, MetricIdentifier,
    ObjectMetric, ObjectRef, PodsMetric, RESOURCE, ResourceMetric, ScalingRules, Target, UTILIZATION, VALUE,
};
use crate::status::{Condition, MetricSource, MetricStatus, MetricValue, Status};

pub const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
pub const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
pub const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
pub const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";

/// The v1 view of a v2 object.
pub fn from_v2(object: &Value) -> Result<Value, DecodeError> {
    let spec = spec_from_json(object)?;
    let status = status_from_json(object)?;
    let mut view = object.as_object().cloned().unwrap_or_default();
    view.insert("apiVersion".into(), "autoscaling/v1".into());
    let others: Vec<String> = spec.metrics.iter().filter(|m| cpu_utilization(m).is_none()).map(metric_text).collect();
    let statuses: Vec<String> = status.current_metrics.iter().map(metric_status_text).collect();
    let conditions: Vec<String> = status.conditions.iter().map(condition_text).collect();
    let list = |items: Vec<String>| (!items.is_empty()).then(|| format!("[{}]", items.join(",")));
    let carried = [
        (METRICS, list(others)),
        (BEHAVIOR, spec.behavior.as_ref().map(behavior_text)),
        (CURRENT_METRICS, list(statuses)),
        (CONDITIONS, list(conditions)),
    ];
    annotate(&mut view, carried);
    let mut v1_spec = as_object(spec_to_json(&spec));
    v1_spec.retain(|key, _| matches!(key.as_str(), "scaleTargetRef" | "minReplicas" | "maxReplicas"));
    // The first cpu metric decides, even if it has no utilisation.
    let cpu =
        spec.metrics.iter().find(|m| m.r#type == RESOURCE && m.resource.as_ref().is_some_and(|r| r.name == "cpu"));
    if let Some(percent) = cpu.and_then(cpu_utilization) {
        v1_spec.insert("targetCPUUtilizationPercentage".into(), percent.into());
    }
    view.insert("spec".into(), Value::Object(v1_spec));
    view.insert("status".into(), v1_status(&status));
    Ok(Value::Object(view))
}

/// The v2 object behind a v1 one.
pub fn to_v2(object: &Value) -> Result<Value, DecodeError> {
    let mut spec = spec_from_json(object)?;
    let mut status = status_from_json(object)?;
    let root = At::root(object)?;
    let v1_spec = root.object("spec", "HorizontalPodAutoscalerSpec", "v1")?;
    let v1_status = root.object("status", "HorizontalPodAutoscalerStatus", "v1")?;
    let percent = v1_spec.map(|s| s.int32("targetCPUUtilizationPercentage")).transpose()?.flatten();
    let current_percent = v1_status.map(|s| s.int32("currentCPUUtilizationPercentage")).transpose()?.flatten();
    spec.metrics = carried(object, METRICS).and_then(|v| items(&v, "MetricSpec", metric)).unwrap_or_default();
    spec.metrics.extend(percent.map(|p| Metric::resource("cpu", Target::utilization(p))));
    if spec.metrics.is_empty() {
        spec.metrics.push(Metric::resource("cpu", Target::utilization(CPU_UTILIZATION_PERCENT)));
    }
    spec.behavior = carried(object, BEHAVIOR).and_then(|v| behavior(&v).ok()).filter(|b| *b != Behavior::default());
    status.current_metrics =
        match carried(object, CURRENT_METRICS).and_then(|v| items(&v, "MetricStatus", metric_status)) {
            Some(metrics) => metrics,
            None => current_percent.map(cpu_status).into_iter().collect(),
        };
    status.conditions =
        carried(object, CONDITIONS).and_then(|v| items(&v, "Condition", decode::condition)).unwrap_or_default();
    let mut stored = object.as_object().cloned().unwrap_or_default();
    stored.insert("apiVersion".into(), "autoscaling/v2".into());
    annotate(&mut stored, []);
    stored.insert("spec".into(), spec_to_json(&spec));
    stored.insert("status".into(), status_to_json(&status));
    Ok(Value::Object(stored))
}

fn as_object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// Drops the annotations that carry fields, then writes these.
fn annotate<const N: usize>(object: &mut Map<String, Value>, carried: [(&str, Option<String>); N]) {
    let metadata = object.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    let Some(metadata) = metadata.as_object_mut() else { return };
    let had = metadata.contains_key("annotations");
    let mut annotations = metadata.remove("annotations").map(as_object).unwrap_or_default();
    annotations.retain(|key, _| ![METRICS, BEHAVIOR, CURRENT_METRICS, CONDITIONS].contains(&key.as_str()));
    let carried = carried.into_iter().filter_map(|(key, text)| Some((key.to_owned(), Value::String(text?))));
    annotations.extend(carried);
    if had || !annotations.is_empty() {
        metadata.insert("annotations".into(), Value::Object(annotations));
    }
}

fn carried(object: &Value, annotation: &str) -> Option<Value> {
    let text = object.get("metadata")?.get("annotations")?.get(annotation)?.as_str()?;
    serde_json::from_str(text).ok()
}

fn items<T>(list: &Value, of: &'static str, item: fn(&At<'_>) -> Result<T, DecodeError>) -> Option<Vec<T>> {
    At::items(list, of).and_then(|items| items.iter().map(item).collect()).ok()
}

fn cpu_utilization(metric: &Metric) -> Option<i32> {
    let resource = metric.resource.as_ref().filter(|r| metric.r#type == RESOURCE && r.name == "cpu")?;
    resource.target.average_utilization
}

fn cpu_status(percent: i32) -> MetricStatus {
    let source = Some(MetricSource::Resource { name: "cpu".into() });
    let current = MetricValue { average_utilization: Some(percent), ..MetricValue::default() };
    MetricStatus { r#type: RESOURCE.into(), source, current }
}

fn v1_status(status: &Status) -> Value {
    let mut fields = as_object(status_to_json(status));
    fields.retain(|key, _| matches!(key.as_str(), "observedGeneration" | "lastScaleTime"));
    fields.insert("currentReplicas".into(), status.current_replicas.into());
    fields.insert("desiredReplicas".into(), status.desired_replicas.into());
    let is_cpu = |m: &&MetricStatus| matches!(&m.source, Some(MetricSource::Resource { name }) if name == "cpu");
    let cpu = status.current_metrics.iter().rfind(is_cpu);
    if let Some(percent) = cpu.and_then(|m| m.current.average_utilization) {
        fields.insert("currentCPUUtilizationPercentage".into(), percent.into());
    }
    Value::Object(fields)
}

/// JSON text of an object with its fields in this order, which annotations keep.
fn object_text<const N: usize>(fields: [(&str, Option<String>); N]) -> String {
    let fields = fields.into_iter().filter_map(|(key, text)| Some(format!("\"{key}\":{}", text?)));
    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
}

fn text(value: &str) -> String {
    Value::from(value).to_string()
}

fn quantity_text(value: Option<&Quantity>) -> Option<String> {
    value.map(|q| format!("\"{q}\""))
}

/// A quantity that v1 has no way to leave out.
fn required_text(value: Option<&Quantity>) -> Option<String> {
    quantity_text(value).or_else(|| Some("\"0\"".into()))
}

fn number_text(value: Option<i32>) -> Option<String> {
    value.map(|n| n.to_string())
}

fn selector_text(selector: Option<&LabelSelector>) -> Option<String> {
    selector.map(|s| encode::label_selector(s).to_string())
}

fn reference_text(r: &ObjectRef) -> String {
    let api_version = Some(text(&r.api_version)).filter(|_| !r.api_version.is_empty());
    object_text([("kind", Some(text(&r.kind))), ("name", Some(text(&r.name))), ("apiVersion", api_version)])
}

fn metric_text(metric: &Metric) -> String {
    let Metric { r#type, object, pods, resource, container_resource, external } = metric;
    let object = object.as_ref().map(|m| {
        object_text([
            ("target", Some(reference_text(&m.described_object))),
            ("metricName", Some(text(&m.metric.name))),
            ("targetValue", required_text(m.target.value.as_ref())),
            ("selector", selector_text(m.metric.selector.as_ref())),
            ("averageValue", quantity_text(m.target.average_value.as_ref())),
        ])
    });
    let pods = pods.as_ref().map(|m| {
        object_text([
            ("metricName", Some(text(&m.metric.name))),
            ("targetAverageValue", required_text(m.target.average_value.as_ref())),
            ("selector", selector_text(m.metric.selector.as_ref())),
        ])
    });
    let of_resource = |name: &str, target: &Target, container: Option<&str>| {
        object_text([
            ("name", Some(text(name))),
            ("targetAverageUtilization", number_text(target.average_utilization)),
            ("targetAverageValue", quantity_text(target.average_value.as_ref())),
            ("container", container.map(text)),
        ])
    };
    let external = external.as_ref().map(|m| {
        object_text([
            ("metricName", Some(text(&m.metric.name))),
            ("metricSelector", selector_text(m.metric.selector.as_ref())),
            ("targetValue", quantity_text(m.target.value.as_ref())),
            ("targetAverageValue", quantity_text(m.target.average_value.as_ref())),
        ])
    });
    let container = container_resource.as_ref().map(|m| of_resource(&m.name, &m.target, Some(&m.container)));
    object_text([
        ("type", Some(text(r#type))),
        ("object", object),
        ("pods", pods),
        ("resource", resource.as_ref().map(|m| of_resource(&m.name, &m.target, None))),
        ("containerResource", container),
        ("external", external),
    ])
}

fn metric_status_text(metric: &MetricStatus) -> String {
    let MetricValue { value, average_value, average_utilization } = &metric.current;
    let of_resource = |name: &str, container: Option<&str>| {
        object_text([
            ("name", Some(text(name))),
            ("currentAverageUtilization", number_text(*average_utilization)),
            ("currentAverageValue", required_text(average_value.as_ref())),
            ("container", container.map(text)),
        ])
    };
    let (block, source) = match &metric.source {
        None => return object_text([("type", Some(text(&metric.r#type)))]),
        Some(MetricSource::Resource { name }) => ("resource", of_resource(name, None)),
        Some(MetricSource::ContainerResource { name, container }) => {
            ("containerResource", of_resource(name, Some(container)))
        }
        Some(MetricSource::Pods { metric }) => {
            let fields = object_text([
                ("metricName", Some(text(&metric.name))),
                ("currentAverageValue", required_text(average_value.as_ref())),
                ("selector", selector_text(metric.selector.as_ref())),
            ]);
            ("pods", fields)
        }
        Some(MetricSource::Object { metric, described_object }) => {
            let fields = object_text([
                ("target", Some(reference_text(described_object))),
                ("metricName", Some(text(&metric.name))),
                ("currentValue", required_text(value.as_ref())),
                ("selector", selector_text(metric.selector.as_ref())),
                ("averageValue", quantity_text(average_value.as_ref())),
            ]);
            ("object", fields)
        }
        Some(MetricSource::External { metric }) => {
            let fields = object_text([
                ("metricName", Some(text(&metric.name))),
                ("metricSelector", selector_text(metric.selector.as_ref())),
                ("currentValue", required_text(value.as_ref())),
                ("currentAverageValue", quantity_text(average_value.as_ref())),
            ]);
            ("external", fields)
        }
    };
    object_text([("type", Some(text(&metric.r#type))), (block, Some(source))])
}

fn condition_text(c: &Condition) -> String {
    let optional = |value: &str| Some(text(value)).filter(|_| !value.is_empty());
    object_text([
        ("type", Some(text(&c.r#type))),
        ("status", Some(text(c.status.as_str()))),
        ("lastTransitionTime", Some(text(&super::rfc3339::format(c.last_transition_time)))),
        ("reason", optional(&c.reason)),
        ("message", optional(&c.message)),
    ])
}

/// The internal type, which has no JSON names of its own: nothing is left out.
fn behavior_text(behavior: &Behavior) -> String {
    let null = || Some("null".to_owned());
    let rules = |rules: &ScalingRules| {
        let policies = rules.policies.iter().flatten().map(|p| {
            object_text([
                ("Type", Some(text(&p.r#type))),
                ("Value", Some(p.value.to_string())),
                ("PeriodSeconds", Some(p.period_s.to_string())),
            ])
        });
        let policies: Vec<String> = policies.collect();
        object_text([
            ("StabilizationWindowSeconds", number_text(rules.stabilization_window_s).or_else(null)),
            ("SelectPolicy", rules.select_policy.as_deref().map(text).or_else(null)),
            ("Policies", rules.policies.as_ref().map(|_| format!("[{}]", policies.join(","))).or_else(null)),
            ("Tolerance", quantity_text(rules.tolerance.as_ref()).or_else(null)),
        ])
    };
    object_text([
        ("ScaleUp", behavior.scale_up.as_ref().map(rules).or_else(null)),
        ("ScaleDown", behavior.scale_down.as_ref().map(rules).or_else(null)),
    ])
}

const GO_RULES: RulesKeys = RulesKeys {
    window: "StabilizationWindowSeconds",
    select: "SelectPolicy",
    policies: "Policies",
    tolerance: "Tolerance",
    r#type: "Type",
    value: "Value",
    period: "PeriodSeconds",
};

fn behavior(value: &Value) -> Result<Behavior, DecodeError> {
    let root = At::root(value)?;
    let direction = |key| {
        let rules = root.object(key, "HPAScalingRules", "autoscaling")?;
        rules.map(|r| decode::rules(&r, &GO_RULES)).transpose()
    };
    Ok(Behavior { scale_up: direction("ScaleUp")?, scale_down: direction("ScaleDown")? })
}

fn metric(m: &At<'_>) -> Result<Metric, DecodeError> {
    let average_type = |average: &Option<Quantity>| if average.is_some() { AVERAGE_VALUE } else { VALUE };
    let object = |o: At<'_>| {
        let average_value = o.quantity("averageValue")?;
        let value = o.quantity("targetValue")?.filter(|v| average_value.is_none() || !v.is_zero());
        Ok(ObjectMetric {
            described_object: decode::object_ref(&o, "target")?,
            metric: identifier(&o, "selector")?,
            target: Target { r#type: average_type(&average_value).into(), value, average_value, ..Target::default() },
        })
    };
    let pods = |p: At<'_>| {
        let average_value = p.quantity("targetAverageValue")?;
        let target = Target { r#type: AVERAGE_VALUE.into(), average_value, ..Target::default() };
        Ok(PodsMetric { metric: identifier(&p, "selector")?, target })
    };
    let external = |e: At<'_>| {
        let value = e.quantity("targetValue")?;
        let average_value = e.quantity("targetAverageValue")?;
        let r#type = if value.is_none() { AVERAGE_VALUE } else { VALUE };
        let target = Target { r#type: r#type.into(), value, average_value, ..Target::default() };
        Ok(ExternalMetric { metric: identifier(&e, "metricSelector")?, target })
    };
    let resource = |r: At<'_>| Ok(ResourceMetric { name: r.string("name")?, target: resource_target(&r)? });
    let container_resource = |c: At<'_>| {
        let (name, container) = (c.string("name")?, c.string("container")?);
        Ok(ContainerResourceMetric { name, container, target: resource_target(&c)? })
    };
    let block = |key, of| m.object(key, of, "v1");
    Ok(Metric {
        r#type: m.string("type")?,
        object: block("object", "ObjectMetricSource")?.map(object).transpose()?,
        pods: block("pods", "PodsMetricSource")?.map(pods).transpose()?,
        resource: block("resource", "ResourceMetricSource")?.map(resource).transpose()?,
        container_resource: block("containerResource", "ContainerResourceMetricSource")?
            .map(container_resource)
            .transpose()?,
        external: block("external", "ExternalMetricSource")?.map(external).transpose()?,
    })
}

fn resource_target(r: &At<'_>) -> Result<Target, DecodeError> {
    let average_utilization = r.int32("targetAverageUtilization")?;
    let r#type = if average_utilization.is_some() { UTILIZATION } else { AVERAGE_VALUE };
    let average_value = r.quantity("targetAverageValue")?;
    Ok(Target { r#type: r#type.into(), average_value, average_utilization, value: None })
}

fn identifier(of: &At<'_>, selector: &str) -> Result<MetricIdentifier, DecodeError> {
    Ok(MetricIdentifier { name: of.string("metricName")?, selector: decode::label_selector(of, selector)? })
}

fn metric_status(m: &At<'_>) -> Result<MetricStatus, DecodeError> {
    let r#type = m.string("type")?;
    let block = |key, of| m.object(key, of, "v1");
    let mut current = MetricValue::default();
    let source = if let Some(o) = block("object", "ObjectMetricStatus")? {
        current.average_value = o.quantity("averageValue")?;
        current.value = o.quantity("currentValue")?.filter(|v| current.average_value.is_none() || !v.is_zero());
        let described_object = decode::object_ref(&o, "target")?;
        Some(MetricSource::Object { metric: identifier(&o, "selector")?, described_object })
    } else if let Some(p) = block("pods", "PodsMetricStatus")? {
        current.average_value = p.quantity("currentAverageValue")?;
        Some(MetricSource::Pods { metric: identifier(&p, "selector")? })
    } else if let Some(r) = block("resource", "ResourceMetricStatus")? {
        current.average_value = r.quantity("currentAverageValue")?;
        current.average_utilization = r.int32("currentAverageUtilization")?;
        Some(MetricSource::Resource { name: r.string("name")? })
    } else if let Some(c) = block("containerResource", "ContainerResourceMetricStatus")? {
        current.average_value = c.quantity("currentAverageValue")?;
        current.average_utilization = c.int32("currentAverageUtilization")?;
        Some(MetricSource::ContainerResource { name: c.string("name")?, container: c.string("container")? })
    } else if let Some(e) = block("external", "ExternalMetricStatus")? {
        current.average_value = e.quantity("currentAverageValue")?;
        current.value = e.quantity("currentValue")?.filter(|v| current.average_value.is_none() || !v.is_zero());
        Some(MetricSource::External { metric: identifier(&e, "metricSelector")? })
    } else {
        None
    };
    Ok(MetricStatus { r#type, source, current })
}
