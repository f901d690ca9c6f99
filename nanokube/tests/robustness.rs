//! No request, however broken, stops the daemon or makes it grow: mutated bodies for every decoder, queries that make no
//! sense, headers and bodies without end, clients that stop half-way, and a disk that is full.
//!
//! `NANOKUBE_MUTATIONS` sets the number of mutated requests (default 1500), `NANOKUBE_SEED` repeats a run.

// Helpers outside of `#[test]` functions fail a test by panicking too.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use nanokube::client::{Answer, Call, Client};
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

mod process;

use process::Process;

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
/// Idle it is below 30 MB; what thousands of refused requests may add to that.
const RESIDENT_LIMIT_MB: f64 = 150.0;
const PATIENCE: Duration = Duration::from_secs(30);

struct Daemon {
    process: Process,
    dir: tempfile::TempDir,
    client: Client,
}

impl Daemon {
    fn start() -> Daemon {
        let dir = tempfile::tempdir().unwrap();
        let process = process::start(dir.path(), &[]);
        let client = Client::from_kubeconfig(&dir.path().join("kubeconfig")).unwrap();
        Daemon { dir, process, client }
    }

    async fn send(&self, call: &Call) -> Answer {
        tokio::time::timeout(PATIENCE, self.client.send(call)).await.expect("no answer").unwrap()
    }

    async fn assert_well(&self) {
        let answer = self.send(&get("/healthz")).await;
        assert_eq!((answer.status, &answer.body[..]), (200, &b"ok"[..]));
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.0.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        let resident_mb = line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0;
        assert!(resident_mb < RESIDENT_LIMIT_MB, "{resident_mb} MB");
    }

    /// A bare TLS connection, for what no HTTP client would send.
    async fn raw(&self) -> (TlsStream<TcpStream>, String) {
        let text = std::fs::read_to_string(self.dir.path().join("kubeconfig")).unwrap();
        let config: Value = serde_yaml::from_str(&text).unwrap();
        let token = config["users"][0]["user"]["token"].as_str().unwrap().to_string();
        let cluster = &config["clusters"][0]["cluster"];
        let address = cluster["server"].as_str().unwrap().trim_start_matches("https://").to_string();
        let pem = base64::engine::general_purpose::STANDARD
            .decode(cluster["certificate-authority-data"].as_str().unwrap())
            .unwrap();
        let mut roots = RootCertStore::empty();
        CertificateDer::pem_slice_iter(&pem).for_each(|found| roots.add(found.unwrap()).unwrap());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(&address).await.unwrap();
        let host = address.rsplit_once(':').unwrap().0.to_string();
        let tls = tokio_rustls::TlsConnector::from(Arc::new(config));
        (tls.connect(ServerName::try_from(host).unwrap(), stream).await.unwrap(), token)
    }
}

fn get(path: &str) -> Call {
    Call { method: "GET".into(), path: path.into(), ..Call::default() }
}

fn with_body(method: &str, path: &str, content_type: &str, body: impl Into<bytes::Bytes>) -> Call {
    let content_type = Some(content_type.to_string());
    Call { method: method.into(), path: path.into(), content_type, body: body.into(), ..Call::default() }
}

/// A small generator, so that a seed repeats a run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }

    /// A few bytes flipped, cut, doubled or exchanged for what decoders are afraid of.
    fn mutate(&mut self, original: &[u8]) -> Vec<u8> {
        const FEARED: [&[u8]; 12] = [
            b"\0",
            b"\xff\xff\xff\xff\x0f",
            b"{",
            b"[",
            b"\"",
            b"\\u",
            b"-1",
            b"1e999",
            b"99999999999999999999",
            b"null",
            b"&a [*a]",
            b"\xc3\x28",
        ];
        let mut bytes = original.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            match self.below(5) {
                0 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                1 => bytes.truncate(at),
                2 => {
                    let piece = bytes[at..(at + self.below(40)).min(bytes.len())].to_vec();
                    bytes.splice(at..at, piece);
                }
                3 => drop(bytes.splice(at..at, FEARED[self.below(FEARED.len())].iter().copied())),
                _ => drop(bytes.drain(at..(at + self.below(8)).min(bytes.len()))),
            }
        }
        bytes
    }
}

