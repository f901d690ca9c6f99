//! One decision over 1 000 pods and 3 metrics: `cargo bench -p autoscaler`.
//!
//! Raw: from the lists that the APIs return, in the order of the pods and in any other. Joined: samples already beside
//! their pods. A pass includes selector check, both writes concluded, status, conditions and the whole explanation.
//! Goals on one core: raw under 300 microseconds, joined under 100.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::disallowed_macros)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use autoscaler::config::Config;
use autoscaler::history::{History, Recommendation};
use autoscaler::pass::{Hpa, Observation, Outcome, Scale, decide};
use autoscaler::pod::{Amount, Container, Phase, Pod, Readiness, Resources};
use autoscaler::quantity::Quantity;
use autoscaler::registry::Registry;
use autoscaler::sample::{Answer, ContainerUsage, JoinedSamples, PodMetrics, PodValue};
use autoscaler::spec::{Metric, ObjectRef, Spec, Target};
use autoscaler::status::{ConditionStatus, Status};
use autoscaler::time::{NS_PER_S, Time};
use criterion::{Criterion, Throughput};

const PODS: usize = 1000;
const NOW: Time = Time(1_000_000 * NS_PER_S);

fn name(i: usize) -> String {
    format!("swell-service-7cd9d5968c-{i:05}")
}

fn resources(cpu_milli: i64, memory_mib: i64) -> Resources {
    let mut resources = Resources::default();
    resources.set("cpu", Amount::from_milli(cpu_milli));
    resources.set("memory", Amount::from_units(memory_mib << 20));
    resources
}

fn pod(i: usize) -> Pod {
    let start = NOW - 3600 * NS_PER_S;
    let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    Pod {
        name: name(i).into(),
        labels: vec![
            label("app.kubernetes.io/name", "swell-service"),
            label("app.kubernetes.io/part-of", "swell"),
            label("pod-template-hash", "7cd9d5968c"),
        ],
        phase: Phase::Running,
        deleting: false,
        start_time: Some(start),
        ready: Some(Readiness { status: ConditionStatus::True, last_transition_time: start }),
        containers: ["app", "proxy"].map(|c| Container { name: c.into(), requests: resources(250, 128) }).into(),
        init_containers: Vec::new(),
        pod_level_requests: Resources::default(),
        overhead: Resources::default(),
    }
}

fn pod_metrics(i: usize) -> PodMetrics {
    let containers =
        ["app", "proxy"].map(|c| ContainerUsage { name: c.into(), usage: resources(200 + i as i64 % 50, 100) });
    PodMetrics { pod: name(i).into(), at: NOW - 5 * NS_PER_S, window_ns: 15 * NS_PER_S, containers: containers.into() }
}

fn pod_value(i: usize) -> PodValue {
    PodValue { pod: name(i).into(), at: NOW - 5 * NS_PER_S, window_s: None, value_milli: 9_000 + i as i64 }
}

fn spec() -> Spec {
    let average = |text: &str| Target::average_value(Quantity::parse(text).expect("a quantity"));
    Spec {
        scale_target_ref: ObjectRef::new("apps/v1", "Deployment", "swell-service"),
        min_replicas: Some(1),
        max_replicas: 5000,
        metrics: vec![
            Metric::resource("cpu", Target::utilization(80)),
            Metric::resource("memory", average("256Mi")),
            Metric::pods("rps", average("10")),
        ],
        behavior: None,
    }
}

struct World {
    spec: Spec,
    pods: Vec<Pod>,
    history: History,
    registry: Registry,
}

impl World {
    fn new() -> World {
        let mut registry = Registry::default();
        registry.enqueue("swell", "swell-service");
        // Twenty passes of five minutes.
        let slots = (0..20).map(|i| Recommendation { replicas: 1000, at: NOW - i * 15 * NS_PER_S });
        let history = History { recommendations: Some(slots.collect()), ..History::default() };
        World { spec: spec(), pods: (0..PODS).map(pod).collect(), history, registry }
    }

    fn decide(&self, answers: &[Option<Answer<'_>>]) -> Outcome {
        let observation = Observation {
            now: NOW,
            scale: Ok(Scale {
                spec_replicas: PODS as i32,
                status_replicas: PODS as i32,
                selector: "app.kubernetes.io/name=swell-service".into(),
            }),
            pods: Ok(&self.pods),
            answers,
            registry: &self.registry,
        };
        let status = Status::default();
        let hpa = Hpa { namespace: "swell", name: "swell-service", spec: &self.spec, status: &status };
        decide(&hpa, &self.history, &observation, &Config::default()).conclude(Ok(())).finish(Ok(()))
    }
}

fn bench(criterion: &mut Criterion) {
    let world = World::new();
    let order = |i: usize| i * 7919 % PODS;
    let metrics: Vec<PodMetrics> = (0..PODS).map(pod_metrics).collect();
    let values: Vec<PodValue> = (0..PODS).map(pod_value).collect();
    let shuffled_metrics: Vec<PodMetrics> = (0..PODS).map(|i| pod_metrics(order(i))).collect();
    let shuffled_values: Vec<PodValue> = (0..PODS).map(|i| pod_value(order(i))).collect();
    let cpu = JoinedSamples::of_resource(&world.pods, &metrics, "cpu", None);
    let memory = JoinedSamples::of_resource(&world.pods, &metrics, "memory", None);
    let raw = |metrics, values| {
        [
            Some(Answer::PodMetrics(Ok(metrics))),
            Some(Answer::PodMetrics(Ok(metrics))),
            Some(Answer::PodValues(Ok(values))),
        ]
    };
    let joined = [Some(Answer::Joined(&cpu)), Some(Answer::Joined(&memory)), Some(Answer::Joined(&cpu))];
    let mut group = criterion.benchmark_group("1000 pods, 3 metrics");
    group.throughput(Throughput::Elements(1)).measurement_time(Duration::from_secs(3));
    for (name, answers) in [
        ("raw, in order", raw(&metrics[..], &values[..])),
        ("raw, shuffled", raw(&shuffled_metrics[..], &shuffled_values[..])),
        ("joined", joined),
    ] {
        let explanation = world.decide(&answers).explanation;
        assert!(explanation.metrics.iter().all(|m| m.outcome.is_ok()), "{}", explanation.paragraph());
        let best = (0..BEST_OF).map(|_| timed(|| world.decide(black_box(&answers)))).min().unwrap_or_default();
        let per_second = 1.0 / best.as_secs_f64();
        println!(
            "{name}: {per_second:.0} decisions per second ({:.0} us each, best of {BEST_OF})",
            best.as_secs_f64() * 1e6
        );
        group.bench_function(name, |b| b.iter(|| black_box(world.decide(black_box(&answers)))));
    }
    group.finish();
}

/// The best of many is what one core can do when nobody else wants it; criterion's mean is what it did.
const BEST_OF: u32 = 2000;

fn timed<T>(run: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    black_box(run());
    start.elapsed()
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    bench(&mut criterion);
    criterion.final_summary();
}
