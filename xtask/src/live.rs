//! The line a second of a running load: what was asked for, what came back, what the autoscaler makes of it.

use loadgen::histogram;
use loadgen::stream::Interval;

use crate::scene::Scene;
use crate::terminal::{Ink, Terminal};

/// Without a person at the terminal, and as a history for one: a line each so many seconds.
const EVERY_S: i64 = 5;

pub(crate) struct Live<'t> {
    terminal: &'t Terminal,
    last_printed_s: i64,
    last_replicas: Option<i32>,
}

impl<'t> Live<'t> {
    pub(crate) fn new(terminal: &'t Terminal) -> Live<'t> {
        Live { terminal, last_printed_s: i64::MIN, last_replicas: None }
    }

    pub(crate) fn interval(&mut self, interval: &Interval, scene: &Scene) {
        let requests = &interval.requests;
        let p99 = histogram::decode(&interval.response_us).ok().filter(|response| !response.is_empty());
        let p99 =
            p99.map_or("-".to_owned(), |response| format!("{:.0} ms", response.value_at_quantile(0.99) as f64 / 1e3));
        let errors = requests.errors.total();
        let ink = if errors > 0 { Ink::Bad } else { Ink::Plain };
        let load = format!(
            "{:>5} req/s  p99 {p99:>8}  {}",
            requests.ok,
            self.terminal.paint(ink, &format!("errors {errors}"))
        );
        self.show(interval.t_s as i64, &format!("{load}  {}", scene.line()), scene);
    }

    /// While nothing is sent any more: the way back.
    pub(crate) fn settling(&mut self, t_s: i64, scene: &Scene) {
        self.show(t_s, &format!("no load                           {}", scene.line()), scene);
    }

    fn show(&mut self, t_s: i64, line: &str, scene: &Scene) {
        let line = format!("  {t_s:>4} s  {line}");
        let changed = self.last_replicas.is_some_and(|replicas| replicas != scene.replicas);
        self.last_replicas = Some(scene.replicas);
        if changed || t_s.saturating_sub(self.last_printed_s) >= EVERY_S {
            self.last_printed_s = t_s;
            self.terminal.say(&line);
        } else {
            self.terminal.passing(&line);
        }
    }
}
