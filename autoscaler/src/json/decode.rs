//! JSON to types, with Go's decoding errors. Null reads as absent.

use serde_json::{Map, Value};

use super::{DecodeError, rfc3339};
use crate::quantity::Quantity;
use crate::spec::{
    Behavior, ContainerResourceMetric, ExternalMetric, LabelSelector, LabelSelectorRequirement, Metric,
    MetricIdentifier, ObjectMetric, ObjectRef, PodsMetric, Policy, ResourceMetric, ScalingRules, Spec, Target,
};
use crate::status::{Condition, ConditionStatus, MetricSource, MetricStatus, MetricValue, Status};
use crate::time::Time;

type Result<T> = std::result::Result<T, DecodeError>;

/// An object, where it stands, and the Go struct it is read into.
pub(super) struct At<'a> {
    fields: Option<&'a Map<String, Value>>,
    path: String,
    of: &'static str,
}

pub(super) fn spec(object: &Value) -> Result<Spec> {
    let root = At::root(object)?;
    let Some(spec) = root.object("spec", "HorizontalPodAutoscalerSpec", "v2")? else { return Ok(Spec::default()) };
    Ok(Spec {
        scale_target_ref: object_ref(&spec, "scaleTargetRef")?,
        min_replicas: spec.int32("minReplicas")?,
        max_replicas: spec.int32("maxReplicas")?.unwrap_or(0),
        metrics: spec
            .list("metrics", "MetricSpec", "v2")?
            .unwrap_or_default()
            .iter()
            .map(metric)
            .collect::<Result<_>>()?,
        behavior: spec
            .object("behavior", "HorizontalPodAutoscalerBehavior", "v2")?
            .map(|b| behavior(&b))
            .transpose()?,
    })
}

pub(super) fn status(object: &Value) -> Result<Status> {
    let root = At::root(object)?;
    let Some(status) = root.object("status", "HorizontalPodAutoscalerStatus", "v2")? else {
        return Ok(Status::default());
    };
    let metrics = status.list("currentMetrics", "MetricStatus", "v2")?.unwrap_or_default();
    let conditions = status.list("conditions", "HorizontalPodAutoscalerCondition", "v2")?.unwrap_or_default();
    Ok(Status {
        observed_generation: status.integer("observedGeneration", "int64", i64::MIN, i64::MAX)?,
        last_scale_time: status.time("lastScaleTime")?,
        current_replicas: status.int32("currentReplicas")?.unwrap_or(0),
        desired_replicas: status.int32("desiredReplicas")?.unwrap_or(0),
        current_metrics: metrics.iter().map(metric_status).collect::<Result<_>>()?,
        conditions: conditions.iter().map(condition).collect::<Result<_>>()?,
    })
}

pub(super) fn condition(c: &At<'_>) -> Result<Condition> {
    Ok(Condition {
        r#type: c.string("type")?,
        status: ConditionStatus::parse(&c.string("status")?),
        reason: c.string("reason")?,
        message: c.string("message")?,
        last_transition_time: c.time("lastTransitionTime")?.unwrap_or_default(),
    })
}

fn metric(m: &At<'_>) -> Result<Metric> {
    Ok(Metric {
        r#type: m.string("type")?,
        object: match m.object("object", "ObjectMetricSource", "v2")? {
            None => None,
            Some(o) => Some(ObjectMetric {
                described_object: object_ref(&o, "describedObject")?,
                target: target(&o)?,
                metric: identifier(&o)?,
            }),
        },
        pods: match m.object("pods", "PodsMetricSource", "v2")? {
            None => None,
            Some(p) => Some(PodsMetric { metric: identifier(&p)?, target: target(&p)? }),
        },
        resource: match m.object("resource", "ResourceMetricSource", "v2")? {
            None => None,
            Some(r) => Some(ResourceMetric { name: r.string("name")?, target: target(&r)? }),
        },
        container_resource: match m.object("containerResource", "ContainerResourceMetricSource", "v2")? {
            None => None,
            Some(c) => Some(ContainerResourceMetric {
                name: c.string("name")?,
                target: target(&c)?,
                container: c.string("container")?,
            }),
        },
        external: match m.object("external", "ExternalMetricSource", "v2")? {
            None => None,
            Some(e) => Some(ExternalMetric { metric: identifier(&e)?, target: target(&e)? }),
        },
    })
}

pub(super) fn object_ref(of: &At<'_>, key: &str) -> Result<ObjectRef> {
    let Some(r) = of.object(key, "CrossVersionObjectReference", "v2")? else { return Ok(ObjectRef::default()) };
    Ok(ObjectRef { kind: r.string("kind")?, name: r.string("name")?, api_version: r.string("apiVersion")? })
}

