//! What a real v1.36 cluster was recorded to do, played in virtual time: the real controller over the real store, with the
//! real rules of metrics-server over modelled pods. With the recording's phases the path is the recorded one; with
//! random phases (when the HPA came, when scrapes come, how long a pod takes to start) the recording lies inside the range.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

use super::super::local::{LocalWorld, Sources};
use super::super::pass::Hpas;
use super::super::{Flags, HPAS};
use crate::cluster::DeleteOptions;
use crate::controllers::deployment::DEPLOYMENTS;
use crate::controllers::lab::{Lab, deployment};
use crate::controllers::pod::PODS;
use crate::metrics::{ContainerKey, Metrics, Reading};
use crate::object;

const SYNC_S: f64 = 15.0;
const CONTAINER: &str = "work";
/// Sixty of them are a period of the recorded controller: 15 s and what a pass takes.
const STEP_S: f64 = 0.25026;
/// 100 requests a second of 7.4 ms each, for three minutes, over pods that may take half a core.
const LOAD_MILLI: f64 = 740.0;
const LOAD_S: f64 = 180.0;
const LIMIT_MILLI: f64 = 500.0;
const IDLE_MILLI: f64 = 0.9;
const LEAVING_S: f64 = 4.7;
const END_S: f64 = 530.0;

/// Seconds after the load's start, and replicas from then on.
type Path = Vec<(f64, i64)>;
/// A figure of a path.
type Fact = fn(&[(f64, i64)]) -> f64;
/// As recorded.
const RECORDED: [(f64, i64); 4] = [(19.59, 4), (34.61, 5), (49.65, 7), (485.07, 1)];

/// In seconds after the load's start.
pub(super) struct Phases {
    applied: f64,
    /// One of the scrapes.
    scrape: f64,
    /// When the first pods start and are ready; the others do some time after they were made.
    pub(super) lives: Cow<'static, [(f64, f64)]>,
}

pub(super) const RECORDED_PHASES: Phases = Phases {
    applied: -85.55,
    scrape: 1.07,
    lives: Cow::Borrowed(&[
        (-85.09, -85.07),
        (20.23, 20.27),
        (20.73, 20.89),
        (20.73, 21.81),
        (35.21, 36.29),
        (50.41, 50.62),
        (50.51, 50.82),
    ]),
};
/// The load began so far into a second; all that is stamped is stamped in whole ones.
const RECORDED_FRACTION: f64 = 0.72;

/// A pod as its node would see it.
struct Life {
    starts: f64,
    ready: f64,
    gone: Option<f64>,
    cpu_ns: f64,
    is_running: bool,
    is_ready: bool,
}

pub(super) struct Timeline {
    pub(super) lab: Lab,
    hpas: Hpas<LocalWorld>,
    pub(super) metrics: Metrics,
    lives: BTreeMap<String, Life>,
    random: SmallRng,
    load_began: Timestamp,
    path: Path,
    settled: u64,
    pub(super) runtime: tokio::runtime::Runtime,
}

fn play(phases: &Phases, seed: u64) -> Path {
    let mut timeline = Timeline::new(phases, seed);
    timeline.apply();
    timeline.run(phases, |_, _| {});
    timeline.path
}

impl Timeline {
    /// At the moment of the apply.
    pub(super) fn new(phases: &Phases, seed: u64) -> Timeline {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let entered = runtime.enter();
        let mut lab = Lab::new();
        let mut random = SmallRng::seed_from_u64(seed);
        let fraction = if phases.lives.is_empty() { random.random::<f64>() } else { RECORDED_FRACTION };
        let load_began = lab.now() + SignedDuration::from_secs_f64(200.0 + fraction);
        lab.set_now(load_began + SignedDuration::from_secs_f64(phases.applied));
        let metrics = Metrics::new(std::time::Duration::from_secs(15));
        let sources = Sources::of_node(lab.cluster.clone(), metrics.clone());
        drop(entered);
        let hpas = Hpas::new(LocalWorld::new(lab.cluster.clone(), sources), &Flags::default());
        let (lives, path, settled) = (BTreeMap::new(), Path::new(), 0);
        Timeline { lab, hpas, metrics, lives, random, load_began, path, settled, runtime }
    }

