//! Label selectors: parsed from the scale's string form, or built from a metric's structured form.
//!
//! Syntax errors carry the texts of the API machinery's parser, because they surface in conditions and events.

mod parse;
#[cfg(test)]
mod tests;

use std::fmt::Write;

use crate::field::{self, FieldError, quote};
use crate::spec::LabelSelector;

/// A selector that matches pods. The empty one matches everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    requirements: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    In,
    NotIn,
    Equals,
    NotEquals,
    GreaterThan,
    LessThan,
    Exists,
    DoesNotExist,
}

impl Selector {
    /// Parses the string form: `app=web,tier in (a,b),!debug`. The error is the API machinery's text.
    pub fn parse(text: &str) -> Result<Selector, String> {
        let mut requirements = parse::requirements(text)?;
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Selector { requirements })
    }

    pub fn matches(&self, labels: &[(String, String)]) -> bool {
        self.requirements.iter().all(|r| r.matches(labels))
    }
}

/// The error of turning a metric's selector into a matching one, if there is one.
pub fn structured_selector_error(selector: &LabelSelector) -> Option<String> {
    for (key, value) in &selector.match_labels {
        if let Some(error) = Requirement::check(key, Operator::Equals, std::slice::from_ref(value)) {
            return Some(error);
        }
    }
    for expression in &selector.match_expressions {
        let operator = match expression.operator.as_str() {
            "In" => Operator::In,
            "NotIn" => Operator::NotIn,
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            other => return Some(format!("{} is not a valid label selector operator", quote(other))),
        };
        if let Some(error) = Requirement::check(&expression.key, operator, &expression.values) {
            return Some(error);
        }
    }
    None
}

/// How Go prints a selector inside a metric's name: `nil`, or the whole struct.
pub fn print_structured(selector: Option<&LabelSelector>) -> String {
    let Some(selector) = selector else { return "nil".into() };
    let mut labels = String::new();
    for (key, value) in &selector.match_labels {
        let _infallible = write!(labels, "{key}: {value},");
    }
    let mut expressions = String::new();
    for e in &selector.match_expressions {
        let values = e.values.join(" ");
        let _infallible = write!(
            expressions,
            "LabelSelectorRequirement{{Key:{},Operator:{},Values:[{values}],}},",
            e.key, e.operator
        );
    }
    let labels = format!("MatchLabels:map[string]string{{{labels}}}");
    format!("&LabelSelector{{{labels},MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}")
}

impl Requirement {
    fn matches(&self, labels: &[(String, String)]) -> bool {
        let value = labels.iter().find(|(k, _)| *k == self.key).map(|(_, v)| v);
        let listed = |v: &String| self.values.contains(v);
        match (self.operator, value) {
            (Operator::In | Operator::Equals, value) => value.is_some_and(listed),
            (Operator::NotIn | Operator::NotEquals, value) => !value.is_some_and(listed),
            (Operator::Exists, value) => value.is_some(),
            (Operator::DoesNotExist, value) => value.is_none(),
            (Operator::GreaterThan, value) => self.compare(value, |label, bound| label > bound),
            (Operator::LessThan, value) => self.compare(value, |label, bound| label < bound),
        }
    }

    fn compare(&self, value: Option<&String>, holds: impl Fn(i64, i64) -> bool) -> bool {
        let integer = |text: &String| text.parse::<i64>().ok();
        match (value.and_then(integer), self.values.first().and_then(integer)) {
            (Some(label), Some(bound)) => holds(label, bound),
            _ => false,
        }
    }

    /// The error of a requirement with these parts, if there is one.
    fn check(key: &str, operator: Operator, values: &[String]) -> Option<String> {
        let mut errors = Vec::new();
        let key_errors = field::qualified_name_errors(key);
        if !key_errors.is_empty() {
            errors.push(FieldError::invalid("key".into(), quote(key), &key_errors.join("; ")));
        }
        let wrong_number = match operator {
            Operator::In | Operator::NotIn if values.is_empty() => {
                "for 'in', 'notin' operators, values set can't be empty"
            }
            Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
                "values set must be empty for exists and does not exist"
            }
            _ => "",
        };
        if !wrong_number.is_empty() {
            errors.push(FieldError::invalid("values".into(), print_values(values), wrong_number));
        }
        if matches!(operator, Operator::GreaterThan | Operator::LessThan) {
            let not_integers = values.iter().enumerate().filter(|(_, v)| v.parse::<i64>().is_err());
            errors.extend(not_integers.map(|(i, v)| {
                let detail = "for 'Gt', 'Lt' operators, the value must be an integer";
                FieldError::invalid(format!("values[{i}]"), quote(v), detail)
            }));
        }
        for (i, value) in values.iter().enumerate() {
            let value_errors = field::label_value_errors(value);
            if !value_errors.is_empty() {
                errors.push(FieldError::invalid(format!("values[{i}][{key}]"), quote(value), &value_errors.join("; ")));
            }
        }
        aggregate(&errors)
    }
}

/// One error as it is, several in brackets, equal texts once.
fn aggregate(errors: &[FieldError]) -> Option<String> {
    let mut texts: Vec<String> = Vec::new();
    for error in errors {
        let text = error.to_string();
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    match texts.len() {
        0 | 1 => texts.pop(),
        _ => Some(format!("[{}]", texts.join(", "))),
    }
}

fn print_values(values: &[String]) -> String {
    if values.is_empty() {
        return "null".into();
    }
    let quoted: Vec<String> = values.iter().map(|v| quote(v)).collect();
    format!("[{}]", quoted.join(","))
}
