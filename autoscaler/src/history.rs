//! What the controller remembers of one HPA between passes: recommendations and scale events.
//!
//! Lost when the controller restarts, dropped when the HPA is deleted, *not* reset by an edit of the spec. Entries are
//! kept in slots: one that has aged out of every window is overwritten, never removed, so the lists grow only as far as
//! their windows ask for. Widening a window by an edit can bring an old entry back to life; upstream does the same.

use crate::spec::ScalingRules;
use crate::time::Time;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Desired counts before stabilisation. `None` until the first pass, which seeds the current count.
    pub recommendations: Option<Vec<Recommendation>>,
    pub scale_up_events: Vec<ScaleEvent>,
    pub scale_down_events: Vec<ScaleEvent>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recommendation {
    pub replicas: i32,
    pub at: Time,
}

/// A successful write of the scale by this controller. Only stored while the spec has a `behavior`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScaleEvent {
    /// Always positive; the list says which way.
    pub change: i32,
    pub at: Time,
    /// Older than the longest policy period when last looked at: its slot may be reused. Never cleared, and limits
    /// ignore it.
    pub outdated: bool,
}

impl History {
    pub(crate) fn recommendations(&self) -> &[Recommendation] {
        self.recommendations.as_deref().unwrap_or_default()
    }

    /// Writes into the slot if there is one, else appends.
    pub(crate) fn recommend(&mut self, slot: Option<usize>, recommendation: Recommendation) {
        let slots = self.recommendations.get_or_insert_default();
        match slot.and_then(|i| slots.get_mut(i)) {
            Some(old) => *old = recommendation,
            None => slots.push(recommendation),
        }
    }

    pub(crate) fn record_scale(&mut self, from: i32, to: i32, now: Time, rules: &ScalingRules) {
        let (events, change) = if to > from {
            (&mut self.scale_up_events, to.wrapping_sub(from))
        } else {
            (&mut self.scale_down_events, from.wrapping_sub(to))
        };
        let longest_period_s = rules.policies.iter().flatten().map(|p| p.period_s).max().unwrap_or(0).max(0);
        let cutoff = now.minus_s(longest_period_s);
        let mut slot = None;
        for (i, event) in events.iter_mut().enumerate() {
            event.outdated |= event.at < cutoff;
            if event.outdated {
                slot = Some(i);
            }
        }
        let event = ScaleEvent { change, at: now, outdated: false };
        match slot {
            Some(i) => events[i] = event,
            None => events.push(event),
        }
    }
}

/// Sum of the changes after `now - period`. An event exactly at the cut no longer counts.
pub(crate) fn change_within(events: &[ScaleEvent], period_s: i32, now: Time) -> i32 {
    let cutoff = now.minus_s(period_s);
    events.iter().filter(|e| e.at > cutoff).fold(0i32, |sum, e| sum.wrapping_add(e.change))
}
