//! What the user sees: steps with their durations, live lines, tables. Knows whether it writes to a person or to a pipe.
//!
//! No escape code ever reaches a pipe, and no colour reaches a terminal under `NO_COLOR`. People read stdout; problems go to
//! stderr; with `-o json` nothing but JSON is on stdout.

use std::cell::Cell;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verbosity {
    Quiet,
    Normal,
    Verbose,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ink {
    Plain,
    Dim,
    Bold,
    Good,
    Warn,
    Bad,
}

pub(crate) struct Terminal {
    pub verbosity: Verbosity,
    interactive: bool,
    color: bool,
    /// Whether the cursor stands behind an unfinished line that the next line has to wipe.
    unfinished: Cell<bool>,
}

impl Terminal {
    pub(crate) fn detect(verbosity: Verbosity) -> Terminal {
        // A dumb terminal can no more go back over a line than a pipe can.
        let interactive = io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let color = interactive && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        Terminal { verbosity, interactive, color, unfinished: Cell::new(false) }
    }

    pub(crate) fn is_interactive(&self) -> bool {
        self.interactive
    }

    pub(crate) fn has_color(&self) -> bool {
        self.color
    }

    pub(crate) fn paint(&self, ink: Ink, text: &str) -> String {
        paint(self.color, ink, text)
    }

    /// A line for people; silent with `-q`.
    pub(crate) fn say(&self, line: &str) {
        if self.verbosity > Verbosity::Quiet {
            self.line(line);
        }
    }

    /// A line only for `-v`.
    pub(crate) fn detail(&self, line: &str) {
        if self.verbosity == Verbosity::Verbose {
            self.line(&self.paint(Ink::Dim, line));
        }
    }

    /// The result that was asked for: printed even with `-q`.
    pub(crate) fn line(&self, line: &str) {
        let mut out = io::stdout().lock();
        let wipe = if self.unfinished.replace(false) { "\r\x1b[K" } else { "" };
        // A reader that went away (`| head`) is no reason to stop what is being done for it.
        let _ = writeln!(out, "{wipe}{line}");
        let _ = out.flush();
    }

    /// A line that the next one replaces; only people at a terminal get to see it.
    pub(crate) fn passing(&self, line: &str) {
        if !self.interactive || self.verbosity == Verbosity::Quiet {
            return;
        }
        let mut out = io::stdout().lock();
        let _ = write!(out, "\r\x1b[K{}", clip(line, width() - 1));
        let _ = out.flush();
        self.unfinished.set(true);
    }

    /// Draws lines over those that were drawn before; returns how many lines now stand there.
    pub(crate) fn redraw(&self, lines: &[String], drawn_before: usize) -> usize {
        let mut out = io::stdout().lock();
        let up = if drawn_before > 0 { format!("\x1b[{drawn_before}A") } else { String::new() };
        let columns = width() - 1;
        // What does not fit would scroll, and could not be drawn over.
        let lines = &lines[..lines.len().min(rows() - 1)];
        let body: String = lines.iter().map(|line| format!("\x1b[K{}\n", clip(line, columns))).collect();
        let _ = write!(out, "{up}\r{body}\x1b[J");
        let _ = out.flush();
        lines.len()
    }

    pub(crate) fn problem(&self, text: &str) {
        if self.unfinished.replace(false) {
            let _ = writeln!(io::stdout());
        }
        let color = self.color && io::stderr().is_terminal();
        let _ = writeln!(io::stderr(), "{} {text}", paint(color, Ink::Bad, "error:"));
    }

    pub(crate) fn warn(&self, text: &str) {
        if self.unfinished.replace(false) {
            let _ = writeln!(io::stdout());
        }
        let color = self.color && io::stderr().is_terminal();
        let _ = writeln!(io::stderr(), "{} {text}", paint(color, Ink::Warn, "note:"));
    }

    /// Announces a step; the returned value says how it ended.
    pub(crate) fn step(&self, name: &str) -> Step<'_> {
        self.passing(&format!("  {}  {name}", self.paint(Ink::Dim, "....")));
        Step { terminal: self, name: name.to_owned(), started: Instant::now(), ended: false }
    }
}

