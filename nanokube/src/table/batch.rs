//! Jobs and cron jobs.

use jiff::Timestamp;
use serde_json::Value;

use super::cell;

pub(super) fn job(object: &Value, now: Timestamp, out: &mut Vec<Value>) {
    let spec = &object["spec"];
    out.push(cell::name(object));
    out.push(status_word(object).into());
    out.push(completions(object).into());
    out.push(duration(&object["status"], now).into());
    out.push(cell::age(object, now));
    cell::containers(&spec["template"]["spec"], out);
    out.push(cell::selector(&spec["selector"]));
}

pub(super) fn cron_job(object: &Value, now: Timestamp, out: &mut Vec<Value>) {
    let (spec, status) = (&object["spec"], &object["status"]);
    out.push(cell::name(object));
    out.push(cell::text(&spec["schedule"]).into());
    out.push(cell::text_or(&spec["timeZone"], "<none>").into());
    let suspend = match spec["suspend"].as_bool() {
        Some(true) => "True",
        Some(false) => "False",
        None => "<unset>",
    };
    out.push(suspend.into());
    out.push(cell::list(&status["active"]).len().into());
    let last = &status["lastScheduleTime"];
    out.push(if last.is_string() { cell::since(last, now) } else { "<none>".into() }.into());
    out.push(cell::age(object, now));
    let job = &spec["jobTemplate"]["spec"];
    cell::containers(&job["template"]["spec"], out);
    out.push(cell::selector(&job["selector"]));
}

fn status_word(job: &Value) -> &'static str {
    let is = |kind| cell::condition_is_true(job, kind);
    if is("Complete") {
        "Complete"
    } else if is("Failed") {
        "Failed"
    } else if !job["metadata"]["deletionTimestamp"].is_null() {
        "Terminating"
    } else {
        ["Suspended", "FailureTarget", "SuccessCriteriaMet"].into_iter().find(|kind| is(kind)).unwrap_or("Running")
    }
}

fn completions(job: &Value) -> String {
    let succeeded = cell::int(&job["status"]["succeeded"]);
    match (job["spec"]["completions"].as_i64(), cell::int(&job["spec"]["parallelism"])) {
        (Some(wanted), _) => format!("{succeeded}/{wanted}"),
        (None, parallel) if parallel > 1 => format!("{succeeded}/1 of {parallel}"),
        (None, _) => format!("{succeeded}/1"),
    }
}

fn duration(status: &Value, now: Timestamp) -> String {
    let time = |field: &str| cell::text(&status[field]).parse::<Timestamp>().ok();
    match (time("startTime"), time("completionTime")) {
        (Some(start), end) => cell::human_duration(end.unwrap_or(now).duration_since(start).as_secs()),
        (None, _) => String::new(),
    }
}
