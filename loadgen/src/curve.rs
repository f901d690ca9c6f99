//! A pattern as a curve: straight pieces of rate over time, with the number of arrivals before each.
//!
//! Straight stages stay exact; waves, exponentials and products are cut into at most 16 384 pieces. The integral of a
//! straight piece is quadratic, so the moment of the n-th arrival is a square root away: no stepping, no drift.

use crate::arithmetic::{Random, cosine_of_turns, exp, ln, power};
use crate::pattern::{NoiseKind, Pattern, ReplayKind, Stage};
use crate::span::Span;
use crate::text::RATE_MAX;

/// Pieces that a curved pattern is cut into.
const PIECES: f64 = 16_384.0;
/// Most pieces of a curve (40 MB).
const PIECES_MAX: usize = 1_000_000;
const NOISE_STREAM: u64 = 0x6e6f_6973;

/// Hourly weights of the working day that `diurnal` follows, from midnight.
const DAY: [f64; 24] = [
    0.12, 0.07, 0.03, 0.0, 0.0, 0.03, 0.10, 0.25, 0.48, 0.70, 0.85, 0.90, 0.80, 0.84, 0.95, 1.0, 0.97, 0.88, 0.75,
    0.66, 0.60, 0.50, 0.36, 0.22,
];

/// The planned rate over time.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Piece {
    start_s: f64,
    end_s: f64,
    start_rate: f64,
    end_rate: f64,
    arrivals_before: f64,
}

impl Piece {
    fn arrivals(&self) -> f64 {
        (self.end_s - self.start_s) * (self.start_rate + self.end_rate) / 2.0
    }
}

impl Curve {
    /// Cuts a pattern into straight pieces. The seed shapes its noise.
    pub fn new(pattern: &Pattern, seed: u64) -> Result<Self, String> {
        let length = pattern.length().ok_or("the pattern has no length")?;
        let length_s = length.as_secs_f64();
        let mut cuts = vec![0.0, length_s];
        collect_cuts(pattern, 0.0, length_s, &mut cuts);
        if curved(pattern) {
            cuts.extend((1..PIECES as usize).map(|k| length_s * k as f64 / PIECES));
        }
        cuts.retain(|cut| (0.0..=length_s).contains(cut));
        cuts.sort_by(f64::total_cmp);
        cuts.dedup_by(|a, b| (*a - *b).abs() < 1e-9);
        if cuts.len() > PIECES_MAX {
            return Err(format!("the pattern has more than {PIECES_MAX} pieces"));
        }
        let mut pieces = Vec::with_capacity(cuts.len());
        let mut arrivals_before = 0.0;
        for pair in cuts.windows(2) {
            let moment = |at_s: f64| Moment { at_s, inside_s: (pair[0] + pair[1]) / 2.0 };
            let rate = |at_s: f64| rate_of(pattern, moment(at_s), seed, 0.0).clamp(0.0, RATE_MAX);
            let piece = Piece {
                start_s: pair[0],
                end_s: pair[1],
                start_rate: rate(pair[0]),
                end_rate: rate(pair[1]),
                arrivals_before,
            };
            arrivals_before += piece.arrivals();
            pieces.push(piece);
        }
        Ok(Self { pieces })
    }

    pub fn length(&self) -> Span {
        Span::from_ns((self.pieces.last().map_or(0.0, |piece| piece.end_s) * 1e9).round() as u64)
    }

    /// Expected arrivals over the whole curve.
    pub fn arrivals(&self) -> f64 {
        self.pieces.last().map_or(0.0, |piece| piece.arrivals_before + piece.arrivals())
    }

    pub fn peak_rate(&self) -> f64 {
        self.pieces.iter().map(|piece| piece.start_rate.max(piece.end_rate)).fold(0.0, f64::max)
    }

    /// Requests per second at a moment; zero outside.
    pub fn rate_at(&self, at_s: f64) -> f64 {
        let index = self.pieces.partition_point(|piece| piece.end_s <= at_s);
        let Some(piece) = self.pieces.get(index).filter(|piece| piece.start_s <= at_s) else { return 0.0 };
        let share = (at_s - piece.start_s) / (piece.end_s - piece.start_s);
        piece.start_rate + (piece.end_rate - piece.start_rate) * share
    }

