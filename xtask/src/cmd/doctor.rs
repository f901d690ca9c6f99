//! `doctor`: looks for what is missing or wrong and says how to mend it; `--fix` mends what can harm nothing.
//!
//! Exits 1 when something is wrong, 0 when there are only notes.

use anyhow::Result;

use crate::checks::{self, Finding, State};
use crate::cli::{DoctorArgs, Output};
use crate::cluster::{self, Cluster};
use crate::lab::Lab;
use crate::problem;
use crate::session::{DEFAULT_PROFILE, Session};
use crate::terminal::{Ink, Terminal};

pub(crate) async fn run(lab: &Lab<'_>, args: &DoctorArgs) -> Result<u8> {
    let mut findings = checks::machine::check(&lab.workspace, lab.terminal);
    findings.extend(of_session(lab).await);
    for finding in &mut findings {
        finding.remedy = problem::with_profile(&finding.remedy, &lab.profile);
    }
    if args.fix {
        for finding in &mut findings {
            let Some(fix) = finding.fix.take() else { continue };
            match fix.apply() {
                Ok(done) => *finding = Finding::fine(&finding.name, format!("mended: {done}")),
                Err(error) => lab.terminal.warn(&format!("{}: {error}", finding.name)),
            }
        }
    }
    match args.output {
        Output::Json => lab.terminal.line(&serde_json::to_string(&findings)?),
        Output::Text => findings.iter().for_each(|finding| show(lab.terminal, finding)),
    }
    Ok(u8::from(findings.iter().any(|finding| finding.state == State::Wrong)))
}

/// What is set up, as far as it can be reached: a fault here is a finding, not the end of the examination.
async fn of_session(lab: &Lab<'_>) -> Vec<Finding> {
    let session = match Session::load(&lab.workspace, &lab.profile) {
        Ok(Some(session)) => session,
        Ok(None) => return vec![Finding::fine("session", format!("profile `{}`: nothing is set up", lab.profile))],
        Err(error) => return vec![wrong("session", &error)],
    };
    let mut findings = vec![if session.complete {
        Finding::fine("session", format!("profile `{}` on {}", lab.profile, session.provider.name()))
    } else {
        Finding::wrong("session", "setup did not come to its end", "cargo xtask setup")
    }];
    match Cluster::of_session(&lab.workspace, &session) {
        Ok(cluster) => findings.push(Finding::fine("cluster", cluster.condition())),
        Err(error) => findings.push(wrong("cluster", &error)),
    }
    let Some(workload) = &session.workload else { return findings };
    match cluster::connect_to_look(&session).await {
        Ok(client) => {
            findings.push(match cluster::check_permissions(&client, &workload.namespace).await {
                Ok(()) => Finding::fine("permissions", format!("all that the lab does in {}", workload.namespace)),
                Err(error) => wrong("permissions", &error),
            });
            match checks::cluster::check(&client, &session, workload).await {
                Ok(more) => findings.extend(more),
                Err(error) => findings.push(wrong("workload", &error)),
            }
        }
        Err(error) => findings.push(wrong("API", &error)),
    }
    findings
}

fn wrong(name: &str, error: &anyhow::Error) -> Finding {
    let words = problem::render(error, DEFAULT_PROFILE);
    let (what, remedy) = words.split_once("\n  try: ").unwrap_or((&words, "cargo xtask setup"));
    Finding::wrong(name, what, remedy)
}

fn show(terminal: &Terminal, finding: &Finding) {
    let (mark, ink) = match finding.state {
        State::Fine => ("ok   ", Ink::Good),
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
