//! Quantities: `250m`, `1.5Gi`, `2e3`.
//!
//! Parses and prints exactly what the API machinery does: the same forms, the same error texts, the same canonical
//! string (no fraction, the largest suffix that loses nothing), decimals of any length, nothing finer than a billionth
//! (rounded away from zero), binary suffixes capped at 2^63-1. Never a float inside; equality is by value, so `1000m`
//! equals `1`.

mod decimal;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::fmt;

use decimal::Decimal;

#[derive(Clone, Debug)]
pub struct Quantity {
    amount: Amount,
    format: Format,
}

/// The family of suffixes that a quantity was written with, and is printed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    DecimalSi,
    BinarySi,
    DecimalExponent,
}

/// Short numbers keep mantissa and scale as written: the float form of a tolerance depends on them.
#[derive(Clone, Debug)]
enum Amount {
    Short { mantissa: i64, scale: i32 },
    Long(Decimal),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseQuantityError {
    Format,
    Numeric,
    Suffix,
}

const NANO_SCALE: i32 = -9;
/// Digits that surely fit 64 bits.
const SHORT_DIGITS_MAX: i32 = 18;

/// Beyond this an exponent is refused; upstream goes on to where its 32 bits wrap.
const EXPONENT_MAX: i32 = 1_000_000_000;

const DECIMAL_SUFFIXES: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
const BINARY_SUFFIXES: [(&str, u32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];

impl Quantity {
    pub fn parse(text: &str) -> Result<Quantity, ParseQuantityError> {
        if text.is_empty() {
            return Err(ParseQuantityError::Format);
        }
        let parts = split(text)?;
        let suffix = interpret(parts.suffix).ok_or(ParseQuantityError::Suffix)?;
        match short(&parts, suffix)? {
            Some(quantity) => Ok(quantity),
            None => long(&parts, suffix),
        }
    }

    /// A count of thousandths.
    pub fn from_milli(milli: i64, format: Format) -> Quantity {
        Quantity { amount: Amount::Short { mantissa: milli, scale: -3 }, format }
    }

    /// Whole thousandths, rounded away from zero. Out of range it is what Go's arithmetic leaves: 0, or the low 64
    /// bits.
    pub fn milli(&self) -> i64 {
        match &self.amount {
            Amount::Short { mantissa, scale } => scale_short(*mantissa, *scale, -3),
            Amount::Long(decimal) => decimal.low_64_bits_at(-3),
        }
    }

    /// Whole units, rounded away from zero, with the same limits as [`Quantity::milli`].
    pub fn units(&self) -> i64 {
        match &self.amount {
            Amount::Short { mantissa, scale } => scale_short(*mantissa, *scale, 0),
            Amount::Long(decimal) => decimal.low_64_bits_at(0),
        }
    }

    /// Billionths, saturating.
    pub fn nano(&self) -> i128 {
        self.decimal().saturating_at(NANO_SCALE)
    }

    /// Mantissa times a power of ten in one multiplication, as written: 0.3 is 3 x 0.1, while 300m is 300 x 0.001.
    pub fn approximate_f64(&self) -> f64 {
        let (base, exponent) = match &self.amount {
            Amount::Short { mantissa, scale } => (*mantissa as f64, *scale),
            Amount::Long(decimal) => (decimal.mantissa_f64(), decimal.exponent),
        };
        if exponent == 0 { base } else { base * power_of_ten(exponent) }
    }

    /// -1, 0 or 1.
    pub fn sign(&self) -> i32 {
        match &self.amount {
            Amount::Short { mantissa, .. } => mantissa.signum() as i32,
            Amount::Long(decimal) => decimal.sign(),
        }
    }

    pub fn is_zero(&self) -> bool {
        self.sign() == 0
    }

    pub fn format(&self) -> Format {
        self.format
    }

    fn decimal(&self) -> Decimal {
        match &self.amount {
            Amount::Short { mantissa, scale } => Decimal::from_i64(*mantissa, *scale),
            Amount::Long(decimal) => decimal.clone(),
        }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Quantity) -> bool {
        self.partial_cmp(other) == Some(Ordering::Equal)
    }
}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Quantity) -> Option<Ordering> {
        if let (Amount::Short { mantissa: a, scale: s }, Amount::Short { mantissa: b, scale: t }) =
            (&self.amount, &other.amount)
            && s == t
        {
            return Some(a.cmp(b));
        }
        Some(self.decimal().compare(&other.decimal()))
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut value = self.decimal();
        if value.sign() == 0 {
            return f.write_str("0");
        }
        if self.format == Format::BinarySi
            && let Some((number, suffix)) = binary_form(&value)
        {
            return write!(f, "{number}{suffix}");
        }
        value.strip_zeros();
        value.align_to_thousands();
        let exponent = value.exponent;
        let si = DECIMAL_SUFFIXES.iter().find(|(_, e)| *e == exponent);
        write!(f, "{value}")?;
        match si {
            // A quantity that is binary but cannot be printed so without loss falls back to decimal suffixes.
            Some((suffix, _)) if self.format != Format::DecimalExponent => f.write_str(suffix),
            _ if exponent == 0 => Ok(()),
            _ => write!(f, "e{exponent}"),
        }
    }
}

