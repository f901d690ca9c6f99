//! What the kubelet knows about the containers of one pod: plain data, from which the status is written.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::RunningContainer;

/// What kind of container it is, which decides when it starts and whether it starts again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Init,
    /// An init container with `restartPolicy: Always`.
    Sidecar,
    Main,
}

#[derive(Clone)]
pub(super) enum Phase {
    Waiting { reason: String, message: String },
    Running { since: Timestamp, handle: RunningContainer },
    Terminated(Ended),
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) exit_code: i32,
    pub(super) signal: Option<i32>,
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) started_at: Timestamp,
    pub(super) finished_at: Timestamp,
    pub(super) container_id: String,
}

#[derive(Clone)]
pub(super) struct ContainerState {
    pub(super) role: Role,
    pub(super) phase: Phase,
    pub(super) last: Option<Ended>,
    pub(super) restarts: u32,
    pub(super) ready: bool,
    pub(super) started: bool,
    pub(super) image_id: String,
    pub(super) container_id: String,
}

impl ContainerState {
    pub(super) fn new(role: Role) -> ContainerState {
        ContainerState {
            role,
            phase: Phase::Waiting { reason: String::new(), message: String::new() },
            last: None,
            restarts: 0,
            ready: false,
            started: false,
            image_id: String::new(),
            container_id: String::new(),
        }
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running { .. })
    }

    pub(super) fn ended(&self) -> Option<&Ended> {
        match &self.phase {
            Phase::Terminated(ended) => Some(ended),
            _ => None,
        }
    }
}

/// By container name.
#[derive(Clone, Default)]
pub(in crate::node) struct States(pub(super) BTreeMap<String, ContainerState>);

impl States {
    /// Running containers with their start.
    pub(in crate::node) fn running(&self) -> Vec<(String, Timestamp, RunningContainer)> {
        let running = self.0.iter().filter_map(|(name, state)| match &state.phase {
            Phase::Running { since, handle } => Some((name.clone(), *since, handle.clone())),
            _ => None,
        });
        running.collect()
    }
}
