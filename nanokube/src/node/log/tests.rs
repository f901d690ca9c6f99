//! What is written by the supervisor's half comes back through the daemon's half.

use super::*;
use jiff::Timestamp;
use std::path::Path;

fn read(path: &Path, options: &LogOptions) -> String {
    let mut reader = LogReader::new(path, options);
    reader.start().unwrap();
    let mut all = Vec::new();
    while let Some(text) = reader.read().unwrap() {
        all.extend(text);
    }
    String::from_utf8(all).unwrap()
}

fn numbered(dir: &Path, size_max: u64, lines: u32) -> std::path::PathBuf {
    let path = dir.join("0.log");
    let mut writer = LogWriter::with_limit(&path, size_max).unwrap();
    (0..lines).for_each(|line| writer.append(Stream::Stdout, format!("line {line}\n").as_bytes()));
    path
}

#[test]
fn lines_come_back_as_they_were_printed_and_in_pieces_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("0.log");
    let mut writer = LogWriter::create(&path).unwrap();
    for piece in ["he", "llo\n", "\n", "a\nb\nc"] {
        writer.append(Stream::Stdout, piece.as_bytes());
    }
    writer.append(Stream::Stderr, b"oops\n");
    writer.finish();
    assert_eq!(read(&path, &LogOptions::default()), "hello\n\na\nb\noops\nc");
    let raw = std::fs::read_to_string(&path).unwrap();
    let first = raw.lines().next().unwrap();
    let (stamp, rest) = first.split_once(' ').unwrap();
    assert_eq!(rest, "stdout F hello");
    assert_eq!(stamp.len(), "2026-01-02T03:04:05.123456789Z".len());
    stamp.parse::<Timestamp>().unwrap();
}

#[test]
fn a_long_line_is_stored_in_parts_and_read_as_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("0.log");
    let mut writer = LogWriter::create(&path).unwrap();
    let long = "x".repeat(LINE_LENGTH_MAX * 3 + 7);
    writer.append(Stream::Stdout, format!("{long}\nend\n").as_bytes());
    assert_eq!(read(&path, &LogOptions::default()), format!("{long}\nend\n"));
    let options = LogOptions { timestamps: true, ..LogOptions::default() };
    assert_eq!(read(&path, &options).matches("Z ").count(), 2);
}

#[test]
fn the_tail_is_the_last_lines_whatever_file_they_are_in() {
    let dir = tempfile::tempdir().unwrap();
    let path = numbered(dir.path(), 2000, 60);
    assert!(rotated(&path).exists());
    for lines in [0, 1, 5, 40, 55] {
        let options = LogOptions { tail_lines: Some(lines), ..LogOptions::default() };
        let wanted: String = (60 - lines..60).map(|line| format!("line {line}\n")).collect();
        assert_eq!(read(&path, &options), wanted, "tail of {lines}");
    }
    let options = LogOptions { tail_lines: Some(1000), ..LogOptions::default() };
    assert!(read(&path, &options).ends_with("line 59\n"));
}

#[test]
fn two_files_are_the_most_a_log_takes() {
    let dir = tempfile::tempdir().unwrap();
    let path = numbered(dir.path(), 2000, 1000);
    let size = |path: &Path| std::fs::metadata(path).unwrap().len();
    assert!(size(&path) <= 2000 && size(&rotated(&path)) <= 2000);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn a_reader_that_waits_goes_on_in_the_file_that_replaced_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("0.log");
    let mut writer = LogWriter::with_limit(&path, 120).unwrap();
    let mut reader = LogReader::new(&path, &LogOptions::default());
    reader.start().unwrap();
    let mut got = Vec::new();
    for line in 0..20 {
        writer.append(Stream::Stdout, format!("line {line}\n").as_bytes());
        while let Some(text) = reader.read().unwrap() {
            got.extend(text);
        }
    }
    let wanted: String = (0..20).map(|line| format!("line {line}\n")).collect();
    assert_eq!(String::from_utf8(got).unwrap(), wanted);
}

#[test]
fn since_and_limit_cut_the_beginning_and_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("0.log");
    let old = "2020-01-01T00:00:00.000000000Z stdout F old\n2030-01-01T00:00:00.000000000Z stdout F new\n";
    std::fs::write(&path, old).unwrap();
    let since = Some("2025-01-01T00:00:00Z".parse().unwrap());
    assert_eq!(read(&path, &LogOptions { since, ..LogOptions::default() }), "new\n");
    assert_eq!(read(&path, &LogOptions { limit_bytes: Some(6), ..LogOptions::default() }), "old\nne");
}
