//! The HTTP face: paths, media types and status codes of a real API server over the one write path of `cluster`.
//!
//! Handlers hold no state of their own and never touch the store; what they answer is a function of the request and the
//! cluster. Kinds are not enumerated here: a handler works for every entry of the registry.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response};
use hyper::body::Incoming;

use crate::cluster::Cluster;
use crate::metrics::Metrics;
use crate::node::Node;
use crate::openapi::OpenApi;
use crate::status::ApiError;
use request::{Address, Query, Target};

pub mod aggregate;
pub mod auth;
mod body;
mod discovery;
mod exposition;
mod health;
mod list;
mod metrics;
mod negotiate;
mod openapi;
mod pod;
mod pod_log;
mod proxy;
mod read;
pub mod reply;
mod request;
mod review;
pub mod server;
mod stream;
mod watch;
mod write;

pub use reply::Body;

/// The version of Kubernetes whose API this follows.
pub const KUBERNETES_VERSION: &str = "v1.36.2";

const ENDPOINTS_WARNING: &str = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice";

/// What handlers need of the instance.
pub struct Api {
    pub cluster: Cluster,
    pub token: auth::Token,
    pub metrics: Metrics,
    pub node: Node,
    pub openapi: OpenApi,
    /// `host:port` that clients reach this server at.
    pub endpoint: String,
}

/// One request on its way through the handlers.
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: Query,
    pub(crate) raw_query: String,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
    /// Anonymous on the few open paths only.
    pub(crate) user: auth::User,
    /// For subresources that leave HTTP: exec, attach, port-forward.
    pub(crate) upgrade: Option<hyper::upgrade::OnUpgrade>,
}

impl Call {
    pub(crate) fn header(&self, name: http::HeaderName) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }
}

/// Answers one request; every refusal is a `Status`.
pub async fn handle(api: Arc<Api>, mut request: Request<Incoming>) -> Response<Body> {
    let upgrade = request.headers().contains_key(http::header::UPGRADE).then(|| hyper::upgrade::on(&mut request));
    let (parts, incoming) = request.into_parts();
    let body = match body::collect(incoming).await {
        Ok(body) => body,
        Err(error) => return reply::refusal(&error),
    };
    let call = Call {
        method: parts.method,
        path: parts.uri.path().to_string(),
        query: Query::parse(parts.uri.query().unwrap_or("")),
        raw_query: parts.uri.query().unwrap_or("").to_string(),
        headers: parts.headers,
        body,
        user: auth::User::anonymous(),
        upgrade,
    };
    let accepted = call.header(http::header::ACCEPT_ENCODING).to_string();
    let answer = dispatch(&api, call).await.unwrap_or_else(|error| reply::refusal(&error));
    reply::compress(answer, &accepted).await
}

async fn dispatch(api: &Arc<Api>, mut call: Call) -> Result<Response<Body>, ApiError> {
    let target = Target::parse(&call.path)?;
    let open = matches!(&target, Target::Version | Target::Health(_));
    if !open || call.headers.contains_key(http::header::AUTHORIZATION) {
        let authorization = call.header(http::header::AUTHORIZATION);
        let user = auth::check(&api.token, &api.cluster, authorization, &call.path)?;
        call.user = user.acting(&call.headers)?;
    }
    if let Target::Resource(Address { version, .. }) | Target::GroupVersion(version) = &target
        && let Some(answer) = aggregate::answer(api, &call, version).await
    {
        return answer;
    }
    if let Target::Resource(address) = target {
        let deprecated = address.version.group.is_empty() && address.plural == "endpoints";
        let answer = resource(api, call, address).await?;
        return Ok(if deprecated { reply::warn(answer, &[ENDPOINTS_WARNING.to_string()]) } else { answer });
    }
    if call.method != Method::GET {
        return Err(ApiError::method_not_allowed(""));
    }
    match target {
        Target::Version => Ok(health::version()),
        Target::Health(path) => Ok(health::answer(path, &call.query)),
        Target::Metrics => Ok(exposition::cluster(api)),
        Target::NodeMetrics => Ok(exposition::node(api).await),
        Target::Root => Ok(discovery::root(api)),
        Target::Core => discovery::core(api, &call),
        Target::Groups => discovery::groups(api, &call).await,
        Target::Group(group) => Ok(discovery::group(api, group)),
        Target::GroupVersion(version) => discovery::resources(api, &version),
        Target::OpenApiVersion2 => Ok(openapi::version2(api, &call)),
        Target::OpenApi => Ok(openapi::index(api)),
        Target::OpenApiDocument(version) => openapi::document(api, &call, &version),
        Target::Unknown | Target::Resource(_) => Ok(reply::plain_not_found()),
    }
}

async fn resource(api: &Arc<Api>, call: Call, address: Address) -> Result<Response<Body>, ApiError> {
    let kinds = api.cluster.kinds();
    let Some(kind) = kinds.path(&address.version.group, &address.version.version, &address.plural).cloned() else {
        // Nobody answers for a version that is not served; one that is says that the resource is not there.
        let served = kinds.kinds().any(|kind| kind.served.contains(&address.version));
        return if served { Err(ApiError::no_such_path()) } else { Ok(reply::plain_not_found()) };
    };
    if !kind.namespaced && address.namespace.is_some() {
        return Err(ApiError::no_such_path());
    }
    if kind.habits.transient {
        return review::answer(api, &kind, &call, &address);
    }
    if kind.group() == metrics::GROUP {
        return metrics::answer(api, &call, &kind, &address);
    }
    if let Some(subresource) = &address.subresource {
        return match subresource.as_str() {
            name if !kind.has_subresource(name) => Err(ApiError::no_such_path()),
            "status" | "scale" | "finalize" => write::part(api, &call, &kind, &address),
            "log" => pod_log::answer(api, &call, &kind, &address),
            "exec" | "attach" => stream::exec::answer(api, call, &kind, &address).await,
            "portforward" => stream::port_forward::answer(api, call, &kind, &address),
            "eviction" => pod::evict(api, &call, &address),
            "binding" => pod::bind(api, &call, &address),
            "ephemeralcontainers" | "resize" if kind.resource == "pods" => write::part(api, &call, &kind, &address),
            "proxy" => proxy::answer(api, &call, &kind, &address).await,
            "token" => review::token(api, &kind, &call, &address),
            _ => Err(ApiError::no_such_path()),
        };
    }
    if kind.resource == "bindings" {
        return pod::bind(api, &call, &address);
    }
    match (call.method.as_str(), &address.name) {
        ("GET", Some(_)) if address.watch || call.query.flag("watch") => watch::answer(api, &call, &kind, &address),
        ("GET", Some(_)) => read::answer(api, &call, &kind, &address).await,
        ("GET", None) if address.watch || call.query.flag("watch") => watch::answer(api, &call, &kind, &address),
        ("GET", None) => list::answer(api, &call, &kind, &address).await,
        ("POST", None) => write::create(api, &call, &kind, &address),
        ("PUT", Some(_)) => write::update(api, &call, &kind, &address),
        ("PATCH", Some(_)) => write::patch(api, &call, &kind, &address),
        ("DELETE", Some(_)) => write::delete(api, &call, &kind, &address),
        ("DELETE", None) if kind.verbs.contains(&"deletecollection") => write::delete_all(api, &call, &kind, &address),
        _ => Err(ApiError { details: serde_json::json!({}), ..ApiError::method_not_allowed("") }),
    }
}
