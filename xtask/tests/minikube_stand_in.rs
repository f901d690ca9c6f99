//! The stand-in for Minikube against the contract it follows. What relies on it is only worth as much as it is true.
//!
//! Most of it needs no cluster; the last test runs one, where a nanokube is built.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

struct Minikube {
    home: tempfile::TempDir,
    nanokube: PathBuf,
}

struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Minikube {
    fn alone() -> Minikube {
        Minikube { home: tempfile::tempdir().expect("a folder"), nanokube: PathBuf::from("none") }
    }

    /// With a profile `lab` that runs.
    fn started() -> Minikube {
        let minikube = Minikube::alone();
        let started = minikube.run("", "start -p lab --container-runtime=containerd");
        assert_eq!(started.code, 0, "{}", started.err);
        minikube
    }

    fn command(&self, scenario: &str, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_minikube-stand-in"));
        command.args(line.split_whitespace()).env_remove("MINIKUBE_PROFILE");
        command.env("HOME", self.home.path()).env("MINIKUBE_HOME", self.home.path());
        command.env("KUBECONFIG", self.home.path().join("kubeconfig"));
        command.env("MINIKUBE_STAND_IN_NANOKUBE", &self.nanokube);
        command.env("MINIKUBE_STAND_IN_SCENARIO", scenario);
        command.env("MINIKUBE_STAND_IN_LOG", self.home.path().join("log"));
        command
    }

    fn run(&self, scenario: &str, line: &str) -> Said {
        let Output { status, stdout, stderr } = self.command(scenario, line).output().expect("it runs");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Said { code: status.code().expect("a code"), out: text(stdout), err: text(stderr) }
    }

    #[track_caller]
    fn check(&self, scenario: &str, line: &str, code: i32, out: &str, err: &str) {
        let said = self.run(scenario, line);
        let told = format!("{line} ({scenario})\n-- stdout\n{}\n-- stderr\n{}", said.out, said.err);
        assert_eq!(said.code, code, "{told}");
        assert!(said.out.contains(out) && said.err.contains(err), "{told}");
    }

    fn images(&self) -> Vec<String> {
        let listed: Value = serde_json::from_str(&self.run("", "-p lab image ls --format json").out).expect("JSON");
        let tags = listed.as_array().expect("a list").iter().flat_map(|image| image["repoTags"].as_array());
        tags.flatten().map(|tag| tag.as_str().expect("text").to_owned()).collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }
}

impl Drop for Minikube {
    fn drop(&mut self) {
        if self.nanokube != Path::new("none") {
            self.run("", "delete -p lab");
        }
    }
}

#[test]
fn flags_that_a_sub_command_does_not_have_end_with_14_and_cobras_words() {
    let minikube = Minikube::alone();
    let hint = "See 'minikube status --help' for usage.";
    minikube.check("", "status --interactive=false", 14, "", &format!("Error: unknown flag: --interactive\n{hint}"));
    minikube.check("", "image ls -o json", 14, "", "Error: unknown shorthand flag: 'o' in -o");
    minikube.check("", "image ls --output json", 14, "", "Error: unknown flag: --output");
    minikube.check("", "service web --url -o json", 14, "", "unknown shorthand flag");
    minikube.check("", "frobnicate", 14, "", "unknown command");
}

