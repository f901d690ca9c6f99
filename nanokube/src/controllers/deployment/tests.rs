//! Rollouts in virtual time, through the real runner and write path.

use serde_json::{Value, json};

use super::{DEPLOYMENTS, REPLICA_SETS};
use crate::controllers::lab::{Fate, Lab, deployment, template};
use crate::controllers::pod;
use crate::controllers::time::plus_s;
use crate::object;

fn image(image: &str) -> Value {
    json!({ "spec": { "template": template("web", image) } })
}

fn number(object: &Value, pointer: &str) -> i64 {
    object::i64_at(object, pointer).unwrap_or(0)
}

fn condition<'a>(object: &'a Value, kind: &str) -> (&'a str, &'a str) {
    let found = object::condition(object, kind)
        .map(|found| (object::str_at(found, "/status"), object::str_at(found, "/reason")));
    found.unwrap_or(("", ""))
}

/// `(size, revision)` of the ReplicaSets, by revision.
fn sets(lab: &Lab) -> Vec<(i64, i64)> {
    let mut sets: Vec<(i64, i64)> = lab
        .list(REPLICA_SETS)
        .iter()
        .map(|set| (number(set, "/spec/replicas"), object::annotation(set, super::REVISION).unwrap().parse().unwrap()))
        .collect();
    sets.sort_by_key(|(_, revision)| *revision);
    sets
}

/// The bounds of a rolling update: never more than `max` active pods, never fewer than `min` available ones.
#[track_caller]
fn check_bounds(lab: &Lab, max: usize, min: usize) {
    let active = lab.active_pods();
    assert!(active.len() <= max, "{} pods are more than {max}", active.len());
    let available = active.iter().filter(|candidate| pod::is_ready(candidate)).count();
    assert!(available >= min, "{available} available pods are fewer than {min}");
}

fn rolled_out(replicas: i64) -> Lab {
    let mut lab = Lab::new();
    lab.create(DEPLOYMENTS, deployment(replicas));
    lab.run(5, |_| {});
    lab
}

#[test]
fn a_new_deployment_becomes_available_and_says_how() {
    let mut lab = Lab::new();
    lab.create(DEPLOYMENTS, deployment(3));
    lab.settle();
    let pending = lab.get(DEPLOYMENTS, "web");
    assert_eq!(condition(&pending, "Available"), ("False", "MinimumReplicasUnavailable"));
    assert_eq!(pending["status"]["unavailableReplicas"], 3);
    lab.run(3, |_| {});

    let done = lab.get(DEPLOYMENTS, "web");
    let mut status = done["status"].clone();
    let conditions = status.as_object_mut().unwrap().remove("conditions").unwrap();
    assert_eq!(
        status,
        json!({ "observedGeneration": 1, "replicas": 3, "updatedReplicas": 3, "readyReplicas": 3,
                "availableReplicas": 3, "terminatingReplicas": 0 })
    );
    assert_eq!(conditions[0]["type"], "Available");
    assert_eq!(condition(&done, "Progressing"), ("True", "NewReplicaSetAvailable"));
    assert_eq!(object::annotation(&done, super::REVISION), Some("1"));

    let set = &lab.list(REPLICA_SETS)[0];
    let name = object::name(set);
    assert_eq!(object::annotation(set, super::DESIRED), Some("3"));
    assert_eq!(object::annotation(set, super::MAXIMUM), Some("4"));
    assert_eq!(
        object::str_at(&conditions[1], "/message"),
        format!("ReplicaSet \"{name}\" has successfully progressed.")
    );
    assert_eq!(lab.events("Deployment"), [format!("ScalingReplicaSet Scaled up replica set {name} from 0 to 3")]);
    assert_eq!(lab.events("ReplicaSet").len(), 3);
    assert!(lab.events("ReplicaSet")[0].starts_with(&format!("SuccessfulCreate Created pod: {name}-")));
}

