//! `explain`: why the autoscaler did, or did not, scale. Of the live workload, or of any autoscaler of any cluster, once or
//! one line a decision; of a recorded run, told from the start; or with `-f` of a manifest, without a cluster.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use autoscaler::config::Gates;
use autoscaler::quantity::Quantity;
use autoscaler::spec::Spec;
use autoscaler::time::Time;
use autoscaler::whatif::{self, Question};
use autoscaler::{json, validate};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::ListParams;
use serde::Deserialize;
use serde_json::Value;

use crate::cli::ExplainArgs;
use crate::cluster::{self, Cluster, Controller};
use crate::lab::Lab;
use crate::observation::{self, Observation};
use crate::opinion::{Opinion, Reading, Subject};
use crate::problem;
use crate::report::{self, Report};
use crate::run_dir::RunDir;

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
    let (client, subject, controller) = asked_about(lab, args).await?;
    let mut opinion = Opinion::new(subject.clone(), controller.config());
    if args.follow {
        let period = Duration::from_secs(controller.sync_period_s);
        return follow(lab, &client, &subject, opinion, period).await;
    }
    let reading = Reading::take(&client, &subject).await?;
    let changes = Change::all(&client, &subject).await?;
    opinion.recall(&reading, &Change::counts(&changes));
    lab.terminal.line(opinion.form(&reading)?.paragraph().trim_end());
    if !reading.strangers.is_empty() {
        let them = reading.strangers.join(", ");
        lab.terminal.line(&format!("  Not the target's own pods, but selected and so counted like them: {them}."));
    }
    lab.terminal.say("");
    said(lab, &client, &subject).await?;
    lately(lab, &changes);
    Ok(0)
}

/// Which autoscaler, where, and the constants it decides with: the session's unless another is named.
async fn asked_about(lab: &Lab<'_>, args: &ExplainArgs) -> Result<(kube::Client, Subject, Controller)> {
    if let (Some(hpa), Some(context)) = (&args.hpa, &args.context) {
        let client = cluster::connect_to_context(context).await?;
        let subject = Subject::parse(hpa, client.default_namespace());
        return Ok((client, subject, Controller::default()));
    }
    let session = lab.session()?;
    let workload = session.workload()?;
    let subject = Subject::parse(args.hpa.as_deref().unwrap_or(&workload.hpa), &workload.namespace);
    let controller = Cluster::of_session(&lab.workspace, &session)?.controller(session.pace);
    Ok((cluster::connect_to_look(&session).await?, subject, controller))
}

