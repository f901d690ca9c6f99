//! `load`: a scenario's load on the service, recorded beside what the cluster makes of it, then the report.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::StreamExt;
use loadgen::scenario::Scenario;

use crate::calibrate;
use crate::cli::LoadArgs;
use crate::cluster::{self, Cluster, Reach};
use crate::fleet::{self, Fleet, Order};
use crate::forward::Forward;
use crate::generator::{Generator, Sender};
use crate::http;
use crate::lab::Lab;
use crate::observer;
use crate::own_image;
use crate::problem;
use crate::prometheus::Targets;
use crate::report::{self, Report};
use crate::run::{self, Recorder};
use crate::run_dir::{ClusterFacts, RunDir, RunPlan, VERSION, shown};
use crate::scenario;
use crate::session::Session;
use crate::workload::{Facts, Workload};

const PROBE_LIMIT: Duration = Duration::from_secs(10);

pub(crate) async fn run(lab: &Lab<'_>, args: &LoadArgs) -> Result<u8> {
    let scenario = scenario::resolve(&lab.workspace, args)?;
    let session = Session::load(&lab.workspace, &lab.profile)?;
    let session = if args.url.is_some() { session } else { Some(lab.session()?) };
    if args.in_cluster && session.is_none() {
        return Err(problem::in_cluster_needs_session().into());
    }
    let from = From::of(args);
    let report = perform(lab, scenario, session.as_ref(), args.url.as_deref(), &from, &command_line()).await?;
    finish(lab, &report, args.junit.as_deref())
}

/// Prints a report, and says where the rest of it is.
pub(crate) fn finish(lab: &Lab<'_>, report: &Report, junit: Option<&std::path::Path>) -> Result<u8> {
    let page = shown(&RunDir::find(&lab.workspace, Some(&report.run))?.html());
    if let Some(path) = junit {
        std::fs::write(path, report::junit(report, &page)).with_context(|| problem::unwritable(path))?;
    }
    lab.terminal.line(&format!("\n{}", report::text(report, lab.terminal.has_color())));
    lab.terminal.line(&format!("  report    {page}"));
    if report.cluster.is_some() {
        lab.terminal.line(&format!("  why it scaled: cargo xtask explain --run {}", report.run));
    }
    if let Some(next) = next_step(lab, report) {
        lab.terminal.line(&format!("  {next}"));
    }
    if report.verdict == report::Verdict::Invalid {
        let more = lab.command("load --in-cluster --generators 3");
        lab.terminal.line(
            "  The generator was the limit, not the service: take a quieter machine, a lower rate, or more of them.",
        );
        lab.terminal.line(&format!("    {more}"));
    }
    Ok(report.verdict.exit_code())
}

/// Where to look for what a failed run lacks: beside the count of pods, which `explain` tells.
fn next_step(lab: &Lab<'_>, report: &Report) -> Option<String> {
    report.cluster.as_ref().filter(|_| report.verdict == report::Verdict::Fail)?;
    Some(if report.requests.lost > 0 {
        format!("what the pods said of the lost requests: {}", lab.command("logs --previous"))
    } else {
        format!("what is wrong with the lab, if anything: {}", lab.command("doctor"))
    })
}

