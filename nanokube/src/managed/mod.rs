//! Who owns which field: `metadata.managedFields`, and server-side apply that is built on it.
//!
//! Every write is a comparison: an update owns what it changed and takes it from whoever had it; an apply owns what it names,
//! must not change what others own unless forced, and loses what it names no longer. The rules and the form are those of
//! structured-merge-diff.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::cluster::{Part, Writer};
use crate::kind::{GroupVersion, Kind};
use crate::object;
use crate::schema::schema;
use crate::status::ApiError;

mod compare;
mod merge;
mod set;
mod typing;

use set::FieldSet;
use typing::Typing;

/// Managers that only updated, not applied: past so many the oldest become one.
const UPDATE_MANAGERS_LIMIT: usize = 10;
const ANCIENT: &str = "ancient-changes";

/// Paths that nobody owns.
const UNOWNED: [&[&str]; 12] = [
    &["apiVersion"],
    &["kind"],
    &["metadata", "name"],
    &["metadata", "namespace"],
    &["metadata", "creationTimestamp"],
    &["metadata", "selfLink"],
    &["metadata", "uid"],
    &["metadata", "clusterName"],
    &["metadata", "generation"],
    &["metadata", "managedFields"],
    &["metadata", "resourceVersion"],
    &["metadata", "deletionTimestamp"],
];

/// One owner.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    manager: String,
    applied: bool,
    api_version: String,
    subresource: String,
    time: String,
    fields: FieldSet,
}

/// The write whose ownership is recorded.
pub(crate) struct Write<'a> {
    pub(crate) kind: &'a Kind,
    pub(crate) writer: &'a Writer,
    pub(crate) part: Part,
    pub(crate) now: Timestamp,
}

impl Write<'_> {
    fn version(&self) -> GroupVersion {
        self.writer.version.clone().unwrap_or_else(|| self.kind.storage_version().clone())
    }

    fn subresource(&self) -> &'static str {
        match self.part {
            Part::Object => "",
            Part::Status => "status",
            Part::Scale => "scale",
            Part::Finalize => "finalize",
        }
    }

    fn typing(&self) -> Typing<'_> {
        typing_of(self.kind, &self.version())
    }

    fn is_mine(&self, entry: &Entry, applied: bool) -> bool {
        entry.manager == self.writer.manager
            && entry.applied == applied
            && entry.subresource == self.subresource()
            && (applied || entry.api_version == self.version().to_string())
    }

    fn entry(&self, applied: bool, fields: FieldSet) -> Entry {
        Entry {
            manager: self.writer.manager.clone(),
            applied,
            api_version: self.version().to_string(),
            subresource: self.subresource().to_string(),
            time: object::time(self.now),
            fields,
        }
    }

    /// Takes out what this write cannot own: identity, and other parts of the object.
    fn confine(&self, fields: &mut FieldSet) {
        for path in UNOWNED {
            fields.remove_path(path);
        }
        if let Some(metadata) = fields.children.get_mut(&set::Step::field("metadata")) {
            metadata.member = false;
        }
        if matches!(self.part, Part::Object | Part::Scale) && self.kind.has_subresource("status") {
            fields.remove_path(&["status"]);
        }
    }
}

fn typing_of<'a>(kind: &'a Kind, version: &GroupVersion) -> Typing<'a> {
    let Some(definition) = &kind.definition else {
        return schema().kind(&version.to_string(), &kind.kind).map_or(Typing::Deduced, Typing::Struct);
    };
    let versions = object::array_at(definition, "/spec/versions");
    let served = versions.iter().find(|served| object::str_at(served, "/name") == version.version);
    served.map_or(Typing::Deduced, |served| Typing::CustomRoot(&served["schema"]["openAPIV3Schema"]))
}

