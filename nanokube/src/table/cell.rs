//! Cells that many kinds share: names, ages, containers, selectors.

use jiff::Timestamp;
use serde_json::Value;

use crate::selector::LabelSelector;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

/// A duration with at most two units, coarser the longer it is: `75s`, `5m10s`, `26h`, `3d4h`, `2y3d`.
pub fn human_duration(seconds: i64) -> String {
    let two = |big: i64, big_unit: &str, small: i64, small_unit: &str| {
        if small == 0 { format!("{big}{big_unit}") } else { format!("{big}{big_unit}{small}{small_unit}") }
    };
    match seconds {
        i64::MIN..-1 => "<invalid>".into(),
        -1 => "0s".into(),
        0..120 => format!("{seconds}s"),
        120..600 => two(seconds / MINUTE, "m", seconds % MINUTE, "s"),
        600..10_800 => format!("{}m", seconds / MINUTE),
        10_800..28_800 => two(seconds / HOUR, "h", seconds / MINUTE % 60, "m"),
        28_800..172_800 => format!("{}h", seconds / HOUR),
        172_800..691_200 => two(seconds / DAY, "d", seconds / HOUR % 24, "h"),
        _ if seconds < 2 * YEAR => format!("{}d", seconds / DAY),
        _ if seconds < 8 * YEAR => two(seconds / YEAR, "y", seconds / DAY % 365, "d"),
        _ => format!("{}y", seconds / YEAR),
    }
}

/// How long ago a time was, `<unknown>` without one.
pub(super) fn since(time: &Value, now: Timestamp) -> String {
    match time.as_str().and_then(|text| text.parse::<Timestamp>().ok()) {
        Some(time) => human_duration(now.duration_since(time).as_secs()),
        None => "<unknown>".into(),
    }
}

pub(super) fn age(object: &Value, now: Timestamp) -> Value {
    since(&object["metadata"]["creationTimestamp"], now).into()
}

pub(super) fn name(object: &Value) -> Value {
    text(&object["metadata"]["name"]).into()
}

/// A string, "" for anything else.
pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

/// A string, or what to show without one.
pub(super) fn text_or<'a>(value: &'a Value, otherwise: &'a str) -> &'a str {
    value.as_str().filter(|text| !text.is_empty()).unwrap_or(otherwise)
}

/// A number, 0 when absent.
pub(super) fn int(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub(super) fn len(value: &Value) -> usize {
    value.as_array().map_or(0, Vec::len) + value.as_object().map_or(0, serde_json::Map::len)
}

/// Names and images of the containers of a pod specification, each joined by commas.
pub(super) fn containers(pod_spec: &Value, out: &mut Vec<Value>) {
    for field in ["name", "image"] {
        let texts: Vec<&str> = list(&pod_spec["containers"]).iter().map(|container| text(&container[field])).collect();
        out.push(texts.join(",").into());
    }
}

/// A label selector as text, `<none>` when it has no requirement.
pub(super) fn selector(selector: &Value) -> Value {
    let text = LabelSelector::from_value(selector).to_string();
    if text.is_empty() { "<none>".into() } else { text.into() }
}

/// The first `limit` texts, and how many more there are.
pub(super) fn first_few(texts: &[String], limit: usize, separator: &str) -> String {
    let shown = texts[..texts.len().min(limit)].join(separator);
    if texts.len() > limit { format!("{shown} + {} more...", texts.len() - limit) } else { shown }
}

/// An `IntOrString` as text.
pub(super) fn int_or_string(value: &Value) -> String {
    value.as_str().map_or_else(|| int(value).to_string(), str::to_string)
}

/// Whether a condition is True.
pub(super) fn condition_is_true(object: &Value, kind: &str) -> bool {
    list(&object["status"]["conditions"])
        .iter()
        .any(|condition| text(&condition["type"]) == kind && text(&condition["status"]) == "True")
}
