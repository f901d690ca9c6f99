//! Rules by small cases, and beside what a real API server said.

use serde_json::{Value, json};

use super::*;
use crate::recorded;
use crate::status::ApiError;

/// Applies defaults, validates, and compares all errors as text, one a line.
fn check(resource: &str, mut object: Value, expected: &[&str]) {
    crate::defaults::apply(resource, &mut object);
    let found: Vec<String> = validate(resource, &object, None).iter().map(ToString::to_string).collect();
    assert_eq!(found, expected, "{object}");
}

fn check_update(resource: &str, mut old: Value, change: impl Fn(&mut Value), expected: &[&str]) {
    crate::defaults::apply(resource, &mut old);
    let mut new = old.clone();
    change(&mut new);
    let found: Vec<String> = validate(resource, &new, Some(&old)).iter().map(ToString::to_string).collect();
    assert_eq!(found, expected, "{new}");
}

fn pod(spec: Value) -> Value {
    json!({ "metadata": { "name": "p", "namespace": "n" }, "spec": spec })
}

fn with_container(more: Value) -> Value {
    let mut container = json!({ "name": "c", "image": "i" });
    container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "containers": [container] })
}

fn deployment() -> Value {
    json!({ "metadata": { "name": "d", "namespace": "n" }, "spec": { "selector": { "matchLabels": { "a": "b" } },
        "template": { "metadata": { "labels": { "a": "b" } }, "spec": with_container(json!({})) } } })
}

#[test]
fn metadata_is_checked_for_every_kind() {
    let words = text::dns_subdomain("X_").pop().unwrap();
    let name = format!("metadata.name: Invalid value: \"X_\": {words}");
    check("leases.coordination.k8s.io", json!({ "metadata": { "name": "X_" } }), &[&name]);
    check(
        "configmaps",
        json!({ "metadata": {} }),
        &["metadata.name: Required value: name or generateName is required"],
    );
    let label = text::label_value("b!").pop().unwrap();
    let labels = json!({ "metadata": { "name": "x", "labels": { "a": "b!" } } });
    check("configmaps", labels, &[&format!("metadata.labels: Invalid value: \"b!\": {label}")]);
    let annotations = json!({ "metadata": { "name": "x", "annotations": { "a": "x".repeat(300 << 10) } } });
    check("configmaps", annotations, &["metadata.annotations: Too long: may not be more than 262144 bytes"]);
    let owner = |name: &str| json!({ "apiVersion": "v1", "kind": "Pod", "name": name, "uid": "u", "controller": true });
    let owners = json!({ "metadata": { "name": "x", "ownerReferences": [owner("a"), owner("b")] } });
    let found = validate("configmaps", &owners, None);
    assert!(found[0].detail.ends_with("references for Pod/a and Pod/b"), "{found:?}");
    check("configmaps", json!({ "metadata": { "generateName": "x-", "name": "x-abcde" } }), &[]);
    check("roles.rbac.authorization.k8s.io", json!({ "metadata": { "name": "System:a" } }), &[]);
}

#[test]
fn probes_have_one_handler() {
    let probe = |probe: Value| pod(with_container(json!({ "livenessProbe": probe })));
    let path = "spec.containers[0].livenessProbe";
    check("pods", probe(json!({})), &[&format!("{path}: Required value: must specify a handler type")]);
    check(
        "pods",
        probe(json!({ "exec": {}, "tcpSocket": { "port": 1 } })),
        &[
            &format!("{path}.exec.command: Required value"),
            &format!("{path}.tcpSocket: Forbidden: may not specify more than 1 handler type"),
        ],
    );
    check(
        "pods",
        probe(json!({ "httpGet": { "port": 0 }, "periodSeconds": -1, "successThreshold": 2 })),
        &[
            &format!("{path}.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive"),
            &format!("{path}.periodSeconds: Invalid value: -1: must be greater than or equal to 0"),
            &format!("{path}.successThreshold: Invalid value: 2: must be 1"),
        ],
    );
}

