//! A stand-in for `minikube`, for tests on machines that cannot run it: same flags, texts, exit codes and traps.
//!
//! It follows the command line of Minikube 1.38: unknown flags are refused per sub-command with exit 14,
//! `start -o json` speaks CloudEvents, `image load` fails silently with exit 0. Behind it runs a nanokube, so that what
//! is set up this way is a cluster. It is no part of the lab; tests put it on PATH under the name `minikube`.
//!
//! `MINIKUBE_STAND_IN_SCENARIO`  what goes wrong (see `scenario.rs`)
//! `MINIKUBE_STAND_IN_LOG`       a file that gets every argv, one JSON array a line
//! `MINIKUBE_STAND_IN_NANOKUBE`  the nanokube binary; default: beside this one; `none`: no cluster at all
//! `MINIKUBE_STAND_IN_METRICS`   metric resolution of that nanokube; default 15s

mod addons;
mod archive;
mod backend;
mod flags;
mod home;
mod image;
mod profile;
mod scenario;
mod service;
mod speech;
mod start;
mod status;

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::flags::{Invocation, ParseError};
use crate::home::Home;
use crate::scenario::Scenario;
use crate::speech::{Fatal, Speech};

/// Wrong usage, in Minikube's numbering.
const EXIT_USAGE: u8 = 14;
/// The stand-in itself is at fault: no code of Minikube's.
const EXIT_BROKEN: u8 = 99;

/// What every command gets.
struct Call {
    given: Invocation,
    home: Home,
    scenario: Scenario,
    speech: Speech,
}

fn main() -> ExitCode {
    let argv: Vec<String> = std::env::args().skip(1).collect();
    if let Err(error) = log(&argv) {
        eprintln!("minikube stand-in: {error:#}");
        return ExitCode::from(EXIT_BROKEN);
    }
    let given = match Invocation::parse(&argv) {
        Ok(given) => given,
        Err(ParseError { message, hint }) => {
            eprintln!("Error: {message}\n{hint}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let speech = Speech::new(given.command.join(" "), given.value("output") == Some("json"));
    match run(given, speech.clone()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => match error.downcast::<Fatal>() {
            Ok(fatal) => ExitCode::from(speech.fatal(&fatal)),
            Err(broken) => {
                eprintln!("minikube stand-in: {broken:#}");
                ExitCode::from(EXIT_BROKEN)
            }
        },
    }
}

fn run(given: Invocation, speech: Speech) -> Result<u8> {
    let call = Call { given, home: Home::open()?, scenario: Scenario::from_environment()?, speech };
    let command: Vec<&str> = call.given.command.iter().map(String::as_str).collect();
    match command[..] {
        ["version"] => profile::version(&call),
        ["start"] => start::run(call),
        ["status"] => status::run(&call),
        ["stop"] => profile::stop(call),
        ["delete"] => profile::delete(call),
        ["profile", "list"] => profile::list(&call),
        ["update-context"] => profile::update_context(&call),
        ["pause"] => profile::pause(call, true),
        ["unpause"] => profile::pause(call, false),
        ["ssh"] => image::on_node(&call),
        ["ip"] => profile::ip(&call),
        ["logs"] => profile::logs(&call),
        ["kubectl"] => profile::kubectl(&call),
        ["addons", "enable"] => addons::enable(call),
        ["addons", "list"] => addons::list(&call),
        ["image", "load"] => image::load(call),
        ["image", "ls"] => image::list(&call),
        ["service", "list"] => service::list(&call),
        ["service"] => service::url(&call),
        _ => unreachable!("the table of flags has no command {command:?}"),
    }
}

fn log(argv: &[String]) -> Result<()> {
    let Some(path) = std::env::var_os("MINIKUBE_STAND_IN_LOG") else { return Ok(()) };
    let mut file =
        std::fs::OpenOptions::new().create(true).append(true).open(&path).context("MINIKUBE_STAND_IN_LOG")?;
    writeln!(file, "{}", serde_json::to_string(argv)?)?;
    Ok(())
}
