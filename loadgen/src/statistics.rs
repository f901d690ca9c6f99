//! Whether two series of measurements differ by more than chance.
//!
//! Neighbouring seconds of a run resemble each other, so a series is first cut into blocks, each block stands for one
//! observation, and the variances are widened by what memory is left between blocks. A difference is only called one
//! when the Mann-Whitney test on the blocks says so (corrected for the number of metrics after Holm) and the
//! bootstrap interval of the difference leaves out zero.

use rayon::prelude::*;

use crate::arithmetic::Random;

const RESAMPLES: u64 = 2_000;
const BOOTSTRAP_STREAM: u64 = 0x626f_6f74;
/// Fewest blocks of a series: of five that differ entirely none would pass for five metrics at once.
pub const BLOCKS_MIN: usize = 8;
/// A short series tells little of its own memory: so many deviations of that estimate are added to it.
const MEMORY_DEVIATIONS: f64 = 1.25;
/// Deviations between the two errors of a test at 5 % and a power of 80 %.
const DETECTABLE_DEVIATIONS: f64 = 1.96 + 0.84;

/// The comparison of one metric.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Comparison {
    pub before: f64,
    pub after: f64,
    /// Of the means, `after` minus `before`, with its 95 % interval.
    pub difference: f64,
    pub interval: (f64, f64),
    /// Chance of a difference like this between equal runs.
    pub p_value: f64,
    /// Cliff's delta: -1 all lower, 0 alike, 1 all higher.
    pub effect: f64,
    /// The smallest difference that series like these would show four times out of five.
    pub detectable: f64,
    pub differs: bool,
}

/// Compares two series; an error says why it cannot be done.
pub fn compare(before: &[f64], after: &[f64], seed: u64) -> Result<Comparison, String> {
    let (before_blocks, after_blocks) = (blocks(before), blocks(after));
    let fewest = before_blocks.len().min(after_blocks.len());
    if fewest < BLOCKS_MIN {
        return Err(format!(
            "only {fewest} independent blocks of seconds, at least {BLOCKS_MIN} are needed: run longer"
        ));
    }
    let widening = widening(before, after, before.len() / before_blocks.len());
    let (p_value, effect) = mann_whitney(&before_blocks, &after_blocks, widening);
    let mut differences = bootstrap(&before_blocks, &after_blocks, widening, seed);
    differences.sort_by(f64::total_cmp);
    let at = |share: f64| differences[((differences.len() - 1) as f64 * share).round() as usize];
    let average = mean(&differences);
    let variance = differences.iter().map(|d| (d - average).powi(2)).sum::<f64>() / differences.len() as f64;
    let (before, after) = (mean(&before_blocks), mean(&after_blocks));
    let interval = (at(0.025), at(0.975));
    Ok(Comparison {
        before,
        after,
        difference: after - before,
        interval,
        p_value,
        effect,
        detectable: DETECTABLE_DEVIATIONS * variance.sqrt(),
        differs: false,
    })
}

/// Decides which of several comparisons differ, with the chance of any false one below `alpha` (Holm).
pub fn decide(comparisons: &mut [&mut Comparison], alpha: f64) {
    comparisons.sort_by(|a, b| a.p_value.total_cmp(&b.p_value));
    let count = comparisons.len();
    let mut all_so_far = true;
    for (rank, comparison) in comparisons.iter_mut().enumerate() {
        all_so_far &= comparison.p_value <= alpha / (count - rank) as f64;
        let (low, high) = comparison.interval;
        comparison.differs = all_so_far && (low > 0.0 || high < 0.0);
    }
}

/// Means of eight blocks or more; a long series has blocks of half a minute.
fn blocks(series: &[f64]) -> Vec<f64> {
    let length = (series.len() / BLOCKS_MIN).clamp(1, 30);
    series.chunks_exact(length).map(mean).collect()
}

/// How much larger the variance of a mean of blocks is than for independent blocks, when each second remembers the one
/// before it as strongly as the two series do.
fn widening(before: &[f64], after: &[f64], block: usize) -> f64 {
    let unknown = MEMORY_DEVIATIONS / ((before.len() + after.len()) as f64).sqrt();
    let memory = ((memory(before) + memory(after)) / 2.0 + unknown).clamp(0.0, 0.95);
    let kept = 1.0 - memory.powi(block as i32);
    let between = memory * kept * kept / (block as f64 * (1.0 - memory * memory) - 2.0 * memory * kept).max(1e-9);
    (1.0 + between.min(0.9)) / (1.0 - between.min(0.9))
}

/// Correlation of each second with the next, with the bias of short series taken out.
fn memory(series: &[f64]) -> f64 {
    let (average, n) = (mean(series), series.len() as f64);
    let variance: f64 = series.iter().map(|value| (value - average).powi(2)).sum();
    let covariance: f64 = series.windows(2).map(|pair| (pair[0] - average) * (pair[1] - average)).sum();
    if variance <= 0.0 {
        return 0.0;
    }
    let correlation = covariance / variance;
    correlation + (1.0 + 4.0 * correlation) / n
}

