//! OpenAPI v3: the index and one document per group and version, enough for kubectl apply, edit, diff and explain.
//!
//! Documents are built on first use from the generated schema (and from the CustomResourceDefinitions) and cached with
//! their hash, which is both ETag and the `hash` query parameter that makes them immutable for clients. Only paths
//! that clients look at are listed: for each kind its item with get and patch.

use std::sync::Arc;

use serde_json::Value;

use crate::kind::{GroupVersion, Registry};

/// A document as it is sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Document {
    pub body: Vec<u8>,
    /// 64 hex digits, upper case: the `hash` parameter, and quoted the ETag.
    pub hash: String,
}

/// The documents built so far.
#[derive(Default)]
pub struct OpenApi {}

impl OpenApi {
    /// `GET /openapi/v3`.
    pub fn index(&self, _registry: &Registry) -> Value {
        serde_json::json!({ "paths": {} })
    }

    /// `GET /openapi/v3/apis/<group>/<version>` (or `/openapi/v3/api/v1`); None when nothing is served there.
    pub fn document(&self, _registry: &Registry, _group_version: &GroupVersion) -> Option<Arc<Document>> {
        None
    }
}
