//! The lab as its users run it: the binary, a real embedded cluster, real load. One journey at a time, since two would
//! measure each other.

// Helpers outside of `#[test]` functions fail a test by panicking too.
#![allow(clippy::unwrap_used)]

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
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
    let mut load = loading(&lab, &["--rate", "20", "--duration", "15s"]);
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
    three_generators_in_the_cluster_are_one_load(&lab);
    lab.succeed(&["teardown"]);
    assert_eq!(lab.processes(), Vec::<String>::new());
    lab.succeed(&["teardown"]);
    let gone = lab.run(&["status"]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(told(&gone).contains("cargo xtask setup --profile"), "{}", told(&gone));
}

#[test]
fn a_forward_outlives_its_pods_under_load_and_ends_with_its_lab() {
    use std::io::{BufRead, BufReader};
    let _alone = alone();
    let lab = Lab::new("e2e-forward");
    lab.succeed(&["setup", "--cluster", "embedded", "--pace", "fast"]);
    let mut forward = lab.command(&["forward", "--port", "0"]);
    let mut forward = forward.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(forward.stdout.take().unwrap()).lines().map_while(Result::ok);
    let url = lines.next().unwrap().split(' ').next().unwrap().to_owned();
    let pods = std::thread::spawn(move || {
        lines.filter_map(|line| Some(line.split_once(" -> ")?.1.to_owned())).collect::<std::collections::BTreeSet<_>>()
    });
    let stranger = Lab::new("e2e-forwarded");
    let load = ["--url", &url, "--pattern", "constant 20 6s"];
    let mut load = stranger.command(&[&["load"], &load[..]].concat()).stdout(Stdio::piped()).spawn().unwrap();
    let mut told = BufReader::new(load.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(told.any(|line| line.contains("req/s")), "the load never began");
    restart_service(&lab, "first");
    let rest: Vec<String> = told.collect();
    assert!(matches!(load.wait().unwrap().code(), Some(0 | 3)), "{rest:#?}");
    // The old pod drains: what it was asked it answers, and nobody is sent to it again.
    assert!(rest.iter().any(|line| line.contains("lost 0,")), "{rest:#?}");

    lab.succeed(&["teardown"]);
    let ended = forward.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(1), "{}", String::from_utf8_lossy(&ended.stderr));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("has no session"));
    let pods = pods.join().unwrap();
    assert!(pods.len() >= 2, "only {pods:?} served");
}

#[test]
fn an_interrupted_setup_says_what_is_there_and_goes_on_from_there() {
    use std::io::{BufRead, BufReader};
    let _alone = alone();
    let lab = Lab::new("e2e-stop");
    // At real pace the first metric takes longer than any test machine to send a signal.
    let mut setup = lab.command(&["setup", "--cluster", "embedded"]);
    let mut setup = setup.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(setup.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.starts_with("  done  manifests")), "setup never came to the manifests");
    let busy = lab.run(&["teardown"]);
    let words = format!("is being changed by `cargo xtask setup` (pid {})", setup.id());
    assert!(told(&busy).contains(&words), "{}", told(&busy));
    assert!(Command::new("kill").args(["-INT", &setup.id().to_string()]).status().unwrap().success());
    let ended = setup.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(130), "{}", told(&ended));
    for words in
        ["setup was interrupted: there is the embedded cluster, image localhost/", "objects in namespace swell-dev"]
    {
        assert!(told(&ended).contains(words), "{}", told(&ended));
    }
    assert!(told(&ended).contains("  try: cargo xtask setup --profile"), "{}", told(&ended));
    let resumed = lab.succeed(&["setup", "--pace", "fast"]);
    assert!(resumed.contains("same  image"), "{resumed}");
    lab.succeed(&["teardown"]);
    assert_eq!(lab.processes(), Vec::<String>::new());
}

#[test]
fn a_full_disk_is_named_and_what_was_begun_can_be_torn_down() {
    let _alone = alone();
    let lab = Lab::new("e2e-full");
    let xtask = format!("{} --profile {}", env!("CARGO_BIN_EXE_xtask"), lab.profile);
    // In a user namespace one's number is root's, whose folders of locks are not one's own.
    let runtime = tempfile::tempdir().unwrap();
    for size in ["4k", "1m"] {
        let script = format!(
            "mount -t tmpfs -o size={size} tmpfs .swell || exit 9; {xtask} setup --cluster embedded; \
             {xtask} teardown && ls -A .swell"
        );
        let mut unshare = Command::new("unshare");
        unshare.args(["-Urm", "sh", "-c", &script]).current_dir(root()).env("XDG_RUNTIME_DIR", runtime.path());
        let full = unshare.output();
        let Some(full) = full.ok().filter(|full| full.status.success()) else {
            return eprintln!("no mount of one's own here: a full disk is not tried");
        };
        let told = told(&full);
        assert!(told.contains("No space left on device") && told.contains("try: cargo xtask runs --keep"), "{told}");
        assert!(told.lines().all(|line| line != lab.profile), "the session stayed\n{told}");
    }
}

