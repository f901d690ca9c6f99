//! The writing verbs: POST, PUT, PATCH, DELETE, and the subresources that are parts of an object.
//!
//! A handler only translates: media type to patch, query to options, view to storage. What a write means is decided in
//! `cluster`.

use std::sync::Arc;

use http::header::{ACCEPT, USER_AGENT};
use http::{Method, Response};
use serde_json::{Value, json};

use super::negotiate;
use super::request::Address;
use super::{Api, Body, Call, body, list, read, reply};
use crate::cluster::vet::{self, Source};
use crate::cluster::{self, DeleteOptions, Deleted, FieldValidation, Part, Patch, Propagation, Writer};
use crate::kind::{GroupVersion, Kind, convert};
use crate::object::{self, Object};
use crate::status::{self, ApiError, FieldError};

/// Longest field manager name, as upstream.
const MANAGER_LIMIT: usize = 128;

pub(crate) fn create(api: &Arc<Api>, call: &Call, kind: &Kind, address: &Address) -> Result<Response<Body>, ApiError> {
    if kind.namespaced && address.namespace.is_none() {
        return Err(ApiError { details: json!({}), ..ApiError::method_not_allowed("") });
    }
    let writer = writer(call, address, "CreateOptions")?;
    let sent = decode_object(call, kind, &address.version)?;
    vet::check(kind, &address.version, &sent, Source::Body(&call.body), &writer)?;
    let stored = convert::from_view(kind, &address.version, sent);
    let object = api.cluster.create(&kind.resource, address.namespace(), stored, &writer)?;
    answer(call, kind, address, &object, 201, &writer)
}

pub(crate) fn update(api: &Arc<Api>, call: &Call, kind: &Kind, address: &Address) -> Result<Response<Body>, ApiError> {
    write_part(api, call, kind, address, Part::Object)
}

pub(crate) fn patch(api: &Arc<Api>, call: &Call, kind: &Kind, address: &Address) -> Result<Response<Body>, ApiError> {
    write_part(api, call, kind, address, Part::Object)
}

/// GET, PUT and PATCH of `/status`, `/scale` and `/finalize`.
pub(crate) fn part(api: &Arc<Api>, call: &Call, kind: &Kind, address: &Address) -> Result<Response<Body>, ApiError> {
    let part = match address.subresource.as_deref() {
        Some("scale") => Part::Scale,
        Some("finalize") => Part::Finalize,
        Some("ephemeralcontainers" | "resize") => Part::Object,
        _ => Part::Status,
    };
    if call.method == Method::GET {
        let object = read::find(api, kind, address)?;
        let writer = Writer::default();
        return answer_part(call, kind, address, &object, part, 200, &writer);
    }
    write_part(api, call, kind, address, part)
}

fn write_part(
    api: &Arc<Api>,
    call: &Call,
    kind: &Kind,
    address: &Address,
    part: Part,
) -> Result<Response<Body>, ApiError> {
    let (namespace, name) = (address.namespace(), address.name());
    let existed = api.cluster.get(&kind.resource, namespace, name).is_some();
    let (object, writer) = match call.method {
        Method::PUT => {
            let writer = writer(call, address, "UpdateOptions")?;
            let sent = match part {
                Part::Scale => {
                    let sent = body::decode(call, "Scale")?;
                    check_kind(&sent, "Scale", &GroupVersion::new("autoscaling", "v1"))?;
                    sent
                }
                _ => {
                    let sent = decode_object(call, kind, &address.version)?;
                    vet::check(kind, &address.version, &sent, Source::Body(&call.body), &writer)?;
                    convert::from_view(kind, &address.version, sent)
                }
            };
            (api.cluster.update(&kind.resource, namespace, name, sent, part, &writer)?, writer)
        }
        Method::PATCH => {
            let patch = decode_patch(call, kind)?;
            let writer = writer(call, address, "PatchOptions")?;
            if matches!(patch, Patch::Apply { .. }) && call.query.get("fieldManager").is_empty() {
                let error = FieldError::required("fieldManager", "is required for apply patch");
                return Err(ApiError::invalid("meta.k8s.io", "PatchOptions", "", &[error]));
            }
            (api.cluster.patch(&kind.resource, namespace, name, patch, part, &writer)?, writer)
        }
        _ => return Err(ApiError { details: json!({}), ..ApiError::method_not_allowed("") }),
    };
    let code = if existed { 200 } else { 201 };
    answer_part(call, kind, address, &object, part, code, &writer)
}

