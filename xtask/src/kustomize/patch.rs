//! Patches: which objects one is for, and the strategic merge.
//!
//! Maps are merged, null removes a field, lists are replaced, except those whose elements Kubernetes identifies by a
//! key (`containers` by `name` ...): these are merged element by element, new ones in front, as Kustomize does.
//! `$patch: delete` and `$patch: replace` are known; other directives are refused.

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

use super::file::{self, Kustomization, Patch, Target};
use super::json_patch::{self, Operation};
use super::resource::{Resource, documents};

/// Lists that are merged by key: the field, the field that holds it (`*` = any), and the key. From the API's own schema
/// (`x-kubernetes-patch-merge-key`).
const KEYED_LISTS: [(&str, &str, &str); 11] = [
    ("containers", "spec", "name"),
    ("initContainers", "spec", "name"),
    ("ephemeralContainers", "spec", "name"),
    ("volumes", "spec", "name"),
    ("imagePullSecrets", "*", "name"),
    ("hostAliases", "spec", "ip"),
    ("env", "*", "name"),
    ("volumeMounts", "*", "mountPath"),
    ("volumeDevices", "*", "devicePath"),
    ("ports", "spec", "port"),
    ("ports", "*", "containerPort"),
];
/// Lists whose elements have two keys. Where the second one is written, Kustomize loses changes or reorders.
const TWO_KEYS: [(&str, &str); 2] = [("ports", "protocol"), ("topologySpreadConstraints", "whenUnsatisfiable")];

enum Body {
    StrategicMerge(Vec<Value>),
    Json6902(Vec<Operation>),
}

pub(super) fn apply_all(this: &Kustomization, resources: &mut Vec<Resource>) -> Result<()> {
    for (at, patch) in this.patches.iter().enumerate() {
        apply(this, patch, resources).with_context(|| match &patch.path {
            Some(path) => format!("{} from {path}", this.field("patches")),
            None => this.field(&format!("patches[{at}]")),
        })?;
    }
    Ok(())
}

fn apply(this: &Kustomization, patch: &Patch, resources: &mut Vec<Resource>) -> Result<()> {
    let text = match (&patch.path, &patch.patch) {
        (Some(path), None) => file::read_inside(&this.directory, path)?,
        (None, Some(text)) => text.clone(),
        _ => bail!("exactly one of `path` and `patch` is needed"),
    };
    match (parse(&text)?, &patch.target) {
        (Body::Json6902(_), None) => bail!("a list of operations needs a `target`"),
        (Body::Json6902(operations), Some(target)) => {
            for at in selected(resources, target)? {
                let resource = &mut resources[at];
                json_patch::apply(&mut resource.value, &operations).with_context(|| resource.display())?;
            }
        }
        (Body::StrategicMerge(patches), Some(target)) => {
            for at in selected(resources, target)?.into_iter().rev() {
                for value in &patches {
                    merge_into(resources, at, value)?;
                }
            }
        }
        (Body::StrategicMerge(patches), None) => {
            for value in &patches {
                let at = addressed(resources, value)?;
                merge_into(resources, at, value)?;
            }
        }
    }
    Ok(())
}

fn parse(text: &str) -> Result<Body> {
    let mut values = documents(text).context("not valid YAML")?;
    match &values[..] {
        [] => bail!("it is empty"),
        [Value::Array(_)] => {
            let operations = serde_json::from_value(values.remove(0)).context("not a list of JSON 6902 operations")?;
            Ok(Body::Json6902(operations))
        }
        maps if maps.iter().all(Value::is_object) => Ok(Body::StrategicMerge(values)),
        _ => bail!("neither an object nor a list of operations"),
    }
}

/// The object that a patch without target names itself.
fn addressed(resources: &[Resource], patch: &Value) -> Result<usize> {
    let patch = Resource::new(patch.clone());
    let matches = |resource: &Resource| {
        (resource.kind(), resource.group_version()) == (patch.kind(), patch.group_version())
            && resource.answers_to(patch.name(), patch.namespace())
    };
    match resources.iter().position(matches) {
        Some(at) => Ok(at),
        None => bail!("there is no {} of {} to patch", patch.display(), patch.value["apiVersion"]),
    }
}

fn selected(resources: &[Resource], target: &Target) -> Result<Vec<usize>> {
    for (field, text) in [("name", &target.name), ("namespace", &target.namespace), ("kind", &target.kind)] {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
        if let Some(text) = text.as_ref().filter(|text| !text.chars().all(is_plain)) {
            bail!("`target.{field}` is {text:?}: patterns are outside the supported subset, write a plain name");
        }
    }
    let labels = wanted_labels(target.label_selector.as_deref().unwrap_or_default())?;
    let fits = |wanted: &Option<String>, have: &str| wanted.as_deref().is_none_or(|wanted| wanted == have);
    let matches = |resource: &Resource| {
        let (group, version) = resource.group_version();
        fits(&target.group, group)
            && fits(&target.version, version)
            && fits(&target.kind, resource.kind())
            && target.name.as_deref().is_none_or(|name| resource.had_name(name))
            && target.namespace.as_deref().is_none_or(|namespace| resource.had_namespace(namespace))
            && labels.iter().all(|(key, value)| resource.value["metadata"]["labels"][*key] == *value)
    };
    let found: Vec<usize> =
        resources.iter().enumerate().filter(|(_, resource)| matches(resource)).map(|(at, _)| at).collect();
    if found.is_empty() {
        bail!("the `target` fits no object");
    }
    Ok(found)
}

