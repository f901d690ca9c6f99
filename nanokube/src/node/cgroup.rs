//! Control groups: where CPU and memory limits are kept by the kernel, and where usage is read.
//!
//! One group per container, `<base>/nanokube-<id>/pod<uid>/<container>`. Version 2 is used where a subtree with the cpu
//! controller can be written (as root, or a delegated one of the user's systemd), else the version 1 hierarchies. Who
//! has neither gets the user-space limiter of `supervisor::limiter`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The period over which a CPU quota is granted, the kernel's and kubelet's default.
pub const CPU_PERIOD_US: u64 = 100_000;
/// The smallest quota the kernel accepts.
const CPU_QUOTA_MIN_US: u64 = 1_000;
/// How long to wait for killed processes to leave a group before giving up on removing it.
const REMOVE_ATTEMPTS: u32 = 200;

/// Which kind of control groups a base directory belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    V1,
    V2,
}

/// The directories under which this instance makes its groups. One for version 2, up to three for version 1.
#[derive(Debug, Clone)]
pub struct CgroupRoot {
    version: Version,
    cpu: PathBuf,
    cpuacct: PathBuf,
    memory: Option<PathBuf>,
}

/// Limits of one container; `None` is unlimited.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    pub cpu_request_milli: u64,
    pub cpu_limit_milli: Option<u64>,
    pub memory_limit_bytes: Option<u64>,
}

/// One container's group.
#[derive(Debug, Clone)]
pub struct Cgroup {
    root: CgroupRoot,
    /// `pod<uid>/<container>`, below each base directory.
    name: PathBuf,
}

/// What a container has used, wherever that was measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Usage {
    pub cpu_ns: u64,
    /// Memory that cannot be dropped under pressure, what Kubernetes calls the working set.
    pub memory_bytes: u64,
    pub throttling: Throttling,
}

/// Counters of CPU limiting, as in `cpu.stat`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Throttling {
    pub periods: u64,
    pub throttled_periods: u64,
    pub throttled_ns: u64,
}

impl CgroupRoot {
    /// Finds version 2 groups that this process may write, with cpu limits.
    pub fn find_v2(instance: &str) -> Option<CgroupRoot> {
        let mounts = mounts(&fs::read_to_string("/proc/self/mountinfo").ok()?);
        let mount = mounts.iter().find(|mount| mount.kind == "cgroup2")?;
        let own = own_path(&fs::read_to_string("/proc/self/cgroup").ok()?, "")?;
        let own = mount.locate(&own);
        let candidates = own.ancestors().take_while(|dir| dir.starts_with(&mount.point));
        candidates.filter_map(|dir| usable_v2(dir, instance)).next()
    }

    /// Finds the version 1 cpu and cpuacct hierarchies, and memory where it is there.
    pub fn find_v1(instance: &str) -> Option<CgroupRoot> {
        let mounts = mounts(&fs::read_to_string("/proc/self/mountinfo").ok()?);
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let base = |controller: &str| {
            let has = |mount: &&Mount| mount.kind == "cgroup" && mount.options.split(',').any(|o| o == controller);
            let dir = mounts.iter().find(has)?.locate(&own_path(&own, controller)?);
            let dir = dir.join(format!("nanokube-{instance}"));
            (dir.is_dir() || fs::create_dir(&dir).is_ok()).then_some(dir)
        };
        let root =
            CgroupRoot { version: Version::V1, cpu: base("cpu")?, cpuacct: base("cpuacct")?, memory: base("memory") };
        let is_writable = fs::OpenOptions::new().write(true).open(root.cpu.join("cpu.cfs_quota_us")).is_ok();
        is_writable.then_some(root)
    }

    pub fn version(&self) -> Version {
        self.version
    }

    /// Makes a container's group and sets its limits.
    pub fn create(&self, pod_uid: &str, container: &str, limits: Limits) -> io::Result<Cgroup> {
        let name = Path::new(&format!("pod{pod_uid}")).join(container);
        let cgroup = Cgroup { root: self.clone(), name };
        for base in self.bases() {
            if self.version == Version::V2 {
                fs::create_dir_all(base)?;
                enable_v2(base)?;
                let pod = base.join(format!("pod{pod_uid}"));
                fs::create_dir_all(&pod)?;
                enable_v2(&pod)?;
            }
            fs::create_dir_all(base.join(&cgroup.name))?;
        }
        cgroup.set(limits)?;
        Ok(cgroup)
    }

    /// Kills what runs in any group of this instance and removes the groups. For what a dead daemon left.
    pub fn remove_all(&self) {
        for base in self.bases() {
            remove_tree(base);
        }
    }