fn answer_part(
    call: &Call,
    kind: &Kind,
    address: &Address,
    object: &Object,
    part: Part,
    code: u16,
    writer: &Writer,
) -> Result<Response<Body>, ApiError> {
    if part != Part::Scale {
        return answer(call, kind, address, object, code, writer);
    }
    let wanted = negotiate::wanted(call.header(ACCEPT))?;
    let scale = read::show_scale(call, cluster::scale_of(kind, object), wanted, code);
    Ok(reply::warn(scale, &writer.warnings.take()))
}

fn answer(
    call: &Call,
    kind: &Kind,
    address: &Address,
    object: &Value,
    code: u16,
    writer: &Writer,
) -> Result<Response<Body>, ApiError> {
    let wanted = negotiate::wanted(call.header(ACCEPT))?;
    let response = read::show(call, kind, &address.version, object, wanted, code);
    Ok(reply::warn(response, &writer.warnings.take()))
}

/// Who writes, from the query and the User-Agent.
pub(crate) fn writer(call: &Call, address: &Address, options: &str) -> Result<Writer, ApiError> {
    let invalid = |error| ApiError::invalid("meta.k8s.io", options, "", &[error]);
    let sent = call.query.get("fieldManager");
    if sent.len() > MANAGER_LIMIT {
        return Err(invalid(FieldError::too_long("fieldManager", MANAGER_LIMIT)));
    }
    let agent = call.header(USER_AGENT).split('/').next().unwrap_or("");
    let manager = [sent, agent, "unknown"].into_iter().find(|name| !name.is_empty()).unwrap_or_default();
    let field_validation = match call.query.get("fieldValidation") {
        "" | "Warn" => FieldValidation::Warn,
        "Strict" => FieldValidation::Strict,
        "Ignore" => FieldValidation::Ignore,
        other => {
            let supported = ["", "Ignore", "Strict", "Warn"];
            return Err(invalid(FieldError::not_supported("fieldValidation", other, &supported)));
        }
    };
    let dry_run = dry_run(call, options)?;
    let version = Some(address.version.clone());
    Ok(Writer { manager: manager.to_string(), dry_run, field_validation, version, ..Writer::default() })
}

fn dry_run(call: &Call, options: &str) -> Result<bool, ApiError> {
    match call.query.get("dryRun") {
        "" => Ok(false),
        "All" => Ok(true),
        other => {
            let error = FieldError::not_supported("dryRun", json!([other]), &["All"]);
            Err(ApiError::invalid("meta.k8s.io", options, "", &[error]))
        }
    }
}

/// The object in the body; its kind and version, where given, must be those of the path.
fn decode_object(call: &Call, kind: &Kind, view: &GroupVersion) -> Result<Value, ApiError> {
    let mut sent = body::decode(call, &kind.kind)?;
    if !sent.is_object() {
        let message =
            "couldn't get version/kind; json parse error: json: cannot unmarshal into Go value of type struct";
        return Err(ApiError::bad_request(message));
    }
    check_kind(&sent, &kind.kind, view)?;
    object::set(&mut sent, &["kind"], kind.kind.clone().into());
    object::set(&mut sent, &["apiVersion"], view.to_string().into());
    Ok(sent)
}

/// The kind and version in a body, where given, must be those of the path.
fn check_kind(sent: &Value, kind: &str, view: &GroupVersion) -> Result<(), ApiError> {
    let (sent_kind, sent_version) = (object::str_at(sent, "/kind"), object::str_at(sent, "/apiVersion"));
    let wanted = view.to_string();
    let version = if sent_version.is_empty() { &wanted } else { sent_version };
    let short = version.rsplit('/').next().unwrap_or(version);
    let refused = |why: String| {
        ApiError::bad_request(format!("{sent_kind} in version {short:?} cannot be handled as a {kind}: {why}"))
    };
    if !sent_kind.is_empty() && sent_kind != kind {
        let group = if view.group.is_empty() { "core" } else { view.group.split('.').next().unwrap_or_default() };
        return Err(refused(format!("converting ({short}.{sent_kind}) to ({group}.{kind}): unknown conversion")));
    }
    if version != wanted {
        return Err(refused(format!(
            "no kind {sent_kind:?} is registered for version {version:?} in scheme \
             \"k8s.io/kubernetes/pkg/api/legacyscheme/scheme.go:30\""
        )));
    }
    Ok(())
}

