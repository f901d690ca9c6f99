//! Collects field errors; one method for each way of being wrong.

use serde_json::Value;

use crate::status::{FieldError, FieldErrorKind};

pub(super) const IMMUTABLE: &str = "field is immutable";
pub(super) const NOT_NEGATIVE: &str = "must be greater than or equal to 0";

#[derive(Default)]
pub(super) struct Errors {
    list: Vec<FieldError>,
}

impl Errors {
    pub(super) fn into_list(self) -> Vec<FieldError> {
        self.list
    }

    pub(super) fn push(&mut self, error: FieldError) {
        self.list.push(error);
    }

    pub(super) fn required(&mut self, field: impl Into<String>, detail: &str) {
        self.list.push(FieldError::required(field, detail));
    }

    pub(super) fn invalid(&mut self, field: impl Into<String>, value: impl Into<Value>, detail: impl Into<String>) {
        self.list.push(FieldError::invalid(field, value, detail));
    }

    /// One error for each thing that is wrong with a text.
    pub(super) fn invalid_text(&mut self, field: &str, text: &str, details: Vec<String>) {
        for detail in details {
            self.invalid(field, text, detail);
        }
    }

    pub(super) fn forbidden(&mut self, field: impl Into<String>, detail: impl Into<String>) {
        self.list.push(FieldError::forbidden(field, detail));
    }

    pub(super) fn duplicate(&mut self, field: impl Into<String>, value: impl Into<Value>) {
        self.list.push(FieldError::duplicate(field, value));
    }

    pub(super) fn not_found(&mut self, field: impl Into<String>, value: &Value) {
        self.list.push(FieldError::new(FieldErrorKind::NotFound, field, value, ""));
    }

    pub(super) fn too_long(&mut self, field: impl Into<String>, limit: usize) {
        self.list.push(FieldError::too_long(field, limit));
    }

    /// The value is none of those supported, which are listed in this order.
    pub(super) fn not_supported(&mut self, field: impl Into<String>, value: &Value, supported: &[&str]) {
        let value = if value.is_null() { Value::from("") } else { value.clone() };
        self.list.push(FieldError::not_supported(field, value, supported));
    }

    /// A structure that is wrong as a whole is shown as upstream's own fields, which are not those of the API.
    pub(super) fn not_supported_struct(&mut self, field: &str, shown: String, supported: &[&str]) {
        self.list.push(FieldError { value: shown, ..FieldError::not_supported(field, Value::Null, supported) });
    }

    pub(super) fn invalid_struct(&mut self, field: &str, shown: String, detail: &str) {
        self.list.push(FieldError { value: shown, ..FieldError::invalid(field, Value::Null, detail) });
    }

    pub(super) fn duplicate_struct(&mut self, field: &str, shown: String) {
        self.list.push(FieldError { value: shown, ..FieldError::duplicate(field, Value::Null) });
    }

    /// A text that is there must be one of these.
    pub(super) fn one_of(&mut self, field: &str, value: &Value, supported: &[&str]) {
        if !value.is_null() && !value.as_str().is_some_and(|text| supported.contains(&text)) {
            self.not_supported(field, value, supported);
        }
    }

    /// A number that is there must not be negative.
    pub(super) fn not_negative(&mut self, field: &str, value: &Value) {
        if value.as_i64().is_some_and(|number| number < 0) {
            self.invalid(field, value.clone(), NOT_NEGATIVE);
        }
    }

    /// The value must be what it was.
    pub(super) fn immutable(&mut self, field: &str, new: &Value, old: &Value) {
        if new != old {
            self.invalid(field, new.clone(), IMMUTABLE);
        }
    }
}

/// A string, "" for anything else.
pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The entries of a map.
pub(super) fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}
