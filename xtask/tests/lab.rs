//! The lab as its users run it: the binary, a real embedded cluster, real load. One journey at a time, since two would
//! measure each other.

// Helpers outside of `#[test]` functions fail a test by panicking too.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A profile of its own, torn down whatever happens.
struct Lab {
    profile: String,
}

impl Lab {
    fn new(name: &str) -> Lab {
        Lab { profile: format!("{name}-{}", std::process::id()) }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(args).args(["--profile", &self.profile]).current_dir(root()).stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    #[track_caller]
    fn succeed(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?} ended with {}\n{}", output.status, told(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn cluster_dir(&self) -> PathBuf {
        root().join(".swell/clusters").join(&self.profile)
    }

    fn daemon(&self) -> String {
        let instance: Value =
            serde_json::from_slice(&std::fs::read(self.cluster_dir().join("instance.json")).unwrap()).unwrap();
        instance["pid"].to_string()
    }

    /// Processes that name the cluster's directory.
    fn processes(&self) -> Vec<String> {
        let dir = self.cluster_dir().to_string_lossy().into_owned();
        let own = std::process::id().to_string();
        let all =
            std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        let names_it = |pid: &String| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            *pid != own && String::from_utf8_lossy(&line).contains(&dir)
        };
        all.filter(|name| name.chars().all(|c| c.is_ascii_digit())).filter(names_it).collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.run(&["teardown", "--quiet"]);
    }
}