/// One line a decision: each change of the count with its reason, and why it stays whenever the controller has looked.
async fn follow(
    lab: &Lab<'_>,
    client: &kube::Client,
    subject: &Subject,
    mut opinion: Opinion,
    period: Duration,
) -> Result<u8> {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut before: Option<Reading> = None;
    let mut told = Instant::now().checked_sub(period);
    let changes = Change::all(client, subject).await?;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = tokio::signal::ctrl_c() => return Ok(0),
        }
        let line = match Reading::take(client, subject).await {
            Ok(reading) => {
                if before.is_none() {
                    opinion.recall(&reading, &Change::counts(&changes));
                }
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
    let counts = before.and_then(|before| Some((before, before.replicas()?, reading.replicas()?)));
    if let Some((before, from, to)) = counts.filter(|(_, from, to)| from != to) {
        return Ok(Some(match opinion.attribute(before, reading)? {
            Some(explanation) => explanation.line(),
            None => format!("{from} -> {to}: for a reason that was gone when it was looked for, or by another hand"),
        }));
    }
    let explanation = opinion.form(reading)?;
    let stays = explanation.current.is_none_or(|current| current == explanation.applied);
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
async fn said(lab: &Lab<'_>, client: &kube::Client, subject: &Subject) -> Result<()> {
    let api: Api<HorizontalPodAutoscaler> = Api::namespaced(client.clone(), &subject.namespace);
    let seen = observation::of_autoscaler(&api.get(&subject.hpa).await?);
    if let Observation::Autoscaler { current, desired, conditions, .. } = seen {
        lab.terminal.say(&format!("The cluster's controller: {current} now, {desired} wanted"));
        for condition in conditions {
            lab.terminal
                .say(&format!("  {} {} {}: {}", condition.kind, condition.status, condition.reason, condition.message));
        }
    }
    Ok(())
}

/// A change of the count, as an event of the controller tells it.
struct Change {
    at: jiff::Timestamp,
    message: String,
}

impl Change {
    /// In the order in which they were made.
    async fn all(client: &kube::Client, subject: &Subject) -> Result<Vec<Change>> {
        let api: Api<Event> = Api::namespaced(client.clone(), &subject.namespace);
        let of_hpa = format!("involvedObject.name={},reason=SuccessfulRescale", subject.hpa);
        let list = match api.list(&ListParams::default().fields(&of_hpa)).await {
            Ok(list) => list,
            // Whoever may not read events is told what is decided now, without what was before.
            Err(kube::Error::Api(status)) if status.code == 403 => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let change = |event: Event| Some(Change { at: event.last_timestamp?.0, message: event.message? });
        let mut changes: Vec<Change> = list.items.into_iter().filter_map(change).collect();
        changes.sort_by_key(|change| change.at);
        Ok(changes)
    }

    /// `New size: 3; reason: ...`, when.
    fn counts(changes: &[Change]) -> Vec<(Time, i32)> {
        let count = |change: &Change| {
            let count = change.message.strip_prefix("New size: ")?.split(';').next()?.parse().ok()?;
            Some((Time(i64::try_from(change.at.as_nanosecond()).ok()?), count))
        };
        changes.iter().filter_map(count).collect()
    }
}

fn lately(lab: &Lab<'_>, changes: &[Change]) {
    if changes.is_empty() {
        let next = lab.command("explain --follow");
        lab.terminal.say(&format!(
            "No change of the count in the events that can be seen; {next} shows the next as they come."
        ));
        return;
    }
    lab.terminal.say("");
    lab.terminal.say("Its last changes");
    for Change { at, message } in changes.iter().skip(changes.len().saturating_sub(CHANGES_SHOWN)) {
        let at = at.to_zoned(jiff::tz::TimeZone::system()).strftime("%H:%M:%S");
        lab.terminal.say(&format!("  {at}  {message}"));
    }
}

fn dry_run(lab: &Lab<'_>, args: &ExplainArgs, file: &Path) -> Result<u8> {
    let mut question = Question::new(read(file)?, args.replicas);
    question.starting = args.starting;
    question.pending = args.pending;
    question.unmeasured = args.unmeasured;
    question.usage = quantities("--usage", &args.usage)?;
    question.requests = quantities("--request", &args.request)?;
    question.values = quantities("--value", &args.value)?;
    let odd = args.starting.saturating_add(args.pending).saturating_add(args.unmeasured);
    if usize::try_from(args.replicas).is_ok_and(|replicas| odd > replicas) {
        return Err(problem::more_pods_than_replicas(odd, args.replicas).into());
    }
    check_names("--usage", &question.usage, &whatif::resources(&question.spec), file)?;
    check_names("--value", &question.values, &whatif::values(&question.spec), file)?;
    let decided = whatif::ask(&question);
    lab.terminal.line(decided.outcome.explanation.paragraph().trim_end());
    Ok(0)
}

fn check_names(flag: &str, given: &[(String, Quantity)], known: &[&str], file: &Path) -> Result<()> {
    match given.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        Some((name, _)) => Err(problem::no_such_metric(flag, name, known, file).into()),
        None => Ok(()),
    }
}

/// The specification of the HorizontalPodAutoscaler among the documents of a YAML file, as an API server would store it.
fn read(file: &Path) -> Result<Spec> {
    let text = std::fs::read_to_string(file).with_context(|| problem::unreadable(file))?;
    for document in serde_yaml::Deserializer::from_str(&text) {
        let object = Value::deserialize(document).with_context(|| problem::not_an_autoscaler(file))?;
        if object["kind"] == "HorizontalPodAutoscaler" {
            let spec = stored(object).map_err(|error| anyhow::anyhow!("{}", error.0));
            let spec = spec.with_context(|| problem::not_an_autoscaler(file))?;
            let errors = validate::spec(&spec, None, &Gates::default());
            return if errors.is_empty() { Ok(spec) } else { Err(problem::refused_autoscaler(file, &errors).into()) };
        }
    }
    Err(problem::not_an_autoscaler(file).into())
}

/// Through its canonical form, since the last digit of a tolerance depends on how it is written.
fn stored(mut object: Value) -> Result<Spec, json::DecodeError> {
    if object["apiVersion"] == "autoscaling/v1" {
        object = json::v1::to_v2(&object)?;
    }
    json::default_object(&mut object)?;
    json::spec_from_json(&object)
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
    fn counts_are_read_from_the_events_that_tell_them() {
        let at = jiff::Timestamp::UNIX_EPOCH;
        let told = |message: &str| Change { at, message: message.to_owned() };
        let changes = [told("New size: 12; reason: All metrics below target"), told("something else")];
        assert_eq!(Change::counts(&changes), [(Time(0), 12)]);
    }

    #[test]
    fn a_dry_run_judges_what_an_api_server_would_store() {
        let spec = |text: &str| stored(serde_yaml::from_str(text).unwrap());
        let v1 =
            spec("{apiVersion: autoscaling/v1, spec: {maxReplicas: 5, targetCPUUtilizationPercentage: 60}}").unwrap();
        assert_eq!(v1.metrics[0].resource.as_ref().unwrap().target.average_utilization, Some(60));
        let tolerant = "{spec: {maxReplicas: 5, behavior: {scaleUp: {tolerance: '0.3'}}}}";
        let rules = spec(tolerant).unwrap().behavior.unwrap().scale_up.unwrap();
        assert_eq!(rules.tolerance.unwrap().approximate_f64(), 0.3, "as 300m: as written it is a last digit more");
        assert!(spec("{spec: {maxReplicas: 5, metrics: 7}}").is_err());
    }

    #[test]
    fn quantities_are_of_the_cpu_unless_they_name_something_else() {
        let read = quantities("--usage", &["180m".to_owned(), "memory=64Mi".to_owned()]).unwrap();
        let names: Vec<(&str, i64)> = read.iter().map(|(name, amount)| (name.as_str(), amount.milli())).collect();
        assert_eq!(names, [("cpu", 180), ("memory", 64 * 1024 * 1024 * 1000)]);
        let error = quantities("--usage", &["a lot".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("--usage"), "{error}");
    }
}