/// One step of a verb: shown while it runs, then with its duration and its outcome.
pub(crate) struct Step<'t> {
    terminal: &'t Terminal,
    name: String,
    started: Instant,
    ended: bool,
}

impl Step<'_> {
    pub(crate) fn update(&self, progress: &str) {
        let line = format!("  {}  {:<28} {progress}", self.terminal.paint(Ink::Dim, "...."), self.name);
        if self.terminal.interactive {
            self.terminal.passing(&line);
        } else {
            self.terminal.detail(&line);
        }
    }

    /// The step acted.
    pub(crate) fn done(self, outcome: &str) {
        self.end(Ink::Good, "done", outcome);
    }

    /// The step looked, and there was nothing to do.
    pub(crate) fn same(self, outcome: &str) {
        self.end(Ink::Dim, "same", outcome);
    }

    pub(crate) fn ended(self, acted: bool, outcome: &str) {
        if acted { self.done(outcome) } else { self.same(outcome) }
    }

    fn end(mut self, ink: Ink, mark: &str, outcome: &str) {
        self.ended = true;
        let mark = self.terminal.paint(ink, mark);
        let took = human_duration(self.started.elapsed());
        self.terminal.say(format!("  {mark}  {:<28} {outcome:<44} {took:>7}", self.name).trim_end());
    }
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let mark = self.terminal.paint(Ink::Bad, "fail");
            let took = human_duration(self.started.elapsed());
            self.terminal.say(&format!("  {mark}  {:<28} {:<44} {took:>7}", self.name, ""));
        }
    }
}

pub(crate) fn paint(color: bool, ink: Ink, text: &str) -> String {
    let code = match ink {
        Ink::Plain => return text.to_owned(),
        Ink::Dim => "2",
        Ink::Bold => "1",
        Ink::Good => "32",
        Ink::Warn => "33",
        Ink::Bad => "31",
    };
    if color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

pub(crate) fn human_duration(d: Duration) -> String {
    let s = d.as_secs_f64();
    if s < 10.0 {
        format!("{s:.1} s")
    } else if s < 120.0 {
        format!("{s:.0} s")
    } else {
        format!("{}m{:02}s", d.as_secs() / 60, d.as_secs() % 60)
    }
}

/// Columns of the terminal; 100 where nobody can say.
pub(crate) fn width() -> usize {
    let told = || std::env::var("COLUMNS").ok()?.parse().ok();
    window().map(|(columns, _)| columns).or_else(told).filter(|columns| *columns >= 20).unwrap_or(100)
}

fn rows() -> usize {
    window().map(|(_, rows)| rows).filter(|rows| *rows >= 5).unwrap_or(40)
}

/// Columns and rows of the terminal at this moment, where there is one that says.
fn window() -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then(|| (usize::from(size.ws_col), usize::from(size.ws_row)))
}

/// At most `columns` visible characters; escape codes take none.
fn clip(line: &str, columns: usize) -> String {
    let mut clipped = String::new();
    let (mut seen, mut in_escape) = (0, false);
    for c in line.chars() {
        if in_escape || c == '\x1b' {
            in_escape = c != 'm';
            clipped.push(c);
        } else if seen < columns {
            clipped.push(c);
            seen += 1;
        }
    }
    clipped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_like_a_person_writes_them() {
        let cases = [(340, "0.3 s"), (12_400, "12 s"), (119_000, "119 s"), (125_000, "2m05s")];
        for (ms, expected) in cases {
            assert_eq!(human_duration(Duration::from_millis(ms)), expected);
        }
    }

    #[test]
    fn clipping_counts_what_is_seen_and_keeps_the_reset() {
        assert_eq!(clip("\x1b[31mabcdef\x1b[0m", 3), "\x1b[31mabc\x1b[0m");
        assert_eq!(clip("abc", 10), "abc");
    }

    #[test]
    fn no_escape_code_without_color() {
        assert_eq!(paint(false, Ink::Bad, "x"), "x");
        assert_eq!(paint(true, Ink::Bad, "x"), "\x1b[31mx\x1b[0m");
    }
}
