//! A pod as the autoscaler sees it: phase, readiness, requests. Who owns it does not matter.

use std::sync::Arc;

use crate::quantity::Quantity;
use crate::status::ConditionStatus;
use crate::time::Time;

#[derive(Clone, Debug)]
pub struct Pod {
    pub name: Arc<str>,
    /// Key and value; keys are unique.
    pub labels: Vec<(String, String)>,
    pub phase: Phase,
    /// Has a deletion timestamp.
    pub deleting: bool,
    pub start_time: Option<Time>,
    /// The Ready condition, where there is one.
    pub ready: Option<Readiness>,
    pub containers: Vec<Container>,
    /// In declaration order: those with `restartPolicy: Always` run beside the containers.
    pub init_containers: Vec<InitContainer>,
    /// `spec.resources.requests`.
    pub pod_level_requests: Resources,
    /// `spec.overhead`.
    pub overhead: Resources,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Pending,
    Running,
    Succeeded,
    Failed,
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readiness {
    pub status: ConditionStatus,
    pub last_transition_time: Time,
}

#[derive(Clone, Debug, Default)]
pub struct Container {
    pub name: String,
    pub requests: Resources,
}

#[derive(Clone, Debug, Default)]
pub struct InitContainer {
    pub container: Container,
    /// `restartPolicy: Always`: a sidecar, whose request counts for as long as the pod runs.
    pub restartable: bool,
}

/// Amounts by resource name. Absent is not the same as zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    pub cpu: Option<Amount>,
    pub memory: Option<Amount>,
    pub other: Vec<(String, Amount)>,
}

/// A quantity of a resource in billionths of its unit, wide enough for any byte count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(pub i128);

const NANO_PER_MILLI: i128 = 1_000_000;
const NANO_PER_UNIT: i128 = 1_000_000_000;

impl Amount {
    pub fn from_milli(milli: i64) -> Amount {
        Amount(i128::from(milli) * NANO_PER_MILLI)
    }

    pub fn from_nano(nano: i64) -> Amount {
        Amount(i128::from(nano))
    }

    pub fn from_units(units: i64) -> Amount {
        Amount(i128::from(units) * NANO_PER_UNIT)
    }

    pub fn from_quantity(quantity: &Quantity) -> Amount {
        Amount(quantity.nano())
    }

    /// Whole thousandths, rounded away from zero; 0 when that does not fit, as the API machinery has it.
    pub fn milli(self) -> i64 {
        // Nearly every amount fits 64 bits, where division is several times faster.
        if let Ok(nano) = i64::try_from(self.0) {
            let whole = nano / NANO_PER_MILLI as i64;
            return if nano % NANO_PER_MILLI as i64 == 0 { whole } else { whole + nano.signum() };
        }
        let (whole, rest) = (self.0 / NANO_PER_MILLI, self.0 % NANO_PER_MILLI);
        let whole = if rest == 0 { whole } else { whole + self.0.signum() };
        i64::try_from(whole).unwrap_or(0)
    }

    pub(crate) fn plus(self, other: Amount) -> Amount {
        Amount(self.0.saturating_add(other.0))
    }
}

impl Resources {
    pub fn get(&self, name: &str) -> Option<Amount> {
        match name {
            "cpu" => self.cpu,
            "memory" => self.memory,
            _ => self.other.iter().find(|(n, _)| n == name).map(|&(_, amount)| amount),
        }
    }

    pub fn set(&mut self, name: &str, amount: Amount) {
        match name {
            "cpu" => self.cpu = Some(amount),
            "memory" => self.memory = Some(amount),
            _ => match self.other.iter_mut().find(|(n, _)| n == name) {
                Some((_, old)) => *old = amount,
                None => self.other.push((name.into(), amount)),
            },
        }
    }
}

impl Phase {
    pub fn parse(text: &str) -> Phase {
        match text {
            "Pending" => Phase::Pending,
            "Running" => Phase::Running,
            "Succeeded" => Phase::Succeeded,
            "Failed" => Phase::Failed,
            _ => Phase::Unknown,
        }
    }
}

impl Pod {
    pub fn is_ready(&self) -> bool {
        self.ready.is_some_and(|r| r.status == ConditionStatus::True)
    }
}
