//! Real components beside nanokube: the requests that kube-controller-manager and kube-scheduler v1.36.2 send are answered, a
//! server of an APIService can believe who the front proxy says it is, and the real controller manager scales a workload
//! here, where it is installed.
//!
//! `tests/recorded/controller-manager.json` holds one request of each shape as the two sent them, bodies in base64.

// Helpers outside of `#[test]` functions fail a test by panicking too.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use nanokube::client::{Call, Client};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

mod process;

use process::Process;

/// Reached only when something is broken.
const PATIENCE: Duration = Duration::from_secs(60);
const REAL: &str = "kube-controller-manager";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const HPAS: &str = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
const EVENTS: &str = "/api/v1/namespaces/default/events";
const PROTOBUF_OR_JSON: &str = "application/vnd.kubernetes.protobuf, */*";
/// What the two follow, each over all namespaces.
const FOLLOWED: &[&str] = &[
    "/api/v1: configmaps endpoints limitranges namespaces nodes persistentvolumeclaims persistentvolumes pods podtemplates \
     replicationcontrollers resourcequotas secrets serviceaccounts services",
    "/apis/admissionregistration.k8s.io/v1: mutatingadmissionpolicies mutatingadmissionpolicybindings \
     mutatingwebhookconfigurations validatingadmissionpolicies validatingadmissionpolicybindings \
     validatingwebhookconfigurations",
    "/apis/apiextensions.k8s.io/v1: customresourcedefinitions",
    "/apis/apiregistration.k8s.io/v1: apiservices",
    "/apis/apps/v1: controllerrevisions daemonsets deployments replicasets statefulsets",
    "/apis/autoscaling/v2: horizontalpodautoscalers",
    "/apis/batch/v1: cronjobs jobs",
    "/apis/certificates.k8s.io/v1: certificatesigningrequests",
    "/apis/coordination.k8s.io/v1: leases",
    "/apis/discovery.k8s.io/v1: endpointslices",
    "/apis/flowcontrol.apiserver.k8s.io/v1: flowschemas prioritylevelconfigurations",
    "/apis/networking.k8s.io/v1: ingressclasses ingresses ipaddresses networkpolicies servicecidrs",
    "/apis/node.k8s.io/v1: runtimeclasses",
    "/apis/policy/v1: poddisruptionbudgets",
    "/apis/rbac.authorization.k8s.io/v1: clusterrolebindings clusterroles rolebindings roles",
    "/apis/resource.k8s.io/v1: deviceclasses resourceclaims resourceclaimtemplates resourceslices",
    "/apis/scheduling.k8s.io/v1: priorityclasses",
    "/apis/storage.k8s.io/v1: csidrivers csinodes csistoragecapacities storageclasses volumeattachments \
     volumeattributesclasses",
];
/// The query of a reflector's first request: the present state as events, and a bookmark that ends it.
const WATCH_LIST: &str = "allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan&sendInitialEvents=true\
     &timeout=8m17s&timeoutSeconds=497&watch=true";

/// A nanokube that ends with the test.
struct Daemon {
    kubeconfig: PathBuf,
    client: Client,
    _process: Process,
    _dir: tempfile::TempDir,
}

impl Daemon {
    fn start(without: &[&str]) -> Daemon {
        let dir = tempfile::tempdir().unwrap();
        let args: Vec<&str> = without.iter().flat_map(|part| ["--without", part]).collect();
        let process = process::start(dir.path(), &args);
        let kubeconfig = dir.path().join("kubeconfig");
        let client = Client::from_kubeconfig(&kubeconfig).unwrap();
        Daemon { kubeconfig, client, _process: process, _dir: dir }
    }

    async fn create(&self, collection: &str, object: Value) {
        let answer = self.client.write("POST", collection, &object).await.unwrap();
        assert_eq!(answer.status, 201, "{}", answer.json());
    }

