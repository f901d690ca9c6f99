//! Admission: what the server adds to an object beyond defaults, knowing the rest of the cluster.
//!
//! Pods get their service account, tolerations, limit-range defaults and quality of service; services get addresses and
//! node ports that no other service has.

use serde_json::{Value, json};

use super::Settings;
use crate::kind::Kind;
use crate::object;
use crate::status::ApiError;
use crate::store::Writing;

mod finalizers;
mod limit_range;
mod pod;
mod quota;
mod service;

pub(crate) use pod::{TOKEN_DIR, TOKEN_LIFETIME_S};
pub(crate) use quota::share as quota_share;

/// Completes a new object.
pub(super) fn on_create(
    writing: &Writing<'_>,
    kind: &Kind,
    object: &mut Value,
    settings: &Settings,
) -> Result<(), ApiError> {
    match kind.resource.as_str() {
        "pods" => {
            pod::admit(writing, object)?;
            limit_range::check(writing, object)?;
            quota::check(writing, kind, object)
        }
        "services" => {
            service::allocate(writing, object, None, settings)?;
            quota::check(writing, kind, object)
        }
        "namespaces" => {
            hold(object);
            Ok(())
        }
        _ if kind.namespaced => quota::check(writing, kind, object),
        _ => Ok(()),
    }
}

/// A new namespace is held until its controller has emptied it. (Not a default: once taken off, it stays off.)
fn hold(namespace: &mut Value) {
    let mut finalizers = object::array_at(namespace, "/spec/finalizers").to_vec();
    if !finalizers.iter().any(|finalizer| finalizer == "kubernetes") {
        finalizers.push(json!("kubernetes"));
        object::set(namespace, &["spec", "finalizers"], Value::Array(finalizers));
    }
}

/// Completes a changed object, keeping what was allocated.
pub(super) fn on_update(
    writing: &Writing<'_>,
    kind: &Kind,
    object: &mut Value,
    current: &Value,
    settings: &Settings,
) -> Result<(), ApiError> {
    finalizers::check(kind, object, current)?;
    match kind.resource.as_str() {
        "services" => service::allocate(writing, object, Some(current), settings),
        _ => Ok(()),
    }
}

fn toleration(key: &str) -> Value {
    json!({ "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 })
}

/// Whether two values name the same thing when absent counts as empty.
fn same_text(a: &Value, b: &Value, pointer: &str) -> bool {
    object::str_at(a, pointer) == object::str_at(b, pointer)
}
