//! Each second as a row of CSV.

use crate::output::history::History;
use crate::stream::Errors;

pub fn rows(history: &History) -> String {
    let mut text = String::from("t_s,planned,sent,shed,unsent,ok,");
    text.push_str(&Errors::CLASSES.join(","));
    text.push_str(",response_p50_us,response_p90_us,response_p99_us,response_max_us,service_p99_us,pacing_p99_us");
    text.push_str(",connections,backlog,pods\n");
    for row in &history.rows {
        let r = &row.requests;
        let errors: Vec<String> = r.errors.counts().iter().map(u64::to_string).collect();
        text.push_str(&format!(
            "{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}\n",
            row.t_s,
            r.planned,
            r.sent,
            r.shed,
            r.unsent,
            r.ok,
            errors.join(","),
            row.response.p50,
            row.response.p90,
            row.response.p99,
            row.response.max,
            row.service_p99_us,
            row.pacing_p99_us,
            row.connections_open,
            row.backlog,
            row.pods.len()
        ));
    }
    text
}
