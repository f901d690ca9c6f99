//! An answer that is not success, as the Status object that clients of the API read.

use serde_json::{Value, json};

#[derive(Debug, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) code: u16,
    reason: &'static str,
    pub(crate) message: String,
    /// A source fails; without it there is only nothing to tell.
    pub(crate) is_outage: bool,
}

impl Refusal {
    fn new(code: u16, reason: &'static str, message: String) -> Refusal {
        Refusal { code, reason, message, is_outage: false }
    }

    pub(crate) fn no_such_path() -> Refusal {
        Refusal::not_found("the server could not find the requested resource".to_owned())
    }

    pub(crate) fn no_such_metric(metric: &str, of: &str) -> Refusal {
        Refusal::not_found(format!("the server could not find the metric {metric} for {of}"))
    }

    pub(crate) fn not_found(message: String) -> Refusal {
        Refusal::new(404, "NotFound", message)
    }

    pub(crate) fn bad_request(message: String) -> Refusal {
        Refusal::new(400, "BadRequest", message)
    }

    pub(crate) fn only_get() -> Refusal {
        Refusal::new(405, "MethodNotAllowed", "every path takes GET only".to_owned())
    }

    /// For now: a source that fails may be back in a moment.
    pub(crate) fn unavailable(message: String) -> Refusal {
        Refusal::new(503, "ServiceUnavailable", message)
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
