//! Errors about one field of an object, worded as the API server words them, and the rules for names.
//!
//! `metadata.name: Invalid value: "-x": a lowercase RFC 1123 subdomain must consist of ...`

use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    pub kind: FieldErrorKind,
    pub field: String,
    /// The offending value as it is printed, where its kind prints one.
    pub value: String,
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldErrorKind {
    Required,
    Invalid,
    NotSupported,
    Forbidden,
}

impl FieldErrorKind {
    /// The reason in a Status cause: `FieldValueInvalid`.
    pub fn reason(self) -> &'static str {
        match self {
            FieldErrorKind::Required => "FieldValueRequired",
            FieldErrorKind::Invalid => "FieldValueInvalid",
            FieldErrorKind::NotSupported => "FieldValueNotSupported",
            FieldErrorKind::Forbidden => "FieldValueForbidden",
        }
    }
}

impl FieldError {
    pub(crate) fn required(field: String, detail: &str) -> FieldError {
        FieldError { kind: FieldErrorKind::Required, field, value: String::new(), detail: detail.into() }
    }

    pub(crate) fn forbidden(field: String, detail: &str) -> FieldError {
        FieldError { kind: FieldErrorKind::Forbidden, field, value: String::new(), detail: detail.into() }
    }

    /// `value` as printed: see [`quote`] for strings.
    pub(crate) fn invalid(field: String, value: impl fmt::Display, detail: &str) -> FieldError {
        FieldError { kind: FieldErrorKind::Invalid, field, value: value.to_string(), detail: detail.into() }
    }

    pub(crate) fn not_supported(field: String, value: &str, supported: &[&str]) -> FieldError {
        let supported: Vec<String> = supported.iter().map(|s| quote(s)).collect();
        let detail = format!("supported values: {}", supported.join(", "));
        FieldError { kind: FieldErrorKind::NotSupported, field, value: quote(value), detail }
    }

    /// The message without the field, as in a Status cause.
    pub fn body(&self) -> String {
        let FieldError { value, detail, .. } = self;
        match self.kind {
            FieldErrorKind::Required if detail.is_empty() => "Required value".into(),
            FieldErrorKind::Required => format!("Required value: {detail}"),
            FieldErrorKind::Forbidden => format!("Forbidden: {detail}"),
            FieldErrorKind::Invalid => format!("Invalid value: {value}: {detail}"),
            FieldErrorKind::NotSupported => format!("Unsupported value: {value}: {detail}"),
        }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}

/// A string in double quotes with Go's escapes.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            c if c < ' ' || c == '\u{7f}' => quoted.push_str(&format!("\\x{:02x}", c as u32)),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", c as u32)),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// What is wrong with a DNS-1123 label; empty if nothing is.
pub(crate) fn dns_label_errors(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > 63 {
        errors.push("must be no more than 63 bytes".into());
    }
    if !is_dns_label(text) {
        errors.push(regex_error(
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', \
             and must start and end with an alphanumeric character",
            "[a-z0-9]([-a-z0-9]*[a-z0-9])?",
            &["my-name", "123-abc"],
        ));
    }
    errors
}

pub(crate) fn dns_subdomain_errors(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > 253 {
        errors.push("must be no more than 253 bytes".into());
    }
    if !text.split('.').all(is_dns_label) {
        errors.push(regex_error(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
             and must start and end with an alphanumeric character",
            r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
            &["example.com"],
        ));
    }
    errors
}

/// Label keys and resource names: an optional DNS subdomain and `/`, then a name.
pub(crate) fn qualified_name_errors(text: &str) -> Vec<String> {
    const RULE: &str = "must consist of alphanumeric characters, '-', '_' or '.', \
                        and must start and end with an alphanumeric character";
    const REGEX: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
    const EXAMPLES: [&str; 3] = ["MyName", "my.name", "123-abc"];
    let mut errors = Vec::new();
    let parts: Vec<&str> = text.split('/').collect();
    let name = match parts[..] {
        [name] => name,
        ["", name] => {
            errors.push("prefix part must be non-empty".into());
            name
        }
        [prefix, name] => {
            errors.extend(dns_subdomain_errors(prefix).into_iter().map(|e| format!("prefix part {e}")));
            name
        }
        _ => {
            let rule = regex_error(RULE, REGEX, &EXAMPLES);
            return vec![format!(
                "a qualified name {rule} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    if name.is_empty() {
        errors.push("name part must be non-empty".into());
    } else if name.len() > 63 {
        errors.push("name part must be no more than 63 bytes".into());
    }
    if !is_name(name) {
        errors.push(format!("name part {}", regex_error(RULE, REGEX, &EXAMPLES)));
    }
    errors
}

pub(crate) fn label_value_errors(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > 63 {
        errors.push("must be no more than 63 bytes".into());
    }
    if !text.is_empty() && !is_name(text) {
        errors.push(regex_error(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', \
             and must start and end with an alphanumeric character",
            "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?",
            &["MyValue", "my_value", "12345"],
        ));
    }
    errors
}

/// What may not be one segment of a URL path.
pub(crate) fn path_segment_errors(text: &str) -> Vec<String> {
    match text {
        "." => vec!["may not be '.'".into()],
        ".." => vec!["may not be '..'".into()],
        _ => ['/', '%'].iter().filter(|c| text.contains(**c)).map(|c| format!("may not contain '{c}'")).collect(),
    }
}

fn regex_error(rule: &str, regex: &str, examples: &[&str]) -> String {
    let examples: Vec<String> = examples.iter().map(|e| format!("'{e}', ")).collect();
    format!("{rule} (e.g. {}regex used for validation is '{regex}')", examples.join(" or "))
}

fn is_dns_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    is_bounded(text, inner, |b| inner(b) || b == b'-')
}

fn is_name(text: &str) -> bool {
    is_bounded(text, |b| b.is_ascii_alphanumeric(), |b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// Not empty, starts and ends with an `edge`, and is made of `inner` throughout.
fn is_bounded(text: &str, edge: impl Fn(u8) -> bool, inner: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|b| edge(*b)) && bytes.last().is_some_and(|b| edge(*b)) && bytes.iter().all(|b| inner(*b))
}