/// Runs a scenario to its report. The exit code is the caller's to draw.
pub(crate) async fn perform(
    lab: &Lab<'_>,
    mut scenario: Scenario,
    session: Option<&Session>,
    url: Option<&str>,
    from: &From,
    command: &str,
) -> Result<Report> {
    let target = Target::find(lab, session, url).await?;
    let base = target.url.clone();
    http::get(&probe_url(&base, &scenario), PROBE_LIMIT).await.with_context(|| problem::service_unreachable(&base))?;
    let iterations_per_ms = calibrated(lab, &mut scenario, &base).await?;
    let image = match (from, &target.cluster, session) {
        (From::Cluster { image, .. }, Some(_), Some(session)) => Some(generator_image(lab, session, image.as_deref())?),
        _ => None,
    };
    // From inside, the Service's own address: every connection is balanced by the cluster.
    let base = match &target.cluster {
        Some(seen) if image.is_some() && url.is_none() => seen.facts.cluster_url.clone().unwrap_or(base),
        _ => base,
    };
    say_what_comes(lab, &scenario, session, &base);
    let dir = RunDir::create(&lab.workspace, &scenario.name, jiff::Timestamp::now())?;
    let load_file = dir.write_load(&scenario)?;
    dir.write_plan(&RunPlan {
        version: VERSION,
        scenario: scenario.clone(),
        cluster: target.facts(session),
        url: base.clone(),
        started_unix_ms: jiff::Timestamp::now().as_millisecond(),
        iterations_per_ms,
        command: command.to_owned(),
    })?;
    let mut sender = match (from, &target.cluster, &image) {
        (From::Cluster { generators, .. }, Some(seen), Some(image)) => {
            let order = Order {
                // Of the run's name, its time: what a scenario is called need not be a name for Kubernetes.
                name: format!("load-{}-{}", &dir.id()[..15], std::process::id()),
                namespace: &seen.workload.namespace,
                image,
                generators: *generators,
                url: &base,
                scenario: &scenario,
            };
            lab.terminal.say(&format!("{generators} generators of Job {} start in step", order.name));
            Sender::Pods(Box::new(Fleet::start(&seen.client, &order).await?))
        }
        _ => {
            let observed = lab.workspace.state_dir().join(&lab.profile).join("prometheus");
            let targets = session.and_then(|session| Targets::of(&observed, &session.namespace));
            Sender::Child(Box::new(Generator::spawn(&lab.workspace.binary("loadgen"), &load_file, &base, targets)?))
        }
    };
    let settle = match (&target.cluster, session) {
        (Some(seen), Some(session)) => run::settle(&scenario.expect, seen.facts.min_replicas, session.pace),
        _ => None,
    };
    let observations: run::Observations = match &target.cluster {
        Some(seen) => observer::observe(&seen.client, &seen.workload, &seen.facts.selector).boxed_local(),
        None => futures::stream::pending().boxed_local(),
    };
    let recorder = Recorder { terminal: lab.terminal, dir: dir.clone(), observations, settle };
    let recorded = recorder.run(&mut sender).await;
    sender.remove().await;
    recorded?;
    write_report(&dir)
}

/// Iterations of work that cost a millisecond where the pods run, put into a scenario that asks for a cost in CPU time.
async fn calibrated(lab: &Lab<'_>, scenario: &mut Scenario, url: &str) -> Result<Option<f64>> {
    if !scenario.load.needs_calibration() {
        return Ok(None);
    }
    let step = lab.terminal.step("calibrate");
    let mut paths = scenario.load.requests.iter().map(|request| &request.path);
    let path = paths.find(|path| path.contains("{iterations}")).cloned().unwrap_or_default();
    let speed = calibrate::iterations_per_ms(url, &path).await?;
    scenario.load.calibrate(speed);
    step.done(&format!("{speed:.0} iterations a millisecond of CPU"));
    Ok(Some(speed))
}

/// Where the generators run.
pub(crate) enum From {
    Here,
    Cluster { generators: u32, image: Option<String> },
}

impl From {
    fn of(args: &LoadArgs) -> From {
        if args.in_cluster {
            From::Cluster { generators: args.generators.unwrap_or(1), image: args.generator_image.clone() }
        } else {
            From::Here
        }
    }
}

/// The generator's image in the cluster. The session learns of the kind that teardown would have to look for.
fn generator_image(lab: &Lab<'_>, session: &Session, given: Option<&str>) -> Result<String> {
    let mut session = session.clone();
    session.kinds.insert(fleet::KIND.to_owned());
    session.save(&lab.workspace)?;
    if let Some(reference) = given {
        return Ok(reference.to_owned());
    }
    let cluster = Cluster::of_session(&lab.workspace, &session)?;
    if !cluster.takes_archives() && session.registry.is_none() {
        return Err(problem::context_needs_generator_image().into());
    }
    let step = lab.terminal.step("image");
    let (reference, loaded) = own_image::ensure(lab, &cluster, &step, "loadgen", session.registry.as_deref())?;
    step.ended(loaded, &reference);
    Ok(reference)
}

