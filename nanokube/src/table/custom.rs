//! Columns of custom resources: `additionalPrinterColumns`, each a simple JSONPath.
//!
//! Supported are what definitions use: `.a.b`, `.a['b']`, `[0]`, `[*]` and `[?(@.type=="Ready")]`; escaped dots
//! (`\.`) belong to the name. The first match is shown; without one the cell is null.

use jiff::Timestamp;
use serde_json::Value;

use super::cell;
use super::column::Column;

/// Longer paths than this show nothing.
const MAX_STEPS: usize = 32;

/// Where a cell's value is, and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    steps: Vec<Step>,
    kind: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(i64),
    Every,
    Where { path: Vec<String>, equals: String },
}

/// The columns of one version, `Age` when the definition names none.
pub(super) fn columns(definition: &Value, version: &str) -> (Vec<Column>, Vec<Path>) {
    let versions = cell::list(&definition["spec"]["versions"]);
    let chosen = versions.iter().find(|entry| cell::text(&entry["name"]) == version).unwrap_or(&Value::Null);
    let name = Column {
        name: "Name".into(),
        kind: "string".into(),
        format: "name".into(),
        description: String::new(),
        priority: 0,
    };
    let mut columns = vec![name];
    let mut paths = vec![Path::new(".metadata.name", "string")];
    let declared = cell::list(&chosen["additionalPrinterColumns"]);
    if declared.is_empty() {
        columns.push(Column { name: "Age".into(), kind: "date".into(), format: String::new(), ..columns[0].clone() });
        paths.push(Path::new(".metadata.creationTimestamp", "date"));
    }
    for column in declared {
        let text = |field: &str| cell::text(&column[field]).to_string();
        paths.push(Path::new(cell::text(&column["jsonPath"]), cell::text(&column["type"])));
        columns.push(Column {
            name: text("name"),
            kind: text("type"),
            format: text("format"),
            description: text("description"),
            priority: cell::int(&column["priority"]),
        });
    }
    (columns, paths)
}

impl Path {
    fn new(json_path: &str, kind: &str) -> Path {
        Path { steps: parse(json_path).unwrap_or_default(), kind: kind.to_string() }
    }

    /// The cell of an object.
    pub(super) fn cell(&self, object: &Value, now: Timestamp) -> Value {
        let found = if self.steps.is_empty() { None } else { find(object, &self.steps) };
        let Some(value) = found else { return Value::Null };
        match self.kind.as_str() {
            "integer" => value.as_i64().or_else(|| value.as_f64().map(|float| float as i64)).into(),
            "number" => value.as_f64().into(),
            "boolean" => value.as_bool().into(),
            "date" => match value.as_str().map(str::parse::<Timestamp>) {
                Some(Ok(_)) => cell::since(value, now).into(),
                _ => "<invalid>".into(),
            },
            _ => plain_text(value).into(),
        }
    }
}

fn find<'a>(value: &'a Value, steps: &[Step]) -> Option<&'a Value> {
    let Some((step, rest)) = steps.split_first() else { return Some(value).filter(|value| !value.is_null()) };
    let elements = || cell::list(value).iter();
    match step {
        Step::Key(key) => find(value.get(key)?, rest),
        Step::Index(index) => {
            let length = cell::list(value).len() as i64;
            let index = if *index < 0 { length.checked_add(*index)? } else { *index };
            find(value.get(usize::try_from(index).ok()?)?, rest)
        }
        Step::Every => {
            let values = value.as_object().map(serde_json::Map::values).into_iter().flatten();
            elements().chain(values).find_map(|element| find(element, rest))
        }
        Step::Where { path, equals } => elements()
            .filter(|element| {
                let at = path.iter().try_fold(*element, |at, key| at.get(key));
                at.is_some_and(|at| plain_text(at) == *equals)
            })
            .find_map(|element| find(element, rest)),
    }
}

/// A string as it is, anything else as JSON.
fn plain_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}

fn parse(json_path: &str) -> Option<Vec<Step>> {
    let mut rest = json_path.trim().trim_start_matches('{').trim_end_matches('}').trim_start_matches('$');
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if steps.len() == MAX_STEPS {
            return None;
        }
        if let Some(bracket) = rest.strip_prefix('[') {
            let end = if bracket.starts_with("?(") { bracket.find(")]")? + 1 } else { bracket.find(']')? };
            steps.push(parse_bracket(&bracket[..end])?);
            rest = &bracket[end + 1..];
        } else {
            let (key, after) = parse_key(rest.strip_prefix('.').unwrap_or(rest));
            if key == "*" {
                steps.push(Step::Every);
            } else if !key.is_empty() {
                steps.push(Step::Key(key));
            } else if after == rest || after.starts_with('.') {
                return None;
            }
            rest = after;
        }
    }
    Some(steps)
}

/// The key at the start of the text, and what follows it.
fn parse_key(text: &str) -> (String, &str) {
    let mut key = String::new();
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            '\\' if !escaped => escaped = true,
            '.' | '[' if !escaped => return (key, &text[at..]),
            _ => {
                key.push(c);
                escaped = false;
            }
        }
    }
    (key, "")
}

fn parse_bracket(inside: &str) -> Option<Step> {
    if inside == "*" {
        return Some(Step::Every);
    }
    if let Some(key) = unquote(inside) {
        return Some(Step::Key(key.to_string()));
    }
    if let Some(condition) = inside.strip_prefix("?(").and_then(|inside| inside.strip_suffix(')')) {
        let (left, right) = condition.split_once("==")?;
        let path = left.trim().strip_prefix("@.")?.split('.').map(str::to_string).collect();
        let right = right.trim();
        return Some(Step::Where { path, equals: unquote(right).unwrap_or(right).to_string() });
    }
    inside.parse().ok().map(Step::Index)
}

fn unquote(text: &str) -> Option<&str> {
    let inside = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    inside('\'').or_else(|| inside('"'))
}
