//! Containers of an earlier daemon: they died with it, and nobody saw how.
//!
//! As after a reboot of a real node: exit code 255, reason Unknown, and another start unless the pod may not restart.

use jiff::Timestamp;
use serde_json::Value;

use super::state::{ContainerState, Ended, Phase, Role, States};
use super::{launch, pod};
use crate::object;

const EXIT_CODE: i32 = 255;

/// Every container as it is before it starts; counts go on from what the store remembers.
pub(super) fn initial_states(pod: &Value, now: Timestamp) -> States {
    let mut states = States::default();
    for (spec, role) in pod::containers(pod) {
        let name = object::str_at(&spec, "/name");
        let mut state = ContainerState::new(role);
        let waits_for_init = role == Role::Main && !object::array_at(pod, "/spec/initContainers").is_empty();
        let waiting = if waits_for_init { "PodInitializing" } else { "ContainerCreating" };
        state.phase = Phase::Waiting { reason: waiting.to_owned(), message: String::new() };
        if let Some(before) = status_of(pod, name).filter(|it| !object::str_at(it, "/containerID").is_empty()) {
            resume(&mut state, before, object::str_at(pod, "/spec/restartPolicy"), now);
        }
        states.0.insert(name.to_owned(), state);
    }
    states
}

fn status_of<'a>(pod: &'a Value, name: &str) -> Option<&'a Value> {
    let lists = ["/status/containerStatuses", "/status/initContainerStatuses"];
    lists.iter().flat_map(|list| object::array_at(pod, list)).find(|status| status["name"] == name)
}

fn resume(state: &mut ContainerState, before: &Value, policy: &str, now: Timestamp) {
    let ended = ended(before, now);
    let count = object::i64_at(before, "/restartCount").and_then(|count| u32::try_from(count).ok()).unwrap_or(0);
    state.restarts = count;
    state.image_id = object::str_at(before, "/imageID").to_owned();
    state.container_id = object::str_at(before, "/containerID").to_owned();
    if state.role != Role::Sidecar && launch::is_final(state.role, policy, ended.exit_code) {
        state.phase = Phase::Terminated(ended);
    } else {
        state.restarts = count.saturating_add(1);
        state.last = Some(ended);
    }
}

fn ended(before: &Value, now: Timestamp) -> Ended {
    let seen = before.pointer("/state/terminated").or_else(|| before.pointer("/lastState/terminated"));
    let is_running = before.pointer("/state/running").is_some();
    let Some(seen) = seen.filter(|_| !is_running) else {
        return Ended {
            exit_code: EXIT_CODE,
            signal: None,
            reason: "Unknown".to_owned(),
            message: String::new(),
            started_at: object::time_at(before, "/state/running/startedAt").unwrap_or(now),
            finished_at: now,
            container_id: object::str_at(before, "/containerID").to_owned(),
        };
    };
    Ended {
        exit_code: object::i64_at(seen, "/exitCode").and_then(|code| i32::try_from(code).ok()).unwrap_or(EXIT_CODE),
        signal: object::i64_at(seen, "/signal").and_then(|signal| i32::try_from(signal).ok()),
        reason: object::str_at(seen, "/reason").to_owned(),
        message: object::str_at(seen, "/message").to_owned(),
        started_at: object::time_at(seen, "/startedAt").unwrap_or(now),
        finished_at: object::time_at(seen, "/finishedAt").unwrap_or(now),
        container_id: object::str_at(seen, "/containerID").to_owned(),
    }
}
