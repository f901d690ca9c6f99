//! Stand-ins: an API server that knows a few pods and one Service, and pods that show metrics, or fail to.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::Instant;

use serde_json::{Value, json};

pub(crate) struct Cluster {
    pub(crate) pods: Vec<PodStandIn>,
    port: u16,
}

pub(crate) struct PodStandIn {
    mood: Arc<AtomicU8>,
    port: u16,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Mood {
    Well,
    /// Answers 500.
    Failing,
    /// Answers nothing.
    Silent,
    /// Answers what is no metrics page.
    Garbled,
    /// Answers a page without an end.
    Endless,
    /// Answers, a byte at a time.
    Dripping,
    /// Has no number to show.
    Unsure,
}

impl Cluster {
    /// Pods by name, each with the depth of its queue.
    pub(crate) fn start(pods: &[(&str, u32)]) -> Cluster {
        let names: Vec<&str> = pods.iter().map(|(name, _)| *name).collect();
        let pods: Vec<PodStandIn> = pods.iter().map(|(_, depth)| PodStandIn::start(*depth)).collect();
        let objects: Vec<Value> = names.iter().zip(&pods).map(|(name, pod)| object(name, pod.port)).collect();
        let port = serve(move |path, stream| api(path, &objects, stream));
        Cluster { pods, port }
    }

    pub(crate) fn kubeconfig(&self) -> String {
        let server = format!("http://127.0.0.1:{}", self.port);
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "lab",
            "clusters": [{ "name": "lab", "cluster": { "server": server } }],
            "users": [{ "name": "lab", "user": {} }],
            "contexts": [{ "name": "lab", "context": { "cluster": "lab", "user": "lab", "namespace": "lab" } }],
        })
        .to_string()
    }
}

impl PodStandIn {
    fn start(depth: u32) -> PodStandIn {
        let mood = Arc::new(AtomicU8::new(Mood::Well as u8));
        let (now, born) = (mood.clone(), Instant::now());
        let port = serve(move |_, stream| match now.load(Relaxed) {
            mood if mood == Mood::Failing as u8 => answer(stream, 500, ""),
            // Held for longer than anybody waits.
            mood if mood == Mood::Silent as u8 => std::thread::sleep(std::time::Duration::from_secs(2)),
            mood if mood == Mood::Garbled as u8 => answer(stream, 200, "<html>\n"),
            mood if mood == Mood::Unsure as u8 => answer(stream, 200, "work_queue_depth NaN\n"),
            mood if mood == Mood::Endless as u8 => write_on(stream, &"# filler\n".repeat(8000)),
            mood if mood == Mood::Dripping as u8 => write_on(stream, "#"),
            _ => {
                let good = born.elapsed().as_millis() / 100;
                let page = format!(
                    "work_queue_depth {depth}\nhttp_requests_total{{path=\"/work\",code=\"200\"}} {good}\n\
                     http_requests_total{{path=\"/work\",code=\"503\"}} {}\n\
                     http_requests_total{{path=\"/readyz\",code=\"200\"}} {}\n",
                    good / 2,
                    good * 100,
                );
                answer(stream, 200, &page);
            }
        });
        PodStandIn { mood, port }
    }

    pub(crate) fn set(&self, mood: Mood) {
        self.mood.store(mood as u8, Relaxed);
    }
}

fn object(name: &str, port: u16) -> Value {
    json!({
        "metadata": {
            "name": name, "namespace": "lab", "uid": name, "labels": { "app": "web", "pod-name": name },
            "annotations": { "prometheus.io/scrape": "true", "prometheus.io/port": port.to_string() },
        },
        "spec": { "containers": [{ "name": "web" }] },
        "status": { "phase": "Running", "podIP": "127.0.0.1", "conditions": [{ "type": "Ready", "status": "True" }] },
    })
}

fn api(path: &str, pods: &[Value], mut stream: TcpStream) {
    if path.contains("watch=true") {
        // Nothing ever changes: the connection stays open until the adapter ends.
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n");
        let _ = BufReader::new(stream).lines().count();
    } else if path.starts_with("/api/v1/namespaces/lab/pods") {
        let list =
            json!({ "kind": "PodList", "apiVersion": "v1", "metadata": { "resourceVersion": "1" }, "items": pods });
        answer(stream, 200, &list.to_string());
    } else if path == "/api/v1/namespaces/lab/services/web" {
        let service = json!({ "metadata": { "name": "web" }, "spec": { "selector": { "app": "web" } } });
        answer(stream, 200, &service.to_string());
    } else {
        let name = path.rsplit('/').next().unwrap();
        let message = format!("services {name:?} not found");
        let status =
            json!({ "kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound", "message": message });
        answer(stream, 404, &status.to_string());
    }
}

/// Serves each connection on a thread of its own, one request each.
fn serve(handle: impl Fn(&str, TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let handle = Arc::new(handle);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let handle = handle.clone();
            std::thread::spawn(move || {
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                let Some(first) = lines.next() else { return };
                lines.find(|line| line.is_empty());
                handle(first.split(' ').nth(1).unwrap_or_default(), stream);
            });
        }
    });
    port
}

/// A body of such pieces until the other side has had enough.
fn write_on(mut stream: TcpStream, piece: &str) {
    let mut sent = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
    while sent.is_ok() {
        sent = stream.write_all(piece.as_bytes());
        if piece.len() == 1 {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

fn answer(mut stream: TcpStream, code: u16, body: &str) {
    // A client that is gone needs no answer.
    let _ = write!(
        stream,
        "HTTP/1.1 {code} Stand-in\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
}