fn told(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[track_caller]
fn eventually(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn the_demo_goes_up_and_down_loses_nothing_and_leaves_nothing() {
    let _alone = alone();
    let lab = Lab::new("e2e-demo");
    let told = lab.succeed(&["demo"]);
    let page = told.lines().find_map(|line| line.trim().strip_prefix("report ")).expect(&told).trim();
    let report = root().join(page).with_file_name("report.json");
    let report: Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    let replicas = |which: &str| report["replicas"][which].as_i64().unwrap();
    assert!(replicas("peak") > replicas("start"), "{}", report["replicas"]);
    assert!(replicas("end") < replicas("peak"), "{}", report["replicas"]);
    assert_eq!(report["requests"]["lost"], 0);
    assert_eq!(report["verdict"], "pass");
    assert_eq!(lab.processes(), Vec::<String>::new());
    assert!(!lab.cluster_dir().exists());
    assert!(!told.contains('\x1b'), "no escape codes into a pipe");
}

#[test]
fn by_hand_with_a_daemon_killed_in_the_middle_of_a_load() {
    let _alone = alone();
    let lab = Lab::new("e2e-hand");
    lab.succeed(&["setup", "--cluster", "embedded", "--pace", "fast"]);
    let again = lab.succeed(&["setup"]);
    assert!(!again.contains("  done "), "a second setup acted:\n{again}");
    let status: Value = serde_json::from_str(&lab.succeed(&["status", "-o", "json"])).unwrap();
    assert_eq!((&status["ready"], status["troubles"].as_array().map(Vec::len)), (&Value::from(1), Some(0)));

    let before = lab.daemon();
    let mut load = loading(&lab);
    assert!(Command::new("kill").args(["-9", &before]).status().unwrap().success());
    eventually("the pods die with their daemon", Duration::from_secs(10), || {
        lab.processes().iter().all(|pid| *pid != before)
    });
    let ended = load.wait().unwrap();
    assert!(!ended.success(), "a load on a dead cluster must not pass");

    lab.succeed(&["setup"]);
    assert_ne!(lab.daemon(), before);
    let after = lab.run(&["load", "--rate", "10", "--duration", "3s"]);
    // A generator that was late on a busy machine (3) says nothing against the service.
    assert!(matches!(after.status.code(), Some(0 | 3)), "{}", told(&after));
    assert!(told(&after).contains("lost 0"), "{}", told(&after));
    lab.succeed(&["teardown"]);
    assert_eq!(lab.processes(), Vec::<String>::new());
    lab.succeed(&["teardown"]);
    let gone = lab.run(&["status"]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(told(&gone).contains("cargo xtask setup --profile"), "{}", told(&gone));
}

#[test]
fn somebody_elses_service_is_set_up_and_tested_as_the_example_shows() {
    let _alone = alone();
    let lab = Lab::new("e2e-own");
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name).to_str().unwrap().to_owned();
    lab.succeed(&["image", "--dynamic", "--output", &at("images")]);
    let archives = std::fs::read_dir(at("images")).unwrap().flatten().map(|entry| entry.path());
    let archive = archives.into_iter().find(|path| path.to_string_lossy().contains("swell-service")).unwrap();
    let example = ["--manifests", "examples/own-workload/k8s", "--image", archive.to_str().unwrap()];
    lab.succeed(&[&["setup", "--cluster", "embedded", "--pace", "fast"], &example[..]].concat());
    let again = lab.succeed(&["setup"]);
    assert!(!again.contains("  done "), "a second setup forgot the manifests or the image:\n{again}");

    // The promise that the example makes, and one that nothing can keep.
    let kept = lab.run(&["load", "examples/own-workload/scaling.yaml", "--junit", &at("scaling.xml")]);
    // On a busy machine the generator may be late (3); what was expected of the service holds all the same.
    assert!(matches!(kept.status.code(), Some(0 | 3)), "{}", told(&kept));
    let xml = std::fs::read_to_string(at("scaling.xml")).unwrap();
    assert!(xml.contains("failures=\"0\"") && xml.contains("name=\"peak replicas\"/>"), "{xml}");
    let too_much = "name: too-much\ndescription: Ten pods for one request.\npace: fast\n\
        load: {pattern: constant 5 2s, requests: [{path: /}]}\nexpect: {peak_replicas: {min: 10, max: 10}}\n";
    std::fs::write(at("too-much.yaml"), too_much).unwrap();
    let failed = lab.run(&["load", &at("too-much.yaml"), "--junit", &at("failed.xml")]);
    assert!(matches!(failed.status.code(), Some(2 | 3)), "{}", told(&failed));
    let xml = std::fs::read_to_string(at("failed.xml")).unwrap();
    assert!(xml.contains("<failure message=\"expected 10 to 10, measured 1\"/>"), "{xml}");

    // The same service by its URL alone, as somebody who set nothing up.
    let status: Value = serde_json::from_str(&lab.succeed(&["status", "-o", "json"])).unwrap();
    let stranger = Lab::new("e2e-url");
    let url = status["url"].as_str().unwrap();
    let alone = stranger.run(&["load", "--url", url, "--rate", "5", "--duration", "2s"]);
    assert!(matches!(alone.status.code(), Some(0 | 3)), "{}", told(&alone));
    assert!(told(&alone).contains("lost 0"), "{}", told(&alone));
    // An environment that is asked for takes the place of the manifests, whose objects go.
    lab.succeed(&["setup", "--env", "dev"]);
    let status: Value = serde_json::from_str(&lab.succeed(&["status", "-o", "json"])).unwrap();
    assert_eq!(status["session"]["manifests"], Value::Null);
    lab.succeed(&["teardown"]);
}

/// A load that has begun: the first figures are printed.
fn loading(lab: &Lab) -> Child {
    use std::io::{BufRead, BufReader};
    let mut load = lab
        .command(&["load", "--rate", "20", "--duration", "15s"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(load.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("req/s")), "the load never began");
    // Whoever stops reading must not stop the load.
    std::thread::spawn(move || lines.for_each(drop));
    load
}

#[test]
fn bad_input_is_one_message_that_ends_with_the_command_that_mends_it() {
    let lab = Lab::new("e2e-bad");
    let empty = tempfile::tempdir().unwrap();
    let broken = tempfile::tempdir().unwrap();
    std::fs::write(broken.path().join("kustomization.yaml"), "resources: [gone.yaml]\n").unwrap();
    let spread = tempfile::tempdir().unwrap();
    let example = root().join("examples/own-workload/k8s");
    for file in std::fs::read_dir(example).unwrap().flatten() {
        std::fs::copy(file.path(), spread.path().join(file.file_name())).unwrap();
    }
    let foreign = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: far, namespace: elsewhere}\n";
    std::fs::write(spread.path().join("foreign.yml"), foreign).unwrap();
    let spread = spread.path().to_str().unwrap();
    let (empty, broken) = (empty.path().to_str().unwrap(), broken.path().to_str().unwrap());
    let cases: [(&[&str], i32, &str); 12] = [
        (&["setup", "--env", "qa"], 64, "no environment `qa`"),
        (&["setup", "--cluster", "kind"], 64, "unknown cluster `kind`"),
        (&["setup", "--manifests", broken], 1, "gone.yaml"),
        (&["setup", "--manifests", empty], 1, "cannot be rendered"),
        (&["setup", "--manifests", spread], 64, "ConfigMap far lies in namespace `elsewhere`"),
        (
            &["setup", "--manifests", "examples/own-workload/k8s", "--image", "/gone.tar"],
            64,
            "/gone.tar is not an image",
        ),
        (&["load"], 1, "has no session"),
        (&["load", "dmeo", "--url", "http://127.0.0.1:1"], 64, "no scenario `dmeo`"),
        (
            &["load", "--url", "http://127.0.0.1:1", "--rate", "5", "--duration", "1s"],
            1,
            "nothing answers at http://127.0.0.1:1",
        ),
        (&["forward", "--port", "http"], 64, "`http` is not a port"),
        (&["report", "nope"], 64, "no run `nope`"),
        (&["frobnicate"], 64, "unrecognized subcommand"),
    ];
    for (args, code, word) in cases {
        let output = lab.run(args);
        let told = told(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}\n{told}");
        assert!(told.contains(word), "{args:?}\n{told}");
        let clap_says = told.contains("For more information, try '--help'");
        assert!(told.contains("\n  try: ") || clap_says, "{args:?} offers no remedy\n{told}");
        assert!(!told.contains("panicked"), "{args:?}\n{told}");
    }
    assert!(!lab.cluster_dir().exists(), "bad input started a cluster");
}
