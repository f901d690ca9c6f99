//! Our archives in real engines: skopeo, podman, and containerd with runc. What is not installed is named and left out.
//!
//! The packed binaries are programs of this machine (`id`) and one built here (a resolver), so that these tests need
//! neither the service nor the load generator. The resolver proves what is said to fail: a static glibc binary that
//! resolves names in a container without any library.

use std::net::UdpSocket;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::build::StaticLibcMissing;
use super::*;

/// The output of a command that must succeed; nothing, and a line that says so, when the program is not installed.
#[track_caller]
fn run(program: &str, args: &[&str]) -> Option<String> {
    let output = outcome(program, args)?;
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {}\n{error}", output.status);
    Some(String::from_utf8(output.stdout).expect("text"))
}

fn outcome(program: &str, args: &[&str]) -> Option<Output> {
    match Command::new(program).args(args).output() {
        Ok(output) => Some(output),
        Err(_) => {
            eprintln!("{program} is not installed: archives are not tried with it");
            None
        }
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

fn packed(name: &str, binary: &str, directory: &Path) -> PackedImage {
    pack(name, Path::new(binary), directory).expect("packed")
}

#[test]
fn skopeo_reads_it_and_verifies_every_digest() {
    let directory = tempfile::tempdir().expect("a folder");
    let image = packed("swell-service", "/usr/bin/id", directory.path());
    let source = format!("docker-archive:{}", image.archive.display());
    let Some(text) = run("skopeo", &["inspect", "--config", &source]) else { return };
    let config: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(config["config"]["User"], "65532:65532");
    assert_eq!(config["config"]["Entrypoint"], json!(["/swell-service"]));
    assert_eq!(config["architecture"], image.architecture);
    let copy = format!("oci:{}/oci:tag", directory.path().display());
    run("skopeo", &["copy", "--quiet", "--insecure-policy", &source, &copy]);
}

#[test]
fn podman_lists_it_under_our_name_and_digest() {
    let directory = tempfile::tempdir().expect("a folder");
    let image = packed("swell-service", "/usr/bin/id", directory.path());
    let at = |name: &str| directory.path().join(name).display().to_string();
    let podman = |args: &[&str]| {
        let (root, runroot) = (at("root"), at("run"));
        let store = ["--root", &root, "--runroot", &runroot, "--storage-driver", "vfs"];
        outcome("podman", &[&store, args].concat())
    };
    let Some(loaded) = podman(&["load", "-i", &image.archive.display().to_string()]) else { return };
    let error = String::from_utf8_lossy(&loaded.stderr);
    if !loaded.status.success() && !is_root() {
        return eprintln!("podman cannot work for this user here, so it is not tried: {}", error.trim());
    }
    assert!(loaded.status.success(), "{error}");
    let listed = podman(&["images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"]).expect("podman");
    let listed = String::from_utf8_lossy(&listed.stdout).trim().to_owned();
    assert_eq!(listed, format!("{} sha256:{}", image.reference, image.config_digest));
}

/// A containerd of our own, with its own store and socket.
struct Containerd {
    process: Child,
    directory: tempfile::TempDir,
}

impl Containerd {
    fn start() -> Option<Containerd> {
        if !is_root() {
            eprintln!("containerd needs root: archives are not tried with it");
            return None;
        }
        let directory = tempfile::tempdir().expect("a folder");
        let at = |name: &str| directory.path().join(name).display().to_string();
        let config = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
             [grpc]\n  address = {:?}\n",
            at("root"),
            at("state"),
            at("sock"),
        );
        std::fs::write(at("config.toml"), config).expect("written");
        let started = Command::new("containerd").args(["-c", &at("config.toml")]).stderr(Stdio::null()).spawn();
        let Ok(process) = started else {
            eprintln!("containerd is not installed: archives are not tried with it");
            return None;
        };
        let this = Containerd { process, directory };
        let deadline = Instant::now() + Duration::from_secs(30);
        while !this.ctr(&["version"]).status.success() {
            assert!(Instant::now() < deadline, "containerd did not come up");
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(this)
    }

    fn ctr(&self, args: &[&str]) -> Output {
        let socket = self.directory.path().join("sock").display().to_string();
        let args = [&["--address", &socket, "--namespace", "k8s.io"], args].concat();
        Command::new("ctr").args(args).output().expect("ctr comes with containerd")
    }

    fn import(&self, image: &PackedImage) {
        let archive = image.archive.display().to_string();
        let imported = self.ctr(&["images", "import", "--snapshotter", "native", &archive]);
        assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
        let listed = self.ctr(&["images", "list", "--quiet"]);
        assert_eq!(String::from_utf8_lossy(&listed.stdout).trim(), image.reference);
    }

    /// What the image prints when it runs. Nothing, and a line that says so, where containers may not be started.
    /// `ctr run` can lose what a program prints that ends at once, so an empty answer is asked for again.
    fn run(&self, image: &PackedImage) -> Option<String> {
        let run = |attempt: u32| {
            let name = format!("under-test-{attempt}");
            allowed(self.ctr(&["run", "--rm", "--snapshotter", "native", "--net-host", &image.reference, &name]))
        };
        (0..8).map(run).find(|printed| printed.as_ref().is_none_or(|text| !text.trim().is_empty())).unwrap_or_default()
    }
}

/// What a container printed, unless containers may not be started here.
#[track_caller]
fn allowed(output: Output) -> Option<String> {
    let error = String::from_utf8_lossy(&output.stderr).to_lowercase();
    let forbidden = ["operation not permitted", "permission denied", "cgroup"];
    if !output.status.success() && forbidden.iter().any(|text| error.contains(text)) {
        eprintln!("containers may not run here, so the image is not run: {}", error.trim());
        return None;
    }
    assert!(output.status.success(), "{error}");
    Some(String::from_utf8(output.stdout).expect("text"))
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
    }
}

#[test]
fn containerd_runs_a_dynamic_binary_as_our_user_with_the_libraries_it_took_along() {
    let Some(containerd) = Containerd::start() else { return };
    let directory = tempfile::tempdir().expect("a folder");
    let image = packed("swell-service", "/usr/bin/id", directory.path());
    assert!(!image.is_static, "this test wants a dynamic binary");
    containerd.import(&image);
    let Some(printed) = containerd.run(&image) else { return };
    assert_eq!(printed.trim(), "uid=65532(swell) gid=65532(swell) groups=65532(swell)");
}

#[test]
fn a_static_binary_resolves_names_under_runc_without_any_library() {
    if let Some(StaticLibcMissing { why, .. }) = static_libc_missing() {
        return eprintln!("{why}: the static resolver is not tried");
    }
    let directory = tempfile::tempdir().expect("a folder");
    let image = packed("swell-loadgen", &resolver(directory.path()), directory.path());
    assert!(image.is_static);
    let Some(name_server) = NameServer::start() else { return };
    let bundle = directory.path().join("bundle");
    unpack(&image, &bundle.join("rootfs"));
    let resolv_conf =
        format!("nameserver {}\nsearch lab.svc.cluster.local svc.cluster.local\noptions ndots:5\n", name_server.ip);
    std::fs::write(bundle.join("rootfs/etc/resolv.conf"), resolv_conf).expect("written");
    std::fs::write(bundle.join("rootfs/etc/hosts"), "127.0.0.7 from-hosts\n").expect("written");
    let config = bundle_config(&["/swell-loadgen", "from-hosts", "swell-service"]);
    std::fs::write(bundle.join("config.json"), config.to_string()).expect("written");
    let id = format!("swell-resolver-{}", std::process::id());
    let (root, bundle) = (directory.path().join("runc").display().to_string(), bundle.display().to_string());
    let Some(output) = outcome("runc", &["--root", &root, "run", "--bundle", &bundle, &id]) else { return };
    let Some(printed) = allowed(output) else { return };
    assert_eq!(printed, "from-hosts 127.0.0.7\nswell-service 127.0.0.9\n");
}

/// The layer as a runtime finds it.
fn unpack(image: &PackedImage, root: &Path) {
    let archive = std::fs::read(&image.archive).expect("the archive");
    for entry in tar::Archive::new(&archive[..]).entries().expect("a tar") {
        let entry = entry.expect("an entry");
        if entry.path().expect("a path").ends_with("layer.tar") {
            tar::Archive::new(entry).unpack(root).expect("unpacked");
        }
    }
}

/// What Kubernetes makes of our pod template: our user, no capability, no privilege to gain, read-only root. The
/// network is the host's, so that the name server of the test is reached.
fn bundle_config(args: &[&str]) -> Value {
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": USER, "gid": USER },
            "args": args,
            "env": ["PATH=/"],
            "cwd": "/",
            "noNewPrivileges": true,
        },
        "root": { "path": "rootfs", "readonly": true },
        "mounts": [{ "destination": "/proc", "type": "proc", "source": "proc" }],
        "linux": { "namespaces": [{ "type": "pid" }, { "type": "mount" }, { "type": "ipc" }, { "type": "uts" }] },
    })
}

