//! `/version`, `/healthz`, `/livez`, `/readyz`: open to everybody.

use http::Response;
use serde_json::json;

use super::request::{HealthPath, Query};
use super::{Body, KUBERNETES_VERSION, reply};

/// The version whose API is served; clients choose their own behaviour by it.
pub(crate) fn version() -> Response<Body> {
    let mut numbers = KUBERNETES_VERSION.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or("1"), numbers.next().unwrap_or("36"));
    reply::json(
        200,
        &json!({
            "major": major,
            "minor": minor,
            "emulationMajor": major,
            "emulationMinor": minor,
            "minCompatibilityMajor": major,
            "minCompatibilityMinor": minor,
            "gitVersion": format!("{KUBERNETES_VERSION}+nanokube-{}", env!("CARGO_PKG_VERSION")),
            "gitCommit": "",
            "gitTreeState": "clean",
            "buildDate": "1970-01-01T00:00:00Z",
            "goVersion": "",
            "compiler": "rustc",
            "platform": "linux/amd64",
        }),
    )
}

/// The server answers only once everything is wired, so answering at all is being healthy.
pub(crate) fn answer(path: HealthPath, query: &Query) -> Response<Body> {
    let name = match path {
        HealthPath::Healthz => "healthz",
        HealthPath::Livez => "livez",
        HealthPath::Readyz => "readyz",
    };
    if query.has("verbose") {
        return reply::text(200, format!("[+]ping ok\n[+]etcd ok\n{name} check passed\n"));
    }
    reply::text(200, "ok")
}
