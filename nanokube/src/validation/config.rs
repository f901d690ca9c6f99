//! ConfigMaps and Secrets: keys, sizes, what a Secret's type demands, and `immutable`.

use serde_json::Value;

use super::errors::{Errors, entries, text as string};
use super::text;

const SIZE_LIMIT: usize = 1 << 20;

pub(super) fn config_map(object: &Value, old: Option<&Value>, errors: &mut Errors) {
    let mut size = 0;
    for (key, value) in entries(&object["data"]) {
        errors.invalid_text(&format!("data[{key}]"), key, text::config_key(key));
        if !object["binaryData"][key].is_null() {
            errors.invalid(format!("data[{key}]"), key.as_str(), "duplicate of key present in binaryData");
        }
        size += string(value).len();
    }
    for (key, value) in entries(&object["binaryData"]) {
        errors.invalid_text(&format!("binaryData[{key}]"), key, text::config_key(key));
        size += decoded_length(value);
    }
    if size > SIZE_LIMIT {
        errors.too_long("", SIZE_LIMIT);
    }
    stays_immutable(object, old, &["data", "binaryData"], errors);
}

pub(super) fn secret(object: &Value, old: Option<&Value>, errors: &mut Errors) {
    let data = &object["data"];
    for (key, _) in entries(data) {
        errors.invalid_text(&format!("data[{key}]"), key, text::config_key(key));
    }
    if entries(data).map(|(_, value)| decoded_length(value)).sum::<usize>() > SIZE_LIMIT {
        errors.too_long("data", SIZE_LIMIT);
    }
    let needed: &[&str] = match string(&object["type"]) {
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        _ => &[],
    };
    for key in needed.iter().filter(|key| data[**key].is_null()) {
        errors.required(format!("data[{key}]"), "");
    }
    if string(&object["type"]) == "kubernetes.io/basic-auth" && data["username"].is_null() && data["password"].is_null()
    {
        errors.required("data[username]", "");
        errors.required("data[password]", "");
    }
    if let Some(old) = old {
        errors.immutable("type", &object["type"], &old["type"]);
    }
    stays_immutable(object, old, &["data"], errors);
}

fn stays_immutable(object: &Value, old: Option<&Value>, fields: &[&str], errors: &mut Errors) {
    let Some(old) = old.filter(|old| old["immutable"] == true) else { return };
    let words = "field is immutable when `immutable` is set";
    if object["immutable"] != true {
        errors.forbidden("immutable", words);
    }
    for field in fields {
        if object[*field] != old[*field] {
            errors.forbidden(*field, words);
        }
    }
}

/// How many bytes base64 stands for.
fn decoded_length(value: &Value) -> usize {
    let text = string(value).trim_end_matches('=');
    text.len() * 3 / 4
}
