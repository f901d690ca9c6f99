//! LIST: selectors, pages, and the rules of resourceVersion, as measured on a real server.
//!
//! Without a version a list is the latest state. With one it is "not older than" that, or exactly that state when a limit
//! or `resourceVersionMatch=Exact` asks for it. A continue token pins all pages to the revision of the first.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::Response;
use http::header::ACCEPT;
use serde::Serialize;
use serde::ser::{SerializeMap, SerializeSeq, Serializer};
use serde_json::{Value, json};

use super::negotiate::{self, Shape};
use super::request::{Address, Query};
use super::{Api, Body, Call, read, reply};
use crate::cluster::Listing;
use crate::kind::{GroupVersion, Kind, convert, fields};
use crate::object::{self, Object};
use crate::selector::{FieldSelector, LabelSelector};
use crate::status::{ApiError, FieldError};
use crate::table::{IncludeObject, Printer};

/// How long a read waits for a revision that has not come yet.
const FUTURE_WAIT: Duration = Duration::from_secs(3);

/// How much of an object a Table row carries.
pub(crate) fn include(query: &Query) -> IncludeObject {
    match query.get("includeObject") {
        "None" => IncludeObject::None,
        "Object" => IncludeObject::Object,
        _ => IncludeObject::Metadata,
    }
}

/// The columns of a kind in one of its versions.
pub(crate) fn printer(kind: &Kind, view: &GroupVersion) -> Printer {
    match &kind.definition {
        Some(definition) => Printer::custom(definition, &view.version),
        None => Printer::built_in(&kind.resource),
    }
}

/// Which objects of a collection are meant.
pub(crate) struct Filter {
    pub(crate) labels: LabelSelector,
    pub(crate) fields: FieldSelector,
    view: GroupVersion,
    /// The kind shows fields under other names than it stores them.
    converts: bool,
    name: Option<String>,
}

impl Filter {
    pub(crate) fn parse(call: &Call, kind: &Kind, address: &Address) -> Result<Filter, ApiError> {
        let labels = LabelSelector::parse(call.query.get("labelSelector"))?;
        let fields = FieldSelector::parse(call.query.get("fieldSelector"))?;
        fields::check(&fields, kind, &address.version)?;
        let view = address.version.clone();
        let converts = view != *kind.storage_version() && !fields.is_everything();
        Ok(Filter { labels, fields, view, converts, name: address.name.clone() })
    }

    pub(crate) fn matches(&self, kind: &Kind, object: &Value) -> bool {
        if self.name.as_deref().is_some_and(|name| object::name(object) != name) {
            return false;
        }
        if !self.labels.matches_object(object) {
            return false;
        }
        if self.converts {
            let shown = convert::to_view(kind, &self.view, object);
            return self.fields.matches(|field| fields::read(&shown, field));
        }
        self.fields.matches(|field| fields::read(object, field))
    }

    fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }
}

pub(crate) async fn answer(
    api: &Arc<Api>,
    call: &Call,
    kind: &Kind,
    address: &Address,
) -> Result<Response<Body>, ApiError> {
    let wanted = negotiate::wanted(call.header(ACCEPT))?;
    let filter = Filter::parse(call, kind, address)?;
    let page = Page::read(api, call, kind, address).await?;
    let cut = page.cut(kind, &filter);
    let mut metadata = cut.metadata(&filter);
    let view = &address.version;
    let bytes = match wanted.shape {
        Shape::Table => {
            let now = api.cluster.now();
            printer(kind, view).table_bytes(&cut.items, include(&call.query), now, &metadata).into()
        }
        Shape::Metadata => encode(&json!({
            "kind": "PartialObjectMetadataList",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": metadata,
            "items": cut.items.iter().map(|object| read::metadata_only(object)).collect::<Vec<Value>>(),
        })),
        Shape::Object => {
            // Lists of custom resources say so on their last page too.
            if kind.is_custom() && cut.next.is_none() {
                metadata["continue"] = "".into();
            }
            let list = ListBody { kind, view, items: &cut.items, metadata: &metadata };
            if wanted.yaml {
                return Ok(read::yaml(200, &list));
            }
            encode(&list)
        }
    };
    Ok(reply::json_bytes(200, bytes))
}

