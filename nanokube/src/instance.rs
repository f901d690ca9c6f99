//! An instance: one directory, one leased /16 of 127.0.0.0/8, one daemon at most.
//!
//! The directory is locked by the daemon for as long as it lives, and so is the lease of the network, by a file that all
//! instances of a user see; whoever ends gives both up, however it ends. A restart prefers the network it had before.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

/// Second octets that instances may lease.
const LEASES: std::ops::RangeInclusive<u8> = 16..=250;

/// Where the files of an instance are. Only this type knows their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory(PathBuf);

impl Directory {
    pub fn new(path: PathBuf) -> Directory {
        Directory(path)
    }

    /// `$NANOKUBE_DIR`, or `nanokube/default` in the user's data directory.
    pub fn default_path() -> anyhow::Result<PathBuf> {
        if let Some(path) = std::env::var_os("NANOKUBE_DIR").filter(|path| !path.is_empty()) {
            return Ok(path.into());
        }
        let data = std::env::var_os("XDG_DATA_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
        let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share"));
        let data = data.or_else(home).context("neither NANOKUBE_DIR nor HOME is set: give --dir DIR")?;
        Ok(data.join("nanokube/default"))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.0.join("kubeconfig")
    }

    pub fn pid(&self) -> PathBuf {
        self.0.join("daemon.pid")
    }

    pub fn log(&self) -> PathBuf {
        self.0.join("daemon.log")
    }

    pub fn state(&self) -> PathBuf {
        self.0.join("state")
    }

    pub fn images(&self) -> PathBuf {
        self.0.join("images")
    }

    pub fn pods(&self) -> PathBuf {
        self.0.join("pods")
    }

    pub fn keys(&self) -> PathBuf {
        self.0.join("pki")
    }

    fn lock(&self) -> PathBuf {
        self.0.join("daemon.lock")
    }

    fn facts(&self) -> PathBuf {
        self.0.join("instance.json")
    }

    /// The name that the kubeconfig context carries.
    pub fn name(&self) -> String {
        self.0.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_else(|| "default".to_string())
    }

    /// What the last daemon wrote about itself; None when there was none.
    pub fn facts_of_last_run(&self) -> Option<Facts> {
        serde_json::from_slice(&fs::read(self.facts()).ok()?).ok()
    }

    pub fn write_facts(&self, facts: &Facts) -> anyhow::Result<()> {
        write_private(&self.facts(), &serde_json::to_vec_pretty(facts)?)
    }

    /// Makes the directory, readable by its owner only.
    pub fn create(&self) -> anyhow::Result<()> {
        private_dir(&self.0)?;
        // It may have been there before, open to all; what pods are told in secret is nobody else's all the same.
        let pods = self.pods();
        private_dir(&pods)?;
        fs::set_permissions(&pods, fs::Permissions::from_mode(0o700))
            .with_context(|| format!("cannot close the directory {}", pods.display()))
    }

    /// Whether a daemon holds this directory now.
    pub fn is_running(&self) -> bool {
        let Ok(file) = File::open(self.lock()) else { return false };
        flock(&file, FlockOperation::NonBlockingLockShared).is_err()
    }

    /// The pid of the daemon that holds this directory.
    pub fn daemon_pid(&self) -> Option<i32> {
        self.is_running().then(|| fs::read_to_string(self.pid()).ok()?.trim().parse().ok()).flatten()
    }
}

/// What other processes learn about a running instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    pub pid: u32,
    pub api_server: String,
    pub node_address: String,
    pub version: String,
    pub kubernetes_version: String,
    pub limiter: String,
    /// The leased second octet.
    pub network: u8,
}

/// The addresses that follow from a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(pub u8);

impl Network {
    /// The node, its node ports, and the API server.
    pub fn node(self) -> Ipv4Addr {
        Ipv4Addr::new(127, self.0, 0, 1)
    }

    /// First address and prefix length of the cluster IPs.
    pub fn services(self) -> (Ipv4Addr, u8) {
        (Ipv4Addr::new(127, self.0, 128, 0), 17)
    }

    /// First and last pod address.
    pub fn pods(self) -> (Ipv4Addr, Ipv4Addr) {
        (Ipv4Addr::new(127, self.0, 1, 0), Ipv4Addr::new(127, self.0, 127, 255))
    }

    /// The address of the service default/kubernetes.
    pub fn kubernetes_service(self) -> Ipv4Addr {
        Ipv4Addr::new(127, self.0, 128, 1)
    }
}

/// The locks that make this process the daemon of the instance; dropping them gives the instance up.
#[derive(Debug)]
pub struct Holding {
    pub network: Network,
    _directory: File,
    _lease: File,
}

/// Takes the directory and a network, the one of the last run if it is free. `usable` may refuse a network.
pub fn acquire(directory: &Directory, usable: impl Fn(Network) -> bool) -> anyhow::Result<Holding> {
    directory.create()?;
    let Some(lock) = try_lock(&directory.lock())? else {
        bail!("another nanokube daemon holds {}: see `nanokube status`", directory.path().display());
    };
    let leases = lease_dir();
    private_dir(&leases).context("networks are leased there; keep them elsewhere with XDG_RUNTIME_DIR=FOLDER")?;
    let preferred = directory.facts_of_last_run().map(|facts| facts.network).filter(|n| LEASES.contains(n));
    for octet in preferred.into_iter().chain(LEASES) {
        let network = Network(octet);
        if let Some(lease) = try_lock(&leases.join(octet.to_string()))?
            && usable(network)
        {
            return Ok(Holding { network, _directory: lock, _lease: lease });
        }
    }
    bail!("all networks 127.{}-{}.0.0/16 are in use by other instances: stop one of them", LEASES.start(), LEASES.end())
}

fn lease_dir() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|path| !path.is_empty()) {
        Some(runtime) if Path::new(&runtime).is_dir() => PathBuf::from(runtime).join("nanokube/leases"),
        _ => PathBuf::from(format!("/tmp/nanokube-{}/leases", rustix::process::getuid().as_raw())),
    }
}

fn try_lock(path: &Path) -> anyhow::Result<Option<File>> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).read(true).mode(0o600).open(path);
    let file = file.with_context(|| format!("cannot open the lock file {}", path.display()))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

fn private_dir(path: &Path) -> anyhow::Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("cannot make the directory {}", path.display()))
}

/// Writes a file that only its owner can read, whole or not at all.
pub fn write_private(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let draft = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&draft)?;
        file.write_all(content)?;
        fs::rename(&draft, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pods_have_is_their_owners_whoever_made_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let directory = Directory::new(dir.path().join("open"));
        fs::create_dir_all(directory.pods()).unwrap();
        fs::set_permissions(directory.pods(), fs::Permissions::from_mode(0o755)).unwrap();
        directory.create().unwrap();
        assert_eq!(fs::metadata(directory.pods()).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_directory_has_one_daemon_at_most_and_its_network_stays() {
        let dir = std::env::temp_dir().join(format!("nanokube-instance-{}", std::process::id()));
        let directory = Directory::new(dir.clone());
        let first = acquire(&directory, |_| true).unwrap();
        assert!(directory.is_running());
        assert!(acquire(&directory, |_| true).unwrap_err().to_string().contains("another nanokube daemon"));
        let facts = Facts { network: first.network.0, ..Facts::default() };
        directory.write_facts(&facts).unwrap();
        let kept = first.network;
        drop(first);
        assert!(!directory.is_running());
        assert_eq!(acquire(&directory, |_| true).unwrap().network, kept);
        fs::remove_dir_all(dir).unwrap();
    }
}