    fn bases(&self) -> Vec<&PathBuf> {
        let mut all = vec![&self.cpu, &self.cpuacct];
        all.extend(&self.memory);
        all.dedup();
        all
    }
}

impl Cgroup {
    /// The files into which a process writes its id to join.
    pub fn procs_files(&self) -> Vec<PathBuf> {
        self.dirs().into_iter().map(|dir| dir.join("cgroup.procs")).collect()
    }

    /// The directories of this group, to be removed when it ends.
    pub fn dirs(&self) -> Vec<PathBuf> {
        self.root.bases().into_iter().map(|base| base.join(&self.name)).collect()
    }

    /// CPU and memory used since the group was made.
    pub fn usage(&self) -> io::Result<Usage> {
        let cpu = self.root.cpu.join(&self.name);
        let stat = fs::read_to_string(cpu.join("cpu.stat"))?;
        let field = |name: &str| field(&stat, name).unwrap_or(0);
        Ok(match self.root.version {
            Version::V2 => Usage {
                cpu_ns: field("usage_usec") * 1000,
                memory_bytes: self.working_set("memory.current", "inactive_file"),
                throttling: Throttling {
                    periods: field("nr_periods"),
                    throttled_periods: field("nr_throttled"),
                    throttled_ns: field("throttled_usec") * 1000,
                },
            },
            Version::V1 => Usage {
                cpu_ns: read_number(&self.root.cpuacct.join(&self.name).join("cpuacct.usage"))?,
                memory_bytes: self.working_set("memory.usage_in_bytes", "total_inactive_file"),
                throttling: Throttling {
                    periods: field("nr_periods"),
                    throttled_periods: field("nr_throttled"),
                    throttled_ns: field("throttled_time"),
                },
            },
        })
    }

    /// How many processes of the group the kernel killed because memory ran out.
    pub fn oom_kills(&self) -> u64 {
        let Some(memory) = &self.root.memory else { return 0 };
        let name = if self.root.version == Version::V2 { "memory.events" } else { "memory.oom_control" };
        let text = fs::read_to_string(memory.join(&self.name).join(name)).unwrap_or_default();
        field(&text, "oom_kill").unwrap_or(0)
    }

    pub fn has_memory(&self) -> bool {
        self.root.memory.is_some()
    }

    /// Kills what is left in the group and removes it, and the pod's once that is empty.
    pub fn remove(&self) {
        for dir in self.dirs() {
            remove_tree(&dir);
            if let Some(pod) = dir.parent() {
                let _ = fs::remove_dir(pod); // fails while another container of the pod is there
            }
        }
    }

    fn set(&self, limits: Limits) -> io::Result<()> {
        let cpu = self.root.cpu.join(&self.name);
        let shares = (limits.cpu_request_milli * 1024 / 1000).clamp(2, 262_144);
        let quota_us = limits.cpu_limit_milli.map(|milli| (milli * CPU_PERIOD_US / 1000).max(CPU_QUOTA_MIN_US));
        match self.root.version {
            Version::V2 => {
                let quota = quota_us.map_or("max".to_owned(), |us| us.to_string());
                fs::write(cpu.join("cpu.max"), format!("{quota} {CPU_PERIOD_US}"))?;
                fs::write(cpu.join("cpu.weight"), (1 + (shares - 2) * 9999 / 262_142).to_string())?;
                if let (Some(bytes), Some(memory)) = (limits.memory_limit_bytes, &self.root.memory) {
                    let memory = memory.join(&self.name);
                    fs::write(memory.join("memory.max"), bytes.to_string())?;
                    let _ = fs::write(memory.join("memory.oom.group"), "1"); // not on kernels before 4.19
                }
            }
            Version::V1 => {
                fs::write(cpu.join("cpu.shares"), shares.to_string())?;
                fs::write(cpu.join("cpu.cfs_period_us"), CPU_PERIOD_US.to_string())?;
                let quota = quota_us.map_or(-1, |us| us as i64);
                fs::write(cpu.join("cpu.cfs_quota_us"), quota.to_string())?;
                if let (Some(bytes), Some(memory)) = (limits.memory_limit_bytes, &self.root.memory) {
                    fs::write(memory.join(&self.name).join("memory.limit_in_bytes"), bytes.to_string())?;
                }
            }
        }
        Ok(())
    }

    fn working_set(&self, usage_file: &str, inactive_field: &str) -> u64 {
        let Some(memory) = &self.root.memory else { return 0 };
        let dir = memory.join(&self.name);
        let usage = read_number(&dir.join(usage_file)).unwrap_or(0);
        let stat = fs::read_to_string(dir.join("memory.stat")).unwrap_or_default();
        usage.saturating_sub(field(&stat, inactive_field).unwrap_or(0))
    }
}

