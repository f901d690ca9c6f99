//! `.../proxy/...`: a request that is passed on to a pod, to a ready endpoint of a service, or to the node itself.
//!
//! Names may carry a scheme and a port, `[https:]NAME[:PORT]`; a service's port may be a name. The client's credentials stay
//! here. Upgrades are not passed on.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, CONNECTION, HOST, HeaderName, HeaderValue, LOCATION, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::request::Address;
use super::{Api, Body, Call, reply};
use crate::kind::Kind;
use crate::node::tls;
use crate::object;
use crate::status::ApiError;

/// How long a server may take to begin its answer.
const PATIENCE: Duration = Duration::from_secs(30);
const NOT_PASSED_ON: [HeaderName; 5] = [HOST, AUTHORIZATION, CONNECTION, TRANSFER_ENCODING, UPGRADE];

/// What is meant by `[SCHEME:]NAME[:PORT]`.
#[derive(Debug, PartialEq, Eq)]
struct Meant<'a> {
    secure: bool,
    name: &'a str,
    port: &'a str,
}

pub(crate) async fn answer(
    api: &Arc<Api>,
    call: &Call,
    kind: &Kind,
    address: &Address,
) -> Result<Response<Body>, ApiError> {
    let meant = Meant::parse(address.name())?;
    let Some(rest) = rest(&call.path, address) else {
        return Ok(to_folder(call));
    };
    let namespace = address.namespace();
    let object = api.cluster.get(&kind.resource, namespace, meant.name);
    let object = object.ok_or_else(|| ApiError::not_found(&kind.resource, meant.name))?;
    let stream = match kind.resource.as_str() {
        "nodes" => return Ok(node(api, &object, rest)),
        "pods" => {
            let port = pod_port(&object, &meant)?;
            dial(api, &object, port).await?
        }
        _ => {
            let (pod, ip, port) = endpoint(api, &object, &meant)?;
            match pod.and_then(|pod| api.cluster.get("pods", namespace, &pod)) {
                Some(pod) => dial(api, &pod, port).await?,
                None => {
                    TcpStream::connect((ip.as_str(), port)).await.map_err(|error| unreachable(&ip, port, &error))?
                }
            }
        }
    };
    let target = if call.raw_query.is_empty() { format!("/{rest}") } else { format!("/{rest}?{}", call.raw_query) };
    let sent = tokio::time::timeout(PATIENCE, pass_on(call, stream, meant.secure, &target)).await;
    let failed = |why: String| ApiError::unavailable(format!("error trying to reach service: {why}"));
    let response = sent.map_err(|_| failed("no answer in time".to_owned()))?.map_err(failed)?;
    let (mut parts, body) = response.into_parts();
    [CONNECTION, TRANSFER_ENCODING].iter().for_each(|name| drop(parts.headers.remove(name)));
    Ok(Response::from_parts(parts, body.map_err(io::Error::other).boxed_unsync()))
}

impl Meant<'_> {
    fn parse(text: &str) -> Result<Meant<'_>, ApiError> {
        let parts: Vec<&str> = text.split(':').collect();
        match parts.as_slice() {
            [name] => Ok(Meant { secure: false, name, port: "" }),
            [name, port] => Ok(Meant { secure: false, name, port }),
            [scheme @ ("http" | "https" | ""), name, port] => Ok(Meant { secure: *scheme == "https", name, port }),
            _ => Err(ApiError::bad_request(format!("invalid proxy target {text:?}: it is [https:]NAME[:PORT]"))),
        }
    }
}

/// What follows `proxy/`, as the client wrote it; None where there is not even the slash.
fn rest<'a>(path: &'a str, address: &Address) -> Option<&'a str> {
    let before = if address.namespace.is_some() { 8 } else { 6 };
    path.splitn(before + 1, '/').nth(before)
}

