//! What is printed: whole texts at once, in characters that the locale can show. A reader that went away is no failure.

use std::io::Write;

use crate::output::charset::for_locale;

/// Prints text for people on standard output.
pub(super) fn out(text: &str) {
    raw(&for_locale(text));
}

/// Prints text for programs on standard output, byte by byte as it is.
pub(super) fn raw(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Prints a line on standard error.
pub(super) fn err(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", for_locale(line));
}
