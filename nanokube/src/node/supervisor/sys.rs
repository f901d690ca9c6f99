//! System calls of the supervisor that need `unsafe`, each wrapped so that its callers do not.
//!
//! The supervisor has one thread. That is what makes `fork` followed by ordinary code sound, and what the
//! parent-death signal is bound to.

use super::protocol::User;
use super::sandbox::Stdio;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Highest capability number that any kernel so far knows, with room.
const CAPABILITY_MAX: i32 = 63;

fn check(result: i64) -> io::Result<i64> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// `fork`, or `clone` with new namespaces. Returns 0 in the child.
pub(super) fn fork(clone_flags: i32) -> io::Result<i32> {
    let flags = i64::from(clone_flags | libc::SIGCHLD);
    // SAFETY: no memory is shared and no stack is passed, so this is a fork; this process has one thread.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    check(pid).map(|pid| pid as i32)
}

/// Ends a forked child without running anything of its parent's.
pub(super) fn exit(code: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Asks for SIGKILL when the parent's (only) thread ends.
pub(super) fn die_with_parent() -> io::Result<()> {
    prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64)
}

/// Orphaned descendants come to this process instead of to init.
pub(super) fn become_subreaper() -> io::Result<()> {
    prctl(libc::PR_SET_CHILD_SUBREAPER, 1)
}

pub(super) fn set_no_new_privileges() -> io::Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1)
}

fn prctl(option: i32, value: u64) -> io::Result<()> {
    // SAFETY: these options take one number.
    check(i64::from(unsafe { libc::prctl(option, value, 0, 0, 0) })).map(drop)
}

/// Drops every capability that is not in `keep` from what programs can ever gain.
pub(super) fn limit_capabilities(keep: u64) -> io::Result<()> {
    for capability in (0..=CAPABILITY_MAX).filter(|capability| keep & (1 << capability) == 0) {
        match prctl(libc::PR_CAPBSET_DROP, capability as u64) {
            // Unknown to this kernel, or nothing to drop because we are an ordinary user.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EPERM)) => {}
            other => other?,
        }
    }
    Ok(())
}

/// Takes on the container's user. Inside a user namespace it is that already; an ordinary user cannot change.
pub(super) fn become_user(user: &User, is_mapped: bool) -> io::Result<()> {
    if !is_mapped && !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    // SAFETY: the group list is valid for its length; the ids are plain numbers. One thread, so all of it changes.
    unsafe {
        if !is_mapped {
            check(i64::from(libc::setgroups(user.groups.len(), user.groups.as_ptr())))?;
        }
        check(i64::from(libc::setresgid(user.gid, user.gid, user.gid)))?;
        check(i64::from(libc::setresuid(user.uid, user.uid, user.uid)))?;
    }
    Ok(())
}

/// The ids that a new user namespace maps: those of the supervisor, remembered before the clone.
pub(super) fn outer_ids() -> Option<(u32, u32)> {
    OUTER_IDS.get().copied()
}

static OUTER_IDS: std::sync::OnceLock<(u32, u32)> = std::sync::OnceLock::new();

/// Remembers who we are outside; inside a fresh user namespace every id reads as "nobody".
pub(super) fn remember_ids() {
    OUTER_IDS.get_or_init(|| (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()));
}

pub(super) fn set_hostname(name: &str) -> io::Result<()> {
    // SAFETY: pointer and length describe `name`.
    check(i64::from(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) })).map(drop)
}

pub(super) fn setns(file: RawFd, kind: i32) -> io::Result<()> {
    // SAFETY: takes two numbers.
    check(i64::from(unsafe { libc::setns(file, kind) })).map(drop)
}

pub(super) fn chown(file: RawFd, uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: takes numbers.
    check(i64::from(unsafe { libc::fchown(file, uid, gid) })).map(drop)
}

/// A new session, with the terminal (if it is one) as its controlling terminal.
pub(super) fn new_session(stdio: &Stdio) -> io::Result<()> {
    // SAFETY: setsid takes nothing; TIOCSCTTY takes a number.
    unsafe {
        check(i64::from(libc::setsid()))?;
        if stdio.terminal {
            check(i64::from(libc::ioctl(stdio.files[0], libc::TIOCSCTTY, 0)))?;
        }
    }
    Ok(())
}