#[test]
fn a_rolling_update_stays_within_surge_and_unavailability() {
    let cases = [
        (3, json!("25%"), json!("25%"), 4, 3),
        (10, json!("25%"), json!("25%"), 13, 8),
        (4, json!(0), json!(1), 4, 3),
        (4, json!(4), json!(0), 8, 4),
        (1, json!("100%"), json!("100%"), 2, 0),
    ];
    for (replicas, surge, unavailable, max, min) in cases {
        let mut lab = Lab::new();
        let mut web = deployment(replicas);
        web["spec"]["strategy"]["rollingUpdate"] = json!({ "maxSurge": surge, "maxUnavailable": unavailable });
        lab.create(DEPLOYMENTS, web);
        lab.run(5, |lab| check_bounds(lab, max, 0));
        lab.patch(DEPLOYMENTS, "web", image("image:2"));
        lab.run(40, |lab| check_bounds(lab, max, min));
        assert_eq!(sets(&lab), [(0, 1), (replicas, 2)], "{replicas} {surge} {unavailable}");
        let done = lab.get(DEPLOYMENTS, "web");
        assert_eq!(condition(&done, "Progressing"), ("True", "NewReplicaSetAvailable"));
        assert_eq!(number(&done, "/status/observedGeneration"), 2);
    }
}

#[test]
fn status_never_claims_a_generation_before_its_rollout_has_begun() {
    let mut lab = rolled_out(3);
    let mut watch = lab.cluster.watch(DEPLOYMENTS, None, lab.cluster.revision()).unwrap();
    lab.patch(DEPLOYMENTS, "web", image("image:2"));
    lab.run(20, |_| {});
    let states = watch.pending().unwrap();
    let mut last = 0;
    for change in &states {
        let observed = number(&change.object, "/status/observedGeneration");
        assert!(observed >= last && observed <= object::generation(&change.object));
        let claims_done =
            number(&change.object, "/status/updatedReplicas") == 3 && number(&change.object, "/status/replicas") == 3;
        if observed == 2 && claims_done && number(&change.object, "/status/availableReplicas") == 3 {
            assert_eq!(sets(&lab)[1], (3, 2));
        }
        if last == 1 && observed == 2 {
            assert!(!claims_done, "done with the very first status of the new generation: {}", change.object["status"]);
        }
        last = observed;
    }
    assert_eq!(last, 2);
}

#[test]
fn recreate_ends_all_old_pods_before_the_first_new_one() {
    let mut lab = Lab::new();
    let mut web = deployment(3);
    web["spec"]["strategy"] = json!({ "type": "Recreate" });
    lab.create(DEPLOYMENTS, web);
    lab.run(5, |_| {});
    lab.patch(DEPLOYMENTS, "web", image("image:2"));
    lab.run(10, |lab| {
        let images: std::collections::BTreeSet<String> =
            lab.list("pods").iter().map(|it| object::str_at(it, "/spec/containers/0/image").to_owned()).collect();
        assert!(images.len() < 2, "pods of both templates at once");
    });
    assert_eq!(sets(&lab), [(0, 1), (3, 2)]);
}

#[test]
fn an_undo_finds_the_old_replica_set_again_under_a_new_revision() {
    let mut lab = rolled_out(2);
    lab.patch(DEPLOYMENTS, "web", image("image:2"));
    lab.run(10, |_| {});
    lab.patch(DEPLOYMENTS, "web", image("image:1"));
    lab.run(10, |_| {});
    assert_eq!(sets(&lab), [(0, 2), (2, 3)]);
    assert_eq!(object::annotation(&lab.get(DEPLOYMENTS, "web"), super::REVISION), Some("3"));
    let set = lab.list(REPLICA_SETS).into_iter().find(|set| number(set, "/spec/replicas") == 2).unwrap();
    assert_eq!(object::annotation(&set, super::REVISION_HISTORY), Some("1"));
}

