//! `Status`: how the API says no. One constructor for each row of the catalogue of answers.
//!
//! Clients branch on `code` and `reason`, people read `message`; all three follow the words of a real API server.
//! `details.kind` is the plural resource for NotFound, Conflict and AlreadyExists, and the Kind for Invalid.

use std::fmt;

use serde_json::{Map, Value, json};

/// A refusal that renders as a `Status` object.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiError {
    pub code: u16,
    pub reason: &'static str,
    pub message: String,
    pub details: Value,
}

/// What is wrong with one field; the kinds and the words are Kubernetes' own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    pub kind: FieldErrorKind,
    pub field: String,
    /// The offending value as JSON text; unused by Required, Forbidden and Duplicate of structs.
    pub value: String,
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldErrorKind {
    NotFound,
    Required,
    Duplicate,
    Invalid,
    NotSupported,
    Forbidden,
    TooLong,
    TooMany,
    TypeInvalid,
}

impl FieldErrorKind {
    fn reason(self) -> &'static str {
        match self {
            FieldErrorKind::NotFound => "FieldValueNotFound",
            FieldErrorKind::Required => "FieldValueRequired",
            FieldErrorKind::Duplicate => "FieldValueDuplicate",
            FieldErrorKind::Invalid => "FieldValueInvalid",
            FieldErrorKind::NotSupported => "FieldValueNotSupported",
            FieldErrorKind::Forbidden => "FieldValueForbidden",
            FieldErrorKind::TooLong => "FieldValueTooLong",
            FieldErrorKind::TooMany => "FieldValueTooMany",
            FieldErrorKind::TypeInvalid => "FieldValueTypeInvalid",
        }
    }

    fn words(self) -> &'static str {
        match self {
            FieldErrorKind::NotFound => "Not found",
            FieldErrorKind::Required => "Required value",
            FieldErrorKind::Duplicate => "Duplicate value",
            FieldErrorKind::Invalid | FieldErrorKind::TypeInvalid => "Invalid value",
            FieldErrorKind::NotSupported => "Unsupported value",
            FieldErrorKind::Forbidden => "Forbidden",
            FieldErrorKind::TooLong => "Too long",
            FieldErrorKind::TooMany => "Too many",
        }
    }
}

impl FieldError {
    pub fn new(kind: FieldErrorKind, field: impl Into<String>, value: &Value, detail: impl Into<String>) -> FieldError {
        FieldError { kind, field: field.into(), value: go_value(value), detail: detail.into() }
    }

    pub fn required(field: impl Into<String>, detail: impl Into<String>) -> FieldError {
        FieldError::new(FieldErrorKind::Required, field, &Value::Null, detail)
    }

    pub fn invalid(field: impl Into<String>, value: impl Into<Value>, detail: impl Into<String>) -> FieldError {
        FieldError::new(FieldErrorKind::Invalid, field, &value.into(), detail)
    }

    pub fn forbidden(field: impl Into<String>, detail: impl Into<String>) -> FieldError {
        FieldError::new(FieldErrorKind::Forbidden, field, &Value::Null, detail)
    }

    pub fn duplicate(field: impl Into<String>, value: impl Into<Value>) -> FieldError {
        FieldError::new(FieldErrorKind::Duplicate, field, &value.into(), "")
    }

    /// The values are shown in the order given.
    pub fn not_supported(field: impl Into<String>, value: impl Into<Value>, supported: &[&str]) -> FieldError {
        let quoted: Vec<String> = supported.iter().map(|name| format!("{name:?}")).collect();
        let detail = format!("supported values: {}", quoted.join(", "));
        FieldError::new(FieldErrorKind::NotSupported, field, &value.into(), detail)
    }

    pub fn too_long(field: impl Into<String>, limit: usize) -> FieldError {
        let detail = format!("may not be more than {limit} bytes");
        FieldError { kind: FieldErrorKind::TooLong, field: field.into(), value: "\"<value omitted>\"".into(), detail }
    }

    /// The text of the cause: everything but the field.
    pub fn message(&self) -> String {
        let words = self.kind.words();
        let bare = matches!(self.kind, FieldErrorKind::Required | FieldErrorKind::Forbidden | FieldErrorKind::TooLong);
        let head = if bare { words.to_string() } else { format!("{words}: {}", self.value) };
        if self.detail.is_empty() { head } else { format!("{head}: {}", self.detail) }
    }

    fn cause(&self) -> Value {
        json!({ "reason": self.kind.reason(), "message": self.message(), "field": self.field })
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message())
    }
}

/// A value as Go's validation prints it: strings quoted, null as `null`, the rest as compact JSON.
fn go_value(value: &Value) -> String {
    value.to_string()
}

/// `("apps", "deployments")` of "deployments.apps"; the core group is "".
pub fn split_resource(resource: &str) -> (&str, &str) {
    match resource.split_once('.') {
        Some((plural, group)) => (group, plural),
        None => ("", resource),
    }
}

fn details(name: &str, resource: &str) -> Value {
    let (group, plural) = split_resource(resource);
    let mut map = Map::new();
    if !name.is_empty() {
        map.insert("name".into(), name.into());
    }
    if !group.is_empty() {
        map.insert("group".into(), group.into());
    }
    map.insert("kind".into(), plural.into());
    Value::Object(map)
}

impl ApiError {
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> ApiError {
        ApiError { code, reason, message: message.into(), details: Value::Null }
    }

