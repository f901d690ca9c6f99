use serde_json::json;

use super::*;
use crate::time::Time;

/// What an API server of Kubernetes 1.36 answered for this object as v2 and as v1.
fn served() -> (Value, Value) {
    let meta = json!({ "name": "multi", "namespace": "lab" });
    let v2 = json!({
        "kind": "HorizontalPodAutoscaler", "apiVersion": "autoscaling/v2", "metadata": meta,
        "spec": {
            "scaleTargetRef": { "kind": "Deployment", "name": "web2", "apiVersion": "apps/v1" },
            "minReplicas": 1, "maxReplicas": 3,
            "metrics": [
                { "type": "Pods", "pods": {
                    "metric": { "name": "http_requests", "selector": { "matchLabels": { "verb": "GET" } } },
                    "target": { "type": "AverageValue", "averageValue": "1" } } },
                { "type": "Object", "object": {
                    "describedObject": { "kind": "Service", "name": "web", "apiVersion": "v1" },
                    "target": { "type": "Value", "value": "2k" }, "metric": { "name": "rps" } } },
                { "type": "External", "external": {
                    "metric": { "name": "queue_depth", "selector": { "matchLabels": { "queue": "q1" } } },
                    "target": { "type": "AverageValue", "averageValue": "30" } } },
                { "type": "ContainerResource", "containerResource": {
                    "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 60 }, "container": "app" } },
            ],
        },
        "status": {
            "lastScaleTime": "2026-11-23T20:16:11Z", "currentReplicas": 3, "desiredReplicas": 3,
            "currentMetrics": [
                { "type": "Object", "object": {
                    "metric": { "name": "rps" }, "current": { "value": "500m" },
                    "describedObject": { "kind": "Service", "name": "web", "apiVersion": "v1" } } },
                { "type": "External", "external": {
                    "metric": { "name": "queue_depth", "selector": { "matchLabels": { "queue": "q1" } } },
                    "current": { "averageValue": "10" } } },
                { "type": "ContainerResource", "containerResource": {
                    "name": "cpu", "current": { "averageValue": "37m", "averageUtilization": 37 }, "container": "app" } },
            ],
            "conditions": [{
                "type": "AbleToScale", "status": "True", "lastTransitionTime": "2026-11-23T20:15:55Z",
                "reason": "ReadyForNewScale", "message": "recommended size matches current size" }],
        },
    });
    let annotations = json!({
        "autoscaling.alpha.kubernetes.io/conditions": r#"[{"type":"AbleToScale","status":"True","lastTransitionTime":"2026-11-23T20:15:55Z","reason":"ReadyForNewScale","message":"recommended size matches current size"}]"#,
        "autoscaling.alpha.kubernetes.io/current-metrics": r#"[{"type":"Object","object":{"target":{"kind":"Service","name":"web","apiVersion":"v1"},"metricName":"rps","currentValue":"500m"}},{"type":"External","external":{"metricName":"queue_depth","metricSelector":{"matchLabels":{"queue":"q1"}},"currentValue":"0","currentAverageValue":"10"}},{"type":"ContainerResource","containerResource":{"name":"cpu","currentAverageUtilization":37,"currentAverageValue":"37m","container":"app"}}]"#,
        "autoscaling.alpha.kubernetes.io/metrics": r#"[{"type":"Pods","pods":{"metricName":"http_requests","targetAverageValue":"1","selector":{"matchLabels":{"verb":"GET"}}}},{"type":"Object","object":{"target":{"kind":"Service","name":"web","apiVersion":"v1"},"metricName":"rps","targetValue":"2k"}},{"type":"External","external":{"metricName":"queue_depth","metricSelector":{"matchLabels":{"queue":"q1"}},"targetAverageValue":"30"}},{"type":"ContainerResource","containerResource":{"name":"cpu","targetAverageUtilization":60,"container":"app"}}]"#,
    });
    let v1 = json!({
        "kind": "HorizontalPodAutoscaler", "apiVersion": "autoscaling/v1",
        "metadata": { "name": "multi", "namespace": "lab", "annotations": annotations },
        "spec": {
            "scaleTargetRef": { "kind": "Deployment", "name": "web2", "apiVersion": "apps/v1" },
            "minReplicas": 1, "maxReplicas": 3 },
        "status": { "lastScaleTime": "2026-11-23T20:16:11Z", "currentReplicas": 3, "desiredReplicas": 3 },
    });
    (v2, v1)
}

#[test]
fn the_v1_view_is_what_an_api_server_serves() {
    let (v2, v1) = served();
    assert_eq!(v1::from_v2(&v2), Ok(v1));
}

#[test]
fn an_object_survives_the_way_through_v1() {
    let (mut v2, _) = served();
    v2["metadata"]["annotations"] = json!({ "mine": "kept" });
    v2["spec"]["metrics"][1]["object"]["target"] = json!({ "type": "AverageValue", "averageValue": "7" });
    v2["spec"]["behavior"] = json!({
        "scaleUp": { "stabilizationWindowSeconds": 0, "selectPolicy": "Max", "tolerance": "50m",
                     "policies": [{ "type": "Pods", "value": 4, "periodSeconds": 15 }] },
        "scaleDown": { "selectPolicy": "Disabled" },
    });
    let back = v1::from_v2(&v2).and_then(|view| v1::to_v2(&view));
    assert_eq!(back, Ok(v2));
}

#[test]
fn a_behavior_rides_in_an_annotation_with_go_field_names() {
    let (mut v2, _) = served();
    v2["spec"]["behavior"] = json!({ "scaleDown": { "stabilizationWindowSeconds": 60, "selectPolicy": "Max",
        "policies": [{ "type": "Percent", "value": 100, "periodSeconds": 15 }] } });
    let view = v1::from_v2(&v2).expect("a valid object");
    let expected = r#"{"ScaleUp":null,"ScaleDown":{"StabilizationWindowSeconds":60,"SelectPolicy":"Max","Policies":[{"Type":"Percent","Value":100,"PeriodSeconds":15}],"Tolerance":null}}"#;
    assert_eq!(view["metadata"]["annotations"][v1::BEHAVIOR], expected);
}

#[test]
fn v1_cpu_comes_after_the_metrics_of_the_annotation_and_defaults_to_80() {
    let mut v1 = json!({ "metadata": { "name": "h" }, "spec": {
        "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "e1" }, "maxReplicas": 5 } });
    let spec = |v1: &Value| v1::to_v2(v1).and_then(|v2| spec_from_json(&v2)).expect("a valid object");
    assert_eq!(spec(&v1).metrics, defaulted_cpu(80));
    v1["spec"]["targetCPUUtilizationPercentage"] = 70.into();
    assert_eq!(spec(&v1).metrics, defaulted_cpu(70));
    v1["metadata"]["annotations"] =
        json!({ v1::METRICS: r#"[{"type":"Resource","resource":{"name":"memory","targetAverageValue":"100Mi"}}]"# });
    let types: Vec<String> = spec(&v1).metrics.iter().map(|m| m.resource.clone().unwrap_or_default().name).collect();
    assert_eq!(types, ["memory", "cpu"]);
    v1["metadata"]["annotations"] = json!({ v1::METRICS: "not JSON" });
    assert_eq!(spec(&v1).metrics, defaulted_cpu(70), "a malformed annotation is ignored");
}

fn defaulted_cpu(percent: i32) -> Vec<crate::spec::Metric> {
    vec![crate::spec::Metric::resource("cpu", crate::spec::Target::utilization(percent))]
}

#[test]
fn decoding_errors_are_worded_as_go_words_them() {
    for (spec, expected) in [
        (
            json!({ "maxReplicas": "ten" }),
            "json: cannot unmarshal string into Go struct field HorizontalPodAutoscalerSpec.spec.maxReplicas of type int32",
        ),
        (
            json!({ "maxReplicas": 2147483648u32 }),
            "json: cannot unmarshal number 2147483648 into Go struct field HorizontalPodAutoscalerSpec.spec.maxReplicas of type int32",
        ),
        (
            json!({ "metrics": {} }),
            "json: cannot unmarshal object into Go struct field HorizontalPodAutoscalerSpec.spec.metrics of type []v2.MetricSpec",
        ),
        (
            json!({ "metrics": [{ "type": "Resource", "resource": { "name": "cpu", "target": { "averageUtilization": 1.5 } } }] }),
            "json: cannot unmarshal number 1.5 into Go struct field MetricTarget.spec.metrics.resource.target.averageUtilization of type int32",
        ),
        (
            json!({ "metrics": [{ "type": "Pods", "pods": { "target": { "averageValue": "1 k" } } }] }),
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        (
            json!({ "behavior": [] }),
            "json: cannot unmarshal array into Go struct field HorizontalPodAutoscalerSpec.spec.behavior of type v2.HorizontalPodAutoscalerBehavior",
        ),
    ] {
        let decoded = spec_from_json(&json!({ "spec": spec }));
        assert_eq!(decoded.map_err(|e| e.0), Err(expected.to_owned()));
    }
}

#[test]
fn a_bare_number_is_a_quantity_and_null_is_absent() {
    let object = json!({ "spec": { "minReplicas": null, "maxReplicas": 3, "metrics": [
        { "type": "Pods", "pods": { "metric": { "name": "m" }, "target": { "type": "AverageValue", "averageValue": 1500 } } }] } });
    let spec = spec_from_json(&object).expect("valid");
    assert_eq!(spec.min_replicas, None);
    assert_eq!(spec_to_json(&spec)["metrics"][0]["pods"]["target"]["averageValue"], "1500");
}

#[test]
fn defaulting_an_object_writes_what_the_api_server_would() {
    let mut object = json!({ "metadata": { "name": "h" }, "spec": { "maxReplicas": 3, "behavior": {} } });
    default_object(&mut object).expect("valid");
    let expected = json!({
        "scaleTargetRef": { "kind": "", "name": "" },
        "minReplicas": 1, "maxReplicas": 3,
        "metrics": [{ "type": "Resource", "resource": {
            "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 80 } } }],
        "behavior": {
            "scaleUp": { "stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [
                { "type": "Pods", "value": 4, "periodSeconds": 15 },
                { "type": "Percent", "value": 100, "periodSeconds": 15 }] },
            "scaleDown": { "selectPolicy": "Max", "policies": [{ "type": "Percent", "value": 100, "periodSeconds": 15 }] },
        },
    });
    assert_eq!(object["spec"], expected);
}

#[test]
fn a_status_that_was_never_written_reads_and_prints_as_upstream_has_it() {
    assert_eq!(status_to_json(&Status::default()), json!({ "desiredReplicas": 0, "currentMetrics": null }));
    assert_eq!(status_from_json(&json!({})), Ok(Status::default()));
}

#[test]
fn rfc3339_goes_both_ways() {
    for (text, seconds) in [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-11-23T20:15:55Z", 1_795_464_955),
        ("2000-02-29T23:59:59Z", 951_868_799),
        ("1969-12-31T23:59:59Z", -1),
        ("2100-03-01T00:00:00Z", 4_107_542_400),
    ] {
        assert_eq!(rfc3339::parse(text), Some(Time::from_s(seconds)), "{text}");
        assert_eq!(rfc3339::format(Time::from_s(seconds)), text);
    }
    assert_eq!(rfc3339::parse("2026-11-23T21:15:55.25+01:00"), Some(Time(1_795_464_955_250_000_000)));
    for wrong in [
        "",
        "2026",
        "2026-11-23",
        "2026-11-23T20:15:55",
        "2026-13-01T00:00:00Z",
        "x-y-zT1:2:3Z",
        "2026-11-23T20:15:55.5€Z",
    ] {
        assert_eq!(rfc3339::parse(wrong), None, "{wrong}");
    }
}
