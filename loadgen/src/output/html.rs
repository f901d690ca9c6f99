//! A report that is one file: charts as inline SVG, no script, no network, under a megabyte.

use std::fmt::Write;

use crate::histogram::{Percentiles, decode};
use crate::output::history::{History, Row};
use crate::output::plot::time;
use crate::stream::{Errors, Summary};

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 180.0;
/// Most points of one line.
const POINTS_MAX: usize = 600;
const COLOURS: [&str; 6] = ["#2b6cb0", "#c05621", "#2f855a", "#b83280", "#6b46c1", "#718096"];
const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:900px;\
    margin:2em auto;padding:0 1em;color:#1a202c}\
    table{border-collapse:collapse}td,th{padding:2px 12px 2px 0;text-align:right}\
    td:first-child,th:first-child{text-align:left}\
    h2{margin:1.6em 0 .3em}svg{width:100%;height:auto;background:#f7fafc}\
    text{font:11px system-ui,sans-serif;fill:#4a5568}\
    .VALID{color:#2f855a}.INVALID{color:#c53030}.fail{color:#c53030}";

/// The whole page.
pub fn page(summary: &Summary, history: &History) -> String {
    let mut page = String::new();
    // Writing to a String cannot fail.
    let _ = write_page(&mut page, summary, history);
    page
}

fn write_page(page: &mut String, summary: &Summary, history: &History) -> std::fmt::Result {
    let verdict = escape(&summary.validity.verdict);
    writeln!(page, "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>loadgen {verdict}</title>")?;
    writeln!(page, "<style>{STYLE}</style>")?;
    writeln!(page, "<h1><span class=\"{verdict}\">{verdict}</span> {}</h1>", escape(&summary.url))?;
    for reason in &summary.validity.reasons {
        writeln!(page, "<p class=\"fail\">{}</p>", escape(reason))?;
    }
    let pattern = history.plan.as_ref().and_then(|plan| plan.load.pattern.as_ref()).map(|p| format!(": {p}"));
    let (kind, seed) = (&summary.loop_kind, summary.generator.seed);
    let shape = escape(&pattern.unwrap_or_default());
    writeln!(page, "<p>{kind} loop{shape}; {:.1} s, seed {seed}</p>", summary.duration_s)?;
    thresholds(page, summary)?;
    requests(page, summary)?;
    latencies(page, summary)?;
    charts(page, summary, history)?;
    pods(page, summary, history)?;
    let g = &summary.generator;
    writeln!(
        page,
        "<h2>Generator</h2><p>{} shard(s), \
          {:.2} s CPU ({:.1} µs a request), {:.0} MiB; p99 of its own lateness {}</p></html>",
        g.shards,
        g.cpu_s,
        g.cpu_us_per_request,
        g.rss_max_bytes as f64 / (1 << 20) as f64,
        time(summary.pacing_error_us.p99 as f64)
    )
}

fn thresholds(page: &mut String, summary: &Summary) -> std::fmt::Result {
    for result in &summary.thresholds {
        let (class, word) = if result.passed { ("VALID", "pass") } else { ("fail", "FAIL") };
        writeln!(page, "<p class=\"{class}\">{word} {} ({})</p>", escape(&result.threshold), escape(&result.shown))?;
    }
    Ok(())
}

fn requests(page: &mut String, summary: &Summary) -> std::fmt::Result {
    let r = &summary.requests;
    writeln!(page, "<h2>Requests</h2><table>")?;
    let counts = [("planned", r.planned), ("sent", r.sent), ("shed", r.shed), ("unsent", r.unsent), ("ok", r.ok)];
    let errors = Errors::CLASSES.into_iter().zip(r.errors.counts()).filter(|(_, count)| *count > 0);
    for (name, count) in counts.into_iter().chain(errors) {
        writeln!(page, "<tr><td>{name}<td>{count}")?;
    }
    writeln!(page, "</table>")
}

fn latencies(page: &mut String, summary: &Summary) -> std::fmt::Result {
    writeln!(page, "<h2>Latency</h2><table><tr><th><th>mean<th>p50<th>p90<th>p99<th>p99.9<th>max")?;
    let fixed: [(&str, &Percentiles); 3] = [
        ("response", &summary.latency_us),
        ("service", &summary.service_latency_us),
        ("pacing error", &summary.pacing_error_us),
    ];
    let classes = summary.classes.iter().map(|(class, percentiles)| (class.as_str(), percentiles));
    for (name, p) in fixed.into_iter().chain(classes) {
        let figures = [p.mean, p.p50 as f64, p.p90 as f64, p.p99 as f64, p.p99_9 as f64, p.max as f64];
        let cells: String = figures.into_iter().map(|us| format!("<td>{}", time(us))).collect();
        writeln!(page, "<tr><td>{name}{cells}")?;
    }
    writeln!(page, "</table>")
}

fn charts(page: &mut String, summary: &Summary, history: &History) -> std::fmt::Result {
    let per_s = history.row_s.max(1) as f64;
    let line = |value: &dyn Fn(&Row) -> f64| -> Vec<(f64, f64)> {
        history.rows.iter().map(|row| (row.t_s, value(row))).collect()
    };
    let planned = match &history.plan {
        Some(plan) if !plan.rate_per_s.is_empty() => plan.rate_per_s.clone(),
        _ => line(&|row| row.requests.planned as f64 / per_s),
    };
    let rate = |value: f64| format!("{value:.0}/s");
    let errors = line(&|row| row.requests.errors.total() as f64 / per_s);
    let ok = line(&|row| row.requests.ok as f64 / per_s);
    chart(page, "Rate", &[("planned", planned), ("good answers", ok), ("errors", errors)], &rate, false)?;
    let latency = [
        ("p50", line(&|row| row.response.p50 as f64)),
        ("p99", line(&|row| row.response.p99 as f64)),
        ("max", line(&|row| row.response.max as f64)),
    ];
    chart(page, "Response time (logarithmic)", &latency, &time, true)?;
    let waiting =
        [("waiting", line(&|row| row.backlog as f64)), ("connections", line(&|row| row.connections_open as f64))];
    chart(page, "Connections and waiting requests", &waiting, &|value| format!("{value:.0}"), false)?;
    let spectrum = |text: &str| -> Vec<(f64, f64)> {
        let Ok(histogram) = decode(text) else { return Vec::new() };
        let nines = |step: usize| 1.0 - 10f64.powf(-(step as f64) / 20.0);
        (0..=100).map(|step| (step as f64 / 20.0, histogram.value_at_quantile(nines(step)) as f64)).collect()
    };
    let spectra = [("response", spectrum(&summary.response_us)), ("service", spectrum(&summary.service_us))];
    chart(page, "Percentiles: 1 is p90, 2 is p99, 3 is p99.9", &spectra, &time, true)
}

fn pods(page: &mut String, summary: &Summary, history: &History) -> std::fmt::Result {
    if summary.pods.is_empty() {
        return Ok(());
    }
    let jain = summary.jain_index.unwrap_or(1.0);
    writeln!(page, "<h2>Pods</h2><p>Jain index {jain:.3}</p><table><tr><th>pod<th>requests<th>share<th>errors<th>p99")?;
    for (name, pod) in &summary.pods {
        let (share, p99) = (pod.share * 100.0, time(pod.service_latency_us.p99 as f64));
        let name = escape(name);
        writeln!(page, "<tr><td>{name}<td>{}<td>{share:.1} %<td>{}<td>{p99}", pod.requests, pod.errors)?;
    }
    writeln!(page, "</table>")?;
    let per_s = history.row_s.max(1) as f64;
    let line = |name: &str| -> Vec<(f64, f64)> {
        let count = |row: &Row| row.pods.get(name).copied().unwrap_or(0) as f64 / per_s;
        history.rows.iter().map(|row| (row.t_s, count(row))).collect()
    };
    let lines: Vec<(&str, Vec<(f64, f64)>)> =
        summary.pods.keys().take(12).map(|name| (name.as_str(), line(name))).collect();
    chart(page, "Answers per pod and second", &lines, &|value| format!("{value:.0}/s"), false)
}

/// One chart of several lines over the same axis.
fn chart(
    page: &mut String,
    title: &str,
    lines: &[(&str, Vec<(f64, f64)>)],
    show: &dyn Fn(f64) -> String,
    logarithmic: bool,
) -> std::fmt::Result {
    let points = || lines.iter().flat_map(|(_, points)| points);
    let end = points().map(|point| point.0).fold(0.0, f64::max).max(1e-9);
    let highest = points().map(|point| point.1).fold(0.0, f64::max).max(1e-9);
    let lowest = points().map(|point| point.1).filter(|value| *value > 0.0).fold(highest, f64::min);
    let height_of = |value: f64| match logarithmic && highest > lowest {
        true => (value.max(lowest) / lowest).ln() / (highest / lowest).ln(),
        false => value / highest,
    };
    writeln!(page, "<h2>{title}</h2><svg viewBox=\"0 0 {WIDTH} {}\">", HEIGHT + 40.0)?;
    for (index, (name, points)) in lines.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let step = points.len().div_ceil(POINTS_MAX).max(1);
        let path: String = points
            .chunks(step)
            .map(|chunk| {
                let value = chunk.iter().map(|point| point.1).fold(0.0, f64::max);
                format!("{:.1},{:.1} ", chunk[0].0 / end * WIDTH, 15.0 + HEIGHT * (1.0 - height_of(value)))
            })
            .collect();
        writeln!(page, "<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>")?;
        let x = 120.0 + 130.0 * (index % 6) as f64;
        let y = HEIGHT + 32.0 - if lines.len() > 6 && index < 6 { 11.0 } else { 0.0 };
        writeln!(page, "<text x=\"{x}\" y=\"{y}\" style=\"fill:{colour}\">{}</text>", escape(name))?;
    }
    let bottom = if logarithmic { show(lowest) } else { "0".to_owned() };
    writeln!(
        page,
        "<text x=\"2\" y=\"11\">{}</text><text x=\"2\" y=\"{}\">{bottom}</text>",
        show(highest),
        HEIGHT + 28.0
    )?;
    writeln!(page, "<text x=\"{WIDTH}\" y=\"{}\" text-anchor=\"end\">{end:.0}</text></svg>", HEIGHT + 32.0)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{Interval, Record};

    #[test]
    fn the_page_stays_small_needs_no_network_and_escapes_what_servers_say() {
        let mut history = History::default();
        for second in 0..20_000 {
            let mut interval = Interval { t_s: second as f64, ..Interval::default() };
            interval.requests.ok = second % 700;
            interval.pods.insert("<script>".to_owned(), Default::default());
            history.take(&Record::Interval(Box::new(interval)));
        }
        let mut summary = Summary { url: "http://a/?x=1&y=<b>".to_owned(), ..Summary::default() };
        summary.pods.insert("<script>".to_owned(), Default::default());
        let page = page(&summary, &history);
        assert!(page.len() < 1_000_000, "{}", page.len());
        assert!(page.matches("<svg").count() >= 4);
        assert!(!page.contains("<script") && !page.contains("src=") && !page.contains("<link"));
        assert!(page.contains("x=1&amp;y=&lt;b&gt;"));
    }
}