    pub fn bad_request(message: impl Into<String>) -> ApiError {
        ApiError::new(400, "BadRequest", message)
    }

    pub fn unauthorized() -> ApiError {
        ApiError::new(401, "Unauthorized", "Unauthorized")
    }

    pub fn forbidden(resource: &str, name: &str, why: impl fmt::Display) -> ApiError {
        let message = if name.is_empty() {
            format!("{resource} is forbidden: {why}")
        } else {
            format!("{resource} {name:?} is forbidden: {why}")
        };
        ApiError { details: details(name, resource), ..ApiError::new(403, "Forbidden", message) }
    }

    pub fn not_found(resource: &str, name: &str) -> ApiError {
        let message = format!("{resource} {name:?} not found");
        ApiError { details: details(name, resource), ..ApiError::new(404, "NotFound", message) }
    }

    /// No such path: an unknown resource, version or subresource.
    pub fn no_such_path() -> ApiError {
        let message = "the server could not find the requested resource";
        ApiError { details: json!({}), ..ApiError::new(404, "NotFound", message) }
    }

    pub fn method_not_allowed(resource: &str) -> ApiError {
        let message = "the server does not allow this method on the requested resource";
        let details = if resource.is_empty() { json!({}) } else { details("", resource) };
        ApiError { details, ..ApiError::new(405, "MethodNotAllowed", message) }
    }

    pub fn not_acceptable(accepted: &str) -> ApiError {
        let message = format!("only the following media types are accepted: {accepted}");
        ApiError::new(406, "NotAcceptable", message)
    }

    pub fn already_exists(resource: &str, name: &str) -> ApiError {
        let message = format!("{resource} {name:?} already exists");
        ApiError { details: details(name, resource), ..ApiError::new(409, "AlreadyExists", message) }
    }

    /// A write that started from an older object than the stored one.
    pub fn conflict(resource: &str, name: &str) -> ApiError {
        ApiError::conflict_because(
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    pub fn conflict_because(resource: &str, name: &str, why: &str) -> ApiError {
        let message = format!("Operation cannot be fulfilled on {resource} {name:?}: {why}");
        ApiError { details: details(name, resource), ..ApiError::new(409, "Conflict", message) }
    }

    pub fn gone(message: impl Into<String>) -> ApiError {
        ApiError::new(410, "Expired", message)
    }

    pub fn unsupported_media_type(accepted: &str) -> ApiError {
        let message =
            format!("the body of the request was in an unknown format - accepted media types include: {accepted}");
        ApiError::new(415, "UnsupportedMediaType", message)
    }

    pub fn too_large(message: impl Into<String>) -> ApiError {
        ApiError::new(413, "RequestEntityTooLarge", message)
    }

    /// Validation failed; `kind` and `group` are those of the object, not of its resource.
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> ApiError {
        let qualified = if group.is_empty() { kind.to_string() } else { format!("{kind}.{group}") };
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let joined = if texts.len() == 1 { texts.concat() } else { format!("[{}]", texts.join(", ")) };
        let mut details = Map::new();
        if !name.is_empty() {
            details.insert("name".into(), name.into());
        }
        if !group.is_empty() {
            details.insert("group".into(), group.into());
        }
        details.insert("kind".into(), kind.into());
        details.insert("causes".into(), errors.iter().map(FieldError::cause).collect());
        let message = format!("{qualified} {name:?} is invalid: {joined}");
        ApiError { details: Value::Object(details), ..ApiError::new(422, "Invalid", message) }
    }

    pub fn too_many_requests(message: impl Into<String>, details: Value) -> ApiError {
        ApiError { details, ..ApiError::new(429, "TooManyRequests", message) }
    }

    pub fn internal(message: impl Into<String>) -> ApiError {
        ApiError::new(500, "InternalError", message)
    }

    /// A 500 without a reason, as the real server answers to malformed patches.
    pub fn bare(code: u16, message: impl Into<String>) -> ApiError {
        ApiError::new(code, "", message)
    }

    pub fn unavailable(message: impl Into<String>) -> ApiError {
        ApiError::new(503, "ServiceUnavailable", message)
    }

    pub fn insufficient_storage(message: impl Into<String>) -> ApiError {
        ApiError::new(507, "InsufficientStorage", message)
    }

    pub fn timeout(message: impl Into<String>, details: Value) -> ApiError {
        ApiError { details, ..ApiError::new(504, "Timeout", message) }
    }

    pub fn is_not_found(&self) -> bool {
        self.code == 404
    }

    pub fn is_conflict(&self) -> bool {
        self.code == 409 && self.reason == "Conflict"
    }

    pub fn is_already_exists(&self) -> bool {
        self.code == 409 && self.reason == "AlreadyExists"
    }

    /// The `Status` object.
    pub fn to_value(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "code": self.code,
        });
        let map = status.as_object_mut().expect("invariant: built as a map above");
        if !self.reason.is_empty() {
            map.insert("reason".into(), self.reason.into());
        }
        if !self.details.is_null() {
            map.insert("details".into(), self.details.clone());
        }
        status
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ApiError {}

/// The `Status` of a success, as DELETE answers for most kinds.
pub fn success(name: &str, resource: &str, uid: &str) -> Value {
    let mut details = details(name, resource);
    details["uid"] = uid.into();
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details })
}
