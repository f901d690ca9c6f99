//! From the text form to a pattern.
//!
//! One function per rule of the grammar: sum, product, sequence, item. `hold` without a rate before it, a range without
//! its second half, a trailing comma: each is refused where it stands.

use crate::pattern::{NoiseKind, Pattern, Replay, Stage};
use crate::span::Span;
use crate::text::{Cursor, TextError};

/// Deepest nesting of parentheses.
const DEPTH_MAX: usize = 16;
const STEPS_MAX: f64 = 10_000.0;
const STAGE_NAMES: &str = "\
    constant, hold, ramp, step, spike, sine, diurnal, exponential, logarithmic, pause, loop, burst, \
                           noise, replay, a number or `(`";

pub(super) fn pattern(text: &str) -> Result<Pattern, TextError> {
    let mut cursor = Cursor::new(text);
    let pattern = sum(&mut cursor, DEPTH_MAX)?;
    if !cursor.at_end() {
        return Err(cursor.error("expected `,`, `*`, `+` or the end"));
    }
    if pattern.length().is_none() {
        return Err(cursor
            .error_at(0, "this has no length of its own; combine it with a stage, as in `constant 100 60s + ...`"));
    }
    Ok(pattern)
}

fn sum(cursor: &mut Cursor, depth: usize) -> Result<Pattern, TextError> {
    list(cursor, "+", depth, product, Pattern::Sum)
}

fn product(cursor: &mut Cursor, depth: usize) -> Result<Pattern, TextError> {
    let place = cursor.place();
    let product = list(cursor, "*", depth, sequence, Pattern::Product)?;
    match &product {
        Pattern::Product(parts) if parts.iter().any(|part| matches!(part, Pattern::Noise { .. })) => {
            Err(cursor.error_at(place, "noise is a share of the rest; add it with `+`"))
        }
        _ => Ok(product),
    }
}

fn sequence(cursor: &mut Cursor, depth: usize) -> Result<Pattern, TextError> {
    let start = cursor.place();
    let mut parts = vec![item(cursor, depth)?];
    if matches!(parts[0], Pattern::Stage(Stage::Hold { .. })) {
        return Err(cursor.error_at(start, "nothing to hold yet; begin with `constant RATE DURATION`"));
    }
    while cursor.eat(",") {
        let place = cursor.place();
        let part = item(cursor, depth)?;
        if part.length().is_none() {
            return Err(cursor.error_at(place, "this has no length of its own and cannot be a stage; add it with `+`"));
        }
        parts.push(part);
    }
    let alone = parts.len() == 1;
    if !alone && parts[0].length().is_none() {
        return Err(cursor.error_at(start, "this has no length of its own and cannot be a stage; add it with `+`"));
    }
    Ok(if alone { parts.remove(0) } else { Pattern::Sequence(parts) })
}

fn list(
    cursor: &mut Cursor,
    sign: &str,
    depth: usize,
    part: fn(&mut Cursor, usize) -> Result<Pattern, TextError>,
    whole: fn(Vec<Pattern>) -> Pattern,
) -> Result<Pattern, TextError> {
    let mut parts = vec![part(cursor, depth)?];
    while cursor.eat(sign) {
        parts.push(part(cursor, depth)?);
    }
    Ok(if parts.len() == 1 { parts.remove(0) } else { whole(parts) })
}

fn item(cursor: &mut Cursor, depth: usize) -> Result<Pattern, TextError> {
    if depth == 0 {
        return Err(cursor.error("nested too deep"));
    }
    if cursor.eat("(") {
        let inner = sum(cursor, depth - 1)?;
        return close(cursor, inner);
    }
    let place = cursor.place();
    let name = cursor.word();
    match name {
        "loop" => repeat(cursor, depth),
        "burst" => burst(cursor),
        "noise" => noise(cursor),
        "replay" => replay(cursor),
        _ if name.starts_with(|c: char| c.is_ascii_digit()) => match name.parse() {
            Ok(factor) => Ok(Pattern::Factor(factor)),
            Err(_) => Err(cursor.error_at(place, format!("expected {STAGE_NAMES}"))),
        },
        _ => stage(cursor, place, name).map(Pattern::Stage),
    }
}

fn close(cursor: &mut Cursor, inner: Pattern) -> Result<Pattern, TextError> {
    match cursor.eat(")") {
        true => Ok(inner),
        false => Err(cursor.error("expected `)`")),
    }
}