fn identifier(of: &At<'_>) -> Result<MetricIdentifier> {
    let Some(m) = of.object("metric", "MetricIdentifier", "v2")? else { return Ok(MetricIdentifier::default()) };
    Ok(MetricIdentifier { name: m.string("name")?, selector: label_selector(&m, "selector")? })
}

pub(super) fn label_selector(of: &At<'_>, key: &str) -> Result<Option<LabelSelector>> {
    let Some(s) = of.object(key, "LabelSelector", "v1")? else { return Ok(None) };
    let mut match_expressions = Vec::new();
    for e in s.list("matchExpressions", "LabelSelectorRequirement", "v1")?.unwrap_or_default() {
        let values = e.strings("values")?;
        match_expressions.push(LabelSelectorRequirement {
            key: e.string("key")?,
            operator: e.string("operator")?,
            values,
        });
    }
    Ok(Some(LabelSelector { match_labels: s.string_map("matchLabels")?, match_expressions }))
}

fn target(of: &At<'_>) -> Result<Target> {
    let Some(t) = of.object("target", "MetricTarget", "v2")? else { return Ok(Target::default()) };
    Ok(Target {
        r#type: t.string("type")?,
        value: t.quantity("value")?,
        average_value: t.quantity("averageValue")?,
        average_utilization: t.int32("averageUtilization")?,
    })
}

fn behavior(b: &At<'_>) -> Result<Behavior> {
    let direction = |key| b.object(key, "HPAScalingRules", "v2")?.map(|r| rules(&r, &V2_RULES)).transpose();
    Ok(Behavior { scale_up: direction("scaleUp")?, scale_down: direction("scaleDown")? })
}

/// The names of one object's fields. The v1 annotation spells them as Go does.
pub(super) struct RulesKeys {
    pub(super) window: &'static str,
    pub(super) select: &'static str,
    pub(super) policies: &'static str,
    pub(super) tolerance: &'static str,
    pub(super) r#type: &'static str,
    pub(super) value: &'static str,
    pub(super) period: &'static str,
}

const V2_RULES: RulesKeys = RulesKeys {
    window: "stabilizationWindowSeconds",
    select: "selectPolicy",
    policies: "policies",
    tolerance: "tolerance",
    r#type: "type",
    value: "value",
    period: "periodSeconds",
};

pub(super) fn rules(r: &At<'_>, keys: &RulesKeys) -> Result<ScalingRules> {
    let policy = |p: &At<'_>| {
        Ok(Policy {
            r#type: p.string(keys.r#type)?,
            value: p.int32(keys.value)?.unwrap_or(0),
            period_s: p.int32(keys.period)?.unwrap_or(0),
        })
    };
    let policies = r.list(keys.policies, "HPAScalingPolicy", "v2")?;
    Ok(ScalingRules {
        stabilization_window_s: r.int32(keys.window)?,
        select_policy: r.optional_string(keys.select)?,
        policies: policies.map(|list| list.iter().map(policy).collect::<Result<_>>()).transpose()?,
        tolerance: r.quantity(keys.tolerance)?,
    })
}

