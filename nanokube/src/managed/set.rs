//! Sets of fields: which parts of an object somebody owns, in the form that `fieldsV1` has.
//!
//! A set is a tree. A node is a member when its own path is in the set (`"."` in the JSON form, or an empty map for a
//! leaf); its children are the paths below it.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Map, Value};

/// One step of a path: a field, a list element by its keys, or a value of a set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    Field(String),
    /// Sorted keys and their values, as JSON text.
    Key(String),
    /// A value, as JSON text.
    Value(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldSet {
    pub(crate) member: bool,
    pub(crate) children: BTreeMap<Step, FieldSet>,
}

impl Step {
    pub(crate) fn field(name: &str) -> Step {
        Step::Field(name.to_string())
    }

    fn to_text(&self) -> String {
        match self {
            Step::Field(name) => format!("f:{name}"),
            Step::Key(keys) => format!("k:{keys}"),
            Step::Value(value) => format!("v:{value}"),
        }
    }

    fn from_text(text: &str) -> Option<Step> {
        match text.split_once(':')? {
            ("f", name) => Some(Step::Field(name.to_string())),
            // Parsed and printed again, so that equal keys are equal text.
            ("k", keys) => Some(Step::Key(serde_json::from_str::<Value>(keys).ok()?.to_string())),
            ("v", value) => Some(Step::Value(serde_json::from_str::<Value>(value).ok()?.to_string())),
            _ => None,
        }
    }

    /// As paths are printed in messages: `.name`, `[name="c"]`, `[="v"]`.
    fn print(&self, path: &mut String) {
        match self {
            Step::Field(name) => {
                path.push('.');
                path.push_str(name);
            }
            Step::Value(value) => {
                // Writing to a String cannot fail.
                let _ = write!(path, "[={value}]");
            }
            Step::Key(keys) => {
                let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
                let texts: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
                let _ = write!(path, "[{}]", texts.join(","));
            }
        }
    }
}

impl FieldSet {
    pub(crate) fn is_empty(&self) -> bool {
        !self.member && self.children.values().all(FieldSet::is_empty)
    }

    /// From `fieldsV1`; None when it is no such thing.
    pub(crate) fn from_fields_v1(fields: &Value) -> Option<FieldSet> {
        let map = fields.as_object()?;
        let mut set = FieldSet { member: map.is_empty(), children: BTreeMap::new() };
        for (text, below) in map {
            if text == "." {
                set.member = true;
            } else if let Some(step) = Step::from_text(text) {
                set.children.insert(step, FieldSet::from_fields_v1(below)?);
            }
        }
        Some(set)
    }

    /// The JSON form of a whole set.
    pub(crate) fn to_fields_v1(&self) -> Value {
        let mut map = Map::new();
        if self.member && !self.children.is_empty() {
            map.insert(".".to_string(), Value::Object(Map::new()));
        }
        for (step, below) in &self.children {
            if !below.is_empty() {
                map.insert(step.to_text(), below.to_fields_v1());
            }
        }
        Value::Object(map)
    }

    pub(crate) fn union(&mut self, other: &FieldSet) {
        self.member |= other.member;
        for (step, below) in &other.children {
            self.children.entry(step.clone()).or_default().union(below);
        }
    }

    /// Takes out the members of `other`.
    pub(crate) fn subtract(&mut self, other: &FieldSet) {
        self.member &= !other.member;
        for (step, below) in &other.children {
            if let Some(mine) = self.children.get_mut(step) {
                mine.subtract(below);
            }
        }
        self.children.retain(|_, below| !below.is_empty());
    }

    /// Takes out the members of `other` and everything below them.
    pub(crate) fn subtract_trees(&mut self, other: &FieldSet) {
        if other.member {
            *self = FieldSet::default();
            return;
        }
        for (step, below) in &other.children {
            if let Some(mine) = self.children.get_mut(step) {
                mine.subtract_trees(below);
            }
        }
        self.children.retain(|_, below| !below.is_empty());
    }

    pub(crate) fn intersection(&self, other: &FieldSet) -> FieldSet {
        let mut common = FieldSet { member: self.member && other.member, children: BTreeMap::new() };
        for (step, below) in &self.children {
            if let Some(theirs) = other.children.get(step) {
                let both = below.intersection(theirs);
                if !both.is_empty() {
                    common.children.insert(step.clone(), both);
                }
            }
        }
        common
    }

    /// The members as printed paths.
    pub(crate) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect(&mut String::new(), &mut paths);
        paths
    }

    fn collect(&self, path: &mut String, paths: &mut Vec<String>) {
        if self.member {
            paths.push(path.clone());
        }
        for (step, below) in &self.children {
            let length = path.len();
            step.print(path);
            below.collect(path, paths);
            path.truncate(length);
        }
    }

    /// Removes what stands at a path of fields, with everything below.
    pub(crate) fn remove_path(&mut self, path: &[&str]) {
        let Some((first, rest)) = path.split_first() else { return };
        let step = Step::field(first);
        if rest.is_empty() {
            self.children.remove(&step);
        } else if let Some(below) = self.children.get_mut(&step) {
            below.remove_path(rest);
            if below.is_empty() {
                self.children.remove(&step);
            }
        }
    }
}

/// The step to an element of a keyed list; None when a key is missing.
pub(crate) fn key_step(element: &Value, keys: &[String], default: impl Fn(&str) -> Option<Value>) -> Option<Step> {
    let mut map = Map::new();
    for key in keys {
        let value = match element.get(key) {
            Some(value) if !value.is_null() => value.clone(),
            _ => default(key)?,
        };
        map.insert(key.clone(), value);
    }
    Some(Step::Key(Value::Object(map).to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_set_survives_its_json_form_and_prints_its_paths() {
        let fields = json!({
            "f:spec": { "f:containers": { "k:{\"name\":\"c\"}": { ".": {}, "f:image": {} } }, "f:replicas": {} },
        });
        let set = FieldSet::from_fields_v1(&fields).unwrap();
        assert_eq!(set.to_fields_v1(), fields);
        assert_eq!(
            set.paths(),
            [".spec.containers[name=\"c\"]", ".spec.containers[name=\"c\"].image", ".spec.replicas"]
        );
    }

    #[test]
    fn sets_add_subtract_and_meet() {
        let set = |fields: Value| FieldSet::from_fields_v1(&fields).unwrap();
        let mut a = set(json!({ "f:a": {}, "f:b": { "f:c": {} } }));
        let b = set(json!({ "f:b": { "f:c": {} }, "f:d": {} }));
        assert_eq!(a.intersection(&b), set(json!({ "f:b": { "f:c": {} } })));
        a.subtract(&b);
        assert_eq!(a.to_fields_v1(), json!({ "f:a": {} }));
        a.union(&b);
        assert_eq!(a.to_fields_v1(), json!({ "f:a": {}, "f:b": { "f:c": {} }, "f:d": {} }));
    }
}