fn stage(cursor: &mut Cursor, place: usize, name: &str) -> Result<Stage, TextError> {
    let stage = match name {
        "constant" => Stage::Constant { rate: cursor.rate()?, length: cursor.span()? },
        "hold" => Stage::Hold { length: cursor.span()? },
        "pause" => Stage::Pause { length: cursor.span()? },
        "spike" => Stage::Spike { rate: cursor.rate()?, length: cursor.span()? },
        "ramp" => {
            let (from, to) = cursor.rate_range()?;
            Stage::Ramp { from, to, length: cursor.span()? }
        }
        "exponential" => {
            let range_place = cursor.place();
            let (from, to) = cursor.rate_range()?;
            if from <= 0.0 || to <= 0.0 {
                return Err(cursor.error_at(range_place, "an exponential cannot touch zero"));
            }
            Stage::Exponential { from, to, length: cursor.span()? }
        }
        "logarithmic" => {
            let (from, to) = cursor.rate_range()?;
            Stage::Logarithmic { from, to, length: cursor.span()? }
        }
        "step" => steps(cursor)?,
        "sine" => {
            let (low, high, length, every) = wave(cursor)?;
            Stage::Sine { low, high, length, every }
        }
        "diurnal" => {
            let (low, high, length, every) = wave(cursor)?;
            Stage::Diurnal { low, high, length, every }
        }
        _ => return Err(cursor.error_at(place, format!("expected {STAGE_NAMES}"))),
    };
    Ok(stage)
}

fn steps(cursor: &mut Cursor) -> Result<Stage, TextError> {
    let (from, to) = cursor.rate_range()?;
    if !cursor.eat("x") {
        return Err(cursor.error("expected the number of steps, such as x5"));
    }
    let place = cursor.place();
    let steps = cursor.number("the number of steps, such as x5")?;
    if steps.fract() != 0.0 || !(2.0..=STEPS_MAX).contains(&steps) {
        return Err(cursor.error_at(place, format!("steps must be a whole number from 2 to {STEPS_MAX}")));
    }
    Ok(Stage::Step { from, to, steps: steps as u32, length: cursor.span()? })
}

fn wave(cursor: &mut Cursor) -> Result<(f64, f64, Span, Span), TextError> {
    let (low, high) = cursor.rate_range()?;
    let length = cursor.span()?;
    let every = if cursor.eat_word("every") { cursor.span()? } else { length };
    Ok((low, high, length, every))
}

fn repeat(cursor: &mut Cursor, depth: usize) -> Result<Pattern, TextError> {
    let length = cursor.span()?;
    if !cursor.eat("(") {
        return Err(cursor.error("expected `(` and the pattern to repeat"));
    }
    let place = cursor.place();
    let inner = sum(cursor, depth - 1)?;
    if inner.length().is_none() {
        return Err(cursor.error_at(place, "this has no length of its own and cannot be repeated"));
    }
    let inner = close(cursor, inner)?;
    Ok(Pattern::Loop { length, inner: Box::new(inner) })
}

fn burst(cursor: &mut Cursor) -> Result<Pattern, TextError> {
    let rate = cursor.rate()?;
    let width = cursor.span()?;
    if !cursor.eat_word("every") {
        return Err(cursor.error("expected `every` and a duration, as in `burst 500 5s every 60s`"));
    }
    let place = cursor.place();
    let every = cursor.span()?;
    if every < width {
        return Err(cursor.error_at(place, "bursts would overlap"));
    }
    Ok(Pattern::Burst { rate, width, every })
}

fn noise(cursor: &mut Cursor) -> Result<Pattern, TextError> {
    let kind = if cursor.eat_word("uniform") {
        NoiseKind::Uniform
    } else {
        cursor.eat_word("normal");
        NoiseKind::Normal
    };
    let place = cursor.place();
    let percent = cursor.number("a percentage such as 5%")?;
    if !cursor.eat("%") {
        return Err(cursor.error("expected `%`"));
    }
    if percent > 100.0 {
        return Err(cursor.error_at(place, "more than 100 % of noise"));
    }
    let every = if cursor.eat_word("every") { cursor.span()? } else { Span::from_secs(1) };
    Ok(Pattern::Noise { kind, share: percent / 100.0, every })
}

fn replay(cursor: &mut Cursor) -> Result<Pattern, TextError> {
    let Some(file) = cursor.token() else {
        return Err(cursor.error("expected a file name, in double quotes if it has blanks"));
    };
    let mut replay = Replay::new(file);
    if cursor.eat_word("times") {
        replay.set_times();
    } else {
        cursor.eat_word("rates");
    }
    loop {
        let speed = cursor.eat_word("speed");
        if !speed && !cursor.eat_word("amplitude") {
            return Ok(Pattern::Replay(replay));
        }
        let place = cursor.place();
        let factor = cursor.number("a factor such as 2")?;
        if !(0.000_1..=10_000.0).contains(&factor) {
            return Err(cursor.error_at(place, "a factor must lie between 0.0001 and 10000"));
        }
        if speed { replay.speed = factor } else { replay.amplitude = factor }
    }
}
