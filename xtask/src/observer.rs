//! Watches a workload and tells what changes: the autoscaler, the Deployment, its pods, their CPU, the events.
//!
//! Everything that can be watched is watched; the metrics API cannot, so it is asked once a second. A watch that breaks
//! (the API restarts) is told and set up again. States that did not change are not told twice.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures::stream::{BoxStream, SelectAll};
use futures::{Stream, StreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use serde::Deserialize;

use crate::observation::{self, Observation};
use crate::workload::{Workload, milli_cpu};

const USAGE_PERIOD: Duration = Duration::from_secs(1);

pub(crate) fn observe(
    client: &Client,
    workload: &Workload,
    selector: &str,
) -> impl Stream<Item = Observation> + Unpin + use<> {
    let mut all: SelectAll<BoxStream<'static, Observation>> = SelectAll::new();
    all.push(autoscaler(client, workload));
    all.push(deployment(client, workload));
    all.push(pods(client, workload, selector));
    all.push(events(client, workload));
    all.push(usage(client, workload, selector));
    let mut last: HashMap<String, Observation> = HashMap::new();
    all.filter(move |seen| {
        // A watch that tells again may break again.
        if let Some(watch) = watch_of(seen) {
            last.remove(&interruption_of(watch));
        }
        let fresh = match subject(seen) {
            Some(subject) => last.insert(subject, seen.clone()).as_ref() != Some(seen),
            None => true,
        };
        std::future::ready(fresh)
    })
}

/// What an observation is a state of; `None` for things that happen rather than are.
fn subject(seen: &Observation) -> Option<String> {
    match seen {
        Observation::Autoscaler { .. } => Some("autoscaler".to_owned()),
        Observation::Deployment { .. } => Some("deployment".to_owned()),
        Observation::Pod { name, .. } => Some(format!("pod/{name}")),
        Observation::Usage { .. } => Some("usage".to_owned()),
        // A watch is tried again and again; that it still fails is no news.
        Observation::Interrupted { what, .. } => Some(interruption_of(what)),
        Observation::Event { .. } => None,
    }
}

/// The watch that an observation comes from, as its interruptions call it.
fn watch_of(seen: &Observation) -> Option<&'static str> {
    match seen {
        Observation::Autoscaler { .. } => Some("autoscaler"),
        Observation::Deployment { .. } => Some("deployment"),
        Observation::Pod { .. } => Some("pods"),
        Observation::Event { .. } => Some("events"),
        Observation::Usage { .. } | Observation::Interrupted { .. } => None,
    }
}

fn interruption_of(watch: &str) -> String {
    format!("interrupted/{watch}")
}

fn autoscaler(client: &Client, workload: &Workload) -> BoxStream<'static, Observation> {
    let api: Api<HorizontalPodAutoscaler> = Api::namespaced(client.clone(), &workload.namespace);
    let named = watcher::Config::default().fields(&format!("metadata.name={}", workload.hpa));
    watcher(api, named)
        .default_backoff()
        .touched_objects()
        .map(|seen| told("autoscaler", seen.as_ref().map(observation::of_autoscaler)))
        .boxed()
}

fn deployment(client: &Client, workload: &Workload) -> BoxStream<'static, Observation> {
    let api: Api<Deployment> = Api::namespaced(client.clone(), &workload.namespace);
    let named = watcher::Config::default().fields(&format!("metadata.name={}", workload.deployment));
    watcher(api, named)
        .default_backoff()
        .touched_objects()
        .map(|seen| told("deployment", seen.as_ref().map(observation::of_deployment)))
        .boxed()
}

/// After a watch broke, pods that are not listed again have gone meanwhile.
fn pods(client: &Client, workload: &Workload, selector: &str) -> BoxStream<'static, Observation> {
    let api: Api<Pod> = Api::namespaced(client.clone(), &workload.namespace);
    let selected = watcher::Config::default().labels(selector);
    let mut roll = Roll::default();
    watcher(api, selected)
        .default_backoff()
        .flat_map(move |event| {
            let seen = match event {
                Ok(event) => roll.call(event),
                Err(error) => vec![interrupted("pods", &error)],
            };
            futures::stream::iter(seen)
        })
        .boxed()
}

/// The pods that are there, as far as a watch has told.
#[derive(Default)]
struct Roll {
    present: HashMap<String, Pod>,
    /// Present before the watch was set up again, and not listed since.
    unconfirmed: HashMap<String, Pod>,
}

impl Roll {
    fn call(&mut self, event: watcher::Event<Pod>) -> Vec<Observation> {
        match event {
            watcher::Event::Init => {
                self.unconfirmed = std::mem::take(&mut self.present);
                Vec::new()
            }
            watcher::Event::Apply(pod) | watcher::Event::InitApply(pod) => {
                self.unconfirmed.remove(&pod.name_any());
                let seen = observation::of_pod(&pod, false);
                self.present.insert(pod.name_any(), pod);
                vec![seen]
            }
            watcher::Event::Delete(pod) => {
                self.present.remove(&pod.name_any());
                vec![observation::of_pod(&pod, true)]
            }
            watcher::Event::InitDone => {
                self.unconfirmed.drain().map(|(_, pod)| observation::of_pod(&pod, true)).collect()
            }
        }
    }
}

