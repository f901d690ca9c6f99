//! Probes and lifecycle hooks: HTTP GET, a TCP connection, a gRPC health check, or a command in the container.
//!
//! Thresholds, periods and the words of failures follow the kubelet. Before its first period is over a container that
//! is not ready yet is asked again and again, ever more slowly; such early attempts can only succeed, their failures
//! count for nothing. HTTPS is spoken without looking at the certificate.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::launch;
use super::pod::PodContext;
use crate::controllers::action::EventKind::Warning;
use crate::node::session::Session;
use crate::node::supervisor::protocol::ExitStatus;
use crate::object;

/// Pauses between early attempts: the first, and the longest.
const EARLY_FIRST: Duration = Duration::from_millis(5);
const EARLY_MAX: Duration = Duration::from_millis(250);
/// As much of an answer as is read to find its status line.
const ANSWER_BYTES_MAX: usize = 4 << 10;
/// What Go's HTTP client adds to a time-out.
const AWAITED: &str = " (Client.Timeout exceeded while awaiting headers)";
/// How long a hook may take when nothing else bounds it.
const HOOK_PATIENCE: Duration = Duration::from_secs(60);

/// Why a container has to be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    StartupFailed,
    LivenessFailed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Startup,
    Liveness,
    Readiness,
}

struct Prober {
    pod: Arc<PodContext>,
    container: String,
    session: Session,
    spec: Value,
    kind: Kind,
    verdicts: watch::Sender<Option<Verdict>>,
}

/// Starts the probes of a container; they end when the set is dropped.
pub(super) fn start(
    pod: Arc<PodContext>,
    spec: Value,
    session: Session,
    verdicts: watch::Sender<Option<Verdict>>,
) -> JoinSet<()> {
    let container = object::str_at(&spec, "/name").to_owned();
    let prober = |field: &str, kind| {
        let (pod, container, session) = (pod.clone(), container.clone(), session.clone());
        let probe = spec.get(field)?.clone();
        // The ports' names are needed beside the probe.
        let spec = serde_json::json!({ "probe": probe, "ports": spec["ports"], "container": spec });
        Some(Prober { pod, container, session, spec, kind, verdicts: verdicts.clone() })
    };
    let startup = prober("startupProbe", Kind::Startup);
    let others = [prober("livenessProbe", Kind::Liveness), prober("readinessProbe", Kind::Readiness)];
    let has_readiness = spec.get("readinessProbe").is_some();
    let mut tasks = JoinSet::new();
    let (pod, name) = (pod.clone(), container.clone());
    tasks.spawn(async move {
        if let Some(startup) = startup {
            if !startup.until_started().await {
                return;
            }
            pod.set(&name, |state| {
                state.started = true;
                state.ready = !has_readiness;
            });
        }
        let mut running = JoinSet::new();
        for prober in others.into_iter().flatten() {
            running.spawn(prober.forever());
        }
        while running.join_next().await.is_some() {}
    });
    tasks
}

impl Prober {
    fn seconds(&self, field: &str, default: u64) -> Duration {
        let value = object::i64_at(&self.spec, &format!("/probe/{field}")).and_then(|it| u64::try_from(it).ok());
        Duration::from_secs(value.unwrap_or(default))
    }

    fn threshold(&self, field: &str, default: i64) -> i64 {
        object::i64_at(&self.spec, &format!("/probe/{field}")).unwrap_or(default).max(1)
    }

    async fn once(&self) -> Result<(), String> {
        let timeout = self.seconds("timeoutSeconds", 1).max(Duration::from_secs(1));
        let attempt = act(&self.pod, &self.container, &self.session, &self.spec["probe"], &self.spec["ports"]);
        match tokio::time::timeout(timeout, attempt).await {
            Ok(outcome) => outcome,
            Err(_) if self.spec["probe"].get("exec").is_some() => {
                Err(format!("command timed out after {}s", timeout.as_secs()))
            }
            Err(_) => {
                let (probe, ports) = (&self.spec["probe"], &self.spec["ports"]);
                let awaited = if probe.get("httpGet").is_some() { AWAITED } else { "" };
                Err(format!("{}context deadline exceeded{awaited}", target_words(&self.pod, probe, ports)))
            }
        }
    }

    fn tell(&self, why: &str) {
        let kind = match self.kind {
            Kind::Startup => "Startup",
            Kind::Liveness => "Liveness",
            Kind::Readiness => "Readiness",
        };
        self.pod.event(Some(&self.container), Warning, "Unhealthy", format!("{kind} probe failed: {why}"));
    }

    fn period(&self) -> Duration {
        self.seconds("periodSeconds", 10).max(Duration::from_secs(1))
    }

