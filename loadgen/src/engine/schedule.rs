//! When each request is planned: arrivals along a curve, the same for one seed on any number of shards.
//!
//! Arrivals are drawn in a time in which the rate is one, and mapped to real time through the curve; that makes a
//! Poisson process non-homogeneous without thinning away a single draw. Each shard walks the whole schedule and keeps
//! every n-th arrival, so the union over the shards, of one generator or of several, is the schedule whatever their
//! number.

use std::sync::Arc;

use crate::arithmetic::Random;
use crate::curve::Curve;
use crate::load::{Arrivals, Load};
use crate::part::Part;
use crate::pattern::{Pattern, ReplayKind};

const ARRIVAL_STREAM: u64 = 0x6172_7269;
/// Mean arrivals of one burst.
const BURST_ARRIVALS: f64 = 50.0;

/// A planned request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Position in the whole schedule.
    pub index: u64,
    /// Since the start of the run.
    pub at_ns: u64,
}

/// Which of all arrivals are a shard's: the part of its generator, and in that its turn.
#[derive(Debug, Clone, Copy)]
pub struct Turn {
    pub part: Part,
    pub shard: u32,
    pub shards: u32,
}

/// The arrivals of one shard, in order.
#[derive(Debug, Clone)]
pub struct Schedule {
    source: Source,
    index: u64,
    turn: Turn,
}

#[derive(Debug, Clone)]
enum Source {
    Curve { curve: Arc<Curve>, piece: usize, total: f64, count: f64, process: Process },
    Times { times: Arc<Vec<f64>>, at: usize, speed: f64, amplitude: f64, owed: f64 },
}

#[derive(Debug, Clone)]
enum Process {
    Even,
    Poisson(Random),
    Bursts { random: Random, in_burst: bool, left: f64, burst_rate: f64, calm_rate: f64 },
}

impl Schedule {
    pub fn new(load: &Load, curve: &Arc<Curve>, turn: Turn) -> Self {
        let source = match &load.pattern {
            Some(Pattern::Replay(replay)) if matches!(replay.kind, ReplayKind::Times(_)) => {
                let ReplayKind::Times(times) = &replay.kind else { unreachable!() };
                let times = Arc::new(times.clone());
                Source::Times { times, at: 0, speed: replay.speed, amplitude: replay.amplitude, owed: 0.0 }
            }
            _ => Source::Curve {
                curve: curve.clone(),
                piece: 0,
                total: curve.arrivals(),
                count: 0.0,
                process: Process::new(load.arrivals, load.seed),
            },
        };
        Self { source, index: 0, turn }
    }

    fn next_of_all(&mut self) -> Option<u64> {
        match &mut self.source {
            Source::Curve { curve, piece, total, count, process } => {
                let at = process.advance(count, self.index);
                // The last bit of the integral must not add an arrival at the very end.
                if at >= *total - 1e-6 {
                    return None;
                }
                let moment_s = curve.moment_of(at, piece)?;
                Some((moment_s * 1e9).round() as u64)
            }
            Source::Times { times, at, speed, amplitude, owed } => loop {
                if *owed >= 1.0 - 1e-9 {
                    *owed -= 1.0;
                    return Some((times[*at - 1] / *speed * 1e9).round() as u64);
                }
                if *at == times.len() {
                    return None;
                }
                *at += 1;
                *owed += *amplitude;
            },
        }
    }
}

impl Iterator for Schedule {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        loop {
            let at_ns = self.next_of_all()?;
            let index = self.index;
            self.index += 1;
            if self.turn.is_mine(index) {
                return Some(Arrival { index, at_ns });
            }
        }
    }
}

impl Turn {
    #[inline]
    fn is_mine(&self, index: u64) -> bool {
        let parts = self.part.of as u64;
        index % parts == self.part.index as u64 && index / parts % self.shards as u64 == self.shard as u64
    }
}

impl Process {
    fn new(arrivals: Arrivals, seed: u64) -> Self {
        let random = Random::new(seed, ARRIVAL_STREAM);
        match arrivals {
            Arrivals::Even => Process::Even,
            Arrivals::Poisson => Process::Poisson(random),
            // Half of the arrivals come in bursts, which take up 1 / (2 factor) of the time.
            Arrivals::Bursts { factor } => Process::Bursts {
                random,
                in_burst: false,
                left: 0.0,
                burst_rate: factor,
                calm_rate: 0.5 / (1.0 - 0.5 / factor),
            },
        }
    }

