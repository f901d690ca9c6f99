//! The store: the only owner of cluster state. One revision counts every change of every object, as in etcd.
//!
//! Writers are serialised by one lock and may take their time under it (merge, default, validate, journal); readers
//! only ever wait for a map insertion. Each resource keeps a bounded log of its changes, from which watches read at
//! their own pace: a slow watcher delays nobody, it falls off the log and is told so.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use serde_json::Value;
use std::io;
use std::path::Path;
use tokio::sync::watch;

use crate::object::{self, Object};
use crate::status::ApiError;

mod journal;

use journal::{Journal, Record};

/// Changes kept for watchers, for each resource; past either limit the oldest go.
const LOG_LIMIT_CHANGES: usize = 8_192;
const LOG_LIMIT_BYTES: usize = 16 << 20;
/// What all objects may take as JSON before new ones are refused, as etcd's quota does: a size of a thousand million
/// replicas is valid. Changes of those that are there may go a quarter beyond, so that controllers can still act.
const SPACE_LIMIT_BYTES: usize = 256 << 20;

type Objects = BTreeMap<Arc<str>, Object>;

/// What happened to an object at one revision.
#[derive(Debug)]
pub struct Change {
    pub revision: u64,
    pub kind: ChangeKind,
    /// The new state; for a deletion the last state, at the revision of the deletion.
    pub object: Object,
    /// The state before; None for a creation.
    pub previous: Option<Object>,
    /// `object` as JSON text, encoded once for the journal and all watchers.
    pub json: Bytes,
    key: Arc<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    Added,
    Modified,
    Deleted,
}

/// Objects of one resource at one revision.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    pub items: Vec<Object>,
    pub resource_version: u64,
}

/// The whole cluster at one revision. Cheap: it shares everything with the store.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub resource_version: u64,
    tables: HashMap<Arc<str>, Arc<Objects>>,
}

/// A position in the log of one resource.
#[derive(Debug)]
pub struct Watch {
    store: Arc<Store>,
    resource: Arc<str>,
    prefix: String,
    position: u64,
    wake: watch::Receiver<u64>,
}

#[derive(Debug)]
pub struct Store {
    state: RwLock<State>,
    /// Held by whoever writes; None keeps nothing on disk.
    journal: Mutex<Option<Journal>>,
    latest: watch::Sender<u64>,
}

/// The right to write. Reads through it see the state that the write will be based on.
pub struct Writing<'a> {
    store: &'a Store,
    journal: MutexGuard<'a, Option<Journal>>,
}

#[derive(Debug, Default)]
struct State {
    revision: u64,
    /// No log goes back beyond this revision: that of the start.
    compacted: u64,
    tables: HashMap<Arc<str>, Table>,
    /// What all objects take as JSON.
    bytes: usize,
}

#[derive(Debug)]
struct Table {
    objects: Arc<Objects>,
    /// What each object takes as JSON.
    sizes: HashMap<Arc<str>, usize>,
    log: VecDeque<Arc<Change>>,
    log_bytes: usize,
    /// Changes up to this revision are no longer in the log.
    compacted: u64,
    wake: watch::Sender<u64>,
}

/// The key of an object inside its resource; sorts by namespace, then name, as etcd's keys do.
fn key_of(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}

fn prefix_of(namespace: Option<&str>) -> String {
    namespace.map(|namespace| format!("{namespace}/")).unwrap_or_default()
}

fn range<'a>(objects: &'a Objects, prefix: &'a str) -> impl Iterator<Item = (&'a Arc<str>, &'a Object)> {
    let start = (Bound::Included(prefix), Bound::Unbounded);
    objects.range::<str, _>(start).take_while(move |(key, _)| key.starts_with(prefix))
}

impl Default for Store {
    fn default() -> Store {
        Store::in_memory()
    }
}

impl Store {
    /// A store that forgets everything when it is dropped.
    pub fn in_memory() -> Store {
        let state = State { revision: 1, ..State::default() };
        Store { state: RwLock::new(state), journal: Mutex::new(None), latest: watch::channel(1).0 }
    }

