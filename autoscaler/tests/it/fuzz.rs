//! Fuzz targets that run on stable: functions over bytes, fed with a committed corpus and with its mutations.
//!
//! A target may refuse its input; it may not panic, and what it accepts must hold its invariants. The mutations are
//! drawn from a fixed seed, so a failure repeats. To hunt longer: `FUZZ_ROUNDS=100000 cargo test -p autoscaler fuzz`.

use std::path::Path;

use autoscaler::config::{Config, Gates};
use autoscaler::conformance;
use autoscaler::history::{History, Recommendation, ScaleEvent};
use autoscaler::json;
use autoscaler::pass::{Hpa, Observation, Scale, decide};
use autoscaler::pod::{Amount, Container, Phase, Pod, Readiness, Resources};
use autoscaler::quantity::{Format, Quantity};
use autoscaler::registry::Registry;
use autoscaler::sample::{Answer, ContainerUsage, PodMetrics, PodValue, Value};
use autoscaler::selector::Selector;
use autoscaler::spec::{Behavior, Metric, ObjectRef, Policy, ScalingRules, Spec, Target};
use autoscaler::status::{ConditionStatus, Status};
use autoscaler::time::Time;
use autoscaler::{defaults, validate};

type Fuzzed = fn(&[u8]);

/// Rounds of mutation per corpus entry in an ordinary test run.
const ROUNDS: u32 = 200;

fn quantity(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(quantity) = Quantity::parse(text) {
        let canonical = quantity.to_string();
        let again = Quantity::parse(&canonical).unwrap_or_else(|e| panic!("{canonical:?} from {text:?}: {e}"));
        assert_eq!(again, quantity, "{text:?} prints as {canonical:?}");
        assert_eq!(again.to_string(), canonical, "{text:?}");
        let _numbers = (quantity.milli(), quantity.units(), quantity.nano(), quantity.approximate_f64());
    }
}

fn selector(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(selector) = Selector::parse(text)
    {
        selector.matches(&[("app".into(), "web".into())]);
    }
}

fn manifest(bytes: &[u8]) {
    let Ok(object) = serde_json::from_slice::<serde_json::Value>(bytes) else { return };
    for view in [json::v1::from_v2(&object), json::v1::to_v2(&object)].into_iter().flatten() {
        json::spec_from_json(&view).expect("what was converted can be read");
    }
    let Ok(mut spec) = json::spec_from_json(&object) else { return };
    defaults::apply(&mut spec);
    let errors = validate::spec(&spec, None, &Gates::default());
    assert!(errors.iter().all(|e| !e.field.is_empty() && !e.to_string().is_empty()));
    let again = serde_json::json!({ "spec": json::spec_to_json(&spec) });
    json::spec_from_json(&again).expect("what was written can be read");
}

fn vector(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _words = conformance::replay("fuzz", text).to_string();
    }
}

/// Numbers at their limits everywhere that a decision looks.
#[derive(Debug)]
pub(crate) struct Extreme {
    pub(crate) replicas: i32,
    pub(crate) status: i32,
    pub(crate) min: Option<i32>,
    pub(crate) max: i32,
    pub(crate) milli: i64,
    pub(crate) target: i64,
    pub(crate) percent: i32,
    pub(crate) value: i32,
    pub(crate) period: i32,
    pub(crate) window: i32,
    pub(crate) factor: f64,
    pub(crate) tolerance: f64,
    pub(crate) at: i64,
    pub(crate) now: i64,
    pub(crate) change: i32,
    pub(crate) with_behavior: bool,
}

impl Extreme {
    pub(crate) fn decide(&self) {
        let spec = self.spec();
        let pods = [self.pod(Phase::Running), self.pod(Phase::Pending), self.pod(Phase::Unknown)];
        let mut usage = Resources::default();
        usage.set("cpu", Amount::from_milli(self.milli));
        let containers = vec![ContainerUsage { name: "app".into(), usage }];
        let (at, milli) = (Time(self.at), self.milli);
        let metrics = [PodMetrics { pod: "web".into(), at, window_ns: self.at, containers }];
        let values = [PodValue { pod: "stranger".into(), at, window_s: Some(self.at), value_milli: milli }];
        let series = [Value { value_milli: milli, at }, Value { value_milli: i64::MAX, at }];
        let answers = [
            Some(Answer::PodMetrics(Ok(&metrics))),
            Some(Answer::PodMetrics(Ok(&metrics))),
            Some(Answer::PodValues(Ok(&values))),
            Some(Answer::Object(Ok(series[0]))),
            Some(Answer::Object(Ok(series[0]))),
            Some(Answer::External(Ok(&series))),
            Some(Answer::External(Ok(&series))),
            None,
        ];
        let mut registry = Registry::default();
        registry.enqueue("ns", "web");
        let observation = Observation {
            now: Time(self.now),
            scale: Ok(Scale { spec_replicas: self.replicas, status_replicas: self.status, selector: "app".into() }),
            pods: Ok(&pods),
            answers: &answers,
            registry: &registry,
        };
        let hpa = Hpa { namespace: "ns", name: "web", spec: &spec, status: &Status::default() };
        let outcome = decide(&hpa, &self.history(), &observation, &self.config()).conclude(Ok(())).finish(Ok(()));
        let _words = (outcome.explanation.line(), outcome.explanation.paragraph());
    }

