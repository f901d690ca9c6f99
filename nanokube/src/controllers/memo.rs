//! What needed nothing when last looked at. A controller over many owners and pods skips an owner whose inputs are
//! the very versions for which it had nothing to ask; asking again could not give another answer.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value;

use crate::object;

#[derive(Debug, Default)]
pub struct Memo {
    settled: HashMap<String, u64>,
}

/// The versions of a set of objects as one number.
#[derive(Default)]
pub struct Versions(DefaultHasher);

impl Versions {
    pub fn add(&mut self, object: &Value) {
        object::uid(object).hash(&mut self.0);
        object::str_at(object, "/metadata/resourceVersion").hash(&mut self.0);
    }

    pub fn of<'a>(objects: impl IntoIterator<Item = &'a Value>) -> u64 {
        let mut versions = Versions::default();
        objects.into_iter().for_each(|object| versions.add(object));
        versions.0.finish()
    }
}

impl Memo {
    /// Whether the owner needed nothing at exactly these versions.
    pub fn is_settled(&self, owner: &Value, versions: u64) -> bool {
        self.settled.get(object::uid(owner)) == Some(&versions)
    }

    /// Remembers that the owner needed nothing at these versions, or that it needed something.
    pub fn note(&mut self, owner: &Value, versions: u64, needed_nothing: bool) {
        if needed_nothing {
            self.settled.insert(object::uid(owner).to_owned(), versions);
        } else {
            self.settled.remove(object::uid(owner));
        }
    }

    /// Forgets owners that are gone, once they are many.
    pub fn prune(&mut self, live: usize) {
        if self.settled.len() > 2 * live + 64 {
            self.settled.clear();
        }
    }
}
