//! The times of a scaling in words, the same wherever a report shows them. What did not happen, what was not watched for
//! and what was over before the load's end are three things, and none of them is `never`.

use super::Report;

pub(super) fn seconds(s: f64) -> String {
    format!("{s:.1} s")
}

/// A bound that a scenario states: whole seconds without a fraction.
pub(super) fn bound(s: f64) -> String {
    format!("{} s", super::text::nice(s))
}

/// `21.8 s`, counted from the start of the load.
pub(super) fn first_extra_pod(report: &Report) -> String {
    let nothing = if report.replicas.peak > report.replicas.start { "never ready" } else { "no pod was added" };
    report.scale_up_s.map_or(nothing.to_owned(), seconds)
}

/// `11.0 s`, counted from the end of the load.
pub(super) fn scaled_down(report: &Report) -> String {
    match report.scale_down_s {
        Some(0.0) => "0 s (before the load ended)".to_owned(),
        Some(s) => seconds(s),
        None if report.replicas.peak == report.replicas.start => "no pod was added".to_owned(),
        None if report.scale_down_awaited => "never".to_owned(),
        None => "not awaited".to_owned(),
    }
}

/// All of it in a line.
pub(super) fn times(report: &Report) -> String {
    if report.replicas.peak <= report.replicas.start && report.scale_up_s.is_none() {
        return "no pod was added".to_owned();
    }
    let up = match (report.scale_up_s, report.peak_s) {
        (Some(first), Some(most)) => {
            format!("first extra pod ready {} into the load, most at {}", seconds(first), seconds(most))
        }
        (Some(first), None) => format!("first extra pod ready {} into the load", seconds(first)),
        (None, _) => "no extra pod was ready".to_owned(),
    };
    let down = match report.scale_down_s {
        Some(0.0) => "down before it ended".to_owned(),
        Some(s) => format!("down {} after it", seconds(s)),
        None if report.scale_down_awaited => "not down again".to_owned(),
        None => "the way down was not awaited".to_owned(),
    };
    format!("{up}; {down}")
}