fn decode_patch(call: &Call, kind: &Kind) -> Result<Patch, ApiError> {
    let unsupported =
        |message: String| ApiError { details: json!({}), ..ApiError::new(415, "UnsupportedMediaType", message) };
    match body::content_type(call).as_str() {
        "application/json-patch+json" => Ok(Patch::Json(body::json(&call.body)?)),
        "application/merge-patch+json" => Ok(Patch::Merge(body::json(&call.body)?)),
        "application/strategic-merge-patch+json" if kind.is_custom() => Err(ApiError::unsupported_media_type(
            "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
        )),
        "application/strategic-merge-patch+json" => Ok(Patch::Strategic(body::json(&call.body)?)),
        "application/apply-patch+yaml" | "application/apply-patch+json" => {
            let object = body::yaml(&call.body)?;
            Ok(Patch::Apply { object, force: call.query.flag("force") })
        }
        _ => Err(unsupported("415: Unsupported Media Type".to_string())),
    }
}

pub(crate) fn delete(api: &Arc<Api>, call: &Call, kind: &Kind, address: &Address) -> Result<Response<Body>, ApiError> {
    let options = delete_options(call)?;
    let writer = Writer { dry_run: delete_is_dry(call)?, ..writer(call, address, "DeleteOptions")? };
    let deleted = api.cluster.delete(&kind.resource, address.namespace(), address.name(), &options, &writer)?;
    match &deleted {
        Deleted::Gone(object) if !kind.habits.returns_deleted => {
            let uid = object::uid(object);
            Ok(reply::json(200, &status::success(address.name(), &kind.resource, uid)))
        }
        Deleted::Gone(object) | Deleted::Lingering(object) => answer(call, kind, address, object, 200, &writer),
    }
}

pub(crate) fn delete_all(
    api: &Arc<Api>,
    call: &Call,
    kind: &Kind,
    address: &Address,
) -> Result<Response<Body>, ApiError> {
    let options = delete_options(call)?;
    let writer = Writer { dry_run: delete_is_dry(call)?, ..writer(call, address, "DeleteOptions")? };
    let filter = list::Filter::parse(call, kind, address)?;
    let listing = list::select(api, kind, address, &filter);
    let mut items = Vec::new();
    for object in &listing.items {
        let namespace = object::namespace(object);
        match api.cluster.delete(&kind.resource, namespace, object::name(object), &options, &writer) {
            Ok(deleted) => {
                let mut item = convert::to_view(kind, &address.version, deleted.object()).into_owned();
                object::remove(&mut item, &["kind"]);
                object::remove(&mut item, &["apiVersion"]);
                items.push(item);
            }
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    let body = json!({
        "kind": kind.list_kind,
        "apiVersion": address.version.to_string(),
        "metadata": { "resourceVersion": listing.resource_version.to_string() },
        "items": items,
    });
    Ok(reply::json(200, &body))
}

/// From the body and, where the body says nothing, from the query.
/// The body, or where there is none the query; beside a body the query says nothing.
fn delete_options(call: &Call) -> Result<DeleteOptions, ApiError> {
    if !call.body.is_empty() {
        return options_of(&body::decode(call, "DeleteOptions")?);
    }
    let (query, policy) = (&call.query, call.query.get("propagationPolicy"));
    let mut options = json!({ "gracePeriodSeconds": query.integer("gracePeriodSeconds")? });
    if !policy.is_empty() {
        options["propagationPolicy"] = policy.into();
    }
    options["orphanDependents"] = query.flag("orphanDependents").into();
    options_of(&options)
}

pub(crate) fn options_of(body: &Value) -> Result<DeleteOptions, ApiError> {
    let mut options = DeleteOptions {
        grace_period_s: object::i64_at(body, "/gracePeriodSeconds"),
        uid: text(body, "/preconditions/uid"),
        resource_version: text(body, "/preconditions/resourceVersion"),
        propagation: None,
    };
    options.propagation = match object::str_at(body, "/propagationPolicy") {
        "" if object::bool_at(body, "/orphanDependents") => Some(Propagation::Orphan),
        "" => None,
        "Background" => Some(Propagation::Background),
        "Foreground" => Some(Propagation::Foreground),
        "Orphan" => Some(Propagation::Orphan),
        other => {
            let supported = ["Foreground", "Background", "Orphan", "nil"];
            let error = FieldError::not_supported("propagationPolicy", other, &supported);
            return Err(ApiError::invalid("meta.k8s.io", "DeleteOptions", "", &[error]));
        }
    };
    Ok(options)
}

fn delete_is_dry(call: &Call) -> Result<bool, ApiError> {
    if call.body.is_empty() {
        return dry_run(call, "DeleteOptions");
    }
    let body = body::decode(call, "DeleteOptions")?;
    Ok(object::array_at(&body, "/dryRun").iter().any(|value| value == "All"))
}

fn text(object: &Value, pointer: &str) -> Option<String> {
    object.pointer(pointer).and_then(Value::as_str).map(str::to_string)
}