/// A program that resolves its arguments through the standard library, linked as `cargo xtask image` links.
fn resolver(directory: &Path) -> String {
    let source = directory.join("resolver.rs");
    let text = r#"use std::net::ToSocketAddrs;
        fn main() {
            for name in std::env::args().skip(1) {
                let found = (name.as_str(), 80).to_socket_addrs().expect("resolved").next().expect("an address");
                println!("{name} {}", found.ip());
            }
        }"#;
    std::fs::write(&source, text).expect("written");
    let binary = directory.join("resolver");
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let built = Command::new("rustc")
        .args(["-Ctarget-feature=+crt-static", "-Cstrip=symbols", "--target", &target, "-o"])
        .arg(&binary)
        .arg(&source)
        .output()
        .expect("rustc");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    binary.display().to_string()
}

/// Answers 127.0.0.9 for `swell-service.lab.svc.cluster.local` and "no such name" for the rest. Its thread ends with
/// the test process.
struct NameServer {
    ip: String,
}

impl NameServer {
    /// Nothing where port 53 may not be bound.
    fn start() -> Option<NameServer> {
        let bound = (1..=250).find_map(|last| {
            let ip = format!("127.53.{}.{last}", std::process::id() % 250);
            Some((UdpSocket::bind((ip.as_str(), 53)).ok()?, ip))
        });
        let Some((socket, ip)) = bound else {
            eprintln!("port 53 may not be bound here: the resolver is not tried");
            return None;
        };
        std::thread::spawn(move || {
            let mut query = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut query) {
                let _ = socket.send_to(&answer(&query[..length]), from);
            }
        });
        Some(NameServer { ip })
    }
}

fn answer(query: &[u8]) -> Vec<u8> {
    let end = 12 + query[12..].iter().position(|byte| *byte == 0).expect("a name") + 5;
    let question = &query[12..end];
    let known = question.starts_with(b"\x0dswell-service\x03lab\x03svc\x07cluster\x05local\x00");
    let is_a = question.ends_with(&[0, 1, 0, 1]);
    let (code, answers) = if !known { (3, 0) } else { (0, u8::from(is_a)) };
    let mut reply = query[..2].to_vec();
    reply.extend([0x81, 0x80 | code, 0, 1, 0, answers, 0, 0, 0, 0]);
    reply.extend(question);
    if answers == 1 {
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 9]);
    }
    reply
}
