use serde_json::{Value, json};

use super::*;
use crate::cluster::DeleteOptions;
use crate::controllers::lab::{Lab, template};

fn set(changes: Value) -> Value {
    let mut set = json!({
        "metadata": { "name": "db" },
        "spec": {
            "replicas": 3, "serviceName": "db", "selector": { "matchLabels": { "app": "db" } },
            "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "partition": 0 } },
            "template": template("db", "image:1"),
        },
    });
    for (field, value) in changes.as_object().unwrap() {
        set["spec"][field] = value.clone();
    }
    set
}

fn names(lab: &Lab) -> Vec<String> {
    lab.active_pods().iter().map(|pod| object::name(pod).to_owned()).collect()
}

fn images(lab: &Lab) -> Vec<String> {
    lab.active_pods().iter().map(|pod| object::str_at(pod, "/spec/containers/0/image").to_owned()).collect()
}

fn ran(changes: Value) -> Lab {
    let mut lab = Lab::new();
    lab.create(STATEFUL_SETS, set(changes));
    lab.run(8, |_| {});
    lab
}

#[test]
fn pods_come_one_by_one_with_their_identity() {
    let mut lab = Lab::new();
    lab.create(STATEFUL_SETS, set(json!({})));
    lab.settle();
    assert_eq!(names(&lab), ["db-0"]);
    lab.run(8, |lab| {
        let pods = lab.active_pods();
        let unready = pods.iter().filter(|pod| !pod::is_ready(pod)).count();
        assert!(unready <= 1, "two pods at once");
    });
    assert_eq!(names(&lab), ["db-0", "db-1", "db-2"]);
    let pod = lab.get(PODS, "db-1");
    assert_eq!((&pod["spec"]["hostname"], &pod["spec"]["subdomain"]), (&json!("db-1"), &json!("db")));
    assert_eq!(object::label(&pod, POD_INDEX), Some("1"));
    let set = lab.get(STATEFUL_SETS, "db");
    assert_eq!(set["status"]["availableReplicas"], 3);
    assert_eq!(set["status"]["currentRevision"], set["status"]["updateRevision"]);
    assert_eq!(lab.events("StatefulSet")[0], "SuccessfulCreate create Pod db-0 in StatefulSet db successful");
}

#[test]
fn parallel_sets_do_not_wait() {
    let mut lab = Lab::new();
    lab.create(STATEFUL_SETS, set(json!({ "podManagementPolicy": "Parallel" })));
    lab.settle();
    assert_eq!(names(&lab).len(), 3);
}

#[test]
fn a_set_of_any_size_costs_one_look_no_more_than_the_pods_it_creates() {
    for policy in ["OrderedReady", "Parallel"] {
        let object = set(json!({ "replicas": i32::MAX, "podManagementPolicy": policy }));
        let mut outcome = Outcome::default();
        let history = History::of(&object, &Dependents::of(&Snapshot::default(), REVISIONS), &mut outcome);
        let set = Set::new(&object, history, &[], Timestamp::UNIX_EPOCH);
        set.sync(&Snapshot::default(), &mut outcome);
        assert!(set.replicas.len() <= BURST, "{policy}");
        assert!(outcome.actions.len() <= BURST + 1, "{policy}");
    }
}

#[test]
fn the_highest_goes_first_and_a_lost_pod_comes_back_under_its_name() {
    let mut lab = ran(json!({}));
    lab.patch(STATEFUL_SETS, "db", json!({ "spec": { "replicas": 1 } }));
    lab.settle();
    assert_eq!(names(&lab), ["db-0", "db-1"]);
    lab.run(5, |_| {});
    assert_eq!(names(&lab), ["db-0"]);
    let before = object::uid(&lab.get(PODS, "db-0")).to_owned();
    lab.delete(PODS, "default", "db-0", DeleteOptions::default());
    lab.run(4, |_| {});
    assert_ne!(object::uid(&lab.get(PODS, "db-0")), before);
}

#[test]
fn an_update_goes_down_to_the_partition() {
    let mut lab = ran(json!({}));
    let rolling = json!({ "type": "RollingUpdate", "rollingUpdate": { "partition": 1 } });
    lab.patch(
        STATEFUL_SETS,
        "db",
        json!({ "spec": { "updateStrategy": rolling, "template": template("db", "image:2") } }),
    );
    lab.run(12, |lab| assert!(lab.active_pods().len() >= 2));
    assert_eq!(images(&lab), ["image:1", "image:2", "image:2"]);
    lab.delete(PODS, "default", "db-0", DeleteOptions::default());
    lab.run(4, |_| {});
    assert_eq!(images(&lab)[0], "image:1", "below the partition the old revision returns");
    lab.patch(STATEFUL_SETS, "db", json!({ "spec": { "updateStrategy": { "rollingUpdate": { "partition": 0 } } } }));
    lab.run(6, |_| {});
    assert_eq!(images(&lab), ["image:2"; 3]);
    let status = &lab.get(STATEFUL_SETS, "db")["status"];
    assert_eq!(status["currentRevision"], status["updateRevision"]);
    assert_eq!(status["currentReplicas"], 3);
}

#[test]
fn a_template_that_returns_is_its_old_revision_with_a_new_number() {
    let mut lab = ran(json!({ "replicas": 1 }));
    for image in ["image:2", "image:1"] {
        lab.patch(STATEFUL_SETS, "db", json!({ "spec": { "template": template("db", image) } }));
        lab.run(5, |_| {});
    }
    let mut numbers: Vec<i64> = lab.list(REVISIONS).iter().map(|it| object::i64_at(it, "/revision").unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [2, 3]);
    assert_eq!(images(&lab), ["image:1"]);
}

#[test]
fn claims_are_made_from_templates_and_outlive_their_pods() {
    let claim = json!({ "metadata": { "name": "data" }, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Mi" } } } });
    let mut lab = ran(json!({ "replicas": 2, "volumeClaimTemplates": [claim] }));
    let claims = |lab: &Lab| lab.list(CLAIMS).iter().map(|it| object::name(it).to_owned()).collect::<Vec<_>>();
    assert_eq!(claims(&lab), ["data-db-0", "data-db-1"]);
    let volume = &lab.get(PODS, "db-1")["spec"]["volumes"][0];
    assert_eq!(volume["persistentVolumeClaim"]["claimName"], "data-db-1");
    lab.patch(STATEFUL_SETS, "db", json!({ "spec": { "replicas": 0 } }));
    lab.run(5, |_| {});
    assert_eq!(claims(&lab).len(), 2);
}
