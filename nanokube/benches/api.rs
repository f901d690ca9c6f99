//! Speed and size of the API server, printed: start to ready, memory, create-to-watch, big lists, many watchers.
//!
//! `cargo bench -p nanokube` measures nanokube; with `KUBECONFIG` set and `--against` given, the same server-side figures are taken
//! of any other server. Figures are printed, never asserted: machines differ.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use nanokube::client::{Call, Client};

const ROUND_TRIPS: usize = 1_000;
const PODS: usize = 10_000;
const WATCHERS: usize = 1_000;
const WRITES: usize = 60;
const WRITE_PERIOD: Duration = Duration::from_millis(50);
const STARTS: usize = 5;
const NAMESPACE: &str = "bench";
const REPLICAS: usize = 1_000;
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/bench/deployments";
const CONFIG_MAPS: &str = "/api/v1/namespaces/bench/configmaps";

fn main() -> anyhow::Result<()> {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).context("cannot raise the file limit")?;
    let against = std::env::args().any(|argument| argument == "--against");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if against {
        let kubeconfig = std::env::var_os("KUBECONFIG").context("--against needs KUBECONFIG")?;
        return runtime.block_on(measure(Path::new(&kubeconfig), None));
    }
    let dir = std::env::temp_dir().join(format!("nanokube-bench-{}", std::process::id()));
    let daemon = Daemon { dir };
    println!("{:<44} {:>10.0} ms", "start to ready (median of 5)", daemon.median_start_ms()?);
    std::thread::sleep(Duration::from_secs(2));
    println!("{:<44} {:>10.1} MB", "resident memory, idle", daemon.resident_mb()?);
    runtime.block_on(measure(&daemon.dir.join("kubeconfig"), Some(&daemon)))
}

/// A nanokube of the bench's own; it is deleted with it.
struct Daemon {
    dir: PathBuf,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Best effort: the directory is a temporary one.
        let _ = self.verb("delete");
    }
}

impl Daemon {
    fn verb(&self, verb: &str) -> anyhow::Result<()> {
        let status = Command::new(env!("CARGO_BIN_EXE_nanokube"))
            .arg("--dir")
            .arg(&self.dir)
            .arg(verb)
            .stdout(std::process::Stdio::null())
            .status()
            .context("cannot run nanokube")?;
        anyhow::ensure!(status.success(), "nanokube {verb} failed");
        Ok(())
    }

    fn median_start_ms(&self) -> anyhow::Result<f64> {
        let mut times = Vec::new();
        for _ in 0..STARTS {
            self.verb("stop")?;
            let began = Instant::now();
            self.verb("start")?;
            times.push(began.elapsed());
        }
        times.sort();
        Ok(times[STARTS / 2].as_secs_f64() * 1e3)
    }

    fn resident_mb(&self) -> anyhow::Result<f64> {
        let pid = std::fs::read_to_string(self.dir.join("daemon.pid"))?;
        let status = std::fs::read_to_string(format!("/proc/{}/status", pid.trim()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS")).context("no VmRSS")?;
        let kib: f64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
        Ok(kib / 1024.0)
    }
}

async fn measure(kubeconfig: &Path, daemon: Option<&Daemon>) -> anyhow::Result<()> {
    let client = Client::from_kubeconfig(kubeconfig)?;
    client.write("POST", "/api/v1/namespaces", &json!({ "metadata": { "name": NAMESPACE } })).await?;
    round_trips(&client).await?;
    watchers(&client).await?;
    big_list(&client).await?;
    controllers(&client).await?;
    if let Some(daemon) = daemon {
        println!("{:<44} {:>10.1} MB", "resident memory after all of it", daemon.resident_mb()?);
    }
    client.write("DELETE", "/api/v1/namespaces/bench", &json!({})).await?;
    Ok(())
}

/// A Deployment of many pods that nobody schedules: until its controllers have made them and counted them.
async fn controllers(client: &Client) -> anyhow::Result<()> {
    let template = json!({
        "metadata": { "labels": { "app": "many" } },
        "spec": { "schedulerName": "nobody", "containers": [{ "name": "c", "image": "x" }] },
    });
    let selector = json!({ "matchLabels": { "app": "many" } });
    let spec = json!({ "replicas": REPLICAS, "selector": selector, "template": template });
    let deployment = json!({ "metadata": { "name": "many" }, "spec": spec });
    let mut connection = client.connect().await?;
    let began = Instant::now();
    let answer = connection.send(&post(DEPLOYMENTS, &deployment)).await?;
    anyhow::ensure!(answer.status == 201, "create: {}", answer.json());
    let watch = Call {
        method: "GET".into(),
        path: format!("{DEPLOYMENTS}?watch=true&fieldSelector=metadata.name%3Dmany"),
        ..Call::default()
    };
    let mut events = Lines::new(client.start(&watch).await?);
    while events.next().await.context("the watch ended")?["object"]["status"]["replicas"] != REPLICAS {}
    let what = format!("a Deployment of {REPLICAS} pods, made and counted");
    println!("{what:<44} {:>10.0} ms", began.elapsed().as_secs_f64() * 1e3);
    Ok(())
}

fn config_map(name: &str) -> Value {
    json!({ "metadata": { "name": name }, "data": { "k": "v" } })
}

fn post(path: &str, body: &Value) -> Call {
    let content_type = Some("application/json".to_string());
    Call { method: "POST".into(), path: path.into(), content_type, body: body.to_string().into(), ..Call::default() }
}

fn percentile(sorted: &[Duration], share: f64) -> f64 {
    let at = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len());
    sorted[at - 1].as_secs_f64() * 1e3
}

/// From sending a create to its event on a watch.
async fn round_trips(client: &Client) -> anyhow::Result<()> {
    let watch = Call { method: "GET".into(), path: format!("{CONFIG_MAPS}?watch=true"), ..Call::default() };
    let mut events = Lines::new(client.start(&watch).await?);
    let mut connection = client.connect().await?;
    let mut times = Vec::with_capacity(ROUND_TRIPS);
    for index in 0..ROUND_TRIPS {
        let name = format!("trip-{index}");
        let began = Instant::now();
        let answer = connection.send(&post(CONFIG_MAPS, &config_map(&name))).await?;
        anyhow::ensure!(answer.status == 201, "create: {}", answer.json());
        while events.next().await.context("the watch ended")?["object"]["metadata"]["name"] != name.as_str() {}
        times.push(began.elapsed());
    }
    times.sort();
    println!("{:<44} {:>10.2} ms", format!("create + watch, p50 of {ROUND_TRIPS}"), percentile(&times, 0.5));
    println!("{:<44} {:>10.2} ms", format!("create + watch, p99 of {ROUND_TRIPS}"), percentile(&times, 0.99));
    Ok(())
}

/// Lines of a watch as JSON.
struct Lines {
    body: hyper::body::Incoming,
    rest: Vec<u8>,
}

impl Lines {
    fn new(response: http::Response<hyper::body::Incoming>) -> Lines {
        Lines { body: response.into_body(), rest: Vec::new() }
    }

    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return serde_json::from_slice(&line).ok();
            }
            let frame = self.body.frame().await?.ok()?;
            self.rest.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        }
    }
}