    /// A store that keeps every write in a journal in `dir`, and starts with what is there.
    pub fn open(dir: &Path) -> io::Result<Store> {
        let mut state = State { revision: 1, ..State::default() };
        let mut broken = 0;
        let journal = Journal::open(dir, |record| {
            if state.replay(record).is_none() {
                broken += 1;
            }
        })?;
        if broken > 0 {
            eprintln!("{}: {broken} records hold no JSON and were left out", dir.display());
        }
        let revision = state.revision;
        for table in state.tables.values_mut() {
            table.compacted = revision;
        }
        state.compacted = revision;
        let latest = watch::channel(revision).0;
        Ok(Store { state: RwLock::new(state), journal: Mutex::new(Some(journal)), latest })
    }

    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Object> {
        let state = self.read();
        state.tables.get(resource)?.objects.get(key_of(namespace, name).as_str()).cloned()
    }

    /// All objects of a resource, of one namespace or of all, in key order.
    pub fn list(&self, resource: &str, namespace: Option<&str>) -> Listing {
        let state = self.read();
        let prefix = prefix_of(namespace);
        let items = match state.tables.get(resource) {
            Some(table) => range(&table.objects, &prefix).map(|(_, object)| object.clone()).collect(),
            None => Vec::new(),
        };
        Listing { items, resource_version: state.revision }
    }

    /// The list as it was at an earlier revision, by undoing the logged changes after it.
    pub fn list_at(&self, resource: &str, namespace: Option<&str>, revision: u64) -> Result<Listing, ApiError> {
        let state = self.read();
        let Some(table) = state.tables.get(resource) else {
            return Ok(Listing { items: Vec::new(), resource_version: revision });
        };
        if revision < table.compacted {
            return Err(ApiError::gone("The resourceVersion for the provided list is too old."));
        }
        let prefix = prefix_of(namespace);
        let mut items: BTreeMap<&str, &Object> =
            range(&table.objects, &prefix).map(|(key, object)| (&**key, object)).collect();
        for change in table.log.iter().rev().take_while(|change| change.revision > revision) {
            if !change.key.starts_with(&prefix) {
                continue;
            }
            match &change.previous {
                Some(previous) => items.insert(&change.key, previous),
                None => items.remove(&*change.key),
            };
        }
        Ok(Listing { items: items.into_values().cloned().collect(), resource_version: revision })
    }

    pub fn snapshot(&self) -> Snapshot {
        let state = self.read();
        let tables = state.tables.iter().map(|(resource, table)| (resource.clone(), table.objects.clone()));
        Snapshot { resource_version: state.revision, tables: tables.collect() }
    }

    pub fn revision(&self) -> u64 {
        self.read().revision
    }

