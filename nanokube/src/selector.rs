//! Label and field selectors: from a query string, or from the JSON form inside objects.
//!
//! The grammar and the words of its errors are those of apimachinery's `labels` and `fields` packages:
//! `!=` and `notin` also match objects that lack the key; field selectors know only `=`, `==` and `!=`.

use serde_json::{Map, Value};

use crate::object;
use crate::status::ApiError;

/// All requirements must hold; no requirement selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    pub requirements: Vec<Requirement>,
    nothing: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    pub key: String,
    pub operator: Operator,
    pub values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}

impl LabelSelector {
    /// Selects everything.
    pub fn everything() -> LabelSelector {
        LabelSelector::default()
    }

    /// Selects no object at all: what an absent (null) selector means in most specs.
    pub fn nothing() -> LabelSelector {
        LabelSelector { requirements: Vec::new(), nothing: true }
    }

    /// From `{matchLabels, matchExpressions}`; null selects nothing, `{}` everything.
    pub fn from_value(selector: &Value) -> LabelSelector {
        if selector.is_null() {
            return LabelSelector::nothing();
        }
        let mut requirements = Vec::new();
        if let Some(labels) = object::map_at(selector, "/matchLabels") {
            requirements.extend(labels.iter().map(equals));
        }
        for expression in object::array_at(selector, "/matchExpressions") {
            let operator = match object::str_at(expression, "/operator") {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                _ => return LabelSelector::nothing(),
            };
            let values = object::array_at(expression, "/values");
            requirements.push(Requirement {
                key: object::str_at(expression, "/key").to_string(),
                operator,
                values: values.iter().filter_map(Value::as_str).map(str::to_string).collect(),
            });
        }
        LabelSelector { requirements, nothing: false }
    }

    /// From a plain map of labels, as Services and ReplicationControllers have it.
    pub fn from_map(labels: &Map<String, Value>) -> LabelSelector {
        LabelSelector { requirements: labels.iter().map(equals).collect(), nothing: false }
    }

    /// From the query parameter `labelSelector`.
    pub fn parse(text: &str) -> Result<LabelSelector, ApiError> {
        let requirements = Parser::new(text).selector().map_err(ApiError::bad_request)?;
        Ok(LabelSelector { requirements, nothing: false })
    }

    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty() && !self.nothing
    }

    pub fn matches(&self, labels: Option<&Map<String, Value>>) -> bool {
        !self.nothing && self.requirements.iter().all(|requirement| requirement.matches(labels))
    }

    /// Whether the labels of this object match.
    pub fn matches_object(&self, object: &Value) -> bool {
        self.is_everything() || self.matches(object::labels(object))
    }
}

/// The string form, sorted by key: `a=1,b in (x,y),!c`.
impl std::fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut sorted: Vec<&Requirement> = self.requirements.iter().collect();
        sorted.sort_by(|a, b| a.key.cmp(&b.key));
        let texts: Vec<String> = sorted.iter().map(|requirement| requirement.to_string()).collect();
        f.write_str(&texts.join(","))
    }
}

impl Requirement {
    fn matches(&self, labels: Option<&Map<String, Value>>) -> bool {
        let value = labels.and_then(|labels| labels.get(&self.key)).and_then(Value::as_str);
        let listed = |value: &str| self.values.iter().any(|wanted| wanted == value);
        match self.operator {
            Operator::In => value.is_some_and(listed),
            Operator::NotIn => !value.is_some_and(listed),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan => compare(value, &self.values).is_some_and(|order| order.is_gt()),
            Operator::LessThan => compare(value, &self.values).is_some_and(|order| order.is_lt()),
        }
    }
}

impl std::fmt::Display for Requirement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = &self.key;
        let mut values = self.values.clone();
        values.sort();
        let list = values.join(",");
        match self.operator {
            Operator::In if values.len() == 1 => write!(f, "{key}={list}"),
            Operator::In => write!(f, "{key} in ({list})"),
            Operator::NotIn if values.len() == 1 => write!(f, "{key}!={list}"),
            Operator::NotIn => write!(f, "{key} notin ({list})"),
            Operator::Exists => f.write_str(key),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::GreaterThan => write!(f, "{key}>{list}"),
            Operator::LessThan => write!(f, "{key}<{list}"),
        }
    }
}

fn equals((key, value): (&String, &Value)) -> Requirement {
    let value = value.as_str().unwrap_or_default().to_string();
    Requirement { key: key.clone(), operator: Operator::In, values: vec![value] }
}

fn compare(value: Option<&str>, wanted: &[String]) -> Option<std::cmp::Ordering> {
    let wanted: i64 = wanted.first()?.parse().ok()?;
    Some(value?.parse::<i64>().ok()?.cmp(&wanted))
}

