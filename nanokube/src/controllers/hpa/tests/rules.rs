//! Rules that a real cluster was observed to keep and that no other test states: `docs/real-pace.md` lists all of them.

use serde_json::json;

use super::recorded::{RECORDED_PHASES, Timeline};
use super::{HPAS, Scaling};
use crate::object;

#[test]
fn before_the_first_pass_the_status_says_nothing_and_a_failed_metric_leaves_one_empty_element() {
    let mut scaling = Scaling::with(json!({}));
    assert_eq!(scaling.lab.get(HPAS, "web")["status"], json!({ "currentMetrics": null, "desiredReplicas": 0 }));
    scaling.run(16);
    let status = scaling.lab.get(HPAS, "web")["status"].clone();
    assert_eq!((&status["currentMetrics"], &status["desiredReplicas"]), (&json!([{ "type": "" }]), &json!(0)));
    assert_eq!(status["currentReplicas"], 1);
}

/// The event of the second pass under load, where the second pod was ready at that second of the recording.
fn second_rescale(ready: f64) -> String {
    let mut phases = RECORDED_PHASES;
    phases.lives.to_mut()[1].1 = ready;
    let mut timeline = Timeline::new(&phases, 0);
    timeline.apply();
    timeline.run(&phases, |_, _| {});
    let events = timeline.lab.events("HorizontalPodAutoscaler");
    events.into_iter().filter(|event| event.starts_with("SuccessfulRescale")).nth(1).unwrap()
}

#[test]
fn a_first_sample_counts_only_where_cutting_both_stamps_to_whole_seconds_puts_its_window_after_ready() {
    // Its window began before it was ready either way; the second of the stamp ends at 20.28. Without it, what is left
    // is the recommendation that is held.
    let above = "SuccessfulRescale New size: 5; reason: cpu resource utilization (percentage of request) above target";
    assert_eq!(second_rescale(20.27), above);
    assert_eq!(second_rescale(20.29), "SuccessfulRescale New size: 5; reason: ");
}

#[test]
fn unready_pods_count_as_zero_on_the_way_up_and_the_status_shows_the_ready_ones_alone() {
    let mut timeline = Timeline::new(&RECORDED_PHASES, 0);
    timeline.apply();
    let mut seen = None;
    timeline.run(&RECORDED_PHASES, |timeline, at| {
        if at < 36.0 {
            let status = timeline.lab.get(HPAS, "work")["status"].clone();
            let shown = object::i64_at(&status, "/currentMetrics/0/resource/current/averageUtilization");
            seen = shown.zip(object::i64_at(&status, "/desiredReplicas"));
        }
    });
    let (shown, desired) = seen.unwrap();
    assert_eq!(desired, 5);
    assert!(shown > 100, "two of four pods at {shown} %: by what is shown alone it would be 8 or more");
}

#[test]
fn a_policy_of_four_pods_goes_from_one_to_five_where_no_behavior_goes_to_four() {
    let policy = json!({ "type": "Pods", "value": 4, "periodSeconds": 15 });
    for (changes, size) in [(json!({ "behavior": { "scaleUp": { "policies": [policy] } } }), 5), (json!({}), 4)] {
        let mut scaling = Scaling::with(changes);
        scaling.load(500);
        scaling.run(16);
        assert_eq!(scaling.replicas(), size);
    }
}

#[test]
fn a_recommendation_that_was_cut_is_still_held_and_scales_up_later_without_a_reason() {
    let mut scaling = Scaling::with(json!({}));
    scaling.load(500);
    scaling.run(16);
    scaling.load(400);
    scaling.run(15);
    // Four pods at their target propose four; the five of the first pass is in the window.
    assert_eq!(scaling.replicas(), 5);
    assert_eq!(scaling.events().last().unwrap(), "SuccessfulRescale New size: 5; reason: ");
}

#[test]
fn the_status_of_a_rescale_has_the_old_size_and_the_next_pass_the_new_one() {
    let mut scaling = Scaling::with(json!({}));
    scaling.load(500);
    let sizes = |scaling: &Scaling| {
        let status = &scaling.lab.get(HPAS, "web")["status"];
        (status["currentReplicas"].as_i64(), status["desiredReplicas"].as_i64())
    };
    scaling.run(16);
    assert_eq!(sizes(&scaling), (Some(1), Some(4)));
    scaling.run(13);
    assert_eq!(sizes(&scaling), (Some(1), Some(4)));
    scaling.run(2);
    assert_eq!(sizes(&scaling).0, Some(4));
}
