//! The laws of ARCHITECTURE.md that a compiler does not know, as tests: who depends on whom, who knows what, how long a
//! function may be, and that the documents name only what exists.
//!
//! Reads the files of the clone as they are. A law that is bent here is bent in the open.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::{CommandFactory, Parser};
use serde_json::Value;

use crate::cli::Cli;

mod dependencies;
mod workflows;

const CRATES: [&str; 6] = ["autoscaler", "nanokube", "service", "adapter", "loadgen", "xtask"];
/// rustfmt sets code at 120; a comment may run over by a word.
const LINE_MAX: usize = 132;
const FUNCTION_MAX: usize = 70;
/// Packages in Cargo.lock, own crates and tests' included. What a newcomer waits for grows with it.
const PACKAGES_MAX: usize = 350;
const README_MAX: usize = 100;
const ARCHITECTURE_MAX: usize = 300;

struct Source {
    /// Relative to the root, with forward slashes.
    path: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("invariant: xtask lies in the root").to_path_buf()
}

fn files(kinds: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    let mut open = vec![root()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() {
                if !name.starts_with('.') && !name.starts_with("target") && name != "node_modules" {
                    open.push(path);
                }
            } else if kinds.iter().any(|kind| name.ends_with(&format!(".{kind}"))) {
                let relative = path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
                // A file that another program is just replacing, or that is not text, is none of ours.
                if let Ok(text) = std::fs::read_to_string(&path) {
                    found.push(Source { path: relative, text });
                }
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn rust() -> Vec<Source> {
    files(&["rs"]).into_iter().filter(|source| !source.path.contains("testdata/")).collect()
}

fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("tests.rs") || path.ends_with("tidy.rs") || path.contains("/benches/")
}

fn is_generated(source: &Source) -> bool {
    source.text.lines().take(5).any(|line| line.contains("@generated"))
}

#[track_caller]
fn none(law: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{law}:\n  {}", broken.join("\n  "));
}

#[test]
fn crates_depend_on_each_other_only_as_drawn() {
    let drawn: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("autoscaler", &[][..]),
        ("nanokube", &["autoscaler"][..]),
        ("service", &[][..]),
        ("adapter", &[][..]),
        ("loadgen", &[][..]),
        ("xtask", &["autoscaler", "loadgen"][..]),
    ]);
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    assert_eq!(packages.len(), CRATES.len(), "a new crate is drawn here first");
    for package in packages {
        let name = package["name"].as_str().unwrap();
        for dependency in package["dependencies"].as_array().unwrap() {
            let on = dependency["name"].as_str().unwrap();
            if CRATES.contains(&on) && on != name {
                assert!(drawn[name].contains(&on), "{name} depends on {on}, which is not drawn");
                let engine = on == "loadgen" && dependency["uses_default_features"] == true;
                assert!(!engine, "{name} links the engine of loadgen; it may know its wire types only");
            }
        }
    }
}

#[test]
fn the_tree_stays_small() {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let packages = lock.matches("[[package]]").count();
    println!("{packages} packages in Cargo.lock, at most {PACKAGES_MAX}");
    assert!(packages <= PACKAGES_MAX, "{packages} packages, at most {PACKAGES_MAX}: what does the new one save?");
}

#[test]
fn the_remote_control_alone_is_built_of_what_the_workspace_is_built_of() {
    // What is not of this clone, with the features that it is compiled with.
    let compiled = |selection: &[&str]| -> BTreeSet<String> {
        let shape = ["tree", "--locked", "--offline", "-e", "normal,build", "--prefix", "none", "--no-dedupe"];
        let output = cargo().args(shape).args(["-f", "{p} features {f}"]).args(selection).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let foreign = text.lines().filter(|line| !line.contains(" (/") && !line.trim().is_empty());
        foreign.map(|line| line.trim_end_matches(" (*)").to_owned()).collect()
    };
    let (alone, together) = (compiled(&["-p", "xtask"]), compiled(&["--workspace"]));
    let twice: Vec<String> = alone.difference(&together).cloned().collect();
    none(
        "xtask/Cargo.toml names the features that the workspace adds, else `cargo xtask` compiles these twice",
        &twice,
    );
}

#[test]
fn every_file_opens_with_what_it_is() {
    let silent = |source: &Source| !source.text.trim_start().starts_with("//!") && !source.path.ends_with("tests.rs");
    let broken: Vec<String> = rust().iter().filter(|s| silent(s)).map(|s| s.path.clone()).collect();
    none("a file opens with a //! doc", &broken);
}

#[test]
fn lines_and_functions_can_be_seen_whole() {
    let mut broken = Vec::new();
    for source in rust().iter().filter(|source| !is_generated(source)) {
        for (number, line) in source.text.lines().enumerate() {
            if line.chars().count() > LINE_MAX && !is_test(&source.path) && !line.contains("r#\"") {
                broken.push(format!("{}:{} is longer than {LINE_MAX}", source.path, number + 1));
            }
        }
        if !is_test(&source.path) {
            broken.extend(long_functions(source));
        }
    }
    none(&format!("lines <= {LINE_MAX}, functions <= {FUNCTION_MAX}"), &broken);
}

