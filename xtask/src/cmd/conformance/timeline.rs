//! `conformance timeline`: a run at real pace beside what a real v1.36 cluster was recorded to do with the same
//! manifests and the same load, in CPU time. The phases are the recording's: the autoscaler comes 3.4 s after a scrape of
//! the metrics, the load 85.5 s after the autoscaler. Every change must be within one sync period and one replica.
//! Meanwhile the conformance suite runs kubectl at the recording's stages, and says how many lines are as recorded.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
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
const MANIFEST: &str = "work.yaml";
const SCENARIO: &str = "recorded";
const SYNC_S: f64 = 15.0;
const SYNC: Duration = Duration::from_secs(15);
/// Looks on, with kubectl.
const SUITE: &str = "nanokube-conformance";
/// Seconds after the load's start, and replicas from then on.
const RECORDED: [(f64, i32); 4] = [(19.59, 4), (34.61, 5), (49.65, 7), (485.07, 1)];
/// From a scrape to the apply. The recorded pod ran 3.8 s after a scrape, 0.4 s after its autoscaler came, which decides whether
/// its first sample counts; here a pod runs at once.
const APPLY_AFTER_SCRAPE_MS: i64 = 3_450;
const AUTOSCALER_AFTER_SCRAPE_S: f64 = 3.4;
const LOAD_AFTER_AUTOSCALER_MS: i64 = 85_500;
const GONE_WITHIN: Duration = Duration::from_secs(60);
const OFF: u8 = 2;

pub(crate) async fn run(lab: &Lab<'_>) -> Result<u8> {
    // A profile of its own, which nobody else's work is in.
    let own = Lab { workspace: lab.workspace.clone(), terminal: lab.terminal, profile: PROFILE.to_owned() };
    let outcome = play(&own).await;
    teardown::run(&own, &TeardownArgs { keep_cluster: false }).await?;
    let Played { path, outputs, is_like } = outcome?;
    lab.terminal.line(&outputs);
    lab.terminal.line(&beside(&path));
    let deviations = deviations(&path);
    for deviation in &deviations {
        lab.terminal.line(deviation);
    }
    if deviations.is_empty() {
        lab.terminal.line("every change is within one sync period and one replica of the recorded ones");
    }
    Ok(if deviations.is_empty() && is_like { 0 } else { OFF })
}

struct Played {
    path: Vec<(f64, i32)>,
    /// What the suite says of kubectl's outputs.
    outputs: String,
    is_like: bool,
}

async fn play(lab: &Lab<'_>) -> Result<Played> {
    lab.workspace.build(lab.terminal)?;
    lab.workspace.build_binaries(lab.terminal, &[SUITE])?;
    let (package, name) = image::PACKAGES[0];
    let packed = image::pack(name, &lab.workspace.binary(package), &lab.workspace.target_dir().join("images"))?;
    let setup = SetupArgs {
        cluster: "embedded".into(),
        pace: Some(Pace::Real),
        manifests: Some(lab.workspace.root.join(MANIFESTS)),
        image: Some(packed.archive.to_string_lossy().into_owned()),
        ..demo::default_setup()
    };
    // Once for the image, the speed and the phase of the scrapes; then anew, in phase and as it was recorded: by kubectl.
    let (session, url) = setup::perform(lab, &setup).await?;
    let mut scenario =
        scenario::resolve(&lab.workspace, &LoadArgs { scenario: Some(SCENARIO.into()), ..LoadArgs::default() })?;
    let path = scenario.load.requests.first().map(|request| request.path.clone()).unwrap_or_default();
    scenario.load.calibrate(calibrate::iterations_per_ms(&url, &path).await?);
    let client = cluster::connect_session(&session).await?;
    let scraped_ms = next_scrape_ms(&client, &session.namespace).await?;
    remove(&client, &session).await?;
    let period_ms = (SYNC_S * 1e3) as i64;
    let wait_ms = (scraped_ms + APPLY_AFTER_SCRAPE_MS - now_ms()).rem_euclid(period_ms);
    sleep_ms(wait_ms).await;
    apply_by_kubectl(lab, &session, &packed.reference)?;
    let created_ms = now_ms();
    let offset_s = (created_ms - scraped_ms).rem_euclid(period_ms) as f64 / 1e3;
    let recorded = AUTOSCALER_AFTER_SCRAPE_S;
    lab.terminal.line(&format!("the autoscaler came {offset_s} s after a scrape (recorded: {recorded} s)"));
    let load_began_ms = created_ms + LOAD_AFTER_AUTOSCALER_MS;
    let suite = look_on(lab, &session, load_began_ms)?;
    sleep_ms(load_began_ms - now_ms()).await;
    let report = load::perform(lab, scenario, Some(&session), None, &load::From::Here, COMMAND).await?;
    let recording = RunDir::find(&lab.workspace, Some(&report.run))?.read()?;
    let path = changes(&recording.timeline, recording.plan.started_unix_ms);
    let said = suite.wait_with_output().await?;
    let outputs = String::from_utf8_lossy(&said.stdout).trim_end().to_owned();
    Ok(Played { path, outputs, is_like: said.status.success() })
}

