//! `podFailurePolicy`: the first rule that fits a failed pod says whether it ends the Job or its index, does
//! not count, or counts.

use serde_json::Value;

use crate::object;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ruling {
    /// The Job fails; the message says which container or condition and which rule.
    FailJob(String),
    FailIndex,
    Ignore,
    Count,
}

pub(super) fn exists(job: &Value) -> bool {
    !object::array_at(job, "/spec/podFailurePolicy/rules").is_empty()
}

pub(super) fn rule(job: &Value, failed: &Value) -> Ruling {
    for (index, rule) in object::array_at(job, "/spec/podFailurePolicy/rules").iter().enumerate() {
        let Some(what) = by_exit_code(rule, failed).or_else(|| by_condition(rule, failed)) else { continue };
        return match object::str_at(rule, "/action") {
            "FailJob" => Ruling::FailJob(format!("{what} matching FailJob rule at index {index}")),
            "FailIndex" => Ruling::FailIndex,
            "Ignore" => Ruling::Ignore,
            _ => Ruling::Count,
        };
    }
    Ruling::Count
}

fn by_exit_code(rule: &Value, failed: &Value) -> Option<String> {
    let wanted = rule.get("onExitCodes").filter(|wanted| !wanted.is_null())?;
    let values = object::array_at(wanted, "/values");
    let is_in = object::str_at(wanted, "/operator") == "In";
    let lists = ["/status/initContainerStatuses", "/status/containerStatuses"];
    let mut statuses = lists.into_iter().flat_map(|list| object::array_at(failed, list));
    statuses.find_map(|status| {
        let name = object::str_at(status, "/name");
        let only = object::str_at(wanted, "/containerName");
        let code = object::i64_at(status, "/state/terminated/exitCode").filter(|code| *code != 0)?;
        let listed = values.iter().any(|value| value.as_i64() == Some(code));
        let fits = (only.is_empty() || only == name) && listed == is_in;
        let (namespace, pod) = (object::namespace(failed), object::name(failed));
        fits.then(|| format!("Container {name} for pod {namespace}/{pod} failed with exit code {code}"))
    })
}

fn by_condition(rule: &Value, failed: &Value) -> Option<String> {
    object::array_at(rule, "/onPodConditions").iter().find_map(|wanted| {
        let kind = object::str_at(wanted, "/type");
        let status = match object::str_at(wanted, "/status") {
            "" => "True",
            status => status,
        };
        let (namespace, pod) = (object::namespace(failed), object::name(failed));
        let fits = object::condition_status(failed, kind) == Some(status);
        fits.then(|| format!("Pod {namespace}/{pod} has condition {kind}"))
    })
}
