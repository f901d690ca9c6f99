//! `explain`: why the autoscaler did, or did not, scale. Of the live workload, once or one line a decision; or with `-f`
//! of a manifest, without a cluster.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use autoscaler::json;
use autoscaler::quantity::Quantity;
use autoscaler::whatif::{self, Question};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::Api;
use serde::Deserialize;
use serde_json::Value;

use crate::cli::ExplainArgs;
use crate::cluster::{self, Cluster};
use crate::lab::Lab;
use crate::observation::{self, Observation};
use crate::opinion::Opinion;
use crate::problem;
use crate::workload::{Facts, Workload};

pub(crate) async fn run(lab: &Lab<'_>, args: &ExplainArgs) -> Result<u8> {
    match &args.file {
        Some(file) => dry_run(lab, args, file),
        None => live(lab, args).await,
    }
}

async fn live(lab: &Lab<'_>, args: &ExplainArgs) -> Result<u8> {
    let session = lab.session()?;
    let workload = session.workload()?.clone();
    let client = cluster::connect_session(&session).await?;
    let facts = Facts::read(&client, &workload).await?;
    let settings = Cluster::of_session(&lab.workspace, &session)?.controller(session.pace);
    let mut opinion = Opinion::new(client.clone(), workload.clone(), facts.selector, settings.config());
    if !args.follow {
        let explanation = opinion.form().await?;
        lab.terminal.line(explanation.paragraph().trim_end());
        lab.terminal.say("");
        return said(lab, &client, &workload).await;
    }
    let mut ticks = tokio::time::interval(Duration::from_secs(settings.sync_period_s));
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let time = jiff::Timestamp::now().strftime("%H:%M:%S");
                match opinion.form().await {
                    Ok(explanation) => lab.terminal.line(&format!("{time}  {}", explanation.line())),
                    Err(error) => lab.terminal.warn(&format!("{time}  {error:#}")),
                }
            }
            _ = tokio::signal::ctrl_c() => return Ok(0),
        }
    }
}

/// What the cluster's own controller says of itself.
async fn said(lab: &Lab<'_>, client: &kube::Client, workload: &Workload) -> Result<u8> {
    let api: Api<HorizontalPodAutoscaler> = Api::namespaced(client.clone(), &workload.namespace);
    let seen = observation::of_autoscaler(&api.get(&workload.hpa).await?);
    if let Observation::Autoscaler { current, desired, conditions, .. } = seen {
        lab.terminal.say(&format!("The cluster's controller: {current} now, {desired} wanted"));
        for condition in conditions {
            lab.terminal
                .say(&format!("  {} {} {}: {}", condition.kind, condition.status, condition.reason, condition.message));
        }
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
