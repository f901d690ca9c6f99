//! Structured log lines: one JSON object a line on stdout, with time, level, pod and message.
//!
//! The level is set once at the start. Requests are logged at `debug` only: at `info` a loaded pod would spend its CPU
//! limit on writing lines.

use std::io::Write;
use std::str::FromStr;
use std::sync::OnceLock;

use anyhow::{Result, bail};
use serde_json::{Value, json};

#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) enum Level {
    Error,
    Warn,
    Info,
    Debug,
}

impl Level {
    const NAMES: [(&'static str, Level); 4] =
        [("error", Level::Error), ("warn", Level::Warn), ("info", Level::Info), ("debug", Level::Debug)];

    fn name(self) -> &'static str {
        Level::NAMES[self as usize].0
    }
}

impl FromStr for Level {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Level> {
        match Level::NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) {
            Some((_, level)) => Ok(*level),
            None => bail!("LOG_LEVEL is {text:?}; it takes one of error, warn, info, debug"),
        }
    }
}

static STARTED: OnceLock<(Level, String)> = OnceLock::new();

/// Sets the level and the pod's name for the life of the process. Before it, everything up to `info` is written.
pub(crate) fn start(level: Level, pod_name: &str) {
    // The first call wins; the process makes only one.
    let _ = STARTED.set((level, pod_name.to_owned()));
}

pub(crate) fn enabled(level: Level) -> bool {
    level <= STARTED.get().map_or(Level::Info, |(most, _)| *most)
}

pub(crate) fn error(message: &str, fields: Value) {
    write(Level::Error, message, fields);
}

pub(crate) fn warn(message: &str, fields: Value) {
    write(Level::Warn, message, fields);
}

pub(crate) fn info(message: &str, fields: Value) {
    write(Level::Info, message, fields);
}

pub(crate) fn debug(message: &str, fields: Value) {
    write(Level::Debug, message, fields);
}

fn write(level: Level, message: &str, fields: Value) {
    if !enabled(level) {
        return;
    }
    let mut line = json!({ "time": jiff::Timestamp::now().to_string(), "level": level.name(), "message": message });
    if let Some((_, pod)) = STARTED.get() {
        line["pod"] = json!(pod);
    }
    if let Value::Object(fields) = fields {
        for (key, value) in fields {
            line[key] = value;
        }
    }
    // A closed pipe must not stop the service: nobody is left to read the complaint.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