#[test]
fn a_new_size_becomes_pods_before_any_time_passes() {
    let mut lab = rolled_out(1);
    lab.patch(DEPLOYMENTS, "web", json!({ "spec": { "replicas": 4 } }));
    let before = lab.now();
    lab.settle();
    assert_eq!((lab.active_pods().len(), lab.now()), (4, before));
}

#[test]
fn a_paused_deployment_scales_but_does_not_roll() {
    let mut lab = rolled_out(2);
    lab.patch(DEPLOYMENTS, "web", json!({ "spec": { "paused": true } }));
    lab.patch(DEPLOYMENTS, "web", image("image:2"));
    lab.run(3, |_| {});
    assert_eq!(sets(&lab), [(2, 1)]);
    assert_eq!(condition(&lab.get(DEPLOYMENTS, "web"), "Progressing"), ("Unknown", "DeploymentPaused"));
    lab.patch(DEPLOYMENTS, "web", json!({ "spec": { "replicas": 4 } }));
    lab.run(3, |_| {});
    assert_eq!(sets(&lab), [(4, 1)]);
    lab.patch(DEPLOYMENTS, "web", json!({ "spec": { "paused": null } }));
    lab.run(20, |_| {});
    assert_eq!(sets(&lab), [(0, 1), (4, 2)]);
    assert_eq!(condition(&lab.get(DEPLOYMENTS, "web"), "Progressing"), ("True", "NewReplicaSetAvailable"));
}

#[test]
fn scaling_in_the_middle_of_a_rollout_is_spread_in_proportion() {
    let mut lab = rolled_out(10);
    lab.fate =
        |pod| if object::str_at(pod, "/spec/containers/0/image") == "image:2" { Fate::NeverReady } else { Fate::Ready };
    lab.patch(DEPLOYMENTS, "web", image("image:2"));
    lab.run(5, |_| {});
    assert_eq!(sets(&lab), [(8, 1), (5, 2)]);
    lab.patch(DEPLOYMENTS, "web", json!({ "spec": { "replicas": 20 } }));
    lab.run(5, |_| {});
    // 20 + 25 % = 25 in all: 8 and 5 of 13 grow by 12 in proportion.
    assert_eq!(sets(&lab), [(15, 1), (10, 2)]);
}

#[test]
fn a_rollout_without_progress_is_called_so_after_its_deadline() {
    let mut lab = Lab::new();
    lab.fate = |_| Fate::NeverReady;
    lab.create(DEPLOYMENTS, deployment(1));
    lab.run(3, |_| {});
    assert_eq!(condition(&lab.get(DEPLOYMENTS, "web"), "Progressing"), ("True", "ReplicaSetUpdated"));
    let wake = lab.runner.round().expect("a deadline to wake for");
    assert!(wake <= plus_s(lab.now(), 601));
    lab.skip(602);
    assert_eq!(condition(&lab.get(DEPLOYMENTS, "web"), "Progressing"), ("False", "ProgressDeadlineExceeded"));
    lab.fate = |_| Fate::Ready;
    lab.delete("pods", "default", object::name(&lab.list("pods")[0]), Default::default());
    lab.run(5, |_| {});
    assert_eq!(condition(&lab.get(DEPLOYMENTS, "web"), "Progressing"), ("True", "NewReplicaSetAvailable"));
}

#[test]
fn min_ready_seconds_delays_availability() {
    let mut lab = Lab::new();
    let mut web = deployment(1);
    web["spec"]["minReadySeconds"] = json!(10);
    lab.create(DEPLOYMENTS, web);
    lab.run(5, |_| {});
    assert_eq!(number(&lab.get(DEPLOYMENTS, "web"), "/status/readyReplicas"), 1);
    assert_eq!(number(&lab.get(DEPLOYMENTS, "web"), "/status/availableReplicas"), 0);
    lab.run(10, |_| {});
    assert_eq!(number(&lab.get(DEPLOYMENTS, "web"), "/status/availableReplicas"), 1);
}

