//! OpenAPI v3: the index and one document per group and version, enough for kubectl apply, edit, diff and explain; and
//! one document of version 2 for clients before 1.29.
//!
//! Documents are built on first use from the generated schema (and from the CustomResourceDefinitions) and cached under
//! their hash, which is both ETag and the `hash` query parameter that makes them immutable for clients. Listed are only
//! paths that clients look at: for each kind its item with get and patch. Descriptions are left out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha512};

use crate::kind::{GroupVersion, Kind, Registry};
use crate::schema::{self, schema};

mod types;
mod version2;

/// Raised whenever documents of the same kinds would look different.
const FORMAT: &str = "nanokube openapi 1";

/// Query parameters of a patch; clients look here for what the server can do.
const PATCH_PARAMETERS: [(&str, &str); 4] =
    [("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string"), ("force", "boolean")];

/// More documents than a cluster has groups; definitions that change all the time do not fill the memory.
const CACHE_LIMIT: usize = 64;

/// The media type of the document of version 2, the only form that clients read. They ask for it as `v2@v1.0`, which no
/// parser of media types takes.
pub const VERSION_2_TYPE: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// A document as it is sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Document {
    pub body: Vec<u8>,
    /// 128 hex digits, upper case: the `hash` parameter, and quoted the ETag.
    pub hash: String,
}

/// The documents built so far.
#[derive(Default)]
pub struct OpenApi {
    built: Mutex<HashMap<String, Arc<Document>>>,
}

impl OpenApi {
    /// `GET /openapi/v3`.
    pub fn index(&self, registry: &Registry) -> Value {
        let mut paths = Map::new();
        for group_version in group_versions(registry) {
            let path = root(&group_version);
            let path = path.trim_start_matches('/');
            let hash = fingerprint(registry, std::slice::from_ref(&group_version));
            paths.insert(path.into(), json!({ "serverRelativeURL": format!("/openapi/v3/{path}?hash={hash}") }));
        }
        json!({ "paths": paths })
    }

    /// `GET /openapi/v3/apis/<group>/<version>` (or `/openapi/v3/api/v1`); None when nothing is served there.
    pub fn document(&self, registry: &Registry, group_version: &GroupVersion) -> Option<Arc<Document>> {
        kinds(registry, group_version).next()?;
        let hash = fingerprint(registry, std::slice::from_ref(group_version));
        Some(self.cached(hash, || build(registry, group_version).to_string().into_bytes()))
    }

    /// `GET /openapi/v2` as protobuf ([`VERSION_2_TYPE`]): one document of everything, for clients before 1.29.
    pub fn version2(&self, registry: &Registry) -> Arc<Document> {
        let hash = format!("2{}", fingerprint(registry, &group_versions(registry)));
        self.cached(hash, || version2::build(registry))
    }

    fn cached(&self, hash: String, build: impl FnOnce() -> Vec<u8>) -> Arc<Document> {
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(document) = built.get(&hash) {
            return document.clone();
        }
        let document = Arc::new(Document { body: build(), hash: hash.clone() });
        if built.len() >= CACHE_LIMIT {
            built.clear();
        }
        built.insert(hash, document.clone());
        document
    }
}

fn group_versions(registry: &Registry) -> Vec<GroupVersion> {
    let mut found: Vec<GroupVersion> = registry.kinds().flat_map(|kind| kind.served.clone()).collect();
    found.sort();
    found.dedup();
    found
}

fn kinds<'a>(registry: &'a Registry, group_version: &'a GroupVersion) -> impl Iterator<Item = &'a Arc<Kind>> {
    registry.kinds().filter(move |kind| kind.served.contains(group_version))
}

/// `/api/v1` or `/apis/apps/v1`.
fn root(group_version: &GroupVersion) -> String {
    let prefix = if group_version.group.is_empty() { "/api" } else { "/apis" };
    format!("{prefix}/{group_version}")
}

/// What a document is made of, hashed; known without building it.
fn fingerprint(registry: &Registry, group_versions: &[GroupVersion]) -> String {
    let mut hash = Sha512::new();
    hash.update(FORMAT);
    hash.update(env!("CARGO_PKG_VERSION"));
    hash.update(schema::TABLE);
    for group_version in group_versions {
        hash.update(group_version.to_string());
        for kind in kinds(registry, group_version) {
            hash.update(format!("{} {} {:?}", kind.plural, kind.kind, kind.verbs));
            if let Some(definition) = &kind.definition {
                hash.update(definition["spec"].to_string());
            }
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02X}")).collect()
}

fn build(registry: &Registry, group_version: &GroupVersion) -> Value {
    let (mut paths, mut schemas) = (Map::new(), types::Schemas::default());
    for kind in kinds(registry, group_version) {
        let name = match &kind.definition {
            Some(definition) => Some(schemas.add_custom(definition, group_version, kind)),
            None => schema().kind(&group_version.to_string(), &kind.kind).map(|kind| schemas.add(kind)),
        };
        schemas.add_list(group_version, kind);
        if kind.verbs.contains(&"patch") {
            paths.insert(item_path(group_version, kind), item(group_version, kind, name.as_deref()));
        }
    }
    json!({
        "openapi": "3.0.0",
        "info": { "title": "Kubernetes", "version": "v1.36.2" },
        "paths": paths,
        "components": { "schemas": schemas.into_map() },
    })
}

fn item_path(group_version: &GroupVersion, kind: &Kind) -> String {
    let namespace = if kind.namespaced { "/namespaces/{namespace}" } else { "" };
    format!("{}{namespace}/{}/{{name}}", root(group_version), kind.plural)
}

/// The operations on one object.
fn item(group_version: &GroupVersion, kind: &Kind, schema_name: Option<&str>) -> Value {
    let schema = schema_name.map_or(json!({ "type": "object" }), types::reference);
    let answer = json!({ "200": { "description": "OK", "content": { "application/json": { "schema": schema } } } });
    let of_kind = group_version_kind(group_version, &kind.kind);
    let mut path_parameters = vec![parameter("name", "path", "string")];
    if kind.namespaced {
        path_parameters.push(parameter("namespace", "path", "string"));
    }
    let patches = ["application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json"];
    let strategic = (!kind.is_custom()).then_some("application/strategic-merge-patch+json");
    let bodies: Map<String, Value> = patches
        .into_iter()
        .chain(strategic)
        .map(|media_type| (media_type.to_string(), json!({ "schema": { "type": "object" } })))
        .collect();
    json!({
        "parameters": path_parameters,
        "get": {
            "x-kubernetes-action": "get",
            "x-kubernetes-group-version-kind": of_kind,
            "responses": answer,
        },
        "patch": {
            "x-kubernetes-action": "patch",
            "x-kubernetes-group-version-kind": of_kind,
            "parameters": PATCH_PARAMETERS.map(|(name, kind)| parameter(name, "query", kind)),
            "requestBody": { "required": true, "content": bodies },
            "responses": answer,
        },
    })
}

fn parameter(name: &str, place: &str, kind: &str) -> Value {
    let mut parameter = json!({ "name": name, "in": place, "schema": { "type": kind, "uniqueItems": true } });
    if place == "path" {
        parameter["required"] = true.into();
    }
    parameter
}

fn group_version_kind(group_version: &GroupVersion, kind: &str) -> Value {
    json!({ "group": group_version.group, "version": group_version.version, "kind": kind })
}

#[cfg(test)]
mod tests;