/// The processes of a group, by id.
pub(crate) fn processes(dir: &Path) -> Vec<i32> {
    let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect()
}

/// Kills and removes a group with those below it. A killed process needs a moment to leave.
pub(crate) fn remove_tree(dir: &Path) {
    for child in fs::read_dir(dir).into_iter().flatten().flatten() {
        if child.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&child.path());
        }
    }
    for _ in 0..REMOVE_ATTEMPTS {
        for pid in processes(dir) {
            super::process_tree::send_signal(pid, libc::SIGKILL);
        }
        match fs::remove_dir(dir) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => std::thread::sleep(Duration::from_millis(5)),
            _ => return,
        }
    }
}

/// Makes `dir/nanokube-<instance>` with the cpu controller below it, if that is allowed here.
fn usable_v2(dir: &Path, instance: &str) -> Option<CgroupRoot> {
    let delegated = fs::read_to_string(dir.join("cgroup.subtree_control")).ok()?;
    if !delegated.split_whitespace().any(|controller| controller == "cpu") {
        return None;
    }
    let base = dir.join(format!("nanokube-{instance}"));
    if !base.is_dir() {
        fs::create_dir(&base).ok()?;
    }
    // Moving a process needs write access to the common ancestor's list as well.
    let may_move = fs::OpenOptions::new().write(true).open(dir.join("cgroup.procs")).is_ok();
    if !may_move || enable_v2(&base).is_err() {
        let _ = fs::remove_dir(&base); // left empty otherwise
        return None;
    }
    let has_memory = delegated.split_whitespace().any(|controller| controller == "memory");
    let memory = has_memory.then(|| base.clone());
    Some(CgroupRoot { version: Version::V2, cpu: base.clone(), cpuacct: base, memory })
}

fn enable_v2(dir: &Path) -> io::Result<()> {
    let control = dir.join("cgroup.subtree_control");
    fs::write(&control, "+cpu")?;
    let _ = fs::write(&control, "+memory"); // may not be delegated; limits then come from the supervisor
    Ok(())
}

struct Mount {
    kind: String,
    /// The directory of the hierarchy that is mounted: not `/` inside a container.
    root: String,
    point: PathBuf,
    options: String,
}

impl Mount {
    fn locate(&self, own: &str) -> PathBuf {
        let below = own.strip_prefix(self.root.trim_end_matches('/')).unwrap_or("");
        self.point.join(below.trim_start_matches('/'))
    }
}

/// Control group mounts of a `mountinfo` text.
fn mounts(text: &str) -> Vec<Mount> {
    let parse = |line: &str| {
        let (head, tail) = line.split_once(" - ")?;
        let head: Vec<_> = head.split(' ').collect();
        let tail: Vec<_> = tail.split(' ').collect();
        let kind = tail.first()?.to_string();
        let mount = Mount {
            kind,
            root: head.get(3)?.to_string(),
            point: PathBuf::from(head.get(4)?),
            options: tail.get(2)?.to_string(),
        };
        mount.kind.starts_with("cgroup").then_some(mount)
    };
    text.lines().filter_map(parse).collect()
}

/// This process's group in the hierarchy of `controller` ("" = version 2), from `/proc/self/cgroup`.
fn own_path(text: &str, controller: &str) -> Option<String> {
    let parse = |line: &str| {
        let mut fields = line.splitn(3, ':');
        let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        controllers.split(',').any(|name| name == controller).then(|| path.to_owned())
    };
    text.lines().find_map(parse)
}

fn field(text: &str, name: &str) -> Option<u64> {
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
    text.lines().find_map(value)
}

fn read_number(path: &Path) -> io::Result<u64> {
    fs::read_to_string(path)?.trim().parse().map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_group_is_found_below_what_is_mounted() {
        let info = "30 24 0:26 /docker/abc /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                    31 24 0:27 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        let mounts = mounts(info);
        let own = "4:cpu,cpuacct:/docker/abc/inner\n0::/user.slice/x.scope\n";
        let v1 = mounts[0].locate(&own_path(own, "cpuacct").unwrap());
        let v2 = mounts[1].locate(&own_path(own, "").unwrap());
        assert_eq!(v1, Path::new("/sys/fs/cgroup/cpu,cpuacct/inner"));
        assert_eq!(v2, Path::new("/sys/fs/cgroup/unified/user.slice/x.scope"));
        assert_eq!(own_path(own, "memory"), None);
    }

    #[test]
    fn fields_are_matched_by_their_whole_name() {
        let stat = "nr_periods 7\nnr_periods_x 8\nthrottled_time 9\n";
        assert_eq!(field(stat, "nr_periods"), Some(7));
        assert_eq!(field(stat, "throttled_time"), Some(9));
        assert_eq!(field(stat, "nr"), None);
    }
}
