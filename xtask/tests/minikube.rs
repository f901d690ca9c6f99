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
    fn new() -> Lab {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("bin")).unwrap();
        symlink(env!("CARGO_BIN_EXE_minikube-stand-in"), home.path().join("bin/minikube")).unwrap();
        Lab { home, profile: format!("mk-{}", std::process::id()) }
    }

    /// `failing`: what the stand-in is told to get wrong.
    fn run(&self, failing: &str, args: &[&str]) -> Output {
        let home = self.home.path();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(std::iter::once(home.join("bin")).chain(std::env::split_paths(&path))).unwrap();
        Command::new(env!("CARGO_BIN_EXE_xtask"))
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
            .stdin(Stdio::null())
            .output()
            .unwrap()
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

#[test]
fn the_lab_runs_on_minikube_and_resumes_after_its_commonest_failures() {
    let lab = Lab::new();
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
