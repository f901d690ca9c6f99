//! A node on a cluster in memory, with an image made of this machine's own shell: what the tests act on.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nanokube::api::auth::Token;
use nanokube::cli::Limiter;
use nanokube::cluster::{Cluster, DeleteOptions, Part, Patch, Writer};
use nanokube::image::{ImageStore, host_architecture};
use nanokube::metrics::Metrics;
use nanokube::node::{Isolation, NODE_NAME, Node, NodeConfig};
use nanokube::object::{self, Object};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Long enough for a machine that does ten other things.
const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const IMAGE: &str = "localhost/shell:1";
const PROGRAMS: [&str; 8] = ["sh", "cat", "sleep", "id", "ls", "setsid", "touch", "hostname"];

pub(crate) struct Lab {
    pub(crate) cluster: Cluster,
    pub(crate) node: Node,
    pub(crate) metrics: Metrics,
    pub(crate) dir: Arc<tempfile::TempDir>,
}

impl Lab {
    pub(crate) fn start() -> Lab {
        Lab::with(Limiter::Auto)
    }

    pub(crate) fn with(limiter: Limiter) -> Lab {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        Lab::again(Cluster::in_memory(), dir, limiter, None)
    }

    /// As on a machine that lets nobody have namespaces or control groups.
    pub(crate) fn bare() -> Lab {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        Lab::again(Cluster::in_memory(), dir, Limiter::Signals, Some(Isolation::None))
    }

    /// A node in a directory and on a cluster that may have been another node's before.
    pub(crate) fn again(
        cluster: Cluster,
        dir: Arc<tempfile::TempDir>,
        limiter: Limiter,
        isolation: Option<Isolation>,
    ) -> Lab {
        let images = ImageStore::open(&dir.path().join("images")).unwrap();
        let archive = dir.path().join("shell.tar");
        fs::write(&archive, shell_archive()).unwrap();
        images.load(&archive).unwrap();
        if cluster.get("namespaces", "", "default").is_none() {
            cluster.create("namespaces", "", json!({ "metadata": { "name": "default" } }), &writer()).unwrap();
            // What controllers put into each namespace, for the volume with the pod's token.
            let authority = json!({ "metadata": { "name": "kube-root-ca.crt" }, "data": { "ca.crt": "" } });
            cluster.create("configmaps", "default", authority, &writer()).unwrap();
            let account = json!({ "metadata": { "name": "default" } });
            cluster.create("serviceaccounts", "default", account, &writer()).unwrap();
        }
        let block: u16 = rand::random();
        let address = |last| Ipv4Addr::new(127, 251 + (block >> 8) as u8 % 4, block as u8, last);
        let config = NodeConfig {
            address: address(1),
            pod_addresses: (address(2), address(254)),
            instance: format!("test-{block:x}-{}", std::process::id()),
            pods_dir: dir.path().join("pods"),
            cpus: None,
            limiter,
            kubeconfig: dir.path().join("kubeconfig"),
            token: Token::new("the token".to_owned()),
            program: env!("CARGO_BIN_EXE_nanokube").into(),
        };
        let metrics = Metrics::new(Duration::from_secs(1));
        let node = match isolation {
            Some(isolation) => Node::start_isolated(cluster.clone(), images, metrics.clone(), config, isolation),
            None => Node::start(cluster.clone(), images, metrics.clone(), config),
        };
        Lab { cluster, node: node.unwrap(), metrics, dir }
    }

    /// Creates a pod of one container that runs `script` in the shell; `more` is merged into the container.
    pub(crate) fn run(&self, name: &str, script: &str, more: Value) -> Object {
        let mut container = json!({ "name": "app", "image": IMAGE, "command": ["/bin/sh", "-c", script] });
        merge(&mut container, more);
        self.create(name, json!({ "containers": [container] }))
    }

