//! A process with all its descendants, as `/proc` shows them: who they are, what CPU and memory they used.
//!
//! Used where there are no control groups, and to be sure that nothing of a pod is left. Descendants that daemonize
//! stay inside the tree, because each pod's supervisor is their subreaper. CPU time is read from each process's clock
//! (nanoseconds); time of processes already waited for comes from their parents' counters (10 ms ticks).

use std::collections::BTreeSet;
use std::fs;

/// CPU and memory of a process tree at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TreeUsage {
    pub cpu_ns: u64,
    pub memory_bytes: u64,
}

/// All descendants of `root`, without `root` itself. Parents come before their children.
pub fn descendants(root: i32) -> Vec<i32> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::from([root]);
    let mut next = vec![root];
    while let Some(pid) = next.pop() {
        let Some(children) = children(pid) else { return descendants_by_scan(root) };
        for child in children {
            if seen.insert(child) {
                found.push(child);
                next.push(child);
            }
        }
    }
    found
}

/// Sends a signal; a process that is gone already is fine.
pub fn send_signal(pid: i32, signal: i32) {
    // SAFETY: kill takes plain numbers. Only positive ids reach this, so that never a whole group is meant.
    unsafe { libc::kill(pid, signal) };
}

/// False for a process that is gone or only waits to be reaped.
pub fn is_alive(pid: i32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().next());
    !matches!(state, Some("Z" | "X") | None)
}

/// CPU nanoseconds of one living process with all its threads, those that ended included.
pub fn cpu_clock_ns(pid: i32) -> Option<u64> {
    // The kernel's encoding of "CPU-time clock of process pid": the inverted id above three bits of clock type.
    const CPUCLOCK_SCHED: i32 = 2;
    let clock = (!pid << 3) | CPUCLOCK_SCHED;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec for the call to fill.
    let read = unsafe { libc::clock_gettime(clock, &mut time) };
    (read == 0).then(|| time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// CPU nanoseconds of the children that `pid` has waited for, with theirs.
pub fn waited_children_ns(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything; the fields start after its closing parenthesis with the state.
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(13)?.parse::<u64>().ok()? + fields.get(14)?.parse::<u64>().ok()?;
    Some(ticks * 1_000_000_000 / clock_ticks_per_s())
}

/// Memory of some processes: what each has alone, and the largest shared part once.
pub fn memory_bytes(pids: &[i32]) -> u64 {
    let page = rustix::param::page_size() as u64;
    let mut alone = 0;
    let mut shared_max = 0;
    for pid in pids {
        let Ok(statm) = fs::read_to_string(format!("/proc/{pid}/statm")) else { continue };
        let mut fields = statm.split_whitespace().skip(1).filter_map(|field| field.parse::<u64>().ok());
        let (Some(resident), Some(shared)) = (fields.next(), fields.next()) else { continue };
        alone += resident.saturating_sub(shared);
        shared_max = shared_max.max(shared);
    }
    (alone + shared_max) * page
}

fn clock_ticks_per_s() -> u64 {
    rustix::param::clock_ticks_per_second().max(1)
}

/// Children of every thread of `pid`, or `None` where the kernel does not list them. A process that ended has none.
fn children(pid: i32) -> Option<Vec<i32>> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Some(Vec::new()) };
    let mut all = Vec::new();
    for task in tasks.flatten() {
        match fs::read_to_string(task.path().join("children")) {
            Ok(text) => all.extend(text.split_whitespace().filter_map(|id| id.parse::<i32>().ok())),
            Err(_) if task.path().join("stat").exists() => return None,
            Err(_) => {}
        }
    }
    Some(all)
}

/// The same from the parent ids of all processes, for kernels without `children` files.
fn descendants_by_scan(root: i32) -> Vec<i32> {
    let parent = |pid: i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse::<i32>().ok()
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let pairs: Vec<_> = pids.filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let mut found: Vec<i32> = Vec::new();
    let mut level = vec![root];
    while let Some(pid) = level.pop() {
        for (child, _) in pairs.iter().filter(|(_, parent)| *parent == pid) {
            found.push(*child);
            level.push(*child);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn grandchildren_are_descendants_in_both_ways_of_looking() {
        let mut child = Command::new("/bin/sh").args(["-c", "sleep 30 & sleep 30; true"]).spawn().unwrap();
        let me = std::process::id() as i32;
        let shell = child.id() as i32;
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while descendants(shell).len() < 2 {
            assert!(std::time::Instant::now() < deadline, "the sleeps never appeared");
            std::thread::yield_now();
        }
        let (listed, scanned) = (descendants(shell), descendants_by_scan(shell));
        assert_eq!(BTreeSet::from_iter(listed.clone()), BTreeSet::from_iter(scanned));
        assert!(descendants(me).contains(&shell));
        listed.iter().chain([&shell]).for_each(|pid| send_signal(*pid, libc::SIGKILL));
        child.wait().unwrap();
    }

    #[test]
    fn the_clock_of_another_process_advances_while_it_works() {
        let mut child = Command::new("/bin/sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        let pid = child.id() as i32;
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while cpu_clock_ns(pid).unwrap() < 20_000_000 {
            assert!(std::time::Instant::now() < deadline, "no CPU time was counted");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert!(memory_bytes(&[pid]) > 100_000);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(cpu_clock_ns(pid), None);
    }
}
