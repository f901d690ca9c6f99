//! The status of a pod as a function of its containers' states: pure.
//!
//! Phases, conditions and reasons follow the kubelet of v1.36; a condition keeps its transition time while its status
//! stays the same.

use std::net::Ipv4Addr;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::pod;
use super::state::{ContainerState, Ended, Phase, Role, States};
use crate::object;

/// The status to merge into the stored one.
pub(super) fn of(
    pod: &Value,
    states: &States,
    failure: Option<(&str, String)>,
    (address, host): (Ipv4Addr, Ipv4Addr),
    now: Timestamp,
) -> Value {
    let phase = if failure.is_some() { "Failed" } else { phase(pod, states) };
    let statuses = |of_main: bool| {
        let listed = pod::containers(pod).filter(|(_, role)| (*role == Role::Main) == of_main);
        let listed =
            listed.filter_map(|(spec, _)| Some(container(&spec, states.0.get(object::str_at(&spec, "/name"))?)));
        listed.collect::<Vec<Value>>()
    };
    let started_at = match object::str_at(pod, "/status/startTime") {
        "" => object::time(now),
        known => known.to_owned(),
    };
    let mut status = json!({
        "observedGeneration": object::generation(pod),
        "phase": phase,
        "conditions": conditions(pod, states, phase, now),
        "hostIP": host.to_string(),
        "hostIPs": [{ "ip": host.to_string() }],
        "podIP": address.to_string(),
        "podIPs": [{ "ip": address.to_string() }],
        "startTime": started_at,
        "containerStatuses": statuses(true),
    });
    if let Some((reason, message)) = failure {
        status["reason"] = reason.into();
        status["message"] = message.into();
    }
    let init = statuses(false);
    if !init.is_empty() {
        status["initContainerStatuses"] = Value::Array(init);
    }
    status
}

fn phase(pod: &Value, states: &States) -> &'static str {
    let init_failed = states.0.values().any(|state| {
        state.role == Role::Init && state.ended().is_some_and(|ended| ended.exit_code != 0) && never_restarts(pod)
    });
    if init_failed {
        return "Failed";
    }
    let main: Vec<&ContainerState> = states.0.values().filter(|state| state.role == Role::Main).collect();
    let init_done = states.0.values().filter(|state| state.role != Role::Main).all(is_initialized);
    let has_begun = |state: &&ContainerState| !matches!(state.phase, Phase::Waiting { .. }) || state.last.is_some();
    if !init_done || !main.iter().all(has_begun) {
        return "Pending";
    }
    let ended: Option<Vec<&Ended>> = main.iter().map(|state| state.ended()).collect();
    let Some(ended) = ended else { return "Running" };
    let all_well = ended.iter().all(|ended| ended.exit_code == 0);
    let final_state = object::is_deleting(pod)
        || match object::str_at(pod, "/spec/restartPolicy") {
            "Never" => true,
            "OnFailure" => all_well,
            _ => false,
        };
    match (final_state, all_well) {
        (true, true) => "Succeeded",
        (true, false) => "Failed",
        (false, _) => "Running",
    }
}

fn never_restarts(pod: &Value) -> bool {
    object::str_at(pod, "/spec/restartPolicy") == "Never"
}

fn is_initialized(state: &ContainerState) -> bool {
    match state.role {
        // One that has ended had started: it was told to end, or is about to start again.
        Role::Sidecar => state.started || state.last.is_some() || state.ended().is_some(),
        _ => state.ended().is_some_and(|ended| ended.exit_code == 0),
    }
}

