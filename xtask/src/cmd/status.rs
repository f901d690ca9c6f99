//! `status`: what is set up and how it is. A pod that crashes shows its reason and its last log lines.

use anyhow::Result;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};

use crate::cli::{Output, OutputArgs};
use crate::cluster::{self, Cluster};
use crate::lab::Lab;
use crate::observation::{self, Observation};
use crate::observer;
use crate::pods;
use crate::scene::Scene;
use crate::session::Session;
use crate::terminal::Ink;
use crate::wait;
use crate::workload::Facts;

const LOG_LINES: i64 = 5;

pub(crate) async fn run(lab: &Lab<'_>, args: &OutputArgs) -> Result<u8> {
    let session = lab.session()?;
    let picture = Picture::take(lab, &session).await?;
    match args.output {
        Output::Json => lab.terminal.line(&picture.json(&session).to_string()),
        Output::Text => picture.show(lab, &session),
    }
    Ok(u8::from(!picture.troubles.is_empty()))
}

struct Picture {
    condition: String,
    scene: Scene,
    url: Option<String>,
    troubles: Vec<Trouble>,
}

struct Trouble {
    pod: String,
    reason: String,
    message: String,
    log: String,
}

impl Picture {
    async fn take(lab: &Lab<'_>, session: &Session) -> Result<Picture> {
        let cluster = Cluster::of_session(&lab.workspace, session)?;
        let condition = cluster.condition();
        let client = cluster::connect_to_look(session).await?;
        let workload = session.workload()?;
        let facts = Facts::read(&client, workload).await?;
        let namespace = workload.namespace.as_str();
        let mut scene = Scene::default();
        let hpa: HorizontalPodAutoscaler = Api::namespaced(client.clone(), namespace).get(&workload.hpa).await?;
        scene.see(&observation::of_autoscaler(&hpa));
        scene.see(&observation::of_deployment(
            &Api::namespaced(client.clone(), namespace).get(&workload.deployment).await?,
        ));
        let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
        let listed = api.list(&ListParams::default().labels(&facts.selector)).await?;
        let mut troubles = Vec::new();
        for pod in &listed.items {
            scene.see(&observation::of_pod(pod, false));
            if let Some((reason, message)) = pods::trouble(pod) {
                let log = wait::last_lines(&api, &pods::name(pod), LOG_LINES).await.unwrap_or_default();
                troubles.push(Trouble { pod: pods::name(pod), reason, message, log });
            }
        }
        // Metrics may not be there yet; the table then shows a dash.
        if let Ok(pods) = observer::pod_usage(&client, namespace, &facts.selector).await {
            scene.see(&Observation::Usage { pods });
        }
        let node_port = facts.node_port.as_ref().map(|(address, port)| (address.as_str(), *port));
        let url = match cluster.reach(namespace, &workload.service, node_port)? {
            cluster::Reach::Direct(url) => Some(url),
            cluster::Reach::Forward => None,
        };
        Ok(Picture { condition, scene, url, troubles })
    }

    fn show(&self, lab: &Lab<'_>, session: &Session) {
        let terminal = lab.terminal;
        terminal.line(&format!("cluster    {}: {}", session.provider.name(), self.condition));
        let pace = session.pace.name();
        terminal.line(&format!("namespace  {} (environment {}, pace {pace})", session.namespace, session.environment));
        let reach = self.url.clone().unwrap_or_else(|| lab.command("forward"));
        terminal.line(&format!("service    {reach}"));
        terminal.line(&format!("autoscaler {}, bounds {} to {}", self.scene.line(), self.scene.min, self.scene.max));
        for condition in &self.scene.conditions {
            terminal.say(&format!("           {} {}: {}", condition.kind, condition.reason, condition.message));
        }
        for (name, pod) in &self.scene.pods {
            let cpu = pod.cpu_milli.map_or("-".to_owned(), |milli| format!("{milli}m"));
            let ready = if pod.ready { "ready" } else { "not ready" };
            terminal
                .line(&format!("pod        {name}  {} ({ready}), restarts {}, CPU {cpu}", pod.status, pod.restarts));
        }
        for trouble in &self.troubles {
            let headline = format!("{}: {} {}", trouble.pod, trouble.reason, trouble.message);
            terminal.line(&terminal.paint(Ink::Bad, &headline));
            trouble.log.lines().for_each(|line| terminal.line(&format!("    {line}")));
        }
        if !self.troubles.is_empty() {
            terminal.line(&format!("  more: {}", lab.command("logs --previous")));
        }
    }

    fn json(&self, session: &Session) -> Value {
        let pods: Vec<Value> = self
            .scene
            .pods
            .iter()
            .map(|(name, pod)| {
                json!({"name": name, "status": pod.status, "ready": pod.ready, "restarts": pod.restarts,
                    "cpuMilli": pod.cpu_milli})
            })
            .collect();
        let troubles: Vec<Value> = self
            .troubles
            .iter()
            .map(|t| json!({"pod": t.pod, "reason": t.reason, "message": t.message, "log": t.log}))
            .collect();
        json!({"version": 1, "session": session, "cluster": self.condition, "url": self.url,
            "replicas": self.scene.replicas, "ready": self.scene.ready, "desired": self.scene.desired,
            "usagePercent": self.scene.usage_percent, "targetPercent": self.scene.target_percent,
            "conditions": self.scene.conditions, "pods": pods, "troubles": troubles})
    }
}
