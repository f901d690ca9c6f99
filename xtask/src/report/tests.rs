//! A report is a function of its run directory: a recorded run is written to one, read back, and told in full.

use expect_test::expect;
use loadgen::histogram;
use loadgen::scenario::{Expect, Scenario};
use loadgen::stream::{Interval, Plan, PodInterval, Record, Requests, STREAM_VERSION, Summary};

use super::*;
use crate::observation::{Entry, VERSION as TIMELINE_VERSION};
use crate::run_dir::{RunDir, RunPlan, VERSION as PLAN_VERSION};
use crate::session::{Pace, ProviderKind};
use crate::workspace::Workspace;

const START_MS: i64 = 1_780_000_000_000;
const SCENARIO: &str = "
name: steps
description: ten a second for a while
pace: fast
load: {pattern: constant 10 30s, requests: [{path: /}]}
expect: {peak_replicas: {min: 3, max: 4}, final_replicas: 1, scale_up_max: 10s, scale_down_max: 20s,
    slo: p99 < 50ms, lost_max: 0, flaps_max: 0}
";

/// What differs from a good run.
#[derive(Default)]
struct Story {
    lost: u64,
    invalid: bool,
    interrupted: bool,
    killed: bool,
    stays_up: bool,
    gone_early: bool,
    flaps: bool,
}

fn requests(seconds: u64, lost: u64) -> Requests {
    let mut requests =
        Requests { planned: 10 * seconds, sent: 10 * seconds, ok: 10 * seconds - lost, ..Requests::default() };
    requests.errors.reset = lost;
    requests
}

fn interval(second: u64, lost: u64) -> Interval {
    let mut response = histogram::latency_histogram();
    (1..=10).for_each(|i| response.record(i * 2_000 + second * 100).unwrap());
    let text = histogram::encode(&response);
    Interval {
        version: STREAM_VERSION,
        t_start_unix_ns: START_MS as u64 * 1_000_000 + second * 1_000_000_000,
        t_s: second as f64,
        requests: requests(1, lost),
        response_us: text.clone(),
        service_us: text.clone(),
        pacing_us: text,
        ..Interval::default()
    }
}

fn summary(story: &Story, intervals: &[Interval]) -> Summary {
    let mut response = histogram::latency_histogram();
    for interval in intervals {
        response.add(histogram::decode(&interval.response_us).unwrap()).unwrap();
    }
    let mut summary = Summary {
        version: STREAM_VERSION,
        t_start_unix_ns: START_MS as u64 * 1_000_000,
        loop_kind: "open".to_owned(),
        interrupted: story.interrupted,
        duration_s: 30.0,
        rate_per_s: 10.0,
        requests: requests(30, story.lost),
        latency_us: Percentiles::of(&response),
        service_latency_us: Percentiles::of(&response),
        response_us: histogram::encode(&response),
        service_us: histogram::encode(&response),
        ..Summary::default()
    };
    if story.invalid {
        summary.validity.verdict = "INVALID".to_owned();
        summary.validity.reasons = vec!["p99 pacing error 40 ms".to_owned()];
    }
    summary
}

fn timeline(story: &Story) -> Vec<Entry> {
    let at = |t_ms: i64, seen| Entry { version: TIMELINE_VERSION, t_unix_ms: START_MS + t_ms, seen };
    let deployment = |t_ms, replicas, ready| at(t_ms, Observation::Deployment { replicas, ready, available: ready });
    let autoscaler = |t_ms, desired, usage| {
        at(
            t_ms,
            Observation::Autoscaler {
                current: 1,
                desired,
                min: 1,
                max: 10,
                usage_percent: Some(usage),
                target_percent: Some(50),
                conditions: Vec::new(),
            },
        )
    };
    let mut all = vec![
        deployment(-500, 1, 1),
        autoscaler(-400, 1, 2),
        autoscaler(3_900, 3, 148),
        deployment(4_000, 3, 1),
        deployment(5_500, 3, 3),
    ];
    if story.flaps {
        all.extend([deployment(12_000, 2, 2), deployment(14_000, 3, 3)]);
    }
    if story.gone_early {
        all.extend([autoscaler(27_000, 1, 10), deployment(28_000, 1, 1)]);
    } else if !story.stays_up {
        all.extend([autoscaler(40_000, 1, 0), deployment(41_000, 1, 1)]);
    }
    all.push(at(
        43_000,
        Observation::Event {
            warning: true,
            reason: "Unhealthy".to_owned(),
            message: "Readiness probe failed <503>".to_owned(),
            object: "pod/web-1".to_owned(),
            count: 1,
        },
    ));
    all
}

