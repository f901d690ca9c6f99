//! Aggregation: an APIService with `spec.service` makes a group and version of another server part of this one.
//!
//! Requests are passed on over TLS to the service's cluster IP, verified by `caBundle` unless `insecureSkipTLSVerify` says not to.
//! Who asked travels in the headers that aggregated servers read, and they believe it for the front proxy's certificate
//! (the ConfigMap kube-system/extension-apiserver-authentication names its authority). The condition Available says
//! whether the server answers its own discovery; while it does not, clients get 503. Groups that are built in are never
//! passed on.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, CONTENT_TYPE, HOST, HeaderName};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::auth::User;
use super::{Api, Body, Call, auth, reply};
use crate::any_certificate::AnyCertificate;
use crate::cluster::{Cluster, Part, Patch, Writer};
use crate::credentials::ClientIdentity;
use crate::kind::GroupVersion;
use crate::object::{self, Object};
use crate::status::ApiError;

const RESOURCE: &str = "apiservices.apiregistration.k8s.io";
/// Who asks for discovery and whether a server is there.
const AGGREGATOR: &str = "system:kube-aggregator";
/// How long a server may take to begin its answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it may take to answer its discovery.
const DISCOVERY_PATIENCE: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// After a change, so that our own notes do not keep us looking.
const PAUSE: Duration = Duration::from_millis(100);
/// Headers of the client that are passed on.
const PASSED_ON: [HeaderName; 2] = [ACCEPT, CONTENT_TYPE];

/// The APIService that another server answers for this group and version.
pub(crate) fn find(cluster: &Cluster, version: &GroupVersion) -> Option<Object> {
    let built_in = cluster.kinds().kinds().any(|kind| kind.served.iter().any(|served| served.group == version.group));
    if built_in || version.group.is_empty() {
        return None;
    }
    let found = cluster.get(RESOURCE, "", &format!("{}.{}", version.version, version.group))?;
    found["spec"]["service"].is_object().then_some(found)
}

/// Groups of other servers with their versions, the preferred one first.
pub(crate) fn groups(cluster: &Cluster) -> Vec<(String, Vec<String>)> {
    let mut services = cluster.list(RESOURCE, None).items;
    services.sort_by_key(|service| -object::i64_at(service, "/spec/versionPriority").unwrap_or(0));
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for service in &services {
        let version =
            GroupVersion::new(object::str_at(service, "/spec/group"), object::str_at(service, "/spec/version"));
        if find(cluster, &version).is_none() {
            continue;
        }
        match groups.iter_mut().find(|(group, _)| *group == version.group) {
            Some((_, versions)) => versions.push(version.version),
            None => groups.push((version.group, vec![version.version])),
        }
    }
    groups
}

/// Passes a request on.
async fn forward(api: &Api, call: &Call, service: &Object, target: &str) -> Response<Body> {
    let mut request = Request::builder().method(call.method.clone()).uri(target);
    for name in PASSED_ON {
        if let Some(value) = call.headers.get(&name) {
            request = request.header(name, value);
        }
    }
    match ask(&api.cluster, service, &call.user, request, call.body.clone()).await {
        Ok(response) => {
            let (mut parts, body) = response.into_parts();
            parts.headers.remove(CONNECTION);
            Response::from_parts(parts, body.map_err(io::Error::other).boxed_unsync())
        }
        Err(why) => reply::text(503, note_unavailable(service, &why)),
    }
}

/// GET of a path by a part of this program: the code and the body, as a client of the API would have got them.
pub(crate) async fn get(cluster: &Cluster, target: &str) -> (u16, Bytes) {
    let mut segments = target.trim_start_matches("/apis/").split('/');
    let version = GroupVersion::new(segments.next().unwrap_or(""), segments.next().unwrap_or(""));
    let Some(service) = find(cluster, &version) else { return (404, Bytes::from_static(b"404 page not found\n")) };
    let request = Request::builder().uri(target).header(ACCEPT, "application/json");
    let whole = async {
        let (parts, body) = ask(cluster, &service, &User::administrator(), request, Bytes::new()).await?.into_parts();
        let body = body.collect().await.map_err(|error| error.to_string())?;
        Ok::<_, String>((parts.status.as_u16(), body.to_bytes()))
    };
    match tokio::time::timeout(PATIENCE, whole).await.unwrap_or_else(|_| Err("no whole answer in time".to_string())) {
        Ok(answer) => answer,
        Err(why) => (503, Bytes::from_static(note_unavailable(&service, &why).as_bytes())),
    }
}

