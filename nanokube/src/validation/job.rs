//! Jobs and cron jobs.

use serde_json::Value;

use super::errors::{Errors, list, text as string};
use super::{pod, selector};

/// Most pods of an indexed job at a time.
const PARALLELISM_LIMIT: i64 = 100_000;
/// A cron job's name leaves room for the eleven characters that its jobs add.
const CRON_JOB_NAME_LIMIT: usize = 52;

pub(super) fn job(object: &Value, old: Option<&Value>, errors: &mut Errors) {
    let spec = &object["spec"];
    if spec["selector"].is_null() {
        errors.required("spec.selector", "");
    } else {
        selector::check(&spec["selector"], "spec.selector", errors);
        selector::check_matches(&spec["selector"], &spec["template"], "spec.template", errors);
    }
    job_spec(spec, "spec", errors);
    if let Some(old) = old {
        let old = &old["spec"];
        let fixed =
            ["completions", "selector", "template", "completionMode", "podFailurePolicy", "backoffLimitPerIndex"];
        let elastic = string(&spec["completionMode"]) == "Indexed" && spec["completions"] == spec["parallelism"];
        let suspended = old["suspend"] == true;
        for field in fixed {
            let free = field == "completions" && elastic || field == "template" && suspended;
            if !free {
                errors.immutable(&format!("spec.{field}"), &spec[field], &old[field]);
            }
        }
    }
}

pub(super) fn cron_job(object: &Value, _old: Option<&Value>, errors: &mut Errors) {
    let spec = &object["spec"];
    let name = string(&object["metadata"]["name"]);
    if name.len() > CRON_JOB_NAME_LIMIT {
        errors.invalid("metadata.name", name, format!("must be no more than {CRON_JOB_NAME_LIMIT} characters"));
    }
    schedule(string(&spec["schedule"]), errors);
    if let Some(zone) = spec["timeZone"].as_str().filter(|zone| jiff::tz::TimeZone::get(zone).is_err()) {
        errors.invalid("spec.timeZone", zone, format!("unknown time zone {zone}"));
    }
    errors.not_negative("spec.startingDeadlineSeconds", &spec["startingDeadlineSeconds"]);
    let policy = &spec["concurrencyPolicy"];
    if string(policy).is_empty() {
        errors.required("spec.concurrencyPolicy", "");
    } else {
        errors.one_of("spec.concurrencyPolicy", policy, &["Allow", "Forbid", "Replace"]);
    }
    for field in ["successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
        errors.not_negative(&format!("spec.{field}"), &spec[field]);
    }
    let job = &spec["jobTemplate"]["spec"];
    if !job["selector"].is_null() {
        errors.invalid("spec.jobTemplate.spec.selector", job["selector"].clone(), "`selector` will be auto-generated");
    }
    if job["manualSelector"] == true {
        errors.not_supported("spec.jobTemplate.spec.manualSelector", &job["manualSelector"], &["nil", "false"]);
    }
    job_spec(job, "spec.jobTemplate.spec", errors);
}

fn job_spec(spec: &Value, path: &str, errors: &mut Errors) {
    let amounts = [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ];
    for field in amounts {
        errors.not_negative(&format!("{path}.{field}"), &spec[field]);
    }
    errors.one_of(&format!("{path}.completionMode"), &spec["completionMode"], &["Indexed", "NonIndexed"]);
    completion(spec, path, errors);
    failure_policy(spec, &format!("{path}.podFailurePolicy"), errors);
    let replacements = if spec["podFailurePolicy"].is_null() {
        &["Failed", "TerminatingOrFailed"][..]
    } else {
        // A pod that still ends has not failed in the eyes of a policy.
        &["Failed"][..]
    };
    errors.one_of(&format!("{path}.podReplacementPolicy"), &spec["podReplacementPolicy"], replacements);
    pod::template(&spec["template"], &format!("{path}.template"), errors);
    let restart = &spec["template"]["spec"]["restartPolicy"];
    let restart_path = format!("{path}.template.spec.restartPolicy");
    match string(restart) {
        "OnFailure" | "Never" => {}
        "Always" | "" => errors.required(restart_path.as_str(), "valid values: \"OnFailure\", \"Never\""),
        _ => errors.not_supported(restart_path.as_str(), restart, &["OnFailure", "Never"]),
    }
    if !spec["podFailurePolicy"].is_null() && string(restart) != "Never" {
        let words = "only \"Never\" is supported when podFailurePolicy is specified";
        errors.invalid(restart_path, string(restart), words);
    }
}

