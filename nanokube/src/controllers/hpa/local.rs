//! The HPA controller over the cluster it lives in, on a thread of its own.

use std::time::Duration;

use autoscaler::pass::ScaleError;
use autoscaler::spec::ObjectRef;
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::watch;

use super::answer::{Answer, Refusal};
use super::pass::Hpas;
use super::{Flags, HPAS, World};
use crate::api::aggregate;
use crate::cluster::{Cluster, Part, Writer, scale_of};
use crate::controllers::action::Event;
use crate::controllers::event_recorder::EventRecorder;
use crate::controllers::pod::PODS;
use crate::metrics::{Metrics, body};
use crate::object::{self, Object};
use crate::selector::LabelSelector;
use crate::status::ApiError;

/// `(namespace, label selector)` to the items of a PodMetricsList.
pub type PodMetricsSource = Box<dyn Fn(&str, &LabelSelector) -> Result<Vec<Value>, String> + Send>;
/// GET of a path below custom.metrics.k8s.io or external.metrics.k8s.io; may block.
pub type AggregatedSource = Box<dyn Fn(&str) -> Answer + Send>;

/// Where samples come from.
pub struct Sources {
    pub pod_metrics: PodMetricsSource,
    pub aggregated: AggregatedSource,
}

impl Sources {
    /// The node's own measurements, and the metrics APIs that are registered. Must be called inside a tokio runtime.
    pub fn of_node(cluster: Cluster, metrics: Metrics) -> Sources {
        let (runtime, aggregator) = (tokio::runtime::Handle::current(), cluster.clone());
        let aggregated = move |path: &str| {
            let (code, body) = runtime.block_on(aggregate::get(&aggregator, path));
            Answer { code, body: body.into() }
        };
        let pod_metrics = move |namespace: &str, selector: &LabelSelector| {
            let now = cluster.now();
            let measured = metrics.pods(Some(namespace)).into_iter().filter_map(|measured| {
                let pod = cluster.get(PODS, namespace, &measured.name)?;
                selector.matches_object(&pod).then(|| body::pod(&measured, &pod, now))
            });
            Ok(measured.collect())
        };
        Sources { pod_metrics: Box::new(pod_metrics), aggregated: Box::new(aggregated) }
    }
}

pub struct LocalWorld {
    cluster: Cluster,
    sources: Sources,
    recorder: EventRecorder,
}

/// The controller on its thread; dropping the handle lets it run on.
pub struct Running {
    stop: watch::Sender<bool>,
    thread: std::thread::JoinHandle<()>,
}

impl Running {
    /// Ends the controller after the pass it is in.
    pub fn stop(self) {
        self.stop.send_replace(true);
        if self.thread.join().is_err() {
            eprintln!("hpa: the controller had panicked");
        }
    }
}

/// Starts the controller. Must be called inside a tokio runtime.
pub fn start(cluster: Cluster, sources: Sources, flags: &Flags) -> std::io::Result<Running> {
    let hpas = Hpas::new(LocalWorld::new(cluster.clone(), sources), flags);
    let (stop, stopped) = watch::channel(false);
    let runtime = tokio::runtime::Handle::current();
    let run = move || runtime.block_on(run(cluster, hpas, stopped));
    let thread = std::thread::Builder::new().name("hpa".to_owned()).spawn(run)?;
    Ok(Running { stop, thread })
}

/// A round whenever an HPA changes (a new one must be seen at once) and whenever a pass is due.
async fn run(cluster: Cluster, mut hpas: Hpas<LocalWorld>, mut stopped: watch::Receiver<bool>) {
    let mut changes = cluster.watch(HPAS, None, cluster.revision());
    while !*stopped.borrow() {
        let next = tokio::task::block_in_place(|| hpas.round());
        let wait = next.map_or(Duration::from_secs(3600), |at| {
            Duration::try_from(at.duration_since(cluster.now())).unwrap_or(Duration::ZERO)
        });
        let fallen_off = match &mut changes {
            Ok(changes) => tokio::select! {
                _ = stopped.changed() => return,
                fresh = changes.next() => fresh.is_err(),
                () = tokio::time::sleep(wait) => false,
            },
            Err(_) => true,
        };
        if fallen_off {
            changes = cluster.watch(HPAS, None, cluster.revision());
        }
    }
}