/// One good request for every decoder; what is mutated is its body, or its query when it has none.
fn good_requests() -> Vec<Call> {
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "m", "labels": { "a": "b" } },
        "spec": {
            "replicas": 0,
            "selector": { "matchLabels": { "a": "b" } },
            "template": {
                "metadata": { "labels": { "a": "b" } },
                "spec": { "containers": [{ "name": "c", "image": "x", "env": [{ "name": "N", "value": "1" }] }] },
            },
        },
    });
    let yaml = serde_yaml::to_string(&deployment).unwrap();
    let item = format!("{DEPLOYMENTS}/base");
    let patch = json!({ "spec": { "template": { "spec": {
        "$setElementOrder/containers": [{ "name": "c" }],
        "containers": [{ "name": "c", "env": [{ "name": "N", "$patch": "delete" }] }],
    } } } });
    let operations = json!([
        { "op": "test", "path": "/metadata/name", "value": "base" },
        { "op": "copy", "from": "/spec", "path": "/metadata/annotations" },
        { "op": "add", "path": "/spec/template/spec/containers/-", "value": { "name": "d", "image": "y" } },
    ]);
    let namespace = base64::engine::general_purpose::STANDARD
        .decode("azhzAAoPCgJ2MRIJTmFtZXNwYWNlEhwKFAoEcGJucxIAGgAiACoAMgA4AEIAEgAaAgoAGgAiAA==")
        .unwrap();
    let selectors = "labelSelector=a+in+(b,c),!d,e!=f,g>1&fieldSelector=metadata.name!%3Dx,status.phase%3DRunning";
    vec![
        with_body("POST", DEPLOYMENTS, "application/json", deployment.to_string()),
        with_body("POST", DEPLOYMENTS, "application/yaml", yaml.clone()),
        with_body("POST", "/api/v1/namespaces", PROTOBUF, namespace),
        with_body("PUT", &item, "application/json", deployment.to_string()),
        with_body("PATCH", &item, "application/merge-patch+json", patch.to_string()),
        with_body("PATCH", &item, "application/strategic-merge-patch+json", patch.to_string()),
        with_body("PATCH", &item, "application/json-patch+json", operations.to_string()),
        with_body("PATCH", &format!("{item}?fieldManager=m&force=true"), "application/apply-patch+yaml", yaml),
        with_body("DELETE", &format!("{DEPLOYMENTS}/gone"), "application/json", r#"{"gracePeriodSeconds":1}"#),
        get(&format!("/api/v1/pods?{selectors}")),
        get(&format!(
            "{CONFIG_MAPS}?limit=1&continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJhL2JcdTAwMDAifQ"
        )),
        get(&format!("{CONFIG_MAPS}?resourceVersion=5&resourceVersionMatch=Exact&timeoutSeconds=1&limit=3")),
    ]
}

/// What HTTP allows in a request line.
fn as_query(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("%{byte:02x}")).collect()
}

