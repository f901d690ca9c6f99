//! The two steps of apply on the object itself: merging what was applied, and pruning what its owner no longer names.

use serde_json::{Map, Value};

use super::compare::entries;
use super::set::{FieldSet, Step, key_step};
use super::typing::{Structure, Typing};

/// `live` with `applied` merged into it; null removes.
pub(crate) fn merge(typing: Typing<'_>, live: &Value, applied: &Value) -> Value {
    match typing.structure(applied) {
        Structure::Map if live.is_object() => {
            let mut merged = live.as_object().cloned().unwrap_or_default();
            for (key, value) in applied.as_object().into_iter().flatten() {
                let inner = typing.field(key).unwrap_or(Typing::Deduced);
                let before = merged.get(key).unwrap_or(&Value::Null);
                let after = merge(inner, before, value);
                if after.is_null() {
                    merged.remove(key);
                } else {
                    merged.insert(key.clone(), after);
                }
            }
            Value::Object(merged)
        }
        Structure::Keyed(keys) if live.is_array() => {
            let element = typing.element();
            let identity = |item: &Value| key_step(item, &keys, |key| element.default_of(key));
            merge_list(live, applied, identity, |before, after| merge(element, before, after))
        }
        Structure::Set if live.is_array() => {
            let identity = |item: &Value| Some(Step::Value(item.to_string()));
            merge_list(live, applied, identity, |_, after| after.clone())
        }
        _ => applied.clone(),
    }
}

/// Applied elements in their order; live ones that were not applied stay before the element they stood before.
fn merge_list(
    live: &Value,
    applied: &Value,
    identity: impl Fn(&Value) -> Option<Step>,
    join: impl Fn(&Value, &Value) -> Value,
) -> Value {
    let (Some(live), Some(applied)) = (live.as_array(), applied.as_array()) else { return applied.clone() };
    let find = |list: &[Value], wanted: &Option<Step>| list.iter().position(|item| identity(item) == *wanted);
    let mut merged = Vec::with_capacity(live.len() + applied.len());
    let mut at = 0;
    for item in applied {
        while let Some(other) = live.get(at).filter(|other| find(applied, &identity(other)).is_none()) {
            merged.push(other.clone());
            at += 1;
        }
        let place = find(live, &identity(item));
        if place == Some(at) {
            at += 1;
        }
        merged.push(place.map_or_else(|| item.clone(), |place| join(&live[place], item)));
    }
    let rest = live.iter().skip(at).filter(|other| find(applied, &identity(other)).is_none());
    merged.extend(rest.cloned());
    Value::Array(merged)
}

/// Removes from `value` the members of `gone`, except where `kept` holds something at or below them.
pub(crate) fn prune(typing: Typing<'_>, value: &mut Value, gone: &FieldSet, kept: &FieldSet) {
    let nothing = FieldSet::default();
    let held = |step: &Step| kept.children.get(step).unwrap_or(&nothing);
    let goes = |step: &Step| gone.children.get(step).is_some_and(|below| below.member) && held(step).is_empty();
    if value.is_object() {
        prune_map(typing, value, gone, held, goes);
        return;
    }
    let steps: Vec<Step> = match entries(typing, value) {
        Some(_) => list_steps(typing, value),
        None => return,
    };
    let element = typing.element();
    let Some(list) = value.as_array_mut() else { return };
    let mut remaining = Vec::with_capacity(list.len());
    for (mut item, step) in std::mem::take(list).into_iter().zip(steps) {
        if goes(&step) {
            continue;
        }
        if let Some(below) = gone.children.get(&step) {
            prune(element, &mut item, below, held(&step));
        }
        remaining.push(item);
    }
    *list = remaining;
}

fn prune_map<'k>(
    typing: Typing<'_>,
    value: &mut Value,
    gone: &FieldSet,
    held: impl Fn(&Step) -> &'k FieldSet,
    goes: impl Fn(&Step) -> bool,
) {
    let Some(map) = value.as_object_mut() else { return };
    for (key, mut below) in std::mem::replace(map, Map::new()) {
        let step = Step::field(&key);
        if goes(&step) {
            continue;
        }
        if let Some(gone) = gone.children.get(&step) {
            let inner = typing.field(&key).unwrap_or(Typing::Deduced);
            prune(inner, &mut below, gone, held(&step));
            if below.as_array().is_some_and(Vec::is_empty) {
                continue;
            }
        }
        map.insert(key, below);
    }
}

/// The steps to the elements of a list, in its order.
fn list_steps(typing: Typing<'_>, list: &Value) -> Vec<Step> {
    let element = typing.element();
    let items = list.as_array().into_iter().flatten();
    match typing.structure(list) {
        Structure::Keyed(keys) => {
            items.filter_map(|item| key_step(item, &keys, |key| element.default_of(key))).collect()
        }
        _ => items.map(|item| Step::Value(item.to_string())).collect(),
    }
}
