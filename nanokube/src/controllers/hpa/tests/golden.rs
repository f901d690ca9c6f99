//! What kubectl prints of the recorded run, played in virtual time: the real kubectl, the real API over the lab's cluster,
//! at the stages of the recording. Every line about the autoscaler, its Deployment and the metrics is as recorded.
//!
//! Pods are modelled here, so what a kubelet says of them is not looked at: `tests/node/golden.rs` does, with real ones.

use std::io::Read;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::recorded::{RECORDED_PHASES, Timeline};
use crate::api::{self, Api, auth::Token};
use crate::cluster::Cluster;
use crate::credentials::Credentials;
use crate::golden::{self, Comparison, Page};
use crate::image::ImageStore;
use crate::instance::Directory;
use crate::metrics::Metrics;
use crate::node::{Isolation, Node, NodeConfig};
use crate::openapi::OpenApi;

const KUBECTL: &str = "kubectl";
/// What is compared.
const ABOUT: [&str; 9] = [
    "kubectl get hpa",
    "kubectl describe hpa work",
    "kubectl get hpa work -o yaml",
    "kubectl top pods",
    "kubectl top pods --containers",
    "kubectl get deploy,rs",
    "kubectl get rs",
    "kubectl describe deploy work",
    "kubectl get deploy work -o yaml",
];
const WATCHED: [&str; 2] = ["kubectl get hpa work -w", "kubectl get deploy work -w"];
/// When watching began; the pod was ready by then.
const WATCHED_FROM_S: f64 = -83.5;
const PATIENCE: Duration = Duration::from_secs(60);

/// An API over the cluster of a lab, for clients outside.
struct Served {
    dir: tempfile::TempDir,
    _stop: tokio::sync::watch::Sender<bool>,
}

impl Served {
    fn start(timeline: &Timeline) -> Served {
        let dir = tempfile::tempdir().unwrap();
        let directory = Directory::new(dir.path().to_path_buf());
        let credentials = Credentials::load_or_create(&directory).unwrap();
        let _entered = timeline.runtime.enter();
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let endpoint = listener.local_addr().unwrap().to_string();
        credentials.write_kubeconfig(&directory, &format!("https://{endpoint}")).unwrap();
        let api = Api {
            cluster: timeline.lab.cluster.clone(),
            token: Token::new(credentials.token.clone()),
            metrics: timeline.metrics.clone(),
            node: idle_node(dir.path()),
            openapi: OpenApi::default(),
            endpoint,
        };
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let tls = credentials.acceptor(&[Ipv4Addr::LOCALHOST]).unwrap();
        tokio::spawn(api::server::serve(Arc::new(api), listener, tls, stopped));
        Served { dir, _stop: stop }
    }

    fn kubectl(&self, command: &str) -> Command {
        let mut kubectl = Command::new(KUBECTL);
        kubectl.args(command.split(' ').skip(1)).env("HOME", self.dir.path());
        kubectl.env("KUBECONFIG", self.dir.path().join("kubeconfig"));
        kubectl.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        kubectl
    }

    fn output(&self, command: &str) -> String {
        let output = self.kubectl(command).output().unwrap();
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
    }

    fn apply(&self, object: &Value) {
        let file = self.dir.path().join("object.json");
        std::fs::write(&file, object.to_string()).unwrap();
        let told = self.output(&format!("kubectl apply -f {}", file.display()));
        assert!(told.contains("created"), "{told}");
    }
}

/// The API wants a node; this one belongs to nobody.
fn idle_node(dir: &Path) -> Node {
    let config = NodeConfig {
        address: Ipv4Addr::LOCALHOST,
        pod_addresses: (Ipv4Addr::new(127, 250, 0, 2), Ipv4Addr::new(127, 250, 0, 3)),
        instance: format!("golden-{}", std::process::id()),
        pods_dir: dir.join("pods"),
        cpus: None,
        limiter: crate::cli::Limiter::Signals,
        kubeconfig: PathBuf::new(),
        token: Token::new(String::new()),
        program: PathBuf::from("/bin/false"),
    };
    let images = ImageStore::open(&dir.join("images")).unwrap();
    let metrics = Metrics::new(Duration::from_secs(3_600));
    Node::start_isolated(Cluster::in_memory(), images, metrics, config, Isolation::None).unwrap()
}

