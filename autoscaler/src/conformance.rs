//! Replays recorded decisions of the real controller and compares everything that was recorded.
//!
//! Text in, [`Report`] out: the files (calculations, traces, API cases, one JSON object a line) are described by the
//! README that comes with them. Decisions are compared whole: error texts, condition messages, transition times, the
//! memory left at the end. A line that cannot be read counts as different, and says why.

mod api;
mod calc;
mod input;
mod trace;

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use input::Node;

/// What replaying one file showed.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub file: String,
    /// By class: kind of calculation, category of trace, category of API case.
    pub classes: BTreeMap<String, Tally>,
    /// The first [`DIFFERENCES_MAX`] of them.
    pub differences: Vec<Difference>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub identical: usize,
    pub total: usize,
    /// Reconciles in the traces of this class.
    pub steps: usize,
}

/// One vector that came out differently: both sides in full.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    pub line: usize,
    pub id: String,
    /// Where in the vector: `step 3 at 45000 ms`, `final_state`, or empty.
    pub place: String,
    pub expected: Value,
    pub actual: Value,
}

pub const DIFFERENCES_MAX: usize = 5;

/// How one vector came out.
struct Replayed {
    class: String,
    steps: usize,
    difference: Option<(String, Value, Value)>,
}

pub fn replay(file: &str, text: &str) -> Report {
    let mut report = Report { file: file.into(), ..Report::default() };
    for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let (id, replayed) = match serde_json::from_str::<Value>(line) {
            Ok(vector) => {
                let node = Node::of(&vector);
                (node.get("id").text().to_owned(), replay_one(node))
            }
            Err(e) => (String::new(), unreadable(format!("not JSON: {e}"))),
        };
        report.count(i + 1, id, replayed);
    }
    report
}

fn replay_one(vector: Node<'_>) -> Replayed {
    if vector.get("expect").is_absent() && vector.get("steps").is_absent() {
        return unreadable("neither `expect` nor `steps`: not a recorded decision".into());
    }
    if !vector.get("steps").is_absent() {
        match vector.get("steps").list().next() {
            Some(_) => trace::replay(vector),
            None => unreadable("`steps` has none".into()),
        }
    } else if !vector.get("operation").is_absent() {
        api::replay(vector)
    } else if calc::KINDS.contains(&vector.get("kind").text()) {
        calc::replay(vector)
    } else {
        unreadable(format!("not a kind of calculation: {:?}", vector.get("kind").text()))
    }
}

fn unreadable(why: String) -> Replayed {
    Replayed { class: "unreadable".into(), steps: 0, difference: Some((why, Value::Null, Value::Null)) }
}

impl Report {
    pub fn identical(&self) -> usize {
        self.classes.values().map(|t| t.identical).sum()
    }

    pub fn total(&self) -> usize {
        self.classes.values().map(|t| t.total).sum()
    }

    /// Everything identical, and there was something.
    pub fn is_perfect(&self) -> bool {
        self.total() > 0 && self.identical() == self.total()
    }

