//! The cluster: the ONE write path. API handlers, the controllers' runner and the node all write through here.
//!
//! A write is: find the kind, apply the change to the current object, keep what the writer may not touch, default,
//! validate, count the generation, note the field owners, store. Writes are serialised by the store, so a patch never
//! races; a full update that carries an old resourceVersion gets a Conflict. Time comes from `Clock`, so tests own it.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::watch;

use crate::credentials::ClientIdentity;
use crate::kind::{GroupVersion, Kind, Registry};
use crate::object::Object;
use crate::status::ApiError;
use crate::store::Store;
pub use crate::store::{Change, ChangeKind, Listing, Snapshot, Watch};

mod admission;
mod bind;
mod create;
pub(crate) mod custom;
mod definition;
mod delete;
mod evict;
pub(crate) mod identity;
mod scale;
mod update;
pub(crate) mod vet;

pub(crate) use admission::{TOKEN_DIR, TOKEN_LIFETIME_S, quota_share};
pub(crate) use definition::{CLEANUP as DEFINITION_CLEANUP, DEFINITIONS};
pub use identity::generated_name;
pub use scale::scale_of;

/// Cheap to clone; all clones are the same cluster.
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<Store>,
    kinds: RwLock<Arc<Registry>>,
    settings: Settings,
    clock: Clock,
}

/// What the write path needs to know about the instance.
#[derive(Clone, Debug)]
pub struct Settings {
    /// First address and prefix length of the cluster IP range.
    pub service_network: (Ipv4Addr, u8),
    /// Inclusive range of node ports.
    pub node_ports: (u16, u16),
    /// What requests that are passed on to servers of APIServices show; nothing in tests of other things.
    pub front_proxy: Option<Arc<ClientIdentity>>,
}

impl Default for Settings {
    fn default() -> Settings {
        let service_network = (Ipv4Addr::new(127, 16, 128, 0), 17);
        Settings { service_network, node_ports: (30_000, 32_767), front_proxy: None }
    }
}

/// Where "now" comes from.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    #[default]
    System,
    /// Set by hand, for tests in virtual time.
    Manual(Arc<Mutex<Timestamp>>),
}

impl Clock {
    pub fn now(&self) -> Timestamp {
        match self {
            Clock::System => Timestamp::now(),
            Clock::Manual(at) => *at.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }
}

/// Which part of an object a write may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Everything but the status.
    Object,
    /// The status only.
    Status,
    /// `spec.replicas` through a `Scale` object.
    Scale,
    /// `spec.finalizers` of a namespace.
    Finalize,
}

/// A change to an object, in one of the four forms that PATCH knows.
#[derive(Clone, Debug, PartialEq)]
pub enum Patch {
    Json(Value),
    Merge(Value),
    Strategic(Value),
    Apply { object: Value, force: bool },
}

impl Patch {
    /// What the client sent.
    pub fn body(&self) -> &Value {
        match self {
            Patch::Json(body) | Patch::Merge(body) | Patch::Strategic(body) | Patch::Apply { object: body, .. } => body,
        }
    }
}

/// What to do about fields that the kind does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    Ignore,
    #[default]
    Warn,
    Strict,
}

/// Who writes, and how.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    /// The field manager that owns what this write sets.
    pub manager: String,
    /// Answer as if, store nothing.
    pub dry_run: bool,
    pub field_validation: FieldValidation,
    /// The API version the writer speaks; None is the storage version.
    pub version: Option<GroupVersion>,
    /// Filled by the write: what the client should be warned about.
    pub warnings: Warnings,
}

/// Warnings that a write produced; shared by clones.
#[derive(Clone, Debug, Default)]
pub struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    pub fn add(&self, text: impl Into<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(text.into());
    }

    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Writer {
    /// A writer inside this process, such as "deployment-controller" or "kubelet".
    pub fn controller(manager: &str) -> Writer {
        Writer { manager: manager.to_string(), field_validation: FieldValidation::Ignore, ..Writer::default() }
    }
}

/// What becomes of the objects that a deleted object owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    Background,
    Foreground,
    Orphan,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    pub grace_period_s: Option<i64>,
    pub propagation: Option<Propagation>,
    pub uid: Option<String>,
    pub resource_version: Option<String>,
}

/// How far a deletion has come.
#[derive(Clone, Debug, PartialEq)]
pub enum Deleted {
    /// Removed; this was its last state.
    Gone(Object),
    /// Marked; finalizers or a grace period keep it for now.
    Lingering(Object),
}

impl Deleted {
    pub fn object(&self) -> &Object {
        match self {
            Deleted::Gone(object) | Deleted::Lingering(object) => object,
        }
    }
}

impl Default for Cluster {
    fn default() -> Cluster {
        Cluster::in_memory()
    }
}

impl Cluster {
    /// An empty cluster that lives in memory only.
    pub fn in_memory() -> Cluster {
        Cluster::new(Store::in_memory(), Settings::default(), Clock::System)
    }

    pub fn new(store: Store, settings: Settings, clock: Clock) -> Cluster {
        let kinds = RwLock::new(Arc::new(Registry::built_in()));
        let cluster = Cluster { inner: Arc::new(Inner { store: Arc::new(store), kinds, settings, clock }) };
        cluster.serve_definitions();
        cluster
    }

    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// The kinds served at this moment.
    pub fn kinds(&self) -> Arc<Registry> {
        self.inner.kinds.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the set of served kinds.
    pub fn edit_kinds(&self, edit: impl FnOnce(&mut Registry)) {
        let mut kinds = self.inner.kinds.write().unwrap_or_else(PoisonError::into_inner);
        edit(Arc::make_mut(&mut kinds));
    }

    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Object> {
        self.inner.store.get(resource, namespace, name)
    }

    pub fn list(&self, resource: &str, namespace: Option<&str>) -> Listing {
        self.inner.store.list(resource, namespace)
    }

    /// The list as it was at an earlier revision; 410 when that is no longer known.
    pub fn list_at(&self, resource: &str, namespace: Option<&str>, revision: u64) -> Result<Listing, ApiError> {
        self.inner.store.list_at(resource, namespace, revision)
    }

    pub fn snapshot(&self) -> Snapshot {
        self.inner.store.snapshot()
    }

    pub fn revision(&self) -> u64 {
        self.inner.store.revision()
    }

    /// The latest resourceVersion; wakes at every change.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.inner.store.subscribe()
    }

    /// Follows a resource from just after resourceVersion `from`; 410 when that is no longer in the log.
    pub fn watch(&self, resource: &str, namespace: Option<&str>, from: u64) -> Result<Watch, ApiError> {
        self.inner.store.watch(resource, namespace, from)
    }

    fn kind(&self, resource: &str) -> Result<Arc<Kind>, ApiError> {
        self.kinds().resource(resource).cloned().ok_or_else(ApiError::no_such_path)
    }
}

#[cfg(test)]
mod tests;
