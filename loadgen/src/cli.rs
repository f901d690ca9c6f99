//! The command line: flags to a job, a job to an exit code.
//!
//! `loadgen URL` runs a load; `loadgen compare` and `loadgen capacity` build on it. Flags are checked before anything
//! is sent: what is wrong is named, with exit code 64. With `--intervals` or `--summary json` standard output belongs
//! to the machine; people read standard error.

mod capacity;
mod compare;
mod flags;
mod job;
mod merge;
mod run;
mod say;
mod view;
mod writer;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use crate::cli::flags::{Command, Flags};
use crate::stream::exit;

pub use crate::cli::flags::RunFlags;
pub use crate::cli::job::{job, load};

/// Runs the command of this process.
pub fn main() -> ExitCode {
    ExitCode::from(run_with(std::env::args_os()))
}

fn run_with(args: impl Iterator<Item = OsString>) -> u8 {
    let flags = match Flags::try_parse_from(args) {
        Ok(flags) => flags,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { exit::USAGE } else { exit::PASS };
        }
    };
    let result = match flags.command {
        None => run::run(&flags.run),
        Some(Command::Compare(compare)) => compare::run(&compare),
        Some(Command::Merge(merge)) => merge::run(&merge),
        Some(Command::Capacity(capacity)) => capacity::run(&capacity),
    };
    match result {
        Ok(code) => code,
        Err(Failure::Usage(message)) => {
            say::err(&format!("loadgen: {message}\nsee `loadgen --help`"));
            exit::USAGE
        }
        Err(Failure::CouldNotRun(error)) => {
            say::err(&format!("loadgen: {error:#}"));
            exit::COULD_NOT_RUN
        }
    }
}

/// Why a command did nothing.
#[derive(Debug)]
pub enum Failure {
    /// What was asked for makes no sense.
    Usage(String),
    CouldNotRun(anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Failure::CouldNotRun(error)
    }
}