    /// Waits out the initial delay, then asks until it succeeds or the first period is over. True if it succeeded.
    async fn early(&self) -> bool {
        tokio::time::sleep(self.seconds("initialDelaySeconds", 0)).await;
        if self.threshold("successThreshold", 1) > 1 {
            return false;
        }
        let until = tokio::time::Instant::now() + self.period();
        let mut pause = EARLY_FIRST;
        while tokio::time::Instant::now() + pause < until {
            tokio::time::sleep(pause).await;
            if self.once().await.is_ok() {
                return true;
            }
            pause = (pause * 2).min(EARLY_MAX);
        }
        tokio::time::sleep_until(until).await;
        false
    }

    /// A pod that is to go is asked whether it is ready, and nothing else any more.
    fn is_over(&self) -> bool {
        self.kind != Kind::Readiness && object::is_deleting(&self.pod.object())
    }

    fn pace(&self) -> tokio::time::Interval {
        let mut ticks = tokio::time::interval(self.period());
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        ticks
    }

    /// True when the container has started, false when it has to be killed.
    async fn until_started(self) -> bool {
        if self.early().await {
            return true;
        }
        let mut ticks = self.pace();
        let mut failures = 0;
        loop {
            ticks.tick().await;
            if self.is_over() {
                return true;
            }
            match self.once().await {
                Ok(()) => return true,
                Err(why) => {
                    failures += 1;
                    self.tell(&why);
                    if failures >= self.threshold("failureThreshold", 3) {
                        self.verdicts.send_replace(Some(Verdict::StartupFailed));
                        return false;
                    }
                }
            }
        }
    }

    async fn forever(self) {
        if self.kind == Kind::Liveness {
            tokio::time::sleep(self.seconds("initialDelaySeconds", 0)).await;
        } else if self.early().await {
            self.set_ready(true);
            tokio::time::sleep(self.period()).await;
        }
        let mut ticks = self.pace();
        let (mut successes, mut failures) = (0, 0);
        loop {
            ticks.tick().await;
            if self.is_over() {
                return;
            }
            match self.once().await {
                Ok(()) => (successes, failures) = (successes + 1, 0),
                Err(why) => {
                    (successes, failures) = (0, failures + 1);
                    self.tell(&why);
                }
            }
            let well = successes >= self.threshold("successThreshold", 1);
            let ill = failures >= self.threshold("failureThreshold", 3);
            match self.kind {
                Kind::Readiness if well || ill => self.set_ready(well),
                Kind::Liveness if ill => {
                    self.verdicts.send_replace(Some(Verdict::LivenessFailed));
                    return;
                }
                _ => {}
            }
        }
    }

    /// Only a change is worth a status.
    fn set_ready(&self, ready: bool) {
        let is_ready = self.pod.states().0.get(&self.container).is_some_and(|state| state.ready);
        if is_ready != ready {
            self.pod.set(&self.container, |state| state.ready = ready && state.is_running());
        }
    }
}

/// Runs a lifecycle hook.
pub(super) async fn hook(pod: &PodContext, container: &str, session: &Session, hook: &Value) -> Result<(), String> {
    if let Some(seconds) = object::i64_at(hook, "/sleep/seconds") {
        tokio::time::sleep(Duration::from_secs(seconds.max(0).unsigned_abs())).await;
        return Ok(());
    }
    let object = pod.object();
    let ports = super::pod::containers(&object).find(|(spec, _)| spec["name"] == container);
    let ports = ports.map(|(spec, _)| spec["ports"].clone()).unwrap_or_default();
    let outcome = tokio::time::timeout(HOOK_PATIENCE, act(pod, container, session, hook, &ports)).await;
    outcome.unwrap_or_else(|_| Err("the hook took too long".to_owned()))
}

/// One attempt of whatever the probe or hook is made of.
async fn act(pod: &PodContext, container: &str, session: &Session, what: &Value, ports: &Value) -> Result<(), String> {
    if let Some(command) = what.pointer("/exec/command").and_then(Value::as_array) {
        let argv = command.iter().filter_map(|it| it.as_str().map(str::to_owned)).collect();
        return exec(pod, container, session, argv).await;
    }
    let address = address(pod, what, ports)?;
    if what.get("tcpSocket").is_some() {
        return connect(address).await.map(drop);
    }
    if what.get("grpc").is_some() {
        return super::grpc::check(connect(address).await?, address, object::str_at(what, "/grpc/service")).await;
    }
    let words = target_words(pod, what, ports);
    let stream = connect(address).await.map_err(|why| format!("{words}{why}"))?;
    let code = if object::str_at(what, "/httpGet/scheme") == "HTTPS" {
        let stream = super::tls::connect(stream, address).await.map_err(|why| format!("{words}{why}"))?;
        get(stream, address, what).await
    } else {
        get(stream, address, what).await
    };
    match code.map_err(|why| format!("{words}{why}"))? {
        200..400 => Ok(()),
        code => Err(format!("HTTP probe failed with statuscode: {code}")),
    }
}

