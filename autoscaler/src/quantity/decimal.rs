//! A decimal number of any length: sign, digits, power of ten. Just the operations that quantities need.

use std::cmp::Ordering;
use std::fmt;

#[derive(Clone, Debug)]
pub(super) struct Decimal {
    negative: bool,
    /// Values 0 to 9, most significant first, no leading zero; empty is zero.
    digits: Vec<u8>,
    pub(super) exponent: i32,
}

impl Decimal {
    pub(super) fn from_i64(value: i64, exponent: i32) -> Decimal {
        let text = value.unsigned_abs().to_string();
        Decimal::from_digits(value < 0, &[&text], exponent)
    }

    pub(super) fn from_digits(negative: bool, parts: &[&str], exponent: i32) -> Decimal {
        let digits: Vec<u8> = parts.iter().flat_map(|p| p.bytes()).map(|b| b - b'0').skip_while(|&d| d == 0).collect();
        Decimal { negative: negative && !digits.is_empty(), digits, exponent }
    }

    pub(super) fn sign(&self) -> i32 {
        match (self.digits.is_empty(), self.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        }
    }

    pub(super) fn multiply_by_power_of_two(&mut self, power: u32) {
        for _ in 0..power {
            let mut carry = 0;
            for digit in self.digits.iter_mut().rev() {
                let doubled = *digit * 2 + carry;
                *digit = doubled % 10;
                carry = doubled / 10;
            }
            if carry > 0 {
                self.digits.insert(0, carry);
            }
        }
    }

    /// Drops what is finer than 10^`exponent`, adding one to the last place if that was not nothing.
    pub(super) fn round_away_from_zero_at(&mut self, exponent: i32) {
        if self.cut_at(exponent) {
            self.increment();
        }
    }

    /// Drops what is finer than 10^`exponent`, and says whether that was anything.
    fn cut_at(&mut self, exponent: i32) -> bool {
        if self.digits.is_empty() || self.exponent >= exponent {
            return false;
        }
        let dropped = (i64::from(exponent) - i64::from(self.exponent)) as usize;
        let kept = self.digits.len().saturating_sub(dropped);
        let lost = self.digits[kept..].iter().any(|&d| d != 0);
        self.digits.truncate(kept);
        self.exponent = exponent;
        lost
    }

    fn increment(&mut self) {
        for digit in self.digits.iter_mut().rev() {
            if *digit < 9 {
                *digit += 1;
                return;
            }
            *digit = 0;
        }
        self.digits.insert(0, 1);
    }

    pub(super) fn cap_magnitude(&mut self, max: i64) {
        let cap = Decimal::from_i64(max, 0);
        if self.compare_magnitude(&cap) == Ordering::Greater {
            *self = Decimal { negative: self.negative, ..cap };
        }
    }

    pub(super) fn compare(&self, other: &Decimal) -> Ordering {
        match self.sign().cmp(&other.sign()) {
            Ordering::Equal if self.negative => other.compare_magnitude(self),
            Ordering::Equal => self.compare_magnitude(other),
            unequal => unequal,
        }
    }

    fn compare_magnitude(&self, other: &Decimal) -> Ordering {
        if self.digits.is_empty() || other.digits.is_empty() {
            return self.digits.len().cmp(&other.digits.len());
        }
        let top = |d: &Decimal| d.digits.len() as i64 + i64::from(d.exponent);
        top(self).cmp(&top(other)).then_with(|| {
            let significant = |d: &Decimal| d.digits.len() - d.digits.iter().rev().take_while(|&&x| x == 0).count();
            self.digits[..significant(self)].cmp(&other.digits[..significant(other)])
        })
    }

    pub(super) fn strip_zeros(&mut self) {
        while self.digits.last() == Some(&0) {
            self.digits.pop();
            self.exponent = self.exponent.saturating_add(1);
        }
    }

    /// Makes the exponent a multiple of three by lowering it.
    pub(super) fn align_to_thousands(&mut self) {
        for _ in 0..self.exponent.rem_euclid(3) {
            self.digits.push(0);
            self.exponent = self.exponent.saturating_sub(1);
        }
    }

    /// The integer at 10^`exponent`, cut to its low 64 bits in two's complement. A positive fraction is rounded up. So is
    /// a negative one, to which upstream adds one even after cutting it off, where billionths fit 64 bits: -1.5 is 0.
    pub(super) fn low_64_bits_at(&self, exponent: i32) -> i64 {
        let mut rounded = self.clone();
        let lost = rounded.cut_at(exponent);
        let one_up = if self.negative { lost && self.fits_64_bits_in_billionths() } else { lost };
        let mut bits = rounded.digits.iter().fold(0i64, |n, &d| n.wrapping_mul(10).wrapping_add(i64::from(d)));
        // Ten has one factor of two, so 64 of them leave no low bits at all.
        let zeros = (i64::from(rounded.exponent) - i64::from(exponent)).clamp(0, 64);
        for _ in 0..zeros {
            bits = bits.wrapping_mul(10);
        }
        let bits = if self.negative { bits.wrapping_neg() } else { bits };
        bits.wrapping_add(i64::from(one_up))
    }

    fn fits_64_bits_in_billionths(&self) -> bool {
        self.compare_magnitude(&Decimal::from_i64(i64::MAX, -9)) == Ordering::Less
    }

    pub(super) fn saturating_at(&self, exponent: i32) -> i128 {
        let mut rounded = self.clone();
        rounded.round_away_from_zero_at(exponent);
        let limit = if self.negative { i128::MIN } else { i128::MAX };
        let sign = if self.negative { -1 } else { 1 };
        let zeros = i64::from(rounded.exponent) - i64::from(exponent);
        if rounded.digits.is_empty() {
            return 0;
        }
        if zeros > 38 {
            return limit;
        }
        let zeros = std::iter::repeat_n(&0u8, usize::try_from(zeros).unwrap_or(0));
        let value = rounded
            .digits
            .iter()
            .chain(zeros)
            .try_fold(0i128, |n, &d| n.checked_mul(10).and_then(|n| n.checked_add(sign * i128::from(d))));
        value.unwrap_or(limit)
    }

    /// The value, if it is whole and fits.
    pub(super) fn exact_i64(&self) -> Option<i64> {
        let mut stripped = self.clone();
        stripped.strip_zeros();
        if stripped.exponent < 0 {
            return None;
        }
        i64::try_from(stripped.saturating_at(0)).ok()
    }

    pub(super) fn mantissa_f64(&self) -> f64 {
        self.to_string().parse().unwrap_or(f64::NAN)
    }
}

/// The mantissa: digits and sign, without the exponent.
impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.negative {
            f.write_str("-")?;
        }
        if self.digits.is_empty() {
            return f.write_str("0");
        }
        for digit in &self.digits {
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}