#[test]
fn the_doctor_starts_a_killed_cluster_and_clears_what_another_left() {
    let _alone = alone();
    let lab = Lab::new("e2e-doctor");
    lab.succeed(&["setup", "--cluster", "embedded", "--pace", "fast"]);
    let left = root().join(".swell/clusters").join(format!("left-{}", std::process::id()));
    std::fs::create_dir_all(left.join("store")).unwrap();
    let kubeconfig = lab.cluster_dir().join("kubeconfig");
    assert!(Command::new("kill").args(["-9", &lab.daemon()]).status().unwrap().success());
    eventually("the cluster dies", Duration::from_secs(60), || lab.processes().is_empty());
    std::fs::set_permissions(&kubeconfig, Permissions::from_mode(0o644)).unwrap();

    let found = lab.run(&["doctor"]);
    assert_eq!(found.status.code(), Some(1), "{}", told(&found));
    for words in ["WRONG cluster", "does not run", "note  left behind"] {
        assert!(told(&found).contains(words), "{words}\n{}", told(&found));
    }
    let fixed = told(&lab.run(&["doctor", "--fix"]));
    for words in ["fixed left behind", "removed ", "fixed cluster", " start   (was: "] {
        assert!(fixed.contains(words), "{words}\n{fixed}");
    }
    assert!(!left.exists());
    assert_eq!(std::fs::metadata(&kubeconfig).unwrap().permissions().mode() & 0o777, 0o600);
    lab.succeed(&["setup"]);
    lab.succeed(&["doctor", "--quiet"]);
    let too_many = told(&lab.run(&["doctor", "--env", "nowhere"]));
    assert!(too_many.contains("no environment `nowhere`"), "{too_many}");
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
    assert!(xml.contains("failures=\"0\"") && xml.contains("name=\"peak replicas\"><system-out>"), "{xml}");
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

/// What is replaced by what.
type Changes<'c> = &'c [(&'c str, &'c str)];

/// What is brought about in the manifests of somebody's service, and what else setup is told.
const FAULTS: [(&str, Changes<'_>, &[&str]); 4] = [
    ("an image that nobody has", &[], &[]),
    ("an image that is never pulled", &[("IfNotPresent", "Never")], &[]),
    ("too large for any node", &[("cpu: 100m", "cpu: 64"), ("cpu: 150m", "cpu: 64")], &["--timeout", "5s"]),
    ("nothing that a percentage could be of", &[("cpu: 100m", ""), ("cpu: 150m", "")], &["--timeout", "20s"]),
];

#[test]
fn what_keeps_a_service_from_scaling_is_said_with_the_command_that_mends_it() {
    let _alone = alone();
    let lab = Lab::new("e2e-wrong");
    let scratch = tempfile::tempdir().unwrap();
    let images = scratch.path().join("images");
    lab.succeed(&["image", "--dynamic", "--output", images.to_str().unwrap()]);
    let archives = std::fs::read_dir(&images).unwrap().flatten().map(|entry| entry.path());
    let archive = archives.into_iter().find(|path| path.to_string_lossy().contains("swell-service")).unwrap();
    let mut all = String::new();
    for (number, (fault, changes, flags)) in FAULTS.iter().enumerate() {
        let dir = scratch.path().join(format!("fault-{number}"));
        std::fs::create_dir(&dir).unwrap();
        for file in std::fs::read_dir(root().join("examples/own-workload/k8s")).unwrap().flatten() {
            let text = std::fs::read_to_string(file.path()).unwrap();
            let text = changes.iter().fold(text, |text, (from, to)| text.replace(from, to));
            std::fs::write(dir.join(file.file_name()), text).unwrap();
        }
        let setup =
            ["setup", "--quiet", "--cluster", "embedded", "--pace", "fast", "--manifests", dir.to_str().unwrap()];
        // Without it the manifests' own image is looked for.
        let image: &[&str] = if number < 2 { &[] } else { &["--image", archive.to_str().unwrap()] };
        let failed = lab.run(&[&setup, image, flags].concat());
        assert_eq!(failed.status.code(), Some(1), "{fault}\n{}", told(&failed));
        all.push_str(&format!("{fault}\n{}", String::from_utf8_lossy(&failed.stderr)));
    }
    let found = lab.run(&["doctor", "--quiet"]);
    assert_eq!(found.status.code(), Some(1), "{}", told(&found));
    let found = String::from_utf8_lossy(&found.stdout).into_owned();
    let mut lines = found.lines();
    while let Some(line) = lines.next() {
        if ["WRONG session", "WRONG CPU requests", "WRONG scaling"].iter().any(|of_the_case| line.contains(of_the_case))
        {
            all.push_str(&format!("{}\n{}\n", line.trim(), lines.next().unwrap_or_default().trim()));
        }
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let refused = lab.run(&["forward", "--port", &port]);
    let refused = String::from_utf8_lossy(&refused.stderr).replace(&format!(":{port}"), ":PORT");
    // This very program holds it, under a name that its build gave it.
    let holder = format!("(pid {})", std::process::id());
    let (before, after) = refused.split_once(&holder).expect(&refused);
    all.push_str(&format!("{} by US{after}", before.split(" by ").next().unwrap_or_default()));
    // Whether it was tried once or again depends on when one looks.
    let backed_off = "ImagePullBackOff: Back-off pulling image \"registry.example.com/shop/checkout:dev\": ";
    let all = all.replace(backed_off, "");
    // What the scheduler adds on preemption is its own affair.
    let told_in_short = |line: &str| match line.split_once("Insufficient cpu.") {
        Some((before, _)) => format!("{before}Insufficient cpu."),
        None => line.to_owned(),
    };
    let all: String = all.lines().map(|line| told_in_short(line) + "\n").collect();
    expect_test::expect![[r#"
        an image that nobody has
        error: pod checkout-POD does not start: ErrImagePull: Failed to pull image "registry.example.com/shop/checkout:dev": this node pulls from no registry; load the image with `nanokube image load FILE`
          try: cargo xtask status --profile PROFILE
        an image that is never pulled
        error: pod checkout-POD does not start: ErrImageNeverPull: Container image "registry.example.com/shop/checkout:dev" is not present with pull policy of Never
          try: cargo xtask status --profile PROFILE
        too large for any node
        error: the pods of checkout fit on no node: 0/1 nodes are available: 1 Insufficient cpu.
          try: cargo xtask setup --profile PROFILE --env dev   (asks for least; or set up anew with more --cpus and --memory)
        nothing that a percentage could be of
        error: waited 20 s for the autoscaler to see its metric; last seen: FailedGetResourceMetric: the HPA was unable to compute the replica count: failed to get cpu utilization: missing request for cpu in container checkout of Pod checkout-POD
          try: cargo xtask status --profile PROFILE
        WRONG session            setup did not come to its end
        try: cargo xtask setup --profile PROFILE
        WRONG CPU requests       container checkout of checkout states none
        try: kubectl set resources deployment checkout --requests=cpu=100m
        WRONG scaling            FailedGetResourceMetric: the HPA was unable to compute the replica count: failed to get cpu utilization: missing request for cpu in container checkout of Pod checkout-POD
        try: state resources.requests.cpu for every container, side-cars too
        error: 127.0.0.1:PORT is in use by US: Address already in use (os error 98)
          try: cargo xtask forward --profile PROFILE --port 0   (takes a free one)
    "#]].assert_eq(&without_names(&all.replace(&lab.profile, "PROFILE")));
}

/// Pods have other names each time.
fn without_names(text: &str) -> String {
    let mut parts = text.split("checkout-");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '-');
        plain.push_str(&format!("checkout-POD{rest}"));
    }
    plain
}

fn three_generators_in_the_cluster_are_one_load(lab: &Lab) {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("even.yaml");
    let even =
        "name: even\ndescription: One request every 83 ms.\nload: {pattern: constant 12 3s, requests: [{path: /}]}\n";
    std::fs::write(&file, even).unwrap();
    let load = lab.run(&["load", file.to_str().unwrap(), "--in-cluster", "--generators", "3"]);
    let said = told(&load);
    assert!(matches!(load.status.code(), Some(0 | 3)), "{said}");
    let page = said.lines().find_map(|line| line.trim().strip_prefix("report ")).expect(&said).trim();
    let report = root().join(page).with_file_name("report.json");
    let report: Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    let count = |which: &str| report["requests"][which].as_u64().unwrap();
    assert_eq!((count("planned"), count("lost")), (36, 0), "the parts are together the plan of one generator");
    assert_eq!(count("planned"), count("sent") + count("shed") + count("unsent"));
    assert_eq!(report["generator"]["shards"], 3);
    let kubeconfig = lab.cluster_dir().join("kubeconfig");
    if let Ok(jobs) = Command::new("kubectl").arg("--kubeconfig").arg(kubeconfig).args(["get", "jobs", "-A"]).output() {
        assert!(jobs.stdout.is_empty(), "a Job stayed: {}", told(&jobs));
    }
}

/// A load that has begun: the first figures are printed.
fn loading(lab: &Lab, args: &[&str]) -> Child {
    use std::io::{BufRead, BufReader};
    let mut load =
        lab.command(&[&["load"], args].concat()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(load.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("req/s")), "the load never began");
    // Whoever stops reading must not stop the load.
    std::thread::spawn(move || lines.for_each(drop));
    load
}

/// Cheap requests: the CPU never comes near its target.
const CHEAP: &str = "
name: cheap
description: Many cheap requests
pace: fast
load:
  pattern: constant 70 60s
  requests: [{path: '/work?iterations={iterations}', cost_ms: 1}]
  connections: {max: 256, max_requests: [4, 12], max_age: 1s}
";

#[test]
fn requests_per_second_scale_what_the_cpu_would_not_and_their_loss_scales_nothing_down() {
    let _alone = alone();
    let lab = Lab::new("e2e-metrics");
    lab.succeed(&["setup", "--cluster", "embedded", "--pace", "fast", "--env", "dev-multi-metric"]);
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    std::fs::write(file.path(), CHEAP).unwrap();
    let mut load = loading(&lab, &[file.path().to_str().unwrap()]);
    eventually("requests per second win", Duration::from_secs(20), || {
        scaling_active(&lab).1.ends_with("from pods metric http_requests_per_second")
    });
    eventually("they bring pods", Duration::from_secs(20), || replicas(&lab) >= 3);
    let explained = lab.succeed(&["explain"]);
    let winner = explained.split("http_requests_per_second:").nth(1).expect(&explained);
    assert!(winner.split("work_queue_depth:").next().unwrap().contains("Taken"), "{explained}");

    set_adapters(&lab, 0);
    eventually("the loss is an error", Duration::from_secs(20), || scaling_active(&lab).0 == "FailedGetPodsMetric");
    // The load ends, but nobody can tell the autoscaler.
    assert!(Command::new("kill").args(["-INT", &load.id().to_string()]).status().unwrap().success());
    load.wait().unwrap();
    let held = replicas(&lab);
    // Stabilization ends after ten seconds, so the CPU's metric alone would by now have taken pods away.
    let quiet = Instant::now();
    while quiet.elapsed() < Duration::from_secs(15) {
        assert_eq!(replicas(&lab), held, "nothing is known of the load");
        std::thread::sleep(Duration::from_millis(500));
    }
    assert!(held >= 3);

    set_adapters(&lab, 1);
    eventually("with the metric back it goes down", Duration::from_secs(40), || replicas(&lab) < held);
    assert_eq!(scaling_active(&lab).0, "ValidMetricFound");
}

/// Reason and message of the HPA's condition ScalingActive.
fn scaling_active(lab: &Lab) -> (String, String) {
    let told = lab.succeed(&["explain"]);
    let line = told.lines().map(str::trim).find(|line| line.starts_with("ScalingActive ")).expect(&told);
    let (head, message) = line.split_once(": ").expect(line);
    (head.split(' ').next_back().unwrap().to_owned(), message.to_owned())
}

fn replicas(lab: &Lab) -> i64 {
    let status: Value = serde_json::from_str(&lab.succeed(&["status", "-o", "json"])).unwrap();
    status["replicas"].as_i64().expect("replicas")
}

fn set_adapters(lab: &Lab, replicas: i64) {
    patch_deployment(lab, "swell-adapter", serde_json::json!({ "spec": { "replicas": replicas } }));
}

/// As `kubectl rollout restart` does.
fn restart_service(lab: &Lab, at: &str) {
    let annotations = serde_json::json!({ "kubectl.kubernetes.io/restartedAt": at });
    let template = serde_json::json!({ "metadata": { "annotations": annotations } });
    patch_deployment(lab, "swell-service", serde_json::json!({ "spec": { "template": template } }));
}

fn patch_deployment(lab: &Lab, name: &str, patch: Value) {
    let kubeconfig = lab.cluster_dir().join("kubeconfig");
    let patching = async {
        let read = kube::config::Kubeconfig::read_from(kubeconfig).unwrap();
        let config =
            kube::Config::from_custom_kubeconfig(read, &kube::config::KubeConfigOptions::default()).await.unwrap();
        let client = kube::Client::try_from(config).unwrap();
        let all: kube::Api<k8s_openapi::api::apps::v1::Deployment> = kube::Api::namespaced(client, "swell-dev");
        all.patch(name, &kube::api::PatchParams::default(), &kube::api::Patch::Merge(&patch)).await.unwrap();
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(patching);
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
