//! Which fields a write sets, changes and removes, and which fields an applied configuration names.

use std::collections::BTreeMap;

use serde_json::Value;

use super::set::{FieldSet, Step, key_step};
use super::typing::{Structure, Typing};

/// The difference between two states of a value.
#[derive(Debug, Default)]
pub(crate) struct Difference {
    /// Added or modified.
    pub(crate) changed: FieldSet,
    pub(crate) removed: FieldSet,
}

/// The entries of a map, keyed list or set, by the step that leads to them.
pub(crate) type Entries<'a> = BTreeMap<Step, (Typing<'a>, &'a Value)>;

/// The fields that an applied configuration names; Err is the path of one that the type does not declare.
pub(crate) fn named(typing: Typing<'_>, value: &Value) -> Result<FieldSet, String> {
    let mut path = String::new();
    named_below(typing, value, &mut path)
}

fn named_below(typing: Typing<'_>, value: &Value, path: &mut String) -> Result<FieldSet, String> {
    let structure = typing.structure(value);
    let mut set = FieldSet::default();
    if structure == Structure::Map {
        for (key, below) in value.as_object().into_iter().flatten() {
            let length = path.len();
            path.push('.');
            path.push_str(key);
            let inner = typing.field(key).ok_or_else(|| format!("{path}: field not declared in schema"))?;
            let mut child = named_below(inner, below, path)?;
            let empty = below.is_null() || below.as_object().is_some_and(serde_json::Map::is_empty);
            child.member |= empty || !typing.declares_fields();
            set.children.insert(Step::field(key), child);
            path.truncate(length);
        }
        return Ok(set);
    }
    match entries(typing, value) {
        Some(entries) => {
            for (step, (inner, below)) in entries {
                let mut child = named_below(inner, below, path)?;
                child.member = true;
                set.children.insert(step, child);
            }
        }
        None => set.member = true,
    }
    Ok(set)
}

/// What an update changes. `new` and `old` are whole objects.
pub(crate) fn difference(typing: Typing<'_>, old: &Value, new: &Value) -> Difference {
    let mut difference = Difference::default();
    compare(typing, old, new, &mut difference.changed, &mut difference.removed);
    difference
}

fn compare(typing: Typing<'_>, old: &Value, new: &Value, changed: &mut FieldSet, removed: &mut FieldSet) {
    if old == new {
        return;
    }
    let (Some(before), Some(after)) = (entries(typing, old), entries(typing, new)) else {
        changed.member = true;
        return;
    };
    let present = |entries: &Entries<'_>, step: &Step| entries.get(step).is_some_and(|(_, value)| !value.is_null());
    for (step, (inner, value)) in &after {
        if value.is_null() {
            continue;
        }
        match before.get(step).filter(|(_, old)| !old.is_null()) {
            Some((_, old)) => {
                let (mut c, mut r) = (FieldSet::default(), FieldSet::default());
                compare(*inner, old, value, &mut c, &mut r);
                keep(changed, step, c);
                keep(removed, step, r);
            }
            None => keep(changed, step, whole(*inner, value, true)),
        }
    }
    for (step, (inner, value)) in &before {
        if !value.is_null() && !present(&after, step) {
            let mut gone = whole(*inner, value, false);
            gone.member = true;
            keep(removed, step, gone);
        }
    }
}

fn keep(set: &mut FieldSet, step: &Step, below: FieldSet) {
    if !below.is_empty() {
        set.children.insert(step.clone(), below);
    }
}

/// All fields of a value that is new. Go's encoding shows structs and required lists of a present parent even when nothing was
/// written to them, so these do not count as new themselves.
fn whole(typing: Typing<'_>, value: &Value, parent_there: bool) -> FieldSet {
    let there = parent_there && typing.is_always_there();
    let mut set = FieldSet { member: !there, ..FieldSet::default() };
    match entries(typing, value) {
        Some(entries) => {
            for (step, (inner, below)) in entries {
                if !below.is_null() {
                    keep(&mut set, &step, whole(inner, below, there));
                }
            }
        }
        None => set.member = true,
    }
    set
}

/// The parts of a value that can have owners of their own; None for one whole.
pub(crate) fn entries<'a>(typing: Typing<'a>, value: &'a Value) -> Option<Entries<'a>> {
    match typing.structure(value) {
        Structure::Whole => None,
        Structure::Map => {
            let map = value.as_object()?;
            let entry = |(key, below): (&String, &'a Value)| {
                (Step::field(key), (typing.field(key).unwrap_or(Typing::Deduced), below))
            };
            Some(map.iter().map(entry).collect())
        }
        Structure::Keyed(keys) => {
            let element = typing.element();
            let mut entries = Entries::new();
            for item in value.as_array()? {
                let step = key_step(item, &keys, |key| element.default_of(key))?;
                // Two elements with the same keys cannot be told apart: the list is one whole.
                if entries.insert(step, (element, item)).is_some() {
                    return None;
                }
            }
            Some(entries)
        }
        Structure::Set => {
            let element = typing.element();
            let entry = |item: &'a Value| (Step::Value(item.to_string()), (element, item));
            Some(value.as_array()?.iter().map(entry).collect())
        }
    }
}
