//! The machine: tools, cores, memory, how CPU limits can be enforced, open files, ports.

use std::net::TcpListener;
use std::path::Path;

use super::Finding;
use super::capacity::Supply;
use crate::image;
use crate::terminal::Terminal;
use crate::workspace::Workspace;

/// What the embedded cluster with ten pods, the generator and a compiler want.
const MEMORY_WANTED_MB: u64 = 2048;
const CORES_WANTED: usize = 2;
const DISK_WANTED_MB: u64 = 4096;
const STATE_WANTED_MB: u64 = 256;
/// Scenario `thousand` holds a thousand connections; each proxied one takes two more in the cluster.
const FILES_WANTED: u64 = 4096;
const FORWARD_PORT: u16 = 8080;

pub(crate) fn check(workspace: &Workspace, terminal: &Terminal) -> Vec<Finding> {
    terminal.detail("looking at tools, cores, memory, limits and ports");
    let mut all = tools();
    all.push(cores(std::thread::available_parallelism().map_or(1, usize::from)));
    all.push(memory(&std::fs::read_to_string("/proc/meminfo").unwrap_or_default()));
    all.push(disk(workspace));
    all.push(limiter(Path::new("/sys/fs/cgroup"), &std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default()));
    all.push(open_files());
    all.push(port(FORWARD_PORT));
    all
}

fn tools() -> Vec<Finding> {
    let mut all = Vec::new();
    for (tool, arg, package) in
        [("cargo", "--version", "rustup.rs"), ("cc", "--version", "sudo apt-get install gcc libc6-dev")]
    {
        all.push(match version(tool, arg) {
            Some(version) => Finding::fine(tool, version),
            None => Finding::wrong(tool, "not found on PATH", package),
        });
    }
    all.push(match image::static_libc_missing() {
        None => Finding::fine("static libc", "static binaries for real nodes can be linked"),
        Some(missing) => Finding::note(
            "static libc",
            format!("{}; only Minikube and other clusters need it", missing.why),
            missing.install,
        ),
    });
    for (tool, arg) in [("minikube", "version"), ("kubectl", "version")] {
        let arg: &[&str] = if tool == "kubectl" { &[arg, "--client"] } else { &[arg, "--short"] };
        all.push(match version_with(tool, arg) {
            Some(version) => Finding::fine(tool, version),
            None => Finding::fine(tool, "not installed; the embedded cluster does without"),
        });
    }
    if is_there("minikube") {
        all.push(driver(&DRIVERS.map(|(name, args)| (name, is_there(name).then(|| ask(name, args))))));
    }
    all
}

/// What Minikube can make a node with, and how to ask whether it would.
const DRIVERS: [(&str, &[&str]); 5] = [
    ("docker", &["version", "--format", "{{.Server.Version}}"]),
    ("podman", &["version", "--format", "{{.Version}}"]),
    ("qemu-system-x86_64", &["--version"]),
    ("virsh", &["--version"]),
    ("VBoxManage", &["--version"]),
];

/// Each driver: absent, or its version, or why it does not answer.
pub(super) fn driver(found: &[(&str, Option<Result<String, String>>)]) -> Finding {
    let works = found.iter().find_map(|(name, answer)| Some((name, answer.as_ref()?.as_ref().ok()?)));
    if let Some((name, version)) = works {
        return Finding::fine("driver", format!("{name} {version}"));
    }
    let broken = found.iter().find_map(|(name, answer)| Some((name, answer.as_ref()?.as_ref().err()?)));
    match broken {
        Some((name, why)) if why.contains("permission denied") => Finding::note(
            "driver",
            format!("{name} is installed, and this user may not use it: {why}"),
            format!("sudo usermod -aG {name} $USER   (then log in again)"),
        ),
        Some((name, why)) => Finding::note(
            "driver",
            format!("{name} is installed and does not answer: {why}"),
            format!("sudo systemctl start {name}   (or: cargo xtask setup --cluster embedded)"),
        ),
        None => Finding::note(
            "driver",
            "Minikube finds no container engine or hypervisor to make a node with",
            "cargo xtask setup --cluster embedded   (which needs none; or install one: https://docs.docker.com/engine/install/)",
        ),
    }
}

fn ask(tool: &str, args: &[&str]) -> Result<String, String> {
    let output = std::process::Command::new(tool).args(args).output().map_err(|error| error.to_string())?;
    let first = |bytes: &[u8]| String::from_utf8_lossy(bytes).lines().next().unwrap_or_default().trim().to_owned();
    if output.status.success() { Ok(first(&output.stdout)) } else { Err(first(&output.stderr)) }
}

fn is_there(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(tool).is_file())
}