/// Two-sided p-value (normal approximation with correction for ties and continuity) and Cliff's delta.
fn mann_whitney(before: &[f64], after: &[f64], widening: f64) -> (f64, f64) {
    let (n, m) = (before.len() as f64, after.len() as f64);
    let mut wins = 0.0;
    for b in before {
        for a in after {
            wins += if a > b {
                1.0
            } else if a == b {
                0.5
            } else {
                0.0
            };
        }
    }
    let mut all: Vec<f64> = before.iter().chain(after).copied().collect();
    all.sort_by(f64::total_cmp);
    let ties: f64 = all.chunk_by(|a, b| a == b).map(|tied| (tied.len() as f64).powi(3) - tied.len() as f64).sum();
    let total = n + m;
    let variance = widening * n * m / 12.0 * (total + 1.0 - ties / (total * (total - 1.0)));
    let effect = 2.0 * wins / (n * m) - 1.0;
    if variance <= 0.0 {
        return (1.0, effect);
    }
    let deviations = ((wins - n * m / 2.0).abs() - 0.5).max(0.0) / variance.sqrt();
    (2.0 * upper_tail(deviations), effect)
}

/// Differences of the means of resampled blocks, spread as far as so few and not quite independent blocks demand.
fn bootstrap(before: &[f64], after: &[f64], widening: f64, seed: u64) -> Vec<f64> {
    let fewest = before.len().min(after.len()) as f64;
    let spread = (widening * fewest / (fewest - 1.0)).sqrt();
    let difference = mean(after) - mean(before);
    let resampled_mean = |values: &[f64], random: &mut Random| {
        let draw = |random: &mut Random| values[random.between(0, values.len() as u64 - 1) as usize];
        (0..values.len()).map(|_| draw(random)).sum::<f64>() / values.len() as f64
    };
    let resample = |index: u64| {
        let mut random = Random::new(seed ^ index, BOOTSTRAP_STREAM);
        let resampled = resampled_mean(after, &mut random) - resampled_mean(before, &mut random);
        difference + spread * (resampled - difference)
    };
    (0..RESAMPLES).into_par_iter().map(resample).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Chance that a normal value lies above so many deviations (Abramowitz and Stegun 26.2.17, error below 1e-7).
fn upper_tail(deviations: f64) -> f64 {
    const B: [f64; 5] = [0.319_381_530, -0.356_563_782, 1.781_477_937, -1.821_255_978, 1.330_274_429];
    let t = 1.0 / (1.0 + 0.231_641_9 * deviations);
    let series = B.iter().rev().fold(0.0, |sum, b| (sum + b) * t);
    (-deviations * deviations / 2.0).exp() / std::f64::consts::TAU.sqrt() * series
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds whose logarithms follow an autoregressive process: bursts, a long tail and memory, as real ones have.
    fn seconds(count: usize, scale: f64, random: &mut Random) -> Vec<f64> {
        let mut state = random.normal();
        let mut next = || {
            state = 0.5 * state + 0.75f64.sqrt() * random.normal();
            scale * (0.3 * state).exp()
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn equal_runs_are_called_different_in_less_than_one_case_in_twenty() {
        let mut random = Random::new(11, 0);
        let (pairs, metrics) = (300, 3);
        for length in [8, 10, 16, 31, 60, 200] {
            let mut false_alarms = 0;
            for pair in 0..pairs {
                let mut run = || seconds(length, 10.0, &mut random);
                let mut all: Vec<Comparison> = (0..metrics).map(|_| compare(&run(), &run(), pair).unwrap()).collect();
                decide(&mut all.iter_mut().collect::<Vec<_>>(), 0.05);
                false_alarms += all.iter().any(|comparison| comparison.differs) as u32;
            }
            assert!(f64::from(false_alarms) < 0.05 * pairs as f64, "{false_alarms} of {pairs} runs of {length} s");
        }
    }

    #[test]
    fn runs_of_any_length_that_differ_entirely_are_told_apart() {
        for length in 8..60 {
            let run = |scale: f64| (0..length).map(|second| scale + (second * 7 % 5) as f64).collect::<Vec<_>>();
            let mut metrics: Vec<Comparison> =
                [20.0, 10.0, 10.0, 10.0, 10.0].map(|scale| compare(&run(10.0), &run(scale), 1).unwrap()).into();
            decide(&mut metrics.iter_mut().collect::<Vec<_>>(), 0.05);
            assert!(metrics[0].differs && !metrics[1].differs, "{length} s: {:?}", metrics[0]);
        }
    }

    #[test]
    fn a_difference_above_the_detectable_one_is_mostly_found() {
        let mut random = Random::new(12, 0);
        let mut found = 0;
        for pair in 0..50 {
            let (before, after) = (seconds(60, 10.0, &mut random), seconds(60, 18.0, &mut random));
            let mut comparison = compare(&before, &after, pair).unwrap();
            assert!(comparison.detectable < 9.0, "{comparison:?}");
            decide(&mut [&mut comparison], 0.05);
            found += comparison.differs as u32;
        }
        assert!(found >= 40, "{found} of 50");
    }

    #[test]
    fn series_that_are_too_short_are_refused() {
        assert!(compare(&[1.0; 4], &[1.0; 100], 1).unwrap_err().contains("run longer"));
    }

    #[test]
    fn known_values_of_the_test_come_out() {
        // All of one series below the other: U is 0 and n = m = 5 gives p about 0.012 with the continuity correction.
        let (p, effect) = mann_whitney(&[1.0, 2.0, 3.0, 4.0, 5.0], &[6.0, 7.0, 8.0, 9.0, 10.0], 1.0);
        assert!((p - 0.0122).abs() < 0.0002 && effect == 1.0, "{p} {effect}");
        let (p, effect) = mann_whitney(&[1.0; 5], &[1.0; 5], 1.0);
        assert_eq!((p, effect), (1.0, 0.0));
        assert!((upper_tail(1.96) - 0.025).abs() < 1e-4);
    }
}
