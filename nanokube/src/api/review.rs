//! Reviews: who am I, may I, and tokens. Whoever is known may do everything.

use std::sync::Arc;

use http::{Method, Response};
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::auth::{self, AUDIENCE};
use super::request::Address;
use super::{Api, Body, Call, body, read, reply};
use crate::kind::Kind;
use crate::object;
use crate::status::{ApiError, FieldError};

/// How long a token lasts when the request does not say.
const TOKEN_LIFETIME_S: i64 = 3_600;
const TOKEN_LIFETIME_MIN_S: i64 = 600;
const TOKEN_LIFETIME_LIMIT_S: i64 = 1 << 32;

/// Answers one of the review kinds; nothing is stored.
pub(crate) fn answer(api: &Api, kind: &Kind, call: &Call, address: &Address) -> Result<Response<Body>, ApiError> {
    if call.method != Method::POST || address.name.is_some() {
        return Err(ApiError { details: json!({}), ..ApiError::method_not_allowed("") });
    }
    let mut review = body::decode(call, &kind.kind)?;
    let status = match kind.kind.as_str() {
        "SelfSubjectReview" => json!({ "userInfo": call.user.to_value() }),
        "TokenReview" => whose(api, &review["spec"]),
        "SelfSubjectRulesReview" => json!({
            "resourceRules": [{ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"] }],
            "nonResourceRules": [{ "verbs": ["*"], "nonResourceURLs": ["*"] }],
            "incomplete": false,
        }),
        _ => json!({ "allowed": true }),
    };
    object::set(&mut review, &["kind"], kind.kind.clone().into());
    object::set(&mut review, &["apiVersion"], address.version.to_string().into());
    if !review["metadata"].is_object() {
        review["metadata"] = json!({});
    }
    review["status"] = status;
    Ok(reply::json(201, &review))
}

/// Whose token it is, for those who ask or, where they do not say who they are, for this server.
fn whose(api: &Api, spec: &Value) -> Value {
    let asking: Vec<&str> = object::array_at(spec, "/audiences").iter().filter_map(Value::as_str).collect();
    let audiences = if asking.is_empty() { &[AUDIENCE][..] } else { &asking };
    match auth::bearer(&api.token, &api.cluster, object::str_at(spec, "/token"), audiences) {
        Some((user, meant)) => json!({ "authenticated": true, "user": user.to_value(), "audiences": meant }),
        None => json!({ "user": {}, "error": "invalid bearer token" }),
    }
}

/// A token for a service account, which this server takes as that account's until it runs out.
pub(crate) fn token(api: &Arc<Api>, kind: &Kind, call: &Call, address: &Address) -> Result<Response<Body>, ApiError> {
    if call.method != Method::POST {
        return Err(ApiError { details: json!({}), ..ApiError::method_not_allowed("") });
    }
    let account = read::find(api, kind, address)?;
    let mut request = if call.body.is_empty() { json!({}) } else { body::decode(call, "TokenRequest")? };
    let lifetime_s = object::i64_at(&request, "/spec/expirationSeconds").unwrap_or(TOKEN_LIFETIME_S);
    let wrong = match lifetime_s {
        ..TOKEN_LIFETIME_MIN_S => Some("may not specify a duration less than 10 minutes"),
        TOKEN_LIFETIME_LIMIT_S.. if lifetime_s > TOKEN_LIFETIME_LIMIT_S => {
            Some("may not specify a duration larger than 2^32 seconds")
        }
        _ => None,
    };
    if let Some(words) = wrong {
        let error = FieldError::invalid("spec.expirationSeconds", lifetime_s, words);
        return Err(ApiError::invalid("authentication.k8s.io", "TokenRequest", "", &[error]));
    }
    let now = api.cluster.now();
    let expires = now.checked_add(SignedDuration::from_secs(lifetime_s)).unwrap_or(now);
    if object::array_at(&request, "/spec/audiences").is_empty() {
        object::set(&mut request, &["spec", "audiences"], json!([AUDIENCE]));
    }
    if request["spec"]["boundObjectRef"].is_null() {
        object::set(&mut request, &["spec", "boundObjectRef"], Value::Null);
    }
    object::set(&mut request, &["spec", "expirationSeconds"], lifetime_s.into());
    object::set(&mut request, &["kind"], "TokenRequest".into());
    object::set(&mut request, &["apiVersion"], "authentication.k8s.io/v1".into());
    for (key, value) in [
        ("name", address.name().into()),
        ("namespace", address.namespace().into()),
        ("creationTimestamp", object::time(now).into()),
    ] {
        object::set(&mut request, &["metadata", key], value);
    }
    let token = api.token.of_account(&account, &request["spec"]["audiences"], (now, expires));
    request["status"] = json!({ "token": token, "expirationTimestamp": object::time(expires) });
    Ok(reply::json(201, &request))
}