/// Records in `new` who owns what after an update (or creation) that is no apply.
pub(crate) fn track_update(write: &Write<'_>, current: Option<&Value>, new: &mut Value) {
    let nothing = json!({ "metadata": {} });
    let before = current.unwrap_or(&nothing);
    let stored = before.pointer("/metadata/managedFields").cloned().unwrap_or(Value::Null);
    let sent = object::remove(new, &["metadata", "managedFields"]).unwrap_or(Value::Null);
    if is_reset(&sent) {
        return;
    }
    // A client may rewrite the list by itself; a broken one is not taken.
    let mut entries = parse(&sent).or_else(|| parse(&stored)).unwrap_or_default();
    let mut difference = compare::difference(write.typing(), before, new);
    write.confine(&mut difference.changed);
    write.confine(&mut difference.removed);
    for entry in &mut entries {
        entry.fields.subtract_trees(&difference.removed);
        if !write.is_mine(entry, false) {
            entry.fields.subtract(&difference.changed);
        }
    }
    if !difference.changed.is_empty() {
        match entries.iter_mut().find(|entry| write.is_mine(entry, false)) {
            Some(mine) => {
                mine.fields.union(&difference.changed);
                mine.time = object::time(write.now);
            }
            None => entries.push(write.entry(false, difference.changed)),
        }
    }
    put(entries, new);
}

/// `[]` and `[{}]` clear the list.
fn is_reset(sent: &Value) -> bool {
    let Some(list) = sent.as_array() else { return false };
    list.is_empty() || list.len() == 1 && list[0].as_object().is_some_and(Map::is_empty)
}

/// The object after `applied` has been applied to `live`; None for an object that is not there yet.
pub(crate) fn apply(write: &Write<'_>, live: Option<&Value>, applied: &Value, force: bool) -> Result<Value, ApiError> {
    let typing = write.typing();
    let mut applied = applied.clone();
    drop_nulls(&mut applied);
    let mut named = compare::named(typing, &applied).map_err(|why| untyped(write, &applied, &why))?;
    write.confine(&mut named);
    let nothing = json!({ "metadata": {} });
    let before = live.unwrap_or(&nothing);
    let mut entries = parse(&before["metadata"]["managedFields"]).unwrap_or_default();
    let mut merged = merge::merge(typing, before, &applied);
    let last = entries.iter().find(|entry| write.is_mine(entry, true)).map(|entry| entry.fields.clone());
    let mut changed = compare::difference(typing, before, &merged).changed.intersection(&named);
    write.confine(&mut changed);
    check_conflicts(write, &entries, &changed, force)?;
    for entry in entries.iter_mut().filter(|entry| !write.is_mine(entry, true)) {
        entry.fields.subtract(&changed);
    }
    if let Some(last) = &last {
        let mut gone = last.clone();
        gone.subtract(&named);
        let mut kept = named.clone();
        for entry in entries.iter().filter(|entry| !write.is_mine(entry, true)) {
            kept.union(&entry.fields);
        }
        merge::prune(typing, &mut merged, &gone, &kept);
    }
    if last.as_ref() != Some(&named) {
        entries.retain(|entry| !write.is_mine(entry, true));
        entries.push(write.entry(true, named));
    }
    put(entries, &mut merged);
    Ok(merged)
}

fn untyped(write: &Write<'_>, applied: &Value, why: &str) -> ApiError {
    let version = write.version();
    let message = format!(
        "failed to create typed patch object ({}/{}; {version}, Kind={}): {why}",
        object::namespace(applied),
        object::name(applied),
        write.kind.kind
    );
    // Upstream prints the group before the version even where it is empty.
    let message = if version.group.is_empty() {
        message.replace(&format!("; {version},"), &format!("; /{version},"))
    } else {
        message
    };
    ApiError::bare(500, message)
}

/// A null in an applied configuration is a field that is not there.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, below| !below.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

fn check_conflicts(write: &Write<'_>, entries: &[Entry], changed: &FieldSet, force: bool) -> Result<(), ApiError> {
    if force {
        return Ok(());
    }
    let mut causes = Vec::new();
    let mut texts = Vec::new();
    for entry in entries.iter().filter(|entry| !write.is_mine(entry, true)) {
        let paths = entry.fields.intersection(changed).paths();
        let Some(first) = paths.first() else { continue };
        let mut owner = format!("{:?}", entry.manager);
        if !entry.subresource.is_empty() {
            owner.push_str(&format!(" with subresource {:?}", entry.subresource));
        }
        if !entry.applied {
            owner.push_str(&format!(" using {}", entry.api_version));
        }
        let message = format!("conflict with {owner}");
        let cause = |path: &String| json!({ "reason": "FieldManagerConflict", "message": message, "field": path });
        causes.extend(paths.iter().map(cause));
        texts.push(match paths.len() {
            1 => format!("conflict with {owner}: {first}"),
            _ => format!("conflicts with {owner}:\n- {}", paths.join("\n- ")),
        });
    }
    if causes.is_empty() {
        return Ok(());
    }
    let count = if causes.len() == 1 { "1 conflict".to_string() } else { format!("{} conflicts", causes.len()) };
    let message = format!("Apply failed with {count}: {}", texts.join("\n"));
    Err(ApiError { details: json!({ "causes": causes }), ..ApiError::new(409, "Conflict", message) })
}

