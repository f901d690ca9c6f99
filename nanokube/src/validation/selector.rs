//! Label selectors inside objects, and whether they select the labels of a template.

use serde_json::Value;

use super::errors::{Errors, list, text as string};
use super::{metadata, text};
use crate::selector::LabelSelector;

pub(super) fn check(selector: &Value, path: &str, errors: &mut Errors) {
    metadata::labels(&selector["matchLabels"], &format!("{path}.matchLabels"), errors);
    for (index, expression) in list(&selector["matchExpressions"]).iter().enumerate() {
        requirement(expression, &format!("{path}.matchExpressions[{index}]"), errors);
    }
}

/// A key, an operator and as many values as that takes.
pub(super) fn requirement(expression: &Value, path: &str, errors: &mut Errors) {
    let values = list(&expression["values"]);
    match string(&expression["operator"]) {
        "In" | "NotIn" if values.is_empty() => {
            errors.required(format!("{path}.values"), "must be specified when `operator` is 'In' or 'NotIn'");
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let words = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.forbidden(format!("{path}.values"), words);
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        operator => errors.invalid(format!("{path}.operator"), operator, "not a valid selector operator"),
    }
    let key = string(&expression["key"]);
    errors.invalid_text(&format!("{path}.key"), key, text::qualified_name(key));
    for (at, value) in values.iter().enumerate() {
        let value = string(value);
        errors.invalid_text(&format!("{path}.values[{at}]"), value, text::label_value(value));
    }
}

/// The selector of a workload: there, not empty, valid.
pub(super) fn check_required(selector: &Value, kind: &str, errors: &mut Errors) {
    let path = "spec.selector";
    if selector.is_null() {
        return errors.required(path, "");
    }
    check(selector, path, errors);
    if is_empty(selector) {
        errors.invalid(path, selector.clone(), format!("empty selector is invalid for {kind}"));
    }
}

/// The labels of the template must be selected.
pub(super) fn check_matches(selector: &Value, template: &Value, path: &str, errors: &mut Errors) {
    let labels = &template["metadata"]["labels"];
    let selects = LabelSelector::from_value(selector);
    if (selector.is_null() || !is_empty(selector)) && !selects.matches(labels.as_object()) {
        let words = "`selector` does not match template `labels`";
        errors.invalid(format!("{path}.metadata.labels"), labels.clone(), words);
    }
}

fn is_empty(selector: &Value) -> bool {
    selector["matchLabels"].as_object().is_none_or(serde_json::Map::is_empty)
        && list(&selector["matchExpressions"]).is_empty()
}