fn recorded(story: &Story) -> (tempfile::TempDir, RunDir) {
    let dir = tempfile::tempdir().unwrap();
    let workspace = Workspace::at(dir.path());
    let run = RunDir::create(&workspace, "steps", jiff::Timestamp::from_millisecond(START_MS).unwrap()).unwrap();
    let scenario = Scenario::parse(SCENARIO, dir.path()).unwrap();
    let cluster = ClusterFacts {
        provider: ProviderKind::Embedded,
        environment: "dev".to_owned(),
        pace: Pace::Fast,
        namespace: "swell-dev".to_owned(),
        min_replicas: 1,
        max_replicas: 10,
        target_percent: Some(50),
        request_milli: Some(100),
    };
    run.write_plan(&RunPlan {
        version: PLAN_VERSION,
        scenario: scenario.clone(),
        cluster: Some(cluster),
        url: "http://127.16.0.1:30080".to_owned(),
        started_unix_ms: START_MS,
        iterations_per_ms: None,
        command: "cargo xtask load steps".to_owned(),
    })
    .unwrap();
    let plan = Plan {
        version: STREAM_VERSION,
        t_start_unix_ns: START_MS as u64 * 1_000_000,
        url: "http://127.16.0.1:30080".to_owned(),
        load: scenario.load,
        duration_s: 30.0,
        shards: 1,
        part: Default::default(),
        rate_per_s: Vec::new(),
        notes: Vec::new(),
    };
    let mut lines = run.append_intervals().unwrap();
    lines.push(&serde_json::to_string(&Record::Plan(Box::new(plan))).unwrap()).unwrap();
    let intervals: Vec<Interval> =
        (0..30).map(|second| interval(second, u64::from(second == 7) * story.lost)).collect();
    for interval in &intervals {
        lines.push(&serde_json::to_string(&Record::Interval(Box::new(interval.clone()))).unwrap()).unwrap();
    }
    let mut lines = run.append_timeline().unwrap();
    timeline(story).iter().for_each(|entry| lines.push_entry(entry).unwrap());
    if !story.killed {
        run.write_summary(&summary(story, &intervals)).unwrap();
    }
    (dir, run)
}

fn report(story: &Story) -> Report {
    let (_dir, run) = recorded(story);
    Report::of(&run.read().unwrap()).unwrap()
}

