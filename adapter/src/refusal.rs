//! An answer that is not success, as the Status object that clients of the API read.

use serde_json::{Value, json};

#[derive(Debug, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) code: u16,
    reason: &'static str,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn no_such_path() -> Refusal {
        Refusal::not_found("the server could not find the requested resource".to_owned())
    }

    pub(crate) fn no_such_metric(metric: &str, of: &str) -> Refusal {
        Refusal::not_found(format!("the server could not find the metric {metric} for {of}"))
    }

    pub(crate) fn not_found(message: String) -> Refusal {
        Refusal { code: 404, reason: "NotFound", message }
    }

    pub(crate) fn bad_request(message: String) -> Refusal {
        Refusal { code: 400, reason: "BadRequest", message }
    }

    pub(crate) fn only_get() -> Refusal {
        Refusal { code: 405, reason: "MethodNotAllowed", message: "every path takes GET only".to_owned() }
    }

    /// For now: a source that fails may be back in a moment.
    pub(crate) fn unavailable(message: String) -> Refusal {
        Refusal { code: 503, reason: "ServiceUnavailable", message }
    }

    pub(crate) fn status(&self) -> Value {
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        })
    }
}

impl From<kube::Error> for Refusal {
    fn from(error: kube::Error) -> Refusal {
        match error {
            kube::Error::Api(status) if status.code == 404 => Refusal::not_found(status.message.clone()),
            other => Refusal::unavailable(format!("the API server does not tell which pods are meant: {other}")),
        }
    }
}
