//! Load generators as pods of the cluster: an Indexed Job, one part of the load each, started in step.
//!
//! Their streams are read from the pods' logs and merged into the one that a single generator would have printed, so what
//! records and reports does not know the difference. A log that breaks off is read again from where it broke.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use anyhow::{Context, Result};
use futures::{AsyncBufReadExt, StreamExt};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, LogParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use loadgen::merge::Merger;
use loadgen::scenario::Scenario;
use loadgen::stream::Record;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::generator::shown_at;
use crate::pods;
use crate::problem;
use crate::workload::{MANAGED_BY, MANAGER};

/// The kind that teardown looks for, should a load not have come to remove its Job itself.
pub(crate) const KIND: &str = "batch/v1 Job";
/// From the order to the first request: pods are scheduled, started and resolved in that time.
const LEAD: Duration = Duration::from_secs(8);
/// Beyond that, generators that have said nothing are given up.
const START_LIMIT: Duration = Duration::from_secs(60);
const REREAD_AFTER: Duration = Duration::from_millis(300);
const COMPLAINTS_MAX: usize = 20;
/// By this label the pods of one load are found.
const INSTANCE: &str = "app.kubernetes.io/instance";
/// Where a generator shows Prometheus what it counts.
const METRICS_PORT: u16 = 9100;
const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// What to run, and how often.
pub(crate) struct Order<'o> {
    pub name: String,
    pub namespace: &'o str,
    pub image: &'o str,
    pub generators: u32,
    pub url: &'o str,
    pub scenario: &'o Scenario,
}

pub(crate) struct Fleet {
    jobs: Api<Job>,
    name: String,
    heard: mpsc::Receiver<Heard>,
    merger: Merger,
    merged: VecDeque<String>,
    running: usize,
    begun: bool,
    interrupted: bool,
    give_up: tokio::time::Instant,
    last_trouble: String,
    complaints: VecDeque<String>,
}

/// What comes out of a generator's log, by the generator's index.
enum Heard {
    Said(usize, Box<Record>),
    Complained(usize, String),
    Trouble(String),
    Ended(usize),
}

impl Fleet {
    pub(crate) async fn start(client: &Client, order: &Order<'_>) -> Result<Fleet> {
        let jobs: Api<Job> = Api::namespaced(client.clone(), order.namespace);
        let start_unix_ms = jiff::Timestamp::now().as_millisecond() + i64::try_from(LEAD.as_millis()).unwrap_or(0);
        let job: Job = serde_json::from_value(manifest(order, start_unix_ms)?)?;
        let described = format!("Job {}", order.name);
        jobs.create(&PostParams::default(), &job).await.with_context(|| problem::apply_refused(&described))?;
        let (heard, received) = mpsc::channel(1024);
        let pods: Api<Pod> = Api::namespaced(client.clone(), order.namespace);
        tokio::spawn(listen(pods, format!("{INSTANCE}={}", order.name), heard));
        let count = usize::try_from(order.generators).unwrap_or(usize::MAX);
        Ok(Fleet {
            jobs,
            name: order.name.clone(),
            heard: received,
            merger: Merger::new(count),
            merged: VecDeque::new(),
            running: count,
            begun: false,
            interrupted: false,
            give_up: tokio::time::Instant::now() + LEAD + START_LIMIT,
            last_trouble: String::new(),
            complaints: VecDeque::new(),
        })
    }

    /// The next line of the merged stream; `None` when all generators have said everything.
    pub(crate) async fn next_line(&mut self) -> Result<Option<String>> {
        loop {
            if let Some(line) = self.merged.pop_front() {
                return Ok(Some(line));
            }
            if self.running == 0 {
                return Ok(None);
            }
            let heard = tokio::select! {
                heard = self.heard.recv() => heard,
                () = tokio::time::sleep_until(self.give_up), if !self.begun => {
                    return Err(problem::generators_silent(START_LIMIT.as_secs(), &self.last_trouble).into());
                }
            };
            let Some(heard) = heard else { return Ok(None) };
            self.hear(heard)?;
        }
    }

