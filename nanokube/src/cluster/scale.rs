//! The scale subresource: how many replicas an object wants and has, and which pods they are, whatever its kind.
//!
//! Built-in kinds keep these at fixed places; a custom resource where the `scale` of its definition says.

use std::borrow::Cow;

use serde_json::{Value, json};

use crate::kind::Kind;
use crate::object;
use crate::selector::LabelSelector;
use crate::status::{ApiError, FieldError};

/// The Scale view of an object that has replicas.
pub fn scale_of(kind: &Kind, object: &Value) -> Value {
    let places = Places::of(kind);
    let mut metadata = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        metadata[field] = object["metadata"][field].clone();
    }
    let mut scale = json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {},
        "status": { "replicas": object::i64_at(object, &places.counted).unwrap_or(0) },
    });
    match object::i64_at(object, &places.wanted).unwrap_or(0) {
        0 => {}
        replicas => scale["spec"]["replicas"] = replicas.into(),
    }
    let selector = match object.pointer(&places.selector) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Object(map)) if kind.resource == "replicationcontrollers" => {
            LabelSelector::from_map(map).to_string()
        }
        Some(selector) => LabelSelector::from_value(selector).to_string(),
        None => String::new(),
    };
    if !selector.is_empty() {
        scale["status"]["selector"] = selector.into();
    }
    scale
}

/// The object with the replicas that a Scale asks for.
pub(super) fn scaled(kind: &Kind, current: &Value, scale: &Value) -> Result<Value, ApiError> {
    let replicas = object::i64_at(scale, "/spec/replicas").unwrap_or(0);
    if replicas < 0 {
        let error = FieldError::invalid("spec.replicas", replicas, "must be greater than or equal to 0");
        return Err(ApiError::invalid("autoscaling", "Scale", object::name(current), &[error]));
    }
    let sent = object::str_at(scale, "/metadata/resourceVersion");
    if !sent.is_empty() && sent != object::str_at(current, "/metadata/resourceVersion") {
        return Err(ApiError::conflict(&kind.resource, object::name(current)));
    }
    let mut new = current.clone();
    let wanted = Places::of(kind).wanted;
    object::set(&mut new, &wanted.split('/').skip(1).collect::<Vec<_>>(), replicas.into());
    Ok(new)
}

/// JSON pointers into an object.
struct Places {
    wanted: Cow<'static, str>,
    counted: Cow<'static, str>,
    selector: Cow<'static, str>,
}

impl Places {
    fn of(kind: &Kind) -> Places {
        let versions = kind.definition.iter().flat_map(|it| object::array_at(it, "/spec/versions"));
        let mut declared = versions.filter_map(|version| version.pointer("/subresources/scale"));
        let Some(scale) = declared.next() else {
            let [wanted, counted, selector] = ["/spec/replicas", "/status/replicas", "/spec/selector"].map(Cow::from);
            return Places { wanted, counted, selector };
        };
        // Paths are made of names and dots only, as validation asks.
        let pointer = |field: &str| match object::str_at(scale, field) {
            "" => "/none".into(),
            path => path.replace('.', "/").into(),
        };
        Places {
            wanted: pointer("/specReplicasPath"),
            counted: pointer("/statusReplicasPath"),
            selector: pointer("/labelSelectorPath"),
        }
    }
}