    /// The moment at which `count` arrivals lie behind; `from_piece` remembers where the last answer was found, so that
    /// ascending questions cost constant time.
    pub fn moment_of(&self, count: f64, from_piece: &mut usize) -> Option<f64> {
        loop {
            let piece = self.pieces.get(*from_piece)?;
            let missing = count - piece.arrivals_before;
            let here = piece.arrivals();
            if missing < here || (missing <= here && *from_piece + 1 == self.pieces.len() && here > 0.0) {
                let slope = (piece.end_rate - piece.start_rate) / (piece.end_s - piece.start_s);
                let root = (piece.start_rate * piece.start_rate + 2.0 * slope * missing).max(0.0).sqrt();
                let sum = piece.start_rate + root;
                let offset_s = if missing <= 0.0 || sum <= 0.0 { 0.0 } else { 2.0 * missing / sum };
                return Some((piece.start_s + offset_s).min(piece.end_s));
            }
            *from_piece += 1;
        }
    }
}

/// A moment, and a point strictly inside the piece it bounds: at a jump the two sides of one moment differ.
#[derive(Clone, Copy)]
struct Moment {
    at_s: f64,
    inside_s: f64,
}

impl Moment {
    fn since(self, start_s: f64) -> Self {
        Self { at_s: self.at_s - start_s, inside_s: self.inside_s - start_s }
    }
}

/// The rate of a pattern; `before` is the rate that a leading `hold` continues.
fn rate_of(pattern: &Pattern, moment: Moment, seed: u64, before: f64) -> f64 {
    match pattern {
        Pattern::Stage(stage) => stage_rate(stage, moment, before),
        Pattern::Sequence(parts) => sequence_rate(parts, moment, seed, before),
        Pattern::Loop { length, inner } => {
            let inside_s = moment.inside_s.min(length.as_secs_f64());
            let round_s = inner.length().map_or(1.0, Span::as_secs_f64);
            rate_of(inner, moment.since((inside_s / round_s).floor() * round_s), seed, before)
        }
        Pattern::Product(parts) => {
            let held = |part: &Pattern| match part.length() {
                Some(length) if moment.inside_s > length.as_secs_f64() => {
                    let end_s = length.as_secs_f64();
                    rate_of(part, Moment { at_s: end_s, inside_s: end_s * (1.0 - 1e-12) }, seed, before)
                }
                _ => rate_of(part, moment, seed, before),
            };
            parts.iter().map(held).product()
        }
        Pattern::Sum(parts) => sum_rate(parts, moment, seed, before),
        Pattern::Factor(factor) => *factor,
        Pattern::Burst { rate, width, every } => {
            let start_s = (moment.inside_s / every.as_secs_f64()).floor() * every.as_secs_f64();
            let share = (moment.at_s - start_s) / width.as_secs_f64();
            rate * (1.0 - (2.0 * share - 1.0).abs()).max(0.0)
        }
        Pattern::Noise { .. } => 0.0,
        Pattern::Replay(replay) => match &replay.kind {
            ReplayKind::Rates(rows) => {
                let recorded_s = moment.inside_s * replay.speed;
                let row = rows.get(rows.partition_point(|row| row.1 <= recorded_s));
                row.map_or(0.0, |row| row.2 * replay.speed * replay.amplitude)
            }
            // Only its envelope: recorded times are replayed one by one, not through their rate.
            ReplayKind::Times(times) => times.len() as f64 * replay.amplitude / replay.length().as_secs_f64().max(1e-9),
        },
    }
}

fn sequence_rate(parts: &[Pattern], moment: Moment, seed: u64, before: f64) -> f64 {
    let mut start_s = 0.0;
    let mut base = before;
    for part in parts {
        let length_s = part.length().map_or(0.0, Span::as_secs_f64);
        if moment.inside_s < start_s + length_s {
            return rate_of(part, moment.since(start_s), seed, base);
        }
        let keeps_base = matches!(part, Pattern::Stage(Stage::Spike { .. } | Stage::Hold { .. } | Stage::Pause { .. }));
        if !keeps_base {
            let end = Moment { at_s: length_s, inside_s: length_s * (1.0 - 1e-12) };
            base = rate_of(part, end, seed, base);
        }
        start_s += length_s;
    }
    0.0
}

fn sum_rate(parts: &[Pattern], moment: Moment, seed: u64, before: f64) -> f64 {
    let over = |part: &Pattern| part.length().is_some_and(|length| moment.inside_s > length.as_secs_f64());
    let rate: f64 = parts.iter().filter(|part| !over(part)).map(|part| rate_of(part, moment, seed, before)).sum();
    let noise: f64 = parts
        .iter()
        .enumerate()
        .map(|(index, part)| match part {
            Pattern::Noise { kind, share, every } => {
                let draw = (moment.inside_s / every.as_secs_f64()).floor() as u64;
                let mut random = Random::new(seed ^ draw, NOISE_STREAM + index as u64);
                match kind {
                    NoiseKind::Normal => share * random.normal(),
                    NoiseKind::Uniform => share * (2.0 * random.unit() - 1.0),
                }
            }
            _ => 0.0,
        })
        .sum();
    rate * (1.0 + noise)
}

