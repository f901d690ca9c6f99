//! The Minikube path end to end, on the stand-in: same verbs, same scenario, same report as on the embedded cluster; and
//! the failures that people meet first, each followed by a setup that resumes.

// Helpers outside of `#[test]` functions fail a test by panicking too.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output, Stdio};

struct Lab {
    /// Holds the stand-in under its name, its state, and the kubeconfig that it writes.
    home: tempfile::TempDir,
    profile: String,
}

impl Lab {
    fn new(name: &str) -> Lab {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("bin")).unwrap();
        symlink(env!("CARGO_BIN_EXE_minikube-stand-in"), home.path().join("bin/minikube")).unwrap();
        Lab { home, profile: format!("{name}-{}", std::process::id()) }
    }

    /// `failing`: what the stand-in is told to get wrong.
    fn run(&self, failing: &str, args: &[&str]) -> Output {
        self.command(failing, args).output().unwrap()
    }

    fn command(&self, failing: &str, args: &[&str]) -> Command {
        let home = self.home.path();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(std::iter::once(home.join("bin")).chain(std::env::split_paths(&path))).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command
            .args(args)
            .args(["--profile", &self.profile])
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap())
            .env("PATH", path)
            .env("MINIKUBE_HOME", home)
            .env("KUBECONFIG", home.join("kubeconfig"))
            .env("MINIKUBE_STAND_IN_SCENARIO", failing)
            .env("MINIKUBE_STAND_IN_LOG", home.join("log"))
            .env("MINIKUBE_STAND_IN_METRICS", "2s")
            .env("MINIKUBE_STAND_IN_NANOKUBE", Path::new(env!("CARGO_BIN_EXE_xtask")).with_file_name("nanokube"))
            .stdin(Stdio::null());
        command
    }

    #[track_caller]
    fn succeed(&self, args: &[&str]) -> String {
        let output = self.run("", args);
        assert!(output.status.success(), "{args:?} ended with {}\n{}", output.status, told(&output));
        told(&output)
    }

    #[track_caller]
    fn fail(&self, failing: &str, args: &[&str], words: &[&str]) {
        let output = self.run(failing, args);
        let told = told(&output);
        assert_eq!(output.status.code(), Some(1), "{failing}\n{told}");
        for word in words {
            assert!(told.contains(word), "{failing}: {word} is not said\n{told}");
        }
    }

    fn commands(&self) -> String {
        std::fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.run("", &["teardown", "--quiet"]);
    }
}