#[test]
fn a_failed_start_says_its_reason_and_code_in_text_and_as_an_event() {
    let minikube = Minikube::alone();
    for (scenario, flags, code, name) in [
        ("docker-missing", "", 65, "PROVIDER_DOCKER_NOT_FOUND"),
        ("docker-down", "", 63, "PROVIDER_DOCKER_NOT_RUNNING"),
        ("docker-denied", "", 69, "PROVIDER_DOCKER_NEWGRP"),
        ("no-driver", "", 55, "DRV_NOT_DETECTED"),
        ("as-root", "", 57, "DRV_AS_ROOT"),
        ("virtualization-off", "", 38, "HOST_VIRT_UNAVAILABLE"),
        ("disk-full", "", 26, "RSRC_DOCKER_STORAGE"),
        ("memory-over-system", "", 10, "RSRC_OVER_ALLOC_MEM"),
        ("memory-over-docker", "", 14, "MK_USAGE"),
        ("wait-timeout", "", 80, "GUEST_START"),
        ("", "--memory=500", 23, "RSRC_INSUFFICIENT_REQ_MEMORY"),
        ("", "--cpus=1", 29, "RSRC_INSUFFICIENT_CORES"),
        ("", "--driver=abacus", 56, "DRV_UNSUPPORTED_OS"),
        ("", "--extra-config=nodots=1", 14, "MK_USAGE"),
        ("", "--extra-config=toaster.heat=1", 14, "MK_USAGE"),
        // A flag that the controller manager no longer has lets it crash, and start waits in vain.
        ("", "--extra-config=controller-manager.horizontal-pod-autoscaler-upscale-delay=1m", 80, "GUEST_START"),
    ] {
        minikube.check(scenario, &format!("start -p lab {flags}"), code, "", &format!("X Exiting due to {name}: "));
        let said = minikube.run(scenario, &format!("start -p lab {flags} -o json"));
        let last: Value = serde_json::from_str(said.out.lines().last().expect("a line")).expect("an event");
        assert_eq!(last["type"], "io.k8s.sigs.minikube.error", "{scenario} {flags}");
        assert_eq!((&last["data"]["name"], &last["data"]["exitcode"]), (&json!(name), &json!(code.to_string())));
        // What ends again and again leaves its machine; of the rest nothing half-made is left.
        let left = if flags.contains("upscale-delay") { 7 } else { 85 };
        assert_eq!(minikube.run("", "status -p lab").code, left, "{scenario} {flags}");
    }
}

#[test]
fn start_speaks_cloud_events_whose_values_are_all_text() {
    let minikube = Minikube::alone();
    let knob = "--extra-config=controller-manager.horizontal-pod-autoscaler-sync-period=5s";
    let said = minikube.run("addon-fails", &format!("start -p lab --addons=metrics-server,nosuch {knob} -o json"));
    assert_eq!((said.code, said.err.as_str()), (0, ""), "an addon that fails is a warning");
    let events: Vec<Value> = said.out.lines().map(|line| serde_json::from_str(line).expect("an event")).collect();
    let ids: std::collections::BTreeSet<&str> = events.iter().filter_map(|event| event["id"].as_str()).collect();
    assert_eq!(ids.len(), events.len());
    for event in &events {
        assert_eq!(event["specversion"], "1.0");
        assert!(event["data"].as_object().expect("data").values().all(Value::is_string), "{event}");
    }
    let of = |kind: &str| {
        let kind = format!("io.k8s.sigs.minikube.{kind}");
        events.iter().filter(move |event| event["type"] == *kind).map(|event| &event["data"]).collect::<Vec<_>>()
    };
    assert!(of("step").iter().all(|data| data["totalsteps"] == "19"));
    assert_eq!(of("step").last().expect("a step")["name"], "Done");
    assert_eq!(of("info").len(), 1, "one line for each extra-config");
    assert!(of("warning").iter().any(|data| data["message"].as_str().expect("text").starts_with("Enabling 'metrics")));
}

#[test]
fn an_existing_profile_is_resumed_with_warnings_and_never_with_another_driver() {
    let minikube = Minikube::started();
    minikube.check("", "start -p lab", 0, "Using the docker driver based on existing profile", "");
    minikube.check("", "start -p lab --memory=5g", 0, "", "! You cannot change the memory size");
    minikube.check("", "start -p lab --driver=kvm2", 81, "", "X Exiting due to GUEST_DRIVER_MISMATCH");
}

#[test]
fn status_is_a_mask_and_an_object_an_array_or_null() {
    let minikube = Minikube::started();
    let said = minikube.run("", "status -p lab -o json");
    assert!(!said.out.ends_with('\n'), "no newline at the end");
    assert_eq!(serde_json::from_str::<Value>(&said.out).expect("JSON")["Kubeconfig"], "Configured");
    for mask in 1..=7 {
        assert_eq!(minikube.run(&format!("status-{mask}"), "-p lab status -o json").code, mask);
    }
    minikube.check("status-null", "status -p lab -o json", 7, "null", "E0223");
    minikube.check("", "status -p nosuch -o json", 85, "io.k8s.sigs.minikube.info", "");
    minikube.check("", "stop -p lab", 0, "1 node stopped.", "");
    assert_eq!(minikube.run("", "status -p lab").code, 7);

    let two = Minikube::alone();
    assert_eq!(two.run("", "start -p lab --nodes=2").code, 0);
    let nodes: Value = serde_json::from_str(&two.run("", "status -p lab -o json").out).expect("JSON");
    assert_eq!((&nodes[1]["Name"], &nodes[1]["APIServer"]), (&json!("lab-m02"), &json!("Irrelevant")));
}

