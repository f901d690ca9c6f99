//! The report as one page: no script, no network, charts as inline SVG, readable in light and in dark.

mod chart;

use self::chart::{Chart, Line};
use super::{Point, Report, Verdict, words};

const STYLE: &str = "
:root { color-scheme: light dark; --bg: #fff; --fg: #1b1f24; --dim: #667; --line: #d8dce2; --card: #f6f7f9;
  --a: #2563c9; --b: #c2410c; --c: #0f8a5f; --d: #8b5cf6; --good: #0f7a3f; --bad: #b42318; --warn: #9a6700 }
@media (prefers-color-scheme:dark) { :root { --bg: #14171c; --fg: #e4e7ec; --dim: #98a1b0; --line: #2c323b;
  --card: #1b1f26; --a: #6ea8fe; --b: #ff9e64; --c: #4fd6a0; --d: #b79cff; --good: #4fd68a; --bad: #ff7b72;
  --warn: #e3b341 } }
* { box-sizing: border-box }
body { margin: 0; background: var(--bg); color: var(--fg); font: 15px/1.5 system-ui, sans-serif }
main { max-width: 960px; margin: 0 auto; padding: 24px 20px 60px }
h1 { font-size: 22px; margin: 0 0 4px } h2 { font-size: 16px; margin: 32px 0 8px }
p.sub { color: var(--dim); margin: 0 0 16px }
.verdict { display: inline-block; padding: 2px 10px; border-radius: 6px; color: var(--bg); font-weight: 600 }
.PASS { background: var(--good) } .FAIL { background: var(--bad) } .INVALID, .INTERRUPTED { background: var(--warn) }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(130px, 1fr)); gap: 10px }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 10px 12px }
.card b { display: block; font-size: 20px; font-variant-numeric: tabular-nums }
.card span { color: var(--dim); font-size: 13px }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { text-align: left; padding: 5px 10px 5px 0; border-bottom: 1px solid var(--line) }
th { color: var(--dim); font-weight: 500 } .scroll { overflow-x: auto }
.ok { color: var(--good) } .bad { color: var(--bad) } figure { margin: 0 0 18px }
figcaption { display: flex; gap: 16px; flex-wrap: wrap; font-size: 13px; color: var(--dim); margin: 0 0 4px }
figcaption b { color: var(--fg) }
.key::before { content: ''; display: inline-block; width: 14px; height: 3px; margin-right: 6px;
  vertical-align: middle; background: var(--k) }
svg { display: block; width: 100%; height: auto } svg text { fill: var(--dim); font: 11px system-ui, sans-serif }
.grid { stroke: var(--line); stroke-width: 1 }
.mark { stroke: var(--dim); stroke-width: 1; stroke-dasharray: 3 3 }
code { background: var(--card); padding: 1px 5px; border-radius: 4px }";

pub(crate) fn html(report: &Report) -> String {
    let mut body = String::new();
    body.push_str(&header(report));
    body.push_str(&cards(report));
    body.push_str(&expectations(report));
    body.push_str("<h2>What happened</h2>\n");
    for chart in charts(report) {
        body.push_str(&chart.svg(report.load_s));
    }
    body.push_str(&changes(report));
    body.push_str(&latency(report));
    body.push_str(&pods(report));
    body.push_str(&warnings(report));
    body.push_str(&format!(
        "<h2>Again</h2><p><code>{}</code></p><p class=sub>Run {}, seed {}, generator {} with pacing error p99 {} ms.</p>",
        escape(&report.command),
        escape(&report.run),
        report.generator.seed,
        escape(&report.generator.verdict),
        ms(report.generator.pacing_error_us.p99)
    ));
    format!(
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>{} - {}</title><style>{STYLE}</style></head><body><main>\n{body}\n</main></body></html>\n",
        escape(&report.scenario),
        report.verdict.word()
    )
}

fn header(report: &Report) -> String {
    let place = report.cluster.as_ref().map_or(escape(&report.url), |cluster| {
        format!(
            "{} cluster, environment {}, pace {}",
            cluster.provider.name(),
            escape(&cluster.environment),
            cluster.pace.name()
        )
    });
    let reasons: String =
        report.generator.reasons.iter().map(|reason| format!("<p class=bad>{}</p>", escape(reason))).collect();
    let word = report.verdict.word();
    let note = match report.verdict {
        Verdict::Invalid => "<p>The generator was the limit: the figures below say nothing about the service.</p>",
        Verdict::Interrupted => "<p>The run was interrupted: the figures cover what was recorded until then.</p>",
        Verdict::Pass | Verdict::Fail => "",
    };
    format!(
        "<h1>{} <span class=\"verdict {word}\">{word}</span></h1><p class=sub>{}<br>{place}, {}</p>{note}{reasons}\n",
        escape(&report.scenario),
        escape(&report.description),
        escape(&report.started)
    )
}

fn cards(report: &Report) -> String {
    let mut all = Vec::new();
    if report.cluster.is_some() {
        let replicas = report.replicas;
        all.push((format!("{} → {} → {}", replicas.start, replicas.peak, replicas.end), "replicas"));
        all.push((words::first_extra_pod(report), "to the first extra pod"));
        all.push((words::scaled_down(report), "to scale down after the load"));
    }
    all.push((report.requests.counts.ok.to_string(), "requests answered"));
    all.push((report.requests.lost.to_string(), "requests lost"));
    all.push((format!("{} ms", ms(report.latency_us.p99)), "p99 from the planned moment"));
    let cards: String =
        all.iter().map(|(figure, name)| format!("<div class=card><b>{figure}</b><span>{name}</span></div>")).collect();
    format!("<div class=cards>{cards}</div>\n")
}