    fn spec(&self) -> Spec {
        let quantity = Quantity::from_milli(self.target, Format::DecimalSi);
        let average = || Target::average_value(quantity.clone());
        let value = || Target::value(quantity.clone());
        let policy = |r#type: &str| Policy { r#type: r#type.into(), value: self.value, period_s: self.period };
        let rules = ScalingRules {
            stabilization_window_s: Some(self.window),
            select_policy: None,
            policies: Some(vec![policy("Pods"), policy("Percent"), policy("Mystery")]),
            tolerance: Some(quantity.clone()),
        };
        let ingress = ObjectRef::new("v1", "Ingress", "main");
        Spec {
            scale_target_ref: ObjectRef::new("apps/v1", "Deployment", "web"),
            min_replicas: self.min,
            max_replicas: self.max,
            metrics: vec![
                Metric::resource("cpu", Target::utilization(self.percent)),
                Metric::container_resource("app", "cpu", average()),
                Metric::pods("rps", average()),
                Metric::object(ingress.clone(), "qps", value()),
                Metric::object(ingress, "qps", average()),
                Metric::external("queue", value()),
                Metric::external("queue", average()),
                Metric::default(),
            ],
            behavior: self.with_behavior.then(|| Behavior { scale_up: Some(rules.clone()), scale_down: Some(rules) }),
        }
    }

    fn pod(&self, phase: Phase) -> Pod {
        let mut requests = Resources::default();
        requests.set("cpu", Amount::from_milli(self.target));
        let last_transition_time = Time(self.at);
        Pod {
            name: if phase == Phase::Running { "web".into() } else { "other".into() },
            labels: vec![("app".into(), "web".into())],
            phase,
            deleting: false,
            start_time: Some(Time(self.at)),
            ready: Some(Readiness { status: ConditionStatus::True, last_transition_time }),
            containers: vec![Container { name: "app".into(), requests }],
            init_containers: Vec::new(),
            pod_level_requests: Resources::default(),
            overhead: Resources::default(),
        }
    }

    fn history(&self) -> History {
        let event = ScaleEvent { change: self.change, at: Time(self.at), outdated: false };
        History {
            recommendations: Some(vec![Recommendation { replicas: self.change, at: Time(self.at) }]),
            scale_up_events: vec![event, event],
            scale_down_events: vec![event],
        }
    }

    fn config(&self) -> Config {
        Config {
            tolerance: self.tolerance,
            downscale_stabilization_ns: self.at,
            cpu_initialization_period_ns: self.at,
            initial_readiness_delay_ns: self.now,
            legacy_scale_up_limit_factor: self.factor,
            legacy_scale_up_limit_minimum: self.tolerance,
            gates: Gates { scale_to_zero: true, ..Gates::default() },
        }
    }
}

#[test]
fn fuzz_targets_survive_the_corpus_and_its_mutations() {
    let rounds = std::env::var("FUZZ_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(ROUNDS);
    let targets: [(&str, Fuzzed); 4] =
        [("quantity", quantity), ("selector", selector), ("manifest", manifest), ("vector", vector)];
    for (name, target) in targets {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/corpus").join(format!("{name}.txt"));
        let corpus = std::fs::read_to_string(&file).expect("the corpus is part of the crate");
        let entries: Vec<&str> = corpus.lines().collect();
        let mut random = Random(0x5eed);
        for entry in &entries {
            target(entry.as_bytes());
            for _ in 0..rounds {
                let other = entries[random.below(entries.len())];
                target(&mutate(entry.as_bytes(), other.as_bytes(), &mut random));
            }
        }
    }
}

#[test]
fn limits_of_every_number_never_panic() {
    let wholes = [i64::MIN, i64::MIN + 1, -1, 0, 1, 100, i64::MAX - 1, i64::MAX];
    let smalls = [i32::MIN, -1, 0, 1, 2, i32::MAX];
    let floats = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 0.1, f64::MAX, f64::MIN_POSITIVE];
    let mut random = Random(0x11a1);
    for round in 0..20_000 {
        let whole = |random: &mut Random| wholes[random.below(wholes.len())];
        let small = |random: &mut Random| smalls[random.below(smalls.len())];
        let float = |random: &mut Random| floats[random.below(floats.len())];
        Extreme {
            replicas: small(&mut random),
            status: small(&mut random),
            min: Some(small(&mut random)).filter(|_| round % 3 > 0),
            max: small(&mut random),
            milli: whole(&mut random),
            target: whole(&mut random),
            percent: small(&mut random),
            value: small(&mut random),
            period: small(&mut random),
            window: small(&mut random),
            factor: float(&mut random),
            tolerance: float(&mut random),
            at: whole(&mut random),
            now: whole(&mut random),
            change: small(&mut random),
            with_behavior: round % 2 == 0,
        }
        .decide();
    }
}

/// xorshift64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n.max(1) as u64) as usize
    }
}

/// Flips, inserts, removes, repeats, or splices in a piece of another entry.
fn mutate(entry: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    const INTERESTING: &[u8] = b"0123456789.-+eEinumkKMGTP=!(),<>\"{}[]:\\ \0\xff";
    let mut bytes = entry.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        match random.below(5) {
            0 => bytes.insert(at, INTERESTING[random.below(INTERESTING.len())]),
            1 if at < bytes.len() => bytes[at] = INTERESTING[random.below(INTERESTING.len())],
            2 if at < bytes.len() => drop(bytes.remove(at)),
            3 => {
                let end = (at + random.below(8)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                let from = random.below(other.len() + 1);
                let to = (from + random.below(16)).min(other.len());
                bytes.splice(at..at, other[from..to].iter().copied());
            }
        }
    }
    bytes
}