    /// The latest revision; wakes at every change.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.latest.subscribe()
    }

    /// Follows a resource from just after `from`.
    pub fn watch(self: &Arc<Store>, resource: &str, namespace: Option<&str>, from: u64) -> Result<Watch, ApiError> {
        let mut state = self.write();
        let revision = state.revision;
        let table = state.table(resource);
        if from < table.compacted {
            let message = format!("too old resource version: {from} ({revision})");
            return Err(ApiError::gone(message));
        }
        Ok(Watch {
            store: self.clone(),
            resource: Arc::from(resource),
            prefix: prefix_of(namespace),
            position: from,
            wake: table.wake.subscribe(),
        })
    }

    /// Waits for the turn to write.
    pub fn writing(&self) -> Writing<'_> {
        Writing { store: self, journal: self.journal.lock().unwrap_or_else(PoisonError::into_inner) }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writing<'_> {
    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Object> {
        self.store.get(resource, namespace, name)
    }

    /// The objects of a resource in one namespace.
    pub fn list(&self, resource: &str, namespace: &str) -> Vec<Object> {
        self.store.list(resource, Some(namespace)).items
    }

    /// The objects of a resource in all namespaces.
    pub fn list_all(&self, resource: &str) -> Vec<Object> {
        self.store.list(resource, None).items
    }

    /// Stores a new or changed object under the next revision and returns it.
    pub fn put(&mut self, resource: &str, mut object: Value) -> Result<Object, ApiError> {
        let revision = self.store.revision() + 1;
        object::set(&mut object, &["metadata", "resourceVersion"], revision.to_string().into());
        let key: Arc<str> = key_of(object::namespace(&object), object::name(&object)).into();
        let json = encode(&object)?;
        self.store.read().admit(resource, &key, json.len())?;
        self.keep(resource, revision, &key, Some(&json))?;
        let object: Object = Arc::new(object);
        self.apply(resource, revision, key, Some(object.clone()), object.clone(), json);
        self.tidy();
        Ok(object)
    }

    /// Removes an object and returns its last state, which carries the revision of the removal.
    pub fn remove(&mut self, resource: &str, last: &Value) -> Result<Object, ApiError> {
        let revision = self.store.revision() + 1;
        let mut object = last.clone();
        object::set(&mut object, &["metadata", "resourceVersion"], revision.to_string().into());
        let key: Arc<str> = key_of(object::namespace(&object), object::name(&object)).into();
        let json = encode(&object)?;
        self.keep(resource, revision, &key, None)?;
        let object: Object = Arc::new(object);
        self.apply(resource, revision, key, None, object.clone(), json);
        self.tidy();
        Ok(object)
    }

    /// Writes the change to the journal: from here on it survives the daemon.
    fn keep(&mut self, resource: &str, revision: u64, key: &str, json: Option<&Bytes>) -> Result<(), ApiError> {
        let Some(journal) = self.journal.as_mut() else { return Ok(()) };
        let record = Record {
            revision,
            resource: resource.to_string(),
            key: key.to_string(),
            json: json.map(|json| json.to_vec()),
        };
        journal.append(&record).map_err(|error| {
            eprintln!("cannot write the journal: {error}");
            ApiError::insufficient_storage(format!("the cluster cannot store the change: {error}"))
        })
    }

    /// Rewrites a journal that is mostly history; when that fails it merely stays long.
    fn tidy(&mut self) {
        let Some(journal) = self.journal.as_mut().filter(|journal| journal.is_mostly_history()) else { return };
        let snapshot = self.store.snapshot();
        let records = snapshot.tables.iter().flat_map(|(resource, objects)| {
            objects.iter().map(|(key, object)| Record {
                revision: object::resource_version(object),
                resource: resource.to_string(),
                key: key.to_string(),
                json: serde_json::to_vec(&**object).ok(),
            })
        });
        // A removal of nothing, to keep the revision when the last changes were removals.
        let mark =
            Record { revision: snapshot.resource_version, resource: String::new(), key: String::new(), json: None };
        if let Err(error) = journal.compact(records.chain([mark])) {
            eprintln!("cannot rewrite the journal: {error}");
        }
    }

    fn apply(&self, resource: &str, revision: u64, key: Arc<str>, stored: Option<Object>, object: Object, json: Bytes) {
        let mut state = self.store.write();
        state.revision = revision;
        state.account(resource, &key, if stored.is_some() { json.len() } else { 0 });
        let table = state.table(resource);
        let objects = Arc::make_mut(&mut table.objects);
        let deleted = stored.is_none();
        let previous = match stored {
            Some(stored) => objects.insert(key.clone(), stored),
            None => objects.remove(&key),
        };
        let kind = match (deleted, &previous) {
            (true, _) => ChangeKind::Deleted,
            (false, None) => ChangeKind::Added,
            (false, Some(_)) => ChangeKind::Modified,
        };
        table.record(Change { revision, kind, object, previous, json, key });
        table.wake.send_replace(revision);
        drop(state);
        self.store.latest.send_replace(revision);
    }
}

fn encode(object: &Value) -> Result<Bytes, ApiError> {
    match serde_json::to_vec(object) {
        Ok(json) => Ok(json.into()),
        Err(error) => Err(ApiError::internal(format!("cannot encode the object: {error}"))),
    }
}

impl State {
    /// Takes over a record of the journal; None when it holds no object.
    fn replay(&mut self, record: Record) -> Option<()> {
        self.revision = self.revision.max(record.revision);
        if record.resource.is_empty() {
            return Some(());
        }
        let key: Arc<str> = record.key.into();
        let object = match &record.json {
            Some(json) => Some(Arc::new(serde_json::from_slice(json).ok()?)),
            None => None,
        };
        self.account(&record.resource, &key, record.json.map_or(0, |json| json.len()));
        let objects = Arc::make_mut(&mut self.table(&record.resource).objects);
        match object {
            Some(object) => objects.insert(key, object),
            None => objects.remove(&key),
        };
        Some(())
    }

    /// Whether an object may take so many bytes from now on.
    fn admit(&self, resource: &str, key: &str, bytes: usize) -> Result<(), ApiError> {
        let before = self.tables.get(resource).and_then(|table| table.sizes.get(key)).copied();
        let limit = SPACE_LIMIT_BYTES + if before.is_some() { SPACE_LIMIT_BYTES / 4 } else { 0 };
        let before = before.unwrap_or(0);
        if bytes <= before || self.bytes - before + bytes <= limit {
            return Ok(());
        }
        let limit_mib = SPACE_LIMIT_BYTES >> 20;
        Err(ApiError::insufficient_storage(format!(
            "the objects of this cluster take {limit_mib} MiB, which is the limit: delete some, or make workloads smaller"
        )))
    }

