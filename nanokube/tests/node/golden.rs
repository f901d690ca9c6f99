//! What kubectl prints of real pods that come and go, beside what it printed of a real cluster's: events, and pods watched.
//!
//! The autoscaler's own lines are compared in virtual time (`src/controllers/hpa/tests/golden.rs`); here a Deployment is
//! scaled by hand, and its pods answer 503 on the way out as the recorded ones did.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nanokube::golden::{self, Page};
use serde_json::json;

use crate::lab;

const PATIENCE: Duration = Duration::from_secs(60);
/// Lines of the recording's autoscaler.
const OF_AUTOSCALER: [&str; 6] =
    ["orizontal", "autoscaling/v2", "SuccessfulRescale", "New size", "ComputeMetrics", "GetResourceMetric"];
const OF_ITS_ERRORS: [&str; 2] = ["failed to get cpu", "invalid metrics"];
/// As often a leaving pod says 503: often enough to be unready.
const REFUSALS: usize = 6;
const PORT: u16 = 8080;

/// A daemon of the test's own, and a kubectl that speaks to it.
struct Instance(tempfile::TempDir);

impl Instance {
    fn start() -> Instance {
        let instance = Instance(tempfile::tempdir().unwrap());
        instance.verb(&["start", "--metrics-resolution", "1s"]);
        let archive = instance.0.path().join("shell.tar");
        std::fs::write(&archive, lab::shell_archive()).unwrap();
        instance.verb(&["image", "load", archive.to_str().unwrap()]);
        instance
    }

    fn dir(&self) -> PathBuf {
        self.0.path().join("i")
    }

    fn verb(&self, arguments: &[&str]) {
        let mut nanokube = Command::new(env!("CARGO_BIN_EXE_nanokube"));
        let output = nanokube.arg("--dir").arg(self.dir()).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn kubectl(&self, command: &str) -> Command {
        let mut kubectl = Command::new("kubectl");
        kubectl.args(command.trim_start_matches("kubectl ").split(' ')).env("HOME", self.0.path());
        kubectl.env("KUBECONFIG", self.dir().join("kubeconfig")).stdin(Stdio::null());
        kubectl
    }

    fn output(&self, command: &str) -> String {
        let output = self.kubectl(command).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }

    fn until(&self, command: &str, wanted: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let output = self.output(command);
            if wanted(&output) {
                return;
            }
            assert!(Instant::now() < deadline, "gave up waiting: {command}\n{output}\n{}", self.output("get events"));
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Scales and waits until all is as wanted.
    fn scale(&self, replicas: usize) {
        self.output(&format!("kubectl scale deploy work --replicas={replicas}"));
        let ready = |pods: &str| pods.lines().count() == replicas && pods.lines().all(|pod| pod.contains(" 1/1 "));
        self.until("kubectl get pods --no-headers", ready);
    }
}

/// A kubectl that watches, and what it has printed.
struct Watching {
    page: Page,
    child: Child,
    text: Arc<Mutex<String>>,
}

impl Watching {
    /// Returns when it has printed what there was.
    fn start(instance: &Instance, command: &str) -> Watching {
        let mut child = instance.kubectl(command).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let text: Arc<Mutex<String>> = Arc::default();
        let printed = text.clone();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                *printed.lock().unwrap() += &format!("{line}\n");
            }
        });
        let watching = Watching { page: page(golden::WATCH, command), child, text };
        watching.until(|text| text.lines().count() >= 2);
        watching
    }

    fn until(&self, enough: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !enough(&self.text.lock().unwrap()) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// When nothing is missing any more.
    fn compare(&self) -> golden::Comparison {
        let compare = |text: &str| self.page.compare(text);
        self.until(|text| compare(text).found == compare(text).wanted);
        compare(&self.text.lock().unwrap())
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.verb(&["delete"]);
    }
}