#[test]
fn the_commands_of_a_profile_keep_their_traps() {
    let minikube = Minikube::started();
    minikube.check("", "profile list -o json", 0, "\"Status\":\"OK\"", "");
    minikube.check("status-word-running", "profile list -o json", 0, "\"Status\":\"Running\"", "");
    minikube.check("", "profile list --light -o json", 0, "\"Status\":\"Skipped\"", "");
    minikube.check("", "addons list -p nosuch -o json", 0, "\"metrics-server\":{}", "");
    minikube.check("", "addons enable nosuch -p lab", 10, "", "MK_ADDON_ENABLE");
    minikube.check("", "addons enable metrics-server -p nosuch", 85, "", "");
    minikube.check("", "addons enable metrics-server -p lab", 0, "The 'metrics-server' addon is enabled", "");
    minikube.check("", "ip -p nosuch", 85, "", "");
    minikube.check("", "delete -p nosuch", 0, "Removed all traces", "! \"nosuch\" profile does not exist");
    minikube.check("", "delete -p lab extra", 14, "", "");
    minikube.check("", "stop -p lab", 0, "", "");
    minikube.check("", "ip -p lab", 83, "", "GUEST_NOT_RUNNING");
    minikube.check("", "image ls -p lab --format json", 0, "[]", "");
    minikube.check("", "delete -p lab", 0, "Removed all traces", "");
    minikube.check("", "profile list -o json", 0, r#"{"invalid":[],"valid":[]}"#, "");
    minikube.check("", "profile list", 14, "", "MK_USAGE_NO_PROFILE");
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, *bytes).expect("an entry");
    }
    tar.into_inner().expect("a tar")
}

/// An archive that every runtime takes, and the tag in it.
fn archive(change: impl Fn(&mut Value, &mut Value)) -> Vec<u8> {
    let layer = tar(&[("hello", b"world")]);
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let mut config = json!({
        "architecture": architecture, "os": "linux",
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", hex(&layer))] },
    });
    let mut manifest = json!([{ "RepoTags": ["localhost/web:1"], "Layers": ["layer.tar"] }]);
    change(&mut config, &mut manifest);
    let config = config.to_string();
    let path = format!("{}.json", hex(config.as_bytes()));
    if manifest[0].get("Config").is_none() {
        manifest[0]["Config"] = json!(path);
    }
    tar(&[(&path, config.as_bytes()), ("layer.tar", &layer), ("manifest.json", manifest.to_string().as_bytes())])
}

#[test]
fn a_good_archive_is_listed_under_its_tag_and_digest() {
    let minikube = Minikube::started();
    let file = minikube.path("web.tar");
    std::fs::write(&file, archive(|_, _| ())).expect("written");
    minikube.check("", &format!("-p lab image load {}", file.display()), 0, "", "");
    let listed: Value = serde_json::from_str(&minikube.run("", "image ls --format json -p lab").out).expect("JSON");
    assert_eq!(listed[0]["repoTags"], json!(["localhost/web:1"]));
    assert!(listed[0]["size"].is_string() && listed[0]["id"].as_str().is_some_and(|id| id.starts_with("sha256:")));
}