    pub(crate) fn create(&self, name: &str, mut spec: Value) -> Object {
        merge(&mut spec, json!({ "nodeName": NODE_NAME }));
        if spec.get("terminationGracePeriodSeconds").is_none() {
            spec["terminationGracePeriodSeconds"] = 1.into();
        }
        let metadata = json!({ "name": name, "labels": { "app": name } });
        let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec });
        self.cluster.create("pods", "default", pod, &writer()).unwrap()
    }

    pub(crate) fn pod(&self, name: &str) -> Value {
        self.cluster.get("pods", "default", name).map(|pod| Value::clone(&pod)).unwrap_or(Value::Null)
    }

    pub(crate) fn delete(&self, name: &str) {
        self.cluster.delete("pods", "default", name, &DeleteOptions::default(), &writer()).unwrap();
    }

    /// Waits until the pod is as wanted, and returns it.
    pub(crate) async fn until(&self, name: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.wait(&format!("pod {name} {what}"), || Some(self.pod(name)).filter(&wanted)).await
    }

    pub(crate) async fn until_phase(&self, name: &str, phase: &str) -> Value {
        self.until(name, &format!("is {phase}"), |pod| pod["status"]["phase"] == phase).await
    }

    pub(crate) async fn until_ready(&self, name: &str) -> Value {
        self.until(name, "is ready", |pod| object::condition_status(pod, "Ready") == Some("True")).await
    }

    pub(crate) async fn until_gone(&self, name: &str) {
        self.until(name, "is gone", Value::is_null).await;
    }

    pub(crate) async fn wait<T>(&self, what: &str, look: impl Fn() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look() {
                return found;
            }
            if Instant::now() > deadline {
                let pods: Vec<_> =
                    self.cluster.list("pods", None).items.iter().map(|pod| pod["status"].clone()).collect();
                panic!("gave up waiting: {what}\nstatus: {pods:#?}\nevents: {:#?}", self.events());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// `Reason: message` of every event, oldest first.
    pub(crate) fn events(&self) -> Vec<String> {
        let line =
            |event: &Object| format!("{}: {}", object::str_at(event, "/reason"), object::str_at(event, "/message"));
        self.cluster.list("events", None).items.iter().map(line).collect()
    }

    pub(crate) async fn until_event(&self, text: &str) -> String {
        self.wait(&format!("event {text}"), || self.events().into_iter().find(|event| event.contains(text))).await
    }

    pub(crate) async fn log(&self, name: &str, options: nanokube::node::log::LogOptions) -> String {
        use futures::StreamExt;
        let pod = self.cluster.get("pods", "default", name).unwrap();
        let mut stream = Box::pin(self.node.kubelet().logs(&pod, "app", &options).unwrap());
        let mut text = Vec::new();
        while let Some(piece) = stream.next().await {
            text.extend_from_slice(&piece.unwrap());
        }
        String::from_utf8(text).unwrap()
    }

    /// Runs a program in the pod: its output and exit code.
    pub(crate) async fn exec(&self, name: &str, script: &str) -> (String, i32) {
        use nanokube::node::ExecStreams;
        use tokio::io::AsyncReadExt;
        let pod = self.cluster.get("pods", "default", name).unwrap();
        let argv = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        let mut session = self.node.kubelet().exec(&pod, "app", argv, false).await.unwrap();
        let Some(ExecStreams::Pipes { output, .. }) = session.streams.take() else { panic!("no pipes") };
        let mut text = String::new();
        tokio::fs::File::from_std(output.into()).read_to_string(&mut text).await.unwrap();
        (text, session.wait().await)
    }

    pub(crate) fn put(&self, resource: &str, name: &str, fields: Value) {
        let mut object = json!({ "metadata": { "name": name } });
        merge(&mut object, fields.clone());
        if self.cluster.get(resource, "default", name).is_some() {
            self.cluster.patch(resource, "default", name, Patch::Merge(fields), Part::Object, &writer()).unwrap();
        } else {
            self.cluster.create(resource, "default", object, &writer()).unwrap();
        }
    }
}

/// Commands of processes that hold this text among their arguments.
pub(crate) fn processes_with(marker: &str) -> Vec<i32> {
    let pids =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let own = std::process::id() as i32;
    let holds = |pid: &i32| {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        *pid != own && arguments.split(|byte| *byte == 0).any(|argument| argument == marker.as_bytes())
    };
    pids.filter(holds).collect()
}

pub(crate) fn writer() -> Writer {
    Writer::controller("test")
}

pub(crate) fn merge(into: &mut Value, from: Value) {
    let (Some(into), Value::Object(from)) = (into.as_object_mut(), from) else { return };
    into.extend(from);
}

/// A docker-archive with programs of this machine; their libraries are lent by the node.
pub(crate) fn shell_archive() -> Vec<u8> {
    let mut layer = tar::Builder::new(Vec::new());
    for program in PROGRAMS {
        let found = ["/bin", "/usr/bin"].map(|dir| Path::new(dir).join(program)).into_iter().find(|path| path.exists());
        let bytes = fs::read(found.unwrap_or_else(|| panic!("this machine has no {program}"))).unwrap();
        add(&mut layer, &format!("bin/{program}"), &bytes);
    }
    // The tests' own program, which can play a server.
    add(&mut layer, "bin/tests", &fs::read(std::env::current_exe().unwrap()).unwrap());
    let layer = layer.into_inner().unwrap();
    let config = json!({
        "architecture": host_architecture(), "os": "linux",
        "config": { "Cmd": ["/bin/sh"], "Env": ["FROM_IMAGE=yes"] },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", hex(&layer))] },
    });
    let config = serde_json::to_vec(&config).unwrap();
    let (config_name, layer_name) = (format!("{}.json", hex(&config)), format!("{}/layer.tar", hex(&layer)));
    let manifest = json!([{ "Config": config_name, "RepoTags": [IMAGE], "Layers": [layer_name] }]);
    let mut outer = tar::Builder::new(Vec::new());
    add(&mut outer, &config_name, &config);
    add(&mut outer, &layer_name, &layer);
    add(&mut outer, "manifest.json", &serde_json::to_vec(&manifest).unwrap());
    outer.into_inner().unwrap()
}

fn add(archive: &mut tar::Builder<Vec<u8>>, name: &str, data: &[u8]) {
    let mut header = tar::Header::new_ustar();
    header.set_size(data.len() as u64);
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    archive.append_data(&mut header, name, data).unwrap();
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
