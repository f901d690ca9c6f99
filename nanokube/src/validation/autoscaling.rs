//! HorizontalPodAutoscalers: the rules live with the decision, in the crate `autoscaler`.

use autoscaler::config::Gates;
use autoscaler::field::FieldErrorKind as Theirs;
use serde_json::Value;

use super::errors::Errors;
use crate::status::{FieldError, FieldErrorKind};

pub(super) fn horizontal_pod_autoscaler(object: &Value, old: Option<&Value>, errors: &mut Errors) {
    let found = match autoscaler::json::validate_object(object, old, &Gates::default()) {
        Ok(found) => found,
        Err(unreadable) => return errors.invalid("spec", object["spec"].clone(), unreadable.0),
    };
    for error in found.into_iter().filter(|error| error.field != "metadata.name") {
        let kind = match error.kind {
            Theirs::Required => FieldErrorKind::Required,
            Theirs::Invalid => FieldErrorKind::Invalid,
            Theirs::NotSupported => FieldErrorKind::NotSupported,
            Theirs::Forbidden => FieldErrorKind::Forbidden,
        };
        errors.push(FieldError { kind, field: error.field, value: error.value, detail: error.detail });
    }
}