impl fmt::Display for ParseQuantityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ParseQuantityError::Format => {
                "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
            }
            ParseQuantityError::Numeric => "unable to parse numeric part of quantity",
            ParseQuantityError::Suffix => "unable to parse quantity's suffix",
        })
    }
}

impl std::error::Error for ParseQuantityError {}

impl std::str::FromStr for Quantity {
    type Err = ParseQuantityError;
    fn from_str(text: &str) -> Result<Quantity, ParseQuantityError> {
        Quantity::parse(text)
    }
}

struct Parts<'a> {
    negative: bool,
    /// Whole digits without leading zeros.
    whole: &'a str,
    fraction: &'a str,
    suffix: &'a str,
    /// Whether there was any digit, be it a leading zero.
    has_digits: bool,
}

/// Upstream's scanner is looser than its regular expression: a missing number reads as zero.
fn split(text: &str) -> Result<Parts<'_>, ParseQuantityError> {
    let negative = text.starts_with('-');
    let rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    let unsigned = rest;
    let rest = rest.trim_start_matches('0');
    let (whole, rest) = rest.split_at(digits_at(rest));
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(digits_at(rest)),
        None => ("", rest),
    };
    let letters = rest.find(|c| !"eEinumkKMGTP".contains(c)).unwrap_or(rest.len());
    let after = &rest[letters..];
    let after = after.strip_prefix(['-', '+']).unwrap_or(after);
    if digits_at(after) != after.len() {
        return Err(ParseQuantityError::Format);
    }
    let has_digits = unsigned[..unsigned.len() - rest.len()].contains(|c: char| c.is_ascii_digit());
    Ok(Parts { negative, whole, fraction, suffix: rest, has_digits })
}

fn digits_at(text: &str) -> usize {
    text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len())
}

#[derive(Clone, Copy)]
enum Suffix {
    Decimal(i32),
    Exponent(i32),
    Binary(u32),
}

fn interpret(suffix: &str) -> Option<Suffix> {
    if let Some(&(_, exponent)) = DECIMAL_SUFFIXES.iter().find(|(s, _)| *s == suffix) {
        return Some(Suffix::Decimal(exponent));
    }
    if let Some(&(_, exponent)) = BINARY_SUFFIXES.iter().find(|(s, _)| *s == suffix) {
        return Some(Suffix::Binary(exponent));
    }
    let digits = suffix.strip_prefix(['e', 'E'])?;
    let exponent = digits.parse::<i32>().ok().filter(|e| (-EXPONENT_MAX..=EXPONENT_MAX).contains(e))?;
    Some(Suffix::Exponent(exponent))
}

