//! Writes that the API refused, by the uid of the object they were for. The runner notes them; the next look words
//! them as a condition (ReplicaFailure). Forgotten at the first success.

use std::collections::HashMap;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub reason: &'static str,
    pub message: String,
}

#[derive(Debug, Default)]
pub struct Failures {
    by_uid: HashMap<String, Failure>,
}

impl Failures {
    pub fn of(&self, uid: &str) -> Option<&Failure> {
        self.by_uid.get(uid)
    }

    /// Notes a refused write; true if that is news.
    pub fn note(&mut self, uid: &str, reason: &'static str, message: &str) -> bool {
        let failure = Failure { reason, message: message.to_owned() };
        self.by_uid.insert(uid.to_owned(), failure.clone()) != Some(failure)
    }

    /// Forgets about an object; true if something was known.
    pub fn clear(&mut self, uid: &str) -> bool {
        self.by_uid.remove(uid).is_some()
    }
}
