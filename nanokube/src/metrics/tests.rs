use super::*;

const RESOLUTION: Duration = Duration::from_secs(15);

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(1_700_000_000_000 + ms).unwrap()
}

fn key(pod: &str, container: &str) -> ContainerKey {
    ContainerKey { namespace: "lab".into(), pod: pod.into(), container: container.into() }
}

fn reading(at_ms: i64, started_ms: i64, cpu_ms: u64) -> Reading {
    Reading { at: at(at_ms), started: at(started_ms), cpu_ns: cpu_ms * 1_000_000, memory_bytes: 4096 }
}

/// CPU milli and window in ms after scrapes `(at_ms, started_ms, cpu_ms)` of one container.
fn check(scrapes: &[(i64, i64, u64)], expected: Option<(u64, i128)>) {
    let metrics = Metrics::new(RESOLUTION);
    for (at_ms, started_ms, cpu_ms) in scrapes {
        metrics.scrape(vec![(key("web", "app"), reading(*at_ms, *started_ms, *cpu_ms))], None);
    }
    let found = metrics.pods(None);
    let found = found.first().map(|pod| (pod.containers[0].1.cpu_nano / 1_000_000, pod.window.as_millis()));
    assert_eq!(found, expected, "{scrapes:?}");
}

#[test]
fn the_first_value_comes_with_the_second_scrape() {
    check(&[(0, -60_000, 6_000)], None);
    check(&[(0, -60_000, 6_000), (15_000, -60_000, 9_000)], Some((200, 15_000)));
}

#[test]
fn a_container_of_ten_seconds_has_a_value_at_its_first_scrape_and_a_younger_one_has_not() {
    check(&[(10_000, 0, 1_000)], Some((100, 10_000)));
    check(&[(14_999, 0, 0)], Some((0, 14_999)));
    check(&[(9_999, 0, 1_000)], None);
    check(&[(15_000, 0, 1_000)], None);
}

#[test]
fn the_first_value_comes_ten_to_twenty_five_seconds_after_the_start_whatever_the_phase() {
    let waits = (0..150).map(|tenths| {
        let (metrics, started_ms) = (Metrics::new(RESOLUTION), -tenths * 100);
        let scrapes = (0..4).map(|nth| nth * 15_000);
        let first = scrapes.into_iter().find(|at_ms| {
            metrics.scrape(vec![(key("web", "app"), reading(*at_ms, started_ms, 0))], None);
            !metrics.pods(None).is_empty()
        });
        first.unwrap() - started_ms
    });
    let waits: Vec<i64> = waits.collect();
    assert_eq!((waits.iter().min(), waits.iter().max()), (Some(&10_000), Some(&24_900)));
}

#[test]
fn a_restarted_container_begins_anew() {
    check(&[(0, -60_000, 6_000), (15_000, 12_000, 10)], None);
    check(&[(0, -60_000, 6_000), (15_000, 4_000, 110)], Some((10, 11_000)));
}

#[test]
fn a_pod_has_metrics_only_when_all_its_containers_have() {
    let metrics = Metrics::new(RESOLUTION);
    let old = |at_ms| (key("web", "app"), reading(at_ms, -60_000, 0));
    let young = |at_ms| (key("web", "sidecar"), reading(at_ms, 14_000, 0));
    metrics.scrape(vec![old(0)], None);
    metrics.scrape(vec![old(15_000), young(15_000)], None);
    assert!(metrics.pods(None).is_empty());
    metrics.scrape(vec![old(30_000), young(29_900)], None);
    let pods = metrics.pods(Some("lab"));
    assert_eq!(pods[0].containers.len(), 2);
    assert_eq!((pods[0].timestamp, pods[0].window.as_millis()), (at(29_900), 14_900));
    assert!(metrics.pods(Some("other")).is_empty());
}

#[test]
fn what_is_not_read_any_more_is_forgotten() {
    let metrics = Metrics::new(RESOLUTION);
    metrics.scrape(vec![(key("web", "app"), reading(10_000, 0, 0))], Some(reading(10_000, -9_000_000, 5_000)));
    metrics.scrape(vec![], Some(reading(25_000, -9_000_000, 20_000)));
    assert!(metrics.pods(None).is_empty());
    assert_eq!(metrics.node().unwrap().usage.cpu_nano, 1_000_000_000);
}
