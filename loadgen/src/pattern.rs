//! The shape of a load over time: an algebra of stages, with a compact text form.
//!
//! `ramp 10..500 60s, hold 2m, spike 1500 10s` is a sequence. Sequences combine as season x trend + burst + noise:
//! `loop 10m (sine 50..150 60s) * (ramp 1..3 10m) + burst 500 5s every 60s + noise 5%`. The comma binds tightest, then
//! `*`, then `+`; parentheses group. A YAML pattern is this text, or a list of texts that are joined by commas. A bad
//! pattern is refused with the column and the word that is wrong.

mod parse;
mod replay;

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use crate::pattern::replay::{Replay, ReplayKind};
use crate::span::Span;
use crate::text::{TextError, plain};

/// A load shape. Rates are in requests per second.
#[derive(Debug, Clone, PartialEq)]
pub enum Pattern {
    Stage(Stage),
    /// One after the other.
    Sequence(Vec<Pattern>),
    /// The inner pattern over and over until the length is reached.
    Loop {
        length: Span,
        inner: Box<Pattern>,
    },
    /// Rates multiplied; a factor that ends early keeps its last value.
    Product(Vec<Pattern>),
    /// Rates added; a term that ends early adds nothing.
    Sum(Vec<Pattern>),
    /// A plain number, as long as its partners.
    Factor(f64),
    /// Peaks that rise and fall in a straight line, as long as its partners.
    Burst {
        rate: f64,
        width: Span,
        every: Span,
    },
    /// A random share of the rest added or taken away, drawn anew each `every`.
    Noise {
        kind: NoiseKind,
        share: f64,
        every: Span,
    },
    Replay(Replay),
}

/// One stage of a sequence.
#[derive(Debug, Clone, PartialEq)]
pub enum Stage {
    Constant {
        rate: f64,
        length: Span,
    },
    /// Keeps the rate that the stage before ended with.
    Hold {
        length: Span,
    },
    Ramp {
        from: f64,
        to: f64,
        length: Span,
    },
    /// Equal steps from the first rate to the last.
    Step {
        from: f64,
        to: f64,
        steps: u32,
        length: Span,
    },
    /// Jumps to a rate; a following `hold` returns to the rate before the jump.
    Spike {
        rate: f64,
        length: Span,
    },
    /// Starts at the low rate.
    Sine {
        low: f64,
        high: f64,
        length: Span,
        every: Span,
    },
    /// A working day: quiet night, morning rise, lunch dip, afternoon peak.
    Diurnal {
        low: f64,
        high: f64,
        length: Span,
        every: Span,
    },
    Exponential {
        from: f64,
        to: f64,
        length: Span,
    },
    Logarithmic {
        from: f64,
        to: f64,
        length: Span,
    },
    Pause {
        length: Span,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoiseKind {
    Normal,
    Uniform,
}

/// The names that stand for a whole pattern once a rate and a duration are given.
pub const NAMED_PATTERNS: [&str; 6] = ["constant", "ramp", "step", "spike", "sine", "diurnal"];

impl Pattern {
    /// A constant rate.
    pub fn constant(rate: f64, length: Span) -> Self {
        Pattern::Stage(Stage::Constant { rate, length })
    }

    /// The pattern that a bare name stands for, with `rate` as its peak.
    pub fn named(name: &str, rate: f64, length: Span) -> Option<Self> {
        let part = |share: f64| Span::from_ns((length.as_ns() as f64 * share).round() as u64);
        let stage = match name {
            "constant" => Stage::Constant { rate, length },
            "ramp" => Stage::Ramp { from: 0.0, to: rate, length },
            "step" => Stage::Step { from: rate / 4.0, to: rate, steps: 4, length },
            "sine" => Stage::Sine { low: 0.0, high: rate, length, every: part(0.5) },
            "diurnal" => Stage::Diurnal { low: rate / 10.0, high: rate, length, every: length },
            "spike" => {
                let stages = [
                    Stage::Constant { rate: rate / 10.0, length: part(0.4) },
                    Stage::Spike { rate, length: part(0.2) },
                    Stage::Hold { length: part(0.4) },
                ];
                return Some(Pattern::Sequence(stages.into_iter().map(Pattern::Stage).collect()));
            }
            _ => return None,
        };
        Some(Pattern::Stage(stage))
    }

    /// How long the pattern lasts, unless it is only as long as its partners.
    pub fn length(&self) -> Option<Span> {
        match self {
            Pattern::Stage(stage) => Some(stage.length()),
            Pattern::Sequence(parts) => {
                Some(Span::from_ns(parts.iter().filter_map(Pattern::length).map(Span::as_ns).sum()))
            }
            Pattern::Loop { length, .. } => Some(*length),
            Pattern::Product(parts) | Pattern::Sum(parts) => parts.iter().filter_map(Pattern::length).max(),
            Pattern::Factor(_) | Pattern::Burst { .. } | Pattern::Noise { .. } => None,
            Pattern::Replay(replay) => Some(replay.length()),
        }
    }

    /// Reads the files that replays name; relative paths start at `base`.
    pub fn load_files(&mut self, base: &Path) -> Result<(), String> {
        match self {
            Pattern::Sequence(parts) | Pattern::Product(parts) | Pattern::Sum(parts) => {
                parts.iter_mut().try_for_each(|part| part.load_files(base))
            }
            Pattern::Loop { inner, .. } => inner.load_files(base),
            Pattern::Replay(replay) => replay.load(base),
            _ => Ok(()),
        }
    }
}

impl Stage {
    pub fn length(&self) -> Span {
        match self {
            Stage::Constant { length, .. }
            | Stage::Hold { length }
            | Stage::Ramp { length, .. }
            | Stage::Step { length, .. }
            | Stage::Spike { length, .. }
            | Stage::Sine { length, .. }
            | Stage::Diurnal { length, .. }
            | Stage::Exponential { length, .. }
            | Stage::Logarithmic { length, .. }
            | Stage::Pause { length } => *length,
        }
    }
}

impl FromStr for Pattern {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        parse::pattern(text)
    }
}

impl fmt::Display for Pattern {
    /// The text form, which parses back to the same pattern.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Pattern::Stage(stage) => write!(f, "{stage}"),
            Pattern::Sequence(parts) => join(f, parts, ", ", |p| matches!(p, Pattern::Product(_) | Pattern::Sum(_))),
            Pattern::Loop { length, inner } => write!(f, "loop {length} ({inner})"),
            Pattern::Product(parts) => {
                join(f, parts, " * ", |p| matches!(p, Pattern::Sum(_) | Pattern::Sequence(_) | Pattern::Product(_)))
            }
            Pattern::Sum(parts) => join(f, parts, " + ", |p| matches!(p, Pattern::Sequence(_) | Pattern::Sum(_))),
            Pattern::Factor(factor) => f.write_str(&plain(*factor)),
            Pattern::Burst { rate, width, every } => write!(f, "burst {} {width} every {every}", plain(*rate)),
            Pattern::Noise { kind, share, every } => {
                let kind = if *kind == NoiseKind::Uniform { "uniform " } else { "" };
                write!(f, "noise {kind}{}% every {every}", plain(percent(*share)))
            }
            Pattern::Replay(replay) => write!(f, "{replay}"),
        }
    }
}