fn wanted_labels(selector: &str) -> Result<Vec<(&str, &str)>> {
    let parts = selector.split(',').filter(|part| !part.is_empty());
    parts
        .map(|part| match part.split_once('=') {
            Some((key, value)) if !key.ends_with('!') && !value.starts_with('=') => Ok((key.trim(), value.trim())),
            _ => bail!("`target.labelSelector` has {part:?}: only `key=value` is in the supported subset"),
        })
        .collect()
}

fn merge_into(resources: &mut Vec<Resource>, at: usize, patch: &Value) -> Result<()> {
    let resource = &mut resources[at];
    match directive(patch)? {
        Directive::Delete => {
            resources.remove(at);
            return Ok(());
        }
        Directive::Replace => bail!("`$patch: replace` of a whole object is outside the supported subset"),
        Directive::Merge => {}
    }
    let identity = [("", "apiVersion"), ("", "kind"), ("/metadata", "name"), ("/metadata", "namespace")]
        .map(|(holder, field)| (holder, field, resource.value.pointer(&format!("{holder}/{field}")).cloned()));
    let display = resource.display();
    merge(&mut resource.value, patch, "").context(display)?;
    // A patch addresses an object; it does not rename or move it.
    for (holder, field, value) in identity {
        let Some(Value::Object(map)) = resource.value.pointer_mut(holder) else { continue };
        match value {
            Some(value) => map.insert(field.to_owned(), value),
            None => map.remove(field),
        };
    }
    Ok(())
}

#[derive(PartialEq)]
enum Directive {
    Merge,
    Delete,
    Replace,
}

fn directive(patch: &Value) -> Result<Directive> {
    let Value::Object(map) = patch else { return Ok(Directive::Merge) };
    if let Some(other) = map.keys().find(|key| key.starts_with('$') && *key != "$patch") {
        bail!("the directive `{other}` is outside the supported subset");
    }
    match map.get("$patch").map(|value| value.as_str().unwrap_or_default()) {
        None | Some("merge") => Ok(Directive::Merge),
        Some("delete") => Ok(Directive::Delete),
        Some("replace") => Ok(Directive::Replace),
        Some(other) => bail!("`$patch: {other}` is not known; it is one of delete, replace, merge"),
    }
}

/// `field` is the name of the field that holds `base`; it decides which keyed lists there may be.
fn merge(base: &mut Value, patch: &Value, field: &str) -> Result<()> {
    let Value::Object(patch) = patch else {
        *base = patch.clone();
        return Ok(());
    };
    if !base.is_object() {
        *base = Value::Object(Map::new());
    }
    let Value::Object(base) = base else { return Ok(()) };
    for (key, change) in patch.iter().filter(|(key, _)| *key != "$patch") {
        match (change, directive(change)?) {
            (Value::Null, _) | (_, Directive::Delete) => {
                base.remove(key);
            }
            (_, Directive::Replace) => {
                base.insert(key.clone(), without_directive(change));
            }
            (Value::Array(changes), _) => {
                let list = base.entry(key).or_insert_with(|| Value::Array(Vec::new()));
                *list = merged_list(list, changes, key, field).with_context(|| format!("`{key}`"))?;
            }
            (change, Directive::Merge) => merge(base.entry(key).or_insert(Value::Null), change, key)?,
        }
    }
    Ok(())
}

fn merged_list(base: &Value, changes: &[Value], field: &str, holder: &str) -> Result<Value> {
    let base_list = base.as_array().map_or(&[][..], Vec::as_slice);
    for (name, second_key) in TWO_KEYS.iter().filter(|(name, _)| *name == field) {
        if base_list.iter().chain(changes).any(|element| element.get(second_key).is_some()) {
            bail!("merging `{name}` that state `{second_key}` is outside the supported subset; use a JSON 6902 patch");
        }
    }
    let keyed = KEYED_LISTS.iter().find(|(name, within, _)| *name == field && (*within == "*" || *within == holder));
    let Some((_, _, key)) = keyed else { return Ok(Value::Array(changes.to_vec())) };
    if changes.iter().any(|change| directive(change).is_ok_and(|found| found == Directive::Replace)) {
        let kept = changes.iter().filter(|change| change.get("$patch").is_none());
        return Ok(Value::Array(kept.cloned().collect()));
    }
    let mut rest = base_list.to_vec();
    let mut front = Vec::new();
    for change in changes {
        if change.get(key).is_none() {
            bail!("an element has no `{key}`, which tells the elements apart");
        }
        let same = |element: &Value| element.get(key) == change.get(key);
        let mut element = rest.iter().position(same).map_or(Value::Null, |at| rest.remove(at));
        if directive(change)? == Directive::Merge {
            merge(&mut element, change, field)?;
            front.push(element);
        }
    }
    front.append(&mut rest);
    Ok(Value::Array(front))
}

fn without_directive(value: &Value) -> Value {
    let mut value = value.clone();
    if let Value::Object(map) = &mut value {
        map.remove("$patch");
    }
    value
}
