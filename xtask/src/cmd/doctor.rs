//! `doctor`: looks for what is missing or wrong and says how to mend it; `--fix` mends what can harm nothing.
//!
//! Exits 1 when something is wrong, 0 when there are only notes.

use anyhow::{Context, Result};
use kube::Client;

use crate::checks::capacity::Demand;
use crate::checks::{self, Finding, Fix, State};
use crate::cli::{DoctorArgs, Output};
use crate::cluster::{self, Cluster};
use crate::cmd::setup::DEFAULT_ENVIRONMENT;
use crate::kustomize;
use crate::lab::Lab;
use crate::lock::Lock;
use crate::problem;
use crate::run_dir::shown;
use crate::session::{DEFAULT_PROFILE, Session};
use crate::terminal::{Ink, Terminal};
use crate::workload::Workload;

const SMALLER: &str = "cargo xtask setup --env dev   (asks for least)";

/// A repair can bring to light what it hid: a cluster that is started again has pods to look at.
const ROUNDS: usize = 4;

pub(crate) async fn run(lab: &Lab<'_>, args: &DoctorArgs) -> Result<u8> {
    let mut mended = Vec::new();
    let mut findings = examine(lab, args).await?;
    for _ in 1..ROUNDS {
        if !args.fix || !mend(lab, &findings, &mut mended)? {
            break;
        }
        findings = examine(lab, args).await?;
    }
    let findings: Vec<Finding> = mended.into_iter().chain(findings).collect();
    match args.output {
        Output::Json => lab.terminal.line(&serde_json::to_string(&findings)?),
        Output::Text => findings.iter().for_each(|finding| show(lab.terminal, finding)),
    }
    Ok(u8::from(findings.iter().any(|finding| finding.state == State::Wrong)))
}

/// Repairs what can be; whether anything was.
fn mend(lab: &Lab<'_>, findings: &[Finding], mended: &mut Vec<Finding>) -> Result<bool> {
    if findings.iter().all(|finding| finding.fix.is_none()) {
        return Ok(false);
    }
    let _lock = Lock::take(&lab.workspace, &lab.profile, "doctor --fix")?;
    let session = Session::load(&lab.workspace, &lab.profile).ok().flatten();
    let cluster = session.and_then(|session| Cluster::of_session(&lab.workspace, &session).ok());
    let before = mended.len();
    for finding in findings {
        let Some(fix) = &finding.fix else { continue };
        match fix.apply(cluster.as_ref()) {
            Ok(done) => mended.push(finding.mended(&done)),
            Err(error) => lab.terminal.warn(&format!("{}: {error:#}", finding.name)),
        }
    }
    Ok(mended.len() > before)
}

async fn examine(lab: &Lab<'_>, args: &DoctorArgs) -> Result<Vec<Finding>> {
    let mut findings = checks::machine::check(&lab.workspace, lab.terminal);
    findings.extend(checks::left::check(&lab.workspace));
    let session = match Session::load(&lab.workspace, &lab.profile) {
        Ok(session) => session,
        Err(error) => {
            findings.push(wrong("session", &error));
            None
        }
    };
    let client = match &session {
        Some(session) => of_session(lab, session, &mut findings).await,
        None => {
            findings.push(Finding::fine("session", format!("profile `{}`: nothing is set up", lab.profile)));
            None
        }
    };
    findings.push(capacity(lab, args, session.as_ref(), client.as_ref()).await?);
    for finding in &mut findings {
        finding.remedy = problem::with_profile(&finding.remedy, &lab.profile);
    }
    Ok(findings)
}