fn conditions(pod: &Value, states: &States, phase: &str, now: Timestamp) -> Value {
    let generation = object::generation(pod);
    let init_done = states.0.values().filter(|state| state.role != Role::Main).all(is_initialized);
    let unready: Vec<&str> = states
        .0
        .iter()
        .filter(|(_, state)| state.role != Role::Init && !state.ready)
        .map(|(name, _)| name.as_str())
        .collect();
    let finished = matches!(phase, "Succeeded" | "Failed");
    let running = states.0.values().any(ContainerState::is_running);
    let readiness = || match (phase, unready.is_empty()) {
        ("Succeeded", _) => ("False", "PodCompleted", String::new()),
        ("Failed", _) => ("False", "PodFailed", String::new()),
        (_, true) => ("True", "", String::new()),
        (_, false) => {
            ("False", "ContainersNotReady", format!("containers with unready status: [{}]", unready.join(" ")))
        }
    };
    let initialized = match (phase, init_done) {
        ("Succeeded", true) => ("True", "PodCompleted", String::new()),
        (_, true) => ("True", "", String::new()),
        (_, false) => {
            let left = states.0.iter().filter(|(_, state)| state.role != Role::Main && !is_initialized(state));
            let names: Vec<&str> = left.map(|(name, _)| name.as_str()).collect();
            let message = format!("containers with incomplete status: [{}]", names.join(" "));
            ("False", "ContainersNotInitialized", message)
        }
    };
    let sandbox = if finished || (object::is_deleting(pod) && !running) { "False" } else { "True" };
    let wanted = [
        ("PodReadyToStartContainers", (sandbox, "", String::new())),
        ("Initialized", initialized),
        ("Ready", readiness()),
        ("ContainersReady", readiness()),
    ];
    let wanted = wanted.map(|(kind, state)| match gate(pod) {
        Some(why) if kind == "Ready" && state.0 == "True" => (kind, ("False", "ReadinessGatesNotReady", why)),
        _ => (kind, state),
    });
    let mut conditions: Vec<Value> = Vec::new();
    for (kind, (status, reason, message)) in wanted {
        let before = object::condition(pod, kind).filter(|before| object::str_at(before, "/status") == status);
        let since = before.map(|before| object::str_at(before, "/lastTransitionTime").to_owned());
        let mut condition = Map::new();
        condition.insert("type".into(), kind.into());
        condition.insert("observedGeneration".into(), generation.into());
        condition.insert("status".into(), status.into());
        condition.insert("lastProbeTime".into(), Value::Null);
        condition.insert("lastTransitionTime".into(), since.unwrap_or_else(|| object::time(now)).into());
        if !reason.is_empty() {
            condition.insert("reason".into(), reason.into());
        }
        if !message.is_empty() {
            condition.insert("message".into(), message.into());
        }
        conditions.push(Value::Object(condition));
    }
    let ours = |kind: &str| conditions.iter().any(|condition| condition["type"] == kind);
    let others = object::array_at(pod, "/status/conditions").iter();
    let others: Vec<Value> = others.filter(|other| !ours(object::str_at(other, "/type"))).cloned().collect();
    conditions.extend(others);
    Value::Array(conditions)
}

/// The first readiness gate that somebody else has not opened.
fn gate(pod: &Value) -> Option<String> {
    let gates = object::array_at(pod, "/spec/readinessGates").iter().map(|gate| object::str_at(gate, "/conditionType"));
    let mut words = gates.filter_map(|kind| match object::condition_status(pod, kind) {
        Some("True") => None,
        Some(_) => Some(format!("the status of pod readiness gate \"{kind}\" is not \"True\", but False")),
        None => Some(format!("corresponding condition of pod readiness gate \"{kind}\" does not exist.")),
    });
    words.next()
}

fn container(spec: &Value, state: &ContainerState) -> Value {
    let mut status = json!({
        "name": spec["name"],
        "state": phase_of(&state.phase),
        "lastState": state.last.as_ref().map_or_else(|| json!({}), |last| json!({ "terminated": ended(last) })),
        "ready": state.ready || (state.role == Role::Init && state.ended().is_some_and(|it| it.exit_code == 0)),
        "restartCount": state.restarts,
        "image": spec["image"],
        "imageID": state.image_id,
        "started": state.started,
    });
    if !state.container_id.is_empty() {
        status["containerID"] = state.container_id.as_str().into();
    }
    if state.is_running() && spec["resources"].as_object().is_some_and(|it| !it.is_empty()) {
        status["resources"] = spec["resources"].clone();
        if let Some(requests) = spec["resources"].get("requests") {
            status["allocatedResources"] = requests.clone();
        }
    }
    status
}

fn phase_of(phase: &Phase) -> Value {
    match phase {
        Phase::Waiting { reason, message } if message.is_empty() => json!({ "waiting": { "reason": reason } }),
        Phase::Waiting { reason, message } => json!({ "waiting": { "reason": reason, "message": message } }),
        Phase::Running { since, .. } => json!({ "running": { "startedAt": object::time(*since) } }),
        Phase::Terminated(how) => json!({ "terminated": ended(how) }),
    }
}