/// A function ends at the first closing brace in the column of its `fn`, as rustfmt sets it.
fn long_functions(source: &Source) -> Vec<String> {
    let lines: Vec<&str> = source.text.lines().collect();
    let mut long = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let trimmed = line.trim_start();
        if trimmed.ends_with(';') || !opens_function(trimmed) {
            continue;
        }
        let close = format!("{}}}", &line[..line.len() - trimmed.len()]);
        let Some(length) = lines[start..].iter().position(|line| *line == close) else { continue };
        if length + 1 > FUNCTION_MAX {
            long.push(format!("{}:{} is {} lines", source.path, start + 1, length + 1));
        }
    }
    long
}

/// Whatever stands before `fn`: visibility, `const`, `async`, `unsafe`, `extern "C"`.
fn opens_function(line: &str) -> bool {
    let before =
        |word: &&str| word.starts_with("pub") || ["const", "async", "unsafe", "extern", "\"C\""].contains(word);
    line.split([' ', ')']).filter(|word| !word.is_empty()).find(|word| !before(word)) == Some("fn")
}

#[test]
fn a_function_is_seen_whatever_stands_before_it() {
    let long = |head: &str| {
        let text = format!("{head}() {{\n{}}}\n", "    step();\n".repeat(FUNCTION_MAX));
        long_functions(&Source { path: "x.rs".to_owned(), text }).len()
    };
    for head in ["fn a", "pub(crate) async fn a", "pub(super) const fn a", "pub unsafe extern \"C\" fn a", "async fn a"]
    {
        assert_eq!(long(head), 1, "{head}");
    }
    for no_function in ["struct Fn", "mod fn_", "let a = fn"] {
        assert_eq!(long(no_function), 0, "{no_function}");
    }
}

#[test]
fn no_drawer_for_odds_and_ends() {
    let banned = ["utils", "util", "helpers", "helper", "common", "misc", "manager", "prelude"];
    let broken: Vec<String> = rust()
        .iter()
        .filter(|source| source.path.split(['/', '.']).any(|part| banned.contains(&part)))
        .map(|source| source.path.clone())
        .collect();
    none("a file is named after its noun or its verb", &broken);
}

#[test]
fn nothing_unfinished_is_left_behind() {
    let words = ["FIX\x4dE", "TO\x44O", "X\x58X ", "dbg\x21("];
    let mut broken = Vec::new();
    for source in rust().iter().filter(|source| !is_generated(source)) {
        for (number, line) in source.text.lines().enumerate() {
            if words.iter().any(|word| line.contains(word)) {
                broken.push(format!("{}:{}", source.path, number + 1));
            }
        }
    }
    none("no reminders in the code", &broken);
}

#[test]
fn every_unsafe_block_says_why_it_is_sound() {
    let mut broken = Vec::new();
    for source in rust().iter().filter(|source| !source.path.ends_with("tidy.rs")) {
        let lines: Vec<&str> = source.text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if code.contains("unsafe {") || code.contains("unsafe impl") {
                let before = &lines[number.saturating_sub(6)..=number];
                if !before.iter().any(|line| line.contains("SAFETY:")) {
                    broken.push(format!("{}:{}", source.path, number + 1));
                }
            }
        }
    }
    none("unsafe has a SAFETY comment", &broken);
}

#[test]
fn the_cluster_never_knows_the_lab() {
    let broken: Vec<String> = rust()
        .iter()
        .filter(|source| source.path.starts_with("nanokube/src") || source.path.starts_with("autoscaler/src"))
        .filter(|source| source.text.to_lowercase().contains("swell-"))
        .map(|source| source.path.clone())
        .collect();
    none("nanokube and autoscaler name nothing of the lab", &broken);
}

/// The stand-in for Minikube is a program of its own.
fn is_remote_control(path: &str) -> bool {
    path.starts_with("xtask/src/") && !path.contains("stand_in")
}

#[test]
fn only_one_module_of_xtask_knows_each_secret() {
    // (what, who may know it)
    let secrets: [(&str, &[&str]); 6] = [
        ("intervals.jsonl", &["run_dir.rs"]),
        ("timeline.jsonl", &["run_dir.rs"]),
        ("report.html", &["run_dir.rs"]),
        ("--hpa-sync-period", &["cluster/embedded.rs"]),
        ("\"minikube\"", &["cluster/minikube.rs", "cluster/mod.rs", "session.rs", "checks/machine.rs"]),
        ("\"swell-service\"", &["image.rs", "image/build.rs", "image/engines.rs", "cluster/minikube.rs"]),
    ];
    let mut broken = Vec::new();
    for source in rust().iter().filter(|source| !is_test(&source.path) && is_remote_control(&source.path)) {
        for (secret, holders) in secrets {
            if source.text.contains(secret) && !holders.iter().any(|holder| source.path.ends_with(holder)) {
                broken.push(format!("{} knows {secret}", source.path));
            }
        }
    }
    none("one module knows it", &broken);
}

