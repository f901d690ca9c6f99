//! `GET .../pods/NAME/log`: a container's output as plain text, followed as it grows if asked to.

use std::sync::Arc;

use futures::TryStreamExt;
use http::{Method, Response};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::request::Address;
use super::{Api, Body, Call, read, reply};
use crate::kind::Kind;
use crate::node::log::LogOptions;
use crate::object;
use crate::status::{ApiError, FieldError};

pub(crate) fn answer(api: &Arc<Api>, call: &Call, kind: &Kind, address: &Address) -> Result<Response<Body>, ApiError> {
    if call.method != Method::GET {
        return Err(ApiError { details: json!({}), ..ApiError::method_not_allowed("") });
    }
    let pod = read::find(api, kind, address)?;
    let options = options(call, api.cluster.now())?;
    let container = container(&pod, call.query.get("container"))?;
    let stream = api.node.kubelet().logs(&pod, &container, &options)?;
    let body = reply::streaming(stream.map_ok(bytes::Bytes::from));
    Ok(reply::with_type(200, "text/plain", body))
}

/// The container that is meant: the named one, or the only one.
pub(crate) fn container(pod: &Value, asked: &str) -> Result<String, ApiError> {
    let name = object::name(pod);
    let lists = ["containers", "initContainers", "ephemeralContainers"];
    let names = |list: &str| -> Vec<&str> {
        object::array_at(pod, &format!("/spec/{list}")).iter().map(|spec| object::str_at(spec, "/name")).collect()
    };
    if !asked.is_empty() {
        if lists.iter().any(|list| names(list).contains(&asked)) {
            return Ok(asked.to_string());
        }
        return Err(ApiError::bad_request(format!("container {asked} is not valid for pod {name}")));
    }
    let containers = names("containers");
    if let Some(default) = object::annotation(pod, "kubectl.kubernetes.io/default-container")
        && containers.contains(&default)
    {
        return Ok(default.to_string());
    }
    match containers.as_slice() {
        [only] => Ok((*only).to_string()),
        _ => Err(ApiError::bad_request(format!(
            "a container name must be specified for pod {name}, choose one of: [{}]",
            containers.join(" ")
        ))),
    }
}

fn options(call: &Call, now: Timestamp) -> Result<LogOptions, ApiError> {
    let query = &call.query;
    let mut errors = Vec::new();
    let tail_lines = query.integer("tailLines")?;
    if let Some(tail) = tail_lines.filter(|tail| *tail < 0) {
        errors.push(FieldError::invalid("tailLines", tail, "must be greater than or equal to 0"));
    }
    let limit_bytes = query.integer("limitBytes")?;
    if let Some(limit) = limit_bytes.filter(|limit| *limit < 1) {
        errors.push(FieldError::invalid("limitBytes", limit, "must be greater than 0"));
    }
    let since_s = query.integer("sinceSeconds")?;
    if let Some(since) = since_s.filter(|since| *since < 1) {
        errors.push(FieldError::invalid("sinceSeconds", since, "must be greater than 0"));
    }
    if !errors.is_empty() {
        return Err(ApiError::invalid("", "PodLogOptions", "", &errors));
    }
    let since_time: Option<Timestamp> = query.get("sinceTime").parse().ok();
    let since_ago = since_s.and_then(|seconds| now.checked_sub(SignedDuration::from_secs(seconds)).ok());
    Ok(LogOptions {
        follow: query.flag("follow"),
        previous: query.flag("previous"),
        timestamps: query.flag("timestamps"),
        tail_lines: tail_lines.and_then(|tail| u64::try_from(tail).ok()),
        since: since_time.or(since_ago),
        limit_bytes: limit_bytes.and_then(|limit| u64::try_from(limit).ok()),
    })
}