fn metric_status(m: &At<'_>) -> Result<MetricStatus> {
    let r#type = m.string("type")?;
    let (source, of) = if let Some(o) = m.object("object", "ObjectMetricStatus", "v2")? {
        let described_object = object_ref(&o, "describedObject")?;
        (Some(MetricSource::Object { metric: identifier(&o)?, described_object }), Some(o))
    } else if let Some(p) = m.object("pods", "PodsMetricStatus", "v2")? {
        (Some(MetricSource::Pods { metric: identifier(&p)? }), Some(p))
    } else if let Some(r) = m.object("resource", "ResourceMetricStatus", "v2")? {
        (Some(MetricSource::Resource { name: r.string("name")? }), Some(r))
    } else if let Some(c) = m.object("containerResource", "ContainerResourceMetricStatus", "v2")? {
        let (name, container) = (c.string("name")?, c.string("container")?);
        (Some(MetricSource::ContainerResource { name, container }), Some(c))
    } else if let Some(e) = m.object("external", "ExternalMetricStatus", "v2")? {
        (Some(MetricSource::External { metric: identifier(&e)? }), Some(e))
    } else {
        (None, None)
    };
    let current = match of {
        Some(of) => of.object("current", "MetricValueStatus", "v2")?,
        None => None,
    };
    let current = match current {
        None => MetricValue::default(),
        Some(c) => MetricValue {
            value: c.quantity("value")?,
            average_value: c.quantity("averageValue")?,
            average_utilization: c.int32("averageUtilization")?,
        },
    };
    Ok(MetricStatus { r#type, source, current })
}

impl<'a> At<'a> {
    pub(super) fn root(object: &'a Value) -> Result<At<'a>> {
        let fields = object.as_object();
        if fields.is_none() {
            let kind = kind(object);
            return Err(DecodeError(format!(
                "json: cannot unmarshal {kind} into Go value of type v2.HorizontalPodAutoscaler"
            )));
        }
        Ok(At { fields, path: String::new(), of: "HorizontalPodAutoscaler" })
    }

    /// A list in an annotation, whose items are read into `of`.
    pub(super) fn items(list: &'a Value, of: &'static str) -> Result<Vec<At<'a>>> {
        let Some(items) = list.as_array() else {
            return Err(DecodeError(format!("json: cannot unmarshal {} into Go value of type []v1.{of}", kind(list))));
        };
        let item = |item: &'a Value| At { fields: item.as_object(), path: String::new(), of };
        Ok(items.iter().map(item).collect())
    }

    fn value(&self, key: &str) -> Option<&'a Value> {
        self.fields?.get(key).filter(|v| !v.is_null())
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.into() } else { format!("{}.{key}", self.path) }
    }

    fn mismatch(&self, key: &str, what: &str, r#type: &str) -> DecodeError {
        let (of, path) = (self.of, self.path_of(key));
        DecodeError(format!("json: cannot unmarshal {what} into Go struct field {of}.{path} of type {type}"))
    }

    pub(super) fn object(&self, key: &str, of: &'static str, package: &str) -> Result<Option<At<'a>>> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Object(fields)) => Ok(Some(At { fields: Some(fields), path: self.path_of(key), of })),
            Some(other) => Err(self.mismatch(key, kind(other), &format!("{package}.{of}"))),
        }
    }

    pub(super) fn list(&self, key: &str, of: &'static str, package: &str) -> Result<Option<Vec<At<'a>>>> {
        let item = |item: &'a Value| match item {
            Value::Object(fields) => Ok(At { fields: Some(fields), path: self.path_of(key), of }),
            Value::Null => Ok(At { fields: None, path: self.path_of(key), of }),
            other => Err(self.mismatch(key, kind(other), &format!("{package}.{of}"))),
        };
        match self.value(key) {
            None => Ok(None),
            Some(Value::Array(items)) => items.iter().map(item).collect::<Result<_>>().map(Some),
            Some(other) => Err(self.mismatch(key, kind(other), &format!("[]{package}.{of}"))),
        }
    }

    pub(super) fn string(&self, key: &str) -> Result<String> {
        Ok(self.optional_string(key)?.unwrap_or_default())
    }

    pub(super) fn optional_string(&self, key: &str) -> Result<Option<String>> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(self.mismatch(key, kind(other), "string")),
        }
    }

    fn strings(&self, key: &str) -> Result<Vec<String>> {
        let text = |item: &Value| match item {
            Value::String(text) => Ok(text.clone()),
            Value::Null => Ok(String::new()),
            other => Err(self.mismatch(key, kind(other), "string")),
        };
        match self.value(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => items.iter().map(text).collect(),
            Some(other) => Err(self.mismatch(key, kind(other), "[]string")),
        }
    }

    fn string_map(&self, key: &str) -> Result<std::collections::BTreeMap<String, String>> {
        let entry = |(k, v): (&String, &Value)| match v {
            Value::String(text) => Ok((k.clone(), text.clone())),
            Value::Null => Ok((k.clone(), String::new())),
            other => Err(self.mismatch(key, kind(other), "string")),
        };
        match self.value(key) {
            None => Ok(Default::default()),
            Some(Value::Object(fields)) => fields.iter().map(entry).collect(),
            Some(other) => Err(self.mismatch(key, kind(other), "map[string]string")),
        }
    }

    pub(super) fn int32(&self, key: &str) -> Result<Option<i32>> {
        let value = self.integer(key, "int32", i64::from(i32::MIN), i64::from(i32::MAX))?;
        Ok(value.map(|v| v as i32))
    }

    fn integer(&self, key: &str, r#type: &str, min: i64, max: i64) -> Result<Option<i64>> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Number(number)) => match number.as_i64().filter(|n| (min..=max).contains(n)) {
                Some(n) => Ok(Some(n)),
                None => Err(self.mismatch(key, &format!("number {number}"), r#type)),
            },
            Some(other) => Err(self.mismatch(key, kind(other), r#type)),
        }
    }

    /// A string or a bare number. Spaces around it are forgiven, as upstream forgives them.
    pub(super) fn quantity(&self, key: &str) -> Result<Option<Quantity>> {
        let text = match self.value(key) {
            None => return Ok(None),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        Quantity::parse(text.trim()).map(Some).map_err(|e| DecodeError(e.to_string()))
    }

    fn time(&self, key: &str) -> Result<Option<Time>> {
        let Some(text) = self.optional_string(key)? else { return Ok(None) };
        let error = || DecodeError(format!("parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse"));
        rfc3339::parse(&text).map(Some).ok_or_else(error)
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
