//! `explain`: why the autoscaler did, or did not, scale. Of the live workload, once or one line a decision; of a recorded
//! run, told from the start; or with `-f` of a manifest, without a cluster.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use autoscaler::json;
use autoscaler::quantity::Quantity;
use autoscaler::whatif::{self, Question};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::ListParams;
use serde::Deserialize;
use serde_json::Value;

use crate::cli::ExplainArgs;
use crate::cluster::{self, Cluster};
use crate::lab::Lab;
use crate::observation::{self, Observation};
use crate::opinion::{Opinion, Reading};
use crate::problem;
use crate::report::{self, Report};
use crate::run_dir::RunDir;
use crate::workload::{Facts, Workload};

/// How often `--follow` reads: twice in the shortest period that the lab sets.
const LOOK_EVERY: Duration = Duration::from_secs(1);

const CHANGES_SHOWN: usize = 8;

pub(crate) async fn run(lab: &Lab<'_>, args: &ExplainArgs) -> Result<u8> {
    match (&args.file, &args.run) {
        (Some(file), _) => dry_run(lab, args, file),
        (None, Some(run)) => {
            let dir = RunDir::find(&lab.workspace, Some(run.as_str()).filter(|run| !run.is_empty()))?;
            lab.terminal.line(report::story(&Report::of(&dir.read()?)?).trim_end());
            Ok(0)
        }
        (None, None) => live(lab, args).await,
    }
}

async fn live(lab: &Lab<'_>, args: &ExplainArgs) -> Result<u8> {
    let session = lab.session()?;
    let workload = session.workload()?.clone();
    let client = cluster::connect_to_look(&session).await?;
    let facts = Facts::read(&client, &workload).await?;
    let settings = Cluster::of_session(&lab.workspace, &session)?.controller(session.pace);
    let opinion = Opinion::new(workload.clone(), facts.selector, settings.config());
    if args.follow {
        let period = Duration::from_secs(settings.sync_period_s);
        return follow(lab, &client, &workload, opinion, period).await;
    }
    let explanation = opinion.form(&Reading::take(&client, &workload).await?)?;
    lab.terminal.line(explanation.paragraph().trim_end());
    lab.terminal.say("");
    said(lab, &client, &workload).await?;
    lately(lab, &client, &workload).await
}

/// One line a decision: each change of the count with its reason, and why it stays whenever the controller has looked.
async fn follow(
    lab: &Lab<'_>,
    client: &kube::Client,
    workload: &Workload,
    mut opinion: Opinion,
    period: Duration,
) -> Result<u8> {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut before: Option<Reading> = None;
    let mut told = Instant::now().checked_sub(period);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = tokio::signal::ctrl_c() => return Ok(0),
        }
        let line = match Reading::take(client, workload).await {
            Ok(reading) => {
                let is_due = told.is_none_or(|told| told.elapsed() >= period);
                let line = decision(&mut opinion, before.as_ref(), &reading, is_due)?;
                before = Some(reading);
                line
            }
            Err(error) => Some(format!("cannot look: {error:#}")),
        };
        if let Some(line) = line {
            told = Some(Instant::now());
            lab.terminal.line(&format!("{}  {line}", jiff::Zoned::now().strftime("%H:%M:%S")));
        }
    }
}

/// What there is to tell of a reading: a change of the count, else why it stays if the controller wrote or it `is_due`.
/// A change that is wanted and not made yet is told only when a period has passed without it.
fn decision(
    opinion: &mut Opinion,
    before: Option<&Reading>,
    reading: &Reading,
    is_due: bool,
) -> Result<Option<String>> {
    if let Some(before) = before.filter(|before| before.replicas() != reading.replicas()) {
        let (from, to) = (before.replicas(), reading.replicas());
        return Ok(Some(match opinion.attribute(before, reading)? {
            Some(explanation) => explanation.line(),
            None => format!("{from} -> {to}: for a reason that was gone when it was looked for, or by another hand"),
        }));
    }
    let explanation = opinion.form(reading)?;
    let stays = explanation.current == Some(explanation.applied);
    let wrote = before.is_none_or(|before| reading.differs_from(before));
    Ok(match (stays, is_due) {
        (true, _) if wrote || is_due => {
            opinion.remember(reading)?;
            Some(explanation.line())
        }
        (false, true) => Some(format!("due: {}", explanation.line())),
        _ => None,
    })
}

