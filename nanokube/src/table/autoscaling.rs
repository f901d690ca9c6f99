//! HorizontalPodAutoscalers and the scale subresource.
//!
//! TARGETS pairs each metric of the specification with the status of the same index; two are shown.

use jiff::Timestamp;
use serde_json::Value;

use super::cell;

const TARGETS_SHOWN: usize = 2;

pub(super) fn horizontal_pod_autoscaler(object: &Value, now: Timestamp, out: &mut Vec<Value>) {
    let (spec, status) = (&object["spec"], &object["status"]);
    let target = &spec["scaleTargetRef"];
    out.push(cell::name(object));
    out.push(format!("{}/{}", cell::text(&target["kind"]), cell::text(&target["name"])).into());
    out.push(targets(cell::list(&spec["metrics"]), cell::list(&status["currentMetrics"])).into());
    out.push(match spec["minReplicas"].as_i64() {
        Some(min) => min.to_string().into(),
        None => "<unset>".into(),
    });
    out.push(cell::int(&spec["maxReplicas"]).into());
    out.push(cell::int(&status["currentReplicas"]).into());
    out.push(cell::age(object, now));
}

pub(super) fn scale(object: &Value, now: Timestamp, out: &mut Vec<Value>) {
    out.push(cell::name(object));
    out.push(cell::int(&object["spec"]["replicas"]).into());
    out.push(cell::int(&object["status"]["replicas"]).into());
    out.push(cell::age(object, now));
}

fn targets(metrics: &[Value], statuses: &[Value]) -> String {
    if metrics.is_empty() {
        return "<none>".into();
    }
    let texts: Vec<String> =
        metrics.iter().enumerate().map(|(index, metric)| target(metric, statuses.get(index))).collect();
    cell::first_few(&texts, TARGETS_SHOWN, ", ")
}

fn target(metric: &Value, status: Option<&Value>) -> String {
    let kind = cell::text(&metric["type"]);
    let field = match kind {
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        "Pods" => "pods",
        "Object" => "object",
        "External" => "external",
        _ => return "<unknown type>".into(),
    };
    let (source, target) = (&metric[field], &metric[field]["target"]);
    let current = status.map_or(&Value::Null, |status| &status[field]["current"]);
    let quantity = |value: &Value| cell::text_or(value, "<unknown>").to_string();
    let averaged = target["averageValue"].is_string();
    match kind {
        "Resource" | "ContainerResource" if averaged => {
            let name = cell::text(&source["name"]);
            format!("{name}: {}/{}", quantity(&current["averageValue"]), cell::text(&target["averageValue"]))
        }
        "Resource" | "ContainerResource" => {
            let percent = |value: &Value, otherwise: &str| {
                value.as_i64().map_or(otherwise.to_string(), |percent| format!("{percent}%"))
            };
            let now = percent(&current["averageUtilization"], "<unknown>");
            format!("{}: {now}/{}", cell::text(&source["name"]), percent(&target["averageUtilization"], "<auto>"))
        }
        "Pods" => format!("{}/{}", quantity(&current["averageValue"]), cell::text(&target["averageValue"])),
        _ if averaged => {
            format!("{}/{} (avg)", quantity(&current["averageValue"]), cell::text(&target["averageValue"]))
        }
        _ => format!("{}/{}", quantity(&current["value"]), cell::text(&target["value"])),
    }
}