fn ended(ended: &Ended) -> Value {
    let mut value = json!({
        "exitCode": ended.exit_code,
        "reason": ended.reason,
        "startedAt": object::time(ended.started_at),
        "finishedAt": object::time(ended.finished_at),
    });
    if let Some(signal) = ended.signal {
        value["signal"] = signal.into();
    }
    if !ended.message.is_empty() {
        value["message"] = ended.message.as_str().into();
    }
    if !ended.container_id.is_empty() {
        value["containerID"] = ended.container_id.as_str().into();
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(exit_code: i32) -> Phase {
        let at = Timestamp::UNIX_EPOCH;
        let (reason, message, container_id) = ("x".to_owned(), String::new(), String::new());
        Phase::Terminated(Ended {
            exit_code,
            signal: None,
            reason,
            message,
            started_at: at,
            finished_at: at,
            container_id,
        })
    }

    fn waiting() -> Phase {
        Phase::Waiting { reason: "ContainerCreating".to_owned(), message: String::new() }
    }

    fn pod(policy: &str, containers: &[(Role, Phase)]) -> (Value, States) {
        let mut states = States::default();
        let mut spec = json!({ "restartPolicy": policy, "containers": [], "initContainers": [] });
        for (number, (role, phase)) in containers.iter().enumerate() {
            let name = format!("c{number}");
            let (list, policy) = match role {
                Role::Main => ("containers", None),
                Role::Init => ("initContainers", None),
                Role::Sidecar => ("initContainers", Some("Always")),
            };
            spec[list].as_array_mut().unwrap().push(json!({ "name": name, "restartPolicy": policy }));
            let mut state = ContainerState::new(*role);
            state.phase = phase.clone();
            states.0.insert(name, state);
        }
        (json!({ "metadata": { "name": "p", "generation": 1 }, "spec": spec }), states)
    }

    fn status_of(pod: &Value, states: &States, failure: Option<(&str, String)>) -> Value {
        let address = Ipv4Addr::LOCALHOST;
        json!({ "status": of(pod, states, failure, (address, address), "2026-01-01T00:00:10Z".parse().unwrap()) })
    }

    #[test]
    fn the_phase_follows_the_containers_and_the_restart_policy() {
        use Role::{Init, Main, Sidecar};
        let check = |policy: &str, containers: &[(Role, Phase)], phase: &str| {
            let (pod, states) = pod(policy, containers);
            let names: Vec<_> = containers.iter().map(|(role, _)| role).collect();
            assert_eq!(status_of(&pod, &states, None)["status"]["phase"], phase, "{policy} {names:?}");
        };
        check("Always", &[(Main, waiting())], "Pending");
        check("Always", &[(Main, ended(0))], "Running");
        check("OnFailure", &[(Main, ended(0))], "Succeeded");
        check("OnFailure", &[(Main, ended(1))], "Running");
        check("Never", &[(Main, ended(1))], "Failed");
        check("Never", &[(Main, ended(0)), (Main, ended(2))], "Failed");
        check("Never", &[(Init, ended(1)), (Main, waiting())], "Failed");
        check("Always", &[(Init, ended(1)), (Main, waiting())], "Pending");
        check("Never", &[(Init, ended(0)), (Sidecar, ended(137)), (Main, ended(0))], "Succeeded");
    }

    #[test]
    fn a_condition_is_stamped_in_whole_seconds_and_never_later_than_it_came() {
        let (pod, states) = pod("Always", &[(Role::Main, waiting())]);
        let addresses = (Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST);
        let status = of(&pod, &states, None, addresses, "2026-01-01T00:00:19.999Z".parse().unwrap());
        let ready = object::condition(&json!({ "status": status }), "Ready").cloned().unwrap();
        assert_eq!(ready["lastTransitionTime"], "2026-01-01T00:00:19Z");
    }

    #[test]
    fn conditions_keep_their_time_until_their_status_changes() {
        let (mut pod, states) = pod("Always", &[(Role::Main, waiting())]);
        let since = "2026-01-01T00:00:01Z";
        let old = |kind: &str, status: &str| json!({ "type": kind, "status": status, "lastTransitionTime": since });
        pod["status"]["conditions"] =
            json!([old("Ready", "False"), old("ContainersReady", "True"), old("PodScheduled", "True")]);
        let after = status_of(&pod, &states, None);
        let time =
            |kind: &str| object::str_at(object::condition(&after, kind).unwrap(), "/lastTransitionTime").to_owned();
        assert_eq!(time("Ready"), "2026-01-01T00:00:01Z");
        assert_eq!(time("ContainersReady"), "2026-01-01T00:00:10Z");
        assert_eq!(time("PodScheduled"), "2026-01-01T00:00:01Z");
        assert_eq!(object::condition(&after, "Ready").unwrap()["message"], "containers with unready status: [c0]");
    }

    #[test]
    fn a_readiness_gate_holds_the_pod_back_but_not_its_containers() {
        let (mut pod, mut states) = pod("Always", &[(Role::Main, waiting())]);
        states.0.values_mut().for_each(|state| state.ready = true);
        pod["spec"]["readinessGates"] = json!([{ "conditionType": "example.com/gate" }]);
        let after = status_of(&pod, &states, None);
        assert_eq!(object::condition_status(&after, "ContainersReady"), Some("True"));
        assert_eq!(object::condition(&after, "Ready").unwrap()["reason"], "ReadinessGatesNotReady");
    }

    #[test]
    fn a_pod_that_the_node_gave_up_on_has_failed_and_says_why() {
        let (pod, states) = pod("Always", &[(Role::Main, ended(143))]);
        let after = status_of(&pod, &states, Some(("DeadlineExceeded", "too long".to_owned())));
        assert_eq!(after["status"]["phase"], "Failed");
        assert_eq!(after["status"]["reason"], "DeadlineExceeded");
        assert_eq!(object::condition(&after, "Ready").unwrap()["reason"], "PodFailed");
    }
}