#[tokio::test]
async fn mutated_requests_are_answered_and_change_nothing_else() {
    let daemon = Daemon::start();
    let seed = std::env::var("NANOKUBE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(0x5eed);
    let rounds = std::env::var("NANOKUBE_MUTATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_500);
    let requests = good_requests();
    let mut base: Value = serde_json::from_slice(&requests[0].body).unwrap();
    base["metadata"]["name"] = "base".into();
    let created = daemon.send(&with_body("POST", DEPLOYMENTS, "application/json", base.to_string())).await;
    assert_eq!(created.status, 201, "{}", created.json());
    let mut random = Random(seed);
    for round in 0..rounds {
        let mut call = requests[round % requests.len()].clone();
        if call.body.is_empty() {
            let (path, query) = call.path.split_once('?').unwrap();
            let (key, value) = query.split_once('=').unwrap();
            call.path = format!("{path}?{key}={}", as_query(&random.mutate(value.as_bytes())));
        } else {
            call.body = random.mutate(&call.body).into();
        }
        let answer = daemon.send(&call).await;
        let known = matches!(answer.status, 200 | 201 | 400 | 404 | 405 | 409 | 410 | 413 | 415 | 422 | 500 | 504);
        let said = answer.json();
        assert!(known && said.is_object(), "seed {seed}, round {round}: {call:?}\n{} {said}", answer.status);
        // Go's server words some refusals as 500 as well; what was not foreseen would have no message.
        assert!(answer.status != 500 || said["message"].is_string(), "seed {seed}, round {round}: {said}");
    }
    daemon.assert_well().await;
}

#[tokio::test]
async fn bodies_without_bounds_are_refused() {
    let daemon = Daemon::start();
    let nested = |open: &str, close: &str| format!("{}{}", open.repeat(500_000), close.repeat(500_000));
    let aliases: String = (0..30).map(|at| format!("a{at}: &a{at} [*a{0},*a{0}]\n", at - 1)).collect();
    let doubling = json!({ "op": "copy", "from": "/metadata", "path": "/metadata/labels" });
    let message: Vec<u8> = (0..200_000).flat_map(|_| [0x0a, 0x7f]).collect();
    let bodies = [
        with_body("POST", CONFIG_MAPS, "application/json", nested("[", "]")),
        with_body("POST", CONFIG_MAPS, "application/json", nested("{\"a\":", "}")),
        with_body("POST", CONFIG_MAPS, "application/yaml", nested("[", "]")),
        with_body("POST", CONFIG_MAPS, "application/yaml", format!("a-1: &a-1 x\n{aliases}").replace("a-1", "b")),
        with_body("POST", CONFIG_MAPS, PROTOBUF, [&b"k8s\0"[..], &message].concat()),
        with_body(
            "PATCH",
            "/api/v1/namespaces/default",
            "application/json-patch+json",
            Value::from(vec![doubling; 5_000]).to_string(),
        ),
    ];
    // The server answers before it has read all of this, so the client may learn of the closed connection first.
    let endless = with_body("POST", CONFIG_MAPS, "application/json", vec![b' '; 4 << 20]);
    let refused = tokio::time::timeout(PATIENCE, daemon.client.send(&endless)).await.expect("no answer");
    assert!(refused.is_err() || refused.is_ok_and(|answer| answer.status == 413));
    for call in bodies {
        let answer = daemon.send(&call).await;
        let start: String = String::from_utf8_lossy(&call.body).chars().take(20).collect();
        assert!((400..500).contains(&answer.status), "{start}: {} {}", answer.status, answer.json());
    }
    daemon.assert_well().await;
}

#[tokio::test]
async fn connections_that_never_end_their_request_cost_nothing() {
    let daemon = Daemon::start();
    let mut halves = Vec::new();
    for _ in 0..50 {
        // A client that stops in the middle of its headers, and one that stops in the middle of its body.
        let (mut stream, token) = daemon.raw().await;
        stream.write_all(b"GET /api HTTP/1.1\r\nHost: x\r\nX-Half").await.unwrap();
        halves.push(stream);
        let (mut stream, _) = daemon.raw().await;
        let head = format!(
            "POST {CONFIG_MAPS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 1000\r\n\r\n{{"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        halves.push(stream);
    }
    // Headers without end are cut off with an answer, or with the connection.
    let (mut stream, _) = daemon.raw().await;
    stream.write_all(b"GET /api HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    let flood = async {
        for _ in 0..100_000 {
            if stream.write_all(format!("X-Header: {}\r\n", "x".repeat(100)).as_bytes()).await.is_err() {
                return;
            }
        }
        panic!("ten megabytes of headers were taken");
    };
    tokio::time::timeout(PATIENCE, flood).await.expect("the flood was neither read nor refused");
    daemon.assert_well().await;
}

/// The daemon on a small disk of its own, which a file fills; None where this machine allows no such thing.
fn start_on_small_disk(dir: &Path) -> Option<Process> {
    let script = "mount -t tmpfs -o size=6m disk \"$0\" && head -c 2000000 /dev/zero > \"$0/filler\" && \
                  exec \"$1\" --dir \"$0/data\" start --foreground";
    let process = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", script])
        .arg(dir)
        .arg(env!("CARGO_BIN_EXE_nanokube"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut process = Process(process.ok()?);
    process.is_ready().then_some(process)
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_serves_reads_until_there_is_space() {
    let dir = tempfile::tempdir().unwrap();
    let Some(process) = start_on_small_disk(dir.path()) else {
        eprintln!("not tried: this machine lets nobody mount a small disk (unshare --map-root-user --mount)");
        return;
    };
    // Its disk is seen through it.
    let disk =
        Path::new("/proc").join(process.0.id().to_string()).join("root").join(dir.path().strip_prefix("/").unwrap());
    let client = Client::from_kubeconfig(&disk.join("data/kubeconfig")).unwrap();
    let daemon = Daemon { dir, process, client };
    let big = |name: &str| json!({ "metadata": { "name": name }, "data": { "k": "x".repeat(400_000) } }).to_string();
    let write = |name: &str| with_body("POST", CONFIG_MAPS, "application/json", big(name));
    let mut stored = 0;
    let refused = loop {
        let answer = daemon.send(&write(&format!("c{stored}"))).await;
        if answer.status != 201 {
            break answer;
        }
        stored += 1;
        assert!(stored < 30, "the disk never fills");
    };
    assert_eq!((refused.status, &refused.json()["reason"]), (507, &"InsufficientStorage".into()), "{}", refused.json());
    let again = daemon.send(&write("again")).await;
    assert_eq!(again.status, 507);
    let listed = daemon.send(&get(CONFIG_MAPS)).await.json();
    let count =
        |list: &Value| list["items"].as_array().unwrap().iter().filter(|item| item["data"]["k"].is_string()).count();
    assert_eq!(count(&listed), stored);
    std::fs::remove_file(disk.join("filler")).unwrap();
    let after = daemon.send(&write("after")).await;
    assert_eq!(after.status, 201, "{}", after.json());
    assert_eq!(count(&daemon.send(&get(CONFIG_MAPS)).await.json()), stored + 1);
}
