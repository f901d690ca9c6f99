//! What the metrics APIs answered, and how samples meet their pods.
//!
//! Every value is in whole thousandths, rounded away from zero *per container* before it is summed. The hosts' lists
//! are borrowed, never copied. A list in the order of the pods joins in one walk; any other order costs an index of
//! names.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::pod::{Pod, Resources};
use crate::time::{NS_PER_S, Time};

/// The answer for one metric of the spec. An error is the text of the failed call.
#[derive(Clone, Copy, Debug)]
pub enum Answer<'a> {
    /// Resource and ContainerResource metrics: pods of the target's selector, from metrics.k8s.io.
    PodMetrics(Result<&'a [PodMetrics], &'a str>),
    /// Pods metrics, from custom.metrics.k8s.io.
    PodValues(Result<&'a [PodValue], &'a str>),
    /// Either of the above, where the host has samples and pods side by side already.
    Joined(&'a JoinedSamples),
    /// Object metrics, from custom.metrics.k8s.io.
    Object(Result<Value, &'a str>),
    /// External metrics, from external.metrics.k8s.io: one value per series.
    External(Result<&'a [Value], &'a str>),
}

/// One item of a `PodMetricsList`.
#[derive(Clone, Debug)]
pub struct PodMetrics {
    pub pod: Arc<str>,
    pub at: Time,
    pub window_ns: i64,
    pub containers: Vec<ContainerUsage>,
}

#[derive(Clone, Debug)]
pub struct ContainerUsage {
    pub name: String,
    pub usage: Resources,
}

/// One item of a `MetricValueList` about pods.
#[derive(Clone, Debug)]
pub struct PodValue {
    pub pod: Arc<str>,
    pub at: Time,
    /// Unset means [`CUSTOM_METRIC_WINDOW_S`].
    pub window_s: Option<i64>,
    pub value_milli: i64,
}

pub const CUSTOM_METRIC_WINDOW_S: i64 = 60;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value {
    pub value_milli: i64,
    pub at: Time,
}

/// One pod's value of one metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    pub value_milli: i64,
    pub at: Time,
    pub window_ns: i64,
}

/// Samples in the order of a list of pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JoinedSamples {
    /// As long as the list of pods; `None` where a pod has no sample.
    pub by_pod: Vec<Option<Sample>>,
    /// Values of pods that are not in the list. They count, as upstream counts them.
    pub strangers: Vec<i64>,
    /// When the first item of the API's list was sampled.
    pub first_at: Option<Time>,
}

/// What a metric wants of the samples of one pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measured<'a> {
    /// The sum over all containers of a resource.
    Resource(&'a str),
    /// One container's amount of a resource.
    Container { resource: &'a str, container: &'a str },
    /// The value of a custom metric.
    Custom,
}

/// Samples per pod out of any answer that can carry them; the error is the text of the failed or empty call. The index
/// is made when a list turns out not to be in the order of the pods, and serves all metrics of a pass.
pub(crate) fn join<'a>(
    answer: Answer<'a>,
    measured: Measured<'_>,
    pods: &[&Pod],
    index: &OnceCell<NameIndex>,
) -> Result<Cow<'a, JoinedSamples>, String> {
    match answer {
        Answer::PodMetrics(Ok(items)) if !items.is_empty() => {
            let samples = items.iter().map(|item| (&*item.pod, item.sample(measured)));
            Ok(Cow::Owned(join_in_order(samples, pods, items[0].at, index)))
        }
        Answer::PodValues(Ok(items)) if !items.is_empty() => {
            let samples = items.iter().map(|item| (&*item.pod, Some(item.sample())));
            Ok(Cow::Owned(join_in_order(samples, pods, items[0].at, index)))
        }
        Answer::Joined(joined) if joined.first_at.is_some() => Ok(Cow::Borrowed(joined)),
        Answer::PodMetrics(Err(e)) | Answer::PodValues(Err(e)) => Err(fetch_error(measured.api(), e)),
        _ => Err(empty_error(measured.api())),
    }
}

pub(crate) fn fetch_error(api: &str, error: &str) -> String {
    format!("unable to fetch metrics from {api} metrics API: {error}")
}

pub(crate) fn empty_error(api: &str) -> String {
    format!("no metrics returned from {api} metrics API")
}

impl JoinedSamples {
    /// Joins a resource metrics answer to pods, for hosts that decide often over the same list.
    pub fn of_resource(pods: &[Pod], items: &[PodMetrics], resource: &str, container: Option<&str>) -> JoinedSamples {
        let measured = match container {
            Some(container) => Measured::Container { resource, container },
            None => Measured::Resource(resource),
        };
        let pods: Vec<&Pod> = pods.iter().collect();
        let samples = items.iter().map(|item| (&*item.pod, item.sample(measured)));
        let mut joined = join_in_order(samples, &pods, Time(0), &OnceCell::new());
        joined.first_at = items.first().map(|item| item.at);
        joined
    }