/// Many watchers of one collection: every event, in order, and how late the last one is.
async fn watchers(client: &Client) -> anyhow::Result<()> {
    let version = client.get(CONFIG_MAPS).await?.json()["metadata"]["resourceVersion"].clone();
    let version = version.as_str().unwrap_or_default();
    let path = format!("{CONFIG_MAPS}?watch=true&resourceVersion={version}");
    let call = Call { method: "GET".into(), path, ..Call::default() };
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..WATCHERS {
        let mut lines = Lines::new(client.start(&call).await?);
        tasks.spawn(async move {
            let mut arrivals = Vec::with_capacity(WRITES);
            for index in 0..WRITES {
                let event = lines.next().await.context("a watch ended")?;
                let wanted = format!("many-{index}");
                anyhow::ensure!(event["object"]["metadata"]["name"] == wanted.as_str(), "out of order: {event}");
                arrivals.push(Instant::now());
            }
            Ok(arrivals)
        });
    }
    let mut connection = client.connect().await?;
    let mut sent = Vec::with_capacity(WRITES);
    for index in 0..WRITES {
        sent.push(Instant::now());
        connection.send(&post(CONFIG_MAPS, &config_map(&format!("many-{index}")))).await?;
        tokio::time::sleep(WRITE_PERIOD).await;
    }
    let mut delays = Vec::with_capacity(WATCHERS * WRITES);
    while let Some(arrivals) = tasks.join_next().await {
        let arrivals: Vec<Instant> = arrivals??;
        delays.extend(arrivals.iter().zip(&sent).map(|(arrival, sent)| arrival.duration_since(*sent)));
    }
    delays.sort();
    let what = format!("{WATCHERS} watchers, 20 writes/s: delay p99");
    println!("{what:<44} {:>10.1} ms", percentile(&delays, 0.99));
    println!(
        "{:<44} {:>10.1} ms  ({} events, none lost, in order)",
        "  the latest",
        percentile(&delays, 1.0),
        delays.len()
    );
    Ok(())
}

/// Ten thousand pods as a Table. No scheduler knows them, so nothing runs.
async fn big_list(client: &Client) -> anyhow::Result<()> {
    let pods = "/api/v1/namespaces/bench/pods";
    let mut connection = client.connect().await?;
    let began = Instant::now();
    for index in 0..PODS {
        let container = json!({ "name": "c", "image": "x", "resources": { "requests": { "cpu": "100m" } } });
        let pod = json!({
            "metadata": { "name": format!("pod-{index}"), "labels": { "app": "bench" } },
            "spec": { "schedulerName": "nobody", "containers": [container] },
        });
        let answer = connection.send(&post(pods, &pod)).await?;
        anyhow::ensure!(answer.status == 201, "create: {}", answer.json());
    }
    let rate = PODS as f64 / began.elapsed().as_secs_f64();
    println!("{:<44} {rate:>10.0} /s", "pods created on one connection");
    let accept = Some("application/json;as=Table;v=v1;g=meta.k8s.io".to_string());
    let call = Call { method: "GET".into(), path: pods.into(), accept, ..Call::default() };
    let mut times = Vec::new();
    let mut size = 0;
    for _ in 0..5 {
        let began = Instant::now();
        size = connection.send(&call).await?.body.len();
        times.push(began.elapsed());
    }
    times.sort();
    let what = format!("{PODS} pods as a Table ({} KiB), median", size >> 10);
    println!("{what:<44} {:>10.1} ms", percentile(&times, 0.5));
    Ok(())
}