/// Puts the streams at 0, 1 and 2; every other file closes when the program starts.
pub(super) fn install_stdio(stdio: &Stdio) -> io::Result<()> {
    const CLOSE_RANGE_CLOEXEC: u32 = 4;
    // SAFETY: file numbers only. Sources are above 2 (see `Stdio` users), so no dup2 overwrites a later source.
    unsafe {
        for (target, source) in stdio.files.into_iter().enumerate() {
            check(i64::from(libc::dup2(source, target as i32)))?;
        }
        // Rust opens everything close-on-exec; this is for what came from elsewhere. Not on kernels before 5.11.
        libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, CLOSE_RANGE_CLOEXEC);
    }
    Ok(())
}

/// Default dispositions and an empty mask: the supervisor's must not be inherited.
pub(super) fn reset_signals() {
    // SAFETY: the set is initialised by sigemptyset; SIG_DFL is valid for every signal that can be changed.
    unsafe {
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
    }
}

/// Blocks the signals that `signal_file` reports.
pub(super) fn signal_file() -> io::Result<OwnedFd> {
    // SAFETY: the set is initialised before use; a non-negative result is a file that we own.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in [libc::SIGCHLD, libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
            libc::sigaddset(&mut set, signal);
        }
        check(i64::from(libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut())))?;
        let file = check(i64::from(libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)))?;
        Ok(OwnedFd::from_raw_fd(file as RawFd))
    }
}

/// Takes the signals that arrived from a `signal_file`.
pub(super) fn read_signals(file: &OwnedFd) -> Vec<i32> {
    const RECORD: usize = size_of::<libc::signalfd_siginfo>();
    let mut buffer = [0_u8; RECORD * 16];
    let mut signals = Vec::new();
    loop {
        // SAFETY: the buffer is valid for its length.
        let read = unsafe { libc::read(file.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
        if read <= 0 {
            return signals;
        }
        let records = buffer[..read as usize].chunks_exact(RECORD);
        // The signal number is the first field of each record.
        signals.extend(records.map(|record| i32::from_ne_bytes([record[0], record[1], record[2], record[3]])));
    }
}

/// Replaces this process by a program; returns why it could not.
pub(super) fn execve(path: &CStr, argv: &[CString], env: &[CString]) -> io::Error {
    let pointers = |all: &[CString]| -> Vec<*const libc::c_char> {
        all.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: both arrays end with null and their strings outlive the call.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

pub(super) fn is_executable(path: &Path) -> bool {
    let Ok(text) = CString::new(path.as_os_str().as_bytes()) else { return false };
    // SAFETY: `text` is a valid string.
    path.is_file() && unsafe { libc::access(text.as_ptr(), libc::X_OK) } == 0
}

/// Waits for one ended child, if there is one.
pub(super) fn reap() -> Option<(i32, i32)> {
    let mut status = 0;
    // SAFETY: `status` is valid for the call to fill.
    let pid = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) };
    (pid > 0).then_some((pid, status))
}

/// Waits until a child ends; `None` when there is none.
pub(super) fn reap_blocking() -> Option<(i32, i32)> {
    let mut status = 0;
    // SAFETY: `status` is valid for the call to fill.
    let pid = unsafe { libc::waitpid(-1, &mut status, 0) };
    (pid > 0).then_some((pid, status))
}

/// CPU nanoseconds of all descendants that were waited for, with theirs.
pub(super) fn waited_cpu_ns() -> u64 {
    // SAFETY: zeroed is a valid rusage, and the call fills it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage);
        usage
    };
    let ns = |time: libc::timeval| time.tv_sec as u64 * 1_000_000_000 + time.tv_usec as u64 * 1000;
    ns(usage.ru_utime) + ns(usage.ru_stime)
}

/// A pair of terminal ends: the controlling side and the one a program gets.
pub(super) fn open_terminal() -> io::Result<(OwnedFd, OwnedFd)> {
    let (mut master, mut slave) = (-1, -1);
    let null = std::ptr::null_mut();
    // SAFETY: the two numbers are filled by the call, the other arguments may be null; both files are then ours.
    unsafe {
        check(i64::from(libc::openpty(&mut master, &mut slave, null, null.cast(), null.cast())))?;
        let (master, slave) = (OwnedFd::from_raw_fd(master), OwnedFd::from_raw_fd(slave));
        for file in [&master, &slave] {
            check(i64::from(libc::fcntl(file.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC)))?;
        }
        Ok((master, slave))
    }
}

/// Sets a terminal's size.
pub(super) fn resize_terminal(file: &OwnedFd, columns: u16, rows: u16) {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the request reads a winsize.
    unsafe { libc::ioctl(file.as_raw_fd(), libc::TIOCSWINSZ, &size) };
}
