//! What the HPA controller needs of a cluster. A trait, because there are two: the cluster it runs in, and any other
//! that a kubeconfig names. Errors are texts as upstream's clients word them; they end up in events and conditions.

use autoscaler::pass::ScaleError;
use autoscaler::spec::ObjectRef;
use jiff::Timestamp;
use serde_json::Value;

use super::answer::{Answer, Refusal};
use crate::controllers::action::Event;
use crate::object::Object;

pub trait World {
    fn now(&self) -> Timestamp;

    fn hpas(&self) -> Result<Vec<Object>, String>;

    /// One HPA as it is stored now.
    fn hpa(&self, namespace: &str, name: &str) -> Result<Option<Object>, String>;

    /// The Scale of the target, and what `write_scale` finds it by.
    fn scale(&self, namespace: &str, target: &ObjectRef) -> Result<(String, Value), ScaleError>;

    fn write_scale(&self, found_by: &str, scale: Value) -> Result<(), Refusal>;

    /// Pods of a namespace that a selector in string form matches.
    fn pods(&self, namespace: &str, selector: &str) -> Result<Vec<Object>, String>;

    /// Items of metrics.k8s.io for the pods that a selector matches.
    fn pod_metrics(&self, namespace: &str, selector: &str) -> Result<Vec<Value>, String>;

    /// The resource of a kind as `plural.group`, in any version.
    fn resource_of(&self, group: &str, kind: &str) -> Result<String, String>;

    /// The versions that are served of a group of metrics, none if it is not registered.
    fn versions(&self, group: &str) -> Result<Vec<String>, String>;

    /// GET of a path under custom.metrics.k8s.io or external.metrics.k8s.io; the error is that of the way there.
    fn get(&self, path: &str) -> Result<Answer, String>;

    /// Writes the status of an HPA object.
    fn write_status(&self, hpa: Value) -> Result<(), Refusal>;

    fn record(&mut self, event: Event);

    /// Waits for a moment, between attempts to write.
    fn pause(&self);
}