/// Scans one `labelSelector` text; errors are worded as apimachinery words them.
struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Parser<'a> {
        Parser { text, at: 0 }
    }

    fn selector(mut self) -> Result<Vec<Requirement>, String> {
        let mut requirements = Vec::new();
        if self.peek().is_empty() {
            return Ok(requirements);
        }
        loop {
            requirements.push(self.requirement()?);
            match self.next() {
                "" => return Ok(requirements),
                "," => {
                    let ahead = self.peek();
                    if ahead.is_empty() || ahead == "," {
                        return Err(format!("found '{ahead}', expected: identifier after ','"));
                    }
                }
                other => return Err(format!("found '{other}', expected: ',' or 'end of string'")),
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let negated = self.peek() == "!";
        if negated {
            self.next();
        }
        let key = self.next().to_string();
        if key.is_empty() || !is_word(&key) {
            return Err(format!("unable to parse requirement: found '{key}', expected: identifier"));
        }
        check_key(&key)?;
        if negated || matches!(self.peek(), "" | ",") {
            let operator = if negated { Operator::DoesNotExist } else { Operator::Exists };
            return Ok(Requirement { key, operator, values: Vec::new() });
        }
        let (operator, listed) = match self.next() {
            "=" | "==" => (Operator::In, false),
            "!=" => (Operator::NotIn, false),
            "in" => (Operator::In, true),
            "notin" => (Operator::NotIn, true),
            ">" | "gt" => (Operator::GreaterThan, false),
            "<" | "lt" => (Operator::LessThan, false),
            other => {
                let expected = "in, notin, =, ==, !=, gt, lt";
                return Err(format!("unable to parse requirement: found '{other}', expected: {expected}"));
            }
        };
        let values = if listed { self.values()? } else { vec![self.value()?] };
        for value in &values {
            check_value(value)?;
        }
        Ok(Requirement { key, operator, values })
    }

    fn value(&mut self) -> Result<String, String> {
        match self.peek() {
            "" | "," => Ok(String::new()),
            word if is_word(word) => Ok(self.next().to_string()),
            other => Err(format!("unable to parse requirement: found '{other}', expected: identifier")),
        }
    }

    fn values(&mut self) -> Result<Vec<String>, String> {
        let open = self.next();
        if open != "(" {
            return Err(format!("unable to parse requirement: found '{open}' expected: '('"));
        }
        let mut values = Vec::new();
        loop {
            match self.next() {
                ")" => return Ok(values),
                "," => {}
                word if !word.is_empty() && is_word(word) => values.push(word.to_string()),
                other => {
                    return Err(format!("unable to parse requirement: found '{other}', expected: ',', or identifier"));
                }
            }
        }
    }

    fn peek(&self) -> &'a str {
        let rest = self.text[self.at..].trim_start();
        let end = token_end(rest);
        &rest[..end]
    }

    fn next(&mut self) -> &'a str {
        let token = self.peek();
        let skipped = self.text[self.at..].len() - self.text[self.at..].trim_start().len();
        self.at += skipped + token.len();
        token
    }
}

fn is_special(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}

fn is_word(token: &str) -> bool {
    !token.starts_with(is_special)
}

fn token_end(rest: &str) -> usize {
    for operator in ["==", "!="] {
        if rest.starts_with(operator) {
            return 2;
        }
    }
    match rest.chars().next() {
        None => 0,
        Some(c) if is_special(c) => 1,
        Some(_) => rest.find(|c: char| is_special(c) || c.is_whitespace()).unwrap_or(rest.len()),
    }
}

fn check_key(key: &str) -> Result<(), String> {
    let name = key.rsplit('/').next().unwrap_or(key);
    if name.is_empty() || name.len() > 63 || !is_qualified(name) {
        return Err(format!(
            "key: Invalid value: {key:?}: name part must consist of alphanumeric characters, '-', '_' or '.', and must \
             start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for \
             validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
        ));
    }
    Ok(())
}

fn check_value(value: &str) -> Result<(), String> {
    if value.is_empty() || (value.len() <= 63 && is_qualified(value)) {
        return Ok(());
    }
    Err(format!(
        "values[0][]: Invalid value: {value:?}: a valid label must be an empty string or consist of alphanumeric \
         characters, '-', '_' or '.', and must start and end with an alphanumeric character"
    ))
}

/// Whether the text is a label value or the name part of a label key.
pub fn is_qualified(text: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    ends(text.chars().next())
        && ends(text.chars().next_back())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

/// `metadata.name=x,status.phase!=Running`: all terms must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    pub terms: Vec<FieldTerm>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldTerm {
    pub field: String,
    pub value: String,
    pub equal: bool,
}

impl FieldSelector {
    /// From the query parameter `fieldSelector`; whether the kind knows the fields is the kind's business.
    pub fn parse(text: &str) -> Result<FieldSelector, ApiError> {
        let mut terms = Vec::new();
        for term in split_terms(text) {
            if term.is_empty() {
                continue;
            }
            let Some((field, operator, value)) = split_term(&term) else {
                let message = format!("invalid selector: '{text}'; can't understand '{term}'");
                return Err(ApiError::bad_request(message));
            };
            let value = value.replace("\\,", ",").replace("\\=", "=").replace("\\\\", "\\");
            terms.push(FieldTerm { field: field.to_string(), value, equal: operator != "!=" });
        }
        Ok(FieldSelector { terms })
    }

    pub fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether the object matches; `read` gives a field's text ("" when it is absent).
    pub fn matches(&self, read: impl Fn(&str) -> String) -> bool {
        self.terms.iter().all(|term| (read(&term.field) == term.value) == term.equal)
    }

    /// The name that `metadata.name=` asks for, which makes a list a single look-up.
    pub fn exact_name(&self) -> Option<&str> {
        self.terms.iter().find(|term| term.equal && term.field == "metadata.name").map(|term| term.value.as_str())
    }
}

fn split_term(term: &str) -> Option<(&str, &str, &str)> {
    let at = term.find(['=', '!'])?;
    let operator = ["==", "!=", "="].into_iter().find(|operator| term[at..].starts_with(operator))?;
    Some((&term[..at], operator, &term[at + operator.len()..]))
}

/// Splits at commas that no backslash precedes.
fn split_terms(text: &str) -> Vec<String> {
    let mut terms = vec![String::new()];
    let mut escaped = false;
    for c in text.chars() {
        if c == ',' && !escaped {
            terms.push(String::new());
            continue;
        }
        escaped = c == '\\' && !escaped;
        terms.last_mut().expect("invariant: starts with one term").push(c);
    }
    terms
}

#[cfg(test)]
mod tests;
