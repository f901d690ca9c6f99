//! What the adapter counts of itself, in the text form that it reads elsewhere.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

#[derive(Default)]
pub(crate) struct Metrics {
    targets: AtomicUsize,
    scrapes_ok: AtomicU64,
    scrapes_failed: AtomicU64,
    scrape_us: AtomicU64,
    /// Requests by what was asked and how it was answered. A handful of labels: strangers' paths are `other`.
    requests: Mutex<BTreeMap<(&'static str, u16), u64>>,
}

impl Metrics {
    pub(crate) fn set_targets(&self, targets: usize) {
        self.targets.store(targets, Relaxed);
    }

    pub(crate) fn scraped(&self, ok: bool, took: Duration) {
        let count = if ok { &self.scrapes_ok } else { &self.scrapes_failed };
        count.fetch_add(1, Relaxed);
        self.scrape_us.fetch_add(took.as_micros() as u64, Relaxed);
    }

    pub(crate) fn answered(&self, path: &'static str, code: u16) {
        *self.requests().entry((path, code)).or_default() += 1;
    }

    pub(crate) fn render(&self) -> String {
        let (ok, failed) = (self.scrapes_ok.load(Relaxed), self.scrapes_failed.load(Relaxed));
        let seconds = self.scrape_us.load(Relaxed) as f64 / 1e6;
        let mut text = format!(
            "# HELP adapter_targets Pods that are scraped.\n# TYPE adapter_targets gauge\nadapter_targets {}\n\
             # HELP adapter_scrapes_total Scrapes by result.\n# TYPE adapter_scrapes_total counter\n\
             adapter_scrapes_total{{result=\"ok\"}} {ok}\nadapter_scrapes_total{{result=\"error\"}} {failed}\n\
             # HELP adapter_scrape_duration_seconds How long scrapes take.\n\
             # TYPE adapter_scrape_duration_seconds summary\n\
             adapter_scrape_duration_seconds_sum {seconds}\nadapter_scrape_duration_seconds_count {}\n\
             # HELP http_requests_total Requests by what was asked and status code.\n# TYPE http_requests_total counter\n",
            self.targets.load(Relaxed),
            ok + failed,
        );
        for ((path, code), count) in self.requests().iter() {
            let _ = writeln!(text, "http_requests_total{{method=\"GET\",path=\"{path}\",code=\"{code}\"}} {count}");
        }
        text
    }

    fn requests(&self) -> std::sync::MutexGuard<'_, BTreeMap<(&'static str, u16), u64>> {
        self.requests.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_own_page_is_one_that_it_could_read() {
        let metrics = Metrics::default();
        metrics.set_targets(3);
        metrics.scraped(true, Duration::from_millis(20));
        metrics.scraped(false, Duration::from_millis(30));
        metrics.answered("custom.metrics.k8s.io", 200);
        let samples = crate::exposition::parse(&metrics.render(), |_| true).unwrap();
        let value =
            |name: &str| samples.iter().filter(|(series, _)| series.name == name).map(|(_, value)| value).sum::<f64>();
        assert_eq!(value("adapter_targets"), 3.0);
        assert_eq!(value("adapter_scrapes_total"), 2.0);
        assert_eq!(value("adapter_scrape_duration_seconds_sum"), 0.05);
        assert_eq!(value("http_requests_total"), 1.0);
    }
}