/// The objects that a filter picks, for callers outside of LIST.
pub(crate) fn select(api: &Api, kind: &Kind, address: &Address, filter: &Filter) -> Listing {
    let mut listing = api.cluster.list(&kind.resource, address.namespace.as_deref());
    listing.items.retain(|object| filter.matches(kind, object));
    listing
}

/// The state that a list request refers to, before selectors and limit.
struct Page {
    listing: Listing,
    limit: usize,
    /// Only keys after this one.
    after: Option<String>,
}

struct Cut {
    items: Vec<Object>,
    resource_version: u64,
    next: Option<String>,
    remaining: usize,
}

impl Page {
    async fn read(api: &Arc<Api>, call: &Call, kind: &Kind, address: &Address) -> Result<Page, ApiError> {
        let query = &call.query;
        let limit = query.integer("limit")?.unwrap_or(0).max(0) as usize;
        check_options(query)?;
        let namespace = address.namespace.as_deref();
        let resource = kind.resource.as_str();
        if !query.get("continue").is_empty() {
            let (revision, after) = read_token(query.get("continue"))?;
            if !matches!(query.get("resourceVersion"), "" | "0") {
                let message = "specifying resource version is not allowed when using continue";
                return Err(ApiError::bad_request(message));
            }
            let expired = "The provided continue parameter is too old to display a consistent list result. You can \
                           start a new list without the continue parameter.";
            let listing = api.cluster.list_at(resource, namespace, revision);
            let listing = listing.map_err(|_| ApiError::gone(expired))?;
            return Ok(Page { listing, limit, after: Some(after) });
        }
        let revision = revision(query)?;
        if let Some(revision) = revision {
            wait_for(api, revision).await?;
        }
        let exact =
            query.get("resourceVersionMatch") == "Exact" || (limit > 0 && query.get("resourceVersionMatch").is_empty());
        let listing = match revision {
            Some(revision) if revision > 0 && exact => api.cluster.list_at(resource, namespace, revision)?,
            _ => api.cluster.list(resource, namespace),
        };
        let limit = if revision == Some(0) { 0 } else { limit };
        Ok(Page { listing, limit, after: None })
    }

    fn cut(self, kind: &Kind, filter: &Filter) -> Cut {
        let after = self.after.as_deref();
        let mut items: Vec<Object> = self.listing.items;
        items.retain(|object| after.is_none_or(|after| key(object).as_str() > after) && filter.matches(kind, object));
        let mut cut = Cut { items, resource_version: self.listing.resource_version, next: None, remaining: 0 };
        if self.limit > 0 && cut.items.len() > self.limit {
            cut.remaining = cut.items.len() - self.limit;
            cut.items.truncate(self.limit);
            cut.next = cut.items.last().map(|last| write_token(cut.resource_version, &key(last)));
        }
        cut
    }
}

impl Cut {
    fn metadata(&self, filter: &Filter) -> Value {
        let mut metadata = json!({ "resourceVersion": self.resource_version.to_string() });
        if let Some(next) = &self.next {
            metadata["continue"] = next.as_str().into();
            if filter.is_everything() {
                metadata["remainingItemCount"] = self.remaining.into();
            }
        }
        metadata
    }
}

fn key(object: &Value) -> String {
    format!("{}/{}", object::namespace(object), object::name(object))
}

fn write_token(revision: u64, last: &str) -> String {
    let token = json!({ "v": "meta.k8s.io/v1", "rv": revision, "start": format!("{last}\u{0}") });
    URL_SAFE_NO_PAD.encode(token.to_string())
}

