//! Entry point: argv to a verb, the outcome to an exit code (0 done, 1 failed, 64 wrong usage; `status` also 3).

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

const WRONG_USAGE: u8 = 64;

fn main() -> ExitCode {
    // Before anything else: a supervisor has one thread and no runtime.
    if std::env::args().nth(1).is_some_and(|verb| verb == nanokube::node::supervisor::VERB) {
        return nanokube::node::supervisor::main();
    }
    let cli = match nanokube::cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are errors to the parser only; a closed terminal is none of ours.
            let _ = error.print();
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return if asked { ExitCode::SUCCESS } else { ExitCode::from(WRONG_USAGE) };
        }
    };
    nanokube::cmd::run(cli).unwrap_or_else(|error| {
        eprintln!("nanokube: {error:#}");
        ExitCode::FAILURE
    })
}
