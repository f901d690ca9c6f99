//! Server-side printing: objects as a `Table` of cells, as `kubectl get` asks for them.
//!
//! Columns and cells follow the printers of Kubernetes v1.36, column by column; wide columns (priority 1) are always
//! sent, the client hides them. Numbers stay JSON numbers whatever the column says. Kinds without a printer show their
//! name and creation time; custom resources show what their CustomResourceDefinition asks for. Objects come in their
//! storage version (HPA as v2, events as core/v1), whatever version the client asked for.

use std::borrow::Borrow;

use jiff::Timestamp;
use serde::Serialize;
use serde::ser::{SerializeSeq, Serializer};
use serde_json::{Map, Value, json};

use crate::object::Object;

mod autoscaling;
mod batch;
mod cell;
mod cluster_wide;
mod column;
mod custom;
mod event;
mod network;
mod pod;
mod workload;

pub use cell::human_duration;
use column::Column;

/// How much of each object a row carries beside its cells (`includeObject`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeObject {
    None,
    #[default]
    Metadata,
    Object,
}

/// Puts the cells of one object behind each other.
type Cells = fn(&Value, Timestamp, &mut Vec<Value>);

/// Prints objects of one kind.
pub struct Printer {
    columns: Vec<Column>,
    cells: Rows,
    /// Kinds without columns of their own answer `rows: null` for an empty list, as upstream's default printer does.
    plain: bool,
    pods: bool,
}

enum Rows {
    BuiltIn(Cells),
    Custom(Vec<custom::Path>),
}

impl Printer {
    /// For a built-in resource such as "deployments.apps"; "scale.autoscaling" prints the scale subresource.
    pub fn built_in(resource: &str) -> Printer {
        let known = column::KINDS.iter().find(|(name, _, _)| *name == resource);
        let (_, columns, cells) = known.unwrap_or(&column::PLAIN);
        Printer {
            columns: column::parse(columns),
            cells: Rows::BuiltIn(*cells),
            plain: known.is_none(),
            pods: resource == "pods",
        }
    }

    /// For a version of a custom resource: its CustomResourceDefinition's `additionalPrinterColumns`.
    pub fn custom(definition: &Value, version: &str) -> Printer {
        let (columns, paths) = custom::columns(definition, version);
        Printer { columns, cells: Rows::Custom(paths), plain: false, pods: false }
    }

    /// The whole Table; `list_metadata` is the list's `metadata`, or `{resourceVersion}` of a single object.
    pub fn table(&self, objects: &[Object], include: IncludeObject, now: Timestamp, list_metadata: &Value) -> Value {
        let bytes = self.table_bytes(objects, include, now, list_metadata);
        serde_json::from_slice(&bytes).expect("invariant: the line above wrote JSON")
    }

    /// The same as JSON bytes, without building the value: what lists of thousands of objects use.
    pub fn table_bytes(
        &self,
        objects: &[Object],
        include: IncludeObject,
        now: Timestamp,
        list_metadata: &Value,
    ) -> Vec<u8> {
        let table = |objects| {
            let rows = Some(RowList { printer: self, objects, include, now });
            let rows = rows.filter(|_| !(self.plain && objects.is_empty()));
            let column_definitions = Some(self.columns.as_slice());
            encode(&Table { metadata: list_metadata, column_definitions, rows, kind: KIND, api_version: META })
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
        if objects.len() < SHARED_ROWS_MIN || threads == 1 {
            return table(objects);
        }
        // Printing is most of the work of a long list: every core takes its share of the rows.
        let share = objects.len().div_ceil(threads);
        let (first, rest) = objects.split_at(share);
        std::thread::scope(|scope| {
            let print = |objects| encode(&RowList { printer: self, objects, include, now });
            let others: Vec<_> = rest.chunks(share).map(|share| scope.spawn(move || print(share))).collect();
            let mut bytes = table(first);
            bytes.truncate(bytes.len() - ROWS_END.len());
            for printed in others.into_iter().map(|thread| thread.join().expect("invariant: printing does not panic")) {
                bytes.push(b',');
                bytes.extend_from_slice(&printed[1..printed.len() - 1]);
            }
            bytes.extend_from_slice(ROWS_END);
            bytes
        })
    }

    /// The Table inside one watch event: one row, column definitions only in the first event of a watch.
    pub fn event(&self, object: &Value, include: IncludeObject, now: Timestamp, first: bool) -> Value {
        let metadata = json!({ "resourceVersion": object["metadata"]["resourceVersion"] });
        let rows = Some(RowList { printer: self, objects: &[object], include, now });
        let column_definitions = first.then_some(self.columns.as_slice());
        let bytes = encode(&Table { metadata: &metadata, column_definitions, rows, kind: KIND, api_version: META });
        serde_json::from_slice(&bytes).expect("invariant: the line above wrote JSON")
    }

    fn row<'a>(&self, object: &'a Value, include: IncludeObject, now: Timestamp, cells: &'a mut Vec<Value>) -> Row<'a> {
        cells.clear();
        match &self.cells {
            Rows::BuiltIn(print) => print(object, now, cells),
            Rows::Custom(paths) => cells.extend(paths.iter().map(|path| path.cell(object, now))),
        }
        let conditions = if self.pods { pod::row_condition(object) } else { None };
        Row { cells, conditions, object: included(object, include) }
    }
}

fn encode(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("invariant: maps with string keys always serialise")
}

fn included(object: &Value, include: IncludeObject) -> Included<'_> {
    match include {
        IncludeObject::None => Included::None(()),
        IncludeObject::Object => Included::Object(object),
        IncludeObject::Metadata => {
            Included::Metadata { kind: "PartialObjectMetadata", api_version: META, metadata: &object["metadata"] }
        }
    }
}

/// From how many rows on several threads print them, and how many threads at most.
const SHARED_ROWS_MIN: usize = 2_000;
const THREADS_MAX: usize = 4;
/// How the JSON of a Table ends: its rows come last.
const ROWS_END: &[u8] = b"]}";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Table<'a, R: Serialize> {
    kind: &'a str,
    api_version: &'a str,
    metadata: &'a Value,
    column_definitions: Option<&'a [Column]>,
    rows: Option<R>,
}

const KIND: &str = "Table";
const META: &str = "meta.k8s.io/v1";

#[derive(Serialize)]
struct Row<'a> {
    cells: &'a [Value],
    #[serde(skip_serializing_if = "Option::is_none")]
    conditions: Option<Value>,
    object: Included<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Included<'a> {
    None(()),
    Object(&'a Value),
    #[serde(rename_all = "camelCase")]
    Metadata {
        kind: &'a str,
        api_version: &'a str,
        metadata: &'a Value,
    },
}

/// Rows are printed while they are written: no list of them exists.
struct RowList<'a, T> {
    printer: &'a Printer,
    objects: &'a [T],
    include: IncludeObject,
    now: Timestamp,
}

impl<T: Borrow<Value>> Serialize for RowList<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rows = serializer.serialize_seq(None)?;
        let mut cells = Vec::new();
        for object in self.objects {
            rows.serialize_element(&self.printer.row(object.borrow(), self.include, self.now, &mut cells))?;
        }
        rows.end()
    }
}

/// The labels of a map as `a=1,b=2`, or `<none>`.
fn labels_text(labels: &Value) -> String {
    let pair = |(key, value): (&String, &Value)| format!("{key}={}", value.as_str().unwrap_or(""));
    let pairs: Vec<String> = labels.as_object().map(Map::iter).into_iter().flatten().map(pair).collect();
    if pairs.is_empty() { "<none>".into() } else { pairs.join(",") }
}

#[cfg(test)]
mod tests;
