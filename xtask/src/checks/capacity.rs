//! What the pods of an environment ask for, against what there is: an autoscaler cannot scale onto CPUs that are not there.

use serde_json::Value;

use super::Finding;
use crate::workload::{Workload, milli_cpu};

/// Requests of one pod, and the bounds between which the autoscaler moves their number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Demand {
    pub(crate) environment: String,
    pub(crate) milli: i64,
    pub(crate) mebibytes: i64,
    pub(crate) min: i64,
    pub(crate) max: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Supply {
    /// Whose CPU and memory: a sentence names it.
    pub(crate) of: String,
    pub(crate) milli: i64,
    pub(crate) mebibytes: i64,
}

impl Demand {
    pub(crate) fn of(environment: &str, objects: &[Value], workload: &Workload) -> Demand {
        let find = |kind: &str, name: &str| {
            objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
        };
        let deployment = find("Deployment", &workload.deployment);
        let containers = deployment.and_then(|it| it.pointer("/spec/template/spec/containers")?.as_array());
        let requests = |resource: &'static str| {
            containers
                .into_iter()
                .flatten()
                .filter_map(move |container| container.pointer(&format!("/resources/requests/{resource}"))?.as_str())
        };
        let bounds =
            find("HorizontalPodAutoscaler", &workload.hpa).map(|hpa| &hpa["spec"]).cloned().unwrap_or_default();
        Demand {
            environment: environment.to_owned(),
            milli: requests("cpu").filter_map(milli_cpu).sum(),
            mebibytes: requests("memory").filter_map(mebibytes).sum(),
            min: bounds["minReplicas"].as_i64().unwrap_or(1),
            max: bounds["maxReplicas"].as_i64().unwrap_or(1),
        }
    }
}

/// The least must fit. Where the most does not, the autoscaler's last steps leave pods pending: worth knowing beforehand.
pub(crate) fn check(demand: &Demand, supply: &Supply, enlarge: &str) -> Finding {
    let Demand { environment, milli, mebibytes, min, max } = demand;
    let fitting = [(supply.milli, milli), (supply.mebibytes, mebibytes)].into_iter().filter(|(_, one)| **one > 0);
    let fitting = fitting.map(|(all, one)| all / one).min().unwrap_or(*max);
    let asks = format!("{environment} asks for {min} to {max} pods of {milli}m CPU and {mebibytes} MiB");
    let has = format!("{} has {}m and {} MiB", supply.of, supply.milli, supply.mebibytes);
    if fitting >= *max {
        return Finding::fine("capacity", format!("{asks}; {has}"));
    }
    if fitting >= *min {
        let what = format!("{asks}; {has}: beyond {fitting} pods they stay Pending");
        return Finding::note("capacity", what, enlarge);
    }
    Finding::wrong("capacity", format!("{asks}; {has}: room for {fitting}"), enlarge)
}

/// `128Mi`, `1Gi`, `500M`, bytes; rounded up.
pub(crate) fn mebibytes(quantity: &str) -> Option<i64> {
    let digits = quantity.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(quantity.len());
    let (number, unit) = quantity.split_at(digits);
    let bytes = match unit {
        "" => 1.0,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    Some((number.parse::<f64>().ok()? * bytes / (1024.0 * 1024.0)).ceil() as i64)
}