    fn hear(&mut self, heard: Heard) -> Result<()> {
        let (index, told) = match heard {
            Heard::Said(index, record) => (index, self.merger.take(index, *record)),
            Heard::Ended(index) => {
                self.running -= 1;
                (index, self.merger.end(index))
            }
            Heard::Trouble(what) => {
                self.last_trouble = what;
                return Ok(());
            }
            Heard::Complained(index, line) => {
                self.complaints.push_back(format!("generator {}: {line}", index + 1));
                if self.complaints.len() > COMPLAINTS_MAX {
                    self.complaints.pop_front();
                }
                return Ok(());
            }
        };
        let records = match told {
            Ok(records) => records,
            Err(_) if self.interrupted => return Ok(()),
            Err(why) => return Err(problem::generator_failed(index + 1, &why, &self.complaints()).into()),
        };
        self.begun |= !records.is_empty();
        for record in records {
            self.merged.push_back(serde_json::to_string(&record)?);
        }
        Ok(())
    }

    /// Asks them to end: a deleted Job takes its pods along, each of which prints its summary and exits.
    pub(crate) async fn interrupt(&mut self) {
        self.interrupted = true;
        self.remove().await;
    }

    pub(crate) async fn remove(&self) {
        // Whatever it answers: a Job that stays is removed by its time to live, and by teardown.
        let _ = self.jobs.delete(&self.name, &DeleteParams::background()).await;
    }

    pub(crate) fn complaints(&self) -> String {
        self.complaints.iter().cloned().collect::<Vec<_>>().join("\n")
    }
}

fn manifest(order: &Order<'_>, start_unix_ms: i64) -> Result<Value> {
    let count = order.generators;
    let length_s = order.scenario.load.length().map_or(0, |length| length.as_duration().as_secs());
    let labels = json!({"app.kubernetes.io/name": "swell-loadgen", INSTANCE: order.name, MANAGED_BY: MANAGER});
    let part = format!("$(PART)/{count}");
    let scenario = serde_json::to_string(order.scenario)?;
    let container = json!({
        "name": "loadgen",
        "image": order.image,
        "imagePullPolicy": "IfNotPresent",
        "args": [order.url, "--intervals", "--part", part, "--start-at", start_unix_ms.to_string(),
            "--scenario", scenario, "--metrics", format!("$(POD_IP):{METRICS_PORT}")],
        "ports": [{"name": "metrics", "containerPort": METRICS_PORT}],
        "env": [
            {"name": "PART", "valueFrom": {"fieldRef": {"fieldPath": format!("metadata.annotations['{INDEX}']")}}},
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        ],
        // No limit: a generator that is held back measures itself.
        "resources": {"requests": {"cpu": "50m", "memory": "32Mi"}},
        "securityContext": {"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]}},
    });
    let pod = json!({
        "restartPolicy": "Never",
        "automountServiceAccountToken": false,
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    });
    Ok(json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": order.name, "namespace": order.namespace, "labels": labels},
        "spec": {
            "completions": count, "parallelism": count, "completionMode": "Indexed", "backoffLimit": 0,
            "activeDeadlineSeconds": length_s + LEAD.as_secs() + START_LIMIT.as_secs() + 120,
            "ttlSecondsAfterFinished": 300,
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }))
}