fn stage_rate(stage: &Stage, moment: Moment, before: f64) -> f64 {
    let at_s = moment.at_s;
    let share = (at_s / stage.length().as_secs_f64()).clamp(0.0, 1.0);
    match stage {
        Stage::Constant { rate, .. } | Stage::Spike { rate, .. } => *rate,
        Stage::Hold { .. } => before,
        Stage::Pause { .. } => 0.0,
        Stage::Ramp { from, to, .. } => from + (to - from) * share,
        Stage::Step { from, to, steps, length } => {
            let inside = (moment.inside_s / length.as_secs_f64()).clamp(0.0, 1.0);
            let step = (inside * *steps as f64).floor().min(*steps as f64 - 1.0);
            from + (to - from) * step / (*steps as f64 - 1.0)
        }
        Stage::Sine { low, high, every, .. } => {
            let turns = at_s / every.as_secs_f64();
            low + (high - low) * (1.0 - cosine_of_turns(turns)) / 2.0
        }
        Stage::Diurnal { low, high, every, .. } => {
            let hour = (at_s / every.as_secs_f64()).fract() * 24.0;
            let (now, next) = (DAY[hour as usize % 24], DAY[(hour as usize + 1) % 24]);
            low + (high - low) * (now + (next - now) * hour.fract())
        }
        Stage::Exponential { from, to, .. } => from * power(to / from, share),
        Stage::Logarithmic { from, to, .. } => from + (to - from) * ln(1.0 + (exp(1.0) - 1.0) * share),
    }
}

/// Collects the moments at which a pattern jumps or bends.
fn collect_cuts(pattern: &Pattern, start_s: f64, end_s: f64, cuts: &mut Vec<f64>) {
    let every_s = |step_s: f64, cuts: &mut Vec<f64>| {
        let count = ((end_s - start_s) / step_s).ceil().min(PIECES_MAX as f64) as usize;
        cuts.extend((1..count).map(|k| start_s + k as f64 * step_s));
    };
    if let Some(length) = pattern.length() {
        cuts.push(start_s + length.as_secs_f64());
    }
    match pattern {
        Pattern::Stage(Stage::Step { steps, length, .. }) => {
            cuts.extend((1..*steps).map(|k| start_s + length.as_secs_f64() * k as f64 / *steps as f64));
        }
        Pattern::Stage(Stage::Diurnal { every, .. }) => every_s(every.as_secs_f64() / 24.0, cuts),
        Pattern::Sequence(parts) => {
            let mut at_s = start_s;
            for part in parts {
                let length_s = part.length().map_or(0.0, Span::as_secs_f64);
                collect_cuts(part, at_s, at_s + length_s, cuts);
                at_s += length_s;
            }
        }
        Pattern::Loop { inner, length } => {
            let round_s = inner.length().map_or(1.0, Span::as_secs_f64);
            let rounds = (length.as_secs_f64() / round_s).ceil().min(PIECES_MAX as f64) as usize;
            for round in 0..rounds {
                let at_s = start_s + round as f64 * round_s;
                collect_cuts(inner, at_s, at_s + round_s, cuts);
                if cuts.len() > 2 * PIECES_MAX {
                    return;
                }
            }
        }
        Pattern::Product(parts) | Pattern::Sum(parts) => {
            parts.iter().for_each(|part| collect_cuts(part, start_s, end_s, cuts));
        }
        Pattern::Noise { every, .. } => every_s(every.as_secs_f64(), cuts),
        Pattern::Burst { width, every, .. } => {
            every_s(every.as_secs_f64(), cuts);
            let count = ((end_s - start_s) / every.as_secs_f64()).ceil().min(PIECES_MAX as f64) as usize;
            for k in 0..count {
                let at_s = start_s + k as f64 * every.as_secs_f64();
                cuts.extend([at_s + width.as_secs_f64() / 2.0, at_s + width.as_secs_f64()]);
            }
        }
        Pattern::Replay(replay) => {
            if let ReplayKind::Rates(rows) = &replay.kind {
                cuts.extend(rows.iter().map(|row| start_s + row.1 / replay.speed));
            }
        }
        _ => {}
    }
}

/// Whether straight pieces between the cuts would not be exact.
fn curved(pattern: &Pattern) -> bool {
    match pattern {
        Pattern::Stage(stage) => {
            matches!(stage, Stage::Sine { .. } | Stage::Exponential { .. } | Stage::Logarithmic { .. })
        }
        Pattern::Sequence(parts) | Pattern::Sum(parts) => parts.iter().any(curved),
        Pattern::Product(parts) => parts.iter().filter(|part| !matches!(part, Pattern::Factor(_))).count() > 1,
        Pattern::Loop { inner, .. } => curved(inner),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