/// What is set up, as far as it can be reached: a fault here is a finding, not the end of the examination.
async fn of_session(lab: &Lab<'_>, session: &Session, findings: &mut Vec<Finding>) -> Option<Client> {
    findings.push(if session.complete {
        Finding::fine("session", format!("profile `{}` on {}", lab.profile, session.provider.name()))
    } else {
        Finding::wrong("session", "setup did not come to its end", "cargo xtask setup")
    });
    let cluster = match Cluster::of_session(&lab.workspace, session) {
        Ok(cluster) => cluster,
        Err(error) => {
            findings.push(wrong("cluster", &error));
            return None;
        }
    };
    match cluster.trouble(&lab.profile) {
        None => findings.push(Finding::fine("cluster", cluster.condition())),
        Some((problem, mend)) => {
            // Whatever else could be said follows from this.
            findings.push(Finding::problem("cluster", problem, mend.map(Fix::Cluster)));
            return None;
        }
    }
    let workload = session.workload.as_ref()?;
    let client = match cluster::connect_to_look(session).await {
        Ok(client) => client,
        Err(error) => {
            findings.push(wrong("API", &error));
            return None;
        }
    };
    findings.push(match cluster::check_permissions(&client, &workload.namespace, &session.kinds).await {
        Ok(()) => Finding::fine("permissions", format!("all that the lab does in {}", workload.namespace)),
        Err(error) => wrong("permissions", &error),
    });
    if let Some((problem, mend)) = cluster.metrics_trouble(&client).await {
        findings.push(Finding::problem("metrics API", problem, mend.map(Fix::Cluster)));
    }
    match checks::cluster::check(&client, session, workload).await {
        Ok(more) => findings.extend(more),
        Err(error) => findings.push(wrong("workload", &error)),
    }
    Some(client)
}

/// Whether the environment's pods fit: on the nodes where there are some, else on this machine.
async fn capacity(
    lab: &Lab<'_>,
    args: &DoctorArgs,
    session: Option<&Session>,
    client: Option<&Client>,
) -> Result<Finding> {
    let own = session.filter(|_| args.env.is_none()).and_then(|session| session.manifests.clone());
    let environment = args.env.clone().or_else(|| session.map(|session| session.environment.clone()));
    let environment = environment.filter(|name| !name.is_empty()).unwrap_or_else(|| DEFAULT_ENVIRONMENT.to_owned());
    let known = lab.workspace.environments();
    if own.is_none() && !known.contains(&environment) {
        return Err(problem::unknown_environment(&environment, &known).into());
    }
    let root = own.clone().unwrap_or_else(|| lab.workspace.overlay(&environment));
    let objects = kustomize::render(&root, &[], &[]).with_context(|| problem::manifests_broken(&root))?;
    let workload = Workload::find(&objects)?;
    let name = own.map_or(environment, |dir| shown(&dir));
    let demand = Demand::of(&name, &objects, &workload);
    let of_nodes = match client {
        Some(client) => checks::cluster::supply(client).await,
        None => None,
    };
    let supply = of_nodes.unwrap_or_else(checks::machine::supply);
    let cluster = session.and_then(|session| Cluster::of_session(&lab.workspace, session).ok());
    Ok(checks::capacity::check(&demand, &supply, cluster.map_or(SMALLER, |cluster| cluster.enlarge())))
}

fn wrong(name: &str, error: &anyhow::Error) -> Finding {
    let words = problem::render(error, DEFAULT_PROFILE);
    let (what, remedy) = words.split_once("\n  try: ").unwrap_or((&words, "cargo xtask setup"));
    Finding::wrong(name, what, remedy)
}

fn show(terminal: &Terminal, finding: &Finding) {
    let (mark, ink) = match finding.state {
        State::Fine => ("ok   ", Ink::Good),
        State::Mended => ("fixed", Ink::Good),
        State::Note => ("note ", Ink::Warn),
        State::Wrong => ("WRONG", Ink::Bad),
    };
    let line = format!("  {} {:<18} {}", terminal.paint(ink, mark), finding.name, finding.what);
    if finding.state == State::Fine {
        terminal.say(&line)
    } else {
        terminal.line(&line)
    }
    if !finding.remedy.is_empty() {
        terminal.line(&format!("        {:<18} try: {}", "", finding.remedy));
    }
}
