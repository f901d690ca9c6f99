//! Binding: assigns a pod to a node, once. Sets `spec.nodeName` and the condition PodScheduled in one write, as the
//! binding subresource does; a pod that has a node, or is another one than meant, is a Conflict.

use serde_json::{Value, json};

use super::Cluster;
use crate::object::{self, Object};
use crate::status::ApiError;

impl Cluster {
    /// Assigns the pod to `node`; `uid` (if not empty) must be the pod's.
    pub fn bind(&self, namespace: &str, name: &str, uid: &str, node: &str) -> Result<Object, ApiError> {
        let mut writing = self.inner.store.writing();
        let current = writing.get("pods", namespace, name).ok_or_else(|| ApiError::not_found("pods", name))?;
        if !uid.is_empty() && uid != object::uid(&current) {
            let why = format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                object::uid(&current)
            );
            return Err(ApiError::conflict_because("pods", name, &why));
        }
        let present = object::str_at(&current, "/spec/nodeName");
        if !present.is_empty() {
            let why = format!("pod {name} is already assigned to node \"{present}\"");
            return Err(ApiError::conflict_because("pods/binding", name, &why));
        }
        if object::is_deleting(&current) {
            let why = format!("pod {name} is being deleted, cannot be assigned to a host");
            return Err(ApiError::conflict_because("pods/binding", name, &why));
        }
        let mut bound = Value::clone(&current);
        object::set(&mut bound, &["spec", "nodeName"], node.into());
        let mut conditions = object::array_at(&bound, "/status/conditions").to_vec();
        conditions.retain(|condition| condition["type"] != "PodScheduled");
        conditions.push(json!({
            "type": "PodScheduled",
            "observedGeneration": object::generation(&bound),
            "status": "True",
            "lastProbeTime": null,
            "lastTransitionTime": object::time(self.now()),
        }));
        object::set(&mut bound, &["status", "conditions"], conditions.into());
        writing.put("pods", bound)
    }
}
