//! What daemon and supervisor say to each other: one JSON object a line over a socket pair, the supervisor's stdin.
//!
//! The first line from the daemon is the `Launch`. When the socket ends, whoever is left knows that the other is gone:
//! the supervisor then kills its container and exits. Open files travel beside an `Exec` line.

use crate::node::cgroup::Usage;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// All that a supervisor needs to know to run one container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Launch {
    pub command: Command,
    pub root: Root,
    pub hostname: String,
    /// Files that take the process id, one per control group hierarchy.
    pub cgroup_procs: Vec<PathBuf>,
    /// Directories to remove when the daemon is gone.
    pub cgroup_dirs: Vec<PathBuf>,
    /// For the user-space limiter; `None` where a control group limits.
    pub cpu_limit_milli: Option<u64>,
    pub memory_limit_bytes: Option<u64>,
    pub log: PathBuf,
    /// Where servers that bind to any address are moved to.
    pub bind_address: Option<std::net::Ipv4Addr>,
    pub stdin: bool,
    /// Whether the input ends with the first client that was attached to it.
    pub stdin_once: bool,
    pub tty: bool,
}

/// One program to run: the container's own or an exec.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Command {
    pub argv: Vec<String>,
    pub env: Vec<(String, String)>,
    pub working_dir: String,
    pub user: User,
    pub no_new_privileges: bool,
    /// Bit mask of the capabilities that stay in the bounding set.
    pub capabilities: u64,
}

/// Whom to run as.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
}

/// What the program sees as its file system.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Root {
    /// The machine's own; relative names are found in the unpacked image.
    Host { rootfs: PathBuf },
    /// The image's, with mounts, in its own mount and process namespaces.
    Image(ImageRoot),
}

/// A root file system made of an unpacked image.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ImageRoot {
    pub rootfs: PathBuf,
    /// Holds what the container writes: an overlay's upper directory, or a copy.
    pub scratch: PathBuf,
    pub overlay: bool,
    pub read_only: bool,
    /// In a user namespace, where we are not root.
    pub user_namespace: bool,
    pub mounts: Vec<Mount>,
    pub shm_size_bytes: u64,
}

/// A file or directory of the host that appears at `target`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mount {
    pub source: PathBuf,
    pub target: String,
    pub read_only: bool,
}

/// From the daemon, after the launch.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// Send a signal to the container's main process.
    Signal(i32),
    /// Kill everything that belongs to the container.
    Kill,
    /// Run a program beside the container's own; three files follow, or one for a terminal.
    Exec { id: u64, command: Command, terminal: bool },
    /// Kill a program started by `Exec`.
    KillExec { id: u64 },
    /// Ask for a `Usage`.
    Usage,
    /// Carry the container's own streams to a client as well; three files follow. Answered as an `Exec` is.
    Attach { id: u64 },
    /// The size of the container's terminal.
    Resize { columns: u16, rows: u16 },
}

/// From the supervisor.
#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    /// The program runs; `notes` say what had to be done in another way.
    Started {
        notes: Vec<String>,
    },
    /// It could not be started, and the supervisor ends.
    Failed {
        message: String,
    },
    /// The container's main process has ended and nothing of it is left; the supervisor ends.
    Exited {
        status: ExitStatus,
        out_of_memory: bool,
    },
    ExecStarted {
        id: u64,
    },
    ExecFailed {
        id: u64,
        message: String,
    },
    ExecExited {
        id: u64,
        status: ExitStatus,
    },
    Usage(Usage),
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitStatus {
    Code(i32),
    Signal(i32),
}

impl ExitStatus {
    /// The single number that Kubernetes shows: 128 + signal for a killed process.
    pub fn exit_code(self) -> i32 {
        match self {
            ExitStatus::Code(code) => code,
            ExitStatus::Signal(signal) => 128 + signal,
        }
    }
}