/// What only jobs have whose pods are numbered.
fn completion(spec: &Value, path: &str, errors: &mut Errors) {
    let indexed = string(&spec["completionMode"]) == "Indexed";
    if indexed && spec["completions"].is_null() {
        errors.required(format!("{path}.completions"), "when completion mode is Indexed");
    }
    if let Some(parallelism) = spec["parallelism"].as_i64().filter(|count| indexed && *count > PARALLELISM_LIMIT) {
        let words = format!("must be less than or equal to {PARALLELISM_LIMIT} when completion mode is Indexed");
        errors.invalid(format!("{path}.parallelism"), parallelism, words);
    }
    if !indexed {
        if let Some(limit) = spec["backoffLimitPerIndex"].as_i64() {
            errors.invalid(format!("{path}.backoffLimitPerIndex"), limit, "requires indexed completion mode");
        }
        if !spec["successPolicy"].is_null() {
            let shown = spec["successPolicy"].clone();
            errors.invalid(format!("{path}.successPolicy"), shown, "requires indexed completion mode");
        }
    }
    if !spec["maxFailedIndexes"].is_null() && spec["backoffLimitPerIndex"].is_null() {
        errors.required(format!("{path}.backoffLimitPerIndex"), "when maxFailedIndexes is specified");
    }
}

fn failure_policy(spec: &Value, path: &str, errors: &mut Errors) {
    for (index, rule) in list(&spec["podFailurePolicy"]["rules"]).iter().enumerate() {
        let path = format!("{path}.rules[{index}]");
        let actions = ["Count", "FailIndex", "FailJob", "Ignore"];
        match string(&rule["action"]) {
            "" => errors.required(format!("{path}.action"), &format!("valid values: {actions:?}")),
            _ => errors.one_of(&format!("{path}.action"), &rule["action"], &actions),
        }
        let (codes, conditions) = (&rule["onExitCodes"], list(&rule["onPodConditions"]));
        match (codes.is_null(), conditions.is_empty()) {
            (true, true) => {
                errors.invalid(path, rule.clone(), "specifying one of OnExitCodes and OnPodConditions is required");
            }
            (false, false) => {
                let words = "specifying both OnExitCodes and OnPodConditions is not supported";
                errors.invalid(path, rule.clone(), words);
            }
            (false, true) => {
                let path = format!("{path}.onExitCodes");
                errors.one_of(&format!("{path}.operator"), &codes["operator"], &["In", "NotIn"]);
                if list(&codes["values"]).is_empty() {
                    errors.invalid(format!("{path}.values"), codes["values"].clone(), "at least one value is required");
                }
            }
            (true, false) => {}
        }
    }
}

/// Five fields, or a word such as `@daily`; what is in the fields is the business of the controller's parser too.
fn schedule(schedule: &str, errors: &mut Errors) {
    let path = "spec.schedule";
    if schedule.is_empty() {
        return errors.required(path, "");
    }
    if schedule.contains("TZ") {
        let words = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
        return errors.invalid(path, schedule, words);
    }
    if let Some(word) = schedule.strip_prefix('@') {
        let known = ["yearly", "annually", "monthly", "weekly", "daily", "midnight", "hourly"];
        if !known.contains(&word) && !word.starts_with("every ") {
            errors.invalid(path, schedule, format!("unrecognized descriptor: {schedule}"));
        }
        return;
    }
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    if fields.len() != 5 {
        let words = format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" "));
        return errors.invalid(path, schedule, words);
    }
    let ranges = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)];
    for (field, (low, high)) in fields.into_iter().zip(ranges) {
        if let Some(words) = field.split(',').find_map(|part| cron_error(part, low, high)) {
            return errors.invalid(path, schedule, words);
        }
    }
}

fn cron_error(part: &str, low: u32, high: u32) -> Option<String> {
    let (range, step) = part.split_once('/').unwrap_or((part, "1"));
    if step.parse::<u32>().is_ok_and(|step| step == 0) {
        return Some(format!("step of range should be a positive number: {part}"));
    }
    if range == "*" || range == "?" {
        return None;
    }
    for bound in range.splitn(2, '-') {
        match bound.parse::<u32>() {
            Ok(number) if number < low => {
                return Some(format!("beginning of range ({number}) below minimum ({low}): {part}"));
            }
            Ok(number) if number > high => {
                return Some(format!("end of range ({number}) above maximum ({high}): {part}"));
            }
            Ok(_) => {}
            Err(_) if bound.len() == 3 && bound.chars().all(|c| c.is_ascii_alphabetic()) => {}
            Err(_) => {
                return Some(format!(
                    "failed to parse int from {bound}: strconv.Atoi: parsing {bound:?}: invalid syntax"
                ));
            }
        }
    }
    None
}