/// Relative links of the page that comes would otherwise miss their way.
fn to_folder(call: &Call) -> Response<Body> {
    let query = if call.raw_query.is_empty() { String::new() } else { format!("?{}", call.raw_query) };
    let mut response = reply::text(301, "");
    if let Ok(location) = HeaderValue::from_str(&format!("{}/{query}", call.path)) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// The port that is asked for, else the first that a container names.
fn pod_port(pod: &Value, meant: &Meant<'_>) -> Result<u16, ApiError> {
    if !meant.port.is_empty() {
        let refused = |_| ApiError::bad_request(format!("invalid port {:?}: a pod's port is a number", meant.port));
        return meant.port.parse().map_err(refused);
    }
    let containers = object::array_at(pod, "/spec/containers").iter();
    let mut ports = containers.flat_map(|container| object::array_at(container, "/ports"));
    let first = ports.find_map(|port| port["containerPort"].as_u64());
    Ok(first.and_then(|port| u16::try_from(port).ok()).unwrap_or(if meant.secure { 443 } else { 80 }))
}

/// A ready endpoint of a service: its pod if it is one, its address and port.
fn endpoint(api: &Api, service: &Value, meant: &Meant<'_>) -> Result<(Option<String>, String, u16), ApiError> {
    let ports = object::array_at(service, "/spec/ports");
    let is_meant = |port: &&Value| match meant.port {
        "" => ports.len() == 1,
        text => object::str_at(port, "/name") == text || port["port"].as_u64() == text.parse().ok(),
    };
    let missing =
        || ApiError::unavailable(format!("no service port {:?} found for service {:?}", meant.port, meant.name));
    let name = object::str_at(ports.iter().find(is_meant).ok_or_else(missing)?, "/name");
    let endpoints = api.cluster.get("endpoints", object::namespace(service), meant.name);
    let subsets = endpoints.iter().flat_map(|endpoints| object::array_at(endpoints, "/subsets"));
    let mut found = Vec::new();
    for subset in subsets {
        let port = object::array_at(subset, "/ports").iter().find(|port| object::str_at(port, "/name") == name);
        let Some(port) = port.and_then(|port| port["port"].as_u64()).and_then(|port| u16::try_from(port).ok()) else {
            continue;
        };
        found.extend(object::array_at(subset, "/addresses").iter().map(|address| (address, port)));
    }
    if found.is_empty() {
        return Err(ApiError::unavailable(format!("no endpoints available for service {:?}", meant.name)));
    }
    let (address, port) = found[rand::random_range(0..found.len())];
    let pod = Some(object::str_at(address, "/targetRef/name")).filter(|name| !name.is_empty());
    Ok((pod.map(str::to_owned), object::str_at(address, "/ip").to_owned(), port))
}

async fn dial(api: &Api, pod: &object::Object, port: u16) -> Result<TcpStream, ApiError> {
    let failed = |error| unreachable(object::str_at(pod, "/status/podIP"), port, &error);
    api.node.kubelet().dial(pod, port).await.map_err(failed)
}

fn unreachable(ip: &str, port: u16, error: &io::Error) -> ApiError {
    ApiError::unavailable(format!("error trying to reach service: dial tcp {ip}:{port}: {error}"))
}

async fn pass_on(call: &Call, stream: TcpStream, secure: bool, target: &str) -> Result<Response<Incoming>, String> {
    let address = stream.peer_addr().map_err(|error| error.to_string())?;
    let mut request = Request::builder().method(call.method.clone()).uri(target).header(HOST, address.to_string());
    if let Some(headers) = request.headers_mut() {
        extend(headers, &call.headers);
    }
    let request = request.body(Full::new(call.body.clone())).map_err(|error| error.to_string())?;
    let mut sender = if secure {
        handshake(TokioIo::new(tls::connect(stream, address).await?)).await
    } else {
        handshake(TokioIo::new(stream)).await
    }
    .map_err(|error| error.to_string())?;
    sender.send_request(request).await.map_err(|error| error.to_string())
}

fn extend(headers: &mut HeaderMap, from: &HeaderMap) {
    for (name, value) in from.iter().filter(|(name, _)| !NOT_PASSED_ON.contains(name)) {
        headers.append(name, value.clone());
    }
}

async fn handshake<T>(io: T) -> hyper::Result<hyper::client::conn::http1::SendRequest<Full<bytes::Bytes>>>
where
    T: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
{
    let (sender, connection) = hyper::client::conn::http1::handshake(io).await?;
    // The connection ends with its answer; its errors show there.
    tokio::spawn(connection);
    Ok(sender)
}

/// The node's own server: there is no kubelet to ask, the daemon answers what clients ask for.
fn node(api: &Api, node: &Value, path: &str) -> Response<Body> {
    match path.trim_end_matches('/') {
        "healthz" => reply::text(200, "ok"),
        "pods" => {
            let pods = api.cluster.list("pods", None).items;
            let here = pods.iter().filter(|pod| object::str_at(pod, "/spec/nodeName") == object::name(node));
            let pods: Vec<&Value> = here.map(AsRef::as_ref).collect();
            reply::json(
                200,
                &serde_json::json!({ "kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods }),
            )
        }
        _ => reply::plain_not_found(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_carry_scheme_and_port() {
        let cases = [
            ("web", Some((false, "web", ""))),
            ("web:http", Some((false, "web", "http"))),
            ("https:web:8443", Some((true, "web", "8443"))),
            ("https:web:", Some((true, "web", ""))),
            ("ftp:web:1", None),
            ("a:b:c:d", None),
        ];
        for (text, wanted) in cases {
            let wanted = wanted.map(|(secure, name, port)| Meant { secure, name, port });
            assert_eq!(Meant::parse(text).ok(), wanted, "{text}");
        }
    }

    #[test]
    fn the_proxied_path_is_passed_on_as_it_came() {
        let namespaced = Address { namespace: Some("pods".into()), ..Address::default() };
        let path = |rest: &str| format!("/api/v1/namespaces/pods/pods/x/proxy{rest}");
        assert_eq!(rest(&path("/a%2Fb//c/"), &namespaced), Some("a%2Fb//c/"));
        assert_eq!(rest(&path("/"), &namespaced), Some(""));
        assert_eq!(rest(&path(""), &namespaced), None);
        assert_eq!(rest("/api/v1/nodes/n/proxy/healthz", &Address::default()), Some("healthz"));
    }
}