fn percent(share: f64) -> f64 {
    (share * 1e8).round() / 1e6
}

fn join(f: &mut fmt::Formatter, parts: &[Pattern], sign: &str, group: fn(&Pattern) -> bool) -> fmt::Result {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            f.write_str(sign)?;
        }
        match group(part) {
            true => write!(f, "({part})")?,
            false => write!(f, "{part}")?,
        }
    }
    Ok(())
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let range = |low: &f64, high: &f64| format!("{}..{}", plain(*low), plain(*high));
        match self {
            Stage::Constant { rate, length } => write!(f, "constant {} {length}", plain(*rate)),
            Stage::Hold { length } => write!(f, "hold {length}"),
            Stage::Ramp { from, to, length } => write!(f, "ramp {} {length}", range(from, to)),
            Stage::Step { from, to, steps, length } => write!(f, "step {} x{steps} {length}", range(from, to)),
            Stage::Spike { rate, length } => write!(f, "spike {} {length}", plain(*rate)),
            Stage::Sine { low, high, length, every } => write!(f, "sine {} {length} every {every}", range(low, high)),
            Stage::Diurnal { low, high, length, every } => {
                write!(f, "diurnal {} {length} every {every}", range(low, high))
            }
            Stage::Exponential { from, to, length } => write!(f, "exponential {} {length}", range(from, to)),
            Stage::Logarithmic { from, to, length } => write!(f, "logarithmic {} {length}", range(from, to)),
            Stage::Pause { length } => write!(f, "pause {length}"),
        }
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a pattern must be a text or a list of texts")]
        enum Written {
            Text(String),
            List(Vec<String>),
        }
        let text = match Written::deserialize(deserializer)? {
            Written::Text(text) => text,
            Written::List(stages) => stages.join(", "),
        };
        text.parse().map_err(|error: TextError| serde::de::Error::custom(format!("bad pattern \"{text}\" {error}")))
    }
}

#[cfg(test)]
mod tests;
