//! `nanokube-conformance`: how far an API server is from the real one, N of M by area.
//!
//! It replays recorded exchanges with a real v1.36 API server against any other one: the server of `--kubeconfig` or
//! `KUBECONFIG`. Every recorded exchange counts, whether it passes, fails or is a named gap. Exit code 0 when the essential
//! areas pass whole and at least 95 % overall.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

mod archive;
mod beside;
mod clients;
mod commands;
mod compare;
mod gaps;
mod helm;
mod image;
mod kubectl;
mod lacks;
mod prepare;
mod replay;
mod score;
mod shapes;
mod watching;

use nanokube::client::Client;
use score::Score;

/// Replays recorded exchanges of a real API server against another.
#[derive(Debug, Parser)]
#[command(name = "nanokube-conformance", version)]
struct Args {
    /// The kubeconfig of the server to try [default: $KUBECONFIG]
    #[arg(long, value_name = "FILE", env = "KUBECONFIG", required_unless_present = "write_image")]
    kubeconfig: Option<PathBuf>,
    /// Only write the archive of the image that the cases use, to be loaded into the cluster
    #[arg(long, value_name = "FILE")]
    write_image: Option<PathBuf>,
    /// The folder of recorded exchanges [default: $SWELL_VECTORS/specs/kube-api-samples, else the committed subset]
    #[arg(long, value_name = "DIR")]
    recordings: Option<PathBuf>,
    /// A kubectl to run the command matrix with (repeatable) [default: those on PATH]
    #[arg(long, value_name = "FILE")]
    kubectl: Vec<PathBuf>,
    /// Install real clients into this folder (kubectl 1.20 to 1.37, helm 3 and 4) and run the matrices with each
    #[arg(long, value_name = "DIR")]
    clients: Option<PathBuf>,
    /// Only look on at a run of the recorded manifests whose load begins then: kubectl's outputs beside the recorded ones
    #[arg(long, value_name = "UNIX_MS")]
    load_began: Option<i64>,
    /// The namespace of that run
    #[arg(long, value_name = "NAME", default_value = "default")]
    namespace: String,
    /// Show every failing case in full
    #[arg(long)]
    verbose: bool,
    /// Only this area (repeatable)
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
}

/// Share of all cases, or of all lines, that must pass.
const WANTED_SHARE: f64 = 0.95;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("nanokube-conformance: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> anyhow::Result<ExitCode> {
    if let Some(target) = &args.write_image {
        image::write(target)?;
        return Ok(ExitCode::SUCCESS);
    }
    let kubeconfig = args.kubeconfig.clone().context("no kubeconfig: give one with --kubeconfig FILE")?;
    if let Some(load_began_ms) = args.load_began {
        let share = beside::run(&kubeconfig, &args.namespace, load_began_ms, &args.kubectl)?;
        return Ok(if share >= WANTED_SHARE { ExitCode::SUCCESS } else { ExitCode::from(2) });
    }
    let client = Client::from_kubeconfig(&kubeconfig)?;
    let recordings = recordings(&args)?;
    println!("server      {}", client.server());
    println!("recordings  {}", recordings.display());
    let wanted = |area: &str| args.only.is_empty() || args.only.iter().any(|only| only == area);
    prepare::run(&client).await.context("cannot prepare the server")?;
    let mut score = Score::new(lacks::Lacks::of(&client).await?, args.verbose);
    for (area, file) in replay::AREAS {
        if wanted(area) {
            replay::run(&client, &recordings.join(file), area, &mut score).await?;
        }
    }
    if wanted("protobuf") {
        replay::protobuf(&client, &recordings, &mut score).await?;
    }
    if wanted("discovery") {
        replay::discovery(&client, &recordings, &mut score).await?;
    }
    if wanted("tables") {
        shapes::tables(&client, &recordings, &mut score).await?;
    }
    if wanted("objects") {
        shapes::objects(&client, &recordings, &mut score).await?;
    }
    if wanted("commands") {
        commands::run(&client, &recordings, &mut score).await?;
    }
    if wanted("list and watch") {
        watching::run(&client, &recordings, &mut score).await?;
    }
    real_clients(&args, &client, &kubeconfig, &mut score).await?;
    prepare::clean(&client).await;
    score.print();
    Ok(if score.share() >= WANTED_SHARE { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

/// The matrices of kubectl and helm; the score says at its end which clients were tried.
async fn real_clients(args: &Args, client: &Client, kubeconfig: &Path, score: &mut Score) -> anyhow::Result<()> {
    let wanted = |area: &str| args.only.is_empty() || args.only.iter().any(|only| only == area);
    let mut clients = match &args.clients {
        Some(folder) if wanted("kubectl") || wanted("helm") => clients::install(folder)?,
        _ => clients::Clients::default(),
    };
    clients.kubectl.extend(args.kubectl.iter().cloned());
    if wanted("kubectl") {
        if clients.kubectl.is_empty() {
            clients.kubectl.extend(kubectl::on_path());
        }
        if score.lacks().has_metrics() && score.lacks().has_kubelet() {
            prepare::until_measured(client).await;
        }
        kubectl::run(kubeconfig, &clients.kubectl, score)?;
    }
    if wanted("helm") {
        helm::run(kubeconfig, &clients.helm, score)?;
    }
    for client in clients.kubectl.iter().chain(&clients.helm) {
        score.tried(&clients::name(client), None);
    }
    for (name, why) in clients.missing {
        score.tried(&name, Some(why));
    }
    Ok(())
}

fn recordings(args: &Args) -> anyhow::Result<PathBuf> {
    if let Some(folder) = &args.recordings {
        return Ok(folder.clone());
    }
    let root = std::env::var_os("SWELL_VECTORS").map_or_else(|| PathBuf::from("../shared"), PathBuf::from);
    let folder = root.join("specs/kube-api-samples");
    if folder.is_dir() {
        return Ok(folder);
    }
    let committed = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/recorded");
    anyhow::ensure!(committed.is_dir(), "no recordings: give their folder with --recordings DIR");
    Ok(committed)
}
