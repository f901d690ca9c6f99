//! The small kinds: configuration, nodes, access, storage, and what else has one line of cells.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::cell;

pub(super) fn name_and_age(object: &Value, now: Timestamp, out: &mut Vec<Value>) {
    out.push(cell::name(object));
    out.push(cell::age(object, now));
}

pub(super) fn namespace(object: &Value, now: Timestamp, out: &mut Vec<Value>) {
    out.push(cell::name(object));
    out.push(cell::text(&object["status"]["phase"]).into());
    out.push(cell::age(object, now));
}

pub(super) fn node(object: &Value, now: Timestamp, out: &mut Vec<Value>) {
    let (info, status) = (&object["status"]["nodeInfo"], &object["status"]);
    out.push(cell::name(object));
    out.push(node_status(object).into());
    out.push(node_roles(object).into());
    out.push(cell::age(object, now));
    out.push(cell::text(&info["kubeletVersion"]).into());
    for kind in ["InternalIP", "ExternalIP"] {
        let address = cell::list(&status["addresses"]).iter().find(|address| cell::text(&address["type"]) == kind);
        out.push(cell::text_or(address.map_or(&Value::Null, |address| &address["address"]), "<none>").into());
    }
    out.push(cell::text_or(&info["osImage"], "<unknown>").into());
    let kernel = cell::text_or(&info["kernelVersion"], "<unknown>");
    let architecture = cell::text(&info["architecture"]);
    out.push(if architecture.is_empty() { kernel.into() } else { format!("{kernel} ({architecture})").into() });
    out.push(cell::text_or(&info["containerRuntimeVersion"], "<unknown>").into());
}

pub(super) fn config_map(object: &Value, now: Timestamp, out: &mut Vec<Value>) {
    out.push(cell::name(object));
    out.push((cell::len(&object["data"]) + cell::len(&object["binaryData"])).into());
    out.push(cell::age(object, now));
}

pub(super) fn secret(object: &Value, now: Timestamp, out: &mut Vec<Value>) {
    out.push(cell::name(object));
    out.push(cell::text(&object["type"]).into());
    out.push(cell::len(&object["data"]).into());
    out.push(cell::age(object, now));
}

pub(super) fn resource_quota(object: &Value, now: Timestamp, out: &mut Vec<Value>) {
    let (hard, used) = (&object["status"]["hard"], &object["status"]["used"]);
    let entries = || hard.as_object().map(Map::iter).into_iter().flatten();
    let text = |limits: bool| {
        let of_kind = entries().filter(|(name, _)| name.starts_with("limits.") == limits);
        let pair = |(name, hard): (&String, &Value)| {
            format!("{name}: {}/{}", cell::text_or(&used[name], "0"), cell::text(hard))
        };
        of_kind.map(pair).collect::<Vec<_>>().join(", ")
    };
    out.push(cell::name(object));
    out.push(text(false).into());
    out.push(text(true).into());
    out.push(cell::age(object, now));
}

pub(super) fn lease(object: &Value, now: Timestamp, out: &mut Vec<Value>) {
    out.push(cell::name(object));
    out.push(cell::text(&object["spec"]["holderIdentity"]).into());
    out.push(cell::age(object, now));
}

pub(super) fn pod_disruption_budget(object: &Value, now: Timestamp, out: &mut Vec<Value>) {
    out.push(cell::name(object));
    for field in ["minAvailable", "maxUnavailable"] {
        let bound = &object["spec"][field];
        out.push(if bound.is_null() { "N/A".into() } else { cell::int_or_string(bound) }.into());
    }
    out.push(cell::int(&object["status"]["disruptionsAllowed"]).into());
    out.push(cell::age(object, now));
}

pub(super) fn role_binding(object: &Value, now: Timestamp, out: &mut Vec<Value>) {
    let role = &object["roleRef"];
    out.push(cell::name(object));
    out.push(format!("{}/{}", cell::text(&role["kind"]), cell::text(&role["name"])).into());
    out.push(cell::age(object, now));
    for kind in ["User", "Group", "ServiceAccount"] {
        let subjects = cell::list(&object["subjects"]).iter().filter(|subject| cell::text(&subject["kind"]) == kind);
        let names: Vec<String> = subjects.map(subject_name).collect();
        out.push(names.join(", ").into());
    }
}

pub(super) fn api_service(object: &Value, now: Timestamp, out: &mut Vec<Value>) {
    let service = &object["spec"]["service"];
    out.push(cell::name(object));
    out.push(if service.is_object() {
        format!("{}/{}", cell::text(&service["namespace"]), cell::text(&service["name"])).into()
    } else {
        "Local".into()
    });
    out.push(match crate::object::condition(object, "Available") {
        None => "Unknown".into(),
        Some(condition) if cell::text(&condition["status"]) == "True" => "True".into(),
        Some(condition) => {
            format!("{} ({})", cell::text(&condition["status"]), cell::text(&condition["reason"])).into()
        }
    });
    out.push(cell::age(object, now));
}