#[test]
fn a_good_run_is_told_in_full() {
    let report = report(&Story::default());
    expect![[r#"
        PASS  steps, embedded dev at pace fast, 2026-05-28T20:26:40Z
          ok   peak replicas          3 to 4                   measured 3
          ok   final replicas         1                        measured 1
          ok   first extra pod after  at most 10 s             measured 5.5 s
          ok   scaled down after      at most 20 s             measured 11.0 s
          ok   flaps                  at most 0                measured 0
          ok   SLO                    p99 < 50ms               measured 22.61 ms
          ok   lost requests          at most 0                measured 0

              req/s ██████████████████████████████               10
                p99 ▇█████████████████████████████               22.9 ms
                CPU ▁▁▁█████████████████████████████████████▁▁▁▁ 148 %
               pods ▃▃▃▃▃████████████████████████████████████▃▃▃ 3
                    0 s                                     43 s

          replicas  1 -> 3 -> 1   first extra pod ready 5.5 s into the load, most at 5.5 s; down 11.0 s after it
              4.0 s  1 -> 3   CPU 148 % of target 50 %
             41.0 s  3 -> 1   CPU 0 % of target 50 %
          requests  planned 300 = sent 300 + shed 0 + unsent 0;  ok 300, lost 0, 10.0 a second
          latency   p50 12.4 ms, p90 20.4 ms, p99 22.6 ms, max 22.9 ms, from the planned moment (n = 300)
          generator VALID, pacing error p99 0 ms, seed 0
          again     cargo xtask load steps"#]]
    .assert_eq(&text(&report, false));
}

#[test]
fn a_metric_that_moved_the_count_is_named_unless_it_was_the_cpu() {
    let (_dir, run) = recorded(&Story::default());
    let rescaled = |t_ms: i64, message: &str| Entry {
        version: TIMELINE_VERSION,
        t_unix_ms: START_MS + t_ms,
        seen: Observation::Event {
            warning: false,
            reason: "SuccessfulRescale".to_owned(),
            message: message.to_owned(),
            object: "hpa/web".to_owned(),
            count: 1,
        },
    };
    let causes = |message: &str, t_ms: i64| {
        let mut recording = run.read().unwrap();
        recording.timeline.push(rescaled(t_ms, message));
        recording.timeline.sort_by_key(|entry| entry.t_unix_ms);
        let changes = Report::of(&recording).unwrap().changes;
        changes.into_iter().map(|change| change.because).collect::<Vec<_>>()
    };
    let rps = "New size: 3; reason: pods metric rps above target";
    let named = Some("pods metric rps above target".to_owned());
    assert_eq!(causes(rps, 3_950), [named.clone(), None], "told before it is seen");
    assert_eq!(causes(rps, 4_100), [named, None], "told after it is seen");
    let cpu = "New size: 3; reason: cpu resource utilization (percentage of request) above target";
    assert_eq!(causes(cpu, 4_100), [None, None]);
    assert_eq!(causes("New size: 1; reason: All metrics below target", 41_100), [None, None]);
}

#[test]
fn the_same_directory_gives_the_same_bytes() {
    let (_dir, run) = recorded(&Story::default());
    let once = Report::of(&run.read().unwrap()).unwrap();
    run.write_report(&once.json().unwrap(), &html(&once)).unwrap();
    let again = Report::of(&run.read().unwrap()).unwrap();
    assert_eq!(once.json().unwrap(), again.json().unwrap());
    assert_eq!(html(&once), html(&again));
}

#[test]
fn each_fault_breaks_its_own_expectation_and_no_other() {
    let cases = [
        (Story { lost: 1, ..Story::default() }, "lost requests"),
        (Story { flaps: true, ..Story::default() }, "flaps"),
    ];
    for (story, name) in cases {
        let report = report(&story);
        assert_eq!(report.verdict, Verdict::Fail, "{name}");
        let broken: Vec<&str> = report.expectations.iter().filter(|e| !e.passed).map(|e| e.name.as_str()).collect();
        assert_eq!(broken, [name]);
    }
}

#[test]
fn pods_that_stay_break_the_final_count_and_the_time() {
    let report = report(&Story { stays_up: true, ..Story::default() });
    let broken: Vec<&str> = report.expectations.iter().filter(|e| !e.passed).map(|e| e.name.as_str()).collect();
    assert_eq!(broken, ["final replicas", "scaled down after"]);
    assert_eq!((report.replicas.end, report.scale_down_s), (3, None));
}

#[test]
fn pods_that_went_before_the_load_ended_kept_nobody_waiting() {
    let story = Story { gone_early: true, ..Story::default() };
    let early = report(&story);
    assert_eq!((early.scale_down_s, early.verdict), (Some(0.0), Verdict::Pass));
    assert!(text(&early, false).contains("measured 0 s (before the load ended)"));
    // Up again at the end is not down.
    let again = report(&Story { stays_up: true, flaps: true, ..Story::default() });
    assert_eq!((again.replicas.end, again.scale_down_s), (3, None));
}

#[test]
fn what_was_not_watched_for_or_did_not_happen_is_not_called_never() {
    let (_dir, run) = recorded(&Story { stays_up: true, ..Story::default() });
    let mut recording = run.read().unwrap();
    recording.plan.scenario.expect = Expect::default();
    let told = text(&Report::of(&recording).unwrap(), false);
    assert!(told.contains("most at 5.5 s; the way down was not awaited"), "{told}");
    recording.timeline.retain(|entry| entry.t_unix_ms < START_MS);
    let still = Report::of(&recording).unwrap();
    assert!(text(&still, false).contains("replicas  1 -> 1 -> 1   no pod was added"));
    assert!(!html(&still).contains("never"));
}

#[test]
fn a_generator_that_was_the_limit_makes_every_verdict_invalid() {
    let report = report(&Story { invalid: true, lost: 3, ..Story::default() });
    assert_eq!((report.verdict, report.verdict.exit_code()), (Verdict::Invalid, 3));
    assert!(text(&report, false).contains("p99 pacing error 40 ms"));
    assert!(junit(&report, "runs/r/report.html").contains("<error message=\"INVALID: p99 pacing error 40 ms\"/>"));
}

#[test]
fn an_interrupted_run_and_a_killed_one_still_make_a_report() {
    let interrupted = report(&Story { interrupted: true, ..Story::default() });
    assert_eq!(interrupted.verdict.exit_code(), 130);
    let killed = report(&Story { killed: true, lost: 2, ..Story::default() });
    assert_eq!(killed.verdict, Verdict::Interrupted);
    assert_eq!((killed.requests.counts.ok, killed.requests.lost), (298, 2));
    assert_eq!(killed.latency_us.count, 300);
}

#[test]
fn the_page_stands_alone_and_escapes_what_the_cluster_said() {
    let page = html(&report(&Story::default()));
    assert!(page.contains("Readiness probe failed &lt;503&gt;"));
    for outside in ["http-equiv", "<script", "src=", "href=", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert_eq!(page.matches("<svg").count(), 4);
    assert!(page.contains("prefers-color-scheme:dark"));
    assert!(page.len() < 200_000);
}

#[test]
fn the_story_of_a_run_shows_the_arithmetic_of_each_change() {
    expect![[r#"
        Why the number of pods changed in 20260528-202640-steps

        Every pod asks for CPU: 100m (10 % of a core). Again and again the autoscaler compares what the pods use with what they ask
        for. It wants 50 % on average, so it computes

            pods wanted = pods now x usage / 50 %, rounded up, between 1 and 10

             4.0 s  1 -> 3   usage 148 %: 1 x 148 / 50 = 2.96, so 3
            30.0 s  the load ended
            41.0 s  3 -> 1   usage 0 %: 3 x 0 / 50 = 0.00, so 1

        After the load it waited 11 s before it removed a pod, in case the load comes back. That is the window
        `behavior.scaleDown.stabilizationWindowSeconds`; Kubernetes' default is 300.
    "#]].assert_eq(&story(&report(&Story::default())));
}

#[test]
fn junit_names_what_was_expected_and_what_was_measured() {
    let xml = junit(&report(&Story { lost: 1, ..Story::default() }), "runs/r/report.html");
    assert!(xml.contains("<testsuite name=\"steps\" tests=\"8\" failures=\"1\" errors=\"0\""), "{xml}");
    assert!(xml.contains("<failure message=\"expected at most 0, measured 1\"/>"), "{xml}");
    assert!(xml.contains("name=\"peak replicas\"><system-out>expected 3 to 4, measured 3<"), "{xml}");
    assert!(xml.contains("<property name=\"report\" value=\"runs/r/report.html\"/>"), "{xml}");
    assert!(xml.contains(" time=\"43.0\""), "it counts the way down too: {xml}");
}

#[test]
fn what_new_pods_get_is_told_against_their_fair_share() {
    let (_dir, run) = recorded(&Story::default());
    let mut recording = run.read().unwrap();
    let pod = |t_ms: i64, name: &str, ready, gone| Entry {
        version: TIMELINE_VERSION,
        t_unix_ms: START_MS + t_ms,
        seen: Observation::Pod { name: name.to_owned(), status: String::new(), ready, restarts: 0, gone },
    };
    // One pod all along; a second one from second 5 to 30; a third is never Ready.
    recording.timeline.extend([
        pod(-500, "old", true, false),
        pod(4_000, "new", false, false),
        pod(5_000, "new", true, false),
        pod(6_000, "never", false, false),
        pod(30_000, "new", false, true),
    ]);
    for interval in &mut recording.intervals {
        let requests = |requests| PodInterval { requests, ..PodInterval::default() };
        // Nothing in the first seconds after Ready, then 4 of 10, and all of it after the window.
        let to_new = match interval.t_s as u64 {
            0..=6 => 0,
            7..=16 => 4,
            _ => 10,
        };
        interval.pods = [("old".to_owned(), requests(10 - to_new)), ("new".to_owned(), requests(to_new))].into();
    }
    let report = Report::of(&recording).unwrap();
    let got: Vec<_> = report.newcomers.iter().map(|n| (n.pod.as_str(), n.requests, n.fair_requests)).collect();
    assert_eq!(got, [("new", 40, 50.0)]);
    assert_eq!(report.newcomers_fair_share, Some(0.8));
    assert!(text(&report, false).contains("new pods  80.0 % of their fair share"));

    let judged = |least: f64| {
        let mut recording = recording.clone();
        recording.plan.scenario.expect.new_pod_share_min = Some(least);
        Report::of(&recording).unwrap().verdict
    };
    assert_eq!((judged(0.8), judged(0.9)), (Verdict::Pass, Verdict::Fail));
}
