//! A recorded load: a CSV of rates or of arrival times, replayed at another speed or amplitude.
//!
//! Rates: lines `seconds,rate`; a rate holds until the next line, the last as long as the one before it. Where the
//! first time is half the first distance the times are taken as mid-interval, as LIMBO writes them. Times: one
//! arrival a line. A time is a number of seconds, a moment such as `2026-01-31T12:00:00.5Z`, or milli-, micro- or
//! nanoseconds since 1970, which their size tells. A header line, blank lines and `#` comments are skipped. The first
//! line is the start of the replay.

use std::fmt;
use std::path::Path;

use crate::span::Span;
use crate::text::plain;

/// Longest recording, in lines: 80 MB of arrival times.
const LINES_MAX: usize = 10_000_000;

#[derive(Debug, Clone, PartialEq)]
pub struct Replay {
    pub file: String,
    pub kind: ReplayKind,
    /// 2 replays in half the time (and so at twice the rate).
    pub speed: f64,
    /// 2 doubles the number of arrivals at the same times.
    pub amplitude: f64,
}

/// What was recorded; empty until the file was read.
#[derive(Debug, Clone, PartialEq)]
pub enum ReplayKind {
    /// Start of an interval in seconds, end, rate.
    Rates(Vec<(f64, f64, f64)>),
    /// Arrival times in seconds since the first, ascending.
    Times(Vec<f64>),
}

impl Replay {
    pub fn new(file: String) -> Self {
        Self { file, kind: ReplayKind::Rates(Vec::new()), speed: 1.0, amplitude: 1.0 }
    }

    pub fn set_times(&mut self) {
        self.kind = ReplayKind::Times(Vec::new());
    }

    pub fn length(&self) -> Span {
        let recorded_s = match &self.kind {
            ReplayKind::Rates(rows) => rows.last().map_or(0.0, |row| row.1),
            ReplayKind::Times(times) => times.last().copied().unwrap_or(0.0),
        };
        Span::from_ns((recorded_s / self.speed * 1e9).ceil() as u64)
    }

    /// Reads the recording.
    pub fn load(&mut self, base: &Path) -> Result<(), String> {
        let path = base.join(&self.file);
        let text = std::fs::read_to_string(&path)
            .map_err(|error| format!("cannot read the recording {}: {error}", path.display()))?;
        self.read(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Takes the recording from text.
    pub fn read(&mut self, text: &str) -> Result<(), String> {
        let rows = numbers(text, matches!(self.kind, ReplayKind::Rates(_)))?;
        match &mut self.kind {
            ReplayKind::Rates(kept) => *kept = intervals(&rows)?,
            ReplayKind::Times(kept) => {
                let first = rows[0].0;
                *kept = rows.iter().map(|row| row.0 - first).collect();
            }
        }
        Ok(())
    }
}

impl fmt::Display for Replay {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let kind = if matches!(self.kind, ReplayKind::Times(_)) { "times" } else { "rates" };
        write!(f, "replay \"{}\" {kind}", self.file)?;
        if self.speed != 1.0 {
            write!(f, " speed {}", plain(self.speed))?;
        }
        if self.amplitude != 1.0 {
            write!(f, " amplitude {}", plain(self.amplitude))?;
        }
        Ok(())
    }
}

/// The rows of the file: time, and the rate where one is wanted (else zero).
fn numbers(text: &str, with_rate: bool) -> Result<Vec<(f64, f64)>, String> {
    let mut rows: Vec<(f64, f64)> = Vec::new();
    // Some programs begin a file with a mark of its encoding.
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut fields = line.split([',', ';']).map(|field| field.trim().trim_matches('"'));
        let time = fields.next().and_then(seconds);
        let rate = if with_rate { fields.next().and_then(|field| field.parse::<f64>().ok()) } else { Some(0.0) };
        let row = match (time, rate) {
            (Some(time), Some(rate)) if time.is_finite() && rate.is_finite() && rate >= 0.0 => (time, rate),
            _ if rows.is_empty() && index == 0 => continue,
            _ => {
                let wanted = if with_rate { "`seconds,rate`" } else { "a time in seconds" };
                return Err(format!("line {}: `{line}` is not {wanted}", index + 1));
            }
        };
        if rows.last().is_some_and(|last| last.0 > row.0) {
            return Err(format!("line {}: time {} is before the line above", index + 1, row.0));
        }
        if rows.len() == LINES_MAX {
            return Err(format!("more than {LINES_MAX} lines"));
        }
        rows.push(row);
    }
    if rows.len() < 2 {
        return Err("a recording needs at least two lines of numbers".to_owned());
    }
    Ok(rows)
}

/// A time in seconds. No recording starts thousands of years after its own zero: so large a number counts smaller units.
fn seconds(field: &str) -> Option<f64> {
    let number = match field.parse::<f64>() {
        Ok(number) => number,
        Err(_) => return moment(field),
    };
    Some(match number {
        n if n < 1e11 => n,
        n if n < 1e14 => n / 1e3,
        n if n < 1e17 => n / 1e6,
        n => n / 1e9,
    })
}

/// Seconds since 1970 of a moment as RFC 3339 writes it: `2026-01-31T12:00:00.5+01:00`.
fn moment(field: &str) -> Option<f64> {
    let (date, rest) = field.split_once(['T', 't', ' '])?;
    let zone_at = rest.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = rest.split_at(zone_at);
    let numbers =
        |text: &str, sign| text.split(sign).map(|part| part.parse::<f64>().ok()).collect::<Option<Vec<f64>>>();
    let [year, month, day] = numbers(date, '-')?[..] else { return None };
    let [hour, minute, second] = numbers(clock, ':')?[..] else { return None };
    let east_s = match zone {
        "Z" | "z" => 0.0,
        _ => {
            let [hours, minutes] = numbers(&zone[1..], ':')?[..] else { return None };
            if zone.starts_with('-') { -60.0 * (60.0 * hours + minutes) } else { 60.0 * (60.0 * hours + minutes) }
        }
    };
    let is_date = (1.0..=12.0).contains(&month) && (1.0..=31.0).contains(&day) && hour < 24.0 && minute < 60.0;
    // Years that begin in March, so that a leap day is the last of its year.
    let (year, month) = if month > 2.0 { (year, month - 3.0) } else { (year - 1.0, month + 9.0) };
    let leap_days = (year / 4.0).floor() - (year / 100.0).floor() + (year / 400.0).floor();
    let days = 365.0 * year + leap_days + ((153.0 * month + 2.0) / 5.0).floor() + day - 719_469.0;
    is_date.then_some(days * 86_400.0 + hour * 3600.0 + minute * 60.0 + second - east_s)
}

fn intervals(rows: &[(f64, f64)]) -> Result<Vec<(f64, f64, f64)>, String> {
    let step = rows[1].0 - rows[0].0;
    if step <= 0.0 {
        return Err("the first two times are the same".to_owned());
    }
    let mid_interval = (rows[0].0 - step / 2.0).abs() < step * 1e-6;
    let first = if mid_interval { 0.0 } else { rows[0].0 };
    let shift = if mid_interval { step / 2.0 } else { 0.0 };
    let start = |index: usize| rows[index].0 - shift - first;
    let last_length = start(rows.len() - 1) - start(rows.len() - 2);
    let end = |index: usize| if index + 1 < rows.len() { start(index + 1) } else { start(index) + last_length };
    Ok((0..rows.len()).map(|index| (start(index), end(index), rows[index].1)).collect())
}
