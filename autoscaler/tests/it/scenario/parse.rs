//! The written part of a scenario: intent, HPA, observations.

use autoscaler::config::Config;
use autoscaler::pod::{Amount, Container, Phase, Pod, Readiness, Resources};
use autoscaler::quantity::Quantity;
use autoscaler::sample::{Answer, ContainerUsage, PodMetrics, PodValue, Value};
use autoscaler::spec::{Behavior, Metric, ObjectRef, Policy, ScalingRules, Spec, Target};
use autoscaler::status::ConditionStatus;
use autoscaler::time::{NS_PER_S, Time};

pub(super) struct Scenario {
    pub(super) spec: Spec,
    pub(super) config: Config,
    /// At the start.
    pub(super) replicas: i32,
    pub(super) others: Vec<(String, String)>,
    pub(super) steps: Vec<Step>,
}

pub(super) struct Step {
    pub(super) at_s: i64,
    /// Set by hand, or by someone else.
    pub(super) replicas: Option<i32>,
    /// How many pods of which kind; all ready when empty.
    groups: Vec<(usize, String)>,
    /// Metric, and its value or the error of its API.
    readings: Vec<(String, Result<Quantity, String>)>,
    request: Option<Quantity>,
    /// The error of writing the scale.
    pub(super) refuse: Option<String>,
    pub(super) explain: bool,
}

pub(super) fn scenario(text: &str) -> Result<Scenario, String> {
    let (_intent, rest) = text.split_once("\n\n").ok_or("an empty line must follow the paragraph of intent")?;
    let spec = Spec {
        scale_target_ref: ObjectRef::new("apps/v1", "Deployment", "web"),
        min_replicas: Some(1),
        max_replicas: 10,
        ..Spec::default()
    };
    let mut scenario = Scenario { spec, config: Config::default(), replicas: 1, others: Vec::new(), steps: Vec::new() };
    let mut request = Some(Quantity::parse("100m").expect("a quantity"));
    for line in rest.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["replicas", n] => scenario.replicas = number(n)?,
            ["min", n] => scenario.spec.min_replicas = Some(number(n)?),
            ["max", n] => scenario.spec.max_replicas = number(n)?,
            ["request", "none"] => request = None,
            ["request", q] => request = Some(quantity(q)?),
            ["gate", "scale-to-zero"] => scenario.config.gates.scale_to_zero = true,
            ["other-hpa", name, selector] => scenario.others.push((name.into(), selector.into())),
            ["metric", ref words @ ..] => scenario.spec.metrics.push(metric(words)?),
            ["behavior", ref words @ ..] => behavior(scenario.spec.behavior.get_or_insert_default(), words)?,
            ["at", at, ref words @ ..] => scenario.steps.push(step(at, words, request.clone())?),
            _ => return Err(format!("cannot read {line:?}")),
        }
    }
    if scenario.steps.is_empty() { Err("no line starts with `at`".into()) } else { Ok(scenario) }
}

/// `cpu 80%`, `memory 100Mi`, `app/cpu 80%`, `pods rps 10`, `object qps value 100`, `external queue average 30`.
fn metric(words: &[&str]) -> Result<Metric, String> {
    match *words {
        ["pods", name, average] => Ok(Metric::pods(name, Target::average_value(quantity(average)?))),
        ["object", name, kind, q] => {
            Ok(Metric::object(ObjectRef::new("networking.k8s.io/v1", "Ingress", "main"), name, whole(kind, q)?))
        }
        ["external", name, kind, q] => Ok(Metric::external(name, whole(kind, q)?)),
        [name, target] => {
            let target = match target.strip_suffix('%') {
                Some(percent) => Target::utilization(number(percent)?),
                None => Target::average_value(quantity(target)?),
            };
            Ok(match name.split_once('/') {
                Some((container, resource)) => Metric::container_resource(container, resource, target),
                None => Metric::resource(name, target),
            })
        }
        _ => Err(format!("not a metric: {words:?}")),
    }
}

