//! Reviews: who am I, may I, and tokens. The bearer of the instance's token may do everything.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Method, Response};
use jiff::SignedDuration;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::request::Address;
use super::{Api, Body, Call, auth, body, read, reply};
use crate::kind::Kind;
use crate::object;
use crate::status::ApiError;

/// How long a token lasts when the request does not say.
const TOKEN_LIFETIME_S: i64 = 3_600;
const TOKEN_LIFETIME_LIMIT_S: i64 = 1 << 32;

/// Answers one of the review kinds; nothing is stored.
pub(crate) fn answer(kind: &Kind, call: &Call, address: &Address) -> Result<Response<Body>, ApiError> {
    if call.method != Method::POST || address.name.is_some() {
        return Err(ApiError { details: json!({}), ..ApiError::method_not_allowed("") });
    }
    let mut review = body::decode(call, &kind.kind)?;
    let user = json!({ "username": auth::USER, "groups": auth::GROUPS });
    let status = match kind.kind.as_str() {
        "SelfSubjectReview" => json!({ "userInfo": user }),
        "TokenReview" => json!({ "authenticated": false, "user": {} }),
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

/// A token for a service account: a JWT in form, for pods and clients that want one; only this server would verify it.
pub(crate) fn token(api: &Arc<Api>, kind: &Kind, call: &Call, address: &Address) -> Result<Response<Body>, ApiError> {
    if call.method != Method::POST {
        return Err(ApiError { details: json!({}), ..ApiError::method_not_allowed("") });
    }
    let account = read::find(api, kind, address)?;
    let mut request = if call.body.is_empty() { json!({}) } else { body::decode(call, "TokenRequest")? };
    let lifetime_s = object::i64_at(&request, "/spec/expirationSeconds").unwrap_or(TOKEN_LIFETIME_S);
    let lifetime_s = lifetime_s.clamp(600, TOKEN_LIFETIME_LIMIT_S);
    let now = api.cluster.now();
    let expires = now.checked_add(SignedDuration::from_secs(lifetime_s)).unwrap_or(now);
    if object::array_at(&request, "/spec/audiences").is_empty() {
        object::set(&mut request, &["spec", "audiences"], json!(["https://kubernetes.default.svc.cluster.local"]));
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
    let claims = json!({
        "aud": request["spec"]["audiences"],
        "exp": expires.as_second(),
        "iat": now.as_second(),
        "iss": "https://kubernetes.default.svc.cluster.local",
        "kubernetes.io": {
            "namespace": address.namespace(),
            "serviceaccount": { "name": address.name(), "uid": object::uid(&account) },
        },
        "nbf": now.as_second(),
        "sub": format!("system:serviceaccount:{}:{}", address.namespace(), address.name()),
    });
    request["status"] = json!({ "token": jwt(&claims), "expirationTimestamp": object::time(expires) });
    Ok(reply::json(201, &request))
}

fn jwt(claims: &Value) -> String {
    let header = json!({ "alg": "HS256", "typ": "JWT" });
    let signed =
        format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
    let signature = URL_SAFE_NO_PAD.encode(Sha256::digest(&signed));
    format!("{signed}.{signature}")
}