/// The log says why; the client gets upstream's plain words, which are no `Status`.
fn note_unavailable(service: &Object, why: &str) -> &'static str {
    eprintln!("{}: {why}", object::name(service));
    "service unavailable\n"
}

/// Sends a request with who asks, and waits for the beginning of the answer.
async fn ask(
    cluster: &Cluster,
    service: &Object,
    user: &User,
    mut request: http::request::Builder,
    body: Bytes,
) -> Result<Response<hyper::body::Incoming>, String> {
    request = request.header("X-Remote-User", &user.name);
    for group in &user.groups {
        request = request.header("X-Remote-Group", group);
    }
    let request = request.body(Full::new(body)).map_err(|error| error.to_string())?;
    let sent = tokio::time::timeout(PATIENCE, send(cluster, service, request)).await;
    sent.map_err(|_| "no answer in time".to_string())?
}

/// The resources that another server lists for a version; None while it does not answer.
pub(crate) async fn resources(cluster: &Cluster, version: &GroupVersion) -> Option<Vec<Value>> {
    let service = find(cluster, version)?;
    let list = discover(cluster, &service, version).await.ok()?;
    Some(list["resources"].as_array()?.clone())
}

async fn discover(cluster: &Cluster, service: &Object, version: &GroupVersion) -> Result<Value, String> {
    let path = format!("/apis/{version}");
    let request = Request::builder().uri(&path).header(ACCEPT, "application/json");
    let request = request.header("X-Remote-User", AGGREGATOR).header("X-Remote-Group", auth::GROUPS[0]);
    let request = request.body(Full::default()).map_err(|error| error.to_string())?;
    let ask = async {
        let response = send(cluster, service, request).await?;
        let status = response.status();
        if !status.is_success() {
            return Err(format!("failing or missing response from {path}: bad status: {status}"));
        }
        let body = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
        serde_json::from_slice(&body).map_err(|error| format!("{path} is no JSON: {error}"))
    };
    tokio::time::timeout(DISCOVERY_PATIENCE, ask).await.map_err(|_| format!("no answer from {path} in time"))?
}

async fn send(
    cluster: &Cluster,
    service: &Object,
    mut request: Request<Full<Bytes>>,
) -> Result<Response<hyper::body::Incoming>, String> {
    let (namespace, name) =
        (object::str_at(service, "/spec/service/namespace"), object::str_at(service, "/spec/service/name"));
    let port = object::i64_at(service, "/spec/service/port").unwrap_or(443);
    let target = cluster.get("services", namespace, name).ok_or(format!("service {namespace}/{name} is not there"))?;
    let address = format!("{}:{port}", object::str_at(&target, "/spec/clusterIP"));
    let stream = TcpStream::connect(&address).await.map_err(|error| format!("cannot connect to {address}: {error}"))?;
    let host = format!("{name}.{namespace}.svc");
    let server = ServerName::try_from(host.clone()).map_err(|error| error.to_string())?;
    let tls = connector(service, cluster.settings().front_proxy.as_deref())?;
    let stream = tls.connect(server, stream).await.map_err(|error| format!("TLS with {address} failed: {error}"))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    if let Ok(host) = host.parse() {
        request.headers_mut().insert(HOST, host);
    }
    sender.send_request(request).await.map_err(|error| error.to_string())
}

