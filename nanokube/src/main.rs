//! Entry point: argv to a verb.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything else: a supervisor has one thread and no runtime.
    if std::env::args().nth(1).is_some_and(|verb| verb == nanokube::node::supervisor::VERB) {
        return nanokube::node::supervisor::main();
    }
    ExitCode::SUCCESS
}
