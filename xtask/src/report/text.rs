//! The report on a terminal: the verdict, what was expected, small plots on one time axis, the figures.

use super::{Point, Report, Verdict, words};
use crate::terminal::{Ink, paint};

const COLUMNS: usize = 64;
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

pub(crate) fn text(report: &Report, color: bool) -> String {
    let mut out = Vec::new();
    out.push(headline(report, color));
    for expectation in &report.expectations {
        let mark = if expectation.passed { paint(color, Ink::Good, "ok  ") } else { paint(color, Ink::Bad, "FAIL") };
        out.push(format!(
            "  {mark} {:<22} {:<24} measured {}",
            expectation.name, expectation.expected, expectation.measured
        ));
    }
    for reason in &report.generator.reasons {
        out.push(format!("  {} {reason}", paint(color, Ink::Warn, "note")));
    }
    out.push(String::new());
    out.extend(plots(report, color));
    out.push(String::new());
    if report.cluster.is_some() {
        out.extend(scaling(report));
    }
    out.extend(figures(report));
    out.join("\n")
}

fn headline(report: &Report, color: bool) -> String {
    let ink = match report.verdict {
        Verdict::Pass => Ink::Good,
        Verdict::Fail => Ink::Bad,
        Verdict::Invalid | Verdict::Interrupted => Ink::Warn,
    };
    let place = report.cluster.as_ref().map_or(String::new(), |cluster| {
        format!(", {} {} at pace {}", cluster.provider.name(), cluster.environment, cluster.pace.name())
    });
    format!("{}  {}{place}, {}", paint(color, ink, report.verdict.word()), report.scenario, report.started)
}

fn plots(report: &Report, color: bool) -> Vec<String> {
    let points = &report.series;
    let columns = COLUMNS.min(points.len().max(1));
    let plot = |name: &str, unit: &str, pick: &dyn Fn(&Point) -> Option<f64>| {
        let values = squeeze(points, columns, pick);
        let top = values.iter().flatten().fold(0.0_f64, |top, value| top.max(*value));
        let bars: String = values.iter().map(|value| level(*value, top)).collect();
        format!("  {name:>9} {} {}{unit}", paint(color, Ink::Dim, &bars), nice(top))
    };
    let mut lines = vec![
        plot("req/s", "", &|point| point.ok_per_s.map(|n| n as f64)),
        plot("p99", " ms", &|point| point.p99_us.map(|us| us as f64 / 1e3)),
    ];
    if report.cluster.is_some() {
        lines.push(plot("CPU", " %", &|point| point.cpu_percent.map(f64::from)));
        lines.push(plot("pods", "", &|point| point.ready.map(f64::from)));
    }
    let end = points.last().map_or(0, |point| point.t_s);
    lines.push(format!("  {:>9} {}", "", axis(end, columns)));
    lines
}

/// Both ends of the time axis, or the last alone where there is no room for two.
fn axis(end_s: i64, columns: usize) -> String {
    let end = format!("{end_s} s");
    match columns.checked_sub("0 s".len()).filter(|room| *room > end.len()) {
        Some(room) => format!("0 s{end:>room$}"),
        None => format!("0 to {end}"),
    }
}

/// The greatest value of each column: a peak of one second must not vanish in a long run.
fn squeeze(points: &[Point], columns: usize, pick: &dyn Fn(&Point) -> Option<f64>) -> Vec<Option<f64>> {
    (0..columns)
        .map(|column| {
            let (from, to) = (column * points.len() / columns, (column + 1) * points.len() / columns);
            points[from..to.max(from + 1).min(points.len())].iter().filter_map(pick).reduce(f64::max)
        })
        .collect()
}

fn level(value: Option<f64>, top: f64) -> char {
    match value {
        None => ' ',
        Some(value) if top <= 0.0 || value <= 0.0 => '▁',
        Some(value) => LEVELS[((value / top * 8.0).ceil() as usize).clamp(1, 8) - 1],
    }
}

fn scaling(report: &Report) -> Vec<String> {
    let replicas = report.replicas;
    let mut lines = vec![format!(
        "  replicas  {} -> {} -> {}   {}",
        replicas.start,
        replicas.peak,
        replicas.end,
        words::times(report)
    )];
    if let Some(share) = report.newcomers_fair_share {
        let pods = report.newcomers.len();
        let requests: u64 = report.newcomers.iter().map(|newcomer| newcomer.requests).sum();
        lines.push(format!(
            "  new pods  {:.1} % of their fair share from 2 to 12 s after Ready ({pods} pods, {requests} requests)",
            share * 100.0
        ));
    }
    for change in &report.changes {
        let percent = |value: Option<i32>| value.map_or("?".to_owned(), |value| format!("{value} %"));
        let because = change.because.as_ref().map(|cause| format!("; {cause}")).unwrap_or_default();
        lines.push(format!(
            "  {:>7.1} s  {} -> {}   CPU {} of target {}{because}",
            change.t_s,
            change.from,
            change.to,
            percent(change.usage_percent),
            percent(change.target_percent)
        ));
    }
    lines
}

fn figures(report: &Report) -> Vec<String> {
    let requests = &report.requests;
    let counts = &requests.counts;
    let ms = |us: u64| nice(us as f64 / 1e3);
    let latency = &report.latency_us;
    let mut lines = vec![
        format!(
            "  requests  planned {} = sent {} + shed {} + unsent {};  ok {}, lost {}, {:.1} a second",
            counts.planned, counts.sent, counts.shed, counts.unsent, counts.ok, requests.lost, report.rate_per_s
        ),
        format!(
            "  latency   p50 {} ms, p90 {} ms, p99 {} ms, max {} ms, from the planned moment (n = {})",
            ms(latency.p50),
            ms(latency.p90),
            ms(latency.p99),
            ms(latency.max),
            latency.count
        ),
    ];
    let errors: Vec<String> = loadgen::stream::Errors::CLASSES
        .iter()
        .zip(counts.errors.counts())
        .filter(|(_, count)| *count > 0)
        .map(|(class, count)| format!("{class} {count}"))
        .collect();
    if !errors.is_empty() {
        lines.push(format!("  errors    {}", errors.join(", ")));
    }
    if counts.retried > 0 {
        lines.push(format!("  sent again {}: their connection was closed before a byte of an answer", counts.retried));
    }
    lines.push(format!(
        "  generator {}, pacing error p99 {} ms, seed {}",
        report.generator.verdict,
        ms(report.generator.pacing_error_us.p99),
        report.generator.seed
    ));
    lines.push(format!("  again     {}", report.command));
    lines
}

/// Three significant digits, no more: what a reader can use.
pub(super) fn nice(value: f64) -> String {
    let digits = if value >= 100.0 || value == value.trunc() {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_a_short_axis_do_not_run_into_each_other() {
        assert_eq!(axis(43, 44), format!("0 s{:>41}", "43 s"));
        assert_eq!(axis(5, 6), "0 to 5 s");
        assert_eq!(axis(6, 7), "0 s 6 s");
    }
}
