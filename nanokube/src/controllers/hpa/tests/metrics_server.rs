//! An aggregated server: HTTPS on loopback with a certificate of its own, answering what a test tells it to, and
//! registered by a Service and an APIService whose `caBundle` is that certificate.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::controllers::lab::Lab;

const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 16, 128, 77);

pub(super) struct MetricsServer {
    port: u16,
    certificate: String,
    /// What was asked for, path and query.
    pub(super) asked: Arc<Mutex<Vec<String>>>,
    answer: Arc<Mutex<(u16, String)>>,
    /// Ends with this.
    _runtime: tokio::runtime::Runtime,
}

impl MetricsServer {
    pub(super) fn start() -> MetricsServer {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind((ADDRESS, 0))).unwrap();
        let port = listener.local_addr().unwrap().port();
        let signed = rcgen::generate_simple_self_signed(["adapter.default.svc".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signed.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.unwrap().with_no_client_auth().with_single_cert(vec![signed.cert.der().clone()], key);
        let tls = TlsAcceptor::from(Arc::new(config.unwrap()));
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let answer = Arc::new(Mutex::new((404, String::new())));
        runtime.spawn(serve(listener, tls, asked.clone(), answer.clone()));
        MetricsServer { port, certificate: signed.cert.pem(), asked, answer, _runtime: runtime }
    }

    pub(super) fn answer(&self, code: u16, body: impl Into<String>) {
        *self.answer.lock().unwrap() = (code, body.into());
    }

    pub(super) fn register(&self, lab: &mut Lab, group: &str, version: &str) {
        let ports = json!([{ "port": self.port, "protocol": "TCP" }]);
        let service = json!({ "metadata": { "name": "adapter" }, "spec": { "clusterIP": ADDRESS, "ports": ports } });
        lab.create("services", service);
        let service = json!({ "name": "adapter", "namespace": "default", "port": self.port });
        let spec = json!({
            "group": group, "version": version, "service": service, "caBundle": STANDARD.encode(&self.certificate),
            "groupPriorityMinimum": 100, "versionPriority": 100,
        });
        let name = format!("{version}.{group}");
        lab.create("apiservices.apiregistration.k8s.io", json!({ "metadata": { "name": name }, "spec": spec }));
    }
}

async fn serve(
    listener: TcpListener,
    tls: TlsAcceptor,
    asked: Arc<Mutex<Vec<String>>>,
    answer: Arc<Mutex<(u16, String)>>,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let Ok(stream) = tls.accept(stream).await else { continue };
        let service = service_fn(|request: http::Request<hyper::body::Incoming>| {
            asked.lock().unwrap().push(request.uri().to_string());
            let (code, body) = answer.lock().unwrap().clone();
            let response = http::Response::builder().status(code).body(Full::new(bytes::Bytes::from(body)));
            async { response }
        });
        // A client that breaks off is its own affair.
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    }
}

/// A MetricValueList of one value an object.
pub(super) fn values(kind: &str, values: &[(&str, &str)]) -> String {
    let item = |(name, value): &(&str, &str)| {
        json!({
            "describedObject": { "kind": kind, "namespace": "default", "name": name },
            "metric": { "name": "rps" }, "timestamp": "2026-01-01T00:00:00Z", "value": value,
        })
    };
    let items: Vec<Value> = values.iter().map(item).collect();
    json!({ "kind": "MetricValueList", "apiVersion": "custom.metrics.k8s.io/v1beta2", "items": items }).to_string()
}