    /// The next arrival in the time in which the rate is one; `count` is the last one.
    fn advance(&mut self, count: &mut f64, index: u64) -> f64 {
        match self {
            Process::Even => *count = index as f64,
            Process::Poisson(random) => *count += random.exponential(),
            Process::Bursts { random, in_burst, left, burst_rate, calm_rate } => {
                let mut work = random.exponential();
                loop {
                    let rate = if *in_burst { *burst_rate } else { *calm_rate };
                    if work <= *left * rate {
                        *count += work / rate;
                        *left -= work / rate;
                        break;
                    }
                    work -= *left * rate;
                    *count += *left;
                    *in_burst = !*in_burst;
                    let next_rate = if *in_burst { *burst_rate } else { *calm_rate };
                    *left = random.exponential() * BURST_ARRIVALS / next_rate;
                }
            }
        }
        *count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(pattern: &str, arrivals: &str) -> Load {
        let pattern = Some(pattern.parse().unwrap());
        Load { pattern, arrivals: arrivals.parse().unwrap(), seed: 42, ..Load::default() }
    }

    fn schedule(load: &Load, shards: u32) -> Vec<Arrival> {
        schedule_of(load, &[shards])
    }

    /// Of several generators, each with so many shards.
    fn schedule_of(load: &Load, generators: &[u32]) -> Vec<Arrival> {
        let curve = Arc::new(Curve::new(load.pattern.as_ref().unwrap(), load.seed).unwrap());
        let mut all = Vec::new();
        for (index, shards) in generators.iter().enumerate() {
            let part = Part { index: index as u32, of: generators.len() as u32 };
            for shard in 0..*shards {
                all.extend(Schedule::new(load, &curve, Turn { part, shard, shards: *shards }));
            }
        }
        all.sort_by_key(|arrival| arrival.index);
        all
    }

    #[test]
    fn even_arrivals_are_equally_far_apart_and_exactly_as_many_as_planned() {
        let arrivals = schedule(&load("constant 100 10s", "even"), 1);
        assert_eq!(arrivals.len(), 1000);
        assert!(arrivals.windows(2).all(|pair| pair[1].at_ns - pair[0].at_ns == 10_000_000));
        assert_eq!(schedule(&load("ramp 0..100 10s, hold 5s", "even"), 1).len(), 1000);
    }

    #[test]
    fn one_seed_is_one_schedule_on_any_number_of_shards_and_generators() {
        for arrivals in ["even", "poisson", "bursts 5"] {
            let load = load("ramp 10..500 5s, hold 2s + noise 10%", arrivals);
            let one = schedule(&load, 1);
            assert_eq!(one, schedule(&load, 3));
            assert_eq!(one, schedule_of(&load, &[1, 3, 2]));
            assert!(one.windows(2).all(|pair| pair[0].at_ns <= pair[1].at_ns));
        }
    }

    #[test]
    fn the_schedule_of_a_seed_never_changes() {
        let arrivals = schedule(&load("sine 50..150 10s every 5s + noise 5%", "poisson"), 1);
        let digest = arrivals.iter().fold(0u64, |digest, arrival| crate::arithmetic::mix(digest ^ arrival.at_ns));
        assert_eq!((arrivals.len(), digest), (984, 11_244_989_469_937_842_487));
    }

    /// Kolmogorov-Smirnov distance of the inter-arrival times, mapped to where they should be uniform.
    #[test]
    fn poisson_arrivals_are_exponential_even_along_a_ramp() {
        for pattern in ["constant 200 100s", "ramp 50..350 100s"] {
            let load = load(pattern, "poisson");
            let curve = Curve::new(load.pattern.as_ref().unwrap(), 1).unwrap();
            let arrivals = schedule(&load, 1);
            let counts: Vec<f64> = arrivals.iter().map(|arrival| count_before(&curve, arrival.at_ns)).collect();
            let mut gaps: Vec<f64> = counts.windows(2).map(|pair| 1.0 - (-(pair[1] - pair[0])).exp()).collect();
            gaps.sort_by(f64::total_cmp);
            let n = gaps.len() as f64;
            let distance = gaps.iter().enumerate().map(|(k, gap)| (gap - k as f64 / n).abs()).fold(0.0, f64::max);
            assert!(distance < 1.63 / n.sqrt(), "{pattern}: {distance} over {n} gaps");
        }
    }

    fn count_before(curve: &Curve, at_ns: u64) -> f64 {
        let (mut low, mut high) = (0.0, curve.arrivals());
        for _ in 0..60 {
            let middle = (low + high) / 2.0;
            let moment_s = curve.moment_of(middle, &mut 0).unwrap();
            if moment_s * 1e9 < at_ns as f64 { low = middle } else { high = middle }
        }
        low
    }

    #[test]
    fn bursts_keep_the_mean_rate_and_clump_the_arrivals() {
        let arrivals = schedule(&load("constant 1000 1000s", "bursts 5"), 1);
        assert!((arrivals.len() as f64 / 1e6 - 1.0).abs() < 0.03, "{}", arrivals.len());
        let mut per_100_ms = vec![0f64; 10_000];
        arrivals.iter().for_each(|arrival| per_100_ms[(arrival.at_ns / 100_000_000) as usize] += 1.0);
        let variance = per_100_ms.iter().map(|count| (count - 100.0).powi(2)).sum::<f64>() / 1e4;
        assert!(variance > 5.0 * 100.0, "index of dispersion {}", variance / 100.0);
    }

    #[test]
    fn recorded_times_are_replayed_at_their_speed_and_amplitude() {
        let replayed = |speed: f64, amplitude: f64| {
            let mut load = load("replay x times", "even");
            let Some(Pattern::Replay(replay)) = &mut load.pattern else { unreachable!() };
            replay.read("10.0\n10.5\n12.0\n").unwrap();
            (replay.speed, replay.amplitude) = (speed, amplitude);
            schedule(&load, 2).iter().map(|arrival| arrival.at_ns / 1_000_000).collect::<Vec<_>>()
        };
        assert_eq!(replayed(1.0, 1.0), [0, 500, 2000]);
        assert_eq!(replayed(2.0, 1.0), [0, 250, 1000]);
        assert_eq!(replayed(1.0, 2.0), [0, 0, 500, 500, 2000, 2000]);
        assert_eq!(replayed(1.0, 0.5), [500]);
    }
}
