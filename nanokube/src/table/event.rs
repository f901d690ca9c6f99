//! Events, in their core/v1 form: when last seen, about what, from whom, how often.

use jiff::Timestamp;
use serde_json::Value;

use super::cell;

pub(super) fn cells(event: &Value, now: Timestamp, out: &mut Vec<Value>) {
    let first_time = if event["firstTimestamp"].is_string() { &event["firstTimestamp"] } else { &event["eventTime"] };
    let first_seen = cell::since(first_time, now);
    let series = &event["series"];
    let (last_seen, count) = if series.is_object() {
        (cell::since(&series["lastObservedTime"], now), cell::int(&series["count"]))
    } else if event["lastTimestamp"].is_string() {
        (cell::since(&event["lastTimestamp"], now), cell::int(&event["count"]).max(1))
    } else {
        (first_seen.clone(), cell::int(&event["count"]).max(1))
    };
    let about = &event["involvedObject"];
    let kind = cell::text(&about["kind"]).to_lowercase();
    let about_text = match cell::text(&about["name"]) {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    out.push(last_seen.into());
    out.push(cell::text(&event["type"]).into());
    out.push(cell::text(&event["reason"]).into());
    out.push(about_text.into());
    out.push(cell::text(&about["fieldPath"]).into());
    out.push(source(event).into());
    out.push(cell::text(&event["message"]).trim().into());
    out.push(first_seen.into());
    out.push(count.into());
    out.push(cell::name(event));
}

/// `component, host`; newer events name a reporting controller and instance instead.
fn source(event: &Value) -> String {
    let component = cell::text_or(&event["source"]["component"], cell::text(&event["reportingComponent"]));
    let host = cell::text_or(&event["source"]["host"], cell::text(&event["reportingInstance"]));
    if host.is_empty() { component.to_string() } else { format!("{component}, {host}") }
}
