//! Prometheus' text format, and what this cluster tells in it under the names that dashboards know.
//!
//! `state` and `pods` are kube-state-metrics' series, `containers` are cAdvisor's, `server` the API server's own. All are
//! functions of a snapshot or of readings: names, labels and units are those of the originals, so that one dashboard
//! serves a real cluster and this one.

use std::fmt::{Display, Write};

use serde_json::Value;

use crate::object::{self, Object};

pub mod containers;
pub mod pods;
pub mod server;
pub mod state;

pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A label's name and value.
pub type Label<'a> = (&'a str, &'a str);

/// A page of metrics in the making.
#[derive(Default)]
pub struct Page {
    text: String,
}

/// The samples of one metric.
pub struct Family<'a> {
    text: &'a mut String,
    name: &'static str,
}

/// A metric that is one number of each object.
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) pointer: &'static str,
    /// The value where the object has none; without one there is no sample.
    pub(crate) absent: Option<f64>,
}

impl Page {
    pub fn gauge(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "gauge", help)
    }

    pub fn counter(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "counter", help)
    }

    pub fn finish(self) -> String {
        self.text
    }

    fn family(&mut self, name: &'static str, kind: &str, help: &str) -> Family<'_> {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Family { text: &mut self.text, name }
    }

    /// A family for each field, with a sample for each object; `labels` are those that tell the objects apart.
    pub(crate) fn fields<'a>(
        &mut self,
        fields: &[Field],
        objects: &'a [&'a Object],
        labels: impl Fn(&'a Value) -> Vec<Label<'a>>,
    ) {
        for field in fields {
            let mut family = self.gauge(field.name, field.help);
            for object in objects {
                let found = object.pointer(field.pointer).and_then(number);
                if let Some(value) = found.or(field.absent) {
                    family.sample(&labels(object), value);
                }
            }
        }
    }
}

impl Family<'_> {
    pub fn sample(&mut self, labels: &[Label<'_>], value: impl Display) {
        self.text.push_str(self.name);
        for (at, (name, value)) in labels.iter().enumerate() {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.text, "{}{name}=\"{value}\"", if at == 0 { '{' } else { ',' });
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{end} {value}");
    }

    /// One sample for each of the values that `name` may have: 1 for that which holds, else 0.
    pub fn one_of(&mut self, labels: &[Label<'_>], name: &str, values: &[&str], holds: &str) {
        for value in values {
            let mut labels = labels.to_vec();
            labels.push((name, value));
            self.sample(&labels, u8::from(value.eq_ignore_ascii_case(holds)));
        }
    }
}

/// Conditions of an object: `condition` and `status`, one sample for each status it may have.
pub(crate) fn conditions(family: &mut Family<'_>, object: &Value, labels: &[Label<'_>]) {
    for condition in object::array_at(object, "/status/conditions") {
        let mut labels = labels.to_vec();
        labels.push(("condition", object::str_at(condition, "/type")));
        family.one_of(&labels, "status", &["true", "false", "unknown"], object::str_at(condition, "/status"));
    }
}

/// A number as it is, a truth as 0 or 1, a time in Unix seconds.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::Bool(truth) => Some(f64::from(u8::from(*truth))),
        Value::String(text) => text.parse::<jiff::Timestamp>().ok().map(|at| at.as_second() as f64),
        _ => None,
    }
}

/// CPU in cores, memory in bytes, as a plain number.
pub(crate) fn quantity(value: &Value) -> Option<f64> {
    let text = value.as_str().map(str::to_owned).or_else(|| value.as_number().map(ToString::to_string))?;
    Some(autoscaler::quantity::Quantity::parse(&text).ok()?.approximate_f64())
}

/// The label `resource` and its unit, as kube-state-metrics writes them.
pub(crate) fn resource_labels(resource: &str) -> [(&'static str, String); 2] {
    let unit = match resource {
        "cpu" => "core",
        "memory" | "ephemeral-storage" | "storage" => "byte",
        _ => "integer",
    };
    [("resource", resource.replace(['.', '/', '-'], "_")), ("unit", unit.to_owned())]
}

#[cfg(test)]
mod tests;
