//! One metric of the spec: which calculation it takes, what it is called, and how its errors are wrapped.
//!
//! The names and wrappings are upstream's, oddities included: an Object metric by average calls itself external.

use crate::explain::{Failure, Measure, MetricExplanation, Proposed};
use crate::quantity::{Format, Quantity};
use crate::replicas::{self, Calculation, Calculator, ErrorClass, Goal, MetricError, Proposal};
use crate::sample::{self, Answer, Measured};
use crate::selector;
use crate::spec::{
    AVERAGE_VALUE, ContainerResourceMetric, ExternalMetric, Metric, MetricIdentifier, ObjectMetric, PodsMetric,
    ResourceMetric, Target, VALUE,
};
use crate::status::{MetricSource, MetricStatus, MetricValue};

/// What became of one metric.
pub(crate) struct Evaluated {
    pub(crate) explanation: MetricExplanation,
    pub(crate) outcome: Result<Success, Wrapped>,
}

pub(crate) struct Success {
    pub(crate) replicas: i32,
    pub(crate) status: MetricStatus,
}

/// An error in its three forms.
pub(crate) struct Wrapped {
    /// Reason of the event and of the condition.
    pub(crate) reason: &'static str,
    /// Text of the event, and of the condition behind its preamble.
    pub(crate) text: String,
    /// The error that the pass returns.
    pub(crate) error: String,
    pub(crate) invalid_spec: bool,
}

/// Only the calculation, for replaying recorded ones.
#[cfg(feature = "json")]
pub(crate) fn calculate(
    metric: &Metric,
    answer: Option<Answer<'_>>,
    calculator: &Calculator<'_>,
    namespace: &str,
) -> Calculation {
    select(metric, answer, calculator, namespace).named.calculation
}

/// A calculation with its names, before the error is wrapped.
struct Named {
    name: String,
    calculation: Calculation,
    source: Option<MetricSource>,
    /// Between the metric's own wrapping and the error, for metrics that wrap twice.
    inner_context: String,
    /// Whether the condition's text has the inner context too.
    inner_in_text: bool,
}

/// A metric's calculation, and how its errors are reported.
struct Selected {
    reason: &'static str,
    context: String,
    label: String,
    named: Named,
}