fn deployment() -> Value {
    let probe = |path: &str, period_s: u32, timeout_s: u32| json!({ "httpGet": { "path": path, "port": 8080 }, "periodSeconds": period_s, "timeoutSeconds": timeout_s });
    let resources = json!({
        "requests": { "cpu": "200m", "memory": "32Mi" }, "limits": { "cpu": "500m", "memory": "128Mi" },
    });
    let container = json!({
        "name": "work", "image": "localhost/work:1", "imagePullPolicy": "Never",
        "ports": [{ "containerPort": 8080, "name": "http" }], "resources": resources,
        "readinessProbe": probe("/readyz", 1, 2), "livenessProbe": probe("/healthz", 10, 5),
    });
    let template = json!({
        "metadata": { "labels": { "app": "work" } },
        "spec": { "terminationGracePeriodSeconds": 10, "containers": [container] },
    });
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "work", "labels": { "app": "work" } },
        "spec": { "selector": { "matchLabels": { "app": "work" } }, "template": template },
    })
}

fn autoscaler() -> Value {
    let target = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "work" });
    let half = json!({ "type": "Utilization", "averageUtilization": 50 });
    let cpu = json!({ "type": "Resource", "resource": { "name": "cpu", "target": half } });
    json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": { "name": "work" },
        "spec": { "scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 10, "metrics": [cpu] },
    })
}

/// A kubectl that watches, and what it prints.
struct Watching {
    page: Page,
    child: Child,
    printed: Receiver<String>,
    text: String,
}

impl Watching {
    /// Returns when it has printed what there was.
    fn start(served: &Served, page: Page) -> Watching {
        // Of one object by name kubectl watches from about now, and what comes between is lost; time runs fast here.
        let of_all = page.command.replace(" work -w", " -w");
        let mut child = served.kubectl(&of_all).spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let (print, printed) = mpsc::channel::<String>();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = stdout.read(&mut bytes) {
                if print.send(String::from_utf8_lossy(&bytes[..count]).into_owned()).is_err() {
                    return;
                }
            }
        });
        let mut watching = Watching { page, child, printed, text: String::new() };
        watching.until(|watching| watching.text.lines().count() >= 2);
        watching
    }

    fn until(&mut self, enough: impl Fn(&Watching) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !enough(self) && Instant::now() < deadline {
            self.text += &self.printed.recv_timeout(Duration::from_millis(100)).unwrap_or_default();
        }
    }

    /// When nothing is missing any more.
    fn compare(mut self) -> Comparison {
        self.until(|watching| watching.page.compare(&watching.text).found == watching.page.lines.len());
        self.page.compare(&self.text)
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn kubectl_prints_of_the_recorded_run_what_it_printed_of_the_real_one() {
    if Command::new(KUBECTL).arg("version").arg("--client").output().is_err() {
        eprintln!("kubectl is not installed: its outputs are not compared");
        return;
    }
    let (watches, mut pages): (Vec<Page>, Vec<Page>) =
        golden::read(golden::RECORDED).into_iter().partition(|page| page.stage == golden::WATCH);
    // Without metrics kubectl asks its own clock how old the pod is, and that is not the lab's.
    let is_by_clock = |page: &Page| page.lines.iter().any(|line| line.contains("metrics not available yet"));
    pages.retain(|page| ABOUT.contains(&page.command.as_str()) && !is_by_clock(page));
    pages.sort_by(|one, other| one.at_s.total_cmp(&other.at_s));
    let mut timeline = Timeline::new(&RECORDED_PHASES, 1);
    let served = Served::start(&timeline);
    served.apply(&deployment());
    timeline.lab.settle();
    served.apply(&autoscaler());
    let mut watches: Vec<Page> = watches.into_iter().filter(|page| WATCHED.contains(&page.command.as_str())).collect();
    let mut watching: Vec<Watching> = Vec::new();
    let mut compared: Vec<Comparison> = Vec::new();
    timeline.run(&RECORDED_PHASES, |_, at| {
        if at >= WATCHED_FROM_S {
            watching.extend(watches.drain(..).map(|page| Watching::start(&served, page)));
        }
        while let Some(page) = pages.first().filter(|page| page.at_s <= at) {
            compared.push(page.compare(&served.output(&page.command)));
            pages.remove(0);
        }
    });
    compared.extend(watching.into_iter().map(Watching::compare));
    let sum = |of: fn(&Comparison) -> usize| compared.iter().map(of).sum::<usize>();
    let (found, wanted) = (sum(|it| it.found), sum(|it| it.wanted));
    println!("{found} of {wanted} lines as recorded");
    let unlike: Vec<String> = compared.iter().filter(|it| !it.unlike.is_empty()).map(Comparison::to_string).collect();
    assert!(unlike.is_empty() && found == wanted, "{found} of {wanted} lines as recorded\n{}", unlike.join("\n"));
}