/// The manifests with the image that is loaded, applied as they were recorded: by the real kubectl.
fn apply_by_kubectl(lab: &Lab<'_>, session: &Session, image: &str) -> Result<()> {
    let file = lab.workspace.root.join(MANIFESTS).join(MANIFEST);
    let text = std::fs::read_to_string(&file).with_context(|| problem::unreadable(&file))?;
    let with_image = |line: &str| match line.split_once("image: ") {
        Some((indent, _)) => format!("{indent}image: {image}\n"),
        None => format!("{line}\n"),
    };
    let text: String = text.lines().map(with_image).collect();
    let shell = xshell::Shell::new()?;
    let kubectl = shell.cmd("kubectl").args(["apply", "--filename", "-", "--namespace", &session.namespace]);
    let kubectl = kubectl.arg("--kubeconfig").arg(&session.kubeconfig).stdin(text).quiet().ignore_status();
    let applied = kubectl.output().with_context(problem::kubectl_does_not_apply)?;
    let told = String::from_utf8_lossy(&applied.stderr).trim().to_owned();
    if applied.status.success() {
        Ok(())
    } else {
        Err(anyhow::anyhow!(told).context(problem::kubectl_does_not_apply()))
    }
}

/// The suite beside the run, which it only looks at.
fn look_on(lab: &Lab<'_>, session: &Session, load_began_ms: i64) -> Result<tokio::process::Child> {
    let mut suite = tokio::process::Command::new(lab.workspace.binary(SUITE));
    suite.arg("--kubeconfig").arg(&session.kubeconfig).args(["--namespace", &session.namespace]);
    suite.arg("--load-began").arg(load_began_ms.to_string());
    Ok(suite.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?)
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

async fn sleep_ms(ms: i64) {
    tokio::time::sleep(Duration::from_millis(u64::try_from(ms).unwrap_or(0))).await;
}

/// Waits for a scrape. What it brings is stamped in whole seconds, so its phase is when it is first seen.
async fn next_scrape_ms(client: &kube::Client, namespace: &str) -> Result<i64> {
    let before = stamp(client, namespace).await?;
    let next = async {
        while stamp(client, namespace).await? == before {
            sleep_ms(50).await;
        }
        anyhow::Ok(now_ms())
    };
    tokio::time::timeout(2 * SYNC, next).await.context("the metrics are not read any more")?
}

async fn stamp(client: &kube::Client, namespace: &str) -> Result<String> {
    let path = format!("/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods");
    let list: Value = client.request(http::Request::get(path).body(Vec::new())?).await?;
    Ok(list["items"][0]["timestamp"].as_str().context("no pod has metrics")?.to_owned())
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
