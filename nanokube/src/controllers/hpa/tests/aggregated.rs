//! Pods, Object and External metrics come from the servers that an APIService names, and where they do not come, the
//! controller says so in upstream's words and changes nothing.

use serde_json::{Value, json};

use super::Scaling;
use super::metrics_server::{MetricsServer, values};

const CUSTOM: (&str, &str) = ("custom.metrics.k8s.io", "v1beta2");
const OLD_CUSTOM: (&str, &str) = ("custom.metrics.k8s.io", "v1beta1");
const EXTERNAL: (&str, &str) = ("external.metrics.k8s.io", "v1beta1");

fn pods() -> Value {
    let target = json!({ "type": "AverageValue", "averageValue": "10" });
    let metric = json!({ "name": "rps", "selector": { "matchLabels": { "code": "200" } } });
    json!({ "type": "Pods", "pods": { "metric": metric, "target": target } })
}

fn object() -> Value {
    let target = json!({ "type": "Value", "value": "10" });
    let described = json!({ "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "way" });
    json!({ "type": "Object", "object": { "metric": { "name": "rps" }, "describedObject": described, "target": target } })
}

fn namespace() -> Value {
    let target = json!({ "type": "AverageValue", "averageValue": "10" });
    let described = json!({ "apiVersion": "v1", "kind": "Namespace", "name": "another" });
    json!({ "type": "Object", "object": { "metric": { "name": "rps" }, "describedObject": described, "target": target } })
}

fn external() -> Value {
    let metric = json!({ "name": "queue", "selector": { "matchLabels": { "name": "jobs" } } });
    let target = json!({ "type": "AverageValue", "averageValue": "10" });
    json!({ "type": "External", "external": { "metric": metric, "target": target } })
}

/// The first pass over one metric, with a server registered for a group that answers so.
#[track_caller]
fn check(metric: Value, (group, version): (&str, &str), answer: &str, path: &str, current: Value) {
    let server = MetricsServer::start();
    let mut scaling = Scaling::with(json!({ "metrics": [metric] }));
    server.answer(200, answer.replace("THE POD", crate::object::name(&scaling.lab.active_pods()[0])));
    server.register(&mut scaling.lab, group, version);
    scaling.run(16);
    assert_eq!(server.asked.lock().unwrap().join(" "), format!("/apis/{group}/{version}/namespaces/default/{path}"));
    assert_eq!(scaling.replicas(), 3, "{:?}", scaling.events());
    let kind = if group == EXTERNAL.0 { "external" } else { metric["type"].as_str().unwrap() }.to_lowercase();
    assert_eq!(scaling.lab.get(super::HPAS, "web")["status"]["currentMetrics"][0][kind]["current"], current);
}

#[test]
fn custom_and_external_metrics_scale_through_the_servers_that_are_registered() {
    let of_pods = values("Pod", &[("THE POD", "25500m")]);
    let of_one = values("Ingress", &[("way", "25500m")]);
    let series = |value: &str| json!({ "metricName": "queue", "timestamp": "2026-01-01T00:00:00Z", "value": value });
    let list = json!({ "kind": "ExternalMetricValueList", "items": [series("20"), series("5500m")] }).to_string();
    let selected = "pods/%2A/rps?labelSelector=app%3Dweb&metricLabelSelector=code%3D200";
    let whole = json!({ "value": "25500m" });
    let average = json!({ "averageValue": "25500m" });
    check(object(), CUSTOM, &of_one, "ingresses.networking.k8s.io/way/rps", whole.clone());
    check(object(), OLD_CUSTOM, &of_one, "ingresses.networking.k8s.io/way/rps", whole);
    check(namespace(), CUSTOM, &of_one, "metrics/rps", average.clone());
    check(external(), EXTERNAL, &list, "queue?labelSelector=name%3Djobs", average.clone());
    check(pods(), CUSTOM, &of_pods, selected, average);
}

#[test]
fn a_metric_that_cannot_be_had_is_an_error_in_upstreams_words_and_never_zero() {
    let not_found = json!({ "kind": "Status", "status": "Failure", "code": 404, "message": "rps is not known" });
    let rps = "unable to get metric rps";
    let queue = "unable to get external metric default/queue/&LabelSelector{MatchLabels:map[string]string{name: jobs,},\
                 MatchExpressions:[]LabelSelectorRequirement{},}: unable to fetch metrics from external metrics API";
    let busy = "the server is currently unable to handle the request (get";
    let unable = "unable to fetch metrics from custom metrics API";
    let cases = [
        (pods(), CUSTOM, 404, not_found.to_string(), format!("{rps}: {unable}: rps is not known")),
        (pods(), CUSTOM, 503, "down".into(), format!("{rps}: {unable}: {busy} pods.custom.metrics.k8s.io *)")),
        (pods(), CUSTOM, 200, values("Pod", &[]), format!("{rps}: no metrics returned from custom metrics API")),
        (
            pods(),
            EXTERNAL,
            200,
            String::new(),
            format!("{rps}: {unable}: no custom metrics API (custom.metrics.k8s.io) registered"),
        ),
        (
            object(),
            CUSTOM,
            503,
            "down".into(),
            format!(
                "{rps}: Ingress on default way/{unable}: {busy} ingresses.networking.k8s.io.custom.metrics.k8s.io way)"
            ),
        ),
        (external(), EXTERNAL, 503, "down".into(), format!("{queue}: {busy} queue.external.metrics.k8s.io)")),
        (
            external(),
            CUSTOM,
            200,
            String::new(),
            format!("{queue}: the server could not find the requested resource (get queue.external.metrics.k8s.io)"),
        ),
    ];
    for (metric, (group, version), code, body, message) in cases {
        let server = MetricsServer::start();
        server.answer(code, body);
        let reason = format!("FailedGet{}Metric", metric["type"].as_str().unwrap());
        let mut scaling = Scaling::with(json!({ "metrics": [metric] }));
        server.register(&mut scaling.lab, group, version);
        scaling.run(16);
        assert_eq!(scaling.events()[0], format!("{reason} {message}"));
        let words = format!("False {reason} the HPA was unable to compute the replica count: {message}");
        assert_eq!(scaling.condition("ScalingActive"), words);
        assert_eq!(scaling.replicas(), 1);
    }
}

#[test]
fn a_server_that_is_gone_is_unavailable() {
    let server = MetricsServer::start();
    let mut scaling = Scaling::with(json!({ "metrics": [pods()] }));
    server.register(&mut scaling.lab, CUSTOM.0, CUSTOM.1);
    drop(server);
    scaling.run(16);
    let message = "unable to get metric rps: unable to fetch metrics from custom metrics API: \
                   the server is currently unable to handle the request (get pods.custom.metrics.k8s.io *)";
    assert_eq!(scaling.events()[0], format!("FailedGetPodsMetric {message}"));
}