fn connector(service: &Object, front_proxy: Option<&ClientIdentity>) -> Result<TlsConnector, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = if object::bool_at(service, "/spec/insecureSkipTLSVerify") {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
    } else {
        builder.with_root_certificates(roots(service)?)
    };
    let Some(front_proxy) = front_proxy else { return Ok(Arc::new(builder.with_no_client_auth()).into()) };
    let (chain, key) = front_proxy.chain_and_key();
    let config = builder.with_client_auth_cert(chain, key).map_err(|error| error.to_string())?;
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The certificates of `caBundle`.
fn roots(service: &Object) -> Result<RootCertStore, String> {
    let pem =
        STANDARD.decode(object::str_at(service, "/spec/caBundle")).map_err(|error| format!("caBundle: {error}"))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| format!("caBundle: {error}"))?;
        roots.add(certificate).map_err(|error| format!("caBundle: {error}"))?;
    }
    Ok(roots)
}

/// Keeps the condition Available of every APIService true to what its server answers. Never returns.
pub async fn follow(cluster: Cluster) {
    loop {
        let Ok(mut changes) = cluster.watch(RESOURCE, None, cluster.revision()) else { continue };
        let services = cluster.list(RESOURCE, None).items;
        for service in &services {
            let condition = availability(&cluster, service).await;
            note(&cluster, service, condition);
        }
        let elsewhere = services.iter().any(|service| service["spec"]["service"].is_object());
        let again =
            async { if elsewhere { tokio::time::sleep(LOOK_EVERY).await } else { std::future::pending().await } };
        tokio::select! {
            // A log that moved on is a change as well.
            _ = changes.next() => tokio::time::sleep(PAUSE).await,
            () = again => {}
        }
    }
}

/// (status, reason, message) of the condition.
async fn availability(cluster: &Cluster, service: &Object) -> (&'static str, &'static str, String) {
    if !service["spec"]["service"].is_object() {
        return ("True", "Local", "Local APIServices are always available".to_string());
    }
    let (namespace, name) =
        (object::str_at(service, "/spec/service/namespace"), object::str_at(service, "/spec/service/name"));
    if cluster.get("services", namespace, name).is_none() {
        let message = format!("service/{name} in {namespace:?} is not present");
        return ("False", "ServiceNotFound", message);
    }
    let version = GroupVersion::new(object::str_at(service, "/spec/group"), object::str_at(service, "/spec/version"));
    match discover(cluster, service, &version).await {
        Ok(_) => ("True", "Passed", "all checks passed".to_string()),
        Err(why) => ("False", "FailedDiscoveryCheck", why),
    }
}

fn note(cluster: &Cluster, service: &Object, (status, reason, message): (&str, &str, String)) {
    let present = object::condition(service, "Available");
    let is_same = present.is_some_and(|present| {
        object::str_at(present, "/status") == status && object::str_at(present, "/reason") == reason
    });
    if is_same {
        return;
    }
    let turned = object::condition_status(service, "Available") != Some(status);
    let since = if turned { object::time(cluster.now()) } else { String::new() };
    let since = present
        .map(|present| object::str_at(present, "/lastTransitionTime").to_string())
        .filter(|_| !turned)
        .unwrap_or(since);
    let condition = json!({
        "type": "Available",
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": since,
    });
    let patch = Patch::Merge(json!({ "status": { "conditions": [condition] } }));
    let writer = Writer::controller("kube-apiserver");
    // A service that is gone meanwhile needs no condition.
    let _ = cluster.patch(RESOURCE, "", object::name(service), patch, Part::Status, &writer);
}

/// Answers for a path of another server's group, if there is one.
pub(crate) async fn answer(api: &Api, call: &Call, version: &GroupVersion) -> Option<Result<Response<Body>, ApiError>> {
    let service = find(&api.cluster, version)?;
    if call.upgrade.is_some() {
        return Some(Ok(reply::text(501, "upgrades are not passed on to aggregated servers\n")));
    }
    let target = match call.raw_query.as_str() {
        "" => call.path.clone(),
        query => format!("{}?{query}", call.path),
    };
    Some(Ok(forward(api, call, &service, &target).await))
}
