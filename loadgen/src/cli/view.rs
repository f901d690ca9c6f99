//! Who follows a run as it goes: a program that reads the stream, or a person.

use std::io::IsTerminal;

use anyhow::{Context, Result, bail};

use crate::cli::flags::RunFlags;
use crate::cli::writer::Writer;
use crate::output::charset::for_locale;
use crate::output::history::History;
use crate::output::live::Live;
use crate::output::progress;
use crate::stream::Record;

/// What of the stream may wait for its reader: some hours of it.
const STREAM_WAITING_MAX_BYTES: usize = 32 << 20;
/// A person who comes back wants to see the present.
const SHOWN_WAITING_MAX_BYTES: usize = 64 << 10;

pub(super) enum View {
    Silent,
    /// JSON lines on standard output.
    Stream(Writer),
    Lines(Writer),
    /// In this order: what waits to be shown comes before the screen is left.
    Screen(Writer, Box<Live>),
}

impl View {
    pub(super) fn new(flags: &RunFlags) -> Self {
        if flags.output.intervals {
            return View::Stream(Writer::new(std::io::stdout(), STREAM_WAITING_MAX_BYTES));
        }
        let wants_screen = flags.live || (std::io::stderr().is_terminal() && !flags.no_live);
        let shown = || Writer::new(std::io::stderr(), SHOWN_WAITING_MAX_BYTES);
        match flags.quiet {
            true => View::Silent,
            false if wants_screen => View::Screen(shown(), Box::default()),
            false => View::Lines(shown()),
        }
    }

    pub(super) fn show(&mut self, record: &Record, history: &History) {
        match self {
            View::Silent => {}
            View::Stream(stdout) => match (record, line(record)) {
                (Record::Interval(_), Some(line)) => stdout.write(line),
                (_, Some(line)) => stdout.write_in_any_case(line),
                (_, None) => {}
            },
            View::Lines(stderr) => {
                if let Some(line) = progress::line(record, history) {
                    stderr.write(format!("{}\n", for_locale(&line)));
                }
            }
            View::Screen(stderr, live) => {
                if let Some(screen) = live.draw(record, history) {
                    stderr.write(screen);
                }
            }
        }
    }

    /// Ends when all is written. Fails where the stream is not whole.
    pub(super) fn leave(&mut self) -> Result<()> {
        match self {
            View::Silent => {}
            View::Stream(stdout) => match stdout.finish().context("cannot write to standard output")? {
                0 => {}
                skipped => bail!(
                    "standard output was not read for too long: {skipped} second(s) of the stream are missing; \
                     write it to a file instead"
                ),
            },
            View::Lines(stderr) => drop(stderr.finish()),
            View::Screen(stderr, live) => {
                let _ = stderr.finish();
                live.leave();
            }
        }
        Ok(())
    }
}

/// A record as a line of the stream.
pub(super) fn line(record: &Record) -> Option<String> {
    serde_json::to_string(record).ok().map(|line| line + "\n")
}
