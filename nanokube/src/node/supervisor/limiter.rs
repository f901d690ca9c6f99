//! CPU limits without control groups: stop the processes when their quota is used up, continue them next period.
//!
//! The kernel's rule (CFS bandwidth control) with signals: every 100 ms the container may use `quota` of CPU time; once
//! it has, it is stopped until the period ends. We can only look now and then, so it may overrun; what it took too
//! much is taken from the next periods, so that the average is exact. Unused time is not saved. The decision is pure:
//! time and CPU time come in, "stop or run, and look again then" comes out.

use crate::node::cgroup::{CPU_PERIOD_US, Throttling};

const PERIOD_NS: u64 = CPU_PERIOD_US * 1000;
/// The closest two looks; a shorter sleep would cost more than it gains.
const LOOK_MIN_NS: u64 = 1_000_000;

/// The limiter of one container.
#[derive(Debug)]
pub(super) struct Limiter {
    quota_ns: i64,
    cores: u64,
    period_end_ns: u64,
    budget_ns: i64,
    cpu_seen_ns: u64,
    used_in_period: bool,
    throttled_since_ns: Option<u64>,
    counters: Throttling,
}

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub stopped: bool,
    pub look_again_ns: u64,
}

impl Limiter {
    pub(super) fn new(limit_milli: u64, cores: u64, now_ns: u64) -> Limiter {
        let quota_ns = (limit_milli * PERIOD_NS / 1000).max(LOOK_MIN_NS) as i64;
        Limiter {
            quota_ns,
            cores: cores.max(1),
            period_end_ns: now_ns + PERIOD_NS,
            budget_ns: quota_ns,
            cpu_seen_ns: 0,
            used_in_period: false,
            throttled_since_ns: None,
            counters: Throttling::default(),
        }
    }

    /// Decides from the time and the CPU time that all processes of the container have used so far.
    pub(super) fn look(&mut self, now_ns: u64, cpu_ns: u64) -> Verdict {
        let used = cpu_ns.saturating_sub(self.cpu_seen_ns);
        self.cpu_seen_ns = self.cpu_seen_ns.max(cpu_ns);
        self.budget_ns -= used as i64;
        self.used_in_period |= used > 0;
        if now_ns >= self.period_end_ns {
            self.next_period(now_ns);
        }
        if self.budget_ns > 0 {
            if let Some(since) = self.throttled_since_ns.take() {
                self.counters.throttled_ns += now_ns.saturating_sub(since);
            }
            let soonest = (self.budget_ns as u64 / self.cores).max(LOOK_MIN_NS);
            return Verdict { stopped: false, look_again_ns: self.period_end_ns.min(now_ns + soonest) };
        }
        if self.throttled_since_ns.is_none() {
            self.throttled_since_ns = Some(now_ns);
            self.counters.throttled_periods += 1;
        }
        Verdict { stopped: true, look_again_ns: self.period_end_ns }
    }

    pub(super) fn counters(&self) -> Throttling {
        self.counters
    }

    fn next_period(&mut self, now_ns: u64) {
        let passed = 1 + (now_ns - self.period_end_ns) / PERIOD_NS;
        self.period_end_ns += passed * PERIOD_NS;
        let refill = self.quota_ns.saturating_mul(i64::try_from(passed).unwrap_or(i64::MAX));
        self.budget_ns = self.budget_ns.saturating_add(refill).min(self.quota_ns);
        if self.used_in_period || self.throttled_since_ns.is_some() {
            self.counters.periods += 1;
        }
        if self.throttled_since_ns.is_some() && self.budget_ns <= 0 {
            self.counters.throttled_periods += 1;
        }
        self.used_in_period = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a workload that always wants `cores` CPUs against the limiter; returns the CPU time it got per wall time.
    fn share(limit_milli: u64, cores: u64, late_ns: u64) -> f64 {
        let (mut now, mut cpu) = (0, 0);
        let mut limiter = Limiter::new(limit_milli, cores, now);
        let mut stopped = false;
        while now < 200_000_000_000 {
            let verdict = limiter.look(now, cpu);
            stopped = verdict.stopped;
            let next = verdict.look_again_ns + late_ns;
            assert!(next > now, "the limiter does not advance");
            cpu += if stopped { 0 } else { (next - now) * cores };
            now = next;
        }
        assert!(!stopped || limiter.counters().throttled_periods > 0);
        cpu as f64 / now as f64
    }

    #[test]
    fn a_greedy_container_gets_its_limit_and_no_more() {
        for (limit, cores, late) in
            [(500, 1, 0), (500, 2, 0), (50, 2, 300_000), (1500, 2, 4_000_000), (200, 8, 30_000_000)]
        {
            let got = share(limit, cores, late);
            let wanted = limit as f64 / 1000.0;
            assert!((got / wanted - 1.0).abs() < 0.02, "limit {limit} on {cores} cores, {late} ns late: got {got}");
        }
    }

    #[test]
    fn a_limit_above_what_is_used_never_stops() {
        let mut limiter = Limiter::new(1000, 2, 0);
        for step in 0..1000 {
            let now = step * 25_000_000;
            assert!(!limiter.look(now, now / 2).stopped);
        }
        assert_eq!(limiter.counters().throttled_periods, 0);
    }

    #[test]
    fn idle_time_is_not_saved_for_later() {
        let mut limiter = Limiter::new(500, 1, 0);
        assert!(!limiter.look(10_000_000_000, 0).stopped);
        assert!(limiter.look(10_050_000_000, 51_000_000).stopped);
    }

    #[test]
    fn counters_tell_periods_and_time_of_throttling() {
        let mut limiter = Limiter::new(500, 1, 0);
        assert!(limiter.look(50_000_000, 50_000_000).stopped);
        assert!(!limiter.look(100_000_000, 50_000_000).stopped);
        let expected = Throttling { periods: 1, throttled_periods: 1, throttled_ns: 50_000_000 };
        assert_eq!(limiter.counters(), expected);
    }
}