    async fn until(&self, path: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.client.get(path).await.unwrap().json();
            if wanted(&found) {
                return found;
            }
            assert!(Instant::now() < deadline, "gave up waiting until {what}: {found:#}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn every_request_that_the_real_components_send_is_understood() {
    let daemon = Daemon::start(&["kube-controller-manager", "kube-scheduler"]);
    daemon.create("/api/v1/namespaces", json!({ "metadata": { "name": "tapns" } })).await;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded/controller-manager.json");
    let requests: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    for request in &requests {
        let text = |field: &str| request[field].as_str().map(str::to_owned);
        let (method, path) = (text("method").unwrap(), text("path").unwrap());
        let body = STANDARD.decode(text("body").unwrap()).unwrap().into();
        let (content_type, accept) = (text("contentType"), text("accept"));
        let call = Call { method: method.clone(), path: path.clone(), content_type, accept, body, ..Call::default() };
        let answer = daemon.client.send(&call).await.unwrap();
        // A create needs nothing that was there before, but for the binding of a pod. Other writes name what only the
        // recording had: they are understood when they fail for that alone.
        let wanted: &[u16] =
            if method == "POST" && !path.ends_with("/binding") { &[201] } else { &[200, 201, 404, 409] };
        assert!(wanted.contains(&answer.status), "{method} {path}: {} {}", answer.status, answer.json());
    }
    assert!(requests.len() >= 27);
}

/// The first line of a watch that ends nowhere.
async fn first_line(client: &Client, path: &str) -> Value {
    let accept = Some(PROTOBUF_OR_JSON.to_owned());
    let call = Call { method: "GET".into(), path: path.into(), accept, ..Call::default() };
    let response = client.start(&call).await.unwrap();
    assert_eq!(response.status(), 200, "{path}");
    let (mut body, mut text) = (response.into_body(), Vec::new());
    while !text.contains(&b'\n') {
        let frame = tokio::time::timeout(PATIENCE, body.frame()).await.expect("an event in time");
        text.extend_from_slice(frame.unwrap().unwrap().data_ref().unwrap());
    }
    serde_json::from_slice(text.split(|byte| *byte == b'\n').next().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn every_kind_that_the_real_components_follow_can_be_followed() {
    let daemon = Daemon::start(&["kube-controller-manager", "kube-scheduler"]);
    for line in FOLLOWED {
        let (root, plurals) = line.split_once(": ").unwrap();
        for plural in plurals.split_whitespace() {
            let first = first_line(&daemon.client, &format!("{root}/{plural}?{WATCH_LIST}")).await;
            let ends = &first["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"];
            assert!(first["type"] == "ADDED" || first["type"] == "BOOKMARK" && ends == "true", "{plural}: {first}");
        }
    }
}

/// A server that believes only clients with a certificate of this authority; it answers who it was told that asks.
async fn serve_believers(authority: &str) -> u16 {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
    let signed = rcgen::generate_simple_self_signed(["who.default.svc".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signed.signing_key.serialize_der()));
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.unwrap().with_client_cert_verifier(verifier);
    let tls = TlsAcceptor::from(Arc::new(config.with_single_cert(vec![signed.cert.der().clone()], key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = tls.accept(stream).await else { continue };
            let service = service_fn(|request: http::Request<hyper::body::Incoming>| async move {
                let user = request.headers().get("X-Remote-User").unwrap().to_str().unwrap().to_owned();
                let body = json!({ "kind": "APIResourceList", "user": user, "resources": [] }).to_string();
                http::Response::builder().body(Full::new(bytes::Bytes::from(body)))
            });
            // A client that breaks off is its own affair.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_asks_for_the_front_proxys_certificate_is_told_who_asks() {
    let daemon = Daemon::start(&[]);
    let path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
    let authentication = daemon.client.get(path).await.unwrap().json()["data"].clone();
    assert_eq!(authentication["requestheader-username-headers"], "[\"X-Remote-User\"]");
    let believers = serve_believers(authentication["requestheader-client-ca-file"].as_str().unwrap()).await;
    // Who shows a certificate of another authority, here that of the server's own, is not believed.
    let strangers = serve_believers(authentication["client-ca-file"].as_str().unwrap()).await;
    for (name, port) in [("who", believers), ("stranger", strangers)] {
        let ports = json!([{ "port": port, "protocol": "TCP" }]);
        let service = json!({ "metadata": { "name": name }, "spec": { "ports": ports } });
        daemon.create("/api/v1/namespaces/default/services", service).await;
        let slice = json!({
            "metadata": { "name": name, "labels": { "kubernetes.io/service-name": name } },
            "addressType": "IPv4",
            "endpoints": [{ "addresses": ["127.0.0.1"], "conditions": { "ready": true } }],
            "ports": ports,
        });
        daemon.create("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", slice).await;
        let spec = json!({
            "group": format!("{name}.example.com"), "version": "v1", "insecureSkipTLSVerify": true,
            "service": { "name": name, "namespace": "default", "port": port },
            "groupPriorityMinimum": 100, "versionPriority": 100,
        });
        let api_service = json!({ "metadata": { "name": format!("v1.{name}.example.com") }, "spec": spec });
        daemon.create("/apis/apiregistration.k8s.io/v1/apiservices", api_service).await;
    }
    let available = |status: &'static str| {
        move |it: &Value| it["status"]["conditions"].as_array().is_some_and(|all| all[0]["status"] == status)
    };
    let path = "/apis/apiregistration.k8s.io/v1/apiservices";
    daemon.until(&format!("{path}/v1.who.example.com"), "the server answers", available("True")).await;
    daemon.until(&format!("{path}/v1.stranger.example.com"), "the other refuses", available("False")).await;
    let answer = daemon.client.get("/apis/who.example.com/v1/people").await.unwrap();
    assert_eq!((answer.status, &answer.json()["user"]), (200, &json!("nanokube-admin")));
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// The real one, with its horizontal pod autoscaler only, looking every second.
fn controller_manager(program: &Path, kubeconfig: &Path) -> Process {
    let child = Command::new(program)
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(["--controllers=horizontal-pod-autoscaler-controller", "--horizontal-pod-autoscaler-sync-period=1s"])
        .args(["--bind-address=127.0.0.1", "--secure-port=0"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Process(child.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_real_controller_manager_scales_a_workload_here() {
    let Some(program) = on_path(REAL) else {
        println!("not tried: {REAL} is not on PATH");
        return;
    };
    let daemon = Daemon::start(&["hpa"]);
    let template = json!({
        "metadata": { "labels": { "app": "web" } },
        "spec": { "containers": [{ "name": "c", "image": "none:1", "imagePullPolicy": "Never" }] },
    });
    let spec = json!({ "replicas": 1, "selector": { "matchLabels": { "app": "web" } }, "template": template });
    daemon.create(DEPLOYMENTS, json!({ "metadata": { "name": "web" }, "spec": spec })).await;
    let target = json!({ "type": "AverageValue", "averageValue": "1" });
    let external = json!({ "type": "External", "external": { "metric": { "name": "queue" }, "target": target } });
    let scaled = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" });
    let spec = json!({ "scaleTargetRef": scaled, "minReplicas": 3, "maxReplicas": 5, "metrics": [external] });
    daemon.create(HPAS, json!({ "metadata": { "name": "web" }, "spec": spec })).await;

    let _manager = controller_manager(&program, &daemon.kubeconfig);
    daemon.until(&format!("{DEPLOYMENTS}/web"), "web has 3 replicas", |it| it["spec"]["replicas"] == 3).await;
    let told = |it: &Value| {
        let mut events = it["items"].as_array().into_iter().flatten();
        events.any(|it| it["reason"] == "SuccessfulRescale" && it["source"]["component"] == "horizontal-pod-autoscaler")
    };
    daemon.until(EVENTS, "the event is there", told).await;
    let lease = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/kube-controller-manager";
    daemon.until(lease, "it leads", |it| it["spec"]["holderIdentity"].is_string()).await;
}
