//! What is computed of the pods' metrics: the rules file, from a ConfigMap or the defaults.
//!
//! The names of the series are those that services in the field use. Probes and scrapes are requests too, but no load,
//! so the default rules leave them out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::exposition::Labels;

const WINDOW_DEFAULT_S: u64 = 15;
const WINDOW_MAX_S: u64 = 600;

const DEFAULT: &str = r"
rules:
  - name: http_requests_per_second
    type: rate
    series: http_requests_total
    except: {path: [/healthz, /livez, /readyz, /metrics]}
  - name: http_requests_in_flight
    type: gauge
    series: http_requests_in_flight
  - name: work_queue_depth
    type: gauge
    series: work_queue_depth
  - name: http_request_duration_p95_seconds
    type: quantile
    quantile: 0.95
    series: http_request_duration_seconds
    except: {path: [/healthz, /livez, /readyz, /metrics]}
    windowSeconds: 30
";

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rules {
    rules: Vec<Rule>,
}

/// One metric.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Rule {
    /// As HorizontalPodAutoscalers name it.
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) kind: Kind,
    /// The series it is made of; of a histogram the name without `_bucket`.
    series: String,
    quantile: Option<f64>,
    /// Label -> the values that count; a series without the label does not.
    #[serde(default)]
    only: BTreeMap<String, BTreeSet<String>>,
    /// Label -> the values that do not count.
    #[serde(default)]
    except: BTreeMap<String, BTreeSet<String>>,
    window_seconds: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Per second, of a counter.
    Rate,
    /// The latest value.
    Gauge,
    /// Of a histogram's buckets, over what came in the window.
    Quantile,
}

impl Rules {
    /// The rules in `text`, or the defaults where there is none. A rate needs two samples in its window.
    pub(crate) fn read(text: Option<&str>, interval: Duration) -> Result<Rules> {
        let rules: Rules = serde_yaml::from_str(text.unwrap_or(DEFAULT)).context("RULES cannot be read")?;
        let mut names = BTreeSet::new();
        for rule in &rules.rules {
            rule.check(interval).with_context(|| format!("RULES: the rule {:?}", rule.name))?;
            if !names.insert(&rule.name) {
                bail!("RULES: two rules are named {:?}", rule.name);
            }
        }
        Ok(rules)
    }

    pub(crate) fn all(&self) -> &[Rule] {
        &self.rules
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.name == name)
    }

    /// Whether some rule is made of series with this name.
    pub(crate) fn want(&self, series: &str) -> bool {
        self.rules.iter().any(|rule| rule.is_made_of(series))
    }

    pub(crate) fn longest_window_ms(&self) -> i64 {
        self.rules.iter().map(Rule::window_ms).max().unwrap_or(0)
    }
}

impl Rule {
    fn check(&self, interval: Duration) -> Result<()> {
        let is_legal = |c: char| c.is_ascii_alphanumeric() || "_-.:".contains(c);
        if self.name.is_empty() || !self.name.chars().all(is_legal) {
            bail!("name: it takes letters, digits and any of _ - . :");
        }
        match (self.kind, self.quantile) {
            (Kind::Quantile, Some(quantile)) if quantile > 0.0 && quantile < 1.0 => {}
            (Kind::Quantile, _) => bail!("quantile: it takes a number between 0 and 1"),
            (_, Some(_)) => bail!("quantile: only a rule of type quantile has one"),
            (_, None) => {}
        }
        let window_s = self.window_seconds.unwrap_or(WINDOW_DEFAULT_S);
        if self.kind == Kind::Gauge {
            if self.window_seconds.is_some() {
                bail!("windowSeconds: a gauge is its latest value and has no window");
            }
        } else if window_s > WINDOW_MAX_S || Duration::from_secs(window_s) < interval * 2 {
            bail!("windowSeconds is {window_s}; it takes at least two SCRAPE_INTERVAL_MS and at most {WINDOW_MAX_S}");
        }
        Ok(())
    }

    pub(crate) fn window_ms(&self) -> i64 {
        match self.kind {
            Kind::Gauge => 0,
            _ => i64::try_from(self.window_seconds.unwrap_or(WINDOW_DEFAULT_S) * 1000).unwrap_or(0),
        }
    }

    pub(crate) fn quantile(&self) -> f64 {
        self.quantile.unwrap_or(f64::NAN)
    }

    pub(crate) fn is_made_of(&self, series: &str) -> bool {
        match self.kind {
            Kind::Quantile => series.strip_suffix("_bucket") == Some(&self.series),
            _ => series == self.series,
        }
    }

    pub(crate) fn counts(&self, labels: &Labels) -> bool {
        let is_in = |(label, values): (&String, &BTreeSet<String>)| {
            labels.get(label).is_some_and(|value| values.contains(value))
        };
        self.only.iter().all(is_in) && !self.except.iter().any(is_in)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Rules> {
        Rules::read(Some(text), Duration::from_secs(1))
    }

    #[test]
    fn the_defaults_are_the_services_own_metrics_without_probes() {
        let rules = Rules::read(None, Duration::from_secs(1)).unwrap();
        let names: Vec<&str> = rules.all().iter().map(|rule| rule.name.as_str()).collect();
        let expected = [
            "http_requests_per_second",
            "http_requests_in_flight",
            "work_queue_depth",
            "http_request_duration_p95_seconds",
        ];
        assert_eq!(names, expected);
        let labels = |path: &str| Labels::from([("path".to_owned(), path.to_owned())]);
        let rate = rules.find("http_requests_per_second").unwrap();
        assert!(rate.counts(&labels("/work")) && rate.counts(&Labels::new()));
        assert!(!rate.counts(&labels("/readyz")));
        assert!(rules.want("http_request_duration_seconds_bucket") && !rules.want("http_request_duration_seconds_sum"));
        assert_eq!(rules.longest_window_ms(), 30_000);
    }

    #[test]
    fn a_bad_rule_is_named_with_what_is_wrong() {
        for (text, reason) in [
            ("rules: [{name: a, type: sum, series: b}]", "unknown variant `sum`"),
            ("rules: [{name: a, type: rate, series: b, windw: 3}]", "unknown field `windw`"),
            ("rules: [{name: a/b, type: rate, series: b}]", "\"a/b\": name:"),
            ("rules: [{name: a, type: rate, series: b, windowSeconds: 1}]", "at least two SCRAPE_INTERVAL_MS"),
            ("rules: [{name: a, type: gauge, series: b, windowSeconds: 9}]", "a gauge is its latest value"),
            ("rules: [{name: a, type: quantile, series: b}]", "a number between 0 and 1"),
            ("rules: [{name: a, type: rate, series: b, quantile: 0.5}]", "only a rule of type quantile"),
            ("rules: [{name: a, type: rate, series: b}, {name: a, type: gauge, series: c}]", "two rules are named"),
        ] {
            let error = format!("{:#}", read(text).expect_err(text));
            assert!(error.contains(reason) && error.contains("RULES"), "{text}: {error}");
        }
    }
}
