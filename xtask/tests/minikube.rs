//! The Minikube path end to end, on the stand-in: same verbs, same scenario, same report as on the embedded cluster; and
//! the failures that people meet first, each followed by a setup that resumes.

// Helpers outside of `#[test]` functions fail a test by panicking too.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

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
        let mut command = self.program(env!("CARGO_BIN_EXE_xtask"), failing);
        command.args(args).args(["--profile", &self.profile]);
        command
    }

    /// What the user or the machine does to the profile behind the lab's back.
    #[track_caller]
    fn minikube(&self, failing: &str, line: &str) {
        let mut command = self.program(env!("CARGO_BIN_EXE_minikube-stand-in"), failing);
        let ended = command.args(line.split(' ')).args(["-p", &format!("swell-{}", self.profile)]);
        // Not `output()`: a daemon that it leaves behind would keep the pipe open.
        let told = self.home.path().join("told");
        let ended = ended.stdout(Stdio::null()).stderr(std::fs::File::create(&told).unwrap()).status().unwrap();
        assert!(ended.success(), "{line}\n{}", std::fs::read_to_string(told).unwrap());
    }

    fn program(&self, program: &str, failing: &str) -> Command {
        let home = self.home.path();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(std::iter::once(home.join("bin")).chain(std::env::split_paths(&path))).unwrap();
        let mut command = Command::new(program);
        command
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

    /// As a restart of the container engine leaves it: another port than the kubeconfig says.
    fn move_port(&self) {
        let path = self.home.path().join("kubeconfig");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(":6443"), "{text}");
        std::fs::write(&path, text.replace(":6443", ":1")).unwrap();
    }

    /// The archives of the service and of the load generator.
    fn archives(&self) -> [String; 2] {
        let images = self.home.path().join("images");
        self.succeed(&["image", "--dynamic", "--output", images.to_str().unwrap()]);
        let found: Vec<String> =
            std::fs::read_dir(&images).unwrap().flatten().map(|entry| entry.path().to_string_lossy().into()).collect();
        ["swell-service", "swell-loadgen"].map(|name| found.iter().find(|path| path.contains(name)).unwrap().clone())
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

fn with(mut command: Command, variable: &str, value: &str) -> Output {
    command.env(variable, value).output().unwrap()
}

/// The archive under another tag, one label richer.
fn retagged(archive: &str, tag: &str, label: &str, to: &Path) -> String {
    use sha2::Digest;
    use std::io::Read;
    let mut made = tar::Builder::new(std::fs::File::create(to).unwrap());
    let mut config_path = String::new();
    for entry in tar::Archive::new(std::fs::File::open(archive).unwrap()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut path = entry.path().unwrap().to_string_lossy().into_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        if path == "manifest.json" {
            let mut manifest: Value = serde_json::from_slice(&bytes).unwrap();
            (manifest[0]["RepoTags"], manifest[0]["Config"]) = (serde_json::json!([tag]), config_path.clone().into());
            bytes = manifest.to_string().into_bytes();
        } else if path.ends_with(".json") {
            let mut config: Value = serde_json::from_slice(&bytes).unwrap();
            config["config"]["Labels"]["edition"] = label.into();
            bytes = config.to_string().into_bytes();
            let digest: String = sha2::Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            path = format!("{digest}.json");
            config_path.clone_from(&path);
        }
        let mut header = entry.header().clone();
        header.set_size(bytes.len() as u64);
        made.append_data(&mut header, path, &bytes[..]).unwrap();
    }
    made.finish().unwrap();
    to.to_string_lossy().into_owned()
}

/// What people meet first, each with the words and the remedy that it gets.
#[test]
fn every_failure_of_a_start_is_said_with_the_command_that_mends_it() {
    let lab = Lab::new("mk-fail");
    let cases: [(&str, &[&str]); 16] = [
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
        ("downgrade", &[]),
        ("offline", &[]),
        ("profile-list-fails", &[]),
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
        downgrade
        error: minikube start ended with K8S_DOWNGRADE_UNSUPPORTED: Unable to safely downgrade existing Kubernetes v1.35.1 cluster to v1.34.0
          try: cargo xtask teardown --profile PROFILE   (then set up again: a cluster keeps the Kubernetes that it was made with)
        offline
        error: minikube start ended with INET_CACHE_KUBECTL: Failed to cache kubectl: dial tcp: lookup dl.k8s.io: no such host; Minikube advises: Check your firewall rules and proxy
          try: cargo xtask setup --profile PROFILE   (once the internet is reached; behind a proxy, with HTTPS_PROXY and NO_PROXY set)
        profile-list-fails
        error: minikube profile list failed: open config.json: permission denied
          try: minikube profile list
    "#]].assert_eq(&all);
    // What never came to be does not keep the profile from going elsewhere.
    let elsewhere = lab.run("", &["setup", "--cluster", "context=nowhere"]);
    assert!(!told(&elsewhere).contains("is set up on minikube"), "{}", told(&elsewhere));
    let unknown = lab.command("", &["setup", "--cluster", "minikube", "--quiet"]);
    let refused =
        with(unknown, "MINIKUBE_EXTRA_CONFIG", "controller-manager.horizontal-pod-autoscaler-downscale-delay=1s");
    expect_test::expect![[r#"

        error: Minikube profile `swell-PROFILE` does not come up: its control plane refuses --horizontal-pod-autoscaler-downscale-delay, which --extra-config set, and ends again and again
          try: cargo xtask teardown --profile PROFILE   (then set up again, without it in MINIKUBE_EXTRA_CONFIG)
    "#]].assert_eq(&told(&refused).replace(&lab.profile, "PROFILE"));
    lab.succeed(&["teardown"]);
    let path = std::env::temp_dir();
    let absent = lab.command("", &["setup", "--cluster", "minikube"]).env("PATH", path).output().unwrap();
    assert!(told(&absent).contains("`minikube` is not installed, or not on PATH\n  try: "), "{}", told(&absent));
}

#[test]
fn the_lab_runs_on_minikube_and_resumes_after_its_commonest_failures() {
    let lab = Lab::new("mk");
    let [archive, _] = lab.archives();
    let setup = ["setup", "--cluster", "minikube", "--pace", "fast", "--image", &archive];

    lab.fail("docker-down", &setup, &["PROVIDER_DOCKER_NOT_RUNNING", "try: sudo systemctl start docker"]);
    lab.fail("load-nothing", &setup, &["does not list localhost/swell-service:", "try: minikube image load"]);
    let resumed = lab.succeed(&setup);
    assert!(resumed.contains("same  cluster"), "{resumed}");
    let again = lab.succeed(&["setup", "--image", &archive]);
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

/// What comes about before a verb is tried, and what it is tried with.
struct Case<'c> {
    what: &'c str,
    /// To be given to Minikube first, and what it is to get wrong then.
    before: &'c [(&'c str, &'c str)],
    /// What Minikube gets wrong while the verb runs.
    failing: &'c str,
    verb: &'c [&'c str],
}

#[test]
fn what_goes_wrong_after_the_start_is_said_with_the_command_that_mends_it() {
    let lab = Lab::new("mk-after");
    let [archive, other] = lab.archives();
    let setup = ["setup", "--quiet", "--cluster", "minikube", "--pace", "fast", "--nodes", "2", "--image", &archive];
    let quick = ["setup", "--quiet", "--timeout", "5s", "--image", &archive];
    let patient = ["setup", "--quiet", "--image", &archive];
    let load = ["setup", "--quiet", "--image", &other];
    let scratch = tempfile::tempdir().unwrap();
    let edition = |label: &str| retagged(&archive, "web:1", label, &scratch.path().join(format!("{label}.tar")));
    let (first, second) = (edition("first"), edition("second"));
    let [first_edition, second_edition] = [&first, &second].map(|it| ["setup", "--quiet", "--image", it.as_str()]);
    let case = |what, before, failing, verb| Case { what, before, failing, verb };
    let enable = "addons enable metrics-server";
    let (unreachable, unpulled, unready, well) = (
        [("metrics-unreachable", enable)],
        [("metrics-not-pulled", enable)],
        [("metrics-not-ready", enable)],
        [("", enable)],
    );
    let cases = [
        case("the addon is refused", &[], "addon-disabled,addon-refused", &setup),
        case("the doctor looks", &[], "", &["doctor", "--quiet"]),
        case("the doctor enables it", &[], "", &["doctor", "--quiet", "--fix"]),
        case("set up", &[], "", &setup),
        case("other sizes are asked for", &[], "", &["setup", "--quiet", "--cpus", "7", "--memory", "4096m"]),
        case("load: nothing is loaded", &[], "load-nothing", &load),
        case("load: the old image stays", &[], "load-old-stays", &load),
        case("load: the disk is full", &[], "load-disk-full", &load),
        case("load: one node lacks it", &[], "load-first-node-only", &load),
        case("an image of a short name", &[], "", &first_edition),
        case("its next edition: the old stays", &[], "load-old-stays", &second_edition),
        case("its next edition", &[], "", &second_edition),
        case("its next edition again", &[], "", &second_edition),
        case("metrics: unreachable", &unreachable, "", &quick),
        case("metrics: no image", &unpulled, "", &patient),
        case("metrics: not ready", &unready, "", &quick),
        case("metrics: well again", &well, "", &patient),
        case("services are not listed", &[], "service-list-fails", &["status", "--quiet"]),
        case("the node is out of reach", &[], "no-urls", &["status", "--quiet"]),
        case("paused", &[("", "pause")], "", &["load", "--quiet", "--rate", "1", "--duration", "1s"]),
        case("set up, paused", &[], "", &["setup", "--quiet"]),
        case("paused and stays so", &[("", "pause")], "unpause-fails", &["setup", "--quiet"]),
        case("at real pace", &[], "", &["setup", "--quiet", "--pace", "real"]),
        case("stopped", &[("", "stop")], "", &["status", "--quiet"]),
        case("stopped", &[], "", &["watch", "--quiet", "--for", "1s"]),
        case("its machine is gone", &[], "status-null", &["status", "--quiet"]),
        case("Docker is down", &[], "docker-down", &["status", "--quiet"]),
        case("the doctor starts it", &[], "", &["doctor", "--quiet", "--fix"]),
        case("another driver", &[], "", &["setup", "--quiet", "--driver", "kvm2"]),
        case("moved to another port", &[], "moved", &["status", "--quiet"]),
        case("the doctor finds it", &[], "", &["doctor", "--fix"]),
        case("set up, moved", &[], "moved", &["setup", "--quiet"]),
        case("deleted", &[("", "delete")], "", &["status", "--quiet"]),
        case("torn down, deleted", &[], "", &["teardown", "--quiet"]),
    ];
    let mut all = String::new();
    for Case { what, before, failing, verb } in cases {
        before.iter().for_each(|(failing, line)| lab.minikube(failing, line));
        let failing = if failing == "moved" {
            lab.move_port();
            ""
        } else {
            failing
        };
        let output = lab.run(failing, verb);
        let mut said = String::from_utf8_lossy(&output.stderr).into_owned();
        // Of the doctor's findings those that follow from the case alone; the machine's are its own.
        let told = String::from_utf8_lossy(&output.stdout);
        let of_the_case = |line: &&str| {
            ["fixed ", "WRONG cluster", "WRONG metrics API", "service    cargo"].iter().any(|it| line.contains(it))
        };
        told.lines().filter(of_the_case).for_each(|line| said.push_str(&format!("{}\n", line.trim())));
        said =
            [(&*lab.profile, "PROFILE"), (&archive, "SERVICE.tar"), (&other, "LOADGEN.tar"), (&second, "SECOND.tar")]
                .iter()
                .fold(said, |said, (from, to)| said.replace(from, to));
        let code = output.status.code().unwrap();
        all.push_str(&format!("{what}: {} {code}\n{said}", verb[0]));
    }
    let commands = lab.commands();
    let last = commands.lines().rfind(|line| line.contains("extra-config")).unwrap();
    for knob in ["sync-period=15s", "cpu-initialization-period=300s", "initial-readiness-delay=30s"] {
        assert!(last.contains(knob), "{last}");
    }
    let tag = other.rsplit('-').next().unwrap().trim_end_matches(".tar");
    expect_test::expect![[r#"
        the addon is refused: setup 1
        error: minikube addons enable metrics-server failed: MK_ADDON_ENABLE: enable failed: run callbacks: running callbacks: [sudo kubectl apply: Process exited with status 1]
          try: minikube addons enable metrics-server -p swell-PROFILE --alsologtostderr
        the doctor looks: doctor 1
        WRONG metrics API        the cluster has no metrics API (APIService v1beta1.metrics.k8s.io is missing)
        the doctor enables it: doctor 1
        fixed metrics API        minikube addons enable metrics-server -p swell-PROFILE   (was: the cluster has no metrics API (APIService v1beta1.metrics.k8s.io is missing))
        set up: setup 0
        other sizes are asked for: setup 0
        note: --cpus 7 changes no existing cluster: profile `swell-PROFILE` has 2 (to make it anew: cargo xtask teardown, then setup)
        load: nothing is loaded: setup 1
        error: minikube says that it loaded the image, but does not list localhost/swell-loadgen:TAG
          try: minikube image load LOADGEN.tar -p swell-PROFILE --alsologtostderr
        load: the old image stays: setup 1
        error: minikube says that it loaded the image, but does not list localhost/swell-loadgen:TAG
          try: minikube image load LOADGEN.tar -p swell-PROFILE --alsologtostderr
        load: the disk is full: setup 1
        error: minikube says that it loaded the image, but does not list localhost/swell-loadgen:TAG (Failed to load LOADGEN.tar: loading image: containerd: write /var/lib/minikube/images: no space left on device)
          try: minikube ssh -p swell-PROFILE -- sudo crictl rmi --prune   (removes unused images from its node)
        load: one node lacks it: setup 1
        error: minikube loaded localhost/swell-loadgen:TAG into some nodes, and node swell-PROFILE-m02 does not list it
          try: minikube cp LOADGEN.tar swell-PROFILE-m02:/image.tar -p swell-PROFILE && minikube ssh -p swell-PROFILE -n swell-PROFILE-m02 -- sudo ctr -n=k8s.io images import /image.tar
        an image of a short name: setup 0
        its next edition: the old stays: setup 1
        error: minikube says that it loaded the image, but still lists another one as web:1
          try: minikube image rm web:1 -p swell-PROFILE && minikube image load SECOND.tar -p swell-PROFILE
        its next edition: setup 0
        its next edition again: setup 0
        metrics: unreachable: setup 1
        error: the API server does not reach metrics-server (FailedDiscoveryCheck): cannot connect to ADDRESS: Connection refused (os error 111)
          try: minikube stop -p swell-PROFILE && minikube start -p swell-PROFILE   (behind a proxy, with NO_PROXY=10.96.0.0/12)
        metrics: no image: setup 1
        error: metrics-server gets no image, so nothing is measured: ImagePullBackOff: Back-off pulling image "registry.k8s.io/metrics-server/metrics-server:v0.8.1": ErrImagePull: Failed to pull image "registry.k8s.io/metrics-server/metrics-server:v0.8.1": this node pulls from no registry; load the image with `nanokube image load FILE`
          try: minikube image load registry.k8s.io/metrics-server/metrics-server:v0.8.1 -p swell-PROFILE   (where a registry can be reached)
        metrics: not ready: setup 1
        error: metrics-server runs and does not become ready (Running), so nothing is measured
          try: kubectl --context swell-PROFILE -n kube-system rollout restart deployment metrics-server
        metrics: well again: setup 0
        services are not listed: status 0
        service    cargo xtask forward --profile PROFILE
        the node is out of reach: status 0
        service    cargo xtask forward --profile PROFILE
        paused: load 1
        error: Minikube profile `swell-PROFILE`: it is paused
          try: minikube unpause -p swell-PROFILE
        set up, paused: setup 0
        paused and stays so: setup 0
        at real pace: setup 0
        stopped: status 1
        error: Minikube profile `swell-PROFILE`: it is stopped
          try: cargo xtask setup --profile PROFILE   (starts it again)
        stopped: watch 1
        error: Minikube profile `swell-PROFILE`: it is stopped
          try: cargo xtask setup --profile PROFILE   (starts it again)
        its machine is gone: status 1
        error: Minikube profile `swell-PROFILE`: its container or virtual machine is gone
          try: cargo xtask setup --profile PROFILE   (makes it again)
        Docker is down: status 1
        error: Minikube profile `swell-PROFILE`: minikube status ended with exit code 80: GUEST_STATUS: status error: host: state: docker container inspect: Cannot connect to the Docker daemon
          try: sudo systemctl start docker
        the doctor starts it: doctor 0
        fixed cluster            minikube start --interactive=false --keep-context -p swell-PROFILE   (was: Minikube profile `swell-PROFILE`: it is stopped)
        another driver: setup 1
        error: Minikube profile `swell-PROFILE`: it exists with driver docker, and kvm2 was asked for
          try: cargo xtask setup --cluster minikube --driver docker   (or another --profile)
        moved to another port: status 1
        error: Minikube profile `swell-PROFILE`: the kubeconfig points to where it was before its restart
          try: minikube update-context -p swell-PROFILE
        the doctor finds it: doctor 1
        fixed cluster            minikube update-context -p swell-PROFILE   (was: Minikube profile `swell-PROFILE`: the kubeconfig points to where it was before its restart)
        set up, moved: setup 0
        deleted: status 1
        error: Minikube profile `swell-PROFILE`: there is no such profile
          try: cargo xtask setup --profile PROFILE
        torn down, deleted: teardown 0
    "#]].assert_eq(&without_address(&all.replace(tag, "TAG")));
}

/// Every cluster has addresses of its own.
fn without_address(text: &str) -> String {
    let Some((before, after)) = text.split_once("connect to 127.") else { return text.to_owned() };
    format!("{before}connect to ADDRESS{}", &after[after.find(": ").unwrap()..])
}
