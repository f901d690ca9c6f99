//! Request bodies: bounded, then decoded from JSON or YAML by content type. A missing content type means JSON.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::Value;

use super::Call;
use crate::protobuf;
use crate::status::ApiError;

/// The largest request body, as in the real server.
const BODY_LIMIT: usize = 3 << 20;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// How much of a broken body a refusal shows.
const SHOWN_CHARS: usize = 100;
const ACCEPTED: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

/// Reads a whole body, but not more than the limit.
pub(crate) async fn collect(incoming: Incoming) -> Result<Bytes, ApiError> {
    let collected = tokio::time::timeout(BODY_TIMEOUT, Limited::new(incoming, BODY_LIMIT).collect()).await;
    let Ok(collected) = collected else {
        return Err(ApiError::new(408, "Timeout", "the request body did not arrive in time"));
    };
    match collected {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            Err(ApiError::too_large(format!("Request entity too large: limit is {BODY_LIMIT}")))
        }
        Err(error) => Err(ApiError::bad_request(format!("cannot read the request body: {error}"))),
    }
}

/// The media type without its parameters.
pub(crate) fn content_type(call: &Call) -> String {
    let full = call.header(http::header::CONTENT_TYPE);
    full.split(';').next().unwrap_or("").trim().to_ascii_lowercase()
}

/// The object in the body of a POST, PUT or DELETE.
pub(crate) fn decode(call: &Call, kind: &str) -> Result<Value, ApiError> {
    match content_type(call).as_str() {
        "" | "application/json" | "*/*" => json(&call.body).map_err(|error| {
            let message = format!("the object provided is unrecognized (must be of type {kind}): {error}");
            ApiError::bad_request(message)
        }),
        "application/yaml" => yaml(&call.body),
        "application/vnd.kubernetes.protobuf" => {
            protobuf::decode(&call.body).map_err(|error| ApiError::bad_request(error.to_string()))
        }
        _ => Err(ApiError::unsupported_media_type(ACCEPTED)),
    }
}

pub(crate) fn json(body: &[u8]) -> Result<Value, ApiError> {
    serde_json::from_slice(body).map_err(|error| {
        let words = if error.is_eof() { "unexpected end of JSON input".to_string() } else { error.to_string() };
        let start: String = String::from_utf8_lossy(body).chars().take(SHOWN_CHARS).collect();
        let shown = if start.is_empty() { "<empty>" } else { &start };
        ApiError::bad_request(format!("couldn't get version/kind; json parse error: {words} ({shown})"))
    })
}

pub(crate) fn yaml(body: &[u8]) -> Result<Value, ApiError> {
    serde_yaml::from_slice(body).map_err(|error| ApiError::bad_request(format!("error parsing YAML: {error}")))
}
