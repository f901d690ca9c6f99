//! The verbs of the command line, one file each.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use crate::cli::{Cli, ImageVerb, Verb};
use crate::instance::Directory;

mod delete;
mod hpa;
mod image;
mod kubeconfig;
mod logs;
mod start;
mod status;
mod stop;

/// Carries out one verb; the exit code says how it went.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let path = match cli.dir {
        Some(path) => std::path::absolute(path)?,
        None => Directory::default_path()?,
    };
    let directory = Directory::new(path);
    match cli.verb {
        Verb::Start(start) => start::run(&directory, &start),
        Verb::Stop => stop::run(&directory),
        Verb::Status { output } => status::run(&directory, output),
        Verb::Hpa(hpa) => hpa::run(&hpa),
        Verb::Delete => delete::run(&directory),
        Verb::Image { verb: ImageVerb::Load { files } } => image::load(&directory, &files),
        Verb::Image { verb: ImageVerb::Ls { output } } => image::list(&directory, output),
        Verb::Kubeconfig { raw } => kubeconfig::run(&directory, raw),
        Verb::Logs { follow } => logs::run(&directory, follow),
    }
}

/// Prints a line. Whoever stopped reading (`| head -1`) has got what they wanted; the verb is done all the same.
fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
