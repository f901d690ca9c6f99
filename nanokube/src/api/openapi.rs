//! `/openapi/v3`: the index and its documents. A document asked for by its hash never changes, so clients may keep it.
//! `/openapi/v2` is for clients before 1.29, which read nothing but protobuf there.

use http::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, EXPIRES, HeaderValue, IF_NONE_MATCH, VARY};

use super::{Api, Body, Call, reply};
use crate::kind::GroupVersion;
use crate::openapi::{Document, VERSION_2_TYPE};
use crate::status::ApiError;

/// A year ahead of any client's clock that matters.
const FAR_FUTURE: &str = "Fri, 31 Dec 2100 23:59:59 GMT";

pub(crate) fn index(api: &Api) -> Response<Body> {
    let mut response = reply::json(200, &api.openapi.index(&api.cluster.kinds()));
    // JSON all the same; the real server says so.
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

pub(crate) fn document(api: &Api, call: &Call, version: &GroupVersion) -> Result<Response<Body>, ApiError> {
    let document = api.openapi.document(&api.cluster.kinds(), version).ok_or_else(ApiError::no_such_path)?;
    let mut response = tagged(&document, call);
    let headers = response.headers_mut();
    if call.query.get("hash").eq_ignore_ascii_case(&document.hash) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
        headers.insert(EXPIRES, HeaderValue::from_static(FAR_FUTURE));
    }
    Ok(response)
}

pub(crate) fn version2(api: &Api, call: &Call) -> Response<Body> {
    let mut response = tagged(&api.openapi.version2(&api.cluster.kinds()), call);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(VERSION_2_TYPE));
    response
}

/// The document with its ETag, or 304 to a client that has it.
fn tagged(document: &Document, call: &Call) -> Response<Body> {
    let etag = format!("\"{}\"", document.hash);
    let mut response = if call.header(IF_NONE_MATCH) == etag {
        reply::json_bytes(304, "")
    } else {
        reply::json_bytes(200, document.body.clone())
    };
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        headers.insert(ETAG, etag);
    }
    response
}
