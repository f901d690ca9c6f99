//! What keeps pods running: deployments, replica sets, stateful sets, daemon sets.

use serde_json::{Value, json};

use super::errors::{Errors, list, text as string};
use super::{amount, pod, selector};

pub(super) fn deployment(object: &Value, old: Option<&Value>, errors: &mut Errors) {
    let spec = &object["spec"];
    errors.not_negative("spec.replicas", &spec["replicas"]);
    selector::check_required(&spec["selector"], "deployment", errors);
    selector::check_matches(&spec["selector"], &spec["template"], "spec.template", errors);
    pod::lasting_template(&spec["template"], "spec.template", "ReplicaSet", errors);
    strategy(&spec["strategy"], errors);
    errors.not_negative("spec.minReadySeconds", &spec["minReadySeconds"]);
    errors.not_negative("spec.revisionHistoryLimit", &spec["revisionHistoryLimit"]);
    if let Some(deadline) = spec["progressDeadlineSeconds"].as_i64() {
        let path = "spec.progressDeadlineSeconds";
        errors.not_negative(path, &spec["progressDeadlineSeconds"]);
        if deadline <= spec["minReadySeconds"].as_i64().unwrap_or(0) {
            errors.invalid(path, deadline, "must be greater than minReadySeconds");
        }
    }
    selector_stays(object, old, errors);
}

pub(super) fn replica_set(object: &Value, old: Option<&Value>, errors: &mut Errors) {
    let spec = &object["spec"];
    errors.not_negative("spec.replicas", &spec["replicas"]);
    errors.not_negative("spec.minReadySeconds", &spec["minReadySeconds"]);
    selector::check_required(&spec["selector"], "deployment", errors);
    selector::check_matches(&spec["selector"], &spec["template"], "spec.template", errors);
    pod::lasting_template(&spec["template"], "spec.template", "ReplicaSet", errors);
    selector_stays(object, old, errors);
}

pub(super) fn replication_controller(object: &Value, _old: Option<&Value>, errors: &mut Errors) {
    let spec = &object["spec"];
    errors.not_negative("spec.replicas", &spec["replicas"]);
    errors.not_negative("spec.minReadySeconds", &spec["minReadySeconds"]);
    if spec["selector"].as_object().is_none_or(serde_json::Map::is_empty) {
        errors.required("spec.selector", "");
    }
    if spec["template"].is_null() {
        return errors.required("spec.template", "");
    }
    pod::lasting_template(&spec["template"], "spec.template", "ReplicationController", errors);
}

pub(super) fn stateful_set(object: &Value, old: Option<&Value>, errors: &mut Errors) {
    let spec = &object["spec"];
    errors.one_of("spec.podManagementPolicy", &spec["podManagementPolicy"], &["OrderedReady", "Parallel"]);
    let update = &spec["updateStrategy"];
    errors.one_of("spec.updateStrategy.type", &update["type"], &["RollingUpdate", "OnDelete"]);
    errors.not_negative("spec.updateStrategy.rollingUpdate.partition", &update["rollingUpdate"]["partition"]);
    errors.not_negative("spec.replicas", &spec["replicas"]);
    errors.not_negative("spec.minReadySeconds", &spec["minReadySeconds"]);
    selector::check_required(&spec["selector"], "statefulset", errors);
    selector::check_matches(&spec["selector"], &spec["template"], "spec.template", errors);
    pod::lasting_template(&with_claims(spec), "spec.template", "StatefulSet", errors);
    let changeable = [
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    ];
    let rest = |object: &Value| {
        let mut spec = object["spec"].clone();
        if let Some(map) = spec.as_object_mut() {
            map.retain(|key, _| !changeable.contains(&key.as_str()));
        }
        spec
    };
    if old.is_some_and(|old| rest(old) != rest(object)) {
        let (last, others) = changeable.split_last().expect("invariant: the list above is not empty");
        let words = format!(
            "updates to statefulset spec for fields other than '{}' and '{last}' are forbidden",
            others.join("', '")
        );
        errors.forbidden("spec", words);
    }
}

