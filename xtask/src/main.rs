//! The remote control of the lab: argv in, one verb run, one exit code out.
//!
//! `cli.rs` holds what was typed, `cmd/<verb>.rs` does it, `problem.rs` words what went wrong. Nothing else lives here.

mod apply;
mod archive;
mod bill;
mod calibrate;
mod checks;
mod child;
mod cli;
mod cluster;
mod cmd;
mod companion;
mod fleet;
mod forward;
mod generator;
mod http;
mod image;
mod interruption;
mod kustomize;
mod lab;
mod live;
mod lock;
mod observation;
mod observer;
mod opinion;
mod own_image;
mod pods;
mod problem;
mod prometheus;
mod registry;
mod report;
mod run;
mod run_dir;
mod scenario;
mod scene;
mod session;
mod terminal;
#[cfg(test)]
mod tidy;
mod wait;
mod workload;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Verb};
use crate::lab::Lab;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => {
            // A closed pipe while printing help is not a failure of the tool.
            let _ = usage.print();
            return ExitCode::from(if usage.use_stderr() { problem::EXIT_USAGE } else { 0 });
        }
    };
    let terminal = terminal::Terminal::detect(cli.global.verbosity());
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cannot start the async runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let profile = cli.global.profile.clone();
    let outcome = runtime.block_on(run(cli, &terminal));
    // Watches and port-forwards may still hold sockets; the process ends whether they are done or not.
    runtime.shutdown_background();
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) if problem::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            terminal.problem(&problem::render(&error, &profile));
            ExitCode::from(problem::exit_code(&error))
        }
    }
}

async fn run(cli: Cli, terminal: &terminal::Terminal) -> anyhow::Result<u8> {
    let lab = Lab::open(&cli.global, terminal)?;
    match cli.verb {
        Verb::Setup(args) => cmd::setup::run(&lab, &args).await,
        Verb::Load(args) => cmd::load::run(&lab, &args).await,
        Verb::Watch(args) => cmd::watch::run(&lab, &args).await,
        Verb::Observe(args) => cmd::observe::run(&lab, &args).await,
        Verb::Forward(args) => cmd::forward::run(&lab, &args).await,
        Verb::Logs(args) => cmd::logs::run(&lab, &args).await,
        Verb::Status(args) => cmd::status::run(&lab, &args).await,
        Verb::Report(args) => cmd::report::run(&lab, &args),
        Verb::Compare(args) => cmd::compare::run(&lab, &args),
        Verb::Runs(args) => cmd::runs::run(&lab, &args),
        Verb::Teardown(args) => cmd::teardown::run(&lab, &args).await,
        Verb::Demo(args) => cmd::demo::run(&lab, &args).await,
        Verb::Image(args) => cmd::image::run(&lab, &args),
        Verb::Release(args) => cmd::release::run(&lab, &args),
        Verb::Doctor(args) => cmd::doctor::run(&lab, &args).await,
        Verb::Test(args) => cmd::test::run(&lab, &args).await,
        Verb::Explain(args) => cmd::explain::run(&lab, &args).await,
        Verb::Conformance(verb) => cmd::conformance::run(&lab, &verb).await,
        Verb::Completions(args) => cmd::completions::run(&args),
    }
}