/// Follows each generator's log as soon as there is one.
async fn listen(pods: Api<Pod>, selector: String, heard: mpsc::Sender<Heard>) {
    let mut followed: HashSet<usize> = HashSet::new();
    let mut watch = watcher(pods.clone(), watcher::Config::default().labels(&selector)).default_backoff().boxed();
    while let Some(event) = watch.next().await {
        let (pod, gone) = match event {
            Ok(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod)) => (pod, false),
            Ok(watcher::Event::Delete(pod)) => (pod, true),
            Ok(watcher::Event::Init | watcher::Event::InitDone) | Err(_) => continue,
        };
        let Some(index) = index(&pod) else { continue };
        let name = pods::name(&pod);
        if let Some((reason, message)) = pods::trouble(&pod) {
            let _ = heard.send(Heard::Trouble(format!("{name} {reason} {message}"))).await;
        }
        if gone && followed.insert(index) {
            let _ = heard.send(Heard::Ended(index)).await;
        } else if (pods::has_started(&pod) || has_ended(&pod)) && followed.insert(index) {
            tokio::spawn(follow(pods.clone(), name, index, heard.clone()));
        }
        if heard.is_closed() {
            return;
        }
    }
}

async fn follow(pods: Api<Pod>, name: String, index: usize, heard: mpsc::Sender<Heard>) {
    let params = LogParams { follow: true, ..LogParams::default() };
    let mut delivered = 0;
    let mut last_reading = false;
    loop {
        if let Ok(stream) = pods.log_stream(&name, &params).await {
            let mut lines = stream.lines().enumerate();
            while let Some((at, Ok(line))) = lines.next().await {
                if at < delivered {
                    continue;
                }
                delivered = at + 1;
                let (said, is_last) = match serde_json::from_str::<Record>(&line) {
                    Ok(record) => {
                        let is_last = matches!(record, Record::Summary(_));
                        (Heard::Said(index, Box::new(record)), is_last)
                    }
                    // Whoever scrapes it learns from the pod where.
                    Err(_) if shown_at(&line).is_some() => continue,
                    Err(_) => (Heard::Complained(index, line), false),
                };
                if heard.send(said).await.is_err() {
                    return;
                }
                if is_last {
                    let _ = heard.send(Heard::Ended(index)).await;
                    return;
                }
            }
        }
        // It broke off: the API restarted, or the generator ended without a summary. Only the latter is final.
        let over = match pods.get_opt(&name).await {
            Ok(None) => true,
            Ok(Some(pod)) => has_ended(&pod),
            Err(_) => false,
        };
        if over && last_reading {
            let _ = heard.send(Heard::Ended(index)).await;
            return;
        }
        last_reading = over;
        tokio::time::sleep(REREAD_AFTER).await;
    }
}

fn index(pod: &Pod) -> Option<usize> {
    pod.annotations().get(INDEX).or_else(|| pod.labels().get(INDEX))?.parse().ok()
}

fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pod_of_the_job_is_told_its_part_and_the_common_start() {
        let text = "name: s\ndescription: d\nload: {pattern: constant 5 2s, requests: [{path: /}]}\n";
        let scenario = Scenario::parse(text, std::path::Path::new(".")).unwrap();
        let order = Order {
            name: "swell-load-1".into(),
            namespace: "lab",
            image: "localhost/swell-loadgen:1",
            generators: 3,
            url: "http://10.0.0.1:8080",
            scenario: &scenario,
        };
        let job = manifest(&order, 1_700_000_000_000).unwrap();
        assert_eq!(job["spec"]["completionMode"], "Indexed");
        assert_eq!(job["spec"]["completions"], 3);
        let args: Vec<&str> = job["spec"]["template"]["spec"]["containers"][0]["args"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        assert_eq!(
            args[..6],
            ["http://10.0.0.1:8080", "--intervals", "--part", "$(PART)/3", "--start-at", "1700000000000"]
        );
        let again = Scenario::parse(args[7], std::path::Path::new(".")).unwrap();
        assert_eq!(again, scenario, "the scenario survives its way through the command line");
        assert_eq!(args[8..], ["--metrics", "$(POD_IP):9100"]);
        let pod = &job["spec"]["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "the namespace enforces the restricted standard");
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        assert_eq!(pod["containers"][0]["securityContext"]["capabilities"]["drop"], json!(["ALL"]));
        serde_json::from_value::<Job>(job).unwrap();
    }
}
