//! A full-screen view of a running load, redrawn each second.
//!
//! Plain ANSI sequences on standard error, on the alternate screen, so that the terminal is as before when it leaves.

use std::io::Write;

use crate::output::charset::for_locale;
use crate::output::history::{History, Row};
use crate::output::plot::{bar, columns, time};
use crate::stream::{Record, Requests};

const HEIGHT: usize = 6;

#[derive(Debug, Default)]
pub struct Live {
    entered: bool,
}

impl Live {
    pub fn leave(&mut self) {
        if std::mem::take(&mut self.entered) {
            // A terminal that went away is no reason to fail.
            let _ = std::io::stderr().lock().write_all(b"\x1b[?25h\x1b[?1049l");
        }
    }

    /// What to write for a record, if it changes the view.
    pub fn draw(&mut self, record: &Record, history: &History) -> Option<String> {
        if !matches!(record, Record::Interval(_)) {
            return None;
        }
        let enter = if std::mem::replace(&mut self.entered, true) { "" } else { "\x1b[?1049h\x1b[?25l" };
        let (columns, rows) = size();
        let screen = fit(&screen(history, columns), columns, rows);
        Some(format!("{enter}\x1b[H{}\x1b[J", for_locale(&screen).replace('\n', "\x1b[K\r\n")))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Columns and rows of the terminal.
fn size() -> (usize, usize) {
    let size = rustix::termios::tcgetwinsize(std::io::stderr());
    let (columns, rows) = size.map_or((80, 24), |size| (size.ws_col as usize, size.ws_row as usize));
    (columns.clamp(40, 200), rows.max(10))
}

/// What of a view a terminal can show: a line that wraps, or one too many, would scroll the rest away.
fn fit(screen: &str, columns: usize, rows: usize) -> String {
    let lines = screen.lines().take(rows).map(|line| line.chars().take(columns).collect::<String>());
    lines.collect::<Vec<_>>().join("\n")
}

/// The view as text.
pub fn screen(history: &History, width: usize) -> String {
    let Some(row) = history.rows.last() else { return String::new() };
    let mut text = String::new();
    if let Some(plan) = &history.plan {
        let elapsed_s = row.t_s + history.row_s as f64;
        let done = bar(elapsed_s / plan.duration_s.max(1e-9), width.saturating_sub(30));
        text.push_str(&format!("{}\n{elapsed_s:>6.0} of {:.0} s {done}\n\n", plan.url, plan.duration_s));
    }
    let total = history.rows.iter().fold(Requests::default(), |mut total, row| {
        total.add(&row.requests);
        total
    });
    text.push_str(&format!(
        "this second  planned {}  ok {}  errors {}  waiting {}  connections {}\n\
         so far       planned {}  ok {}  errors {}  \
         shed {}\n\n",
        row.requests.planned,
        row.requests.ok,
        row.requests.errors.total(),
        row.backlog,
        row.connections_open,
        total.planned,
        total.ok,
        total.errors.total(),
        total.shed
    ));
    chart(&mut text, history, width, "ok per second", &|row| row.requests.ok as f64, &|value| format!("{value:.0}"));
    chart(&mut text, history, width, "p99", &|row| row.response.p99 as f64, &time);
    let answered: u64 = row.pods.values().sum();
    for (pod, count) in row.pods.iter().take(12) {
        let share = *count as f64 / answered.max(1) as f64;
        text.push_str(&format!("{pod:<40.40} {:>5.1}% {}\n", share * 100.0, bar(share, width.saturating_sub(50))));
    }
    text
}

fn chart(
    text: &mut String,
    history: &History,
    width: usize,
    title: &str,
    value: &dyn Fn(&Row) -> f64,
    show: &dyn Fn(f64) -> String,
) {
    let shown = width - 2;
    let rows = &history.rows[history.rows.len().saturating_sub(shown)..];
    let values: Vec<f64> = rows.iter().map(value).collect();
    let highest = values.iter().copied().fold(0.0, f64::max);
    text.push_str(&format!("{title}, up to {}\n", show(highest)));
    for line in columns(&values, shown, HEIGHT) {
        text.push_str(&format!(" {}\n", line.trim_end()));
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{Interval, PodInterval};

    #[test]
    fn a_view_never_exceeds_its_terminal() {
        let mut interval = Interval { backlog: 10_000_000, ..Interval::default() };
        interval.requests = Requests { planned: 10_000_000, ok: 10_000_000, ..Requests::default() };
        for pod in 0..12 {
            let counts = PodInterval { requests: 1_000_000, ..PodInterval::default() };
            interval.pods.insert(format!("web-{pod}"), counts);
        }
        let mut history = History::default();
        history.take(&Record::Interval(Box::new(interval)));
        let view = fit(&screen(&history, 80), 80, 24);
        assert_eq!(view.lines().count(), 24);
        assert!(view.lines().all(|line| line.chars().count() <= 80), "{view}");
    }
}
