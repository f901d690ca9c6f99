//! Resource quotas: counts of objects, and requests and limits of pods, held against `spec.hard` when something is created.
//!
//! Usage is counted from the objects themselves at each creation; `status.used` is what was counted, for people to see.

use autoscaler::quantity::Quantity;
use serde_json::Value;

use crate::kind::Kind;
use crate::object;
use crate::status::{ApiError, split_resource};
use crate::store::Writing;

pub(super) fn check(writing: &Writing<'_>, kind: &Kind, new: &Value) -> Result<(), ApiError> {
    let namespace = object::namespace(new);
    for quota in writing.list("resourcequotas", namespace).iter() {
        let silent = silent_containers(kind, quota, new);
        if !silent.is_empty() {
            let why = format!("failed quota: {}: must specify {}", object::name(quota), silent.join("; "));
            return Err(ApiError::forbidden(&kind.resource, object::name(new), why));
        }
        let mut exceeded = Vec::new();
        for (name, hard) in object::map_at(quota, "/spec/hard").into_iter().flatten() {
            let Some(asked) = share(kind, name, new) else { continue };
            let present = writing.list(&kind.resource, namespace);
            let used: i128 = present.iter().filter_map(|object| share(kind, name, object)).sum();
            let limit = nano(hard);
            if asked > 0 && used + asked > limit {
                exceeded.push((name.clone(), asked, used, limit));
            }
        }
        if !exceeded.is_empty() {
            return Err(refusal(kind, object::name(new), object::name(quota), &exceeded));
        }
    }
    Ok(())
}

/// The containers that do not say how much they take of what the quota holds.
fn silent_containers(kind: &Kind, quota: &Value, new: &Value) -> Vec<String> {
    if kind.resource != "pods" {
        return Vec::new();
    }
    let mut silent = Vec::new();
    for held in object::map_at(quota, "/spec/hard").into_iter().flat_map(|hard| hard.keys()) {
        let (list, resource) = held.split_once('.').unwrap_or(("requests", held));
        if !matches!(list, "requests" | "limits") || !matches!(resource, "cpu" | "memory") {
            continue;
        }
        let containers = ["/spec/containers", "/spec/initContainers"].map(|list| object::array_at(new, list));
        let containers = containers.into_iter().flatten();
        let names = containers.filter(|container| container["resources"][list][resource].is_null());
        let mut names: Vec<&str> = names.map(|container| object::str_at(container, "/name")).collect();
        names.sort_unstable();
        if !names.is_empty() {
            silent.push(format!("{held} for: {}", names.join(",")));
        }
    }
    silent
}

fn refusal(kind: &Kind, name: &str, quota: &str, exceeded: &[(String, i128, i128, i128)]) -> ApiError {
    let list = |pick: fn(&(String, i128, i128, i128)) -> i128| -> String {
        let texts = exceeded.iter().map(|entry| format!("{}={}", entry.0, text(pick(entry))));
        texts.collect::<Vec<_>>().join(",")
    };
    let why = format!(
        "exceeded quota: {quota}, requested: {}, used: {}, limited: {}",
        list(|entry| entry.1),
        list(|entry| entry.2),
        list(|entry| entry.3)
    );
    ApiError::forbidden(&kind.resource, name, why)
}

/// What an object takes of a quota's resource, in billionths; None when the quota is not about it.
pub(crate) fn share(kind: &Kind, name: &str, object: &Value) -> Option<i128> {
    const ONE: i128 = 1_000_000_000;
    let (group, plural) = split_resource(&kind.resource);
    let counted = name.strip_prefix("count/");
    let qualified = if group.is_empty() { plural.to_string() } else { format!("{plural}.{group}") };
    if counted == Some(&qualified) || counted.is_none() && group.is_empty() && name == plural {
        let finished = plural == "pods" && matches!(object::str_at(object, "/status/phase"), "Succeeded" | "Failed");
        return Some(if finished && counted.is_none() { 0 } else { ONE });
    }
    if kind.resource != "pods" {
        return None;
    }
    let (list, resource) = match name {
        "cpu" | "memory" => ("requests", name),
        _ => (name.split('.').next()?, name.split_once('.')?.1),
    };
    if !matches!(list, "requests" | "limits") {
        return None;
    }
    if matches!(object::str_at(object, "/status/phase"), "Succeeded" | "Failed") {
        return Some(0);
    }
    let containers = object::array_at(object, "/spec/containers");
    Some(containers.iter().map(|container| nano(&container["resources"][list][resource])).sum())
}

fn nano(quantity: &Value) -> i128 {
    quantity.as_str().and_then(|text| Quantity::parse(text).ok()).map_or(0, |quantity| quantity.nano())
}

fn text(nano: i128) -> String {
    let milli = i64::try_from(nano / 1_000_000).unwrap_or(i64::MAX);
    Quantity::from_milli(milli, autoscaler::quantity::Format::DecimalSi).to_string()
}
