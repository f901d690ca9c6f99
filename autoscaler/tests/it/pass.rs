//! Passes that no recording and no scenario shows.

use autoscaler::config::{Config, Gates, SCALE_UPDATE_ATTEMPTS_MAX};
use autoscaler::explain::Verdict;
use autoscaler::history::{History, Recommendation};
use autoscaler::pass::{Hpa, NextWrite, Observation, Outcome, Scale, ScaleAnswer, ScaleError, ScaleWrite, decide};
use autoscaler::pod::{Amount, Container, Phase, Pod, Readiness, Resources};
use autoscaler::quantity::Quantity;
use autoscaler::registry::Registry;
use autoscaler::sample::{Answer, ContainerUsage, JoinedSamples, PodMetrics, Value};
use autoscaler::spec::{Behavior, Metric, ObjectRef, ScalingRules, Spec, Target};
use autoscaler::status::{ConditionStatus, Status};
use autoscaler::time::{NS_PER_MS, NS_PER_S, Time};
use autoscaler::{defaults, validate};

const NOW: Time = Time(1_000_000 * NS_PER_S);

fn pod(name: &str, app: &str) -> Pod {
    let mut requests = Resources::default();
    requests.set("cpu", Amount::from_milli(100));
    let start = NOW - 3600 * NS_PER_S;
    Pod {
        name: name.into(),
        labels: vec![("app".into(), app.into())],
        phase: Phase::Running,
        deleting: false,
        start_time: Some(start),
        ready: Some(Readiness { status: ConditionStatus::True, last_transition_time: start }),
        containers: vec![Container { name: "app".into(), requests }],
        init_containers: Vec::new(),
        pod_level_requests: Resources::default(),
        overhead: Resources::default(),
    }
}

fn usage(pod: &str, milli: i64) -> PodMetrics {
    let mut usage = Resources::default();
    usage.set("cpu", Amount::from_milli(milli));
    let containers = vec![ContainerUsage { name: "app".into(), usage }];
    PodMetrics { pod: pod.into(), at: NOW, window_ns: 15 * NS_PER_S, containers }
}

fn cpu_spec() -> Spec {
    let target = ObjectRef::new("apps/v1", "Deployment", "web");
    let metrics = vec![Metric::resource("cpu", Target::utilization(50))];
    let mut spec = Spec { scale_target_ref: target, max_replicas: 20, metrics, ..Spec::default() };
    defaults::apply(&mut spec);
    spec
}

/// What a host holds; every test changes what it is about.
struct Host {
    spec: Spec,
    status: Status,
    history: History,
    config: Config,
    pods: Vec<Pod>,
    replicas: i32,
}

impl Host {
    fn new() -> Host {
        let pods = (0..4).map(|i| pod(&format!("web-{i}"), "web")).collect();
        let history = History { recommendations: Some(Vec::new()), ..History::default() };
        Host { spec: cpu_spec(), status: Status::default(), history, config: Config::default(), pods, replicas: 4 }
    }

