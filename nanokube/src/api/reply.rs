//! Answers: JSON objects, Status refusals, plain text, and bodies that stream.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, VARY, WWW_AUTHENTICATE,
};
use http::{Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use serde::Serialize;

use crate::status::ApiError;

pub type Body = UnsyncBoxBody<Bytes, io::Error>;

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
/// Smaller answers are sent plain.
const COMPRESSED_BYTES_MIN: u64 = 128 << 10;
const WARNING: HeaderName = HeaderName::from_static("warning");

/// A body that is whole.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body that is written as the stream yields.
pub(crate) fn streaming<S>(stream: S) -> Body
where
    S: futures::Stream<Item = io::Result<Bytes>> + Send + 'static,
{
    use futures::StreamExt;
    StreamBody::new(stream.map(|chunk| chunk.map(Frame::data))).boxed_unsync()
}

pub(crate) fn with_type(code: u16, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// JSON text that is already encoded.
pub(crate) fn json_bytes(code: u16, body: impl Into<Bytes>) -> Response<Body> {
    with_type(code, JSON, full(body))
}

pub(crate) fn json(code: u16, value: &impl Serialize) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(bytes) => json_bytes(code, bytes),
        Err(error) => with_type(500, TEXT, full(format!("cannot encode the answer: {error}"))),
    }
}

pub(crate) fn text(code: u16, words: impl Into<Bytes>) -> Response<Body> {
    with_type(code, TEXT, full(words))
}

pub(crate) fn plain_not_found() -> Response<Body> {
    text(404, "404 page not found\n")
}

/// A refusal as a `Status`.
pub(crate) fn refusal(error: &ApiError) -> Response<Body> {
    let mut response = json(error.code, &error.to_value());
    if error.code == 401 {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(seconds) = error.details.get("retryAfterSeconds").and_then(serde_json::Value::as_u64) {
        response.headers_mut().insert(http::header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Compresses a big answer for a client that asked for it. Streams and small answers stay as they are, as upstream's do.
pub(crate) async fn compress(response: Response<Body>, accepted: &str) -> Response<Body> {
    let asked = accepted.split(',').any(|coding| coding.split(';').next().is_some_and(|name| name.trim() == "gzip"));
    let whole_bytes = hyper::body::Body::size_hint(response.body()).exact().unwrap_or(0);
    let is_json = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(JSON.as_bytes()));
    if !asked || whole_bytes < COMPRESSED_BYTES_MIN || !is_json || response.headers().contains_key(CONTENT_ENCODING) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let packed = match body.collect().await {
        Ok(body) => tokio::task::spawn_blocking(move || gzip(&body.to_bytes())).await.map_err(io::Error::other),
        Err(error) => Err(error),
    };
    match packed.and_then(|packed| packed) {
        Ok(packed) => {
            parts.headers.remove(CONTENT_LENGTH);
            parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            parts.headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
            Response::from_parts(parts, full(packed))
        }
        Err(error) => with_type(500, TEXT, full(format!("cannot compress the answer: {error}"))),
    }
}

fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 8), Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// Adds `Warning: 299 - "..."` headers, one for each text.
pub(crate) fn warn(mut response: Response<Body>, warnings: &[String]) -> Response<Body> {
    for warning in warnings {
        let text: String = warning.chars().filter(|c| !c.is_control()).collect();
        let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{escaped}\"")) {
            response.headers_mut().append(WARNING, value);
        }
    }
    response
}