/// What the cluster's own controller says of itself.
async fn said(lab: &Lab<'_>, client: &kube::Client, workload: &Workload) -> Result<()> {
    let api: Api<HorizontalPodAutoscaler> = Api::namespaced(client.clone(), &workload.namespace);
    let seen = observation::of_autoscaler(&api.get(&workload.hpa).await?);
    if let Observation::Autoscaler { current, desired, conditions, .. } = seen {
        lab.terminal.say(&format!("The cluster's controller: {current} now, {desired} wanted"));
        for condition in conditions {
            lab.terminal
                .say(&format!("  {} {} {}: {}", condition.kind, condition.status, condition.reason, condition.message));
        }
    }
    Ok(())
}

/// The last changes of the count, as the controller's events tell them.
async fn lately(lab: &Lab<'_>, client: &kube::Client, workload: &Workload) -> Result<u8> {
    let api: Api<Event> = Api::namespaced(client.clone(), &workload.namespace);
    let of_hpa = format!("involvedObject.name={},reason=SuccessfulRescale", workload.hpa);
    let list = api.list(&ListParams::default().fields(&of_hpa)).await?;
    let mut events: Vec<_> =
        list.items.iter().filter_map(|event| Some((event.last_timestamp.as_ref()?.0, event))).collect();
    events.sort_by_key(|(at, _)| *at);
    if events.is_empty() {
        lab.terminal
            .say("No change of the count in its events; cargo xtask explain --follow shows the next as they come.");
        return Ok(0);
    }
    lab.terminal.say("");
    lab.terminal.say("Its last changes");
    for (at, event) in events.iter().skip(events.len().saturating_sub(CHANGES_SHOWN)) {
        let at = at.to_zoned(jiff::tz::TimeZone::system()).strftime("%H:%M:%S");
        lab.terminal.say(&format!("  {at}  {}", event.message.as_deref().unwrap_or_default()));
    }
    Ok(0)
}

fn dry_run(lab: &Lab<'_>, args: &ExplainArgs, file: &Path) -> Result<u8> {
    let object = read(file)?;
    let spec = json::spec_from_json(&object).map_err(|error| anyhow::anyhow!("{}", error.0));
    let spec = spec.with_context(|| problem::not_an_autoscaler(file))?;
    let mut question = Question::new(spec, args.replicas);
    question.starting = args.starting;
    question.pending = args.pending;
    question.unmeasured = args.unmeasured;
    question.usage = quantities("--usage", &args.usage)?;
    question.requests = quantities("--request", &args.request)?;
    question.values = quantities("--value", &args.value)?;
    let decided = whatif::ask(&question);
    lab.terminal.line(decided.outcome.explanation.paragraph().trim_end());
    Ok(0)
}

/// The HorizontalPodAutoscaler among the documents of a YAML file.
fn read(file: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(file).with_context(|| problem::unreadable(file))?;
    for document in serde_yaml::Deserializer::from_str(&text) {
        let object = Value::deserialize(document).with_context(|| problem::not_an_autoscaler(file))?;
        if object["kind"] == "HorizontalPodAutoscaler" {
            return Ok(object);
        }
    }
    Err(problem::not_an_autoscaler(file).into())
}

/// `180m` is of the CPU, `memory=64Mi` of what it names.
fn quantities(flag: &str, written: &[String]) -> Result<Vec<(String, Quantity)>> {
    written
        .iter()
        .map(|text| {
            let (name, amount) = text.split_once('=').unwrap_or(("cpu", text));
            let quantity = Quantity::parse(amount);
            quantity.map(|quantity| (name.to_owned(), quantity)).map_err(|_| problem::bad_quantity(flag, text).into())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_of_the_cpu_unless_they_name_something_else() {
        let read = quantities("--usage", &["180m".to_owned(), "memory=64Mi".to_owned()]).unwrap();
        let names: Vec<(&str, i64)> = read.iter().map(|(name, amount)| (name.as_str(), amount.milli())).collect();
        assert_eq!(names, [("cpu", 180), ("memory", 64 * 1024 * 1024 * 1000)]);
        let error = quantities("--usage", &["a lot".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("--usage"), "{error}");
    }
}
