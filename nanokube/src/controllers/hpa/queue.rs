//! When each HPA gets its next pass. Upstream puts a key back with a fixed delay of one sync period, whatever the
//! reason, and a key that waits already keeps its time. So the first pass comes one period after the HPA was seen,
//! edits bring none forward, every HPA has its own phase, and the period of short passes is the sync period plus
//! their duration. A pass that outlasts the period was put back meanwhile by the periodic resync, and follows itself
//! without a pause.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

/// Namespace and name.
pub type Key = (String, String);

#[derive(Debug)]
pub struct Queue {
    period: SignedDuration,
    started: Timestamp,
    due: BTreeMap<Key, Timestamp>,
    known: BTreeSet<Key>,
}

impl Queue {
    /// A queue of a controller that starts now; a period under a millisecond counts as one.
    pub fn new(period: SignedDuration, started: Timestamp) -> Queue {
        let period = period.max(SignedDuration::from_millis(1));
        Queue { period, started, due: BTreeMap::new(), known: BTreeSet::new() }
    }

    /// Takes note of the HPAs there are. Returns those that are new and those that are gone; what is gone keeps its
    /// turn.
    pub fn see(&mut self, present: impl IntoIterator<Item = Key>, now: Timestamp) -> (Vec<Key>, Vec<Key>) {
        let present: BTreeSet<Key> = present.into_iter().collect();
        let new: Vec<Key> = present.difference(&self.known).cloned().collect();
        let gone: Vec<Key> = self.known.difference(&present).cloned().collect();
        for key in &new {
            self.put(key.clone(), now);
        }
        self.known = present;
        (new, gone)
    }

    /// The next key whose time has come; it waits no longer.
    pub fn pop(&mut self, now: Timestamp) -> Option<Key> {
        let (key, _) = self.due.iter().filter(|(_, due)| **due <= now).min_by_key(|(_, due)| **due)?;
        let key = key.clone();
        self.due.remove(&key);
        Some(key)
    }

    /// Puts a key back after a pass.
    pub fn finish(&mut self, key: Key, began: Timestamp, ended: Timestamp) {
        let resync = self.first_resync_after(began);
        self.put(key, resync.min(ended));
    }

    /// When the next pass is due.
    pub fn next(&self) -> Option<Timestamp> {
        self.due.values().min().copied()
    }

    fn put(&mut self, key: Key, at: Timestamp) {
        let due = at.checked_add(self.period).unwrap_or(Timestamp::MAX);
        self.due.entry(key).or_insert(due);
    }

    fn first_resync_after(&self, at: Timestamp) -> Timestamp {
        let period_ns = self.period.as_nanos();
        let passed_ns = at.duration_since(self.started).as_nanos().max(0);
        let due_ns = (passed_ns / period_ns + 1).saturating_mul(period_ns);
        let due = i64::try_from(due_ns).map_or(SignedDuration::MAX, SignedDuration::from_nanos);
        self.started.checked_add(due).unwrap_or(Timestamp::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Timestamp {
        Timestamp::UNIX_EPOCH.checked_add(SignedDuration::from_secs_f64(seconds)).unwrap()
    }

    fn key() -> Key {
        ("default".to_owned(), "web".to_owned())
    }

    /// The times of the first passes of an HPA created at 1 s, when each takes `duration_s`.
    #[track_caller]
    fn check(duration_s: f64, expected: [f64; 3]) {
        let mut queue = Queue::new(SignedDuration::from_secs(15), at(0.5));
        queue.see([key()], at(1.0));
        for expected in expected {
            let due = queue.next().unwrap();
            assert_eq!(due, at(expected));
            let key = queue.pop(due).unwrap();
            queue.see([key.clone()], at(expected));
            queue.finish(key, due, at(expected + duration_s));
        }
    }

    #[test]
    fn the_first_pass_comes_a_period_after_creation_and_passes_add_their_duration() {
        check(0.0, [16.0, 31.0, 46.0]);
        check(0.25, [16.0, 31.25, 46.5]);
    }

    #[test]
    fn a_pass_longer_than_the_period_follows_itself() {
        let mut queue = Queue::new(SignedDuration::from_secs(15), at(0.0));
        queue.see([key()], at(1.0));
        let key = queue.pop(at(16.0)).unwrap();
        queue.finish(key, at(16.0), at(36.0));
        // The resync at 30 s put it back for 45 s; a pass of 30 s or more would be overdue at once.
        assert_eq!(queue.next(), Some(at(45.0)));
        let key = queue.pop(at(45.0)).unwrap();
        queue.finish(key, at(45.0), at(80.0));
        assert!(queue.next().unwrap() <= at(80.0));
    }

    #[test]
    fn what_is_gone_keeps_its_turn_and_what_returns_has_it() {
        let mut queue = Queue::new(SignedDuration::from_secs(15), at(0.0));
        queue.see([key()], at(1.0));
        assert_eq!(queue.see([], at(2.0)).1, [key()]);
        assert_eq!(queue.see([key()], at(9.0)).0, [key()]);
        assert_eq!(queue.next(), Some(at(16.0)));
    }
}