/// Plays the recorded program in the next test's pods: ready until it is told to go, then 503 some times, then gone.
#[test]
#[ignore = "run by the next test"]
fn server_that_drains() {
    static TOLD: AtomicUsize = AtomicUsize::new(0);
    if std::env::var_os("NANOKUBE_TEST_DRAINS").is_none() {
        return;
    }
    extern "C" fn told(_: libc::c_int) {
        TOLD.store(1, Ordering::SeqCst);
    }
    let handler: extern "C" fn(libc::c_int) = told;
    // SAFETY: the handler only stores into an atomic.
    unsafe { libc::signal(libc::SIGTERM, handler as libc::sighandler_t) };
    let listener = std::net::TcpListener::bind(("0.0.0.0", PORT)).unwrap();
    for mut client in listener.incoming().flatten() {
        let mut bytes = [0; 1024];
        let _ = client.read(&mut bytes);
        let leaving = TOLD.load(Ordering::SeqCst) > 0;
        let status = if leaving { "503 Service Unavailable" } else { "200 OK" };
        let _ = write!(client, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        if leaving && TOLD.fetch_add(1, Ordering::SeqCst) >= REFUSALS {
            std::process::exit(0);
        }
    }
}

fn deployment() -> String {
    let mut container = json!({
        "name": "work", "image": lab::IMAGE, "imagePullPolicy": "Never",
        "command": ["/bin/tests", "--ignored", "--exact", "golden::server_that_drains"],
        "env": [{ "name": "NANOKUBE_TEST_DRAINS", "value": "yes" }],
        "resources": { "requests": { "cpu": "20m" } },
        "readinessProbe": { "httpGet": { "path": "/readyz", "port": PORT }, "periodSeconds": 1, "timeoutSeconds": 30 },
    });
    // It would fail on the way out, but it is not asked there any more.
    let mut liveness = container["readinessProbe"].clone();
    liveness["initialDelaySeconds"] = 3.into();
    container["livenessProbe"] = liveness;
    let template = json!({
        "metadata": { "labels": { "app": "work" } },
        "spec": { "terminationGracePeriodSeconds": 60, "containers": [container] },
    });
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "work" },
        "spec": { "selector": { "matchLabels": { "app": "work" } }, "template": template },
    })
    .to_string()
}

/// The recorded page of a command, without what its autoscaler said.
fn page(stage: &str, command: &str) -> Page {
    let page = golden::read(golden::RECORDED).into_iter().find(|page| page.stage == stage && page.command == command);
    let mut page = page.unwrap_or_else(|| panic!("no page {stage} {command}"));
    let of_others = |line: &String| !OF_AUTOSCALER.iter().chain(&OF_ITS_ERRORS).any(|words| line.contains(words));
    page.lines.retain(of_others);
    page
}

#[test]
fn kubectl_prints_of_pods_what_it_printed_of_a_real_clusters() {
    if Command::new("kubectl").args(["version", "--client"]).output().is_err() {
        eprintln!("kubectl is not installed: its outputs are not compared");
        return;
    }
    let instance = Instance::start();
    let file = instance.0.path().join("work.json");
    std::fs::write(&file, deployment()).unwrap();
    instance.output(&format!("kubectl apply -f {}", file.display()));
    instance.scale(1);
    let watched = ["kubectl get events -w", "kubectl get pods -l app=work -w"];
    let watching: Vec<_> = watched.iter().map(|command| Watching::start(&instance, command)).collect();
    instance.scale(2);
    instance.scale(3);
    instance.until("kubectl top nodes", |printed| printed.starts_with("NAME"));
    instance.until("kubectl top pods", |printed| printed.lines().count() == 4);
    let mut compared = vec![
        page("02-steady", "kubectl top nodes").compare(&instance.output("kubectl top nodes")),
        page("04-load60", "kubectl top pods").compare(&instance.output("kubectl top pods")),
        page("04-load60", "kubectl top pods --containers").compare(&instance.output("kubectl top pods --containers")),
        page("05-load120", "kubectl get pods -o wide").compare(&instance.output("kubectl get pods -o wide")),
        page("05-load120", "kubectl get deploy,rs").compare(&instance.output("kubectl get deploy,rs")),
    ];
    instance.scale(1);
    for command in ["kubectl get events", "kubectl get events -o json"] {
        compared.push(page("10-final", command).compare(&instance.output(command)));
    }
    compared.extend(watching.iter().map(Watching::compare));
    let unlike: Vec<String> =
        compared.iter().filter(|it| !it.unlike.is_empty()).map(golden::Comparison::to_string).collect();
    assert!(unlike.is_empty(), "{}", unlike.join("\n"));
}