/// The report of a run directory, written into it.
pub(crate) fn write_report(dir: &RunDir) -> Result<Report> {
    let report = Report::of(&dir.read()?)?;
    dir.write_report(&report.json()?, &report::html(&report))?;
    Ok(report)
}

fn say_what_comes(lab: &Lab<'_>, scenario: &Scenario, session: Option<&Session>, url: &str) {
    let length = scenario.load.length().map_or(String::new(), |length| format!(" for {length}"));
    lab.terminal.say(&format!("\n{}{length} on {url}: {}", scenario.name, scenario.description));
    let written_for = match scenario.pace {
        loadgen::scenario::Pace::Real => crate::session::Pace::Real,
        loadgen::scenario::Pace::Fast => crate::session::Pace::Fast,
    };
    // That no request is lost holds at any pace.
    let expect = loadgen::scenario::Expect { lost_max: None, ..scenario.expect.clone() };
    let judged = expect != loadgen::scenario::Expect::default();
    if let Some(session) = session.filter(|session| judged && session.pace != written_for) {
        lab.terminal.warn(&format!(
            "the scenario's expectations are for pace {}, this cluster runs at pace {}",
            written_for.name(),
            session.pace.name()
        ));
    }
}

/// Where the load goes, and what can be watched there.
struct Target {
    url: String,
    cluster: Option<Seen>,
}

struct Seen {
    client: kube::Client,
    workload: Workload,
    facts: Facts,
}

impl Target {
    async fn find(lab: &Lab<'_>, session: Option<&Session>, url: Option<&str>) -> Result<Target> {
        let Some(session) = session else {
            return Ok(Target { url: url.unwrap_or_default().to_owned(), cluster: None });
        };
        let client = cluster::connect_to_look(session).await?;
        let workload = session.workload()?.clone();
        let facts = Facts::read(&client, &workload).await?;
        let url = match url {
            Some(url) => url.to_owned(),
            None => service_url(lab, session, &client, &workload, &facts).await?,
        };
        Ok(Target { url, cluster: Some(Seen { client, workload, facts }) })
    }

    fn facts(&self, session: Option<&Session>) -> Option<ClusterFacts> {
        let (seen, session) = (self.cluster.as_ref()?, session?);
        Some(ClusterFacts {
            provider: session.provider,
            environment: session.environment.clone(),
            pace: session.pace,
            namespace: seen.workload.namespace.clone(),
            min_replicas: seen.facts.min_replicas,
            max_replicas: seen.facts.max_replicas,
            target_percent: seen.facts.target_percent,
            request_milli: seen.facts.request_milli,
        })
    }
}

/// The service's own URL where this machine can dial it, else that of a port-forward that lives as long as we do.
pub(crate) async fn service_url(
    lab: &Lab<'_>,
    session: &Session,
    client: &kube::Client,
    workload: &Workload,
    facts: &Facts,
) -> Result<String> {
    let cluster = Cluster::of_session(&lab.workspace, session)?;
    let node_port = facts.node_port.as_ref().map(|(address, port)| (address.as_str(), *port));
    match cluster.reach(&workload.namespace, &workload.service, node_port)? {
        Reach::Direct(url) => Ok(url),
        Reach::Forward => {
            let at: SocketAddr = ([127, 0, 0, 1], 0).into();
            let forward = Forward::bind(client, &workload.namespace, &facts.selector, facts.target_port, at).await?;
            let url = format!("http://{}", forward.address);
            let (told, _) = tokio::sync::mpsc::unbounded_channel();
            tokio::spawn(forward.run(told));
            Ok(url)
        }
    }
}

/// A request that costs nothing where the path asks for work.
fn probe_url(base: &str, scenario: &Scenario) -> String {
    let path = scenario.load.requests.first().map(|request| request.path.clone()).unwrap_or_default();
    format!("{}{}", base.trim_end_matches('/'), path.replace("{iterations}", "1"))
}

fn command_line() -> String {
    let typed: Vec<String> = std::env::args().skip(1).map(|arg| quoted(&arg)).collect();
    format!("cargo xtask {}", typed.join(" "))
}

fn quoted(arg: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,%+@".contains(c);
    if !arg.is_empty() && arg.chars().all(plain) { arg.to_owned() } else { format!("'{}'", arg.replace('\'', "'\\''")) }
}
