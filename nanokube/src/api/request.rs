//! What a request asks for: the path taken apart, and the query.
//!
//! `/api/v1/...` is the core group, `/apis/GROUP/VERSION/...` every other; an old `watch/` prefix means `?watch=true`. Query
//! strings are read with care for clients that begin them with `&`; unknown parameters are ignored.

use crate::kind::GroupVersion;
use crate::node::NODE_NAME;
use crate::status::ApiError;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Root,
    Version,
    Health(HealthPath),
    /// `/metrics`
    Metrics,
    /// `/api/v1/nodes/<this node>/proxy/metrics/cadvisor`
    NodeMetrics,
    /// `/api`
    Core,
    /// `/apis`
    Groups,
    Group(String),
    GroupVersion(GroupVersion),
    /// `/openapi/v2`
    OpenApiVersion2,
    /// `/openapi/v3`
    OpenApi,
    OpenApiDocument(GroupVersion),
    Resource(Address),
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HealthPath {
    Healthz,
    Livez,
    Readyz,
}

/// Where a resource lives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) version: GroupVersion,
    pub(crate) namespace: Option<String>,
    pub(crate) plural: String,
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<String>,
    /// What follows the subresource (proxied paths).
    pub(crate) rest: Vec<String>,
    /// Came with the old `watch/` prefix.
    pub(crate) watch: bool,
}

impl Address {
    /// The namespace, "" for cluster-scoped resources.
    pub(crate) fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or("")
    }

    pub(crate) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or("")
    }
}

impl Target {
    pub(crate) fn parse(path: &str) -> Result<Target, ApiError> {
        let segments: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(decode).collect();
        let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
        Ok(match parts.as_slice() {
            [] => Target::Root,
            ["version"] => Target::Version,
            ["healthz", ..] => Target::Health(HealthPath::Healthz),
            ["livez", ..] => Target::Health(HealthPath::Livez),
            ["readyz", ..] => Target::Health(HealthPath::Readyz),
            ["metrics"] => Target::Metrics,
            ["api", "v1", "nodes", NODE_NAME, "proxy", "metrics", "cadvisor"] => Target::NodeMetrics,
            ["openapi", "v2"] => Target::OpenApiVersion2,
            ["openapi", "v3"] => Target::OpenApi,
            ["openapi", "v3", "api", version] => Target::OpenApiDocument(GroupVersion::new("", version)),
            ["openapi", "v3", "apis", group, version] => Target::OpenApiDocument(GroupVersion::new(group, version)),
            ["openapi", ..] => return Err(ApiError::no_such_path()),
            ["api"] => Target::Core,
            ["apis"] => Target::Groups,
            ["apis", group] => Target::Group((*group).to_string()),
            ["api", version] => Target::GroupVersion(GroupVersion::new("", version)),
            ["apis", group, version] => Target::GroupVersion(GroupVersion::new(group, version)),
            ["api", version, rest @ ..] => Target::Resource(address(GroupVersion::new("", version), rest)),
            ["apis", group, version, rest @ ..] => Target::Resource(address(GroupVersion::new(group, version), rest)),
            _ => Target::Unknown,
        })
    }
}

fn address(version: GroupVersion, mut parts: &[&str]) -> Address {
    let mut address = Address { version, ..Address::default() };
    if let ["watch", rest @ ..] = parts
        && !rest.is_empty()
    {
        address.watch = true;
        parts = rest;
    }
    match parts {
        ["namespaces", name] => {
            address.plural = "namespaces".into();
            address.name = Some((*name).to_string());
            return address;
        }
        ["namespaces", name, sub @ ("status" | "finalize")] => {
            address.plural = "namespaces".into();
            address.name = Some((*name).to_string());
            address.subresource = Some((*sub).to_string());
            return address;
        }
        ["namespaces", namespace, rest @ ..] => {
            address.namespace = Some((*namespace).to_string());
            parts = rest;
        }
        _ => {}
    }
    let mut parts = parts.iter().map(ToString::to_string);
    address.plural = parts.next().unwrap_or_default();
    address.name = parts.next();
    address.subresource = parts.next();
    address.rest = parts.collect();
    address
}

/// Query parameters in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    pub(crate) fn parse(text: &str) -> Query {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(&key.replace('+', " ")), decode(&value.replace('+', " ")))
        });
        Query { pairs: pairs.collect() }
    }

    /// The first value of a parameter, "" when it is absent.
    pub(crate) fn get(&self, key: &str) -> &str {
        self.pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str()).unwrap_or("")
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.pairs.iter().any(|(name, _)| name == key)
    }

    pub(crate) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Go's reading of a boolean parameter: present without a value is true.
    pub(crate) fn flag(&self, key: &str) -> bool {
        self.has(key) && matches!(self.get(key), "" | "1" | "t" | "T" | "true" | "TRUE" | "True")
    }

    /// An integer parameter; a broken one is refused in Go's words.
    pub(crate) fn integer(&self, key: &str) -> Result<Option<i64>, ApiError> {
        let text = self.get(key);
        if text.is_empty() {
            return Ok(None);
        }
        let refused = || ApiError::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"));
        text.parse().map(Some).map_err(|_| refused())
    }
}

/// Undoes percent encoding; broken escapes stay as they are.
fn decode(text: &str) -> String {
    if !text.contains('%') {
        return text.to_string();
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match (bytes[at], escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                at += 3;
            }
            (byte, _) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, namespace: Option<&str>, plural: &str, name: Option<&str>, subresource: Option<&str>) {
        let Target::Resource(address) = Target::parse(path).unwrap() else { panic!("{path} is no resource") };
        assert_eq!(address.namespace.as_deref(), namespace, "{path}");
        assert_eq!(address.plural, plural, "{path}");
        assert_eq!(address.name.as_deref(), name, "{path}");
        assert_eq!(address.subresource.as_deref(), subresource, "{path}");
    }

    #[test]
    fn paths_name_resources() {
        check("/api/v1/pods", None, "pods", None, None);
        check("/api/v1/namespaces", None, "namespaces", None, None);
        check("/api/v1/namespaces/lab", None, "namespaces", Some("lab"), None);
        check("/api/v1/namespaces/lab/finalize", None, "namespaces", Some("lab"), Some("finalize"));
        check("/api/v1/namespaces/lab/pods/", Some("lab"), "pods", None, None);
        check(
            "/apis/apps/v1/namespaces/lab/deployments/web/scale",
            Some("lab"),
            "deployments",
            Some("web"),
            Some("scale"),
        );
        check("/api/v1/watch/namespaces/lab/configmaps/a", Some("lab"), "configmaps", Some("a"), None);
        check("/api/v1/namespaces/lab/pods/%2A/x", Some("lab"), "pods", Some("*"), Some("x"));
    }

    #[test]
    fn queries_tolerate_what_clients_send() {
        let query = Query::parse("&limit=500&labelSelector=app%3Dweb&watch=1&command=a&command=b%20c&q=x+y");
        assert_eq!(query.get("labelSelector"), "app=web");
        assert_eq!(query.integer("limit").unwrap(), Some(500));
        assert!(query.flag("watch"));
        assert_eq!(query.all("command").collect::<Vec<_>>(), ["a", "b c"]);
        assert_eq!(query.get("q"), "x y");
        assert!(Query::parse("limit=abc").integer("limit").is_err());
    }
}