#[test]
fn whatever_is_wrong_with_an_archive_load_exits_0_and_nothing_is_there() {
    let minikube = Minikube::started();
    let mut gzip = vec![0x1f, 0x8b];
    gzip.extend(archive(|_, _| ()));
    let cases: [(&str, Vec<u8>); 7] = [
        ("no tar", b"hello".to_vec()),
        ("gzip", gzip),
        ("no manifest", tar(&[("oci-layout", b"{}")])),
        ("no config", archive(|_, manifest| manifest[0]["Config"] = json!("nosuch.json"))),
        ("no layer", archive(|_, manifest| manifest[0]["Layers"] = json!(["nosuch.tar"]))),
        ("a wrong digest", archive(|config, _| config["rootfs"]["diff_ids"] = json!(["sha256:00"]))),
        ("another architecture", archive(|config, _| config["architecture"] = json!("s390x"))),
    ];
    for (what, bytes) in cases {
        let file = minikube.path("bad.tar");
        std::fs::write(&file, bytes).expect("written");
        let said = minikube.run("", &format!("image load -p lab {}", file.display()));
        assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (0, "", ""), "{what}");
        assert_eq!(minikube.images(), [""; 0], "{what}");
        let verbose = format!("image load -p lab {} --alsologtostderr", file.display());
        minikube.check("", &verbose, 0, "", "cache_images.go");
    }
}

#[test]
fn images_that_cannot_be_found_or_are_not_loaded_exit_0_too() {
    let minikube = Minikube::started();
    let file = minikube.path("web.tar");
    std::fs::write(&file, archive(|_, _| ())).expect("written");
    let load = format!("-p lab image load {}", file.display());
    let missing = minikube.run("", "-p lab image load ./missing.tar");
    assert_eq!((missing.code, missing.out.as_str(), missing.err.as_str()), (0, "", ""), "a path is not looked at");
    minikube.check("", "-p lab image load missing.tar", 0, "", "! The image 'missing.tar' was not found");
    minikube.check("load-nothing", &load, 0, "", "");
    minikube.check("load-old-stays", &load, 0, "", "");
    assert_eq!(minikube.images(), [""; 0]);
    minikube.check("", "-p nosuch image load x", 14, "", "cluster \"nosuch\" does not exist");
    minikube.check("", "-p lab image load", 14, "", "MK_USAGE");
    minikube.check("", "stop -p lab", 0, "", "");
    minikube.check("", &load, 0, "", "");
}

#[test]
fn every_argv_is_logged_as_it_was_given() {
    let minikube = Minikube::alone();
    minikube.run("", "-p lab status -o json");
    minikube.run("", "image ls --nonsense");
    let log = std::fs::read_to_string(minikube.path("log")).expect("the log");
    assert_eq!(log, "[\"-p\",\"lab\",\"status\",\"-o\",\"json\"]\n[\"image\",\"ls\",\"--nonsense\"]\n");
}

#[test]
fn behind_a_profile_runs_a_cluster_that_the_kubeconfig_names() {
    let nanokube = Path::new(env!("CARGO_BIN_EXE_minikube-stand-in")).with_file_name("nanokube");
    if !nanokube.is_file() {
        return eprintln!("there is no {}: the stand-in is not tried with a cluster", nanokube.display());
    }
    let minikube = Minikube { home: tempfile::tempdir().expect("a folder"), nanokube };
    let mut start = minikube.command("", "start -p lab --container-runtime=containerd --addons=metrics-server");
    // A daemon must not hold the test's pipes.
    let (out, err) = (minikube.path("out"), minikube.path("err"));
    let file = |path: &Path| Stdio::from(std::fs::File::create(path).expect("a file"));
    let status = start.stdin(Stdio::null()).stdout(file(&out)).stderr(file(&err)).status().expect("it runs");
    assert!(status.success(), "{}", std::fs::read_to_string(&err).expect("its errors"));

    let kubeconfig = std::fs::read_to_string(minikube.path("kubeconfig")).expect("a kubeconfig");
    let kubeconfig: Value = serde_yaml::from_str(&kubeconfig).expect("YAML");
    for pointer in ["/current-context", "/contexts/0/name", "/clusters/0/name", "/users/0/name"] {
        assert_eq!(kubeconfig.pointer(pointer), Some(&json!("lab")), "{pointer}");
    }
    assert!(minikube.run("", "ip -p lab").out.starts_with("127."));
    minikube.check("", "service list -p lab -o json", 0, "[", "");
    minikube.check("", "service nosuch -p lab --url", 115, "", "SVC_NOT_FOUND");
    minikube.check("", "delete -p lab", 0, "Removed all traces", "");
    let left = std::fs::read_to_string(minikube.path("kubeconfig")).expect("a kubeconfig");
    assert!(!left.contains("lab"), "{left}");
}