    fn pass(&self, answers: &[Option<Answer<'_>>]) -> (Option<Status>, Outcome) {
        let mut registry = Registry::default();
        registry.enqueue("lab", "web");
        let scale = Scale { spec_replicas: self.replicas, status_replicas: self.replicas, selector: "app=web".into() };
        let observation =
            Observation { now: NOW, scale: Ok(scale), pods: Ok(&self.pods), answers, registry: &registry };
        let hpa = Hpa { namespace: "lab", name: "web", spec: &self.spec, status: &self.status };
        let conclusion = decide(&hpa, &self.history, &observation, &self.config).conclude(Ok(()));
        (conclusion.status.clone(), conclusion.finish(Ok(())))
    }
}

#[test]
fn observed_generation_is_dropped_and_an_unchanged_status_is_not_written() {
    let mut host = Host::new();
    let items: Vec<PodMetrics> = host.pods.iter().map(|p| usage(&p.name, 50)).collect();
    let answers = [Some(Answer::PodMetrics(Ok(&items)))];
    host.status = host.pass(&answers).0.expect("the first status");
    assert_eq!(host.pass(&answers).0, None);
    host.status.observed_generation = Some(3);
    assert_eq!(host.pass(&answers).0.expect("a change").observed_generation, None);
}

#[test]
fn the_downscale_flag_counts_in_whole_seconds_where_a_behavior_leaves_the_window_out() {
    let mut host = Host::new();
    host.spec.behavior = Some(Behavior::default());
    defaults::apply(&mut host.spec);
    host.config.downscale_stabilization_ns = 10_900 * NS_PER_MS;
    let items: Vec<PodMetrics> = host.pods.iter().map(|p| usage(&p.name, 1)).collect();
    let answers = [Some(Answer::PodMetrics(Ok(&items)))];
    for (age_ms, applied) in [(9_999, 4), (10_000, 1), (10_500, 1)] {
        host.history.recommendations = Some(vec![Recommendation { replicas: 4, at: NOW - age_ms * NS_PER_MS }]);
        assert_eq!(host.pass(&answers).1.explanation.applied, applied, "{age_ms} ms ago");
    }
}

#[test]
fn an_object_metric_needs_the_field_that_its_type_names() {
    let mut host = Host::new();
    let quantity = Quantity::parse("10").expect("a quantity");
    let target = Target { r#type: "Value".into(), ..Target::average_value(quantity.clone()) };
    let both =
        Target { r#type: "AverageValue".into(), average_value: Some(quantity.clone()), ..Target::value(quantity) };
    let object = |target| Metric::object(ObjectRef::new("v1", "Service", "web"), "qps", target);
    host.spec.metrics = vec![object(target), object(both)];
    let answer = Some(Answer::Object(Ok(Value { value_milli: 80_000, at: NOW })));
    let explanation = host.pass(&[answer, answer]).1.explanation;
    let text = "invalid object metric source: neither a value target nor an average value target was set";
    assert_eq!(explanation.metrics[0].outcome.as_ref().map_err(|e| e.message.as_str()).err(), Some(text));
    assert_eq!(explanation.metrics[1].outcome.as_ref().map(|p| p.replicas), Ok(8));
}

#[test]
fn samples_join_in_any_order_and_joined_ones_decide_alike() {
    let mut host = Host::new();
    host.pods.extend([pod("api-0", "api"), pod("api-1", "api")]);
    let all = ["api-1", "web-3", "gone-0", "web-0", "api-0", "web-2", "gone-0", "web-1"];
    let items: Vec<PodMetrics> = all.iter().enumerate().map(|(i, name)| usage(name, 60 + i as i64)).collect();
    let raw = host.pass(&[Some(Answer::PodMetrics(Ok(&items)))]);
    let joined = JoinedSamples::of_resource(&host.pods, &items, "cpu", None);
    let from_joined = host.pass(&[Some(Answer::Joined(&joined))]);
    assert_eq!(raw.0, from_joined.0);
    assert_eq!(raw.1.explanation, from_joined.1.explanation);
    let explanation = raw.1.explanation;
    let counted: Vec<&str> = explanation.pods_judged(&explanation.metrics[0], Verdict::Counted).collect();
    assert_eq!(counted, ["web-0", "web-1", "web-2", "web-3"], "the api pods are not selected");
}

#[test]
fn a_pod_that_does_not_count_yet_says_why() {
    let mut host = Host::new();
    let ready = |status, ago_s| Some(Readiness { status, last_transition_time: NOW - ago_s * NS_PER_S });
    let (yes, no) = (ConditionStatus::True, ConditionStatus::False);
    // Ready for five seconds, of which a sample over fifteen says too little.
    let young = Pod { start_time: Some(NOW - 60 * NS_PER_S), ..pod("web-early", "web") };
    host.pods = vec![
        pod("web-0", "web"),
        Pod { phase: Phase::Pending, ..pod("web-pending", "web") },
        Pod { ready: ready(no, 59), ..young.clone() },
        Pod { ready: ready(yes, 5), ..young },
        Pod { ready: ready(no, 3599), ..pod("web-never", "web") },
        pod("web-missing", "web"),
    ];
    host.pods[2].name = "web-starting".into();
    let of_pods = |milli| ["web-0", "web-starting", "web-early", "web-never"].map(|name| usage(name, milli));
    let told = host.pass(&[Some(Answer::PodMetrics(Ok(&of_pods(90))))]).1.explanation;
    let pods = "Pods: 1 counted, 1 pending (web-pending), 1 not ready and still starting (web-starting), \
                1 not measured since ready (web-early), 1 never ready since the start (web-never), \
                1 without a sample (web-missing).";
    assert!(told.paragraph().contains(pods), "{}", told.paragraph());
    assert!(told.line().contains("with 4 pods not ready and 1 without a sample taken as idle"), "{}", told.line());
    // On the way down only the pod without a sample stands for load; the unready ones are left out.
    let told = host.pass(&[Some(Answer::PodMetrics(Ok(&of_pods(10))))]).1.explanation.line();
    assert!(told.contains("with 1 pod without a sample taken as busy"), "{told}");
}

/// Only reachable without defaulting. Upstream counts none of none as failed, but has no error to return: it goes to zero.
#[test]
fn a_spec_without_metrics_asks_for_nothing() {
    let mut host = Host::new();
    host.spec.metrics.clear();
    let (status, outcome) = host.pass(&[]);
    let conditions = status.expect("a status").conditions;
    let types: Vec<&str> = conditions.iter().map(|c| c.r#type.as_str()).collect();
    assert_eq!(types, ["AbleToScale", "", "ScalingLimited"]);
    assert_eq!((conditions[1].status, conditions[1].reason.as_str()), (ConditionStatus::Unset, ""));
    assert_eq!(outcome.explanation.line(), "4 -> 1: no metric asks for anything; raised to minReplicas 1");
}

#[test]
fn a_kind_with_several_resources_takes_the_first_that_answers_or_the_first_error() {
    let scale = || Ok(Scale { spec_replicas: 1, status_replicas: 1, selector: String::new() });
    let error = |text: &str| Err(text.to_owned());
    assert!(ScaleError::first_of([error("a"), scale()]).is_ok());
    assert_eq!(ScaleError::first_of([error("a"), error("b")]), Err(ScaleError::Unreadable("a".into())));
    assert_eq!(ScaleError::first_of([]), Err(ScaleError::Unreadable("unrecognized resource".into())));
}

#[test]
fn a_conflicting_write_is_tried_five_times_in_all() {
    let mut write = ScaleWrite::default();
    for _ in 1..SCALE_UPDATE_ATTEMPTS_MAX {
        assert_eq!(write.answered(ScaleAnswer::Conflict("busy".into())), NextWrite::Retry);
    }
    assert_eq!(write.answered(ScaleAnswer::Conflict("busy".into())), NextWrite::Done(Err("busy".into())));
    assert_eq!(write.attempts, SCALE_UPDATE_ATTEMPTS_MAX);
    let mut other = ScaleWrite::default();
    assert_eq!(other.answered(ScaleAnswer::Failed("no".into())), NextWrite::Done(Err("no".into())));
}

#[test]
fn an_update_may_keep_a_target_that_a_new_object_may_not_have() {
    let mut old = cpu_spec();
    old.scale_target_ref.api_version = "v1".into();
    let fields = |new: &Spec, old: Option<&Spec>| -> Vec<String> {
        validate::spec(new, old, &Gates::default()).into_iter().map(|e| e.field).collect()
    };
    assert_eq!(fields(&old, None), ["spec.scaleTargetRef.apiVersion"]);
    assert!(fields(&old, Some(&old)).is_empty());
    let mut other_kind = old.clone();
    other_kind.scale_target_ref.kind = "Widget".into();
    assert_eq!(fields(&other_kind, Some(&old)), ["spec.scaleTargetRef.apiVersion"]);
}

#[test]
fn a_tolerance_goes_with_its_gate_unless_it_was_there_before() {
    let off = Gates { configurable_tolerance: false, ..Gates::default() };
    let tolerance = Quantity::parse("50m").ok();
    let rules = ScalingRules { tolerance, ..ScalingRules::default() };
    let with = Spec { behavior: Some(Behavior { scale_up: Some(rules), scale_down: None }), ..cpu_spec() };
    let kept = |old: Option<&Spec>, gates: &Gates| {
        let mut spec = with.clone();
        validate::drop_disabled_fields(&mut spec, old, gates);
        spec == with
    };
    assert_eq!((kept(None, &Gates::default()), kept(None, &off), kept(Some(&with), &off)), (true, false, true));
}
