//! What a text must look like: names, label keys and values, quantities, times; and the words when it does not.
//!
//! The regular expressions that the words show are Kubernetes' own; they are simple enough to be checked by hand.

use std::net::{Ipv4Addr, Ipv6Addr};

pub(super) const TIME_LAYOUT: &[&str] = &["2006", "-", "01", "-", "02", "T", "15", ":", "04", ":", "05", "Z07:00"];
pub(super) const MICRO_TIME_LAYOUT: &[&str] =
    &["2006", "-", "01", "-", "02", "T", "15", ":", "04", ":", "05", ".000000", "Z07:00"];

const DNS_LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and \
    must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const DNS_SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or \
    '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const DNS_1035_LABEL: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with \
    an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for \
    validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED_NAME: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and \
    end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or \
    '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex \
    used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. \
     'key.name', or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
const ENV_NAME: &str =
    "a valid environment variable name must consist only of printable ASCII characters other than '='";
const QUANTITY: &str = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
const QUANTITY_SUFFIX: &str = "unable to parse quantity's suffix";

/// Most lengths are said in characters, those of labels in bytes; bytes are counted for both.
pub(super) fn too_long(limit: usize) -> String {
    format!("must be no more than {limit} characters")
}

fn too_many_bytes(limit: usize) -> String {
    format!("must be no more than {limit} bytes")
}

/// What is wrong with a DNS label (names of containers, ports, namespaces).
pub(super) fn dns_label(text: &str) -> Vec<String> {
    // A name that is right but for its dots gets a shorter word.
    let words = if dns_subdomain(text).is_empty() { "must not contain dots" } else { DNS_LABEL };
    checks([(text.len() > 63, too_long(63)), (!is_dns_label(text), words.into())])
}

/// What is wrong with a DNS subdomain (most names).
pub(super) fn dns_subdomain(text: &str) -> Vec<String> {
    let fits = text.split('.').all(is_dns_label);
    checks([(text.len() > 253, too_long(253)), (!fits, DNS_SUBDOMAIN.into())])
}

/// What is wrong with a DNS label of the older kind (names of services).
pub(super) fn dns_1035_label(text: &str) -> Vec<String> {
    let fits = is_dns_label(text) && text.starts_with(|c: char| c.is_ascii_lowercase());
    checks([(text.len() > 63, too_long(63)), (!fits, DNS_1035_LABEL.into())])
}

/// What is wrong with a label key, a finalizer, a resource name: `[prefix/]name`.
pub(super) fn qualified_name(text: &str) -> Vec<String> {
    let parts: Vec<&str> = text.split('/').collect();
    let (mut errors, name) = match parts[..] {
        [name] => (Vec::new(), name),
        ["", name] => (vec!["prefix part must be non-empty".to_string()], name),
        [prefix, name] => {
            (dns_subdomain(prefix).into_iter().map(|error| format!("prefix part {error}")).collect(), name)
        }
        _ => {
            let words = QUALIFIED_NAME.trim_start_matches("name part ");
            let example = "(e.g. 'example.com/MyName')";
            return vec![format!("a valid label key {words} with an optional DNS subdomain prefix and '/' {example}")];
        }
    };
    if name.is_empty() {
        errors.push("name part must be non-empty".into());
    } else if name.len() > 63 {
        errors.push(format!("name part {}", too_many_bytes(63)));
    }
    if !crate::selector::is_qualified(name) {
        errors.push(QUALIFIED_NAME.into());
    }
    errors
}

pub(super) fn label_value(text: &str) -> Vec<String> {
    let fits = text.is_empty() || crate::selector::is_qualified(text);
    checks([(text.len() > 63, too_many_bytes(63)), (!fits, LABEL_VALUE.into())])
}

/// A key of a ConfigMap or Secret.
pub(super) fn config_key(text: &str) -> Vec<String> {
    let fits = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    let mut errors = checks([(text.len() > 253, too_long(253)), (!fits, CONFIG_KEY.into())]);
    match text {
        "." => errors.push("must not be '.'".into()),
        ".." => errors.push("must not be '..'".into()),
        _ if text.starts_with("..") => errors.push("must not start with '..'".into()),
        _ => {}
    }
    errors
}

pub(super) fn environment_name(text: &str) -> Vec<String> {
    let fits = !text.is_empty() && text.chars().all(|c| matches!(c, ' '..='~') && c != '=');
    checks([(!fits, ENV_NAME.into())])
}

/// A port by name: `http`, at most 15 characters, with a letter.
pub(super) fn port_name(text: &str) -> Vec<String> {
    let allowed = text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    let edges = text.starts_with('-') || text.ends_with('-');
    let letters = text.chars().any(|c| c.is_ascii_lowercase());
    checks([
        (text.len() > 15, too_long(15)),
        (!allowed, "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".into()),
        (!letters, "must contain at least one letter (a-z)".into()),
        (text.contains("--"), "must not contain consecutive hyphens".into()),
        (edges, "must not begin or end with a hyphen".into()),
    ])
}