/// The form that fits 64 bits, where the number of digits promises that it does.
fn short(parts: &Parts<'_>, suffix: Suffix) -> Result<Option<Quantity>, ParseQuantityError> {
    // A missing whole part was read as the digit 0, and counts as one.
    let whole_digits = parts.whole.len().max(1) as i32;
    let fraction_digits = parts.fraction.len() as i32;
    let (format, exponent, multiplier, fits) = match suffix {
        Suffix::Decimal(e) => (Format::DecimalSi, e, 1, whole_digits + fraction_digits <= SHORT_DIGITS_MAX),
        Suffix::Exponent(e) => (Format::DecimalExponent, e, 1, whole_digits + fraction_digits <= SHORT_DIGITS_MAX),
        Suffix::Binary(e) => {
            let digits_max = 15 - (e as f32 * 3.0 / 10.0) as i32 - 1;
            (Format::BinarySi, 0, 1i64 << e, parts.fraction.is_empty() && whole_digits <= digits_max)
        }
    };
    let scale = i64::from(exponent) - i64::from(fraction_digits);
    if !fits || scale < i64::from(NANO_SCALE) {
        return Ok(None);
    }
    let digits = format!("0{}{}", parts.whole, parts.fraction);
    let value = digits.parse::<i64>().map_err(|_| ParseQuantityError::Numeric)?;
    let Some(value) = value.checked_mul(multiplier) else { return Ok(None) };
    let mantissa = if parts.negative { -value } else { value };
    Ok(Some(Quantity { amount: Amount::Short { mantissa, scale: scale as i32 }, format }))
}

fn long(parts: &Parts<'_>, suffix: Suffix) -> Result<Quantity, ParseQuantityError> {
    if !parts.has_digits {
        return Err(ParseQuantityError::Numeric);
    }
    let fraction_digits = parts.fraction.len() as i64;
    let (mut format, exponent) = match suffix {
        Suffix::Decimal(e) => (Format::DecimalSi, i64::from(e)),
        Suffix::Exponent(e) => (Format::DecimalExponent, i64::from(e)),
        Suffix::Binary(_) => (Format::BinarySi, 0),
    };
    let exponent = (exponent - fraction_digits).clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32;
    let mut value = Decimal::from_digits(parts.negative, &[parts.whole, parts.fraction], exponent);
    if let Suffix::Binary(e) = suffix {
        value.multiply_by_power_of_two(e);
    }
    value.round_away_from_zero_at(NANO_SCALE);
    if format == Format::BinarySi {
        value.cap_magnitude(i64::MAX);
        if value.sign() > 0 && value.compare(&Decimal::from_i64(1, 0)) == Ordering::Less {
            format = Format::DecimalSi;
        }
    }
    Ok(Quantity { amount: Amount::Long(value), format })
}

/// A whole number of at least 1024 in magnitude, with its factors of 1024 as a suffix.
fn binary_form(value: &Decimal) -> Option<(i64, &'static str)> {
    let mut number = value.exact_i64()?;
    if number.unsigned_abs() < 1024 {
        return None;
    }
    let mut suffix = "";
    for (name, _) in BINARY_SUFFIXES {
        if number % 1024 != 0 {
            break;
        }
        number /= 1024;
        suffix = name;
    }
    Some((number, suffix))
}

fn scale_short(mantissa: i64, scale: i32, wanted: i32) -> i64 {
    if mantissa == 0 {
        return 0;
    }
    let distance = i64::from(scale) - i64::from(wanted);
    if distance >= 0 {
        let factor = u32::try_from(distance).ok().and_then(|d| 10i64.checked_pow(d));
        return factor.and_then(|f| mantissa.checked_mul(f)).unwrap_or(0);
    }
    let Some(divisor) = u32::try_from(-distance).ok().and_then(|d| 10i64.checked_pow(d)) else {
        return mantissa.signum();
    };
    let whole = mantissa / divisor;
    if mantissa % divisor == 0 { whole } else { whole + mantissa.signum() }
}

fn power_of_ten(exponent: i32) -> f64 {
    // Parsing rounds correctly, which repeated multiplication does not.
    format!("1e{exponent}").parse().unwrap_or(f64::NAN)
}
