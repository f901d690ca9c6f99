//! Logarithm, sine and random numbers from IEEE basic operations only.
//!
//! The C library's `ln` and `sin` may differ in the last bit between machines, and one bit is enough to move an arrival
//! by a nanosecond. Everything that shapes a schedule goes through here, so one seed is one schedule everywhere.

/// Natural logarithm of a positive, finite number.
pub fn ln(x: f64) -> f64 {
    debug_assert!(x > 0.0 && x.is_finite());
    let bits = x.to_bits();
    let mut exponent = ((bits >> 52) & 0x7ff) as i64 - 1023;
    let mut mantissa = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) | (1023 << 52));
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa /= 2.0;
        exponent += 1;
    }
    // ln(m) = 2 atanh((m-1)/(m+1)), and |z| <= 0.1716 here, so eleven terms reach the last bit.
    let z = (mantissa - 1.0) / (mantissa + 1.0);
    let square = z * z;
    let series = (0..11).rev().fold(0.0, |sum, k| sum * square + 1.0 / (2 * k + 1) as f64);
    exponent as f64 * std::f64::consts::LN_2 + 2.0 * z * series
}

/// `base` raised to a fraction between 0 and 1, for a positive base.
pub fn power(base: f64, exponent: f64) -> f64 {
    exp(ln(base) * exponent)
}

/// e to the x, for |x| below 700.
pub fn exp(x: f64) -> f64 {
    let halvings = (x / std::f64::consts::LN_2).round();
    let rest = x - halvings * std::f64::consts::LN_2;
    let series = (1..18).rev().fold(1.0, |sum, k| 1.0 + sum * rest / k as f64);
    let scale = f64::from_bits(((1023 + halvings.clamp(-1022.0, 1023.0) as i64) as u64) << 52);
    series * scale
}

/// Cosine of a full turn times `turns`: 1 at 0, -1 at one half, 1 at 1.
pub fn cosine_of_turns(turns: f64) -> f64 {
    let fraction = turns - turns.floor();
    // Fold into a quarter turn, where the series converges fast.
    let (quarter, sign) = match fraction {
        f if f <= 0.25 => (f, 1.0),
        f if f <= 0.5 => (0.5 - f, -1.0),
        f if f <= 0.75 => (f - 0.5, -1.0),
        f => (1.0 - f, 1.0),
    };
    let square = (quarter * std::f64::consts::TAU) * (quarter * std::f64::consts::TAU);
    let series = (1..12).rev().fold(1.0, |sum, k| 1.0 - sum * square / ((2 * k - 1) * (2 * k)) as f64);
    sign * series
}

/// A small random generator (SplitMix64): the state is a counter, so any draw can be reached directly.
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
}

impl Random {
    /// A generator for one purpose: two streams of the same seed are unrelated.
    pub fn new(seed: u64, stream: u64) -> Self {
        Self { state: mix(seed ^ mix(stream.wrapping_add(0x5851_f42d_4c95_7f2d))) }
    }

    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// Uniform in (0, 1]: never zero, so its logarithm exists.
    pub fn unit(&mut self) -> f64 {
        ((self.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + ((self.next_u64() as u128 * (high - low + 1) as u128) >> 64) as u64
    }

    /// Exponential with mean 1.
    pub fn exponential(&mut self) -> f64 {
        -ln(self.unit())
    }

    /// Close to normal with mean 0 and deviation 1 (a sum of twelve uniforms).
    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

/// Spreads 64 bits so that neighbouring inputs give unrelated outputs.
pub fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithm_exponential_and_cosine_agree_with_the_library() {
        for i in 1..10_000 {
            let x = i as f64 * 0.013;
            assert!((ln(x) - x.ln()).abs() < 1e-14 * x.ln().abs().max(1.0), "ln {x}");
            let turns = i as f64 * 0.000_37;
            assert!((cosine_of_turns(turns) - (turns * std::f64::consts::TAU).cos()).abs() < 1e-11, "cos {turns}");
            let y = (i as f64 - 5000.0) / 300.0;
            assert!((exp(y) / y.exp() - 1.0).abs() < 1e-12, "exp {y}");
        }
    }

    #[test]
    fn exponential_and_normal_draws_have_their_moments() {
        let mut random = Random::new(7, 1);
        let draws = 100_000;
        let mean = (0..draws).map(|_| random.exponential()).sum::<f64>() / draws as f64;
        assert!((mean - 1.0).abs() < 0.02, "{mean}");
        let variance = (0..draws).map(|_| random.normal().powi(2)).sum::<f64>() / draws as f64;
        assert!((variance - 1.0).abs() < 0.02, "{variance}");
    }
}