fn read_token(token: &str) -> Result<(u64, String), ApiError> {
    let refused =
        |why: &str| ApiError::bad_request(format!("invalid continue token: continue key is not valid: {why}"));
    let bytes = URL_SAFE_NO_PAD.decode(token.trim_end_matches('=')).map_err(|error| refused(&error.to_string()))?;
    let token: Value = serde_json::from_slice(&bytes).map_err(|error| refused(&error.to_string()))?;
    let start = object::str_at(&token, "/start").trim_end_matches('\u{0}').to_string();
    match token["rv"].as_u64() {
        Some(revision) if !start.is_empty() => Ok((revision, start)),
        _ => Err(refused("no revision or start")),
    }
}

/// The parameter `resourceVersion`.
pub(crate) fn revision(query: &Query) -> Result<Option<u64>, ApiError> {
    let text = query.get("resourceVersion");
    if text.is_empty() {
        return Ok(None);
    }
    let refused = |_| ApiError::bad_request(format!("invalid resource version: {}", not_a_version(text)));
    text.parse().map(Some).map_err(refused)
}

pub(crate) fn not_a_version(text: &str) -> String {
    format!("resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax")
}

/// Waits a little for a revision that is still to come.
pub(crate) async fn wait_for(api: &Api, revision: u64) -> Result<(), ApiError> {
    let mut latest = api.cluster.subscribe();
    let arrived = tokio::time::timeout(FUTURE_WAIT, latest.wait_for(|latest| *latest >= revision)).await;
    if arrived.is_ok() {
        return Ok(());
    }
    let message = format!("Timeout: Too large resource version: {revision}, current: {}", api.cluster.revision());
    let cause = json!({ "reason": "ResourceVersionTooLarge", "message": "Too large resource version" });
    Err(ApiError::timeout(message, json!({ "causes": [cause], "retryAfterSeconds": 1 })))
}

/// Every mistake is told, in upstream's order.
fn check_options(query: &Query) -> Result<(), ApiError> {
    let (field, wanted) = ("resourceVersionMatch", query.get("resourceVersionMatch"));
    let mut errors = Vec::new();
    if !wanted.is_empty() {
        let version = query.get("resourceVersion");
        if version.is_empty() {
            let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
            errors.push(FieldError::forbidden(field, why));
        }
        if !query.get("continue").is_empty() {
            let why = "resourceVersionMatch is forbidden when continue is provided";
            errors.push(FieldError::forbidden(field, why));
        }
        if !matches!(wanted, "Exact" | "NotOlderThan") {
            errors.push(FieldError::not_supported(field, wanted, &["Exact", "NotOlderThan", ""]));
        }
        if wanted == "Exact" && version == "0" {
            let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
            errors.push(FieldError::forbidden(field, why));
        }
    }
    if query.has("sendInitialEvents") {
        errors.push(FieldError::forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
    }
    if errors.is_empty() { Ok(()) } else { Err(ApiError::invalid("meta.k8s.io", "ListOptions", "", &errors)) }
}

pub(crate) fn encode(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).expect("invariant: JSON values encode").into()
}

/// A typed list, written without building it as one value.
struct ListBody<'a> {
    kind: &'a Kind,
    view: &'a GroupVersion,
    items: &'a [Object],
    metadata: &'a Value,
}

impl Serialize for ListBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(4))?;
        map.serialize_entry("kind", &self.kind.list_kind)?;
        map.serialize_entry("apiVersion", &self.view.to_string())?;
        map.serialize_entry("metadata", self.metadata)?;
        map.serialize_entry("items", &ListItems(self))?;
        map.end()
    }
}

struct ListItems<'a>(&'a ListBody<'a>);

impl Serialize for ListItems<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut items = serializer.serialize_seq(Some(self.0.items.len()))?;
        for object in self.0.items {
            let shown = convert::to_view(self.0.kind, self.0.view, object);
            items.serialize_element(&ListItem { object: &shown, bare: !self.0.kind.is_custom() })?;
        }
        items.end()
    }
}

/// Items of built-in lists carry no kind and apiVersion.
struct ListItem<'a> {
    object: &'a Value,
    bare: bool,
}

impl Serialize for ListItem<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = self.object.as_object().into_iter().flatten();
        serializer.collect_map(fields.filter(|(key, _)| !(self.bare && matches!(key.as_str(), "kind" | "apiVersion"))))
    }
}