/// Whether two objects differ in nothing but the times in their managed fields.
pub(crate) fn is_same(a: &Value, b: &Value) -> bool {
    let strip = |object: &Value| {
        let mut bare = object.clone();
        object::remove(&mut bare, &["metadata", "managedFields"]);
        bare
    };
    let owners = |object: &Value| {
        let mut entries = parse(&object["metadata"]["managedFields"]).unwrap_or_default();
        entries.iter_mut().for_each(|entry| entry.time.clear());
        entries
    };
    a == b || strip(a) == strip(b) && owners(a) == owners(b)
}

fn parse(list: &Value) -> Option<Vec<Entry>> {
    list.as_array()?.iter().map(parse_entry).collect()
}

fn parse_entry(entry: &Value) -> Option<Entry> {
    let text = |field: &str| object::str_at(entry, &format!("/{field}")).to_string();
    let applied = match object::str_at(entry, "/operation") {
        "Apply" => true,
        "Update" => false,
        _ => return None,
    };
    Some(Entry {
        manager: text("manager"),
        applied,
        api_version: text("apiVersion"),
        subresource: text("subresource"),
        time: text("time"),
        fields: FieldSet::from_fields_v1(&entry["fieldsV1"])?,
    })
}

/// Writes the entries into an object: appliers first, then updaters by time.
fn put(mut entries: Vec<Entry>, object: &mut Value) {
    entries.retain(|entry| !entry.fields.is_empty());
    entries.sort_by(|a, b| {
        b.applied.cmp(&a.applied).then_with(|| a.time.cmp(&b.time)).then_with(|| a.manager.cmp(&b.manager))
    });
    cap(&mut entries);
    if entries.is_empty() {
        object::remove(object, &["metadata", "managedFields"]);
        return;
    }
    let list: Vec<Value> = entries.iter().map(render).collect();
    object::set(object, &["metadata", "managedFields"], list.into());
}

fn render(entry: &Entry) -> Value {
    let mut rendered = json!({
        "manager": entry.manager,
        "operation": if entry.applied { "Apply" } else { "Update" },
        "apiVersion": entry.api_version,
        "fieldsType": "FieldsV1",
        "fieldsV1": entry.fields.to_fields_v1(),
    });
    if !entry.time.is_empty() {
        rendered["time"] = entry.time.as_str().into();
    }
    if !entry.subresource.is_empty() {
        rendered["subresource"] = entry.subresource.as_str().into();
    }
    rendered
}

/// Folds the oldest updaters into one, so that the list cannot grow for ever.
fn cap(entries: &mut Vec<Entry>) {
    let updaters = entries.iter().filter(|entry| !entry.applied && entry.subresource.is_empty()).count();
    let mut surplus = updaters.saturating_sub(UPDATE_MANAGERS_LIMIT);
    if surplus == 0 {
        return;
    }
    let mut ancient: Option<Entry> = None;
    entries.retain(|entry| {
        if surplus == 0 || entry.applied || !entry.subresource.is_empty() {
            return true;
        }
        // The one that they become counts as well.
        surplus -= usize::from(ancient.is_some());
        match &mut ancient {
            Some(ancient) => {
                ancient.fields.union(&entry.fields);
                ancient.time.clone_from(&entry.time);
            }
            None => ancient = Some(Entry { manager: ANCIENT.to_string(), ..entry.clone() }),
        }
        false
    });
    entries.extend(ancient);
}

#[cfg(test)]
mod tests;
