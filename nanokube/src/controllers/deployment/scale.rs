//! Moving replicas between the ReplicaSets of a rollout.

use super::MAXIMUM;
use super::rollout::{Rollout, Set};
use crate::controllers::time::created_at;
use crate::object;

impl Rollout<'_> {
    /// Rolling update, upwards: sizes the new ReplicaSet within the surge. True if it changed.
    pub(super) fn grow_new(&mut self) -> bool {
        let Some(current) = self.new.as_ref().filter(|new| !new.is_created).map(|new| new.replicas) else {
            return false;
        };
        let wanted = self.replicas();
        let to = if current > wanted { wanted } else { self.room_for_new(current) };
        to != current && self.resize_new(to)
    }

    /// Rolling update, downwards: first the old pods that are not healthy, then as many as availability allows.
    pub(super) fn shrink_old(&mut self) -> bool {
        let old: i64 = self.old.iter().map(|set| set.replicas).sum();
        let Some(new) = self.new.as_ref().filter(|_| old > 0) else { return false };
        let min_available = self.replicas() - self.max_unavailable();
        let new_unavailable = new.replicas - new.status("availableReplicas");
        let spare = old + new.replicas - min_available - new_unavailable;
        if spare <= 0 {
            return false;
        }
        let unhealthy = self.shrink_unhealthy(spare);
        let healthy = self.shrink_available(min_available);
        unhealthy || healthy
    }

    fn shrink_unhealthy(&mut self, spare: i64) -> bool {
        let mut taken = 0;
        for at in 0..self.old.len() {
            let (replicas, available) = (self.old[at].replicas, self.old[at].status("availableReplicas"));
            let take = (spare - taken).min(replicas - available);
            if take > 0 {
                taken += take;
                self.resize_old(at, replicas - take);
            }
        }
        taken > 0
    }

    fn shrink_available(&mut self, min_available: i64) -> bool {
        let available: i64 = self.sets().map(|set| set.status("availableReplicas")).sum();
        let mut surplus = available - min_available;
        let before = surplus;
        for at in 0..self.old.len() {
            let take = surplus.min(self.old[at].replicas);
            if take > 0 {
                surplus -= take;
                self.resize_old(at, self.old[at].replicas - take);
            }
        }
        surplus < before
    }

    /// Recreate, downwards: all old ReplicaSets to 0.
    pub(super) fn empty_old(&mut self) -> bool {
        let mut changed = false;
        for at in 0..self.old.len() {
            if self.old[at].replicas > 0 {
                self.resize_old(at, 0);
                changed = true;
            }
        }
        changed
    }

    /// The Deployment was scaled (or is paused): one active ReplicaSet takes the size; a finished rollout empties the
    /// old ones; in the middle of a rolling update the change is spread in proportion to the present sizes.
    pub(super) fn resize(&mut self) {
        let active: Vec<usize> = (0..self.old.len()).filter(|at| self.old[*at].replicas > 0).collect();
        let new_is_active = self.new.as_ref().is_some_and(|new| new.replicas > 0);
        match (active.as_slice(), new_is_active) {
            ([], _) if self.new.is_some() => {
                self.resize_new(self.replicas());
            }
            ([], _) => {
                if let Some(last) = self.old.len().checked_sub(1) {
                    self.resize_old(last, self.replicas());
                }
            }
            ([only], false) => self.resize_old(*only, self.replicas()),
            _ if self.new_is_saturated() => {
                self.empty_old();
            }
            _ if self.recreates() => {}
            _ => self.resize_in_proportion(),
        }
    }

    fn new_is_saturated(&self) -> bool {
        let wanted = self.replicas();
        self.new.as_ref().is_some_and(|new| {
            let desired = object::annotation(&new.object, super::DESIRED).and_then(|text| text.parse().ok());
            new.replicas == wanted && desired == Some(wanted) && new.status("availableReplicas") == wanted
        })
    }

    fn resize_in_proportion(&mut self) {
        let (wanted, surge) = (self.replicas(), self.max_surge());
        let total: i64 = self.sets().map(|set| set.replicas).sum();
        let allowed = if wanted > 0 { wanted + surge } else { 0 };
        let to_add = allowed - total;
        let recorded = object::i64_at(self.deployment, "/status/replicas").unwrap_or(0);

        // Indices: the old sets in order, then the new one. Largest first; of equals, the newer if growing.
        let mut order: Vec<usize> =
            (0..self.old.len() + 1).filter(|at| self.set(*at).is_some_and(|set| set.replicas > 0)).collect();
        let age = |at: &usize| self.set(*at).map(|set| (created_at(&set.object), *at));
        order.sort_by(|one, other| {
            let size = |at: &usize| self.set(*at).map_or(0, |set| set.replicas);
            let by_age = if to_add > 0 { age(other).cmp(&age(one)) } else { age(one).cmp(&age(other)) };
            size(other).cmp(&size(one)).then(by_age)
        });
        let mut added = 0;
        let mut sizes: Vec<(usize, i64)> = Vec::new();
        for at in order {
            let Some(set) = self.set(at) else { continue };
            let share = proportion(set, wanted, surge, recorded, to_add, added);
            added += share;
            sizes.push((at, set.replicas + share));
        }
        if let Some((_, largest)) = sizes.first_mut() {
            *largest = (*largest + to_add - added).max(0);
        }
        for (at, size) in sizes {
            if at == self.old.len() {
                self.resize_new(size);
            } else {
                self.resize_old(at, size);
            }
        }
    }

    fn set(&self, at: usize) -> Option<&Set<'_>> {
        if at == self.old.len() { self.new.as_ref() } else { self.old.get(at) }
    }

    fn resize_new(&mut self, to: i64) -> bool {
        let (desired, surge) = (self.replicas(), self.max_surge());
        let Some(new) = &mut self.new else { return false };
        let (from, name) = (new.replicas, object::name(&new.object).to_owned());
        new.resize(to, desired, surge);
        if from != to {
            self.note_scaled(&name, from, to);
        }
        from != to
    }

    fn resize_old(&mut self, at: usize, to: i64) {
        let (desired, surge) = (self.replicas(), self.max_surge());
        let set = &mut self.old[at];
        let (from, name) = (set.replicas, object::name(&set.object).to_owned());
        set.resize(to, desired, surge);
        if from != to {
            self.note_scaled(&name, from, to);
        }
    }
}

/// The share of `to_add` that falls to one ReplicaSet.
fn proportion(set: &Set, wanted: i64, surge: i64, recorded: i64, to_add: i64, added: i64) -> i64 {
    if to_add == 0 || to_add == added {
        return 0;
    }
    let fraction = if wanted == 0 {
        -set.replicas
    } else {
        let annotated = object::annotation(&set.object, MAXIMUM).and_then(|text| text.parse().ok()).unwrap_or(recorded);
        if annotated == 0 {
            0
        } else {
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                reason = "replica counts fit f64 exactly"
            )]
            let size = (set.replicas as f64 * (wanted + surge) as f64 / annotated as f64).round() as i64;
            size - set.replicas
        }
    };
    let allowed = to_add - added;
    if to_add > 0 { fraction.min(allowed) } else { fraction.max(allowed) }
}