fn told(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What people meet first, each with the words and the remedy that it gets.
#[test]
fn every_failure_of_a_start_is_said_with_the_command_that_mends_it() {
    let lab = Lab::new("mk-fail");
    let cases: [(&str, &[&str]); 13] = [
        ("docker-missing", &[]),
        ("docker-down", &[]),
        ("docker-denied", &[]),
        ("no-driver", &[]),
        ("as-root", &[]),
        ("memory-over-system", &[]),
        ("memory-over-docker", &[]),
        ("", &["--memory", "500m"]),
        ("", &["--cpus", "1"]),
        ("virtualization-off", &[]),
        ("disk-full", &[]),
        ("wait-timeout", &[]),
        ("", &["--driver", "hyperkit"]),
    ];
    let mut all = String::new();
    for (failing, flags) in cases {
        let args = [&["setup", "--cluster", "minikube", "--quiet"], flags].concat();
        let output = lab.run(failing, &args);
        assert_eq!(output.status.code(), Some(1), "{failing} {flags:?}\n{}", told(&output));
        let said = String::from_utf8_lossy(&output.stderr).replace(&lab.profile, "PROFILE");
        all.push_str(&format!("{failing}{}\n{said}", flags.join(" ")));
    }
    expect_test::expect![[r#"
        docker-missing
        error: minikube start ended with PROVIDER_DOCKER_NOT_FOUND: The 'docker' provider was not found: exec: "docker": executable file not found in $PATH; Minikube advises: Install Docker
          try: cargo xtask setup --profile PROFILE --cluster embedded   (which needs none; or install one: https://docs.docker.com/engine/install/)
        docker-down
        error: minikube start ended with PROVIDER_DOCKER_NOT_RUNNING: "docker version --format <no value>-<no value>:<no value>" exit status 1: Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?; Minikube advises: Start the Docker service
          try: sudo systemctl start docker
        docker-denied
        error: minikube start ended with PROVIDER_DOCKER_NEWGRP: "docker version" exit status 1: dial unix /var/run/docker.sock: connect: permission denied; Minikube advises: Add your user to the 'docker' group: 'sudo usermod -aG docker $USER && newgrp docker'
          try: sudo usermod -aG docker $USER   (then log in again)
        no-driver
        error: minikube start ended with DRV_NOT_DETECTED: No possible driver was detected. Try specifying --driver, or see https://minikube.sigs.k8s.io/docs/start/
          try: cargo xtask setup --profile PROFILE --cluster embedded   (which needs none; or install one: https://docs.docker.com/engine/install/)
        as-root
        error: minikube start ended with DRV_AS_ROOT: The "docker" driver should not be used with root privileges.
          try: cargo xtask setup --profile PROFILE --cluster embedded   (or run this as an ordinary user: the docker driver refuses root)
        memory-over-system
        error: minikube start ended with RSRC_OVER_ALLOC_MEM: Requested memory allocation 4096MB is more than your system limit 3934MB.; Minikube advises: Start minikube with less memory allocated: 'minikube start --memory=3072mb'
          try: cargo xtask setup --profile PROFILE --cluster minikube --memory 1900m   (or give Docker or the machine more)
        memory-over-docker
        error: minikube start ended with MK_USAGE: Docker Desktop has only 1975MB memory but you specified 4096MB
          try: cargo xtask setup --profile PROFILE --cluster minikube --memory 1900m   (or give Docker or the machine more)
        --memory 500m
        error: minikube start ended with RSRC_INSUFFICIENT_REQ_MEMORY: Requested memory allocation 500MiB is less than the usable minimum of 1800MB
          try: cargo xtask setup --profile PROFILE --cluster minikube --memory 4g   (1800 MiB are the least)
        --cpus 1
        error: minikube start ended with RSRC_INSUFFICIENT_CORES: Requested cpu count 1 is not between 2 and the available 2
          try: cargo xtask setup --profile PROFILE --cluster minikube --cpus 2   (or give the virtual machine more)
        virtualization-off
        error: minikube start ended with HOST_VIRT_UNAVAILABLE: Failed to start host: This computer doesn't have VT-X/AMD-v enabled; Minikube advises: Enable virtualization in the firmware, or use another driver: --driver=docker
          try: cargo xtask setup --profile PROFILE --cluster minikube --driver docker   (or enable virtualisation in the firmware)
        disk-full
        error: minikube start ended with RSRC_DOCKER_STORAGE: Docker is out of disk space! (/var is at 100% of capacity).; Minikube advises: Try running: docker system prune
          try: docker system prune   (the disk is full)
        wait-timeout
        error: minikube start ended with GUEST_START: failed to start node: wait 6m0s for node: wait for healthy API server
          try: minikube logs -p swell-PROFILE --problems   (what cannot be saved: minikube delete -p swell-PROFILE)
        --driver hyperkit
        error: minikube start ended with DRV_UNSUPPORTED_OS: The driver 'hyperkit' is not supported on linux/amd64
          try: cargo xtask setup --profile PROFILE --cluster minikube --driver docker
    "#]].assert_eq(&all);
    // What never came to be does not keep the profile from going elsewhere.
    let elsewhere = lab.run("", &["setup", "--cluster", "context=nowhere"]);
    assert!(!told(&elsewhere).contains("is set up on minikube"), "{}", told(&elsewhere));
    let path = std::env::temp_dir();
    let absent = lab.command("", &["setup", "--cluster", "minikube"]).env("PATH", path).output().unwrap();
    assert!(told(&absent).contains("`minikube` is not installed, or not on PATH\n  try: "), "{}", told(&absent));
}

#[test]
fn the_lab_runs_on_minikube_and_resumes_after_its_commonest_failures() {
    let lab = Lab::new("mk");
    let images = lab.home.path().join("images");
    lab.succeed(&["image", "--dynamic", "--output", images.to_str().unwrap()]);
    let archive = std::fs::read_dir(&images).unwrap().flatten().map(|entry| entry.path());
    let archive = archive.into_iter().find(|path| path.to_string_lossy().contains("swell-service")).unwrap();
    let setup = ["setup", "--cluster", "minikube", "--pace", "fast", "--image", archive.to_str().unwrap()];

    lab.fail("docker-down", &setup, &["PROVIDER_DOCKER_NOT_RUNNING", "try: sudo systemctl start docker"]);
    lab.fail("load-nothing", &setup, &["does not list localhost/swell-service:", "try: minikube image load"]);
    let resumed = lab.succeed(&setup);
    assert!(resumed.contains("same  cluster"), "{resumed}");
    let again = lab.succeed(&["setup", "--image", archive.to_str().unwrap()]);
    assert!(!again.contains("  done "), "a second setup acted:\n{again}");
    let other_driver: Vec<&str> = setup.iter().copied().chain(["--driver", "kvm2"]).collect();
    lab.fail("", &other_driver, &["kvm2 was asked for", "--driver "]);

    let load = lab.run("", &["load", "--rate", "10", "--duration", "3s"]);
    assert!(matches!(load.status.code(), Some(0 | 3)), "{}", told(&load));
    assert!(told(&load).contains("lost 0"), "{}", told(&load));
    lab.succeed(&["teardown"]);
    let commands = lab.commands();
    assert!(
        commands.contains("--extra-config=controller-manager.horizontal-pod-autoscaler-sync-period=5s"),
        "{commands}"
    );
    assert!(commands.contains("\"delete\""), "{commands}");
    assert!(!commands.contains("--all") && !commands.contains("--purge"), "{commands}");
}