    pub(super) fn apply(&mut self) {
        let mut work = deployment(1);
        work["metadata"]["name"] = "work".into();
        let resources = json!({ "requests": { "cpu": "200m" }, "limits": { "cpu": "500m" } });
        let container = json!({ "name": CONTAINER, "image": "localhost/work:1", "resources": resources });
        work["spec"]["template"]["spec"]["containers"] = json!([container]);
        self.lab.create(DEPLOYMENTS, work);
        let target = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "work" });
        let half = json!({ "type": "Utilization", "averageUtilization": 50 });
        let cpu = json!({ "type": "Resource", "resource": { "name": "cpu", "target": half } });
        let spec = json!({ "scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 10, "metrics": [cpu] });
        self.lab.create(HPAS, json!({ "metadata": { "name": "work" }, "spec": spec }));
    }

    /// Until some time after the scale-down; `look` sees every step, and its second.
    pub(super) fn run(&mut self, phases: &Phases, mut look: impl FnMut(&Timeline, f64)) {
        let (mut at, mut replicas) = (phases.applied, 1);
        let mut scrape = phases.scrape - (phases.scrape - at).div_euclid(SYNC_S) * SYNC_S;
        while at < END_S {
            self.lab.set_now(self.load_began + SignedDuration::from_secs_f64(at));
            self.run_pods(at, &phases.lives);
            self.settle();
            self.consume(at);
            if at >= scrape {
                self.scrape();
                scrape += SYNC_S;
            }
            self.hpas.round();
            let now = object::i64_at(&self.lab.get(DEPLOYMENTS, "work"), "/spec/replicas").unwrap();
            if now != replicas {
                replicas = now;
                self.path.push((at, now));
            }
            look(self, at);
            at += STEP_S;
        }
    }

    fn settle(&mut self) {
        while self.lab.cluster.revision() != self.settled {
            self.settled = self.lab.cluster.revision();
            self.lab.settle();
        }
    }

    /// Pods start, become ready and leave, each in its own time, within what was recorded.
    fn run_pods(&mut self, at: f64, recorded: &[(f64, f64)]) {
        for pod in self.lab.list(PODS) {
            let name = object::name(&pod).to_owned();
            let (random, known) = (&mut self.random, self.lives.len());
            let life = self.lives.entry(name.clone()).or_insert_with(|| {
                let starts = at + random.random_range(0.5..1.2);
                let (starts, ready) =
                    recorded.get(known).copied().unwrap_or((starts, starts + random.random_range(0.02..1.0)));
                Life { starts, ready, gone: None, cpu_ns: 0.0, is_running: false, is_ready: false }
            });
            let stamp = |seconds: f64| object::time(self.load_began + SignedDuration::from_secs_f64(seconds));
            if object::is_deleting(&pod) && *life.gone.get_or_insert(at + LEAVING_S) <= at {
                let now = DeleteOptions { grace_period_s: Some(0), ..DeleteOptions::default() };
                self.lab.delete(PODS, "default", &name, now);
                self.lives.remove(&name);
                continue;
            }
            let (runs, ready) = (at >= life.starts, at >= life.ready);
            if (runs, ready) == (life.is_running, life.is_ready) {
                continue;
            }
            (life.is_running, life.is_ready) = (runs, ready);
            let (status, since) = if ready { ("True", life.ready) } else { ("False", life.starts) };
            let condition = json!({ "type": "Ready", "status": status, "lastTransitionTime": stamp(since) });
            let start_time = pod["metadata"]["creationTimestamp"].clone();
            let status = json!({ "phase": "Running", "startTime": start_time, "conditions": [condition] });
            self.lab.status(PODS, "default", &name, status);
        }
    }

    /// Ready pods share the load, up to their limit.
    fn consume(&mut self, at: f64) {
        let serving = self.lives.values().filter(|life| life.is_ready && life.gone.is_none()).count().max(1);
        let load = if (0.0..LOAD_S).contains(&at) { LOAD_MILLI / serving as f64 } else { 0.0 };
        for life in self.lives.values_mut().filter(|life| life.is_running) {
            let serves = life.is_ready && life.gone.is_none();
            let usage_milli = if serves { (load + IDLE_MILLI).min(LIMIT_MILLI) } else { IDLE_MILLI };
            life.cpu_ns += usage_milli * 1e6 * STEP_S;
        }
    }

    fn scrape(&mut self) {
        let at = self.lab.now();
        let readings = self.lives.iter().filter(|(_, life)| life.is_running).map(|(name, life)| {
            let (namespace, pod, container) = ("default".to_owned(), name.clone(), CONTAINER.to_owned());
            let started = self.load_began + SignedDuration::from_secs_f64(life.starts);
            let reading = Reading { at, started, cpu_ns: life.cpu_ns as u64, memory_bytes: 1 << 20 };
            (ContainerKey { namespace, pod, container }, reading)
        });
        self.metrics.scrape(readings.collect(), None);
    }
}

#[test]
fn with_the_recordings_phases_the_path_is_the_recorded_one() {
    let path = play(&RECORDED_PHASES, 0);
    let sizes = |path: &[(f64, i64)]| path.iter().map(|(_, size)| *size).collect::<Vec<i64>>();
    assert_eq!(sizes(&path), sizes(&RECORDED), "{path:?}");
    assert!(path.iter().zip(&RECORDED).all(|((at, _), (recorded, _))| (at - recorded).abs() < 1.0), "{path:?}");
}

#[test]
fn with_random_phases_the_recording_lies_inside_the_range_of_runs() {
    let mut random = SmallRng::seed_from_u64(7);
    let paths: Vec<Path> = (0..12)
        .map(|seed| {
            let applied = -80.0 - random.random_range(0.0..SYNC_S);
            play(&Phases { applied, scrape: random.random_range(0.0..SYNC_S), lives: Cow::Borrowed(&[]) }, seed)
        })
        .collect();
    let facts: [(&str, Fact); 5] = [
        ("the first rescale, s", |path| path[0].0),
        ("its size", |path| path[0].1 as f64),
        ("the greatest size", |path| path.iter().map(|(_, size)| *size).max().unwrap() as f64),
        ("the last scale-up, s", |path| path.iter().rfind(|(at, _)| *at < LOAD_S).unwrap().0),
        ("the first scale-down after the load, s", |path| path.iter().find(|(at, _)| *at > LOAD_S).unwrap().0),
    ];
    for (what, fact) in facts {
        let seen = || paths.iter().map(|path| fact(path));
        let (least, most) = (seen().fold(f64::MAX, f64::min), seen().fold(f64::MIN, f64::max));
        let recorded = fact(&RECORDED);
        println!("{what}: recorded {recorded}, {least} to {most} over {} runs", paths.len());
        assert!((least..=most).contains(&recorded), "{what}: {recorded} is not in {least}..={most}: {paths:?}");
    }
    assert!(paths.iter().all(|path| path.last().unwrap().1 == 1), "{paths:?}");
}
