//! The adapter as it runs: the binary, over HTTPS, before a stand-in for the API server and stand-ins for pods.

// Helpers outside of `#[test]` functions fail a test by panicking too.
#![allow(clippy::unwrap_used)]

mod process;
mod stand_in;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::process::Adapter;
use crate::stand_in::{Cluster, Mood};

const PODS: &str = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/lab/pods/*/work_queue_depth";
const SERVICE: &str = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/lab/services/web/work_queue_depth";

fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Pod names and values of a list; None for any other answer.
fn values(adapter: &Adapter, path: &str) -> Option<Vec<(String, String)>> {
    let (code, body) = adapter.get(path);
    let items = body["items"].as_array().filter(|_| code == 200)?.clone();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    Some(items.iter().map(|item| (text(&item["describedObject"]["name"]), text(&item["value"]))).collect())
}

fn await_values(adapter: &Adapter, path: &str, expected: &[(&str, &str)]) {
    let expected: Vec<(String, String)> =
        expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    eventually(&format!("{path} is {expected:?}"), || (values(adapter, path)? == expected).then_some(()));
}

fn await_refusal(adapter: &Adapter, path: &str) -> String {
    let refused = |(code, body): (u16, Value)| (code == 503).then(|| body["message"].as_str().unwrap().to_owned());
    eventually(&format!("{path} is refused"), || refused(adapter.get(path)))
}

#[test]
fn a_source_that_fails_is_left_out_of_lists_and_fails_sums_until_it_is_back() {
    let cluster = Cluster::start(&[("a", 3), ("b", 4)]);
    let adapter = Adapter::start(&cluster);
    await_values(&adapter, PODS, &[("a", "3"), ("b", "4")]);
    await_values(&adapter, SERVICE, &[("web", "7")]);

    cluster.pods[1].set(Mood::Failing);
    await_values(&adapter, PODS, &[("a", "3")]);
    let why = await_refusal(&adapter, SERVICE);
    assert!(why.contains("pod b: ") && why.contains("500"), "{why}");

    cluster.pods[0].set(Mood::Silent);
    let why = await_refusal(&adapter, PODS);
    assert!(why.contains("pod a: ") && why.contains("did not answer within"), "{why}");

    cluster.pods[0].set(Mood::Garbled);
    eventually("the broken line is named", || await_refusal(&adapter, PODS).contains("line 1").then_some(()));

    cluster.pods.iter().for_each(|pod| pod.set(Mood::Well));
    await_values(&adapter, SERVICE, &[("web", "7")]);
}

#[test]
fn a_source_that_is_endless_slow_or_unsure_is_an_outage_too() {
    let cluster = Cluster::start(&[("a", 3), ("b", 4)]);
    let adapter = Adapter::start(&cluster);
    await_values(&adapter, SERVICE, &[("web", "7")]);
    for (mood, reason) in [
        (Mood::Endless, "longer than 4194304 bytes"),
        (Mood::Dripping, "did not answer within"),
        (Mood::Unsure, "its value is no number"),
    ] {
        cluster.pods[1].set(mood);
        await_values(&adapter, PODS, &[("a", "3")]);
        eventually(reason, || await_refusal(&adapter, SERVICE).contains(reason).then_some(()));
        cluster.pods[1].set(Mood::Well);
        await_values(&adapter, SERVICE, &[("web", "7")]);
    }
}

#[test]
fn rates_and_selections_are_of_what_was_asked_for() {
    let cluster = Cluster::start(&[("a", 3), ("b", 4)]);
    let adapter = Adapter::start(&cluster);
    let custom = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/lab";
    await_values(&adapter, PODS, &[("a", "3"), ("b", "4")]);
    await_values(&adapter, &format!("{PODS}?labelSelector=pod-name%3Db"), &[("b", "4")]);
    await_values(&adapter, &format!("{custom}/metrics/work_queue_depth"), &[("lab", "7")]);
    let rate = |selector: &str| {
        let path = format!("{custom}/pods/a/http_requests_per_second?metricLabelSelector={selector}");
        let (code, body) = adapter.get(&path);
        (code == 200).then(|| body["items"][0].clone())
    };
    // The stand-in counts ten requests a second with 200, and five with 503.
    let is_near = |item: &Value, expected: f64| {
        let text = item["value"].as_str().unwrap();
        let value =
            text.strip_suffix('m').map_or_else(|| text.parse::<f64>().unwrap(), |m| m.parse::<f64>().unwrap() / 1e3);
        (value - expected).abs() < expected / 4.0
    };
    eventually("all requests", || rate("").filter(|item| is_near(item, 15.0) && item["windowSeconds"].is_u64()));
    eventually("the refused ones", || rate("code%3D503").filter(|item| is_near(item, 5.0)));
    assert_eq!(adapter.get(&format!("{custom}/pods/a/http_requests_per_second?metricLabelSelector=code%3D404")).0, 503);

    let external = "/apis/external.metrics.k8s.io/v1beta1/namespaces/lab/work_queue_depth?labelSelector=pod%3Db";
    let (_, list) = adapter.get(external);
    assert_eq!((&list["kind"], &list["items"][0]["value"]), (&json!("ExternalMetricValueList"), &json!("4")));
    assert_eq!(list["items"][0]["metricLabels"], json!({ "pod": "b" }));
}

#[test]
fn what_is_not_there_is_said_in_the_words_of_the_api() {
    let cluster = Cluster::start(&[("a", 3)]);
    let adapter = Adapter::start(&cluster);
    await_values(&adapter, PODS, &[("a", "3")]);
    let custom = "/apis/custom.metrics.k8s.io/v1beta2";
    for (path, code, message) in [
        (format!("{custom}/namespaces/lab/pods/*/nope"), 404, "could not find the metric nope for pods"),
        (format!("{custom}/namespaces/other/pods/*/work_queue_depth"), 404, "namespace \"lab\" only"),
        (format!("{custom}/namespaces/lab/pods/z/work_queue_depth"), 404, "no pod \"z\""),
        (format!("{custom}/namespaces/lab/services/z/work_queue_depth"), 404, "services \"z\" not found"),
        (format!("{custom}/namespaces/lab/jobs.batch/z/work_queue_depth"), 404, "for jobs.batch"),
        (format!("{PODS}?labelSelector=a%20b"), 400, "labelSelector"),
        ("/openapi/v2".to_owned(), 404, "could not find the requested resource"),
    ] {
        let (found, status) = adapter.get(&path);
        assert_eq!((found, &status["code"]), (code, &json!(code)), "{path}: {status}");
        assert!(status["message"].as_str().unwrap().contains(message), "{path}: {status}");
    }
    await_values(&adapter, &format!("{PODS}?labelSelector=pod-name%3Dz"), &[]);
    let (_, resources) = adapter.get(custom);
    let names: Vec<&str> =
        resources["resources"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert!(
        names.contains(&"pods/http_requests_per_second") && names.contains(&"services/work_queue_depth"),
        "{names:?}"
    );
}

#[test]
fn sigterm_turns_it_unready_and_ends_it_with_zero() {
    let cluster = Cluster::start(&[("a", 3)]);
    let mut adapter = Adapter::start(&cluster);
    eventually("it is ready", || (adapter.get("/readyz").0 == 200).then_some(()));
    adapter.terminate();
    eventually("it is unready, and still answers", || (adapter.get("/readyz").0 == 503).then_some(()));
    assert_eq!(adapter.get("/healthz").0, 200);
    assert_eq!(adapter.end(), Some(0));
}
