//! A scenario file: a load, and what is expected of the autoscaler under it.
//!
//! `scenarios/NAME.yaml`, the same for every engine and cluster; `scenarios/schema.json` describes it to editors. This
//! crate runs the `load`; `expect` and `pace` are for whoever watches the cluster.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::load::Load;
use crate::span::Span;
use crate::threshold::Threshold;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The file's name without `.yaml`.
    pub name: String,
    pub description: String,
    /// Which settings of the cluster the expectations were written for.
    #[serde(default)]
    pub pace: Pace,
    pub load: Load,
    #[serde(default)]
    pub expect: Expect,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pace {
    /// Kubernetes' own defaults.
    #[default]
    Real,
    /// Short windows, for demonstrations and tests.
    Fast,
}

/// What must be seen; a field that is left out is not judged.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_replicas: Option<Replicas>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub final_replicas: Option<u32>,
    /// From the start of the load to the first additional pod that is Ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_up_max: Option<Span>,
    /// From the end of the load to the final replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_down_max: Option<Span>,
    /// Over the whole load, for example `p99 < 500ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slo: Option<Threshold>,
    /// Most lost requests: every failure but an answer 503.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_max: Option<u64>,
    /// Least share of the fair n-th part that pods which become Ready during the load get, from 2 to 12 s after Ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_pod_share_min: Option<f64>,
    /// Most changes of direction of the replica count beyond up once and down once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flaps_max: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replicas {
    pub min: u32,
    pub max: u32,
}

impl Scenario {
    /// Reads a scenario file with the recordings it names. The message names the file and the place.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read the scenario {}: {error}", path.display()))?;
        let base = path.parent().unwrap_or(Path::new("."));
        Self::parse(&text, base).map_err(|error| format!("scenario {}: {error}", path.display()))
    }

    /// Reads a scenario from YAML text; recordings are looked up from `base`.
    pub fn parse(text: &str, base: &Path) -> Result<Self, String> {
        let mut scenario: Scenario = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
        if let Some(pattern) = &mut scenario.load.pattern {
            pattern.load_files(base)?;
        }
        scenario.load.validate()?;
        scenario.expect.validate()?;
        Ok(scenario)
    }
}

impl Expect {
    fn validate(&self) -> Result<(), String> {
        if let Some(Replicas { min, max }) = self.peak_replicas
            && min > max
        {
            return Err(format!("expect.peak_replicas: min {min} is above max {max}"));
        }
        match self.new_pod_share_min {
            Some(share) if !(0.0..=1.0).contains(&share) => {
                Err(format!("expect.new_pod_share_min: {share} is not between 0 and 1"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
