//! Chooses the recorded decisions that every clone carries, out of a full set:
//! `cargo run -p autoscaler --features json --example sample_recordings -- FOLDER`
//!
//! Reads `calc.jsonl`, `traces.jsonl` and `api.jsonl` of FOLDER and writes a sample of each to `testdata/`. A vector
//! shows things: its category, error classes and texts, event and condition reasons, labels, which fields it has. Again
//! and again the vector is taken that shows most new things for its length, until nothing new is left. Numbers, and
//! what a failing backend said, do not make a thing new. First of all come those that caught a planted bug which
//! everything else let through; last, the rest of the budget is filled evenly across categories, from all over the
//! file. Same input, same sample.
#![allow(clippy::disallowed_methods, clippy::disallowed_macros)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

/// Bytes per file, together about a megabyte.
const FILES: [(&str, usize); 3] = [("calc", 280_000), ("traces", 600_000), ("api", 150_000)];

fn main() {
    let Some(folder) = std::env::args().nth(1) else {
        eprintln!("usage: sample_recordings FOLDER");
        std::process::exit(64);
    };
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    for (name, budget) in FILES {
        let file = format!("{name}.jsonl");
        let text = std::fs::read_to_string(Path::new(&folder).join(&file)).expect("a readable file of recordings");
        let taken = sample(&text, budget);
        println!("{file}: {} of {} vectors", taken.len(), text.lines().count());
        std::fs::write(testdata.join(file), taken.concat()).expect("testdata is writable");
    }
}

/// Each of these caught a bug of one changed line (a boundary, a cap, an order) that the rest of the sample did not
/// notice.
const CATCHES: [&str; 18] = [
    "calc-dev-00086",
    "calc-dev-00112",
    "calc-dev-00124",
    "calc-dev-00134",
    "calc-dev-00342",
    "calc-dev-00957",
    "calc-dev-01035",
    "calc-dev-01548",
    "calc-dev-02772",
    "calc-dev-02915",
    "calc-dev-03938",
    "trace-dev-0162",
    "trace-dev-0166",
    "trace-dev-0197",
    "trace-dev-0362",
    "trace-dev-0577",
    "api-dev-0041",
    "api-dev-0533",
];

struct Vector<'a> {
    id: String,
    line: &'a str,
    category: String,
    shows: BTreeSet<String>,
}

fn sample(text: &str, budget: usize) -> Vec<String> {
    let mut vectors: Vec<Vector<'_>> = text.lines().map(read).collect();
    vectors.sort_by_key(|v| v.line.len());
    let mut shown: BTreeSet<String> = BTreeSet::new();
    let mut taken = BTreeSet::new();
    let mut bytes = 0;
    for (i, vector) in vectors.iter().enumerate().filter(|(_, v)| CATCHES.contains(&v.id.as_str())) {
        shown.extend(vector.shows.iter().cloned());
        taken.insert(i);
        bytes += vector.line.len() + 1;
    }
    loop {
        let worth = |v: &Vector<'_>| v.shows.difference(&shown).count() * 1_000_000 / v.line.len();
        let candidates = vectors.iter().enumerate().filter(|(_, v)| bytes + v.line.len() < budget);
        let Some((i, best)) = candidates.max_by_key(|(i, v)| (worth(v), std::cmp::Reverse(*i))) else { break };
        if worth(best) == 0 {
            break;
        }
        shown.extend(best.shows.iter().cloned());
        taken.insert(i);
        bytes += best.line.len() + 1;
    }
    let mut by_category: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (i, vector) in vectors.iter().enumerate().filter(|(i, _)| !taken.contains(i)) {
        by_category.entry(&vector.category).or_default().push(i);
    }
    for rest in by_category.values_mut() {
        // By the last digit first, which spreads over the file.
        rest.sort_by_cached_key(|i| vectors[*i].id.chars().rev().collect::<String>());
    }
    while by_category.values().any(|rest| !rest.is_empty()) {
        for rest in by_category.values_mut() {
            let Some(i) = rest.pop() else { continue };
            if bytes + vectors[i].line.len() < budget {
                taken.insert(i);
                bytes += vectors[i].line.len() + 1;
            }
        }
    }
    let missed: BTreeSet<&String> = vectors.iter().flat_map(|v| &v.shows).filter(|s| !shown.contains(*s)).collect();
    for shows in missed {
        println!("  no room for {shows}");
    }
    let mut lines: Vec<String> = taken.into_iter().map(|i| format!("{}\n", vectors[i].line)).collect();
    lines.sort();
    lines
}

fn read(line: &str) -> Vector<'_> {
    let value: Value = serde_json::from_str(line).expect("one JSON object a line");
    let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let category = format!("{} {}", text("category"), text("kind"));
    let mut shows = BTreeSet::from([category.clone()]);
    collect("", &value, &mut shows);
    Vector { id: text("id"), line, category, shows }
}

/// Paths with any value, and the values of those that are words of the domain.
fn collect(path: &str, value: &Value, shows: &mut BTreeSet<String>) {
    const WORDS: [&str; 14] = [
        "type",
        "reason",
        "message",
        "error",
        "class",
        "kind",
        "tags",
        "operator",
        "select_policy",
        "detail",
        "field",
        "phase",
        "reconcile_label",
        "metric_labels",
    ];
    // Repeats what the manifest shows.
    if path.starts_with(".expect.defaulted_spec.") || path.starts_with(".old_manifest.spec.") {
        return;
    }
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let named = path.ends_with("_metrics") || path.ends_with("labels") || path.ends_with("requests_milli");
                collect(&format!("{path}.{}", if named { "*" } else { key }), value, shows);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(path, item, shows)),
        Value::Null => {}
        Value::String(text) if WORDS.contains(&path.rsplit('.').next().unwrap_or_default()) => {
            let cause = text.find("metrics API: ").map_or(text.len(), |at| at + "metrics API".len());
            let text: String = text[..cause].chars().filter(|c| !c.is_ascii_digit()).collect();
            // The innermost error is what differs; how it is wrapped follows from the metric's type.
            shows.insert(format!(
                "{}={}",
                path.rsplit('.').next().unwrap_or_default(),
                text.rsplit(": ").next().unwrap_or(&text)
            ));
        }
        _ => {
            shows.insert(path.to_owned());
        }
    }
}
