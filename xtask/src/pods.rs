//! What a Pod object says of itself, in the words that `kubectl get pods` uses: Running, CrashLoopBackOff, Terminating.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt;

/// The STATUS column: the most telling of deletion, a container's reason, and the phase.
pub(crate) fn status_word(pod: &Pod) -> String {
    if pod.metadata.deletion_timestamp.is_some() {
        return "Terminating".to_owned();
    }
    let waiting = containers(pod).find_map(|c| c.state.as_ref()?.waiting.as_ref()?.reason.clone());
    let terminated = || containers(pod).find_map(|c| c.state.as_ref()?.terminated.as_ref()?.reason.clone());
    let phase = || pod.status.as_ref().and_then(|status| status.reason.clone().or_else(|| status.phase.clone()));
    waiting.or_else(terminated).or_else(phase).unwrap_or_else(|| "Unknown".to_owned())
}

pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    pod.metadata.deletion_timestamp.is_none()
        && conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Whether there is a log to read.
pub(crate) fn has_started(pod: &Pod) -> bool {
    containers(pod).any(|container| container.started == Some(true) || container.restart_count > 0)
        || containers(pod).any(|container| container.state.as_ref().is_some_and(|state| state.running.is_some()))
}

pub(crate) fn restarts(pod: &Pod) -> i32 {
    containers(pod).map(|container| container.restart_count).sum()
}

/// Why a pod will not come up by waiting, in a reason and the cluster's own message.
pub(crate) fn trouble(pod: &Pod) -> Option<(String, String)> {
    const FATAL: [&str; 9] = [
        "CrashLoopBackOff",
        "ErrImagePull",
        "ErrImageNeverPull",
        "ImagePullBackOff",
        "ImageInspectError",
        "InvalidImageName",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    ];
    let from_container = containers(pod).find_map(|container| {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        let reason = waiting.reason.clone().filter(|reason| FATAL.contains(&reason.as_str()))?;
        let exit = container.last_state.as_ref().and_then(|last| last.terminated.as_ref());
        let ended = exit.map(|exit| format!("last exit code {}", exit.exit_code)).unwrap_or_default();
        let message = waiting.message.clone().unwrap_or_default();
        Some((reason, [message, ended].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")))
    });
    from_container.or_else(|| unschedulable(pod))
}

/// How long it has run.
pub(crate) fn age_s(pod: &Pod, now: jiff::Timestamp) -> Option<i64> {
    let started = pod.status.as_ref()?.start_time.as_ref()?;
    Some(now.as_second() - started.0.as_second())
}

pub(crate) fn name(pod: &Pod) -> String {
    pod.name_any()
}

fn unschedulable(pod: &Pod) -> Option<(String, String)> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let scheduled = conditions.iter().find(|condition| condition.type_ == "PodScheduled")?;
    let reason = scheduled.reason.clone().filter(|reason| scheduled.status == "False" && reason == "Unschedulable")?;
    Some((reason, scheduled.message.clone().unwrap_or_default()))
}

fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    pod.status.as_ref().and_then(|status| status.container_statuses.as_ref()).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(value: serde_json::Value) -> Pod {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_crashing_pod_says_so_with_its_exit_code() {
        let crashing = pod(json!({"status": {"phase": "Running", "containerStatuses": [{
            "name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 3,
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
            "lastState": {"terminated": {"exitCode": 7}}}]}}));
        assert_eq!(status_word(&crashing), "CrashLoopBackOff");
        assert_eq!(trouble(&crashing), Some(("CrashLoopBackOff".into(), "back-off 40s; last exit code 7".into())));
        assert_eq!(restarts(&crashing), 3);
    }

    #[test]
    fn a_pod_that_is_only_starting_is_no_trouble() {
        let starting = pod(json!({"status": {"phase": "Pending", "containerStatuses": [{
            "name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "ContainerCreating"}}}]}}));
        assert_eq!(status_word(&starting), "ContainerCreating");
        assert_eq!(trouble(&starting), None);
    }

    #[test]
    fn a_pod_on_its_way_out_is_not_ready() {
        let leaving = pod(json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}));
        assert_eq!(status_word(&leaving), "Terminating");
        assert!(!is_ready(&leaving));
    }

    #[test]
    fn a_pod_that_does_not_fit_is_trouble_in_the_schedulers_words() {
        let pending = pod(json!({"status": {"phase": "Pending", "conditions": [{"type": "PodScheduled",
            "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available: Insufficient cpu."}]}}));
        assert_eq!(trouble(&pending).unwrap().1, "0/1 nodes are available: Insufficient cpu.");
    }
}