pub(super) fn port_number(port: i64) -> Vec<String> {
    checks([(!(1..=65_535).contains(&port), "must be between 1 and 65535, inclusive".to_string())])
}

pub(super) fn ip_address(text: &str) -> Vec<String> {
    let valid = text.parse::<Ipv4Addr>().is_ok() || text.parse::<Ipv6Addr>().is_ok();
    checks([(!valid, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_string())])
}

/// `50%`.
pub(super) fn percent(text: &str) -> Vec<String> {
    let digits = text.strip_suffix('%').unwrap_or("");
    let fits = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit());
    let words = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', \
                 regex used for validation is '[0-9]+%')";
    checks([(!fits, words.to_string())])
}

/// Why Go cannot read a quantity.
pub(super) fn quantity_error(text: &str) -> Option<String> {
    let number_end = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-'))).unwrap_or(text.len());
    let (number, suffix) = text.split_at(number_end);
    let unsigned = number.strip_prefix(['+', '-']).unwrap_or(number);
    let shaped = !unsigned.is_empty() && unsigned.chars().all(|c| c.is_ascii_digit() || c == '.');
    let known = suffix.chars().all(|c| "eEinumkKMGTP+-".contains(c) || c.is_ascii_digit());
    if !shaped || !known || unsigned.matches('.').count() > 1 {
        return Some(QUANTITY.into());
    }
    autoscaler::quantity::Quantity::parse(text).is_err().then(|| QUANTITY_SUFFIX.into())
}

/// Why Go cannot read base64.
pub(super) fn base64_error(text: &str) -> Option<String> {
    use base64::Engine as _;
    let compact: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    let error = base64::prelude::BASE64_STANDARD.decode(&compact).err()?;
    let at = match error {
        base64::DecodeError::InvalidByte(at, _) => at,
        base64::DecodeError::InvalidLastSymbol { offset, .. } => offset,
        _ => compact.len() & !3,
    };
    Some(format!("illegal base64 data at input byte {at}"))
}

/// Why Go cannot read a time of this layout.
pub(super) fn time_error(text: &str, layout: &[&str]) -> Option<String> {
    let mut rest = text;
    for element in layout {
        let taken = match *element {
            "Z07:00" => zone_length(rest),
            ".000000" => Some(7).filter(|_| rest.starts_with('.') && all_digits(rest.get(1..7))),
            separator if !separator.starts_with(|c: char| c.is_ascii_digit()) => {
                rest.starts_with(separator).then_some(separator.len())
            }
            digits => all_digits(rest.get(..digits.len())).then_some(digits.len()),
        };
        let Some(taken) = taken else {
            let layout = layout.concat();
            return Some(format!("parsing time {text:?} as {layout:?}: cannot parse {rest:?} as {element:?}"));
        };
        rest = &rest[taken..];
        if *element == "05" && !layout.contains(&".000000") {
            rest = skip_fraction(rest);
        }
    }
    if rest.is_empty() {
        return text.parse::<jiff::Timestamp>().is_err().then(|| format!("parsing time {text:?}: day out of range"));
    }
    Some(format!("parsing time {text:?}: extra text: {rest:?}"))
}

fn zone_length(rest: &str) -> Option<usize> {
    let bytes = rest.as_bytes();
    match bytes.first()? {
        b'Z' => Some(1),
        b'+' | b'-' if bytes.get(3) == Some(&b':') => {
            (all_digits(rest.get(1..3)) && all_digits(rest.get(4..6))).then_some(6)
        }
        _ => None,
    }
}

fn skip_fraction(rest: &str) -> &str {
    match rest.strip_prefix('.') {
        Some(digits) if digits.starts_with(|c: char| c.is_ascii_digit()) => {
            digits.trim_start_matches(|c: char| c.is_ascii_digit())
        }
        _ => rest,
    }
}

fn all_digits(text: Option<&str>) -> bool {
    text.is_some_and(|text| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit()))
}

fn is_dns_label(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(plain) && text.ends_with(plain) && text.chars().all(|c| plain(c) || c == '-')
}

/// The words of the checks that failed.
fn checks<const N: usize>(checks: [(bool, String); N]) -> Vec<String> {
    checks.into_iter().filter(|(failed, _)| *failed).map(|(_, words)| words).collect()
}

/// Names that must only be a segment of a path (RBAC).
pub(super) fn path_segment(text: &str) -> Vec<String> {
    match text {
        "." | ".." => vec![format!("may not be '{text}'")],
        _ => checks([
            (text.contains('/'), "may not contain '/'".to_string()),
            (text.contains('%'), "may not contain '%'".into()),
        ]),
    }
}