/// The template with the volumes that each pod's claims will be.
fn with_claims(spec: &Value) -> Value {
    let mut template = spec["template"].clone();
    let mut volumes = list(&template["spec"]["volumes"]).to_vec();
    for claim in list(&spec["volumeClaimTemplates"]) {
        let name = &claim["metadata"]["name"];
        if volumes.iter().all(|volume| volume["name"] != *name) {
            volumes.push(json!({ "name": name, "persistentVolumeClaim": { "claimName": name } }));
        }
    }
    if template["spec"].is_object() {
        template["spec"]["volumes"] = volumes.into();
    }
    template
}

pub(super) fn daemon_set(object: &Value, old: Option<&Value>, errors: &mut Errors) {
    let spec = &object["spec"];
    selector::check_required(&spec["selector"], "daemonset", errors);
    selector::check_matches(&spec["selector"], &spec["template"], "spec.template", errors);
    pod::lasting_template(&spec["template"], "spec.template", "DaemonSet", errors);
    errors.not_negative("spec.minReadySeconds", &spec["minReadySeconds"]);
    let update = &spec["updateStrategy"];
    errors.one_of("spec.updateStrategy.type", &update["type"], &["RollingUpdate", "OnDelete"]);
    rolling_update(&update["rollingUpdate"], "spec.updateStrategy.rollingUpdate", errors);
    errors.not_negative("spec.revisionHistoryLimit", &spec["revisionHistoryLimit"]);
    selector_stays(object, old, errors);
}

fn strategy(strategy: &Value, errors: &mut Errors) {
    let (path, rolling) = ("spec.strategy", &strategy["rollingUpdate"]);
    match string(&strategy["type"]) {
        "Recreate" if !rolling.is_null() => {
            let words = "may not be specified when strategy `type` is 'Recreate'";
            errors.forbidden(format!("{path}.rollingUpdate"), words);
        }
        "Recreate" => {}
        "RollingUpdate" if rolling.is_null() => {
            errors.required(format!("{path}.rollingUpdate"), "this should be defaulted and never be nil");
        }
        "RollingUpdate" => rolling_update(rolling, &format!("{path}.rollingUpdate"), errors),
        unknown => {
            let count = |field: &str| if rolling[field].is_null() { 0.into() } else { rolling[field].clone() };
            let (unavailable, surge) = (count("maxUnavailable"), count("maxSurge"));
            let rolling = match rolling {
                Value::Null => "null".to_owned(),
                _ => format!("{{\"MaxUnavailable\":{unavailable},\"MaxSurge\":{surge}}}"),
            };
            let shown = format!("{{\"Type\":{unknown:?},\"RollingUpdate\":{rolling}}}");
            errors.not_supported_struct(path, shown, &["Recreate", "RollingUpdate"]);
        }
    }
}

fn rolling_update(rolling: &Value, path: &str, errors: &mut Errors) {
    let (unavailable, surge) = (&rolling["maxUnavailable"], &rolling["maxSurge"]);
    let unavailable_path = format!("{path}.maxUnavailable");
    amount::check(unavailable, &unavailable_path, errors);
    amount::check(surge, &format!("{path}.maxSurge"), errors);
    if amount::is_zero(unavailable) && amount::is_zero(surge) {
        errors.invalid(unavailable_path.as_str(), unavailable.clone(), "may not be 0 when `maxSurge` is 0");
    }
    amount::check_not_above_all(unavailable, &unavailable_path, errors);
}

fn selector_stays(object: &Value, old: Option<&Value>, errors: &mut Errors) {
    if let Some(old) = old {
        errors.immutable("spec.selector", &object["spec"]["selector"], &old["spec"]["selector"]);
    }
}