pub(crate) fn evaluate(
    metric: &Metric,
    answer: Option<Answer<'_>>,
    calculator: &Calculator<'_>,
    namespace: &str,
) -> Evaluated {
    select(metric, answer, calculator, namespace).finish(calculator, &metric.r#type)
}

fn select(metric: &Metric, answer: Option<Answer<'_>>, calculator: &Calculator<'_>, namespace: &str) -> Selected {
    let Metric { r#type, object, pods, resource, container_resource, external } = metric;
    match (r#type.as_str(), resource, container_resource, pods, object, external) {
        ("Resource", Some(m), ..) => Selected {
            reason: "FailedGetResourceMetric",
            context: format!("failed to get {} resource metric value", m.name),
            label: m.name.clone(),
            named: of_resource(m, answer, calculator),
        },
        ("ContainerResource", _, Some(m), ..) => Selected {
            reason: "FailedGetContainerResourceMetric",
            context: format!("failed to get {} container metric value", m.container),
            label: format!("{}/{}", m.container, m.name),
            named: of_container_resource(m, answer, calculator),
        },
        ("Pods", _, _, Some(m), ..) => Selected {
            reason: "FailedGetPodsMetric",
            context: "failed to get pods metric value".into(),
            label: m.metric.name.clone(),
            named: of_pods(m, answer, calculator),
        },
        ("Object", _, _, _, Some(m), _) => Selected {
            reason: "FailedGetObjectMetric",
            context: "failed to get object metric value".into(),
            label: m.metric.name.clone(),
            named: of_object(m, answer, calculator, namespace),
        },
        ("External", _, _, _, _, Some(m)) => Selected {
            reason: "FailedGetExternalMetric",
            context: format!("failed to get {} external metric value", m.metric.name),
            label: m.metric.name.clone(),
            named: of_external(m, answer, calculator, namespace),
        },
        (unknown, ..) => Selected {
            reason: "InvalidMetricSourceType",
            context: String::new(),
            label: unknown.to_owned(),
            named: Named::invalid(format!("unknown metric source type {}", crate::field::quote(unknown))),
        },
    }
}

fn of_resource(m: &ResourceMetric, answer: Option<Answer<'_>>, calculator: &Calculator<'_>) -> Named {
    let measured = Measured::Resource(&m.name);
    let source = MetricSource::Resource { name: m.name.clone() };
    of_any_resource(&m.target, measured, answer, calculator, source, "resource")
}

fn of_container_resource(
    m: &ContainerResourceMetric,
    answer: Option<Answer<'_>>,
    calculator: &Calculator<'_>,
) -> Named {
    let measured = Measured::Container { resource: &m.name, container: &m.container };
    let source = MetricSource::ContainerResource { name: m.name.clone(), container: m.container.clone() };
    of_any_resource(&m.target, measured, answer, calculator, source, "container resource")
}

fn of_any_resource(
    target: &Target,
    measured: Measured<'_>,
    answer: Option<Answer<'_>>,
    calculator: &Calculator<'_>,
    source: MetricSource,
    of_what: &str,
) -> Named {
    let resource = measured.resource();
    // An average value wins, whatever the target's type says.
    let (goal, name, inner) = match (&target.average_value, target.average_utilization) {
        (Some(average), _) => {
            let goal = Goal::AverageMilli(average.milli());
            (goal, format!("{resource} resource"), format!("failed to get {resource} usage"))
        }
        (None, Some(percent)) => {
            let name = format!("{resource} {of_what} utilization (percentage of request)");
            (Goal::UtilizationPercent(percent), name, format!("failed to get {resource} utilization"))
        }
        (None, None) => {
            let text = "invalid resource metric source: \
                        neither an average utilization target nor an average value (usage) target was set";
            return Named::invalid(text.into());
        }
    };
    let subject = format!("metrics for resource {resource}");
    let calculation = calculator.per_pod(answer.unwrap_or(Answer::PodMetrics(Ok(&[]))), measured, goal, &subject);
    Named { name, calculation, source: Some(source), inner_context: inner, inner_in_text: true }
}

fn of_pods(m: &PodsMetric, answer: Option<Answer<'_>>, calculator: &Calculator<'_>) -> Named {
    let name = format!("pods metric {}", m.metric.name);
    let source = Some(MetricSource::Pods { metric: m.metric.clone() });
    let calculation = match selector_error(&m.metric) {
        Some(error) => Calculation::failed(error),
        None => {
            let target_milli = m.target.average_value.as_ref().map_or(0, Quantity::milli);
            let subject = format!("metric {}", m.metric.name);
            let answer = answer.unwrap_or(Answer::PodValues(Ok(&[])));
            calculator.per_pod(answer, Measured::Custom, Goal::AverageMilli(target_milli), &subject)
        }
    };
    Named { name, calculation, source, inner_context: String::new(), inner_in_text: false }
}

fn of_object(m: &ObjectMetric, answer: Option<Answer<'_>>, calculator: &Calculator<'_>, namespace: &str) -> Named {
    let (kind, metric) = (&m.described_object.kind, &m.metric);
    if let Some(error) = selector_error(metric) {
        return Named { calculation: Calculation::failed(error), ..Named::invalid(String::new()) };
    }
    let value = match answer {
        Some(Answer::Object(Ok(value))) => Ok(value),
        Some(Answer::Object(Err(e))) => Err(sample::fetch_error("custom", e)),
        _ => Err(sample::fetch_error("custom", "no answer for this metric")),
    };
    let value = value.map_err(|e| {
        let object = &m.described_object.name;
        let message = format!("unable to get metric {}: {kind} on {namespace} {object}/{e}", metric.name);
        MetricError::new(ErrorClass::MetricsUnavailable, message)
    });
    let source = Some(MetricSource::Object { metric: metric.clone(), described_object: m.described_object.clone() });
    let (name, calculation, inner_context) = match (m.target.r#type.as_str(), &m.target.value, &m.target.average_value)
    {
        (VALUE, Some(target), _) => {
            let calculate = |value| calculator.value(value, target.milli());
            (format!("{kind} metric {}", metric.name), dated(value, calculate), String::new())
        }
        (AVERAGE_VALUE, _, Some(target)) => {
            let calculate = |value| calculator.average_of_whole(value, target.milli(), false);
            let inner = format!("failed to get {} object metric", metric.name);
            (external_name(metric), dated(value, calculate), inner)
        }
        _ => {
            let text = "invalid object metric source: neither a value target nor an average value target was set";
            return Named::invalid(text.into());
        }
    };
    Named { name, calculation, source, inner_context, inner_in_text: false }
}

fn of_external(m: &ExternalMetric, answer: Option<Answer<'_>>, calculator: &Calculator<'_>, namespace: &str) -> Named {
    let metric = &m.metric;
    let values = || {
        if let Some(error) = selector_error(metric) {
            return Err(error);
        }
        let e = match answer {
            Some(Answer::External(Ok(values))) if !values.is_empty() => return Ok(values),
            Some(Answer::External(Err(e))) => sample::fetch_error("external", e),
            _ => sample::empty_error("external"),
        };
        let selector = selector::print_structured(metric.selector.as_ref());
        let message = format!("unable to get external metric {namespace}/{}/{selector}: {e}", metric.name);
        Err(MetricError::new(ErrorClass::MetricsUnavailable, message))
    };
    let (calculation, inner_context) = match (&m.target.average_value, &m.target.value) {
        (Some(target), _) => {
            let value = values().map(|v| summed(v, replicas::sum_for_average));
            let calculate = |value| calculator.average_of_whole(value, target.milli(), true);
            (dated(value, calculate), format!("failed to get {} external metric", metric.name))
        }
        (None, Some(target)) => {
            let value = values().map(|v| summed(v, replicas::sum_for_value));
            let calculate = |value| calculator.value(value, target.milli());
            (dated(value, calculate), format!("failed to get external metric {}", metric.name))
        }
        (None, None) => {
            let text = "invalid external metric source: neither a value target nor an average value target was set";
            return Named::invalid(text.into());
        }
    };
    let source = Some(MetricSource::External { metric: metric.clone() });
    Named { name: external_name(metric), calculation, source, inner_context, inner_in_text: false }
}

fn summed(values: &[sample::Value], sum: fn(&[sample::Value]) -> i64) -> sample::Value {
    sample::Value { value_milli: sum(values), at: values[0].at }
}

fn dated(value: Result<sample::Value, MetricError>, calculate: impl Fn(i64) -> Calculation) -> Calculation {
    match value {
        Ok(value) => Calculation { sampled_at: Some(value.at), ..calculate(value.value_milli) },
        Err(error) => Calculation::failed(error),
    }
}

fn external_name(metric: &MetricIdentifier) -> String {
    format!("external metric {}({})", metric.name, selector::print_structured(metric.selector.as_ref()))
}

fn selector_error(metric: &MetricIdentifier) -> Option<MetricError> {
    let text = metric.selector.as_ref().and_then(selector::structured_selector_error)?;
    Some(MetricError::new(ErrorClass::BadMetricSelector, text))
}

impl Named {
    /// A metric that cannot be calculated as specified. Its text is wrapped once only.
    fn invalid(text: String) -> Named {
        Named {
            name: String::new(),
            calculation: Calculation::failed(MetricError::new(ErrorClass::InvalidSpec, text)),
            source: None,
            inner_context: String::new(),
            inner_in_text: false,
        }
    }
}

impl Selected {
    fn finish(self, calculator: &Calculator<'_>, r#type: &str) -> Evaluated {
        let Selected { reason, context, label, named } = self;
        let Named { name, calculation, source, inner_context, inner_in_text } = named;
        let Calculation { verdicts, sampled_at, outcome } = calculation;
        let explained = match &outcome {
            Ok(proposal) => Ok(explain(proposal, calculator)),
            Err(e) => Err(Failure { class: e.class, message: e.message.clone() }),
        };
        let explanation = MetricExplanation { name, label, verdicts, sampled_at, outcome: explained };
        let outcome = match outcome {
            Ok(proposal) => {
                let current = current_value(&proposal, source.as_ref());
                let status = MetricStatus { r#type: r#type.into(), source, current };
                Ok(Success { replicas: proposal.replicas, status })
            }
            Err(error) => {
                let prefixed = |prefix: &str, text: &str| match prefix {
                    "" => text.to_owned(),
                    prefix => format!("{prefix}: {text}"),
                };
                let inner = prefixed(&inner_context, &error.message);
                Err(Wrapped {
                    reason,
                    error: prefixed(&context, &inner),
                    text: if inner_in_text { inner } else { error.message },
                    invalid_spec: context.is_empty(),
                })
            }
        };
        Evaluated { explanation, outcome }
    }
}

fn explain(proposal: &Proposal, calculator: &Calculator<'_>) -> Proposed {
    Proposed {
        replicas: proposal.replicas,
        usage: proposal.usage,
        target: proposal.target,
        ratio: proposal.ratio,
        adjusted_ratio: proposal.adjusted_ratio,
        multiplied_by: proposal.multiplied_by,
        rule: proposal.rule,
        tolerance_down: calculator.tolerance.down,
        tolerance_up: calculator.tolerance.up,
        without_tolerance: proposal.without_tolerance,
    }
}

fn current_value(proposal: &Proposal, source: Option<&MetricSource>) -> MetricValue {
    let format = match source {
        Some(MetricSource::Resource { name } | MetricSource::ContainerResource { name, .. }) if name == "memory" => {
            Format::BinarySi
        }
        _ => Format::DecimalSi,
    };
    let milli = |value| Some(Quantity::from_milli(value, format));
    match proposal.usage {
        Measure::Percent { percent, average_milli } => MetricValue {
            average_utilization: Some(percent),
            average_value: average_milli.and_then(milli),
            ..MetricValue::default()
        },
        Measure::AverageMilli(average) => MetricValue { average_value: milli(average), ..MetricValue::default() },
        Measure::ValueMilli(value) => MetricValue { value: milli(value), ..MetricValue::default() },
    }
}
