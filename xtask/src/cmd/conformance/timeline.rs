//! `conformance timeline`: a run at real pace beside what a real v1.36 cluster was recorded to do with the same
//! manifests and the same load, in CPU time. The phases are the recording's: the autoscaler comes 4.2 s after a scrape of
//! the metrics, the load 85.5 s after the autoscaler. Every change must be within one sync period and one replica.

use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use serde_json::Value;

use crate::apply;
use crate::calibrate;
use crate::cli::{LoadArgs, SetupArgs, TeardownArgs};
use crate::cluster;
use crate::cmd::{demo, load, setup, teardown};
use crate::image;
use crate::lab::Lab;
use crate::observation::{Entry, Observation};
use crate::problem;
use crate::run_dir::RunDir;
use crate::scenario;
use crate::session::{Pace, Session};

const COMMAND: &str = "cargo xtask conformance timeline";
const PROFILE: &str = "timeline";
const MANIFESTS: &str = "k8s/recorded";
const SCENARIO: &str = "recorded";
const SYNC_S: f64 = 15.0;
/// Seconds after the load's start, and replicas from then on.
const RECORDED: [(f64, i32); 4] = [(19.59, 4), (34.61, 5), (49.65, 7), (485.07, 1)];
/// From a scrape to the apply; setting up takes the rest of the 4.2 s.
const APPLY_AFTER_SCRAPE_MS: i64 = 2_800;
const LOAD_AFTER_AUTOSCALER_MS: i64 = 85_500;
const GONE_WITHIN: Duration = Duration::from_secs(60);
const OFF: u8 = 2;

pub(crate) async fn run(lab: &Lab<'_>) -> Result<u8> {
    // A profile of its own, which nobody else's work is in.
    let own = Lab { workspace: lab.workspace.clone(), terminal: lab.terminal, profile: PROFILE.to_owned() };
    let outcome = play(&own).await;
    teardown::run(&own, &TeardownArgs { keep_cluster: false }).await?;
    let path = outcome?;
    lab.terminal.line(&beside(&path));
    let deviations = deviations(&path);
    for deviation in &deviations {
        lab.terminal.line(deviation);
    }
    if deviations.is_empty() {
        lab.terminal.line("every change is within one sync period and one replica of the recorded ones");
        return Ok(0);
    }
    Ok(OFF)
}

async fn play(lab: &Lab<'_>) -> Result<Vec<(f64, i32)>> {
    lab.workspace.build(lab.terminal)?;
    let (package, name) = image::PACKAGES[0];
    let packed = image::pack(name, &lab.workspace.binary(package), &lab.workspace.target_dir().join("images"))?;
    let setup = SetupArgs {
        cluster: "embedded".into(),
        pace: Some(Pace::Real),
        manifests: Some(lab.workspace.root.join(MANIFESTS)),
        image: Some(packed.archive.to_string_lossy().into_owned()),
        ..demo::default_setup()
    };
    // Once for the image, the speed and the phase of the scrapes; then anew, in phase.
    let (session, url) = setup::perform(lab, &setup).await?;
    let mut scenario =
        scenario::resolve(&lab.workspace, &LoadArgs { scenario: Some(SCENARIO.into()), ..LoadArgs::default() })?;
    let path = scenario.load.requests.first().map(|request| request.path.clone()).unwrap_or_default();
    scenario.load.calibrate(calibrate::iterations_per_ms(&url, &path).await?);
    let client = cluster::connect_session(&session).await?;
    let scraped_ms = last_scrape_ms(&client, &session.namespace).await?;
    remove(&client, &session).await?;
    let period_ms = (SYNC_S * 1e3) as i64;
    let now_ms = jiff::Timestamp::now().as_millisecond();
    sleep_ms((scraped_ms + APPLY_AFTER_SCRAPE_MS - now_ms).rem_euclid(period_ms)).await;
    let (session, _) = setup::perform(lab, &setup).await?;
    let created_ms = autoscaler_created_ms(&client, &session).await?;
    let offset_s = (created_ms - scraped_ms).rem_euclid(period_ms) as f64 / 1e3;
    lab.terminal.line(&format!("the autoscaler came {offset_s} s after a scrape (recorded: 4.2 s)"));
    sleep_ms(created_ms + LOAD_AFTER_AUTOSCALER_MS - jiff::Timestamp::now().as_millisecond()).await;
    let report = load::perform(lab, scenario, Some(&session), None, &load::From::Here, COMMAND).await?;
    let recording = RunDir::find(&lab.workspace, Some(&report.run))?.read()?;
    Ok(changes(&recording.timeline, recording.plan.started_unix_ms))
}

