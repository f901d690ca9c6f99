//! Dry runs: the question a user asks without a cluster.

use autoscaler::quantity::Quantity;
use autoscaler::spec::{Metric, Spec, Target};
use autoscaler::time::NS_PER_S;
use autoscaler::whatif::{Decided, Question, ask};

fn quantity(text: &str) -> Quantity {
    Quantity::parse(text).expect(text)
}

fn question(replicas: i32) -> Question {
    let metrics = vec![Metric::resource("cpu", Target::utilization(90))];
    let spec = Spec { max_replicas: 10, metrics, ..Spec::default() };
    Question { requests: vec![("cpu".into(), quantity("100m"))], ..Question::new(spec, replicas) }
}

#[track_caller]
fn check(question: &Question, replicas: i32, line: &str) -> Decided {
    let decided = ask(question);
    assert_eq!((decided.replicas, decided.outcome.explanation.line().as_str()), (replicas, line));
    decided
}

#[test]
fn usage_and_request_are_enough_for_a_decision() {
    let asked = Question { usage: vec![("cpu".into(), quantity("180m"))], ..question(3) };
    let decided = check(&asked, 6, "3 -> 6: cpu at 180% of 90% asks for 6");
    assert_eq!(decided.status.current_replicas, 3);
    assert_eq!(
        decided.outcome.events[0].message,
        "New size: 6; reason: cpu resource utilization (percentage of request) above target"
    );
}

#[test]
fn pods_of_every_kind_can_be_supposed() {
    let asked = Question {
        starting: 1,
        pending: 1,
        unmeasured: 1,
        usage: vec![("cpu".into(), quantity("180m"))],
        ..question(4)
    };
    let decided = ask(&asked);
    let paragraph = decided.outcome.explanation.paragraph();
    assert!(
        paragraph.contains(
            "Pods: 1 counted, 1 pending (pod-3), 1 not ready and still starting (pod-2), 1 without a sample (pod-1)."
        ),
        "{paragraph}"
    );
}

#[test]
fn what_was_not_given_is_named() {
    check(
        &question(3),
        3,
        "stay at 3: cpu: unable to get metrics for resource cpu: unable to fetch metrics from resource metrics API: no usage was \
         given for cpu",
    );
}

#[test]
fn nothing_is_remembered_unless_it_is_given() {
    let idle = Question { usage: vec![("cpu".into(), quantity("9m"))], ..question(10) };
    check(&idle, 1, "10 -> 1: cpu at 9% of 90% asks for 1");
    let remembering = Question { recommended: vec![(7, 60 * NS_PER_S)], ..idle };
    check(
        &remembering,
        7,
        "10 -> 7: cpu at 9% of 90% asks for 1; held up to 7 by the 5m0s window (asked for 1m0s ago)",
    );
}

#[test]
fn values_answer_every_other_kind_of_metric() {
    let metrics = vec![
        Metric::pods("rps", Target::average_value(quantity("10"))),
        Metric::external("queue", Target::value(quantity("100"))),
        Metric::container_resource("app", "memory", Target::average_value(quantity("1Gi"))),
    ];
    let spec = Spec { max_replicas: 10, metrics, ..Spec::default() };
    let values = vec![("rps".into(), quantity("20")), ("queue".into(), quantity("150"))];
    let usage = vec![("memory".into(), quantity("512Mi"))];
    let asked = Question { values, usage, ..Question::new(spec, 4) };
    let decided = check(&asked, 8, "4 -> 8: rps at 20 per pod of 10 per pod asks for 8");
    let proposals: Vec<i32> =
        decided.outcome.explanation.metrics.iter().map(|m| m.outcome.as_ref().expect("a proposal").replicas).collect();
    assert_eq!(proposals, [8, 6, 2]);
}
