use std::time::Duration;

use super::*;
use crate::rules::Rules;

const RULES: &str = r"
rules:
  - {name: rate, type: rate, series: hits_total, windowSeconds: 10, except: {path: [/healthz]}}
  - {name: depth, type: gauge, series: depth}
  - {name: p95, type: quantile, quantile: 0.95, series: took, windowSeconds: 10}
";

fn rule(name: &str) -> Rule {
    Rules::read(Some(RULES), Duration::from_secs(1)).unwrap().find(name).unwrap().clone()
}

/// Scrapes a second apart, each a page of lines.
fn history(pages: &[&str]) -> History {
    let mut history = History::default();
    for (second, page) in pages.iter().enumerate() {
        history.take(second as i64 * 1000, crate::exposition::parse(page, |_| true).unwrap(), 10_000);
    }
    history
}

fn value(history: &History, name: &str) -> Result<f64, Gap> {
    let rule = rule(name);
    history.measure(&rule, |_| true).map(|measure| measure.value(&rule).unwrap_or(f64::NAN))
}

#[track_caller]
fn check_rate(pages: &[&str], expected: Result<f64, Gap>) {
    assert_eq!(value(&history(pages), "rate"), expected, "{pages:?}");
}

#[test]
fn a_rate_is_what_was_gained_over_the_time_it_took() {
    check_rate(&["hits_total 10", "hits_total 30", "hits_total 34"], Ok(12.0));
    check_rate(&["hits_total 10", "hits_total 10"], Ok(0.0));
}

#[test]
fn one_scrape_is_no_rate_and_a_pod_without_the_series_has_none() {
    check_rate(&["hits_total 10"], Err(Gap::Young));
    check_rate(&[], Err(Gap::Young));
    check_rate(&["depth 1", "depth 1"], Err(Gap::NoSeries));
}

#[test]
fn a_counter_that_fell_was_started_anew() {
    check_rate(&["hits_total 100", "hits_total 110", "hits_total 4"], Ok(7.0));
    check_rate(&["hits_total 100", "depth 1", "hits_total 4"], Ok(2.0));
}