fn whole(kind: &str, q: &str) -> Result<Target, String> {
    match kind {
        "value" => Ok(Target::value(quantity(q)?)),
        "average" => Ok(Target::average_value(quantity(q)?)),
        _ => Err(format!("a target is a value or an average, not {kind:?}")),
    }
}

/// `up window=30s select=Min policy=Pods:4/15s policy=Percent:100/15s tolerance=0`.
fn behavior(behavior: &mut Behavior, words: &[&str]) -> Result<(), String> {
    let (direction, rest) = words.split_first().ok_or("behavior up or down?")?;
    let rules: &mut ScalingRules = match *direction {
        "up" => behavior.scale_up.get_or_insert_default(),
        "down" => behavior.scale_down.get_or_insert_default(),
        other => return Err(format!("behavior up or down, not {other:?}")),
    };
    for word in rest {
        match word.split_once('=') {
            Some(("window", s)) => rules.stabilization_window_s = Some(seconds(s)? as i32),
            Some(("select", select)) => rules.select_policy = Some(select.into()),
            Some(("tolerance", q)) => rules.tolerance = Some(quantity(q)?),
            Some(("policy", text)) => rules.policies.get_or_insert_default().push(policy(text)?),
            _ => return Err(format!("not a rule: {word:?}")),
        }
    }
    Ok(())
}

