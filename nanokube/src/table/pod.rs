//! Pods: how many containers are ready, what state in one word, how often and how lately restarted.
//!
//! The word is the phase unless something says it better: a reason of the pod, a failing init container (`Init:...`),
//! or the state of a container, the first container winning. A pod that is being deleted is `Terminating`.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::cell;

/// The condition of the row of a pod that has ended.
pub(super) fn row_condition(pod: &Value) -> Option<Value> {
    let (reason, message) = match cell::text(&pod["status"]["phase"]) {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return None,
    };
    Some(json!([{ "type": "Completed", "status": "True", "reason": reason, "message": message }]))
}

pub(super) fn cells(pod: &Value, now: Timestamp, out: &mut Vec<Value>) {
    let (spec, status) = (&pod["spec"], &pod["status"]);
    let summary = Summary::of(pod);
    out.push(cell::name(pod));
    out.push(format!("{}/{}", summary.ready, summary.total).into());
    out.push(summary.word.into());
    out.push(match summary.restarted_at {
        Some(at) if summary.restarts > 0 => {
            let ago = cell::human_duration(now.duration_since(at).as_secs());
            format!("{} ({ago} ago)", summary.restarts).into()
        }
        _ => summary.restarts.to_string().into(),
    });
    out.push(cell::age(pod, now));
    let ip = cell::list(&status["podIPs"]).first().map_or(&status["podIP"], |first| &first["ip"]);
    for text in [ip, &spec["nodeName"], &status["nominatedNodeName"]] {
        out.push(cell::text_or(text, "<none>").into());
    }
    out.push(readiness_gates(pod).into());
}

fn readiness_gates(pod: &Value) -> String {
    let gates = cell::list(&pod["spec"]["readinessGates"]);
    if gates.is_empty() {
        return "<none>".into();
    }
    let passed = gates.iter().filter(|gate| cell::condition_is_true(pod, cell::text(&gate["conditionType"]))).count();
    format!("{passed}/{}", gates.len())
}

struct Summary {
    word: String,
    ready: usize,
    total: usize,
    restarts: i64,
    restarted_at: Option<Timestamp>,
}

impl Summary {
    fn of(pod: &Value) -> Summary {
        let (spec, status) = (&pod["spec"], &pod["status"]);
        let sidecars = cell::list(&spec["initContainers"]).iter().filter(|container| is_sidecar(container)).count();
        let mut summary = Summary {
            word: cell::text_or(&status["reason"], cell::text(&status["phase"])).to_string(),
            ready: 0,
            total: cell::list(&spec["containers"]).len() + sidecars,
            restarts: 0,
            restarted_at: None,
        };
        if is_gated(status) {
            summary.word = "SchedulingGated".into();
        }
        let initializing = summary.init_containers(pod);
        if !initializing || cell::condition_is_true(pod, "Initialized") {
            summary.containers(pod);
        }
        if !pod["metadata"]["deletionTimestamp"].is_null() {
            let ended = matches!(cell::text(&status["phase"]), "Succeeded" | "Failed");
            match cell::text(&status["reason"]) {
                "NodeLost" => summary.word = "Unknown".into(),
                _ if !ended => summary.word = "Terminating".into(),
                _ => {}
            }
        }
        summary
    }

    /// Looks at the init containers up to the first that is not done; true when there is one.
    fn init_containers(&mut self, pod: &Value) -> bool {
        let declared = cell::list(&pod["spec"]["initContainers"]);
        let mut sidecar_restarts = (0, None);
        for (index, container) in cell::list(&pod["status"]["initContainerStatuses"]).iter().enumerate() {
            self.count_restarts(container);
            let sidecar = declared.iter().any(|init| init["name"] == container["name"] && is_sidecar(init));
            if sidecar {
                sidecar_restarts.0 += cell::int(&container["restartCount"]);
                sidecar_restarts.1 = sidecar_restarts.1.max(last_end(container));
            }
            let (terminated, waiting) = (&container["state"]["terminated"], &container["state"]["waiting"]);
            if terminated.is_object() && cell::int(&terminated["exitCode"]) == 0 {
                continue;
            }
            if sidecar && container["started"] == true {
                self.ready += usize::from(container["ready"] == true);
                continue;
            }
            let waiting_for = cell::text(&waiting["reason"]);
            self.word = if terminated.is_object() {
                format!("Init:{}", end_word(terminated))
            } else if !waiting_for.is_empty() && waiting_for != "PodInitializing" {
                format!("Init:{waiting_for}")
            } else {
                format!("Init:{index}/{}", declared.len())
            };
            return true;
        }
        (self.restarts, self.restarted_at) = sidecar_restarts;
        false
    }

    /// Looks at the containers from last to first, so that the first one has the last word.
    fn containers(&mut self, pod: &Value) {
        let (mut running, mut failed) = (false, false);
        for container in cell::list(&pod["status"]["containerStatuses"]).iter().rev() {
            self.count_restarts(container);
            let state = &container["state"];
            let (terminated, waiting_for) = (&state["terminated"], cell::text(&state["waiting"]["reason"]));
            if !waiting_for.is_empty() {
                self.word = waiting_for.to_string();
            } else if terminated.is_object() {
                let word = end_word(terminated);
                if !(failed && word == "Completed") {
                    self.word = word;
                }
                failed |= cell::int(&terminated["exitCode"]) != 0;
            } else if container["ready"] == true && state["running"].is_object() {
                running = true;
                self.ready += 1;
            }
        }
        if self.word == "Completed" && running {
            self.word = if cell::condition_is_true(pod, "Ready") { "Running" } else { "NotReady" }.into();
        }
    }

    fn count_restarts(&mut self, container: &Value) {
        self.restarts += cell::int(&container["restartCount"]);
        self.restarted_at = self.restarted_at.max(last_end(container));
    }
}

fn is_sidecar(init_container: &Value) -> bool {
    cell::text(&init_container["restartPolicy"]) == "Always"
}

fn is_gated(status: &Value) -> bool {
    cell::list(&status["conditions"]).iter().any(|condition| {
        cell::text(&condition["type"]) == "PodScheduled" && cell::text(&condition["reason"]) == "SchedulingGated"
    })
}

/// When the previous run of a container ended.
fn last_end(container: &Value) -> Option<Timestamp> {
    cell::text(&container["lastState"]["terminated"]["finishedAt"]).parse().ok()
}

/// Why a container ended: its reason, else its signal, else its exit code.
fn end_word(terminated: &Value) -> String {
    let reason = cell::text(&terminated["reason"]);
    match (reason, cell::int(&terminated["signal"])) {
        ("", 0) => format!("ExitCode:{}", cell::int(&terminated["exitCode"])),
        ("", signal) => format!("Signal:{signal}"),
        _ => reason.to_string(),
    }
}
