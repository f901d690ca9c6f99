//! Limit ranges: what containers of a namespace get that ask for nothing, and the least and most that they may have.
//!
//! The words are those of upstream's LimitRanger, which comes before quotas.

use autoscaler::quantity::Quantity;
use serde_json::Value;

use crate::object;
use crate::status::ApiError;
use crate::store::Writing;

const LISTS: [&str; 2] = ["containers", "initContainers"];

/// Gives each container the defaults for what it does not say.
pub(super) fn give(writing: &Writing<'_>, pod: &mut Value) {
    for limit in limits(writing, pod).iter().filter(|limit| limit["type"] == "Container") {
        for list in LISTS {
            let containers = pod.pointer_mut(&format!("/spec/{list}")).and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten() {
                for (from, to) in [("default", "limits"), ("defaultRequest", "requests")] {
                    for (resource, quantity) in object::map_at(limit, &format!("/{from}")).into_iter().flatten() {
                        if container["resources"][to].get(resource).is_none() {
                            object::set(container, &["resources", to, resource], quantity.clone());
                        }
                    }
                }
            }
        }
    }
}

/// Refuses a pod with a container outside of a range, or whose containers together are.
pub(super) fn check(writing: &Writing<'_>, pod: &Value) -> Result<(), ApiError> {
    let mut broken = Vec::new();
    for limit in limits(writing, pod) {
        match object::str_at(&limit, "/type") {
            "Container" => {
                let containers = LISTS.iter().flat_map(|list| object::array_at(&pod["spec"], &format!("/{list}")));
                for container in containers {
                    let amount = |list: &str, resource: &str| quantity(&container["resources"][list][resource]);
                    broken.extend(outside(&limit, amount));
                }
            }
            "Pod" => {
                let containers = object::array_at(pod, "/spec/containers");
                let amount = |list: &str, resource: &str| {
                    let said = containers.iter().filter_map(|it| quantity(&it["resources"][list][resource]));
                    said.reduce(|sum, next| {
                        Quantity::from_milli(sum.milli().saturating_add(next.milli()), sum.format())
                    })
                };
                broken.extend(outside(&limit, amount));
            }
            _ => {}
        }
    }
    match broken.as_slice() {
        [] => Ok(()),
        [one] => Err(ApiError::forbidden("pods", object::name(pod), one.clone())),
        many => Err(ApiError::forbidden("pods", object::name(pod), format!("[{}]", many.join(", ")))),
    }
}

/// What breaks one limit, in words.
fn outside(limit: &Value, amount: impl Fn(&str, &str) -> Option<Quantity>) -> Vec<String> {
    let kind = object::str_at(limit, "/type");
    let mut broken = Vec::new();
    for (bound, word, must) in [("min", "minimum", "requests"), ("max", "maximum", "limits")] {
        for (resource, enforced) in object::map_at(limit, &format!("/{bound}")).into_iter().flatten() {
            let Some(enforced) = quantity(enforced) else { continue };
            let usage = format!("{word} {resource} usage per {kind} is {enforced}");
            if amount(must, resource).is_none() {
                broken.push(format!("{usage}.  No {} is specified", must.trim_end_matches('s')));
                continue;
            }
            let other = if must == "requests" { "limits" } else { "requests" };
            let beyond = [must, other].into_iter().find_map(|list| {
                let said = amount(list, resource)?;
                let beyond = if bound == "min" { said.nano() < enforced.nano() } else { said.nano() > enforced.nano() };
                beyond.then(|| format!("{usage}, but {} is {said}", list.trim_end_matches('s')))
            });
            broken.extend(beyond);
        }
    }
    broken
}

fn limits(writing: &Writing<'_>, pod: &Value) -> Vec<Value> {
    let ranges = writing.list("limitranges", object::namespace(pod));
    ranges.iter().flat_map(|range| object::array_at(range, "/spec/limits")).cloned().collect()
}

fn quantity(value: &Value) -> Option<Quantity> {
    Quantity::parse(value.as_str()?).ok()
}
