//! Server-side printing: objects as a `Table` of cells, as `kubectl get` asks for them.
//!
//! Columns and cells follow the printers of Kubernetes v1.36, column by column; wide columns (priority 1) are always
//! sent, the client hides them. Numbers stay JSON numbers whatever the column says. Kinds without a printer show their
//! name and creation time; custom resources show what their CustomResourceDefinition asks for.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::object::Object;

/// How much of each object a row carries beside its cells (`includeObject`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeObject {
    None,
    #[default]
    Metadata,
    Object,
}

/// Prints objects of one kind.
pub struct Printer {}

impl Printer {
    /// For a built-in resource such as "deployments.apps"; "scale.autoscaling" prints the scale subresource.
    pub fn built_in(_resource: &str) -> Printer {
        Printer {}
    }

    /// For a version of a custom resource: its CustomResourceDefinition's `additionalPrinterColumns`.
    pub fn custom(_definition: &Value, _version: &str) -> Printer {
        Printer {}
    }

    /// The whole Table; `list_metadata` is the list's `metadata` (or `{}`-like resourceVersion of a single object).
    pub fn table(&self, _objects: &[Object], _include: IncludeObject, _now: Timestamp, list_metadata: &Value) -> Value {
        json!({ "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": list_metadata })
    }

    /// The same as JSON bytes, without building the value: what lists of thousands of objects use.
    pub fn table_bytes(
        &self,
        objects: &[Object],
        include: IncludeObject,
        now: Timestamp,
        list_metadata: &Value,
    ) -> Vec<u8> {
        self.table(objects, include, now, list_metadata).to_string().into_bytes()
    }

    /// The Table inside one watch event: one row, column definitions only in the first event of a watch.
    pub fn event(&self, object: &Value, include: IncludeObject, now: Timestamp, first: bool) -> Value {
        let _ = (include, now, first);
        json!({ "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"] })
    }
}