fn expectations(report: &Report) -> String {
    if report.expectations.is_empty() {
        return String::new();
    }
    let rows: String = report
        .expectations
        .iter()
        .map(|expectation| {
            let (class, mark) = if expectation.passed { ("ok", "kept") } else { ("bad", "broken") };
            format!(
                "<tr><td>{}<td>{}<td>{}<td class={class}>{mark}",
                escape(&expectation.name),
                escape(&expectation.expected),
                escape(&expectation.measured)
            )
        })
        .collect();
    table("Expectations", "<th>what<th>expected<th>measured<th>", &rows)
}

fn charts(report: &Report) -> Vec<Chart<'_>> {
    let points = &report.series;
    let line = |name, ink, step, pick: fn(&Point) -> Option<f64>| Line {
        name,
        ink,
        step,
        values: points.iter().map(pick).collect(),
    };
    let mut charts = Vec::new();
    if report.cluster.is_some() {
        charts.push(Chart::new(
            "Replicas",
            "",
            vec![
                line("wanted", "--b", true, |p| p.desired.map(f64::from)),
                line("ready", "--a", true, |p| p.ready.map(f64::from)),
            ],
        ));
        let target = report.cluster.as_ref().and_then(|cluster| cluster.target_percent).map(f64::from);
        charts.push(
            Chart::new(
                "CPU of the request, as the autoscaler saw it",
                "%",
                vec![line("CPU", "--c", true, |p| p.cpu_percent.map(f64::from))],
            )
            .with_level(target, "target"),
        );
    }
    charts.push(Chart::new(
        "Requests a second",
        "",
        vec![
            line("planned", "--d", false, |p| p.planned_per_s),
            line("answered", "--a", false, |p| p.ok_per_s.map(|n| n as f64)),
            line("failed", "--b", false, |p| p.errors_per_s.map(|n| n as f64)),
        ],
    ));
    charts.push(Chart::new(
        "Latency from the planned moment",
        "ms",
        vec![
            line("p99", "--b", false, |p| p.p99_us.map(|us| us as f64 / 1e3)),
            line("p50", "--a", false, |p| p.p50_us.map(|us| us as f64 / 1e3)),
        ],
    ));
    charts
}

fn changes(report: &Report) -> String {
    if report.changes.is_empty() {
        return String::new();
    }
    let percent = |value: Option<i32>| value.map_or("unknown".to_owned(), |value| format!("{value} %"));
    let by_others = report.changes.iter().any(|change| change.because.is_some());
    let row = |change: &super::Change| {
        let because = change.because.as_deref().map_or(String::new(), |because| format!("<td>{}", escape(because)));
        format!(
            "<tr><td>{:.1} s<td>{} → {}<td>{}<td>{}{because}",
            change.t_s,
            change.from,
            change.to,
            percent(change.usage_percent),
            percent(change.target_percent),
        )
    };
    let rows: String = report.changes.iter().map(row).collect();
    let other = if by_others { "<th>if not the CPU" } else { "" };
    table("Changes of the replica count", &format!("<th>after<th>replicas<th>CPU seen<th>target{other}"), &rows)
}

fn latency(report: &Report) -> String {
    let mut rows = String::new();
    for (name, p) in [("response", &report.latency_us), ("service", &report.service_latency_us)] {
        let cells: String =
            [p.p50, p.p90, p.p95, p.p99, p.p99_9, p.max].iter().map(|us| format!("<td>{}", ms(*us))).collect();
        rows.push_str(&format!("<tr><td>{name}{cells}<td>{}", p.count));
    }
    let counts = &report.requests.counts;
    let sum = format!(
        "<p class=sub>planned {} = sent {} + shed {} + unsent {}. Response time counts from the planned moment, service \
         time from the moment of sending; in milliseconds.</p>",
        counts.planned, counts.sent, counts.shed, counts.unsent
    );
    table("Latency", "<th><th>p50<th>p90<th>p95<th>p99<th>p99.9<th>max<th>n", &rows) + &sum
}

fn pods(report: &Report) -> String {
    if report.pods.is_empty() {
        return String::new();
    }
    let row = |(name, pod): (&String, &loadgen::stream::PodSummary)| {
        format!(
            "<tr><td>{}<td>{}<td>{:.1} %<td>{}<td>{}",
            escape(name),
            pod.requests,
            pod.share * 100.0,
            pod.errors,
            ms(pod.service_latency_us.p99)
        )
    };
    let rows: String = report.pods.iter().map(row).collect();
    table("Pods", "<th>pod<th>requests<th>share<th>errors<th>p99 ms", &rows)
}

fn warnings(report: &Report) -> String {
    if report.warnings.is_empty() {
        return String::new();
    }
    let row = |warning: &super::Warning| {
        format!(
            "<tr><td>{:.1} s<td>{}<td>{}<td>{}",
            warning.t_s,
            escape(&warning.object),
            escape(&warning.reason),
            escape(&warning.message)
        )
    };
    let rows: String = report.warnings.iter().take(50).map(row).collect();
    table("Warnings of the cluster", "<th>after<th>object<th>reason<th>message", &rows)
}

fn table(title: &str, head: &str, rows: &str) -> String {
    format!("<h2>{title}</h2><div class=scroll><table><tr>{head}{rows}</table></div>\n")
}

fn ms(us: u64) -> String {
    super::text::nice(us as f64 / 1e3)
}

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
