//! What must hold for every input. Where upstream itself breaks a property, upstream wins, and the test says where.

use autoscaler::config::{Config, Gates};
use autoscaler::explain::Course;
use autoscaler::history::{History, Recommendation, ScaleEvent};
use autoscaler::quantity::{Format, Quantity};
use autoscaler::spec::{Behavior, Metric, Policy, ScalingRules, Spec, Target};
use autoscaler::time::NS_PER_S;
use autoscaler::whatif::{Question, ask};
use autoscaler::{defaults, json, validate};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

fn quantity() -> impl Strategy<Value = Quantity> {
    (1..5_000i64).prop_map(|milli| Quantity::from_milli(milli, Format::DecimalSi))
}

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![(1..300i32).prop_map(Target::utilization), quantity().prop_map(Target::average_value)]
}

fn metric() -> impl Strategy<Value = Metric> {
    let whole = prop_oneof![quantity().prop_map(Target::value), quantity().prop_map(Target::average_value)];
    prop_oneof![
        target().prop_map(|t| Metric::resource("cpu", t)),
        target().prop_map(|t| Metric::container_resource("app", "memory", t)),
        quantity().prop_map(|q| Metric::pods("rps", Target::average_value(q))),
        whole.prop_map(|t| Metric::external("queue", t)),
    ]
}

fn rules() -> impl Strategy<Value = ScalingRules> {
    let policy = (prop_oneof!["Pods", "Percent"], 1..200i32, 1..1800i32).prop_map(|(r#type, value, period_s)| Policy {
        r#type,
        value,
        period_s,
    });
    let select = option::of(prop_oneof![Just("Max"), Just("Min"), Just("Disabled")].prop_map(str::to_owned));
    let tolerance = option::of((0..2000i64).prop_map(|milli| Quantity::from_milli(milli, Format::DecimalSi)));
    (option::of(0..3600i32), select, option::of(vec(policy, 1..4)), tolerance).prop_map(
        |(stabilization_window_s, select_policy, policies, tolerance)| ScalingRules {
            stabilization_window_s,
            select_policy,
            policies,
            tolerance,
        },
    )
}

fn spec() -> impl Strategy<Value = Spec> {
    let behavior = option::of(
        (option::of(rules()), option::of(rules())).prop_map(|(scale_up, scale_down)| Behavior { scale_up, scale_down }),
    );
    (1..20i32, 0..40i32, vec(metric(), 1..4), behavior).prop_map(|(min, more, metrics, behavior)| {
        let target = autoscaler::spec::ObjectRef::new("apps/v1", "Deployment", "web");
        let min_replicas = Some(min);
        Spec { scale_target_ref: target, min_replicas, max_replicas: min + more, metrics, behavior }
    })
}

prop_compose! {
    fn question()(
        spec in spec(), replicas in 0..60i32, starting in 0..5usize, pending in 0..3usize, unmeasured in 0..5usize,
        usage in 0..2_000i64, request in 1..1_000i64, value in 0..100_000i64,
        recommended in vec((0..60i32, 0..600i64), 0..6), scale_to_zero in any::<bool>(),
    ) -> Question {
        let milli = |milli| Quantity::from_milli(milli, Format::DecimalSi);
        let both = |q: Quantity| vec![("cpu".to_owned(), q.clone()), ("memory".to_owned(), q)];
        Question {
            starting, pending, unmeasured,
            usage: both(milli(usage)),
            requests: both(milli(request)),
            values: vec![("rps".into(), milli(value)), ("queue".into(), milli(value))],
            recommended: recommended.into_iter().map(|(n, age_s)| (n, age_s * NS_PER_S)).collect(),
            config: Config { gates: Gates { scale_to_zero, ..Gates::default() }, ..Config::default() },
            ..Question::new(spec, replicas)
        }
    }
}

