//! A plain line each second, for logs and pipes.

use crate::output::history::History;
use crate::output::plot::time;
use crate::stream::Record;

/// What a record is worth saying.
pub fn line(record: &Record, history: &History) -> Option<String> {
    let row = history.rows.last()?;
    let Record::Interval(interval) = record else { return None };
    let requests = &interval.requests;
    let mut line = format!(
        "{:>5.0} s  planned {:>6}  ok {:>6}  errors {:>4}  p50 {:>8}  p99 {:>8}  connections {:>4}",
        interval.t_s + 1.0,
        requests.planned,
        requests.ok,
        requests.errors.total(),
        time(row.response.p50 as f64),
        time(row.response.p99 as f64),
        interval.connections.open,
    );
    for (name, count) in [("waiting", interval.backlog), ("shed", requests.shed), ("unsent", requests.unsent)] {
        if count > 0 {
            line.push_str(&format!("  {name} {count}"));
        }
    }
    if interval.pods.len() > 1 {
        line.push_str(&format!("  pods {}", interval.pods.len()));
    }
    Some(line)
}