#[test]
fn mounts_need_a_volume_and_volumes_one_kind() {
    let mut spec = with_container(json!({ "volumeMounts": [{ "name": "v", "mountPath": "/a" }, { "name": "w",
        "mountPath": "/a" }] }));
    spec["volumes"] = json!([{ "name": "v", "emptyDir": {}, "hostPath": { "path": "/" } }, { "name": "v" }]);
    check(
        "pods",
        pod(spec),
        &[
            "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type",
            "spec.volumes[1].name: Duplicate value: \"v\"",
            "spec.containers[0].volumeMounts[1].name: Not found: \"w\"",
            "spec.containers[0].volumeMounts[1].mountPath: Invalid value: \"/a\": must be unique",
        ],
    );
}

#[test]
fn a_stateful_set_may_mount_what_its_pods_will_claim() {
    let with = |mount: &str| {
        let mut set = deployment();
        set["spec"]["template"]["spec"] =
            with_container(json!({ "volumeMounts": [{ "name": mount, "mountPath": "/data" }] }));
        set["spec"]["volumeClaimTemplates"] = json!([{ "metadata": { "name": "data" } }]);
        set
    };
    check("statefulsets.apps", with("data"), &[]);
    let missing = "spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"other\"";
    check("statefulsets.apps", with("other"), &[missing]);
}

#[test]
fn environment_comes_from_one_place() {
    let env = json!([{ "name": "A", "value": "1", "valueFrom": { "fieldRef": { "fieldPath": "status.podIP" } } },
        { "name": "B", "valueFrom": { "fieldRef": { "fieldPath": "spec.nope" } } }, { "name": "=" }]);
    check(
        "pods",
        pod(with_container(json!({ "env": env }))),
        &[
            "spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty",
            "spec.containers[0].env[1].valueFrom.fieldRef.fieldPath: Invalid value: \"spec.nope\": error converting \
         fieldPath: field label not supported: spec.nope",
            "spec.containers[0].env[2].name: Invalid value: \"=\": a valid environment variable name must consist only \
         of printable ASCII characters other than '='",
        ],
    );
}

#[test]
fn a_stored_pod_changes_its_image_only() {
    let old = pod(with_container(json!({ "command": ["a"] })));
    let set = |path: &'static str, value: Value| move |new: &mut Value| *new.pointer_mut(path).unwrap() = value.clone();
    check_update("pods", old.clone(), set("/spec/containers/0/image", json!("j")), &[]);
    check_update("pods", old.clone(), |new| new["spec"]["nodeName"] = json!("node"), &[]);
    check_update(
        "pods",
        old.clone(),
        set("/spec/containers", json!([])),
        &[
            "spec.containers: Required value",
            "spec.containers: Forbidden: pod updates may not add or remove containers",
        ],
    );
    let mut found = old.clone();
    found["spec"]["containers"][0]["command"] = json!(["b"]);
    assert!(
        validate("pods", &found, Some(&old))[..].iter().any(|error| error.detail.starts_with("pod updates may not"))
    );
}

