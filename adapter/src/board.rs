//! What was measured, pod by pod, shared between the scraper that writes and the API that reads.
//!
//! A pod is served only while its last good scrape is fresh. What stands in for a value otherwise is a reason in words.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Instant;

use k8s_openapi::api::core::v1::Pod;

use crate::exposition::{Labels, Series};
use crate::history::{Gap, History, Measure};
use crate::rules::Rule;
use crate::selector::Selector;
use crate::target::{self, Target};

pub(crate) struct Board {
    /// Samples are dated from here: this clock never jumps.
    started: Instant,
    window_ms: i64,
    fresh_ms: i64,
    /// By the pods' UIDs. Held for moments only, never over an await.
    entries: Mutex<BTreeMap<String, Entry>>,
}

#[derive(Default)]
struct Entry {
    history: History,
    /// Why the last scrape failed; none if it did not.
    failure: Option<String>,
    is_busy: bool,
}

/// Why a pod has no value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Missing {
    pub(crate) why: String,
    /// The source fails, rather than being too new or having nothing to tell.
    pub(crate) is_outage: bool,
}

impl Board {
    pub(crate) fn new(window_ms: i64, fresh_ms: i64) -> Board {
        Board { started: Instant::now(), window_ms, fresh_ms, entries: Mutex::default() }
    }

    /// Forgets every pod but these.
    pub(crate) fn keep(&self, targets: &[Target]) {
        let uids: BTreeSet<&str> = targets.iter().map(|target| target.uid.as_str()).collect();
        self.entries().retain(|uid, _| uids.contains(uid.as_str()));
    }

    /// Whether the pod may be scraped now: the last scrape has come to its end.
    pub(crate) fn begin(&self, target: &Target) -> bool {
        let mut entries = self.entries();
        let entry = entries.entry(target.uid.clone()).or_default();
        !std::mem::replace(&mut entry.is_busy, true)
    }

    /// Takes note of a scrape that came to its end. True when it fails and the one before did not, or the other way round.
    pub(crate) fn end(&self, target: &Target, result: Result<Vec<(Series, f64)>, String>) -> bool {
        let now_ms = self.now_ms();
        // A pod that is gone meanwhile is forgotten.
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(&target.uid) else { return false };
        entry.is_busy = false;
        let failed_before = entry.failure.is_some();
        entry.failure = match result {
            Ok(samples) => {
                entry.history.take(now_ms, samples, self.window_ms);
                None
            }
            Err(why) => Some(why),
        };
        entry.failure.is_some() != failed_before
    }

    /// A rule in one pod. The selector sees the series' labels, the pod's, and `pod`.
    pub(crate) fn measure(&self, pod: &Pod, rule: &Rule, selector: &Selector) -> Result<Measure, Missing> {
        let missing = |why: &str, is_outage| Err(Missing { why: why.to_owned(), is_outage });
        if let Err(why) = Target::of(pod) {
            return missing(&why, false);
        }
        let entries = self.entries();
        let Some(entry) = entries.get(target::uid(pod)) else { return missing("it was not scraped yet", false) };
        let last_ms = entry.history.last_scrape_ms();
        let is_fresh = last_ms.is_some_and(|last_ms| self.now_ms() - last_ms <= self.fresh_ms);
        match (&entry.failure, is_fresh) {
            (Some(failure), false) => return missing(failure, true),
            (None, false) if last_ms.is_some() => return missing("its last sample is too old", true),
            _ => {}
        }
        let wanted = |labels: &Labels| selector.matches(|key| label(pod, labels, key));
        let measured = entry.history.measure(rule, wanted).map_err(|gap| match gap {
            Gap::Young => Missing { why: "it was not scraped twice yet".to_owned(), is_outage: false },
            Gap::NoSeries => Missing { why: "it shows no such series".to_owned(), is_outage: false },
        })?;
        if measured.value(rule).is_none() && rule.kind != crate::rules::Kind::Quantile {
            return missing("its value is no number", true);
        }
        Ok(measured)
    }

    /// A sample's time by the calendar, as it is set now.
    pub(crate) fn unix_ms(&self, at_ms: i64) -> i64 {
        jiff::Timestamp::now().as_millisecond() - (self.now_ms() - at_ms)
    }

    fn now_ms(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn label<'l>(pod: &'l Pod, series: &'l Labels, key: &str) -> Option<&'l str> {
    series.get(key).map(String::as_str).or_else(|| pod_label(pod, key))
}

/// A pod's own label, and its name as `pod`.
pub(crate) fn pod_label<'p>(pod: &'p Pod, key: &str) -> Option<&'p str> {
    target::label(pod, key).or_else(|| (key == "pod").then(|| target::name(pod)))
}
