//! The `loadgen` command: one word from the command line to an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    loadgen::cli::main()
}