    /// Notes what an object takes now; nothing when it is gone.
    fn account(&mut self, resource: &str, key: &Arc<str>, bytes: usize) {
        let sizes = &mut self.table(resource).sizes;
        let before = if bytes > 0 { sizes.insert(key.clone(), bytes) } else { sizes.remove(key) };
        self.bytes = self.bytes - before.unwrap_or(0) + bytes;
    }

    fn table(&mut self, resource: &str) -> &mut Table {
        if !self.tables.contains_key(resource) {
            let table = Table { compacted: self.compacted, ..Table::new() };
            self.tables.insert(Arc::from(resource), table);
        }
        self.tables.get_mut(resource).expect("invariant: inserted above")
    }
}

impl Table {
    fn new() -> Table {
        let wake = watch::channel(0).0;
        Table { objects: Arc::default(), sizes: HashMap::new(), log: VecDeque::new(), log_bytes: 0, compacted: 0, wake }
    }

    fn record(&mut self, change: Change) {
        self.log_bytes += change.json.len();
        self.log.push_back(Arc::new(change));
        while self.log.len() > LOG_LIMIT_CHANGES || self.log_bytes > LOG_LIMIT_BYTES {
            let Some(oldest) = self.log.pop_front() else { break };
            self.log_bytes -= oldest.json.len();
            self.compacted = oldest.revision;
        }
    }
}

impl Watch {
    /// The changes since the last call, oldest first; empty when there are none. The position moves to the present.
    pub fn pending(&mut self) -> Result<Vec<Arc<Change>>, ApiError> {
        self.wake.mark_unchanged();
        let state = self.store.read();
        let Some(table) = state.tables.get(&self.resource) else { return Ok(Vec::new()) };
        if self.position < table.compacted {
            let message = format!("too old resource version: {} ({})", self.position, state.revision);
            return Err(ApiError::gone(message));
        }
        let start = table.log.partition_point(|change| change.revision <= self.position);
        let fresh = table.log.range(start..).filter(|change| change.key.starts_with(&self.prefix)).cloned();
        let fresh = fresh.collect();
        self.position = self.position.max(state.revision);
        Ok(fresh)
    }

    /// Waits until there is at least one change.
    pub async fn next(&mut self) -> Result<Vec<Arc<Change>>, ApiError> {
        loop {
            let fresh = self.pending()?;
            if !fresh.is_empty() {
                return Ok(fresh);
            }
            if self.wake.changed().await.is_err() {
                return Err(ApiError::unavailable("the store is closed"));
            }
        }
    }

    /// The revision up to which everything has been handed out.
    pub fn position(&self) -> u64 {
        self.position
    }
}

impl Snapshot {
    /// All objects of a resource in key order.
    pub fn list(&self, resource: &str) -> impl Iterator<Item = &Object> {
        self.tables.get(resource).into_iter().flat_map(|objects| objects.values())
    }

    /// The objects of a resource in one namespace, in order of name.
    pub fn in_namespace(&self, resource: &str, namespace: &str) -> impl Iterator<Item = &Object> {
        let prefix = prefix_of(Some(namespace));
        let objects = self.tables.get(resource);
        objects.into_iter().flat_map(move |objects| {
            let start = (Bound::Included(prefix.as_str()), Bound::Unbounded);
            let prefix = prefix.clone();
            objects
                .range::<str, _>(start)
                .take_while(move |(key, _)| key.starts_with(&prefix))
                .map(|(_, object)| object)
                .collect::<Vec<_>>()
        })
    }

    /// One object; the namespace of cluster-scoped objects is "".
    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<&Object> {
        self.tables.get(resource)?.get(key_of(namespace, name).as_str())
    }

    /// The resources that have had any object.
    pub fn resources(&self) -> impl Iterator<Item = &str> {
        self.tables.keys().map(|resource| &**resource)
    }

    /// A snapshot of objects given by hand, for tests of pure reconcilers.
    pub fn of(objects: impl IntoIterator<Item = (&'static str, Value)>) -> Snapshot {
        let store = Store::in_memory();
        let mut writing = store.writing();
        for (resource, object) in objects {
            writing.put(resource, object).expect("invariant: memory takes every object");
        }
        drop(writing);
        store.snapshot()
    }
}

#[cfg(test)]
mod tests;
