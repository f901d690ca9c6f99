//! What pods that came during the load got of it: their requests against their fair share, from 2 to 12 s after Ready.
//!
//! Fair is the n-th part where n pods are Ready. Connections that live long keep new pods idle, which no replica count
//! shows; the generator tells requests by pod, the timeline when a pod became Ready, and only both together the share.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::observation::Observation;
use crate::run_dir::Recording;

/// The window after Ready: endpoints and new connections take a moment, then the share must be there.
const WINDOW_S: (f64, f64) = (2.0, 12.0);

/// A pod that became Ready while load came.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Newcomer {
    pub pod: String,
    /// Since the start of the load.
    pub ready_s: f64,
    /// Requests that it answered in the whole seconds of its window, and what a fair share of all had been.
    pub requests: u64,
    pub fair_requests: f64,
}

/// Requests of all newcomers over their fair share, 1 being fair.
pub(crate) fn fair_share(newcomers: &[Newcomer]) -> Option<f64> {
    let fair: f64 = newcomers.iter().map(|newcomer| newcomer.fair_requests).sum();
    let got: u64 = newcomers.iter().map(|newcomer| newcomer.requests).sum();
    (fair > 0.0).then(|| got as f64 / fair)
}

pub(super) fn of(recording: &Recording, start_ms: i64, end_ms: i64) -> Vec<Newcomer> {
    let spells = ready_spells(recording, start_ms);
    let load_s = (end_ms - start_ms) as f64 / 1e3;
    let came_during_load = spells.iter().filter(|spell| spell.from_s > 0.0 && spell.from_s < load_s);
    let newcomers = came_during_load.map(|spell| newcomer(spell, &spells, recording, load_s));
    newcomers.filter(|newcomer| newcomer.fair_requests > 0.0).collect()
}

/// How long a pod was Ready without a break.
struct Spell<'a> {
    pod: &'a str,
    from_s: f64,
    to_s: f64,
}

fn newcomer(spell: &Spell, spells: &[Spell], recording: &Recording, load_s: f64) -> Newcomer {
    let from_s = spell.from_s + WINDOW_S.0;
    let to_s = (spell.from_s + WINDOW_S.1).min(spell.to_s).min(load_s);
    let mut newcomer = Newcomer { pod: spell.pod.to_owned(), ready_s: spell.from_s, requests: 0, fair_requests: 0.0 };
    for interval in &recording.intervals {
        if interval.t_s < from_s || interval.t_s + 1.0 > to_s {
            continue;
        }
        // The mean over the second, since pods come and go within it.
        let ready = |spell: &Spell| (spell.to_s.min(interval.t_s + 1.0) - spell.from_s.max(interval.t_s)).max(0.0);
        let pods: f64 = spells.iter().map(ready).sum();
        let answered: u64 = interval.pods.values().map(|pod| pod.requests).sum();
        newcomer.requests += interval.pods.get(spell.pod).map_or(0, |pod| pod.requests);
        newcomer.fair_requests += answered as f64 / pods.max(1.0);
    }
    newcomer
}

fn ready_spells(recording: &Recording, start_ms: i64) -> Vec<Spell<'_>> {
    let mut since: BTreeMap<&str, f64> = BTreeMap::new();
    let mut spells = Vec::new();
    for entry in &recording.timeline {
        let Observation::Pod { name, ready, gone, .. } = &entry.seen else { continue };
        let t_s = (entry.t_unix_ms - start_ms) as f64 / 1e3;
        if *ready && !*gone {
            since.entry(name).or_insert(t_s);
        } else if let Some(from_s) = since.remove(name.as_str()) {
            spells.push(Spell { pod: name, from_s, to_s: t_s });
        }
    }
    spells.extend(since.into_iter().map(|(pod, from_s)| Spell { pod, from_s, to_s: f64::INFINITY }));
    spells.sort_by(|a, b| a.from_s.total_cmp(&b.from_s));
    spells
}
