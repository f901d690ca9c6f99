//! Label selectors in their string form, as they stand in a query: `app=web,tier in (a,b),!canary`.
//!
//! Used twice: to choose pods by their labels (`labelSelector`), and series by theirs (`metricLabelSelector`).

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use serde_json::{Value, json};

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Selector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq)]
enum Test {
    In(BTreeSet<String>),
    NotIn(BTreeSet<String>),
    Exists,
    Absent,
}

impl Selector {
    pub(crate) fn parse(text: &str) -> Result<Selector> {
        let requirements = split(text).into_iter().map(requirement).collect::<Result<_>>()?;
        Ok(Selector(requirements))
    }

    /// Of `key=value` pairs, all of which must hold.
    pub(crate) fn of_pairs<'p>(pairs: impl IntoIterator<Item = (&'p String, &'p String)>) -> Selector {
        let one = |(key, value): (&String, &String)| Requirement {
            key: key.clone(),
            test: Test::In(BTreeSet::from([value.clone()])),
        };
        Selector(pairs.into_iter().map(one).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn matches<'l>(&self, label: impl Fn(&str) -> Option<&'l str>) -> bool {
        self.0.iter().all(|requirement| requirement.test.holds(label(&requirement.key)))
    }

    /// Whether these labels alone rule a match out, whatever other labels there are.
    pub(crate) fn excludes<'l>(&self, label: impl Fn(&str) -> Option<&'l str>) -> bool {
        let known =
            |requirement: &Requirement| label(&requirement.key).map(|value| requirement.test.holds(Some(value)));
        self.0.iter().filter_map(known).any(|holds| !holds)
    }

    /// The structured form that metric values carry; null where nothing was selected.
    pub(crate) fn to_json(&self) -> Value {
        if self.is_empty() {
            return Value::Null;
        }
        let expression = |requirement: &Requirement| {
            let (operator, values) = match &requirement.test {
                Test::In(values) => ("In", Some(values)),
                Test::NotIn(values) => ("NotIn", Some(values)),
                Test::Exists => ("Exists", None),
                Test::Absent => ("DoesNotExist", None),
            };
            let mut expression = json!({ "key": requirement.key, "operator": operator });
            if let Some(values) = values {
                expression["values"] = json!(values);
            }
            expression
        };
        json!({ "matchExpressions": self.0.iter().map(expression).collect::<Vec<_>>() })
    }

    /// Labels that every match has.
    pub(crate) fn pairs<'s>(&'s self) -> BTreeMap<&'s str, &'s str> {
        let pair = |requirement: &'s Requirement| match &requirement.test {
            Test::In(values) if values.len() == 1 => Some((requirement.key.as_str(), values.first()?.as_str())),
            _ => None,
        };
        self.0.iter().filter_map(pair).collect()
    }
}

impl Test {
    fn holds(&self, value: Option<&str>) -> bool {
        match (self, value) {
            (Test::In(values), Some(value)) => values.contains(value),
            (Test::In(_), None) => false,
            (Test::NotIn(values), Some(value)) => !values.contains(value),
            (Test::NotIn(_), None) => true,
            (Test::Exists, value) => value.is_some(),
            (Test::Absent, value) => value.is_none(),
        }
    }
}

/// At commas that stand outside parentheses.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_i32, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts.into_iter().map(str::trim).filter(|part| !part.is_empty()).collect()
}

fn requirement(text: &str) -> Result<Requirement> {
    let made = |key: &str, test: Test| {
        let key = key.trim();
        let is_legal = |c: char| c.is_ascii_alphanumeric() || "-_./:".contains(c);
        if key.is_empty() || !key.chars().all(is_legal) {
            bail!("unable to parse requirement: {text:?} names no label");
        }
        Ok(Requirement { key: key.to_owned(), test })
    };
    let one = |value: &str| BTreeSet::from([value.trim().to_owned()]);
    if let Some((key, value)) = text.split_once("!=") {
        return made(key, Test::NotIn(one(value)));
    }
    if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return made(key, Test::In(one(value)));
    }
    if let Some(key) = text.strip_prefix('!') {
        return made(key, Test::Absent);
    }
    let Some((head, list)) = text.split_once('(') else { return made(text, Test::Exists) };
    let Some(list) = list.strip_suffix(')') else { bail!("unable to parse requirement: {text:?} is not closed") };
    let values = list.split(',').map(|value| value.trim().to_owned()).collect();
    match head.split_whitespace().collect::<Vec<_>>()[..] {
        [key, "in"] => made(key, Test::In(values)),
        [key, "notin"] => made(key, Test::NotIn(values)),
        _ => bail!("unable to parse requirement: {text:?} is neither `in` nor `notin`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_match_as_those_of_the_api_do() {
        let labels = BTreeMap::from([("app", "web"), ("tier", "front")]);
        for (text, matches) in [
            ("", true),
            ("app=web", true),
            ("app==web,tier!=back", true),
            ("app=db", false),
            ("app", true),
            ("!app", false),
            ("!canary", true),
            ("canary!=yes", true),
            ("app in (db, web),tier notin (back)", true),
            ("app notin (web)", false),
            ("canary in (yes)", false),
        ] {
            let selector = Selector::parse(text).unwrap();
            assert_eq!(selector.matches(|key| labels.get(key).copied()), matches, "{text}");
        }
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for text in ["=web", "app like (a)", "app in (a", "a b", "!"] {
            assert!(Selector::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_a_known_label_excludes() {
        let pod = BTreeMap::from([("app", "web")]);
        let excludes = |text: &str| Selector::parse(text).unwrap().excludes(|key| pod.get(key).copied());
        assert!(excludes("app=db,code=200"));
        assert!(!excludes("app=web,code=200"));
        assert!(!excludes("code=200"));
    }

    #[test]
    fn the_structured_form_and_the_pairs_say_the_same() {
        let selector = Selector::parse("code=200,path in (a,b),!x").unwrap();
        assert_eq!(selector.pairs(), BTreeMap::from([("code", "200")]));
        assert_eq!(selector.to_json()["matchExpressions"][1]["values"], json!(["a", "b"]));
        assert_eq!(Selector::default().to_json(), Value::Null);
    }
}