fn policy(text: &str) -> Result<Policy, String> {
    let parsed = text.split_once(':').and_then(|(kind, rest)| Some((kind, rest.split_once('/')?)));
    let (kind, (value, period)) = parsed.ok_or_else(|| format!("not a policy: {text:?}"))?;
    Ok(Policy { r#type: kind.into(), value: number(value)?, period_s: seconds(period)? as i32 })
}

/// `at 15s replicas=4 3 ready 1 starting cpu=180m queue=error:timeout refuse=forbidden explain`.
fn step(at: &str, words: &[&str], request: Option<Quantity>) -> Result<Step, String> {
    let mut step = Step {
        at_s: seconds(at)?,
        replicas: None,
        groups: Vec::new(),
        readings: Vec::new(),
        request,
        refuse: None,
        explain: false,
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.split_once('=') {
            None if *word == "explain" => step.explain = true,
            None => {
                let kind = words.next().ok_or_else(|| format!("{word} what?"))?;
                step.groups.push((number(word)? as usize, (*kind).into()));
            }
            Some(("replicas", n)) => step.replicas = Some(number(n)?),
            Some(("refuse", e)) => step.refuse = Some(e.replace('_', " ")),
            Some((metric, reading)) => {
                let reading = match reading.strip_prefix("error:") {
                    Some(e) => Err(e.replace('_', " ")),
                    None => Ok(quantity(reading)?),
                };
                step.readings.push((metric.into(), reading));
            }
        }
    }
    Ok(step)
}

fn number(text: &str) -> Result<i32, String> {
    text.parse().map_err(|_| format!("not a number: {text:?}"))
}

fn quantity(text: &str) -> Result<Quantity, String> {
    Quantity::parse(text).map_err(|e| format!("{text:?}: {e}"))
}

fn seconds(text: &str) -> Result<i64, String> {
    let digits = text.strip_suffix('s').ok_or_else(|| format!("not seconds: {text:?}"))?;
    digits.parse().map_err(|_| format!("not seconds: {text:?}"))
}

impl Step {
    pub(super) fn pods(&self, replicas: i32) -> Vec<Pod> {
        let all_ready = [(replicas.max(0) as usize, "ready".to_owned())];
        let groups = if self.groups.is_empty() { &all_ready[..] } else { &self.groups[..] };
        let kinds = groups.iter().flat_map(|(count, kind)| std::iter::repeat_n(kind.as_str(), *count));
        kinds.enumerate().map(|(i, kind)| self.pod(i, kind)).collect()
    }

    fn pod(&self, i: usize, kind: &str) -> Pod {
        let now = Time::from_s(self.at_s);
        let (phase, age_s, ready) = match kind {
            "ready" | "unmeasured" | "deleting" => (Phase::Running, 3600, true),
            "starting" => (Phase::Running, 20, false),
            "pending" => (Phase::Pending, 5, false),
            "failed" => (Phase::Failed, 3600, false),
            other => panic!("no such pods: {other:?}"),
        };
        let start = now - age_s * NS_PER_S;
        let mut requests = Resources::default();
        if let Some(request) = &self.request {
            requests.set("cpu", Amount::from_quantity(request));
        }
        let status = if ready { ConditionStatus::True } else { ConditionStatus::False };
        Pod {
            name: if kind == "ready" { format!("web-{i}") } else { format!("web-{i}-{kind}") }.into(),
            labels: vec![("app".into(), "web".into())],
            phase,
            deleting: kind == "deleting",
            start_time: Some(start),
            ready: Some(Readiness { status, last_transition_time: start + NS_PER_S }),
            containers: vec![Container { name: "app".into(), requests }],
            init_containers: Vec::new(),
            pod_level_requests: Resources::default(),
            overhead: Resources::default(),
        }
    }

    /// The answer for one metric: every pod that can be measured has the same reading.
    pub(super) fn source(&self, metric: &Metric, pods: &[Pod]) -> Source {
        let now = Time::from_s(self.at_s);
        let measured = pods.iter().filter(|p| p.phase == Phase::Running && !p.name.ends_with("unmeasured"));
        let reading = |name: &str| {
            let found = self.readings.iter().find(|(n, _)| n == name).map(|(_, reading)| reading.clone());
            found.unwrap_or_else(|| Err("no reading in this scenario".into()))
        };
        let resource = metric.resource.as_ref().map(|m| &m.name);
        if let Some(name) = resource.or(metric.container_resource.as_ref().map(|m| &m.name)) {
            let mut usage = Resources::default();
            match reading(name) {
                Ok(q) => usage.set(name, Amount::from_quantity(&q)),
                Err(e) => return Source::PodMetrics(Err(e)),
            }
            let item = |p: &Pod| PodMetrics {
                pod: p.name.clone(),
                at: now,
                window_ns: 15 * NS_PER_S,
                containers: vec![ContainerUsage { name: "app".into(), usage: usage.clone() }],
            };
            return Source::PodMetrics(Ok(measured.map(item).collect()));
        }
        if let Some(m) = &metric.pods {
            let item = |value_milli| {
                let of_pod = |p: &Pod| PodValue { pod: p.name.clone(), at: now, window_s: None, value_milli };
                measured.map(of_pod).collect()
            };
            return Source::PodValues(reading(&m.metric.name).map(|q| item(q.milli())));
        }
        if let Some(m) = &metric.object {
            return Source::Object(reading(&m.metric.name).map(|q| Value { value_milli: q.milli(), at: now }));
        }
        let name = metric.external.as_ref().map_or("", |m| &m.metric.name);
        Source::External(reading(name).map(|q| [Value { value_milli: q.milli(), at: now }]))
    }
}

pub(super) enum Source {
    PodMetrics(Result<Vec<PodMetrics>, String>),
    PodValues(Result<Vec<PodValue>, String>),
    Object(Result<Value, String>),
    External(Result<[Value; 1], String>),
}

impl Source {
    pub(super) fn answer(&self) -> Option<Answer<'_>> {
        Some(match self {
            Source::PodMetrics(r) => Answer::PodMetrics(r.as_deref().map_err(String::as_str)),
            Source::PodValues(r) => Answer::PodValues(r.as_deref().map_err(String::as_str)),
            Source::Object(r) => Answer::Object(r.as_ref().copied().map_err(String::as_str)),
            Source::External(r) => Answer::External(r.as_ref().map(|v| &v[..]).map_err(String::as_str)),
        })
    }
}