async fn sleep_ms(ms: i64) {
    tokio::time::sleep(Duration::from_millis(u64::try_from(ms).unwrap_or(0))).await;
}

async fn last_scrape_ms(client: &kube::Client, namespace: &str) -> Result<i64> {
    let path = format!("/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods");
    let list: Value = client.request(http::Request::get(path).body(Vec::new())?).await?;
    let stamp = list["items"][0]["timestamp"].as_str().context("no pod has metrics")?;
    Ok(stamp.parse::<jiff::Timestamp>()?.as_millisecond())
}

async fn autoscaler_created_ms(client: &kube::Client, session: &Session) -> Result<i64> {
    let autoscalers = Api::<HorizontalPodAutoscaler>::namespaced(client.clone(), &session.namespace);
    let found = autoscalers.get(&session.workload()?.hpa).await?;
    let created = found.metadata.creation_timestamp.context("the autoscaler has no creation time")?;
    // Half a second: the stamp is cut to whole ones.
    Ok(created.0.as_millisecond() + 500)
}

/// What setup applied, until its pods are gone.
async fn remove(client: &kube::Client, session: &Session) -> Result<()> {
    apply::remove_labelled(client, &session.namespace, &session.kinds).await?;
    let pods = Api::<Pod>::namespaced(client.clone(), &session.namespace);
    let gone = async {
        while !pods.list(&ListParams::default()).await?.items.is_empty() {
            sleep_ms(100).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(GONE_WITHIN, gone).await.with_context(|| problem::pods_stay(&session.namespace))?
}

/// Changes of the wanted replicas, in seconds after the load's start.
fn changes(timeline: &[Entry], started_unix_ms: i64) -> Vec<(f64, i32)> {
    let mut changes: Vec<(f64, i32)> = Vec::new();
    let mut last = 1;
    for entry in timeline {
        if let Observation::Deployment { replicas, .. } = entry.seen
            && replicas != last
        {
            last = replicas;
            changes.push(((entry.t_unix_ms - started_unix_ms) as f64 / 1e3, replicas));
        }
    }
    changes
}

fn beside(path: &[(f64, i32)]) -> String {
    let column = |path: &[(f64, i32)], row: usize| {
        path.get(row).map_or(String::new(), |(at, replicas)| format!("{at:7.1} s  -> {replicas}"))
    };
    let rows = (0..path.len().max(RECORDED.len()))
        .map(|row| format!("{:20}{}", column(&RECORDED, row), column(path, row)).trim_end().to_owned());
    let title = format!("{:20}{}", "recorded", "here");
    std::iter::once(title).chain(rows).collect::<Vec<_>>().join("\n")
}

/// The changes of either path that have no like in the other.
fn deviations(path: &[(f64, i32)]) -> Vec<String> {
    let unlike = |of: &[(f64, i32)], other: &[(f64, i32)], whose: &str| -> Vec<String> {
        let unlike = of.iter().filter(|(at, replicas)| !near(other, *at).iter().any(|it| (it - replicas).abs() <= 1));
        unlike.map(|(at, replicas)| format!("{whose} {replicas} at {at:.1} s has no like")).collect()
    };
    [unlike(path, &RECORDED, "here"), unlike(&RECORDED, path, "recorded")].concat()
}

/// The sizes within one sync period of an instant.
fn near(path: &[(f64, i32)], at: f64) -> Vec<i32> {
    let before = path.iter().take_while(|(since, _)| *since <= at - SYNC_S).last().map_or(1, |(_, size)| *size);
    let within = path.iter().filter(|(since, _)| (since - at).abs() <= SYNC_S).map(|(_, size)| *size);
    within.chain([before]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_that_is_a_period_or_a_replica_off_is_named() {
        let close = [(25.0, 4), (40.0, 6), (55.0, 8), (490.0, 1)];
        assert_eq!(deviations(&close), Vec::<String>::new());
        let late = [(25.0, 4), (40.0, 5), (90.0, 7), (530.0, 1)];
        let named = deviations(&late);
        assert!(named.contains(&"here 7 at 90.0 s has no like".to_owned()) || named.len() > 1, "{named:?}");
        assert_eq!(deviations(&[(20.0, 10), (485.0, 1)])[0], "here 10 at 20.0 s has no like");
        assert!(beside(&close).starts_with("recorded            here\n   19.6 s  -> 4        25.0 s  -> 4"));
    }
}
