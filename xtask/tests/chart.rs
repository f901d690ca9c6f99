//! The chart's life on the embedded cluster, by the real helm: installed with the adapter, tested, upgraded, rolled back,
//! removed. Without a helm on PATH it says so and ends.

// Helpers outside of `#[test]` functions fail a test by panicking too.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

/// A cluster of a profile of its own, torn down whatever happens.
struct Lab(String);

impl Lab {
    fn xtask(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(args).args(["--profile", &self.0]).current_dir(root());
        command
    }

    fn dir(&self) -> PathBuf {
        root().join(".swell/clusters").join(&self.0)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.xtask(&["teardown", "--quiet"]).output();
    }
}

#[test]
fn helm_installs_tests_upgrades_and_removes_the_chart() {
    if Command::new("helm").arg("version").output().is_err() {
        eprintln!("helm is not installed: the chart is not tried on a cluster");
        return;
    }
    let lab = Lab(format!("chart-{}", std::process::id()));
    run(&mut lab.xtask(&["setup", "--cluster", "embedded", "--pace", "fast"]));
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    run(&mut lab.xtask(&["image", "--dynamic", "--output", at("images").to_str().unwrap()]));
    let nanokube = Path::new(env!("CARGO_BIN_EXE_xtask")).with_file_name("nanokube");
    let mut values = vec!["customMetrics.enabled=true".to_owned()];
    for archive in std::fs::read_dir(at("images")).unwrap().map(|entry| entry.unwrap().path()) {
        run(Command::new(&nanokube).arg("--dir").arg(lab.dir()).args(["image", "load"]).arg(&archive));
        let (name, tag) = archive.file_stem().unwrap().to_str().unwrap().rsplit_once('-').unwrap();
        values.push(match name {
            "swell-service" => format!("image.tag={tag}"),
            "swell-loadgen" => format!("test.image=localhost/{name}:{tag}"),
            _ => format!("customMetrics.image=localhost/{name}:{tag}"),
        });
    }
    let helm = |words: &str| {
        let mut command = Command::new("helm");
        command.args(words.split(' ')).args(["-n", "swell-staging"]).current_dir(root().join("k8s/chart"));
        command.env("KUBECONFIG", lab.dir().join("kubeconfig"));
        for (name, folder) in [("HELM_CACHE_HOME", "cache"), ("HELM_CONFIG_HOME", "config"), ("HELM_DATA_HOME", "data")]
        {
            command.env(name, at(folder));
        }
        run(&mut command)
    };
    let set = values.join(",");
    let staging = format!("swell . -f values-staging.yaml --set {set} --wait --timeout 120s");
    let notes = helm(&format!("install {staging} --create-namespace"));
    assert!(notes.contains("swell-service runs as swell in swell-staging (staging)"), "{notes}");
    assert!(helm("test swell --timeout 60s").contains("Succeeded"));
    helm(&format!("upgrade {staging} -f values-fast.yaml"));
    assert!(helm("get manifest swell").contains("stabilizationWindowSeconds: 10"));
    helm("rollback swell 1 --wait --timeout 120s");
    assert!(helm("get manifest swell").contains("stabilizationWindowSeconds: 300"));
    helm("uninstall swell --wait --timeout 60s");
}
