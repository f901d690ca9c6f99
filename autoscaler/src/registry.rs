//! Which pods every HPA selects, so that two of them never scale the same ones.
//!
//! An entry appears (matching nothing) when an HPA is first queued, takes the selector that its last metric computation
//! saw, and goes when the HPA is deleted. One registry serves all HPAs of a controller.

use std::collections::{BTreeMap, BTreeSet};

use crate::pod::Pod;
use crate::selector::Selector;

#[derive(Clone, Debug, Default)]
pub struct Registry {
    /// By namespace, then name. `None` matches nothing.
    selectors: BTreeMap<String, BTreeMap<String, Option<Selector>>>,
}

impl Registry {
    /// Makes an HPA known; one that is known already keeps its selector.
    pub fn enqueue(&mut self, namespace: &str, name: &str) {
        self.selectors.entry(namespace.into()).or_default().entry(name.into()).or_insert(None);
    }

    /// Replaces the selector of a known HPA; an unknown one stays unknown.
    pub fn set(&mut self, namespace: &str, name: &str, selector: Selector) {
        if let Some(entry) = self.selectors.get_mut(namespace).and_then(|hpas| hpas.get_mut(name)) {
            *entry = Some(selector);
        }
    }

    pub fn remove(&mut self, namespace: &str, name: &str) {
        if let Some(hpas) = self.selectors.get_mut(namespace) {
            hpas.remove(name);
        }
    }

    pub(crate) fn knows(&self, namespace: &str, name: &str) -> bool {
        self.selectors.get(namespace).is_some_and(|hpas| hpas.contains_key(name))
    }

    /// Names of the HPAs of this namespace that select any of these pods, in order. `own` takes the place of that HPA's
    /// entry.
    pub(crate) fn controlling<'a>(
        &'a self,
        namespace: &str,
        own: (&'a str, &Selector),
        pods: &[&Pod],
    ) -> BTreeSet<&'a str> {
        let mut names = BTreeSet::new();
        let (own_name, own_selector) = own;
        if self.knows(namespace, own_name) && pods.iter().any(|p| own_selector.matches(&p.labels)) {
            names.insert(own_name);
        }
        for (name, selector) in self.selectors.get(namespace).into_iter().flatten() {
            let Some(selector) = selector else { continue };
            if name != own_name && pods.iter().any(|p| selector.matches(&p.labels)) {
                names.insert(name);
            }
        }
        names
    }
}
