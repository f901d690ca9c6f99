//! `observe`: the machine's own Prometheus against the embedded cluster, until Ctrl-C.
//!
//! Scrape configuration and rules are those of the component for real clusters. Data stays in the profile's directory until
//! teardown, so that a second `observe` goes on where the first ended.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, ListParams};
use kube::runtime::{WatchStreamExt, reflector, watcher};
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use crate::child::bound_to_us;
use crate::cli::ObserveArgs;
use crate::cluster;
use crate::http;
use crate::lab::Lab;
use crate::problem;
use crate::prometheus::{self, Access};
use crate::session::{ProviderKind, Session};

const COMPONENT: &str = "k8s/components/observability";
const READY_LIMIT: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(100);
const PROBE_LIMIT: Duration = Duration::from_secs(2);

pub(crate) async fn run(lab: &Lab<'_>, args: &ObserveArgs) -> Result<u8> {
    let session = lab.session()?;
    session.workload()?;
    if session.provider != ProviderKind::Embedded {
        return Err(problem::observe_elsewhere(session.provider.name()).into());
    }
    let client = cluster::connect_session(&session).await?;
    let dir = lab.workspace.state_dir().join(&lab.profile).join("prometheus");
    let access = write_files(lab, &session, &dir)?;
    let nodes = Api::<Node>::all(client.clone()).list(&ListParams::default()).await?;
    let nodes: Vec<String> = nodes.into_iter().filter_map(|node| node.metadata.name).collect();
    write_json(&dir, prometheus::NODES, &prometheus::node_targets(&nodes, &access))?;
    write_json(&dir, prometheus::PODS, &Value::Array(Vec::new()))?;

    let address = free_address(args.port)?;
    let mut child = spawn(&dir, &address)?;
    let url = format!("http://{address}");
    await_ready(&mut child, &url, &dir).await?;
    lab.terminal.line(&format!("prometheus {url}"));
    lab.terminal.say(&format!("data       {} (kept until teardown)", dir.display()));
    lab.terminal.say("end        Ctrl-C");
    let pods = Api::<Pod>::namespaced(client, &session.namespace);
    let ended = tokio::select! {
        status = child.wait() => Err(failure(&dir, &status?.to_string()).into()),
        followed = follow(pods, &dir) => followed,
        stopped = stop_signal() => stopped,
    };
    terminate(&mut child).await?;
    ended.map(|()| 0)
}

/// Configuration, rules and the way into the cluster, as Prometheus reads them.
fn write_files(lab: &Lab<'_>, session: &Session, dir: &Path) -> Result<Access> {
    let read = |path: &Path| std::fs::read_to_string(path).with_context(|| problem::unreadable(path));
    let kubeconfig = read(&session.kubeconfig)?;
    let access = Access::read(&kubeconfig)
        .with_context(|| problem::kubeconfig_unusable(&session.kubeconfig, "cargo xtask setup"))?;
    let component = lab.workspace.root.join(COMPONENT);
    std::fs::create_dir_all(dir).with_context(|| problem::unwritable(dir))?;
    let (scraped, rules) = (component.join("prometheus.yaml"), component.join("rules.yaml"));
    let config = prometheus::config(&read(&scraped)?, &access, session.pace)
        .with_context(|| problem::manifests_broken(&component))?;
    write(dir, "prometheus.yml", config.as_bytes())?;
    write(dir, "rules.yaml", prometheus::at_pace(&read(&rules)?, session.pace).as_bytes())?;
    write(dir, prometheus::AUTHORITY, &access.authority_pem)?;
    write(dir, prometheus::TOKEN, access.token.as_bytes())?;
    Ok(access)
}

/// In one step, and for this user only: one of the files is the token.
fn write(dir: &Path, name: &str, content: &[u8]) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let (path, fresh) = (dir.join(name), dir.join(format!(".{name}.new")));
    let written = || -> std::io::Result<()> {
        let mut file = std::fs::File::options().create(true).truncate(true).write(true).mode(0o600).open(&fresh)?;
        file.write_all(content)?;
        std::fs::rename(&fresh, &path)
    };
    written().with_context(|| problem::unwritable(&path))
}

fn write_json(dir: &Path, name: &str, value: &Value) -> Result<()> {
    write(dir, name, value.to_string().as_bytes())
}

/// Prometheus takes no port 0, so a free one is looked for.
fn free_address(port: u16) -> Result<String> {
    let listener = TcpListener::bind(("127.0.0.1", port)).with_context(|| problem::observe_port(port))?;
    Ok(listener.local_addr()?.to_string())
}

fn spawn(dir: &Path, address: &str) -> Result<Child> {
    let log = log(dir);
    let file = std::fs::File::create(&log).with_context(|| problem::unwritable(&log))?;
    let mut command = Command::new("prometheus");
    command
        .arg(format!("--config.file={}", dir.join("prometheus.yml").display()))
        .arg(format!("--storage.tsdb.path={}", dir.join("data").display()))
        .arg(format!("--web.listen-address={address}"))
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file);
    bound_to_us(&mut command).spawn().with_context(|| {
        problem::tool_missing("prometheus", "apt-get install prometheus   (or brew install prometheus)")
    })
}

async fn await_ready(child: &mut Child, url: &str, dir: &Path) -> Result<()> {
    let deadline = tokio::time::Instant::now() + READY_LIMIT;
    while !http::get(&format!("{url}/-/ready"), PROBE_LIMIT).await.is_ok_and(|status| status == 200) {
        if let Some(status) = child.try_wait()? {
            return Err(failure(dir, &status.to_string()).into());
        }
        if tokio::time::Instant::now() > deadline {
            return Err(problem::waited_too_long("Prometheus to be ready", READY_LIMIT.as_secs(), "").into());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// Keeps the file of targets as the pods are; ends only by failing.
async fn follow(pods: Api<Pod>, dir: &Path) -> Result<()> {
    let (store, writer) = reflector::store();
    let mut events = reflector(writer, watcher(pods, watcher::Config::default())).default_backoff().boxed();
    loop {
        match events.try_next().await {
            // Before the first list is whole there is nothing to tell.
            Ok(Some(watcher::Event::Init | watcher::Event::InitApply(_))) => continue,
            Ok(None) => return Ok(()),
            // The watch begins again by itself; meanwhile the last pods stay targets.
            Err(_) => continue,
            Ok(Some(_)) => {}
        }
        let now = store.state();
        write_json(dir, prometheus::PODS, &prometheus::pod_targets(now.iter().map(|pod| &**pod)))?;
    }
}

async fn stop_signal() -> Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminated.recv() => {}
    }
    Ok(())
}

/// It writes what it has in memory before it ends.
async fn terminate(child: &mut Child) -> Result<()> {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended by itself just now.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    child.wait().await?;
    Ok(())
}

fn log(dir: &Path) -> PathBuf {
    dir.join("prometheus.log")
}

fn failure(dir: &Path, status: &str) -> problem::Problem {
    let text = std::fs::read_to_string(log(dir)).unwrap_or_default();
    let last = text.lines().last().unwrap_or(status);
    problem::child_failed("prometheus", last, &format!("less {}", log(dir).display()))
}