/// `Get "http://127.16.1.1:8080/readyz": `, as Go's client begins its errors.
fn target_words(pod: &PodContext, what: &Value, ports: &Value) -> String {
    match (address(pod, what, ports), what.get("httpGet")) {
        (Ok(address), Some(get)) => {
            let scheme = object::str_at(get, "/scheme").to_lowercase();
            format!("Get \"{scheme}://{address}{}\": ", object::str_at(get, "/path"))
        }
        _ => String::new(),
    }
}

fn address(pod: &PodContext, what: &Value, ports: &Value) -> Result<SocketAddr, String> {
    let place = ["/httpGet", "/tcpSocket", "/grpc"].iter().find_map(|field| what.pointer(field));
    let place = place.ok_or("the probe says neither exec nor httpGet, tcpSocket or grpc")?;
    let port = match &place["port"] {
        Value::String(name) => {
            let ports = ports.as_array().map(Vec::as_slice).unwrap_or_default();
            let named = ports.iter().find(|port| port["name"] == name.as_str());
            named.and_then(|port| port["containerPort"].as_u64())
        }
        number => number.as_u64(),
    };
    let port =
        port.and_then(|port| u16::try_from(port).ok()).ok_or_else(|| format!("no port is named {}", place["port"]))?;
    let host = match object::str_at(place, "/host") {
        "" => pod.address.into(),
        host => host.parse().map_err(|_| format!("{host:?} is not an address"))?,
    };
    Ok(SocketAddr::new(host, port))
}

async fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    TcpStream::connect(address).await.map_err(|error| {
        let why = if error.kind() == std::io::ErrorKind::ConnectionRefused {
            "connection refused".to_owned()
        } else {
            error.to_string()
        };
        format!("dial tcp {address}: connect: {why}")
    })
}

/// The status code of one GET.
async fn get<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    address: SocketAddr,
    what: &Value,
) -> Result<u16, String> {
    let path = match object::str_at(what, "/httpGet/path") {
        "" => "/",
        path => path,
    };
    let mut request = format!("GET {path} HTTP/1.1\r\nConnection: close\r\n");
    let mut has_host = false;
    for header in object::array_at(what, "/httpGet/httpHeaders") {
        let (name, value) = (object::str_at(header, "/name"), object::str_at(header, "/value"));
        has_host |= name.eq_ignore_ascii_case("host");
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    if !has_host {
        request.push_str(&format!("Host: {address}\r\n"));
    }
    request.push_str("User-Agent: kube-probe/1.36\r\nAccept: */*\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
    let mut answer = Vec::new();
    let mut chunk = [0; 512];
    loop {
        let read = stream.read(&mut chunk).await.map_err(|error| error.to_string())?;
        answer.extend_from_slice(&chunk[..read]);
        if let Some(end) = answer.iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(&answer[..end]).into_owned();
            let code = line.split(' ').nth(1).and_then(|code| code.trim().parse().ok());
            return code.filter(|_| line.starts_with("HTTP/1.")).ok_or_else(|| "malformed HTTP response".to_owned());
        }
        if read == 0 || answer.len() > ANSWER_BYTES_MAX {
            return Err("EOF".to_owned());
        }
    }
}

async fn exec(pod: &PodContext, container: &str, session: &Session, argv: Vec<String>) -> Result<(), String> {
    let object = pod.object();
    let found = super::pod::containers(&object).find(|(spec, _)| spec["name"] == container);
    let (spec, _) = found.ok_or("the container is gone")?;
    let image =
        pod.kubelet.images.resolve(object::str_at(&spec, "/image")).ok().flatten().ok_or("the image is gone")?;
    let mut command = launch::command(pod, &object, &spec, &image, &mut Vec::new())?;
    command.argv = argv;
    let (output, ours) = super::streams::pipe().map_err(|error| error.to_string())?;
    let (null, _) = super::streams::pipe().map_err(|error| error.to_string())?;
    let error_output = ours.try_clone().map_err(|error| error.to_string())?;
    let mut exec = session.exec(command, &[null, ours, error_output]).await?;
    let text = tokio::spawn(super::streams::read_some(output));
    let status = exec.wait().await;
    if status == ExitStatus::Code(0) {
        return Ok(());
    }
    let text = text.await.unwrap_or_default();
    Err(String::from_utf8_lossy(&text).trim_end().to_owned())
}