pub(super) fn priority_class(object: &Value, now: Timestamp, out: &mut Vec<Value>) {
    out.push(cell::name(object));
    out.push(cell::int(&object["value"]).into());
    out.push((object["globalDefault"] == true).into());
    out.push(cell::age(object, now));
    out.push(cell::text(&object["preemptionPolicy"]).into());
}

pub(super) fn persistent_volume(object: &Value, now: Timestamp, out: &mut Vec<Value>) {
    let (spec, status) = (&object["spec"], &object["status"]);
    let claim = &spec["claimRef"];
    let claim_text = format!("{}/{}", cell::text(&claim["namespace"]), cell::text(&claim["name"]));
    out.push(cell::name(object));
    out.push(cell::text(&spec["capacity"]["storage"]).into());
    out.push(access_modes(&spec["accessModes"]).into());
    out.push(cell::text(&spec["persistentVolumeReclaimPolicy"]).into());
    out.push(phase(object).into());
    out.push(if claim.is_object() { claim_text.into() } else { "".into() });
    out.push(cell::text(&spec["storageClassName"]).into());
    out.push(cell::text_or(&spec["volumeAttributesClassName"], "<unset>").into());
    out.push(cell::text(&status["reason"]).into());
    out.push(cell::age(object, now));
    out.push(cell::text_or(&spec["volumeMode"], "<unset>").into());
}

pub(super) fn persistent_volume_claim(object: &Value, now: Timestamp, out: &mut Vec<Value>) {
    let (spec, status) = (&object["spec"], &object["status"]);
    let bound = !cell::text(&spec["volumeName"]).is_empty();
    out.push(cell::name(object));
    out.push(phase(object).into());
    out.push(cell::text(&spec["volumeName"]).into());
    out.push(if bound { cell::text(&status["capacity"]["storage"]).into() } else { "".into() });
    out.push(if bound { access_modes(&status["accessModes"]).into() } else { "".into() });
    out.push(cell::text(&spec["storageClassName"]).into());
    out.push(cell::text_or(&spec["volumeAttributesClassName"], "<unset>").into());
    out.push(cell::age(object, now));
    out.push(cell::text_or(&spec["volumeMode"], "<unset>").into());
}

pub(super) fn storage_class(object: &Value, now: Timestamp, out: &mut Vec<Value>) {
    let default = crate::object::annotation(object, "storageclass.kubernetes.io/is-default-class") == Some("true");
    let name = cell::text(&object["metadata"]["name"]);
    out.push(if default { format!("{name} (default)").into() } else { name.into() });
    out.push(cell::text(&object["provisioner"]).into());
    out.push(cell::text_or(&object["reclaimPolicy"], "Delete").into());
    out.push(cell::text_or(&object["volumeBindingMode"], "Immediate").into());
    out.push((object["allowVolumeExpansion"] == true).into());
    out.push(cell::age(object, now));
}

fn node_status(node: &Value) -> String {
    let ready = match crate::object::condition(node, "Ready").map(|ready| cell::text(&ready["status"])) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    let cordoned = if node["spec"]["unschedulable"] == true { ",SchedulingDisabled" } else { "" };
    format!("{ready}{cordoned}")
}

fn node_roles(node: &Value) -> String {
    let labels = || crate::object::labels(node).map(Map::iter).into_iter().flatten();
    let mut roles: Vec<&str> = labels()
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role),
            None if key == "kubernetes.io/role" => value.as_str(),
            None => None,
        })
        .filter(|role| !role.is_empty())
        .collect();
    roles.sort_unstable();
    roles.dedup();
    if roles.is_empty() { "<none>".into() } else { roles.join(",") }
}

fn subject_name(subject: &Value) -> String {
    let name = cell::text(&subject["name"]);
    match cell::text(&subject["kind"]) {
        "ServiceAccount" => format!("{}/{name}", cell::text(&subject["namespace"])),
        _ => name.to_string(),
    }
}

fn phase(object: &Value) -> &str {
    if object["metadata"]["deletionTimestamp"].is_null() {
        cell::text(&object["status"]["phase"])
    } else {
        "Terminating"
    }
}

fn access_modes(modes: &Value) -> String {
    let short = |mode: &Value| match cell::text(mode) {
        "ReadWriteOnce" => "RWO",
        "ReadOnlyMany" => "ROX",
        "ReadWriteMany" => "RWX",
        "ReadWriteOncePod" => "RWOP",
        _ => "",
    };
    cell::list(modes).iter().map(short).filter(|mode| !mode.is_empty()).collect::<Vec<_>>().join(",")
}
