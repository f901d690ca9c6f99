//! The rules and dashboards against a real Prometheus after a real load: every panel has data, every selector of every
//! rule meets a series, and an alert is seen firing and resolving.
//!
//! At pace fast, where the times of the rules are a thirtieth. Without a Prometheus on the machine it says so and ends.

// Helpers outside of `#[test]` functions fail a test by panicking too.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const NAMESPACE: &str = "swell-dev";
/// Fires with each step of the autoscaler and ends after a window without one.
const ALERT: &str = "AutoscalerScaled";
/// Fifteen requests of 15 ms a second are more than one pod of 150m may do.
const LOAD: &str = "name: observed\ndescription: Enough for three pods.\npace: fast\n\
    load: {pattern: constant 15 20s, timeout: 10s, requests: [{path: '/work?iterations={iterations}', cost_ms: 15}]}\n\
    expect: {peak_replicas: {min: 2, max: 10}}\n";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A profile of its own, torn down whatever happens.
struct Lab(String);

impl Lab {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(args).args(["--profile", &self.0]).current_dir(root()).stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.run(&["teardown", "--quiet"]);
    }
}

struct Prometheus {
    child: Child,
    address: String,
}

impl Prometheus {
    fn start(lab: &Lab) -> Prometheus {
        let mut child = lab.command(&["observe", "--port", "0"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("prometheus http://").expect(&line).to_owned();
        Prometheus { child, address }
    }

    fn get(&self, path: &str, query: &str) -> Value {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let query: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        write!(stream, "GET {path}{query} HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let answer: Value = serde_json::from_str(body).expect(body);
        assert_eq!(answer["status"], "success", "{answer}");
        answer["data"].clone()
    }

    fn has(&self, expression: &str) -> bool {
        self.get("/api/v1/query?query=", expression)["result"].as_array().is_some_and(|result| !result.is_empty())
    }

    fn is_firing(&self) -> bool {
        self.has(&format!("ALERTS{{alertname=\"{ALERT}\",alertstate=\"firing\"}}"))
    }

    /// Ctrl-C, as a terminal sends it.
    fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
        assert!(TcpStream::connect(&self.address).is_err(), "Prometheus outlived observe");
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // After a failure: observe takes its Prometheus with it.
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).stderr(Stdio::null()).status();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn eventually(what: &str, limit: Duration, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + limit;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn component(path: &str) -> PathBuf {
    root().join("k8s/components/observability").join(path)
}

/// `dashboard: panel` and an expression, its variables filled in.
fn panels() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for file in std::fs::read_dir(component("dashboards")).unwrap() {
        let board: Value = serde_json::from_slice(&std::fs::read(file.unwrap().path()).unwrap()).unwrap();
        for panel in board["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().unwrap() {
                let expression =
                    [("$namespace", NAMESPACE), ("$__rate_interval", "10s"), ("$__range_s", "300"), ("$__range", "5m")];
                let expression = expression
                    .iter()
                    .fold(target["expr"].as_str().unwrap().to_owned(), |text, (from, to)| text.replace(from, to));
                assert!(!expression.contains('$'), "an unknown variable: {expression}");
                found.push((format!("{}: {}", board["title"], panel["title"]), expression));
            }
        }
    }
    assert!(found.len() > 20, "{} expressions", found.len());
    found
}

/// The selectors of an expression: names that are neither functions nor words of the language, with their braces.
fn selectors(expression: &str) -> BTreeSet<String> {
    const WORDS: [&str; 9] = ["sum", "by", "on", "and", "or", "unless", "max", "bool", "without"];
    let mut found = BTreeSet::new();
    let mut rest = expression;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphabetic() || c == '_') {
        // A letter behind a digit is the unit of a window.
        let in_number = rest[..start].ends_with(|c: char| c.is_ascii_digit());
        rest = &rest[start..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        rest = after;
        if in_number || WORDS.contains(&name) {
            if matches!(name, "by" | "on" | "without") {
                rest = after.split_once(')').map_or("", |(_, rest)| rest);
            }
            continue;
        }
        if after.starts_with('{') {
            let (braces, behind) = after.split_at(after.find('}').unwrap() + 1);
            found.insert(format!("{name}{braces}"));
            rest = behind;
        } else if !after.trim_start().starts_with('(') {
            found.insert(name.to_owned());
        }
    }
    found
}

#[test]
fn selectors_are_found_among_functions_and_labels() {
    let expression =
        "sum by (namespace, job) (rate(a_total{code=~\"5..\"}[5m])) / x:y:rate5m > 14.4 * 0.01 and on (pod) up == 0";
    let found: Vec<String> = selectors(expression).into_iter().collect();
    assert_eq!(found, ["a_total{code=~\"5..\"}", "up", "x:y:rate5m"]);
}

#[test]
fn after_a_load_every_panel_and_every_rule_has_data_and_an_alert_fires_and_resolves() {
    if Command::new("prometheus").arg("--version").output().is_err() {
        eprintln!("prometheus is not installed (Debian: apt-get install prometheus): rules and panels are not tried");
        return;
    }
    let lab = Lab(format!("observe-{}", std::process::id()));
    let set_up = lab.run(&["setup", "--cluster", "embedded", "--env", "dev-multi-metric", "--pace", "fast"]);
    assert!(set_up.status.success(), "{}", String::from_utf8_lossy(&set_up.stderr));
    let prometheus = Prometheus::start(&lab);
    eventually("every target is scraped", Duration::from_secs(30), || {
        prometheus.has("count(up == 1) >= 4") && !prometheus.has("up == 0")
    });
    assert!(!prometheus.is_firing(), "nothing has scaled yet");

    let scratch = tempfile::tempdir().unwrap();
    let scenario = scratch.path().join("observed.yaml");
    std::fs::write(&scenario, LOAD).unwrap();
    let load = lab.run(&["load", scenario.to_str().unwrap()]);
    // On a busy machine the generator may be late (3); what is asked here is another question.
    let told = String::from_utf8_lossy(&load.stdout);
    assert!(matches!(load.status.code(), Some(0 | 2 | 3)), "{told}");
    assert!(
        prometheus.has(&format!("max_over_time(ALERTS{{alertname=\"{ALERT}\",alertstate=\"firing\"}}[5m])")),
        "{told}"
    );

    // A panel shows a range; what is no number is no data.
    let is_empty = |expression: &str| !prometheus.has(&format!("max_over_time(({expression})[5m:1s]) >= 0"));
    let empty: Vec<_> = panels().into_iter().filter(|(_, expression)| is_empty(expression)).collect();
    assert!(empty.is_empty(), "panels without data: {empty:#?}");
    let rules: Value = serde_yaml::from_str(&std::fs::read_to_string(component("rules.yaml")).unwrap()).unwrap();
    let rules = rules["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap());
    let all: BTreeSet<String> = rules.flat_map(|rule| selectors(rule["expr"].as_str().unwrap())).collect();
    assert!(all.len() > 15, "{all:?}");
    let unmet: Vec<&String> = all.iter().filter(|it| !prometheus.has(&format!("last_over_time({it}[5m])"))).collect();
    assert!(unmet.is_empty(), "selectors that meet no series: {unmet:#?}");
    let broken = prometheus.get("/api/v1/rules", "")["groups"].to_string();
    assert!(!broken.contains("\"health\":\"err\""), "{broken}");

    eventually("the alert resolves", Duration::from_secs(90), || !prometheus.is_firing());
    prometheus.stop();
    let again = Prometheus::start(&lab);
    assert!(Command::new("kill").args(["-9", &again.child.id().to_string()]).status().unwrap().success());
    eventually("Prometheus goes with an observe that was killed", Duration::from_secs(60), || {
        TcpStream::connect(&again.address).is_err()
    });
}