#[test]
fn a_deployment_must_be_able_to_roll() {
    let mut object = deployment();
    object["spec"]["strategy"] = json!({ "rollingUpdate": { "maxSurge": 0, "maxUnavailable": "0%" } });
    check(
        "deployments.apps",
        object.clone(),
        &["spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"0%\": may not be 0 when `maxSurge` is 0"],
    );
    object["spec"]["strategy"] = json!({ "type": "Recreate", "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 1 } });
    check(
        "deployments.apps",
        object.clone(),
        &["spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"],
    );
    object["spec"]["strategy"] = Value::Null;
    object["spec"]["template"]["spec"]["restartPolicy"] = json!("Never");
    object["spec"]["progressDeadlineSeconds"] = json!(0);
    check(
        "deployments.apps",
        object,
        &[
            "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
            "spec.progressDeadlineSeconds: Invalid value: 0: must be greater than minReadySeconds",
        ],
    );
    check_update(
        "deployments.apps",
        deployment(),
        |new| new["spec"]["selector"]["matchLabels"]["c"] = json!("d"),
        &[
            "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`",
            "spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"b\",\"c\":\"d\"}}: field is immutable",
        ],
    );
}

#[test]
fn a_job_ends() {
    let job = json!({ "metadata": { "name": "j", "namespace": "n" }, "spec": { "selector": { "matchLabels": {} },
        "completions": -1, "template": { "spec": with_container(json!({})) } } });
    check(
        "jobs.batch",
        job,
        &[
            "spec.completions: Invalid value: -1: must be greater than or equal to 0",
            "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"",
        ],
    );
}

#[test]
fn a_schedule_has_five_fields_in_range() {
    let errors = |schedule: &str| {
        let template = json!({ "spec": { "containers": [{ "name": "c", "image": "i" }], "restartPolicy": "Never" } });
        let mut object = json!({ "metadata": { "name": "c", "namespace": "n" },
            "spec": { "schedule": schedule, "jobTemplate": { "spec": { "template": template } } } });
        crate::defaults::apply("cronjobs.batch", &mut object);
        validate("cronjobs.batch", &object, None).iter().map(|error| error.detail.clone()).collect::<Vec<_>>()
    };
    for fine in ["*/5 * * * *", "0 0 1 jan mon", "@daily", "@every 1h", "1-5,7 2 3 4 5"] {
        assert!(errors(fine).is_empty(), "{fine}: {:?}", errors(fine));
    }
    assert_eq!(errors("* * *"), ["expected exactly 5 fields, found 3: [* * *]"]);
    assert_eq!(errors("60 * * * *"), ["end of range (60) above maximum (59): 60"]);
    assert_eq!(errors("@never"), ["unrecognized descriptor: @never"]);
    assert_eq!(errors("x * * * *").len(), 1);
}

#[test]
fn a_budget_has_one_bound() {
    let budget = json!({ "metadata": { "name": "b" }, "spec": { "minAvailable": "150%", "maxUnavailable": -1 } });
    let shown = r#"{"MinAvailable":"150%","Selector":null,"MaxUnavailable":-1,"UnhealthyPodEvictionPolicy":null}"#;
    check(
        "poddisruptionbudgets.policy",
        budget,
        &[
            &format!("spec: Invalid value: {shown}: minAvailable and maxUnavailable cannot be both set"),
            "spec.minAvailable: Invalid value: \"150%\": must not be greater than 100%",
            "spec.maxUnavailable: Invalid value: -1: must be greater than or equal to 0",
        ],
    );
}

#[test]
fn a_definition_is_structural() {
    let definition = |schema: Value| {
        json!({ "metadata": { "name": "widgets.example.com" }, "spec": {
        "group": "example.com", "scope": "Namespaced", "names": { "plural": "widgets", "singular": "widget",
        "kind": "Widget", "listKind": "WidgetList" },
        "versions": [{ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": schema } }] } })
    };
    let resource = "customresourcedefinitions.apiextensions.k8s.io";
    check(resource, definition(json!({ "type": "object", "properties": { "a": { "type": "string" } } })), &[]);
    let path = "spec.versions[0].schema.openAPIV3Schema";
    check(
        resource,
        definition(json!({ "properties": { "a": {}, "b": { "type": "array" } } })),
        &[
            &format!("{path}.type: Required value: must not be empty at the root"),
            &format!("{path}.properties[a].type: Required value: must not be empty for specified object fields"),
            &format!("{path}.properties[b].items: Required value: must be specified"),
        ],
    );
    let mut misnamed = definition(json!({ "type": "object" }));
    misnamed["metadata"]["name"] = json!("x.example.com");
    check(
        resource,
        misnamed,
        &["metadata.name: Invalid value: \"x.example.com\": must be spec.names.plural+\".\"+spec.group"],
    );
}

#[test]
fn custom_resources_fit_their_schema() {
    let schema = json!({ "type": "object", "properties": { "spec": { "type": "object", "required": ["size"],
        "properties": { "size": { "type": "integer", "minimum": 1, "maximum": 9 }, "mode": { "type": "string",
        "enum": ["a", "b"], "default": "a" }, "list": { "type": "array", "maxItems": 1, "items": { "type": "object",
        "properties": { "x": { "type": "integer" } } } }, "any": { "type": "object",
        "x-kubernetes-preserve-unknown-fields": true }, "port": { "x-kubernetes-int-or-string": true } } } } });
    let object = json!({ "metadata": { "name": "w" }, "kind": "W", "spec": { "size": 0, "mode": "a",
        "list": [{ "x": "y" }, {}], "any": { "thing": true }, "port": "http" } });
    let texts = |object: &Value| check_custom(&schema, object).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        texts(&object),
        [
            "spec.list: Too many: 2: must have at most 1 items",
            "spec.list[0].x: Invalid value: \"string\": spec.list[0].x in body must be of type integer: \"string\"",
            "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1",
        ]
    );
    assert_eq!(
        texts(&json!({ "spec": { "mode": "c" } })),
        ["spec.size: Required value", "spec.mode: Unsupported value: \"c\": supported values: \"a\", \"b\"",]
    );
}

#[test]
fn bodies_are_compared_with_their_schema() {
    let found =
        |kind: &str, body: &str| inspect(if kind == "Deployment" { "apps/v1" } else { "v1" }, kind, body.as_bytes());
    let body = r#"{"kind":"ConfigMap","metadata":{"foo":1},"data":{"a":"b","a":"c"},"dta":{}}"#;
    let strict = ["unknown field \"metadata.foo\"", "duplicate field \"data.a\"", "unknown field \"dta\""];
    assert_eq!(found("ConfigMap", body).strict, strict);
    let body = r#"{"spec":{"replicaz":1,"template":{"spec":{"containers":[{"nam":"x"}],"volumes":[{"emptyDr":{}}]}}}}"#;
    assert_eq!(
        found("Deployment", body).strict,
        [
            "unknown field \"spec.replicaz\"",
            "unknown field \"spec.template.spec.containers[0].nam\"",
            "unknown field \"spec.template.spec.volumes[0].emptyDr\"",
        ]
    );
    let duplicates = inspect("example.com/v1", "Widget", br#"{"spec":{"a":[{"b":1,"b":2}]}}"#).strict;
    assert_eq!(duplicates, ["duplicate field \"spec.a[0].b\""]);
    let errors = [
        ("ConfigMap", r#"{"data":{"a":1}}"#, "number into Go struct field ConfigMap.data of type string"),
        (
            "Deployment",
            r#"{"spec":{"replicas":"1"}}"#,
            "string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            "Deployment",
            r#"{"spec":{"replicas":1.5}}"#,
            "number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        ("Deployment", r#"{"spec":[]}"#, "array into Go struct field Deployment.spec of type v1.DeploymentSpec"),
        (
            "Pod",
            r#"{"spec":{"containers":{}}}"#,
            "object into Go struct field PodSpec.spec.containers of type []v1.Container",
        ),
        (
            "Pod",
            r#"{"spec":{"hostNetwork":"yes"}}"#,
            "string into Go struct field PodSpec.spec.hostNetwork of type bool",
        ),
        ("Pod", "[]", "array into Go value of type v1.Pod"),
    ];
    for (kind, body, words) in errors {
        assert_eq!(found(kind, body).type_error, Some(format!("json: cannot unmarshal {words}")), "{body}");
    }
    let fine = r#"{"spec":{"replicas":null,"template":{"spec":{"containers":[{"ports":[{"containerPort":80}],
        "livenessProbe":{"httpGet":{"port":"http"}},"resources":{"limits":{"cpu":2,"memory":"1Gi"}}}]}}},
        "metadata":{"creationTimestamp":"2026-11-23T20:00:00.5+01:00"}}"#;
    assert_eq!(found("Deployment", fine), Findings::default());
}

#[test]
fn times_and_quantities_are_read_as_go_reads_them() {
    let micro = |time: &str| text::time_error(time, text::MICRO_TIME_LAYOUT);
    assert_eq!(micro("2026-01-02T03:04:05.600000Z"), None);
    assert_eq!(
        micro("2026-01-02T03:04:05.6Z").unwrap(),
        "parsing time \"2026-01-02T03:04:05.6Z\" as \"2006-01-02T15:04:05.000000Z07:00\": \
         cannot parse \".6Z\" as \".000000\""
    );
    let time = |time: &str| text::time_error(time, text::TIME_LAYOUT);
    assert_eq!(
        time("yesterday").unwrap(),
        "parsing time \"yesterday\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"yesterday\" as \"2006\""
    );
    assert_eq!(time("2026-01-02T03:04:05.6Z"), None);
    assert!(text::quantity_error("1x").unwrap().starts_with("quantities must match"));
    assert_eq!(text::quantity_error("1.5Gi"), None);
}

#[test]
fn no_text_stops_the_comparison() {
    for body in ["", "{", "{\"spec\":", "nul", "\u{0}", "{\"spec\":{\"replicas\":1e999}}", "[[[[[[[[", "{\"a\":1}{"] {
        inspect("apps/v1", "Deployment", body.as_bytes());
    }
    inspect("v1", "ConfigMap", "[".repeat(100_000).as_bytes());
}

/// What a real server refused as Invalid, refused by us with the same message (but for what admission finds).
#[test]
fn refusals_are_those_of_a_real_api_server() {
    let registry = crate::kind::Registry::built_in();
    let mut compared = 0;
    let recordings = recorded::all("", "writes-");
    for exchange in recordings.iter().flat_map(|(_, recording)| recording.as_array().unwrap()) {
        let (body, answer) = (&exchange["body"], &exchange["response"]);
        let (api_version, kind) = (body["apiVersion"].as_str().unwrap_or(""), body["kind"].as_str().unwrap_or(""));
        let admitted = ["Service nodePort taken", "Service nodePort out of range", "Service clusterIP out of range"];
        let label = exchange["label"].as_str().unwrap_or("");
        let Some(kind) = registry.of_object(api_version, kind).filter(|_| exchange["method"] == "POST") else {
            continue;
        };
        if answer["code"] != 422 || answer["details"]["kind"] != kind.kind.as_str() || admitted.contains(&label) {
            continue;
        }
        let mut object = body.clone();
        object["metadata"]["namespace"] = "lab".into();
        crate::defaults::apply(&kind.resource, &mut object);
        let errors = validate(&kind.resource, &object, None);
        let ours = ApiError::invalid(kind.group(), &kind.kind, crate::object::name(&object), &errors);
        assert_eq!(ours.message, answer["message"], "{label}");
        assert_eq!(ours.details["causes"], answer["details"]["causes"], "{label}");
        compared += 1;
    }
    assert!(compared >= 8 || recordings.is_empty(), "only {compared} refusals compared");
}

#[test]
fn a_pod_says_where_it_may_run_in_terms_that_can_be_met() {
    let mut spec = with_container(json!({}));
    spec["affinity"] = json!({
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [] },
            "preferredDuringSchedulingIgnoredDuringExecution": [
                { "weight": 0, "preference": { "matchExpressions": [{ "key": "a", "operator": "Gt", "values": [] }] } },
            ],
        },
        "podAntiAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [{ "topologyKey": "z" }] },
    });
    let constraint = json!({ "maxSkew": 0, "topologyKey": "z", "whenUnsatisfiable": "Maybe" });
    spec["topologySpreadConstraints"] = json!([constraint, constraint]);
    let nodes = "spec.affinity.nodeAffinity";
    let preferred = format!("{nodes}.preferredDuringSchedulingIgnoredDuringExecution[0]");
    let unsupported = "supported values: \"DoNotSchedule\", \"ScheduleAnyway\"";
    let spread = |index: usize| {
        [
            format!("spec.topologySpreadConstraints[{index}].maxSkew: Invalid value: 0: must be greater than zero"),
            format!(
                "spec.topologySpreadConstraints[{index}].whenUnsatisfiable: Unsupported value: \"Maybe\": {unsupported}"
            ),
        ]
    };
    let mut expected = vec![
        format!(
            "{nodes}.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: must have at \
             least one node selector term"
        ),
        format!("{preferred}.weight: Invalid value: 0: must be in the range 1-100"),
        format!(
            "{preferred}.preference.matchExpressions[0].values: Required value: must be specified single value when \
             `operator` is 'Lt' or 'Gt'"
        ),
    ];
    expected.extend(spread(0).into_iter().chain(spread(1)));
    expected.push(
        "spec.topologySpreadConstraints[1].{topologyKey, whenUnsatisfiable}: Duplicate value: \"{z, Maybe}\"".into(),
    );
    check("pods", pod(spec), &expected.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn the_network_and_the_users_of_a_pod_are_checked() {
    let mut spec = with_container(json!({ "ports": [{ "containerPort": 80, "hostPort": 81 }] }));
    spec["hostNetwork"] = true.into();
    spec["dnsPolicy"] = "None".into();
    spec["securityContext"] = json!({ "runAsUser": -1, "seccompProfile": { "type": "Localhost" } });
    spec["hostAliases"] = json!([{ "ip": "x", "hostnames": ["A"] }]);
    let name = text::dns_subdomain("A").pop().unwrap();
    check(
        "pods",
        pod(spec),
        &[
            "spec.containers[0].ports[0].containerPort: Invalid value: 80: must match `hostPort` when `hostNetwork` is true",
            "spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive",
            "spec.securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost",
            "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None",
            "spec.hostAliases[0].ip: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            &format!("spec.hostAliases[0].hostnames[0]: Invalid value: \"A\": {name}"),
        ],
    );
}

#[test]
fn a_service_has_each_port_once_and_only_what_its_type_has() {
    let port = json!({ "port": 80 });
    let named = |name: &str| json!({ "port": 80, "name": name });
    check(
        "services",
        json!({ "metadata": { "name": "s" }, "spec": { "ports": [port], "loadBalancerClass": "a.b/c",
            "sessionAffinityConfig": { "clientIP": { "timeoutSeconds": 5 } } } }),
        &[
            "spec.sessionAffinityConfig: Forbidden: must not be set when session affinity is None",
            "spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'",
        ],
    );
    check(
        "services",
        json!({ "metadata": { "name": "s" }, "spec": { "ports": [named("a"), named("b.c")] } }),
        &[
            "spec.ports[1].name: Invalid value: \"b.c\": must not contain dots",
            "spec.ports[1]: Duplicate value: {\"Name\":\"\",\"Protocol\":\"TCP\",\"AppProtocol\":null,\"Port\":80,\
             \"TargetPort\":0,\"NodePort\":0}",
        ],
    );
}

#[test]
fn a_job_with_a_failure_policy_never_restarts_its_pods() {
    let mut spec = with_container(json!({}));
    spec["restartPolicy"] = "OnFailure".into();
    let job = json!({ "metadata": { "name": "j", "uid": "u" }, "spec": { "template": { "spec": spec }, "maxFailedIndexes": 1,
        "podFailurePolicy": { "rules": [{ "action": "Ignore" }] } } });
    check(
        "jobs.batch",
        job,
        &[
            "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified",
            "spec.podFailurePolicy.rules[0]: Invalid value: {\"action\":\"Ignore\"}: specifying one of OnExitCodes and \
             OnPodConditions is required",
            "spec.template.spec.restartPolicy: Invalid value: \"OnFailure\": only \"Never\" is supported when \
             podFailurePolicy is specified",
        ],
    );
}

#[test]
fn what_is_allowed_and_likely_a_mistake_is_warned_about() {
    let mut spec = with_container(json!({
        "env": [{ "name": "A", "value": "1" }, { "name": "A", "value": "2" }, { "name": "A", "value": "$(A)3" }],
        "ports": [{ "containerPort": 80, "name": "p" }, { "containerPort": 80, "name": "p" }],
        "resources": { "requests": { "memory": "100m", "cpu": "100m" }, "limits": { "memory": "8Ei" } },
    }));
    spec["nodeSelector"] = json!({ "beta.kubernetes.io/os": "linux" });
    spec["terminationGracePeriodSeconds"] = (-1).into();
    let mut object = deployment();
    object["metadata"]["name"] = "a.b".into();
    object["spec"]["template"]["spec"] = spec;
    let path = "spec.template.spec";
    assert_eq!(
        warnings("deployments.apps", &object, false),
        [
            "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is \
             recommended: [must not contain dots]"
                .to_owned(),
            format!(
                "{path}.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead"
            ),
            format!(
                "{path}.containers[0].resources.requests[memory]: fractional byte value \"100m\" is invalid, must be an \
                 integer"
            ),
            format!(
                "{path}.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply"
            ),
            format!("{path}.containers[0].ports[1]: duplicate port definition with {path}.containers[0].ports[0]"),
            format!(
                "{path}.containers[0].ports[1]: duplicate port name \"p\" with {path}.containers[0].ports[0], services and \
                 probes that select ports by name will use {path}.containers[0].ports[0]"
            ),
            format!(
                "{path}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
            ),
        ]
    );
    assert!(warnings("deployments.apps", &deployment(), false).is_empty());
}
