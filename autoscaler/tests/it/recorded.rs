//! Recorded decisions of the real controller, replayed: a sample that every clone has, and the full set where it is.

use std::path::{Path, PathBuf};

use autoscaler::conformance;

/// The folder with the full recordings: `SWELL_VECTORS`, or beside the repository.
fn full_set() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/hpa-vectors");
    let folder = std::env::var_os("SWELL_VECTORS").map_or(beside, PathBuf::from);
    folder.is_dir().then_some(folder)
}

fn recordings(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a readable folder");
    let mut files: Vec<PathBuf> = entries.map(|e| e.expect("a readable entry").path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "jsonl"));
    files.sort();
    files
}

#[track_caller]
fn check(folder: &Path) {
    let files = recordings(folder);
    assert!(!files.is_empty(), "no *.jsonl in {}", folder.display());
    for file in files {
        let text = std::fs::read_to_string(&file).expect("UTF-8");
        let report = conformance::replay(&file.file_name().unwrap_or_default().to_string_lossy(), &text);
        println!("{report}");
        assert!(report.is_perfect(), "{report}");
    }
}

#[test]
fn the_full_set_of_recorded_decisions_is_identical() {
    match full_set() {
        Some(folder) => check(&folder),
        None => println!("skipped: no recordings beside the repository; set SWELL_VECTORS to their folder"),
    }
}

/// Chosen by `examples/sample_recordings.rs`.
#[test]
fn the_sample_of_recorded_decisions_is_identical() {
    check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata"));
}

#[test]
fn a_recording_that_differs_is_shown_side_by_side() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/calc.jsonl");
    let text = std::fs::read_to_string(sample).expect("UTF-8");
    let line = text.lines().find(|l| l.contains("\"error\":null")).expect("a calculation that worked");
    let changed = line.replacen("\"replicas\":", "\"replicas\":7", 1);
    assert_ne!(line, changed);
    let report = conformance::replay("changed.jsonl", &format!("{line}\n{changed}\nnot JSON\n"));
    assert_eq!((report.identical(), report.total(), report.is_perfect()), (1, 3, false));
    let words = report.to_string();
    assert!(words.starts_with("changed.jsonl: 1 of 3 identical (33.33 %)\n"), "{words}");
    assert!(
        words.lines().any(|l| l.starts_with("  !") && l.contains("\"replicas\": 7") && l.contains(" | ")),
        "{words}"
    );
    assert!(words.contains("line 3  not JSON: "), "{words}");
}

/// What is alike stands on one height though lines are missing above it, so only what differs is marked.
#[test]
fn the_sides_of_a_difference_are_aligned() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/traces.jsonl");
    let text = std::fs::read_to_string(sample).expect("UTF-8");
    let line = text.lines().find(|l| l.contains("\"events\":[{")).expect("a trace with events");
    let more = "\"events\":[{\"type\":\"Normal\",\"reason\":\"Added\",\"message\":\"by hand\"},{";
    let report = conformance::replay("changed.jsonl", &line.replacen("\"events\":[{", more, 1)).to_string();
    let marked: Vec<&str> = report.lines().filter(|l| l.starts_with("  !")).collect();
    let left = |line: &&str| line.split(" | ").next().unwrap_or_default()[3..].trim().to_owned();
    let braces = ["{", "},"];
    let told: Vec<String> = marked.iter().map(left).filter(|l| !braces.contains(&l.as_str())).collect();
    assert_eq!(told, ["\"message\": \"by hand\",", "\"reason\": \"Added\",", "\"type\": \"Normal\""], "{report}");
}

#[test]
fn a_line_that_replays_nothing_is_not_identical() {
    for (line, why) in [
        (r#"{"id":"a","steps":[]}"#, "`steps` has none"),
        (r#"{"id":"b","kind":"guess","expect":{}}"#, "not a kind of calculation: \"guess\""),
        (r#"{"id":"c"}"#, "neither `expect` nor `steps`: not a recorded decision"),
    ] {
        let report = conformance::replay("odd.jsonl", line);
        assert_eq!((report.identical(), report.total()), (0, 1), "{line}");
        assert!(report.to_string().contains(why), "{report}");
    }
}
