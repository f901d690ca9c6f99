//! The workload as it stands: all observations so far, folded into one picture. What `watch` draws and what the live line
//! of `load` says.

use std::collections::BTreeMap;

use crate::observation::{Condition, Observation};

#[derive(Clone, Debug, Default)]
pub(crate) struct Scene {
    pub replicas: i32,
    pub ready: i32,
    pub desired: i32,
    pub min: i32,
    pub max: i32,
    pub usage_percent: Option<i32>,
    pub target_percent: Option<i32>,
    pub conditions: Vec<Condition>,
    pub pods: BTreeMap<String, PodScene>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PodScene {
    pub status: String,
    pub ready: bool,
    pub restarts: i32,
    pub cpu_milli: Option<i64>,
}

impl Scene {
    pub(crate) fn see(&mut self, seen: &Observation) {
        match seen {
            Observation::Autoscaler { desired, min, max, usage_percent, target_percent, conditions, .. } => {
                self.desired = *desired;
                (self.min, self.max) = (*min, *max);
                self.usage_percent = *usage_percent;
                self.target_percent = *target_percent;
                self.conditions.clone_from(conditions);
            }
            Observation::Deployment { replicas, ready, .. } => {
                self.replicas = *replicas;
                self.ready = *ready;
            }
            Observation::Pod { name, gone: true, .. } => {
                self.pods.remove(name);
            }
            Observation::Pod { name, status, ready, restarts, .. } => {
                let pod = self.pods.entry(name.clone()).or_default();
                pod.status.clone_from(status);
                pod.ready = *ready;
                pod.restarts = *restarts;
            }
            Observation::Usage { pods } => {
                for (name, pod) in &mut self.pods {
                    pod.cpu_milli = pods.get(name).copied().or(pod.cpu_milli);
                }
            }
            Observation::Event { .. } | Observation::Interrupted { .. } => {}
        }
    }

    pub(crate) fn has_settled(&self) -> bool {
        self.replicas == self.ready && self.pods.len() == usize::try_from(self.replicas).unwrap_or(0)
    }

    /// `1/1 replicas, CPU 34%/50%`
    pub(crate) fn line(&self) -> String {
        let percent = |value: Option<i32>| value.map_or("?".to_owned(), |value| format!("{value}%"));
        let wanted = if self.desired != self.replicas && self.desired > 0 {
            format!(" (wants {})", self.desired)
        } else {
            String::new()
        };
        format!(
            "{}/{} ready{wanted}, CPU {}/{}",
            self.ready,
            self.replicas,
            percent(self.usage_percent),
            percent(self.target_percent)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, gone: bool) -> Observation {
        Observation::Pod { name: name.into(), status: "Running".into(), ready: true, restarts: 0, gone }
    }

    #[test]
    fn a_pod_that_is_gone_leaves_the_scene() {
        let mut scene = Scene::default();
        scene.see(&Observation::Deployment { replicas: 1, ready: 1, available: 1 });
        scene.see(&pod("a", false));
        scene.see(&pod("b", false));
        assert!(!scene.has_settled());
        scene.see(&pod("b", true));
        assert!(scene.has_settled());
    }

    #[test]
    fn the_line_says_what_the_autoscaler_wants_only_when_it_differs() {
        let mut scene = Scene { replicas: 2, ready: 1, desired: 2, ..Scene::default() };
        assert_eq!(scene.line(), "1/2 ready, CPU ?/?");
        (scene.desired, scene.usage_percent, scene.target_percent) = (4, Some(90), Some(50));
        assert_eq!(scene.line(), "1/2 ready (wants 4), CPU 90%/50%");
    }
}
