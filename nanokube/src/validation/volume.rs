//! Volumes of a pod: a name and exactly one kind.

use std::collections::HashSet;

use serde_json::Value;

use super::errors::{Errors, list, text as string};
use super::text;

const MODE: &str = "must be a number between 0 and 0777 (octal), both inclusive";

/// Checks the volumes and returns their names.
pub(super) fn volumes<'a>(volumes: &'a Value, path: &str, errors: &mut Errors) -> HashSet<&'a str> {
    let mut names = HashSet::new();
    for (index, volume) in list(volumes).iter().enumerate() {
        let path = format!("{path}[{index}]");
        source(volume, &path, errors);
        let name = string(&volume["name"]);
        let wrong = text::dns_label(name);
        if name.is_empty() {
            errors.required(format!("{path}.name"), "");
        } else if !wrong.is_empty() {
            errors.invalid_text(&format!("{path}.name"), name, wrong);
        }
        if !names.insert(name) {
            errors.duplicate(format!("{path}.name"), name);
        }
    }
    names
}

fn source(volume: &Value, path: &str, errors: &mut Errors) {
    let mut kinds = volume.as_object().into_iter().flatten().filter(|(key, value)| *key != "name" && !value.is_null());
    let Some((kind, source)) = kinds.next() else { return errors.required(path, "must specify a volume type") };
    for (other, _) in kinds {
        errors.forbidden(format!("{path}.{other}"), "may not specify more than 1 volume type");
    }
    let path = format!("{path}.{kind}");
    let needs = match kind.as_str() {
        "hostPath" => Some("path"),
        "configMap" => Some("name"),
        "secret" => Some("secretName"),
        "persistentVolumeClaim" => Some("claimName"),
        _ => None,
    };
    if let Some(field) = needs.filter(|field| string(&source[*field]).is_empty()) {
        errors.required(format!("{path}.{field}"), "");
    }
    mode(&source["defaultMode"], &format!("{path}.defaultMode"), errors);
    items(&source["items"], &format!("{path}.items"), kind != "downwardAPI", errors);
}

fn items(items: &Value, path: &str, keyed: bool, errors: &mut Errors) {
    for (index, item) in list(items).iter().enumerate() {
        let path = format!("{path}[{index}]");
        let target = string(&item["path"]);
        if keyed && string(&item["key"]).is_empty() {
            errors.required(format!("{path}.key"), "");
        }
        if target.is_empty() {
            errors.required(format!("{path}.path"), "");
        }
        if target.starts_with('/') {
            errors.invalid(format!("{path}.path"), target, "must be a relative path");
        }
        if target.split('/').any(|part| part == "..") {
            errors.invalid(format!("{path}.path"), target, "must not contain '..'");
        }
        mode(&item["mode"], &format!("{path}.mode"), errors);
    }
}

fn mode(mode: &Value, path: &str, errors: &mut Errors) {
    if mode.as_i64().is_some_and(|mode| !(0..=0o777).contains(&mode)) {
        errors.invalid(path, mode.clone(), MODE);
    }
}