#[test]
fn a_counter_that_first_shows_up_later_began_at_zero() {
    let pages = [r#"hits_total{code="200"} 1"#, "hits_total{code=\"200\"} 3\nhits_total{code=\"503\"} 8"];
    check_rate(&pages, Ok(10.0));
}

#[test]
fn series_are_added_up_but_for_those_that_do_not_count() {
    let pages = [
        "hits_total{path=\"/a\"} 0\nhits_total{path=\"/healthz\"} 0",
        "hits_total{path=\"/a\"} 5\nhits_total{path=\"/healthz\"} 7",
    ];
    check_rate(&pages, Ok(5.0));
    let only_b = history(&pages).measure(&rule("rate"), |labels| labels.get("path").is_some_and(|path| path == "/b"));
    assert_eq!(only_b, Err(Gap::NoSeries));
}

#[test]
fn what_lies_before_the_window_is_forgotten() {
    let pages: Vec<String> =
        (0..30).map(|second| format!("hits_total {}", if second < 15 { 0 } else { (second - 15) * 7 })).collect();
    let pages: Vec<&str> = pages.iter().map(String::as_str).collect();
    let history = history(&pages);
    let measure = history.measure(&rule("rate"), |_| true).unwrap();
    assert_eq!((measure.amount, measure.at_ms, measure.window_ms), (Amount::Number(7.0), 29_000, Some(10_000)));
    assert_eq!(history.series.values().map(|past| past.points.len()).max(), Some(11));
}

#[test]
fn a_gauge_is_the_sum_of_its_series_in_the_last_scrape_only() {
    assert_eq!(
        value(&history(&["depth{q=\"a\"} 9\ndepth{q=\"b\"} 9", "depth{q=\"a\"} 2\ndepth{q=\"b\"} 3"]), "depth"),
        Ok(5.0)
    );
    assert_eq!(value(&history(&["depth 9", "hits_total 1"]), "depth"), Err(Gap::NoSeries));
}

#[test]
fn one_series_without_a_number_is_no_number_for_all() {
    let is_nan = |pages: &[&str], name: &str| value(&history(pages), name).unwrap().is_nan();
    assert!(is_nan(&["depth{q=\"a\"} 2\ndepth{q=\"b\"} NaN"], "depth"));
    assert!(is_nan(&["hits_total 1", "hits_total NaN"], "rate"));
    assert!(is_nan(
        &[
            "took_bucket{le=\"1\"} 0\ntook_bucket{le=\"+Inf\"} 0",
            "took_bucket{le=\"1\"} 1\ntook_bucket{le=\"+Inf\"} NaN"
        ],
        "p95"
    ));
    // One that has a number again is counted from where it was.
    check_rate(&["hits_total 1", "hits_total NaN", "hits_total 7"], Ok(3.0));
}

#[test]
fn a_scrape_that_comes_late_is_left_out() {
    let mut late = history(&["hits_total 0", "hits_total 5"]);
    late.take(500, crate::exposition::parse("hits_total 2", |_| true).unwrap(), 10_000);
    assert_eq!(value(&late, "rate"), Ok(5.0));
}

/// Prometheus 2.42 gives these for `histogram_quantile` over the same buckets (NaN where there is none here).
#[test]
fn quantiles_are_those_of_prometheus() {
    let inf = f64::INFINITY;
    for (q, buckets, expected) in [
        (0.5, vec![(0.1, 10.0), (0.5, 20.0), (inf, 20.0)], Some(0.1)),
        (0.95, vec![(0.1, 10.0), (0.5, 20.0), (inf, 20.0)], Some(0.46)),
        (0.25, vec![(0.2, 10.0), (inf, 10.0)], Some(0.05)),
        (0.95, vec![(0.1, 1.0), (0.5, 2.0), (inf, 100.0)], Some(0.5)),
        (0.5, vec![(-1.0, 4.0), (1.0, 4.0), (inf, 4.0)], Some(-1.0)),
        (0.95, vec![(0.1, 0.0), (inf, 0.0)], None),
        (0.95, vec![(0.1, 5.0), (0.5, 5.0)], None),
        (0.95, vec![(inf, 5.0)], None),
        (0.95, vec![], None),
    ] {
        let found = quantile(q, &buckets);
        let is_near = match (found, expected) {
            (Some(found), Some(expected)) => (found - expected).abs() < 1e-9,
            (found, expected) => found == expected,
        };
        assert!(is_near, "{q} of {buckets:?}: {found:?}, not {expected:?}");
    }
}

#[test]
fn pods_together_are_one_histogram_and_as_old_as_the_oldest() {
    let page = |fast: u32, slow: u32| {
        let all = fast + slow;
        format!("took_bucket{{le=\"0.1\"}} {fast}\ntook_bucket{{le=\"1\"}} {all}\ntook_bucket{{le=\"+Inf\"}} {all}")
    };
    let (none, fast, slow) = (page(0, 0), page(90, 0), page(0, 10));
    let rule = rule("p95");
    let measures = [history(&[&none, &fast]), history(&[&none, &fast, &fast]), history(&[&none, &slow])]
        .map(|history| history.measure(&rule, |_| true).unwrap());
    let together = Measure::together(measures).unwrap();
    // 90 + 45 + 10 a second, of which 135 within 0.1 s.
    let expected = 0.1 + 0.9 * ((0.95 * 145.0 - 135.0) / 10.0);
    assert!((together.value(&rule).unwrap() - expected).abs() < 1e-9, "{together:?}");
    assert_eq!((together.at_ms, together.window_ms), (1000, Some(2000)));
    assert_eq!(history(&[&none, &none]).measure(&rule, |_| true).unwrap().value(&rule), None);
}