    fn count(&mut self, line: usize, id: String, replayed: Replayed) {
        let Replayed { class, steps, difference } = replayed;
        let tally = self.classes.entry(class).or_default();
        tally.total += 1;
        tally.steps += steps;
        match difference {
            None => tally.identical += 1,
            Some((place, expected, actual)) if self.differences.len() < DIFFERENCES_MAX => {
                self.differences.push(Difference { line, id, place, expected, actual });
            }
            Some(_) => {}
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (identical, total) = (self.identical(), self.total());
        let steps: usize = self.classes.values().map(|t| t.steps).sum();
        write!(f, "{}: {identical} of {total} identical ({})", self.file, percent(identical, total))?;
        if steps > 0 {
            write!(f, ", {steps} reconciles")?;
        }
        writeln!(f)?;
        let width = self.classes.keys().map(String::len).max().unwrap_or(0);
        for (class, tally) in &self.classes {
            let share = percent(tally.identical, tally.total);
            writeln!(f, "  {class:<width$}  {:>5} of {:>5}  {share:>7}", tally.identical, tally.total)?;
        }
        for difference in &self.differences {
            write!(f, "{difference}")?;
        }
        let hidden = total - identical - self.differences.len();
        if hidden > 0 {
            writeln!(f, "  ... and {hidden} more that differ")?;
        }
        Ok(())
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nline {} {} {}", self.line, self.id, self.place)?;
        if self.expected.is_null() && self.actual.is_null() {
            return Ok(());
        }
        let (expected, actual) = (pretty(&self.expected), pretty(&self.actual));
        let width = expected.lines().map(|l| l.chars().count()).max().unwrap_or(0).max("expected".len());
        writeln!(f, "    {:<width$} | actual", "expected")?;
        for (left, right) in align(&expected, &actual) {
            let mark = if left == right { ' ' } else { '!' };
            let (left, right) = (left.unwrap_or_default(), right.unwrap_or_default());
            writeln!(f, "  {mark} {left:<width$} | {right}")?;
        }
        Ok(())
    }
}

/// Never rounded up to 100 %.
fn percent(part: usize, whole: usize) -> String {
    if whole == 0 {
        return "0 %".into();
    }
    let hundredths = part as u64 * 10_000 / whole as u64;
    format!("{}.{:02} %", hundredths / 100, hundredths % 100)
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

type Row<'a> = (Option<&'a str>, Option<&'a str>);

/// Lines beside each other: the longest common subsequence on one height, what is between two of its lines in pairs.
fn align<'a>(left: &'a str, right: &'a str) -> Vec<Row<'a>> {
    let (left, right): (Vec<&str>, Vec<&str>) = (left.lines().collect(), right.lines().collect());
    let width = right.len() + 1;
    // Length of what the rests from (i, j) have in common.
    let mut common = vec![0u32; (left.len() + 1) * width];
    for i in (0..left.len()).rev() {
        for j in (0..right.len()).rev() {
            let at = i * width + j;
            let (below, beside) = (common[at + width], common[at + 1]);
            common[at] = if left[i] == right[j] { common[at + width + 1] + 1 } else { below.max(beside) };
        }
    }
    let (mut i, mut j, mut rows) = (0, 0, Vec::new());
    let (mut only_left, mut only_right) = (Vec::new(), Vec::new());
    while i < left.len() || j < right.len() {
        if i < left.len() && j < right.len() && left[i] == right[j] {
            pair_up(&mut rows, &mut only_left, &mut only_right);
            rows.push((Some(left[i]), Some(right[j])));
            (i, j) = (i + 1, j + 1);
        } else if j == right.len() || (i < left.len() && common[(i + 1) * width + j] >= common[i * width + j + 1]) {
            only_left.push(left[i]);
            i += 1;
        } else {
            only_right.push(right[j]);
            j += 1;
        }
    }
    pair_up(&mut rows, &mut only_left, &mut only_right);
    rows
}

fn pair_up<'a>(rows: &mut Vec<Row<'a>>, left: &mut Vec<&'a str>, right: &mut Vec<&'a str>) {
    rows.extend((0..left.len().max(right.len())).map(|i| (left.get(i).copied(), right.get(i).copied())));
    left.clear();
    right.clear();
}

/// Drops what the recordings leave out: nulls, empty strings, lists and objects, and `false`.
fn without_empties(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.into_iter().map(|(k, v)| {
                let cleared = k == "current_metrics" && v.as_array().is_some_and(Vec::is_empty);
                (k, if cleared { v } else { without_empties(v) }, cleared)
            });
            let kept = kept.filter(|(_, v, cleared)| *cleared || !is_empty(v)).map(|(k, v, _)| (k, v));
            Value::Object(kept.collect())
        }
        Value::Array(list) => Value::Array(list.into_iter().map(without_empties).collect()),
        other => other,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(s) => s.is_empty(),
        Value::Array(a) => a.is_empty(),
        Value::Object(o) => o.is_empty(),
        _ => false,
    }
}

/// `None` if the two are the same recording.
fn difference(place: &str, expected: Value, actual: Value) -> Option<(String, Value, Value)> {
    let (expected, actual) = (without_empties(expected), without_empties(actual));
    (expected != actual).then(|| (place.to_owned(), expected, actual))
}