pub(super) fn cores(cores: usize) -> Finding {
    if cores >= CORES_WANTED {
        return Finding::fine("cores", format!("{cores}"));
    }
    Finding::note(
        "cores",
        format!("{cores}: the load, the cluster and the pods share it, so scenarios may end INVALID"),
        "cargo xtask load --rate 10 --duration 60s   (a load that one core bears)",
    )
}

/// What an embedded cluster of this machine has for pods: half a core is for itself.
pub(crate) fn supply() -> Supply {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let available = available_mb(&std::fs::read_to_string("/proc/meminfo").unwrap_or_default());
    Supply {
        of: "this machine".to_owned(),
        milli: (i64::try_from(cores).unwrap_or(1) * 1000 - 500).max(500),
        mebibytes: available.and_then(|mb| i64::try_from(mb).ok()).unwrap_or(i64::MAX),
    }
}

fn available_mb(meminfo: &str) -> Option<u64> {
    let kb = meminfo.lines().find_map(|line| {
        let rest = line.strip_prefix("MemAvailable:")?;
        rest.split_whitespace().next()?.parse::<u64>().ok()
    });
    kb.map(|kb| kb / 1024)
}

pub(super) fn memory(meminfo: &str) -> Finding {
    match available_mb(meminfo) {
        Some(mb) if mb >= MEMORY_WANTED_MB => Finding::fine("memory", format!("{mb} MB available")),
        Some(mb) => Finding::note(
            "memory",
            format!("{mb} MB available, {MEMORY_WANTED_MB} MB are comfortable"),
            "CARGO_BUILD_JOBS=1 cargo xtask setup   (compiles with less at once)",
        ),
        None => Finding::note("memory", "unknown", "free -m"),
    }
}

fn disk(workspace: &Workspace) -> Finding {
    let free = |dir: &Path| rustix::fs::statvfs(dir).ok().map(|it| it.f_bavail * it.f_frsize / (1024 * 1024));
    let Some(mb) = free(&workspace.root) else {
        return Finding::note("disk", "unknown", format!("df -h {}", workspace.root.display()));
    };
    // It may be a mount of its own.
    if let Some(state_mb) = free(&workspace.state_dir()).filter(|mb| *mb < STATE_WANTED_MB) {
        let what = format!(".swell has {state_mb} MB free; clusters and runs take up to {STATE_WANTED_MB} MB");
        return Finding::wrong("disk", what, "cargo xtask runs --keep 5   (or free the disk otherwise: df -h .swell)");
    }
    if mb >= DISK_WANTED_MB {
        return Finding::fine("disk", format!("{} GB free", mb / 1024));
    }
    Finding::wrong("disk", format!("{mb} MB free, a build takes up to {DISK_WANTED_MB} MB"), "cargo clean")
}

/// How the embedded cluster will hold pods to their CPU limits here.
pub(super) fn limiter(root: &Path, own_cgroup: &str) -> Finding {
    let unified = root.join("cgroup.controllers");
    let (kind, dir) = if unified.is_file() {
        let path = own_cgroup.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
        ("cgroup v2", root.join(path.trim_start_matches('/')))
    } else {
        let controller = ["cpu,cpuacct", "cpu"].iter().map(|name| root.join(name)).find(|dir| dir.is_dir());
        ("cgroup v1", controller.unwrap_or_default())
    };
    if dir.is_dir() && rustix::fs::access(&dir, rustix::fs::Access::WRITE_OK).is_ok() {
        return Finding::fine("CPU limits", format!("{kind} is writable"));
    }
    Finding::fine("CPU limits", "no writable cgroup: the embedded cluster stops and continues processes instead")
}

fn open_files() -> Finding {
    let limits = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    match limits.maximum {
        Some(maximum) if maximum < FILES_WANTED => Finding::note(
            "open files",
            format!("at most {maximum}, scenario `thousand` wants {FILES_WANTED}"),
            format!("ulimit -n {FILES_WANTED}   (an administrator may have to raise the hard limit)"),
        ),
        Some(maximum) => Finding::fine("open files", format!("up to {maximum}")),
        None => Finding::fine("open files", "without limit"),
    }
}

fn port(port: u16) -> Finding {
    match TcpListener::bind(("127.0.0.1", port)) {
        Ok(_) => Finding::fine("forward port", format!("127.0.0.1:{port} is free")),
        Err(error) => Finding::note(
            "forward port",
            format!("127.0.0.1:{port}: {error}"),
            "cargo xtask forward --port 0   (takes a free one)",
        ),
    }
}

fn version(tool: &str, arg: &str) -> Option<String> {
    version_with(tool, &[arg])
}

fn version_with(tool: &str, args: &[&str]) -> Option<String> {
    let output = std::process::Command::new(tool).args(args).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Some(text.lines().next().unwrap_or_default().trim().to_owned())
}