#[test]
fn old_revisions_beyond_the_limit_go() {
    let mut lab = rolled_out(1);
    lab.patch(DEPLOYMENTS, "web", json!({ "spec": { "revisionHistoryLimit": 2 } }));
    for version in 2..7 {
        lab.patch(DEPLOYMENTS, "web", image(&format!("image:{version}")));
        lab.run(6, |_| {});
    }
    assert_eq!(sets(&lab), [(0, 4), (0, 5), (1, 6)]);
}

#[test]
fn a_template_whose_hash_is_taken_gets_another_name() {
    let mut lab = Lab::new();
    lab.create(DEPLOYMENTS, deployment(1));
    lab.settle();
    let taken = lab.list(REPLICA_SETS)[0].clone();
    let mut lab = Lab::new();
    let selector = json!({ "matchLabels": { "app": "other" } });
    let foreign = json!({
        "metadata": { "name": object::name(&taken), "labels": { "app": "other" } },
        "spec": { "replicas": 0, "selector": selector, "template": template("other", "x") },
    });
    lab.create(REPLICA_SETS, foreign);
    lab.create(DEPLOYMENTS, deployment(1));
    lab.run(4, |_| {});
    let web = lab.get(DEPLOYMENTS, "web");
    assert_eq!(number(&web, "/status/collisionCount"), 1);
    assert_eq!(number(&web, "/status/availableReplicas"), 1);
}

#[test]
fn unrelated_changes_write_nothing() {
    let mut lab = rolled_out(2);
    lab.settle();
    let before = lab.cluster.revision();
    lab.create("configmaps", json!({ "metadata": { "name": "x" } }));
    lab.settle();
    assert_eq!(lab.cluster.revision(), before + 1);
}

mod convergence {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Image(u8),
        Replicas(i64),
        Pause(bool),
        KillPod,
        Wait(u32),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0_u8..4).prop_map(Step::Image),
            (0_i64..8).prop_map(Step::Replicas),
            any::<bool>().prop_map(Step::Pause),
            Just(Step::KillPod),
            (0_u32..4).prop_map(Step::Wait),
        ];
        prop::collection::vec(step, 1..12)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_happens_a_rollout_ends_as_the_spec_says(
            steps in steps(), surge in 0_i64..3, unavailable in 0_i64..3,
        ) {
            let mut lab = Lab::new();
            let mut web = deployment(3);
            let surge = if unavailable == 0 { surge.max(1) } else { surge };
            web["spec"]["strategy"]["rollingUpdate"] = json!({ "maxSurge": surge, "maxUnavailable": unavailable });
            lab.create(DEPLOYMENTS, web);
            for step in steps {
                match step {
                    Step::Image(version) => drop(lab.patch(DEPLOYMENTS, "web", image(&format!("image:{version}")))),
                    Step::Replicas(replicas) => {
                        lab.patch(DEPLOYMENTS, "web", json!({ "spec": { "replicas": replicas } }));
                    }
                    Step::Pause(paused) => drop(lab.patch(DEPLOYMENTS, "web", json!({ "spec": { "paused": paused } }))),
                    Step::KillPod => {
                        if let Some(victim) = lab.active_pods().first() {
                            lab.delete("pods", "default", object::name(victim), Default::default());
                        }
                    }
                    Step::Wait(seconds) => lab.run(seconds, |_| {}),
                }
            }
            lab.patch(DEPLOYMENTS, "web", json!({ "spec": { "paused": null } }));
            lab.run(60, |_| {});
            let web = lab.get(DEPLOYMENTS, "web");
            let wanted = number(&web, "/spec/replicas");
            prop_assert_eq!(number(&web, "/status/availableReplicas"), wanted);
            prop_assert_eq!(number(&web, "/status/updatedReplicas"), wanted);
            prop_assert_eq!(number(&web, "/status/replicas"), wanted);
            prop_assert_eq!(lab.active_pods().len() as i64, wanted);
            prop_assert_eq!(number(&web, "/status/observedGeneration"), object::generation(&web));
        }
    }
}