impl LocalWorld {
    pub fn new(cluster: Cluster, sources: Sources) -> LocalWorld {
        LocalWorld { cluster, sources, recorder: EventRecorder::default() }
    }
}

impl World for LocalWorld {
    fn now(&self) -> Timestamp {
        self.cluster.now()
    }

    fn hpas(&self) -> Result<Vec<Object>, String> {
        Ok(self.cluster.list(HPAS, None).items)
    }

    fn hpa(&self, namespace: &str, name: &str) -> Result<Option<Object>, String> {
        Ok(self.cluster.get(HPAS, namespace, name))
    }

    fn scale(&self, namespace: &str, target: &ObjectRef) -> Result<(String, Value), ScaleError> {
        let group = target.api_version.split_once('/').map_or("", |(group, _)| group);
        let kinds = self.cluster.kinds();
        let mut first_error = None;
        for kind in kinds.kinds().filter(|kind| kind.kind == target.kind && kind.group() == group) {
            let error = if !kind.has_subresource("scale") {
                "the server could not find the requested resource".to_owned()
            } else if let Some(object) = self.cluster.get(&kind.resource, namespace, &target.name) {
                return Ok((kind.resource.clone(), scale_of(kind, &object)));
            } else {
                ApiError::not_found(&kind.resource, &target.name).message
            };
            first_error.get_or_insert(error);
        }
        Err(match first_error {
            Some(error) => ScaleError::Unreadable(error),
            None => ScaleError::UnknownKind(no_matches(group, &target.kind)),
        })
    }

    fn write_scale(&self, resource: &str, scale: Value) -> Result<(), Refusal> {
        let (namespace, name) = (object::namespace(&scale).to_owned(), object::name(&scale).to_owned());
        Ok(self.cluster.update(resource, &namespace, &name, scale, Part::Scale, &writer()).map(drop)?)
    }

    fn pods(&self, namespace: &str, selector: &str) -> Result<Vec<Object>, String> {
        let Ok(selector) = LabelSelector::parse(selector) else { return Ok(Vec::new()) };
        let pods = self.cluster.list(PODS, Some(namespace)).items;
        Ok(pods.into_iter().filter(|pod| selector.matches_object(pod)).collect())
    }

    fn pod_metrics(&self, namespace: &str, selector: &str) -> Result<Vec<Value>, String> {
        let selector = LabelSelector::parse(selector).map_err(|error| error.message)?;
        (self.sources.pod_metrics)(namespace, &selector)
    }

    fn resource_of(&self, group: &str, kind: &str) -> Result<String, String> {
        let kinds = self.cluster.kinds();
        let found = kinds.kinds().find(|it| it.kind == kind && it.group() == group);
        found.map(|kind| kind.resource.clone()).ok_or_else(|| no_matches(group, kind))
    }

    fn versions(&self, group: &str) -> Result<Vec<String>, String> {
        let groups = aggregate::groups(&self.cluster).into_iter();
        Ok(groups.filter(|(name, _)| name == group).flat_map(|(_, versions)| versions).collect())
    }

    fn get(&self, path: &str) -> Result<Answer, String> {
        Ok((self.sources.aggregated)(path))
    }

    fn write_status(&self, hpa: Value) -> Result<(), Refusal> {
        let (namespace, name) = (object::namespace(&hpa).to_owned(), object::name(&hpa).to_owned());
        Ok(self.cluster.update(HPAS, &namespace, &name, hpa, Part::Status, &writer()).map(drop)?)
    }

    fn record(&mut self, event: Event) {
        let now = self.cluster.now();
        self.recorder.record(&self.cluster, event, now);
    }

    fn pause(&self) {
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What upstream's mapper says of a kind that nobody serves.
pub(super) fn no_matches(group: &str, kind: &str) -> String {
    format!("no matches for kind {kind:?} in group {group:?}")
}

fn writer() -> Writer {
    Writer::controller("kube-controller-manager")
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Refusal {
        Refusal { code: error.code, message: error.message }
    }
}
