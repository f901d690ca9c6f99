//! `loadgen compare A B`: whether two runs differ by more than chance.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};

use crate::cli::flags::{CompareFlags, SummaryForm};
use crate::cli::{Failure, say};
use crate::histogram::decode;
use crate::output::plot::time;
use crate::statistics::{Comparison, compare, decide};
use crate::stream::{Record, exit, read_stream};

/// A metric of each second, and how it is read.
struct Metric {
    name: &'static str,
    value: fn(&Second) -> f64,
    show: fn(f64) -> String,
    /// Whether more of it is worse.
    higher_is_worse: bool,
}

struct Second {
    mean_us: f64,
    p50_us: f64,
    p99_us: f64,
    ok: f64,
    error_share: f64,
}

const METRICS: [Metric; 5] = [
    Metric { name: "mean", value: |s| s.mean_us, show: time_signed, higher_is_worse: true },
    Metric { name: "p50", value: |s| s.p50_us, show: time_signed, higher_is_worse: true },
    Metric { name: "p99", value: |s| s.p99_us, show: time_signed, higher_is_worse: true },
    Metric { name: "good/s", value: |s| s.ok, show: |value| format!("{value:.1}"), higher_is_worse: false },
    Metric {
        name: "errors",
        value: |s| s.error_share,
        show: |value| format!("{:.3} %", value * 100.0),
        higher_is_worse: true,
    },
];

pub(super) fn run(flags: &CompareFlags) -> Result<u8, Failure> {
    if !(flags.alpha > 0.0 && flags.alpha < 0.5) {
        return Err(Failure::Usage(format!("--alpha: {} is not between 0 and 0.5", flags.alpha)));
    }
    let before = read(&flags.before, flags.skip)?;
    let after = read(&flags.after, flags.skip)?;
    let comparisons = compare_all(&before, &after, flags.alpha)?;
    let worse = comparisons
        .iter()
        .any(|(metric, comparison)| comparison.differs && (comparison.difference > 0.0) == metric.higher_is_worse);
    match flags.summary {
        SummaryForm::Text => say::out(&text(&comparisons, &flags.before, &flags.after))?,
        SummaryForm::Json => {
            let by_name: serde_json::Map<String, serde_json::Value> = comparisons
                .iter()
                .map(|(metric, comparison)| (metric.name.to_owned(), serde_json::json!(comparison)))
                .collect();
            let json = serde_json::json!({ "version": 1, "metrics": by_name, "worse": worse });
            say::raw(&format!("{json}\n"))?;
        }
    }
    Ok(if worse && flags.fail_on_regression { exit::THRESHOLD_FAILED } else { exit::PASS })
}

fn compare_all(before: &[Second], after: &[Second], alpha: f64) -> Result<Vec<(&'static Metric, Comparison)>> {
    let series = |seconds: &[Second], metric: &Metric| seconds.iter().map(metric.value).collect::<Vec<f64>>();
    let mut comparisons = Vec::new();
    for (seed, metric) in METRICS.iter().enumerate() {
        let comparison = compare(&series(before, metric), &series(after, metric), seed as u64);
        comparisons.push((metric, comparison.map_err(|error| anyhow!(error))?));
    }
    decide(&mut comparisons.iter_mut().map(|(_, comparison)| comparison).collect::<Vec<_>>(), alpha);
    Ok(comparisons)
}

fn read(path: &Path, skip: usize) -> Result<Vec<Second>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let records = read_stream(&text).map_err(|error| anyhow!("{}: {error}", path.display()))?;
    let mut seconds = Vec::new();
    for record in records {
        let Record::Interval(interval) = record else { continue };
        let response = decode(&interval.response_us).map_err(|error| anyhow!("{}: {error}", path.display()))?;
        if response.is_empty() || interval.requests.planned == 0 {
            continue;
        }
        let failed = interval.requests.without_good_answer();
        seconds.push(Second {
            mean_us: response.mean(),
            p50_us: response.value_at_quantile(0.5) as f64,
            p99_us: response.value_at_quantile(0.99) as f64,
            ok: interval.requests.ok as f64,
            error_share: failed as f64 / (interval.requests.ok + failed).max(1) as f64,
        });
    }
    if seconds.len() <= skip {
        bail!("{}: no seconds of load in it; record one with --intervals", path.display());
    }
    seconds.drain(..skip);
    Ok(seconds)
}

fn text(comparisons: &[(&Metric, Comparison)], before: &Path, after: &Path) -> String {
    let mut text = format!("A {}\nB {}\n\n", before.display(), after.display());
    text.push_str(&format!(
        "{:<8}{:>11}{:>11}{:>12}{:>27}{:>9}{:>8}{:>13}\n",
        "", "A", "B", "B - A", "95 % interval", "p", "effect", "detectable"
    ));
    for (metric, c) in comparisons {
        let show = metric.show;
        let verdict = match (c.differs, (c.difference > 0.0) == metric.higher_is_worse) {
            (false, _) => "no difference shown",
            (true, true) => "WORSE",
            (true, false) => "better",
        };
        text.push_str(&format!(
            "{:<8}{:>11}{:>11}{:>12}{:>27}{:>9.4}{:>8.2}{:>13}  {verdict}\n",
            metric.name,
            show(c.before),
            show(c.after),
            show(c.difference),
            format!("{} to {}", show(c.interval.0), show(c.interval.1)),
            c.p_value,
            c.effect,
            show(c.detectable)
        ));
    }
    text
}

fn time_signed(us: f64) -> String {
    if us < 0.0 { format!("-{}", time(-us)) } else { time(us) }
}