/// Events that were there before are history, not news; after a watch broke, those already told are left out.
fn events(client: &Client, workload: &Workload) -> BoxStream<'static, Observation> {
    let api: Api<Event> = Api::namespaced(client.clone(), &workload.namespace);
    let mut told_versions: HashMap<String, Option<String>> = HashMap::new();
    let mut first_list = true;
    watcher(api, watcher::Config::default())
        .default_backoff()
        .filter_map(move |event| {
            let seen = match event {
                Ok(watcher::Event::Apply(event)) => news(&mut told_versions, &event),
                Ok(watcher::Event::InitApply(event)) => news(&mut told_versions, &event).filter(|_| !first_list),
                Ok(watcher::Event::InitDone) => {
                    first_list = false;
                    None
                }
                Ok(watcher::Event::Init | watcher::Event::Delete(_)) => None,
                Err(error) => Some(interrupted("events", &error)),
            };
            std::future::ready(seen)
        })
        .boxed()
}

fn news(told: &mut HashMap<String, Option<String>>, event: &Event) -> Option<Observation> {
    let version = event.resource_version();
    let before = told.insert(event.name_any(), version.clone());
    (before != Some(version)).then(|| observation::of_event(event))
}

fn usage(client: &Client, workload: &Workload, selector: &str) -> BoxStream<'static, Observation> {
    let client = client.clone();
    let namespace = workload.namespace.clone();
    let selector = selector.to_owned();
    let mut ticks = tokio::time::interval(USAGE_PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    futures::stream::unfold((client, namespace, selector, ticks), |(client, namespace, selector, mut ticks)| async {
        ticks.tick().await;
        // Metrics come and go with the cluster; the watches tell of a break, so this one keeps silent.
        let pods = pod_usage(&client, &namespace, &selector).await.unwrap_or_default();
        Some((Observation::Usage { pods }, (client, namespace, selector, ticks)))
    })
    .filter(|seen| std::future::ready(!matches!(seen, Observation::Usage { pods } if pods.is_empty())))
    .boxed()
}

/// CPU by pod from metrics.k8s.io, in thousandths of a core.
pub(crate) async fn pod_usage(
    client: &Client,
    namespace: &str,
    selector: &str,
) -> Result<BTreeMap<String, i64>, kube::Error> {
    let query: String = selector.chars().flat_map(percent_encoded).collect();
    let uri = format!("/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods?labelSelector={query}");
    let request = http::Request::get(uri).body(Vec::new()).map_err(kube::Error::HttpError)?;
    let listed: PodMetricsList = client.request(request).await?;
    let used = listed.items.into_iter().map(|pod| {
        let milli = pod.containers.iter().filter_map(|container| milli_cpu(container.usage.get("cpu")?)).sum();
        (pod.metadata.name, milli)
    });
    Ok(used.collect())
}

#[derive(Deserialize)]
struct PodMetricsList {
    items: Vec<PodMetrics>,
}

#[derive(Deserialize)]
struct PodMetrics {
    metadata: Named,
    containers: Vec<ContainerMetrics>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct ContainerMetrics {
    usage: BTreeMap<String, String>,
}

fn told(what: &str, seen: Result<Observation, &watcher::Error>) -> Observation {
    seen.unwrap_or_else(|error| interrupted(what, error))
}

fn interrupted(what: &str, error: &watcher::Error) -> Observation {
    Observation::Interrupted { what: what.to_owned(), why: error.to_string() }
}

fn percent_encoded(c: char) -> Vec<char> {
    if c.is_ascii_alphanumeric() || "-._~".contains(c) {
        return vec![c];
    }
    let mut buffer = [0; 4];
    c.encode_utf8(&mut buffer).bytes().flat_map(|byte| format!("%{byte:02X}").chars().collect::<Vec<_>>()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_that_went_while_the_watch_was_broken_is_told_as_gone() {
        let pod = |name: &str| Pod {
            metadata: kube::api::ObjectMeta { name: Some(name.to_owned()), ..Default::default() },
            ..Pod::default()
        };
        let gone = |seen: &[Observation]| -> Vec<String> {
            let gone = seen.iter().filter_map(|seen| match seen {
                Observation::Pod { name, gone: true, .. } => Some(name.clone()),
                _ => None,
            });
            gone.collect()
        };
        let mut roll = Roll::default();
        let mut call = |event| gone(&roll.call(event));
        assert_eq!(call(watcher::Event::Init), [""; 0]);
        for name in ["a", "b", "c"] {
            call(watcher::Event::InitApply(pod(name)));
        }
        assert_eq!(call(watcher::Event::InitDone), [""; 0]);
        assert_eq!(call(watcher::Event::Delete(pod("c"))), ["c"]);
        call(watcher::Event::Init);
        call(watcher::Event::InitApply(pod("b")));
        assert_eq!(call(watcher::Event::InitDone), ["a"]);
    }
}
