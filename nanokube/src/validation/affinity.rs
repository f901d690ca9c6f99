//! Where pods may and should run: node affinity, pod affinity, spreading over a topology.
//!
//! What is wished for is checked like what is required; on one node most of it holds anyhow.

use std::collections::HashSet;

use serde_json::Value;

use super::errors::{Errors, list, text as string};
use super::{selector, text};

const WEIGHT: &str = "must be in the range 1-100";
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

pub(super) fn affinity(affinity: &Value, path: &str, errors: &mut Errors) {
    let nodes = &affinity["nodeAffinity"];
    let node_path = format!("{path}.nodeAffinity");
    if !nodes[REQUIRED].is_null() {
        node_selector(&nodes[REQUIRED], &format!("{node_path}.{REQUIRED}"), errors);
    }
    for (index, term) in list(&nodes[PREFERRED]).iter().enumerate() {
        let path = format!("{node_path}.{PREFERRED}[{index}]");
        weight(term, &path, errors);
        node_term(&term["preference"], &format!("{path}.preference"), errors);
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        for (index, term) in list(&affinity[kind][REQUIRED]).iter().enumerate() {
            pod_term(term, &format!("{path}.{kind}.{REQUIRED}[{index}]"), errors);
        }
        for (index, term) in list(&affinity[kind][PREFERRED]).iter().enumerate() {
            let path = format!("{path}.{kind}.{PREFERRED}[{index}]");
            weight(term, &path, errors);
            pod_term(&term["podAffinityTerm"], &format!("{path}.podAffinityTerm"), errors);
        }
    }
}

fn weight(term: &Value, path: &str, errors: &mut Errors) {
    let weight = term["weight"].as_i64().unwrap_or(0);
    if !(1..=100).contains(&weight) {
        errors.invalid(format!("{path}.weight"), weight, WEIGHT);
    }
}

pub(super) fn node_selector(selector: &Value, path: &str, errors: &mut Errors) {
    let terms = list(&selector["nodeSelectorTerms"]);
    let path = format!("{path}.nodeSelectorTerms");
    if terms.is_empty() {
        errors.required(path.as_str(), "must have at least one node selector term");
    }
    for (index, term) in terms.iter().enumerate() {
        node_term(term, &format!("{path}[{index}]"), errors);
    }
}

fn node_term(term: &Value, path: &str, errors: &mut Errors) {
    for (index, requirement) in list(&term["matchExpressions"]).iter().enumerate() {
        let path = format!("{path}.matchExpressions[{index}]");
        let values = list(&requirement["values"]);
        if matches!(string(&requirement["operator"]), "Gt" | "Lt") {
            if values.len() != 1 {
                let words = "must be specified single value when `operator` is 'Lt' or 'Gt'";
                errors.required(format!("{path}.values"), words);
            }
            let key = string(&requirement["key"]);
            errors.invalid_text(&format!("{path}.key"), key, text::qualified_name(key));
        } else {
            selector::requirement(requirement, &path, errors);
        }
    }
}

fn pod_term(term: &Value, path: &str, errors: &mut Errors) {
    for field in ["labelSelector", "namespaceSelector"] {
        selector::check(&term[field], &format!("{path}.{field}"), errors);
    }
    for namespace in list(&term["namespaces"]).iter().map(string) {
        errors.invalid_text(&format!("{path}.namespace"), namespace, text::dns_label(namespace));
    }
    topology_key(&term["topologyKey"], &format!("{path}.topologyKey"), errors);
}

fn topology_key(key: &Value, path: &str, errors: &mut Errors) {
    let key = string(key);
    if key.is_empty() {
        errors.required(path, "can not be empty");
    }
    errors.invalid_text(path, key, text::qualified_name(key));
}

pub(super) fn spreading(constraints: &Value, path: &str, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for (index, constraint) in list(constraints).iter().enumerate() {
        let path = format!("{path}[{index}]");
        let skew = constraint["maxSkew"].as_i64().unwrap_or(0);
        if skew <= 0 {
            errors.invalid(format!("{path}.maxSkew"), skew, "must be greater than zero");
        }
        topology_key(&constraint["topologyKey"], &format!("{path}.topologyKey"), errors);
        let (key, action) = (string(&constraint["topologyKey"]), string(&constraint["whenUnsatisfiable"]));
        let actions = ["DoNotSchedule", "ScheduleAnyway"];
        if !actions.contains(&action) {
            errors.not_supported(format!("{path}.whenUnsatisfiable"), &constraint["whenUnsatisfiable"], &actions);
        }
        if !seen.insert((key, action)) {
            errors.duplicate(format!("{path}.{{topologyKey, whenUnsatisfiable}}"), format!("{{{key}, {action}}}"));
        }
        if let Some(domains) = constraint["minDomains"].as_i64() {
            if domains <= 0 {
                errors.invalid(format!("{path}.minDomains"), domains, "must be greater than zero");
            }
            if action != "DoNotSchedule" {
                let words = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}");
                errors.invalid(format!("{path}.minDomains"), domains, words);
            }
        }
        for field in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            errors.one_of(&format!("{path}.{field}"), &constraint[field], &["Honor", "Ignore"]);
        }
        selector::check(&constraint["labelSelector"], &format!("{path}.labelSelector"), errors);
    }
}
