//! Eviction: a deletion that asks the disruption budgets first.
//!
//! A pod that no budget covers, or that is not healthy anyway, may go; else the one budget must allow a disruption, which
//! is taken from it in the same turn, so that two evictions never share one.

use serde_json::{Value, json};

use super::{Cluster, DeleteOptions, Writer};
use crate::object::{self, Object};
use crate::selector::LabelSelector;
use crate::status::ApiError;

const BUDGETS: &str = "poddisruptionbudgets.policy";

impl Cluster {
    /// Deletes the pod if its disruption budget allows; 429 if not.
    pub fn evict(&self, namespace: &str, name: &str, options: &DeleteOptions, writer: &Writer) -> Result<(), ApiError> {
        let pod = self.get("pods", namespace, name).ok_or_else(|| ApiError::not_found("pods", name))?;
        if needs_budget(&pod) {
            self.take_disruption(&pod, writer)?;
        }
        self.delete("pods", namespace, name, options, writer).map(drop)
    }

    fn take_disruption(&self, pod: &Object, writer: &Writer) -> Result<(), ApiError> {
        let mut writing = self.inner.store.writing();
        let covers = |budget: &Object| {
            let selector = LabelSelector::from_value(&budget["spec"]["selector"]);
            selector.matches_object(pod)
        };
        let budgets = writing.list(BUDGETS, object::namespace(pod));
        let mut covering = budgets.iter().filter(|budget| covers(budget));
        let Some(budget) = covering.next() else { return Ok(()) };
        if covering.next().is_some() {
            let message =
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
            return Err(ApiError::internal(message));
        }
        check_allowed(budget)?;
        if writer.dry_run {
            return Ok(());
        }
        let mut taken = Value::clone(budget);
        let allowed = object::i64_at(budget, "/status/disruptionsAllowed").unwrap_or(0);
        object::set(&mut taken, &["status", "disruptionsAllowed"], (allowed - 1).into());
        let at = object::time(self.now());
        object::set(&mut taken, &["status", "disruptedPods", object::name(pod)], at.into());
        writing.put(BUDGETS, taken).map(drop)
    }
}

fn needs_budget(pod: &Value) -> bool {
    let finished = matches!(object::str_at(pod, "/status/phase"), "Succeeded" | "Failed" | "Pending");
    !finished && !object::is_deleting(pod) && object::condition_status(pod, "Ready") == Some("True")
}

fn check_allowed(budget: &Value) -> Result<(), ApiError> {
    let name = object::name(budget);
    let stale = object::i64_at(budget, "/status/observedGeneration").unwrap_or(0) < object::generation(budget);
    let allowed = object::i64_at(budget, "/status/disruptionsAllowed").unwrap_or(0);
    if !stale && allowed > 0 {
        return Ok(());
    }
    let why = if stale {
        format!("The disruption budget {name} is still being processed by the server.")
    } else {
        let needed = object::i64_at(budget, "/status/desiredHealthy").unwrap_or(0);
        let healthy = object::i64_at(budget, "/status/currentHealthy").unwrap_or(0);
        format!("The disruption budget {name} needs {needed} healthy pods and has {healthy} currently")
    };
    let cause = json!({ "reason": "DisruptionBudget", "message": why });
    let mut details = json!({ "causes": [cause] });
    if stale {
        details["retryAfterSeconds"] = 10.into();
    }
    let message = "Cannot evict pod as it would violate the pod's disruption budget.";
    Err(ApiError::too_many_requests(message, details))
}
