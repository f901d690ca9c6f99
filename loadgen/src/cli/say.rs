//! What is printed: whole texts at once, in characters that the locale can show. A reader that went away is no failure.

use std::io::{ErrorKind, Write};

use anyhow::{Context, Result};

use crate::output::charset::for_locale;

/// Prints text for people on standard output.
pub(super) fn out(text: &str) -> Result<()> {
    raw(&for_locale(text))
}

/// Prints text for programs on standard output, byte by byte as it is.
pub(super) fn raw(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("cannot write to standard output"),
        _ => Ok(()),
    }
}

/// Prints a line on standard error.
pub(super) fn err(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", for_locale(line));
}
