//! Rules of metadata that every kind has: names, labels, annotations, owners, finalizers.

use serde_json::Value;

use super::NameRule;
use super::errors::{Errors, entries, list, text as string};
use super::text;

const ANNOTATIONS_LIMIT: usize = 256 << 10;
const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

pub(super) fn check(object: &Value, old: Option<&Value>, name_rule: NameRule, errors: &mut Errors) {
    let metadata = &object["metadata"];
    if old.is_none() {
        names(metadata, name_rule, errors);
    }
    labels(&metadata["labels"], "metadata.labels", errors);
    annotations(&metadata["annotations"], "metadata.annotations", errors);
    owners(&metadata["ownerReferences"], errors);
    finalizers(&metadata["finalizers"], errors);
}

/// Keys and values of labels.
pub(super) fn labels(labels: &Value, path: &str, errors: &mut Errors) {
    for (key, value) in entries(labels) {
        errors.invalid_text(path, key, text::qualified_name(key));
        errors.invalid_text(path, string(value), text::label_value(string(value)));
    }
}

/// Keys of annotations, and their size all together.
pub(super) fn annotations(annotations: &Value, path: &str, errors: &mut Errors) {
    let mut size = 0;
    for (key, value) in entries(annotations) {
        errors.invalid_text(path, key, text::qualified_name(&key.to_lowercase()));
        size += key.len() + string(value).len();
    }
    if size > ANNOTATIONS_LIMIT {
        errors.too_long(path, ANNOTATIONS_LIMIT);
    }
}

fn names(metadata: &Value, name_rule: NameRule, errors: &mut Errors) {
    let (name, generated) = (string(&metadata["name"]), string(&metadata["generateName"]));
    if !generated.is_empty() {
        // The suffix may end what the prefix cannot: a dash.
        let whole = format!("{}a", generated.trim_end_matches('-'));
        errors.invalid_text("metadata.generateName", generated, name_rule(&whole));
    }
    if name.is_empty() {
        errors.required("metadata.name", "name or generateName is required");
    } else {
        errors.invalid_text("metadata.name", name, name_rule(name));
    }
    let namespace = string(&metadata["namespace"]);
    if !namespace.is_empty() {
        errors.invalid_text("metadata.namespace", namespace, text::dns_label(namespace));
    }
}

fn owners(owners: &Value, errors: &mut Errors) {
    let path = "metadata.ownerReferences";
    let mut controller: Option<String> = None;
    for owner in list(owners) {
        let version = string(&owner["apiVersion"]).rsplit('/').next().unwrap_or_default();
        if version.is_empty() {
            errors.invalid(format!("{path}.apiVersion"), string(&owner["apiVersion"]), "version must not be empty");
        }
        for field in ["kind", "name", "uid"] {
            if string(&owner[field]).is_empty() {
                errors.invalid(format!("{path}.{field}"), "", "must not be empty");
            }
        }
        if owner["controller"] == true {
            let this = format!("{}/{}", string(&owner["kind"]), string(&owner["name"]));
            match &controller {
                None => controller = Some(this),
                Some(first) => {
                    let words = "Only one reference can have Controller set to true. Found \"true\" in references for";
                    errors.invalid(path, owners.clone(), format!("{words} {first} and {this}"));
                }
            }
        }
    }
}

fn finalizers(finalizers: &Value, errors: &mut Errors) {
    let path = "metadata.finalizers";
    for finalizer in list(finalizers) {
        errors.invalid_text(path, string(finalizer), text::qualified_name(string(finalizer)));
    }
    let has = |name: &str| list(finalizers).iter().any(|finalizer| finalizer == name);
    if has(ORPHAN) && has(FOREGROUND) {
        let words = format!("finalizer {ORPHAN} and {FOREGROUND} cannot be both set");
        errors.invalid(path, finalizers.clone(), words);
    }
}