/// Every pod ready and measured, one cpu metric, nothing remembered.
fn simple(spec: Spec, replicas: i32, usage_milli: i64) -> Question {
    let milli = |milli| Quantity::from_milli(milli, Format::DecimalSi);
    Question {
        usage: vec![("cpu".into(), milli(usage_milli))],
        requests: vec![("cpu".into(), milli(100))],
        ..Question::new(spec, replicas)
    }
}

fn cpu_only(max: i32, behavior: Option<Behavior>) -> Spec {
    Spec {
        min_replicas: Some(1),
        max_replicas: max,
        metrics: vec![Metric::resource("cpu", Target::utilization(80))],
        behavior,
        ..Spec::default()
    }
}

/// The same cases every time; to draw others set `PROPTEST_RNG_SEED`, to draw more `PROPTEST_CASES`.
fn seeded(cases: u32) -> ProptestConfig {
    let from_environment = ProptestConfig::default();
    let seed = std::env::var("PROPTEST_RNG_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(0x5eed);
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { from_environment.cases } else { cases };
    ProptestConfig { cases, rng_seed: RngSeed::Fixed(seed), failure_persistence: None, ..from_environment }
}

proptest! {
    #![proptest_config(seeded(512))]

    /// A rate limit comes before a bound, so one pass may stop short of the range when it starts inside it; it never
    /// leaves it.
    #[test]
    fn a_count_within_bounds_stays_within_bounds(q in question()) {
        let (min, max) = (q.spec.min(), q.spec.max_replicas);
        let decided = ask(&q);
        if decided.outcome.explanation.course == Course::Computed && q.replicas >= min && q.replicas <= max {
            prop_assert!((min..=max).contains(&decided.replicas), "{}", decided.outcome.explanation.paragraph());
        }
        if decided.replicas != q.replicas {
            prop_assert!(decided.replicas <= max.max(q.replicas) && decided.replicas >= min.min(q.replicas));
        }
    }

    #[test]
    fn same_input_gives_the_same_output(q in question()) {
        let (a, b) = (ask(&q), ask(&q));
        prop_assert_eq!(a.outcome.explanation, b.outcome.explanation);
        prop_assert_eq!(a.status, b.status);
        prop_assert_eq!(a.outcome.history, b.outcome.history);
        prop_assert_eq!(a.outcome.events, b.outcome.events);
    }

    /// Holds where every pod is ready and measured. With unready pods upstream breaks it: they are left out on the way
    /// down but counted as idle on the way up, so crossing the target can lower the proposal.
    #[test]
    fn more_load_never_asks_for_fewer_pods(replicas in 1..50i32, usage in 0..2_000i64, more in 0..2_000i64) {
        let recommended = |usage| ask(&simple(cpu_only(100, None), replicas, usage)).outcome.explanation.recommended;
        prop_assert!(recommended(usage) <= recommended(usage + more));
    }

    #[test]
    fn leaving_out_a_stage_that_did_nothing_changes_nothing(q in question()) {
        let explanation = ask(&q).outcome.explanation;
        if let Some(without) = explanation.without {
            let normalized = explanation.bound.map(|b| b.to)
                .or(explanation.rate.as_ref().map(|r| r.to))
                .or(explanation.stabilization.map(|s| s.to))
                .or(explanation.recommended);
            if explanation.stabilization.is_none() {
                prop_assert_eq!(Some(without.stabilization), normalized);
            }
            if explanation.rate.is_none() && explanation.bound.is_none() {
                prop_assert_eq!(Some(without.policies), normalized);
                prop_assert_eq!(Some(without.bounds), normalized);
            }
        }
    }

    /// Upstream's v1 view looks at the first cpu metric only and loses the utilisation of any other, so there is one
    /// here.
    #[test]
    fn what_validation_accepts_survives_json(spec in spec()) {
        let mut spec = spec;
        let mut seen = false;
        spec.metrics.retain(|m| m.resource.is_none() || !std::mem::replace(&mut seen, true));
        defaults::apply(&mut spec);
        prop_assert_eq!(validate::spec(&spec, None, &Gates::default()), Vec::new());
        let object = serde_json::json!({ "metadata": { "name": "web" }, "spec": json::spec_to_json(&spec) });
        prop_assert_eq!(json::spec_from_json(&object), Ok(spec.clone()));
        let back = json::v1::from_v2(&object).and_then(|v1| json::v1::to_v2(&v1));
        let back = back.and_then(|v2| json::spec_from_json(&v2));
        prop_assert_eq!(back.map(sorted), Ok(sorted(spec)));
    }

    #[test]
    fn extremes_never_panic(
        replicas in any::<i32>(), status in any::<i32>(), min in any::<Option<i32>>(), max in any::<i32>(),
        milli in any::<i64>(), target in any::<i64>(), percent in any::<i32>(), value in any::<i32>(),
        period in any::<i32>(), window in any::<i32>(), factor in any::<f64>(), tolerance in any::<f64>(),
        at in any::<i64>(), now in any::<i64>(), change in any::<i32>(), with_behavior in any::<bool>(),
    ) {
        let extreme = crate::fuzz::Extreme {
            replicas, status, min, max, milli, target, percent, value, period, window, factor, tolerance, at, now, change,
            with_behavior,
        };
        extreme.decide();
    }
}

proptest! {
    #![proptest_config(seeded(16))]

    /// Total load is constant: the pods share it. The count arrives, and stays where it arrived.
    #[test]
    fn under_constant_load_the_count_settles(
        start in 1..60i32, load in 1..20_000i64, up in rules(), down in rules(), with_behavior in any::<bool>(),
    ) {
        // A tolerance of its own only moves the place where it settles; the smallest pod still has to hold its share.
        let plain = |rules: ScalingRules| ScalingRules { tolerance: None, ..rules };
        let behavior = with_behavior.then(|| Behavior { scale_up: Some(plain(up)), scale_down: Some(plain(down)) });
        let mut replicas = start;
        let spec = cpu_only(60, behavior);
        let step = |replicas: i32| ask(&simple(spec.clone(), replicas, load / i64::from(replicas))).replicas;
        for _ in 0..200 {
            replicas = step(replicas);
        }
        let settled = replicas;
        for _ in 0..5 {
            replicas = step(replicas);
            prop_assert_eq!(replicas, settled);
        }
    }

    /// Slots that have aged out are reused: at one pass per period, a window holds so many recommendations and no more.
    #[test]
    fn history_is_bounded_by_its_window(q in question(), period_s in 1..60i64) {
        let mut recommended: Vec<(i32, i64)> = Vec::new();
        let window_s = 3600;
        for _ in 0..(2 * window_s / period_s).min(600) {
            let asked = Question { recommended: recommended.clone(), ..q.clone() };
            let decided = ask(&asked);
            let now = decided.outcome.explanation.at;
            let slots = decided.outcome.history.recommendations.unwrap_or_default();
            recommended = slots.iter().map(|r| (r.replicas, now.0 - r.at.0 + period_s * NS_PER_S)).collect();
        }
        let oldest = q.recommended.len() as i64;
        prop_assert!(recommended.len() as i64 <= window_s / period_s + 2 + oldest, "{} slots", recommended.len());
    }
}

/// v1 keeps one cpu utilisation apart from the others, so it may change places.
fn sorted(mut spec: Spec) -> Spec {
    spec.metrics.sort_by_key(|m| format!("{m:?}"));
    spec
}

#[test]
fn a_history_entry_is_small() {
    // What is kept per pass; a window of an hour at 15 s is 240 of these.
    assert!(size_of::<Recommendation>() <= 16 && size_of::<ScaleEvent>() <= 24);
    assert_eq!(
        History::default(),
        History { recommendations: None, scale_up_events: Vec::new(), scale_down_events: Vec::new() }
    );
}
