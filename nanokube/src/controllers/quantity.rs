//! Resource quantities ("250m", "64Mi", "1e3") as whole thousandths, rounded up, which is all that accounting needs.

use serde_json::Value;

/// The quantity in thousandths of its unit, rounded away from zero; None if it is not a quantity or out of range.
pub fn milli(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => parse_milli(text),
        Value::Number(number) => parse_milli(&number.to_string()),
        _ => None,
    }
}

fn parse_milli(text: &str) -> Option<i64> {
    let text = text.trim();
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let end = digits.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(digits.len());
    let (number, suffix) = digits.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || fraction.len() > 18 || whole.len() > 18 {
        return None;
    }
    let mantissa: i128 = format!("0{whole}{fraction}").parse().ok()?;
    let (times, per) = scale(suffix)?;
    let per = per.checked_mul(10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?)?;
    let thousandths = mantissa.checked_mul(times)?.checked_mul(1000)?;
    let rounded = thousandths.checked_add(per - 1)? / per;
    i64::try_from(if negative { -rounded } else { rounded }).ok()
}

/// A suffix as a fraction: times this, per that.
fn scale(suffix: &str) -> Option<(i128, i128)> {
    let ten = |exponent: u32| 10_i128.checked_pow(exponent);
    Some(match suffix {
        "" => (1, 1),
        "n" => (1, ten(9)?),
        "u" => (1, ten(6)?),
        "m" => (1, ten(3)?),
        "k" => (ten(3)?, 1),
        "M" => (ten(6)?, 1),
        "G" => (ten(9)?, 1),
        "T" => (ten(12)?, 1),
        "P" => (ten(15)?, 1),
        "E" => (ten(18)?, 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        exponent => {
            let exponent: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            let magnitude = ten(exponent.unsigned_abs().min(18))?;
            if exponent < 0 { (1, magnitude) } else { (magnitude, 1) }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_in_thousandths_rounded_up() {
        let cases = [
            ("250m", Some(250)),
            ("0.5", Some(500)),
            ("2", Some(2_000)),
            ("1n", Some(1)),
            ("64Mi", Some(64 * 1024 * 1024 * 1000)),
            ("1k", Some(1_000_000)),
            ("1e3", Some(1_000_000)),
            ("-1.5", Some(-1_500)),
            (".5", Some(500)),
            ("", None),
            ("m", None),
            ("1.2.3", None),
            ("12 Mi", None),
            ("9Ei", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_milli(text), expected, "{text:?}");
        }
    }
}