#[test]
fn the_decision_cannot_reach_the_world() {
    let banned = std::fs::read_to_string(root().join("autoscaler/clippy.toml")).unwrap();
    for word in ["Instant::now", "SystemTime::now", "std::fs", "std::net", "std::env", "std::thread"] {
        assert!(banned.contains(word), "autoscaler/clippy.toml does not ban {word}");
    }
    let mut broken = Vec::new();
    for source in rust().iter().filter(|source| source.path.starts_with("autoscaler/src") && !is_test(&source.path)) {
        for word in ["std::fs", "std::net", "std::env", "std::thread", "Instant::now", "SystemTime", "println!"] {
            if source.text.contains(word) {
                broken.push(format!("{} uses {word}", source.path));
            }
        }
    }
    none("autoscaler has no clock, file, socket, environment or thread", &broken);
}

#[test]
fn documents_name_only_commands_that_exist() {
    let mut broken = Vec::new();
    let mut seen = 0;
    let help = |command: &clap::Command| command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let text = Cli::command().get_subcommands().map(help).collect::<Vec<_>>().join("\n") + &help(&Cli::command());
    let help = Source { path: "--help".to_owned(), text };
    for document in files(&["md"]).into_iter().chain([help]) {
        for command in commands(&document.text) {
            seen += 1;
            if let Err(error) = Cli::try_parse_from(words(&command)) {
                use clap::error::ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
                let shown = [DisplayHelp, DisplayVersion, DisplayHelpOnMissingArgumentOrSubcommand];
                if !shown.contains(&error.kind()) {
                    broken.push(format!("{}: {command}", document.path));
                }
            }
        }
    }
    none("a documented command parses", &broken);
    assert!(seen > 5, "the documents show commands");
}

/// What stands behind `cargo xtask` on a line, up to a comment, a closing backtick or two spaces.
fn commands(text: &str) -> Vec<String> {
    let starts = text.lines().flat_map(|line| line.match_indices("cargo xtask ").map(move |(at, _)| &line[at..]));
    starts
        .map(|rest| {
            let end = ["`", "  ", " #", " &&", "|", ")", ";"].iter().filter_map(|stop| rest.find(stop)).min();
            rest[..end.unwrap_or(rest.len())].trim_end_matches(['.', ',', ':']).trim().to_owned()
        })
        .filter(|command| !command.contains('<') && !command.contains("...") && command.is_ascii())
        .collect()
}

/// Words as a shell splits them, as far as quotes go.
fn words(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in command.trim_start_matches("cargo ").chars() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None, ' ') => words.push(String::new()),
            (_, c) => words.last_mut().expect("invariant: never empty").push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn the_map_names_only_places_that_exist_and_every_crate() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    assert!(text.lines().count() <= ARCHITECTURE_MAX, "ARCHITECTURE.md is longer than {ARCHITECTURE_MAX} lines");
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.lines().count() <= README_MAX, "README.md is longer than {README_MAX} lines");
    for name in CRATES {
        assert!(text.contains(&format!("`{name}")), "ARCHITECTURE.md does not name the crate {name}");
    }
    let quoted: BTreeSet<&str> = text.split('`').skip(1).step_by(2).collect();
    let looks_like_path = |name: &&str| {
        let ends = [".rs", ".md", ".toml", ".yaml", ".yml", ".json"].iter().any(|end| name.ends_with(end));
        let inside = CRATES.iter().chain(&["k8s", "scenarios", "docs"]).any(|top| name.starts_with(&format!("{top}/")));
        (inside || (ends && name.contains('/'))) && !name.contains([' ', '<', '*', '{'])
    };
    let missing = |name: &str| !root().join(name.trim_end_matches('/')).exists() && !name.starts_with(".swell");
    let broken: Vec<String> =
        quoted.into_iter().filter(looks_like_path).filter(|name| missing(name)).map(str::to_owned).collect();
    none("ARCHITECTURE.md names what exists", &broken);
}

#[test]
fn the_dispatcher_only_dispatches() {
    let main = std::fs::read_to_string(root().join("xtask/src/main.rs")).unwrap();
    assert!(main.lines().count() <= 110, "main.rs is {} lines", main.lines().count());
    let verbs: Vec<String> = files(&["rs"])
        .iter()
        .filter_map(|source| source.path.strip_prefix("xtask/src/cmd/")?.strip_suffix(".rs").map(str::to_owned))
        .filter(|verb| verb != "mod" && !verb.contains('/'))
        .collect();
    for verb in verbs {
        let parsed = Cli::try_parse_from(["xtask", &verb, "--help"]);
        let shown = parsed.err().is_some_and(|error| error.kind() == clap::error::ErrorKind::DisplayHelp);
        assert!(shown, "cmd/{verb}.rs is no verb of the command line");
    }
}

fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
    cargo.current_dir(root());
    cargo
}

fn metadata() -> Value {
    let output = cargo().args(["metadata", "--no-deps", "--offline", "--format-version", "1"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}