    /// The samples of only some of the pods; those of the others become strangers'.
    pub(crate) fn keep(&self, kept: impl Iterator<Item = bool>) -> JoinedSamples {
        let mut joined =
            JoinedSamples { by_pod: Vec::new(), strangers: self.strangers.clone(), first_at: self.first_at };
        for (sample, kept) in self.by_pod.iter().zip(kept) {
            match sample {
                _ if kept => joined.by_pod.push(*sample),
                Some(sample) => joined.strangers.push(sample.value_milli),
                None => {}
            }
        }
        joined
    }
}

impl Measured<'_> {
    pub(crate) fn api(self) -> &'static str {
        match self {
            Measured::Resource(_) | Measured::Container { .. } => "resource",
            Measured::Custom => "custom",
        }
    }

    /// Empty for custom metrics, for which readiness does not matter.
    pub(crate) fn resource(&self) -> &str {
        match self {
            Measured::Resource(resource) | Measured::Container { resource, .. } => resource,
            Measured::Custom => "",
        }
    }
}

impl PodMetrics {
    fn sample(&self, measured: Measured<'_>) -> Option<Sample> {
        let value_milli = match measured {
            Measured::Resource(resource) if !self.containers.is_empty() => {
                let mut usages = self.containers.iter().map(|c| Some(c.usage.get(resource)?.milli()));
                usages.try_fold(0i64, |sum, usage| Some(sum.wrapping_add(usage?)))?
            }
            Measured::Container { resource, container } => {
                let usages = self.containers.iter().filter(|c| c.name == container).map(|c| c.usage.get(resource));
                usages.flatten().last()?.milli()
            }
            _ => return None,
        };
        Some(Sample { value_milli, at: self.at, window_ns: self.window_ns })
    }
}

impl PodValue {
    fn sample(&self) -> Sample {
        let window_s = self.window_s.unwrap_or(CUSTOM_METRIC_WINDOW_S);
        Sample { value_milli: self.value_milli, at: self.at, window_ns: window_s.saturating_mul(NS_PER_S) }
    }
}

/// A later sample of the same pod replaces an earlier one.
fn join_in_order<'a>(
    samples: impl Iterator<Item = (&'a str, Option<Sample>)>,
    pods: &[&Pod],
    first_at: Time,
    index: &OnceCell<NameIndex>,
) -> JoinedSamples {
    let mut by_pod = vec![None; pods.len()];
    let mut strangers: BTreeMap<&str, i64> = BTreeMap::new();
    let mut next = 0;
    for (name, sample) in samples {
        let expected = pods.get(next).is_some_and(|p| *p.name == *name);
        let found = if expected { Some(next) } else { index.get_or_init(|| NameIndex::new(pods)).find(pods, name) };
        match (found, sample) {
            (Some(i), sample) => {
                next = i + 1;
                by_pod[i] = sample.or(by_pod[i]);
            }
            (None, Some(sample)) => {
                strangers.insert(name, sample.value_milli);
            }
            (None, None) => {}
        }
    }
    JoinedSamples { by_pod, strangers: strangers.into_values().collect(), first_at: Some(first_at) }
}

/// Pods by name: an open-addressed table at most half full, with a fixed hash, since a decision draws no randomness.
pub(crate) struct NameIndex {
    /// Hash and position of a pod; the hash spares nearly all comparisons of other names.
    slots: Vec<(u32, u32)>,
}

const FREE: u32 = u32::MAX;

impl NameIndex {
    fn new(pods: &[&Pod]) -> NameIndex {
        let mut index = NameIndex { slots: vec![(0, FREE); (pods.len() * 2).next_power_of_two().max(2)] };
        for (i, pod) in pods.iter().enumerate().take(FREE as usize) {
            let hash = hash(&pod.name);
            let slot = index.slot_of(pods, &pod.name, hash);
            index.slots[slot] = (hash, i as u32);
        }
        index
    }

    fn find(&self, pods: &[&Pod], name: &str) -> Option<usize> {
        let (_, i) = self.slots[self.slot_of(pods, name, hash(name))];
        (i != FREE).then_some(i as usize)
    }

    /// The slot that holds this name, or the free one where it belongs.
    fn slot_of(&self, pods: &[&Pod], name: &str, hash: u32) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            let (other, i) = self.slots[slot];
            if i == FREE || (other == hash && *pods[i as usize].name == *name) {
                return slot;
            }
            slot = (slot + 1) & mask;
        }
    }
}

/// Names of pods differ in their last letters; folding brings those down to the bits that pick the slot.
fn hash(name: &str) -> u32 {
    let mut hash = 0u64;
    for chunk in name.as_bytes().chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = (hash.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
    (hash ^ hash >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_shr(32) as u32
}
